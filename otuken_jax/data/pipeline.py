"""Batches from records with grain: deterministic, reshuffled each epoch, resumable exactly.

What a training sample shows is drawn per element: words, points or both; which caption; whether the
style is given. All draws depend on (seed, position in the run) alone, so neither the number of
reader threads nor of processes changes them.
"""

import functools
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import grain
import numpy as np
from absl import flags

from otuken_jax.data.records import RecordSource, read_manifest
from otuken_jax.data.text import Tokenizer
from otuken_jax.errors import UserError

logger = logging.getLogger(__name__)
_WARNING = threading.Lock()  # samples are read in threads, and what is said once is said by one
# Kinds that leave out the object or its ornament, and those of a draw of their own.
NO_SENTENCE = ("host", "motif", "noun", "unfamiliar", "unfamiliar_style")
# Batches read ahead: grain's default of 500 would hold gigabytes.
READ_OPTIONS = grain.ReadOptions(num_threads=4, prefetch_buffer_size=4)


@dataclass(frozen=True)
class Draws:
    """Probabilities of what a training sample shows."""

    text_only: float = 0.6
    text_and_points: float = 0.2  # the rest is points alone
    ornament_in_caption: float = 0.5  # the caption names the ornament too
    one_sentence: float = 0.3  # a caption that names both serves as text and as style text
    style_dropout: float = 0.1  # no style is given, and the target is the plain object
    full_caption: float = 0.0  # where the caption names both: the full one, rather than any kind
    other_form: float = 0.0  # where it names the object alone: another's words for the form
    unfamiliar: float = 0.0  # where there is a style: its name, often a colour's too, is made up


class Inputs(NamedTuple):
    """What one sample shows; None or False is absent."""

    text: str | None
    style: str | None
    points: bool
    plain: bool = False  # the target is the object without its ornament
    tells_colors: bool = True  # False: their names may be made up


class Source(NamedTuple):
    """A data set, and how often a training sample is drawn from it beside others."""

    directory: Path
    weight: float = 1.0


def fixed_inputs(example: Mapping[str, Any]) -> Inputs:
    """What a validation sample shows: its fullest caption and its style text, no points.

    Without a style text the caption serves as both, as it does when a user gives one sentence.
    """
    captions = example["captions"]
    text = captions.get("full") or next(iter(captions.values()), None)
    return Inputs(text, example["style_text"] or text, points=False)


def draw_inputs(example: Mapping[str, Any], draws: Draws, rng: np.random.Generator) -> Inputs:
    """What a training sample shows this time.

    A caption may name object and ornament, or leave the ornament to the style text (the kind
    `host`, or `noun`, whose words for the form are another object's and mean nothing). Without a
    style the target is the plain object, since nothing says what ornament it would carry; then
    `host` describes it and points, which would show it, are left out. A shape that never had a
    style text has its caption there, as in `fixed_inputs`. Made-up names teach to read on past a
    name, not which colours it means.
    """
    captions, style = example["captions"], example["style_text"] or None
    if not captions:
        return Inputs(None, style, points=True)
    # Always the same number of draws, so that changing one probability moves nothing else.
    modality, sentence, ornament, drop, full, other, unfamiliar = rng.random(7)
    pick = rng.integers(2**31)
    plain = captions.get("host")
    sentences = [text for kind, text in captions.items() if kind not in NO_SENTENCE]
    text = sentences[pick % len(sentences)]
    if full < draws.full_caption:
        text = captions.get("full", text)
    if style and plain and "host_sdf" in example and drop < draws.style_dropout:
        return Inputs(plain, None, points=False, plain=True)
    told = unfamiliar >= draws.unfamiliar or "unfamiliar" not in captions
    if not told:
        text, style = captions["unfamiliar"], captions["unfamiliar_style"]
    points = bool(modality >= draws.text_only)
    if modality >= draws.text_only + draws.text_and_points:
        return Inputs(None, style, points, tells_colors=told)
    if sentence < draws.one_sentence:
        return Inputs(text, text, points, tells_colors=told)
    if plain and ornament >= draws.ornament_in_caption:
        text = captions.get("noun", plain) if other < draws.other_form else plain
    return Inputs(text, style or text, points, tells_colors=told)


