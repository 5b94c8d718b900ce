"""How well a model does what its words say: shapes, hosts, motifs and colours, from words alone."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from tqdm import tqdm

from otuken_jax import metrics
from otuken_jax.data.motifs.captions import captions, style_text
from otuken_jax.data.motifs.recipes import HOSTS, MOTIFS, STYLES, Recipe
from otuken_jax.data.motifs.shapes import band_region, build_fields, sample_surface
from otuken_jax.data.records import RecordSource, read_manifest
from otuken_jax.generation import Generator, Prompt, predict
from otuken_jax.losses.field import trilinear_sample

BATCH = 8
MODES = ("text+style", "sentence")  # caption and style text; or the one full caption for both
COLOR_POINTS = 512


@dataclass(frozen=True)
class Library:
    """What a run was trained on: which names, and the coarsest grid of its shapes."""

    hosts: tuple[str, ...]
    motifs: tuple[str, ...]
    styles: tuple[str, ...]
    coarsest: int
    resolution: int

    @classmethod
    def read(cls, directory: str | Path) -> "Library":
        """From a data set's manifest."""
        held = read_manifest(directory)["arguments"]
        return cls(
            tuple(held["hosts"] or HOSTS),
            tuple(held["motifs"] or MOTIFS),
            tuple(held["styles"] or STYLES),
            held["coarsest"],
            held["resolution"],
        )

    def occupancy(self, recipe: Recipe) -> Bool[np.ndarray, "r r r"]:
        return build_fields(recipe, self.resolution, coarsest=self.coarsest).sdf < 0

    def on_every_host(self, recipe: Recipe) -> dict[str, Bool[np.ndarray, "r r r"]]:
        """The same recipe on every host."""
        return {h: self.occupancy(dataclasses.replace(recipe, host=h)) for h in self.hosts}

    def with_every_motif(self, recipe: Recipe) -> dict[str, Bool[np.ndarray, "r r r"]]:
        """The same recipe with every motif."""
        return {m: self.occupancy(dataclasses.replace(recipe, motif=m)) for m in self.motifs}


@dataclass(frozen=True)
class Prediction:
    """What the model made of one prompt, on its grid."""

    occupancy: Bool[np.ndarray, "r r r"]
    colors: Float[np.ndarray, "r r r 3"]


def read_recipes(directory: str | Path, split: str, limit: int | None = None) -> list[Recipe]:
    """Recipes of the ornamented shapes of a split, in order."""
    examples = read_examples(directory, split)
    recipes = [Recipe.from_dict(e["recipe"]) for e in examples]
    return [r for r in recipes if r.motif is not None][:limit]


def read_examples(directory: str | Path, split: str) -> list[dict[str, Any]]:
    """All records of a split."""
    files = read_manifest(directory)["splits"][split]["files"]
    source = RecordSource([Path(directory) / name for name in files])
    return [source[i] for i in range(len(source))]


def mean_shapes(directory: str | Path) -> dict[str, Bool[np.ndarray, "r r r"]]:
    """The mean training shape of every host."""
    grids: dict[str, list] = {}
    for example in read_examples(directory, "train"):
        grids.setdefault(example["recipe"]["host"], []).append(example["sdf"] < 0)
    return metrics.mean_shapes(grids)


def prompt_of(recipe: Recipe, mode: str) -> Prompt:
    """The full caption with the style text, or alone."""
    style = style_text(recipe) if mode == "text+style" else None
    return Prompt(captions(recipe)["full"], style=style)


def predict_prompts(generator: Generator, prompts: Sequence[Prompt]) -> list[Prediction]:
    """Fields and colours of many prompts, in batches."""
    predictions: list[Prediction] = []
    for start in range(0, len(prompts), BATCH):
        chunk = list(prompts[start : start + BATCH])
        rows = [generator.inputs(p)[0] for p in chunk + [chunk[-1]] * (BATCH - len(chunk))]
        batch = {k: np.concatenate([row[k] for row in rows]) for k in rows[0]}
        ones = {"mix": np.float32(0), "style": np.float32(1), "ornament": np.float32(1)}
        field, colors = jax.device_get(
            predict(generator.modeldef, generator.stage, generator.params, batch, ones)
        )
        predictions += [Prediction(field[i] > 0, colors[i]) for i in range(len(chunk))]
    return predictions


@dataclass(frozen=True)
class SplitResult:
    """Means over one split in one mode; every figure is from words alone, in the canonical pose."""

    split: str
    mode: str
    count: int
    iou: float  # predicted with true occupancy
    mean_shape_iou: float  # the host's mean training shape with the true occupancy
    host_accuracy: float  # highest IoU among the same recipe on every host
    motif_accuracy: float  # highest band IoU among the same recipe with every motif
    motif_chance: float
    ceiling: float  # motif accuracy of the true shape itself
    band_iou_right: float
    band_iou_wrong: float
    confusion: list[list[int]]  # hosts, [true][predicted]


