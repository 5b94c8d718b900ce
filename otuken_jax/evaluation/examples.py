"""What is evaluated: records of a split at a model's resolution, and the words for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import map_coordinates, zoom

from otuken_jax.conventions import voxel_size
from otuken_jax.data.motifs.recipes import Recipe
from otuken_jax.data.records import RecordSource, distance_step, read_manifest
from otuken_jax.errors import UserError
from otuken_jax.generation import Generator, Prompt, predict
from otuken_jax.metrics import Cloud

BATCH = 8


@dataclass(frozen=True)
class Volume:
    """A shape on the grid: its field (> 0 inside) and colours in 0..1."""

    field: Float[np.ndarray, "r r r"]
    colors: Float[np.ndarray, "r r r 3"] | None = None

    @cached_property
    def occupancy(self) -> Bool[np.ndarray, "r r r"]:
        return self.field > 0

    def colors_at(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Colours at points in domain units, trilinear, clamped at the border."""
        at = (points.T + 1) / voxel_size(self.colors.shape[0]) - 0.5
        channels = np.moveaxis(self.colors, -1, 0)
        return np.stack([map_coordinates(c, at, order=1, mode="nearest") for c in channels], -1)


@dataclass(frozen=True)
class Example:
    """A record: its true shape at the model's resolution, exact surface points, and its words.

    `recipe` is None for a prepared mesh.
    """

    field: Float[np.ndarray, "r r r"]  # minus the signed distance, domain units
    surface: Cloud
    colors: Float[np.ndarray, "n 3"]
    captions: Mapping[str, str]
    style_text: str
    recipe: Recipe | None
    has_colors: bool = True  # False: the mesh had none, and `colors` only fills the place

    @classmethod
    def from_record(cls, record: Mapping[str, Any], resolution: int) -> "Example":
        recipe = record.get("recipe")
        return cls(
            -at_resolution(record["sdf"], resolution),
            Cloud(record["points"], record["normals"]),
            record["colors"],
            record["captions"],
            record["style_text"],
            Recipe.from_dict(recipe) if recipe else None,
            record.get("has_colors", True),
        )


def at_resolution(sdf: np.ndarray, resolution: int) -> Float[np.ndarray, "r r r"]:
    """A stored int8 distance in domain units, resampled trilinearly at the cells of a grid."""
    distance = sdf.astype(np.float32) * np.float32(distance_step(sdf.shape[0]))
    if sdf.shape[0] == resolution:
        return distance
    return zoom(distance, resolution / sdf.shape[0], order=1, mode="nearest", grid_mode=True)


def open_split(directory: str | Path, split: str) -> RecordSource:
    """The records of a split; UserError if the data set has none of that name."""
    splits = read_manifest(directory)["splits"]
    if split not in splits or not splits[split]["count"]:
        held = ", ".join(name for name in splits if splits[name]["count"])
        raise UserError(f"no shapes in split {split!r} of {directory}; choose among {held}")
    return RecordSource([Path(directory) / name for name in splits[split]["files"]])


@dataclass(frozen=True)
class Words:
    """Which of a record's words a model sees: a caption, with the style text or alone.

    Beside the style text the caption of kind "host" names the object alone, so that the ornament
    is told once, and a full one alone tells both.
    """

    kind: str  # of the caption: host, full, short
    with_style: bool

    @property
    def name(self) -> str:
        words = "text+style" if self.with_style else "sentence"
        return f"{words}, short" if self.kind == "short" else words

    def fits(self, example: Example) -> bool:
        """Whether the record has such words. Any caption counts, but none as a short one."""
        present = self.kind in example.captions or (self.kind != "short" and example.captions)
        return bool(present and (example.style_text or not self.with_style))

    def prompt(self, example: Example) -> Prompt:
        text = example.captions.get(self.kind) or next(iter(example.captions.values()))
        return Prompt(text, style=example.style_text if self.with_style else None)


FULL_WORDS = (Words("host", True), Words("full", False))
ALL_WORDS = (*FULL_WORDS, Words("short", True), Words("short", False))


def predict_prompts(
    generator: Generator, prompts: Sequence[Prompt], mix: float = 0.0
) -> list[Volume]:
    """Fields and colours of prompts, in batches; `mix` blends in their second styles."""
    volumes: list[Volume] = []
    for start in range(0, len(prompts), BATCH):
        chunk = list(prompts[start : start + BATCH])
        # The last batch is filled up, so that one program serves all.
        rows = [generator.inputs(p)[0] for p in chunk + [chunk[-1]] * (BATCH - len(chunk))]
        batch = {k: np.concatenate([row[k] for row in rows]) for k in rows[0]}
        strengths = {"mix": np.float32(mix), "style": np.float32(1), "ornament": np.float32(1)}
        field, colors = jax.device_get(
            predict(generator.modeldef, generator.stage, generator.params, batch, strengths)
        )
        volumes += [Volume(field[i], colors[i]) for i in range(len(chunk))]
    return volumes