@dataclass(frozen=True)
class Assembler:
    """One example and its `Inputs` to the arrays of a batch (without the leading axis)."""

    tokenizer: Tokenizer
    text_length: int
    style_length: int
    num_points: int

    def __call__(
        self, example: Mapping[str, Any], inputs: Inputs, rng: np.random.Generator | None
    ) -> dict[str, np.ndarray]:
        blank = np.zeros_like(example["sdf"])
        volumes = {k: example.get(k, blank) for k in ("sdf", "host_sdf", "band", "u", "v")}
        ornamented = bool(volumes["band"].any())
        if inputs.plain:
            volumes |= {"sdf": volumes["host_sdf"], "band": blank}
        count = len(example["points"])
        if rng is None:
            rows = np.arange(self.num_points) % count
        else:
            rows = rng.choice(count, self.num_points, replace=count < self.num_points)
        text_ids, text_mask = self._tokenize(inputs.text, self.text_length)
        style_ids, style_mask = self._tokenize(inputs.style, self.style_length)
        return {
            **volumes,
            "has_chart": np.bool_(example["has_chart"]),
            **{k: example[k][rows] for k in ("points", "normals", "colors")},
            # Points and colours are those of the target, unless that lost its ornament; a mesh
            # may have no colours at all. Colours learned from made-up names would be a mean.
            "has_colors": np.bool_(
                example.get("has_colors", True)
                and not (inputs.plain and ornamented)
                and inputs.tells_colors
            ),
            "text_ids": text_ids,
            "text_mask": text_mask,
            "style_ids": style_ids,
            "style_mask": style_mask,
            "has_text": np.bool_(inputs.text is not None),
            "has_points": np.bool_(inputs.points),
            "has_style": np.bool_(inputs.style is not None),
        }

    def _tokenize(self, text: str | None, length: int) -> tuple[np.ndarray, np.ndarray]:
        if text is None:
            return np.full(length, self.tokenizer.pad_id, np.int32), np.zeros(length, bool)
        ids, mask, truncated = self.tokenizer.tokenize([text], length)
        if truncated:
            with _WARNING:
                _warn_truncated(length)
        return ids[0], mask[0]


@functools.cache
def _warn_truncated(length: int) -> None:
    logger.warning("some captions are longer than %d tokens and are truncated", length)