def evaluate_split(
    generator: Generator,
    library: Library,
    recipes: Sequence[Recipe],
    means: dict[str, Bool[np.ndarray, "r r r"]],
    split: str,
) -> list[SplitResult]:
    """Evaluates every mode on the recipes of a split; see `SplitResult` for the definitions."""
    made = {m: predict_prompts(generator, [prompt_of(r, m) for r in recipes]) for m in MODES}
    rows: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    for i, recipe in enumerate(tqdm(recipes, desc=split, unit="shape", mininterval=1.0)):
        true = library.occupancy(recipe)
        hosts = library.on_every_host(recipe)
        motifs = library.with_every_motif(recipe)
        region = band_region(recipe, library.resolution, coarsest=library.coarsest)
        right = library.motifs.index(recipe.motif)
        ceiling = np.argmax(metrics.band_ious(true, list(motifs.values()), region)) == right
        for mode in MODES:
            occupancy = made[mode][i].occupancy
            bands = metrics.band_ious(occupancy, list(motifs.values()), region)
            rows[mode].append(
                {
                    "iou": metrics.iou(occupancy, true),
                    "mean_shape_iou": metrics.iou(means[recipe.host], true),
                    "host": metrics.nearest(occupancy, hosts),
                    "motif_accuracy": bool(np.argmax(bands) == right),
                    "ceiling": bool(ceiling),
                    "band_iou_right": bands[right],
                    "band_iou_wrong": np.delete(bands, right).mean(),
                }
            )
    return [
        _summarise(split, mode, rows[mode], [r.host for r in recipes], library) for mode in MODES
    ]


def _summarise(
    split: str, mode: str, rows: list[dict[str, Any]], hosts: list[str], library: Library
) -> SplitResult:
    mean = {k: float(np.mean([r[k] for r in rows])) for k in rows[0] if k != "host"}
    pairs = [(true, row["host"]) for true, row in zip(hosts, rows, strict=True)]
    return SplitResult(
        split=split,
        mode=mode,
        count=len(rows),
        host_accuracy=float(np.mean([a == b for a, b in pairs])),
        motif_chance=1 / len(library.motifs),
        confusion=metrics.confusion(pairs, library.hosts).tolist(),
        **mean,
    )


def word_swaps(
    generator: Generator, library: Library, recipes: Sequence[Recipe]
) -> dict[str, float]:
    """What changing one word changes.

    host_follows: with another host's caption and the same style text, the nearest host is the new
    one. color_follows: with another style's text and the same caption, the colours at the true
    surface are nearer (L1) to the new style's than to the old one's. host_stays: the nearest host
    is then still the old one.
    """
    turn = lambda names, name: names[(names.index(name) + 1) % len(names)]  # noqa: E731
    hosts = [dataclasses.replace(r, host=turn(library.hosts, r.host)) for r in recipes]
    styles = [
        dataclasses.replace(r, style=turn(library.styles, r.style), palette=0) for r in recipes
    ]
    plain = lambda r: captions(r)["full_plain"]  # noqa: E731
    by_host = predict_prompts(
        generator, [Prompt(plain(h), style_text(r)) for r, h in zip(recipes, hosts, strict=True)]
    )
    by_style = predict_prompts(
        generator, [Prompt(plain(r), style_text(s)) for r, s in zip(recipes, styles, strict=True)]
    )
    follows, colors, stays = [], [], []
    for i, recipe in enumerate(recipes):
        variants = library.on_every_host(recipe)
        follows.append(metrics.nearest(by_host[i].occupancy, variants) == hosts[i].host)
        stays.append(metrics.nearest(by_style[i].occupancy, variants) == recipe.host)
        errors = [color_error(by_style[i], r, library) for r in (styles[i], recipe)]
        colors.append(errors[0] < errors[1])
    return {
        "host_follows": float(np.mean(follows)),
        "color_follows": float(np.mean(colors)),
        "host_stays": float(np.mean(stays)),
    }


def color_error(prediction: Prediction, recipe: Recipe, library: Library) -> float:
    """Mean absolute error of sRGB in 0..1 at points of the recipe's true surface."""
    surface = sample_surface(recipe, COLOR_POINTS, 0, coarsest=library.coarsest)
    colors, points = jnp.asarray(prediction.colors), jnp.asarray(surface["points"])
    sampled = trilinear_sample(colors[None], points[None])[0]
    return float(np.abs(np.asarray(sampled) - surface["colors"]).mean())


def format_table(results: Sequence[SplitResult], swaps: dict[str, float]) -> str:
    """The results as a Markdown table, with the definitions below it."""
    lines = [
        "| split | words | shapes | IoU | mean shape | host | motif | chance | ceiling "
        "| band IoU right / wrong |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.split} | {r.mode} | {r.count} | {r.iou:.3f} | {r.mean_shape_iou:.3f} "
        f"| {r.host_accuracy:.2f} | {r.motif_accuracy:.2f} | {r.motif_chance:.2f} "
        f"| {r.ceiling:.2f} | {r.band_iou_right:.2f} / {r.band_iou_wrong:.2f} |"
        for r in results
    ]
    lines += [
        "",
        "From words alone, canonical pose. IoU: with the true shape; mean shape: the same of the "
        "host's mean training shape; host: nearest by IoU among the same recipe on every host; "
        "motif: the right motif's band IoU above every wrong one's; ceiling: of the true shape.",
        f"Changing only the host word changes the host in {swaps['host_follows']:.0%}; changing "
        f"only the style changes the colours in {swaps['color_follows']:.0%} and keeps the host in "
        f"{swaps['host_stays']:.0%}.",
    ]
    return "\n".join(lines)


def format_confusion(result: SplitResult, hosts: Sequence[str]) -> str:
    """The host confusion matrix, true hosts in rows."""
    width = max(map(len, hosts)) + 1
    head = " " * width + " ".join(f"{h[:4]:>4}" for h in hosts)
    rows = [
        f"{host:<{width}}" + " ".join(f"{n or '.':>4}" for n in row)
        for host, row in zip(hosts, result.confusion, strict=True)
    ]
    return "\n".join([f"hosts on {result.split}, {result.mode} (rows: true)", head, *rows])
