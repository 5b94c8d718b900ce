"""Evaluates a checkpoint on the splits of a data set."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from otuken_jax import metrics
from otuken_jax.data.records import read_manifest
from otuken_jax.errors import UserError
from otuken_jax.evaluation import responses
from otuken_jax.evaluation.baselines import TrainingSet, ceiling
from otuken_jax.evaluation.examples import (
    BATCH,
    Example,
    Volume,
    Words,
    open_split,
    predict_prompts,
)
from otuken_jax.evaluation.library import Library
from otuken_jax.evaluation.measures import Measured, SetMeasure, measure
from otuken_jax.generation import Generator
from otuken_jax.metrics import Estimate

NEAREST, MEAN = "nearest caption", "mean shape"
FLOOR, CEILING = "random motif", "truth"


def nearest_row(words: Words) -> str:
    """The name of the baseline that is given the same words as the model."""
    return f"{NEAREST}, {words.name}"


@dataclass
class Row:
    """The shapes of one method, with the numbers of their examples."""

    measured: list[Measured] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class SplitResult:
    """Estimates by method and figure; methods are the words given, baselines, floor, ceiling."""

    split: str
    count: int
    points: int
    rows: dict[str, dict[str, Estimate]]
    confusion: list[list[int]] | None  # of the first words; hosts, [true][nearest]
    picks: dict[str, int]  # best, median and worst by IoU of the first words


class Evaluation:
    """A model, a data set, and how to measure the one on the other.

    Args:
        words: what the model sees of each record, in the order of the tables.
        limit: at most so many shapes of each split.
        seed: of the sampled points, the random motifs and the bootstrap.
    """

    def __init__(
        self,
        generator: Generator,
        directory: str | Path,
        *,
        words: Sequence[Words],
        set_measure: SetMeasure,
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        self.generator = generator
        self.directory = directory
        self.words = words
        self.set_measure = set_measure
        self.limit = limit
        self.seed = seed
        self.resolution = generator.resolution
        self.library = Library.read(directory)
        trained_on = read_manifest(directory)["splits"].get("train", {"count": 0})
        # Baselines need the training shapes; a set that is only for testing has none.
        self.training = (
            TrainingSet(directory, self.resolution, words) if trained_on["count"] else None
        )

    def examples(self, split: str, numbers: Sequence[int]) -> list[Example]:
        """Some records of a split."""
        source = open_split(self.directory, split)
        return [Example.from_record(source[n], self.resolution) for n in numbers]

    def count(self, split: str) -> int:
        """How many shapes of a split are measured."""
        return len(range(len(open_split(self.directory, split)))[: self.limit])

    def split(self, split: str) -> SplitResult:
        """Measures every method on a split, a batch of shapes at a time."""
        rows: dict[str, Row] = {}
        clouds: list[np.ndarray] = []
        hosts: list[int] = []
        total = self.count(split)
        with tqdm(total=total, desc=split, unit="shape", mininterval=1.0) as bar:
            for start in range(0, total, BATCH):
                numbers = range(start, min(start + BATCH, total))
                batch = self.examples(split, numbers)
                made = self._make(batch, numbers)
                for i, (number, example) in enumerate(zip(numbers, batch, strict=True)):
                    clouds.append(example.surface.points)
                    compared = self._candidates(example)
                    hosts.append(compared.right_host if compared else -1)
                    for name, volumes in made.items():
                        if volumes[i] is None:
                            continue
                        row = rows.setdefault(name, Row())
                        seed = self.seed + number
                        row.measured.append(measure(volumes[i], example, compared, seed))
                        row.numbers.append(number)
                    bar.update()
        first = next((rows[w.name] for w in self.words if w.name in rows), None)
        if first is None:
            raise UserError(
                f"no shape of split {split!r} has a caption, so there is nothing to make"
            )
        return SplitResult(
            split,
            total,
            min(map(len, clouds)),
            {name: self._estimate(row, clouds) for name, row in rows.items()},
            self._confusion(first, hosts),
            _picks(first),
        )

    def _candidates(self, example: Example):
        recipe = example.recipe
        if self.library is None or recipe is None or recipe.motif is None:
            return None
        return self.library.candidates(recipe, self.resolution)

    def _make(self, batch: list[Example], numbers: Sequence[int]) -> dict[str, list[Volume | None]]:
        """The shapes of every method for some examples; None where a method has none."""
        made: dict[str, list[Volume | None]] = {}
        for words in self.words:
            fitting = [i for i, example in enumerate(batch) if words.fits(example)]
            prompts = [words.prompt(batch[i]) for i in fitting]
            volumes: list[Volume | None] = [None] * len(batch)
            for i, volume in zip(fitting, predict_prompts(self.generator, prompts), strict=True):
                volumes[i] = volume
            made[words.name] = volumes
        if self.training is not None:
            for words in self.words:
                nearest = [self.training.nearest_by_caption(e, words) for e in batch]
                made[nearest_row(words)] = nearest
            made[MEAN] = [self.training.mean_shape(example) for example in batch]
        made[FLOOR] = [
            self._random_motif(e, self.seed + n) for e, n in zip(batch, numbers, strict=True)
        ]
        made[CEILING] = [ceiling(example) for example in batch]
        return made

    def _random_motif(self, example: Example, seed: int) -> Volume | None:
        """The true recipe with any motif that may be there, the right one too."""
        recipe = example.recipe
        if self.library is None or recipe is None or recipe.motif is None:
            return None
        motifs = self.library.motifs_for(recipe)
        motif = motifs[np.random.default_rng(seed).integers(len(motifs))]
        return self.library.volume(dataclasses.replace(recipe, motif=motif), self.resolution)

    def _estimate(self, row: Row, clouds: list[np.ndarray]) -> dict[str, Estimate]:
        names = dict.fromkeys(name for m in row.measured for name in m.figures)
        estimates = {
            name: metrics.bootstrap_mean(
                [m.figures.get(name, float("nan")) for m in row.measured], self.seed
            )
            for name in names
        }
        count = min(len(m.cloud) for m in row.measured)
        made = np.stack([m.cloud[:count] for m in row.measured])
        true = np.stack([clouds[n][:count] for n in row.numbers])
        return estimates | self.set_measure(made, true, self.seed)

    def _confusion(self, row: Row, hosts: list[int]) -> list[list[int]] | None:
        pairs = [
            (hosts[n], m.host)
            for n, m in zip(row.numbers, row.measured, strict=True)
            if m.host is not None
        ]
        if not pairs:
            return None
        return metrics.confusion(pairs, len(self.library.hosts)).tolist()

    def responses(self, split: str, limit: int, *, full: bool) -> dict[str, dict[str, Estimate]]:
        """What changing words changes, on the first ornamented shapes of a split."""
        if self.library is None:
            return {}
        recipes = [e.recipe for e in self.examples(split, range(min(limit, self.count(split))))]
        recipes = [r for r in recipes if r is not None and r.motif is not None]
        if not recipes:
            return {}
        return responses.respond(
            self.generator,
            self.library,
            recipes,
            self.resolution,
            self.seed,
            full=full,
            heldout=split == "heldout_phrasing",
        )


def _picks(row: Row) -> dict[str, int]:
    order = sorted(range(len(row.measured)), key=lambda i: -row.measured[i].figures["iou"])
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    return {name: row.numbers[i] for name, i in chosen.items()}