@dataclass(frozen=True)
class DrawnInputs(grain.transforms.RandomMap):
    """Training: what a sample shows is drawn."""

    assemble: Assembler
    draws: Draws

    def random_map(
        self, element: Mapping[str, Any], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        return self.assemble(element, draw_inputs(element, self.draws, rng), rng)


@dataclass(frozen=True)
class FixedInputs(grain.transforms.Map):
    """Validation: nothing is drawn."""

    assemble: Assembler

    def map(self, element: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return self.assemble(element, fixed_inputs(element), None)


class Loader:
    """An iterable of batches; its iterators have grain's get_state, set_state and close."""

    def __init__(self, dataset: grain.IterDataset, *, steps_per_epoch: int, num_examples: int):
        self.dataset = dataset
        self.steps_per_epoch = steps_per_epoch
        self.num_examples = num_examples

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return iter(self.dataset)


def make_loader(
    sources: str | Path | Sequence[Source],
    split: str,
    *,
    batch_size: int,
    seed: int,
    num_points: int,
    tokenizer: Tokenizer,
    text_length: int,
    style_length: int,
    draws: Draws | None,
    process_index: int = 0,
    process_count: int = 1,
    num_workers: int = 0,
) -> Loader:
    """Batches of a split of a data set, or of several mixed.

    Args:
        sources: a folder, or several data sets of one resolution. Training draws each sample from
            one of them, by weight; an epoch is as many samples as all hold together. Validation
            takes one after the other.
        batch_size: over all processes; each gets its consecutive share of every batch.
        draws: for training: samples are drawn, shuffled anew each epoch, without end, the rest of
            an epoch that fills no batch left out. None, for validation: every sample once, in
            order, nothing drawn; the last batch may be smaller.
        num_workers: reader processes; 0 reads in threads. Part of the position of an iterator: go
            on with the same number.

    A batch is a dict of NumPy arrays: sdf, host_sdf, band, u, v int8 [B, R, R, R] (zeros where
    unknown), has_chart; points, normals, colors float32 [B, P, 3], has_colors (they belong to the
    target); text_ids, style_ids int32 and text_mask, style_mask bool [B, L]; has_text, has_points,
    has_style: whether the model is to see them.

    Raises:
        UserError: no such dataset or split, too few examples, or processes that do not divide
            the batch or (in validation) the examples.
    """
    if isinstance(sources, str | Path):
        sources = [Source(Path(sources))]
    examples = [_open_split(source.directory, split) for source in sources]
    num_examples = sum(map(len, examples))
    if batch_size % process_count:
        raise UserError(f"{process_count} processes do not divide a batch of {batch_size}")
    assemble = Assembler(tokenizer, text_length, style_length, num_points)
    if draws is None:
        steps = -(-num_examples // batch_size)
        if process_count > 1 and num_examples % batch_size:
            raise UserError(
                f"{process_count} processes need whole batches to validate on: split {split} has "
                f"{num_examples} examples, make batch_size={batch_size} divide that"
            )
        dataset = grain.MapDataset.concatenate([grain.MapDataset.source(e) for e in examples])
        dataset = dataset.map(FixedInputs(assemble))
    else:
        steps = num_examples // batch_size
        if not steps:
            raise UserError(
                f"split {split} has {num_examples} examples, fewer than one batch of {batch_size}; "
                "lower batch_size or make more data"
            )
        # Shuffled and drawn before it is shared out: any number of processes sees the same run.
        dataset = _mix(examples, [source.weight for source in sources], seed)
        dataset = dataset.random_map(DrawnInputs(assemble, draws))
        if len(examples) == 1:
            dataset = dataset[: steps * batch_size]
    dataset = dataset.batch(batch_size // process_count)[process_index::process_count]
    if draws is not None and len(examples) == 1:
        dataset = dataset.repeat()
    dataset = dataset.to_iter_dataset(READ_OPTIONS)
    if num_workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS(sys.argv[:1])  # grain's workers read absl flags, which we have none of
        options = grain.MultiprocessingOptions(num_workers=num_workers)
        dataset = dataset.mp_prefetch(options, worker_init_fn=_ignore_ctrl_c)
    return Loader(dataset, steps_per_epoch=steps, num_examples=num_examples)


def _ignore_ctrl_c(*_: int) -> None:
    """A terminal sends it to reader processes too; the process that reads from them ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _open_split(directory: Path, split: str) -> RecordSource:
    manifest = read_manifest(directory)
    if split not in manifest["splits"]:
        raise UserError(
            f"no split {split!r} in {directory}: it has {', '.join(manifest['splits'])}"
        )
    return RecordSource([directory / name for name in manifest["splits"][split]["files"]])


def _mix(examples: Sequence[RecordSource], weights: Sequence[float], seed: int) -> grain.MapDataset:
    """One epoch of one source, shuffled; or several without end, each shuffled by itself."""
    shuffled = [grain.MapDataset.source(e).seed(seed).shuffle() for e in examples]
    if len(shuffled) == 1:
        return shuffled[0]
    total = sum(weights)
    mixed = grain.MapDataset.mix(
        [dataset.repeat() for dataset in shuffled], [weight / total for weight in weights]
    )
    return mixed.seed(seed)
