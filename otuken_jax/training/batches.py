"""What a user's loader yields, made into the arrays that a step takes."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from otuken_jax.conventions import TRUNCATION_VOXELS, voxel_size
from otuken_jax.data.text import TokenBatch, Tokenizer, load_tokenizer
from otuken_jax.errors import UserError
from otuken_jax.geometry.meshes import Meshes
from otuken_jax.geometry.voxelize import signed_distance_grid

logger = logging.getLogger(__name__)


class BatchPreparer:
    """Turns dicts with `text`, `points`, `mesh` or `field`, `style_text` into arrays.

    Batches of `otuken_jax.data.pipeline` already are arrays and pass through.

    Args:
        tokenizer: a `Tokenizer` or the name of a text encoder.
        resolution: of the fields made from meshes.
        num_points: points per sample; fewer are repeated, more are cut.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | str,
        *,
        resolution: int = 64,
        num_points: int = 1024,
        text_length: int = 200,
        style_length: int = 200,
    ) -> None:
        if isinstance(tokenizer, str):
            tokenizer = load_tokenizer("bytes" if tokenizer.startswith("bytes") else tokenizer)
        self.tokenizer = tokenizer
        self.resolution = resolution
        self.num_points = num_points
        self.text_length = text_length
        self.style_length = style_length
        self._warned = False

    @property
    def meta(self) -> dict[str, Any]:
        """How texts and points are read: checkpoints say it, generation reads them likewise."""
        return {
            "tokenizer": self.tokenizer.name,
            "text_length": self.text_length,
            "style_length": self.style_length,
            "num_points": self.num_points,
        }

    def __call__(self, batch: dict[str, Any]) -> dict[str, np.ndarray]:
        """The arrays of a batch.

        Without `style_text` the prompt goes to both encoders. Where one of the style texts is None
        or empty, that sample has no style: it is a plain object.

        Raises:
            UserError: a batch lacks `text`, or both `mesh` and `field`; its parts differ in length;
                a prompt or a cloud is empty; or a number is not finite.
        """
        if "text_ids" in batch:
            return dict(batch)
        size = _count(batch)
        sdf = self._distance(batch)
        text, has_text = self._tokenize(batch["text"], self.text_length)
        if not has_text.all():
            raise UserError(f"text {has_text.argmin()} of a batch is empty; describe the object")
        styles = batch.get("style_text")
        styles = batch["text"] if styles is None else styles
        style, has_style = self._tokenize(styles, self.style_length)
        points, has_points = self._points(batch.get("points"), size)
        blank = np.zeros_like(sdf)
        no = np.zeros(size, bool)
        return {
            "sdf": sdf,
            "host_sdf": blank,
            "band": blank,
            "u": blank,
            "v": blank,
            "has_chart": no,
            "points": points,
            "normals": np.zeros_like(points),
            "colors": np.zeros_like(points),
            "has_colors": no,
            "text_ids": text.ids,
            "text_mask": text.mask,
            "style_ids": style.ids,
            "style_mask": style.mask,
            "has_text": has_text,
            "has_points": has_points,
            "has_style": has_style,
        }

    def _tokenize(
        self, texts: Sequence[str | None], length: int
    ) -> tuple[TokenBatch, Bool[np.ndarray, " b"]]:
        """Tokens of the texts, and which of them there are: None and empty ones stay blank."""
        present = np.array(
            [text is not None and self.tokenizer.prepare(text) != "" for text in texts]
        )
        given = [text for text, there in zip(texts, present, strict=True) if there]
        ids = np.full((len(texts), length), self.tokenizer.pad_id, np.int32)
        mask = np.zeros((len(texts), length), bool)
        ids[present], mask[present], truncated = self.tokenizer.tokenize(given, length)
        if truncated and not self._warned:
            self._warned = True
            first = given[truncated[0]]
            logger.warning("texts longer than %d tokens are cut: %s...", length, first[:40])
        return TokenBatch(ids, mask, truncated), present

    def _distance(self, batch: dict[str, Any]) -> np.ndarray:
        """Signed distance as stored in records: int8, 127 at TRUNCATION_VOXELS voxels."""
        if batch.get("field") is not None:
            sdf = np.asarray(batch["field"], np.float32)
            if sdf.ndim != 4 or len(set(sdf.shape[1:])) != 1:
                raise UserError(f"`field` has the shape {sdf.shape}; give [batch, r, r, r]")
            _check_finite("field", sdf)
        elif batch.get("mesh") is not None:
            _check_finite("mesh", np.asarray(batch["mesh"].verts))
            try:
                sdf = signed_distance_grid(batch["mesh"], self.resolution)
            except ValueError as error:
                raise UserError(f"a mesh of a batch has no inside ({error})") from error
        else:
            raise UserError(
                "a batch needs `mesh` (a Meshes) or `field` (signed distance) to learn from"
            )
        scale = 127 / (TRUNCATION_VOXELS * voxel_size(sdf.shape[1]))
        return np.clip(np.round(sdf * scale), -127, 127).astype(np.int8)

    def _points(self, points: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
        if points is None:
            return np.zeros((size, self.num_points, 3), np.float32), np.zeros(size, bool)
        index = np.arange(self.num_points)
        clouds = [np.asarray(p, np.float32) for p in points]
        for i, cloud in enumerate(clouds):
            if cloud.ndim != 2 or cloud.shape[1] != 3 or not cloud.size:
                raise UserError(f"points {i} of a batch have the shape {cloud.shape}; give [n, 3]")
        points = np.stack([cloud[index % len(cloud)] for cloud in clouds])
        _check_finite("points", points)
        return points, np.ones(size, bool)


def _check_finite(name: str, values: Float[np.ndarray, "b ..."]) -> None:
    """UserError with the number of the first sample that holds NaN or infinity."""
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise UserError(
            f"{name} {finite.argmin()} of a batch holds NaN or infinity; mend it or leave it out"
        )


def _count(batch: dict[str, Any]) -> int:
    """How many samples a user's batch has; UserError unless each of its parts has as many."""
    counts = {}
    for name in ("text", "style_text", "points", "mesh", "field"):
        part = batch.get(name)
        if part is not None:
            counts[name] = len(part.num_verts if isinstance(part, Meshes) else part)
    if not counts.get("text"):
        raise UserError("a batch needs `text`, a list of prompts")
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UserError(
            f"the parts of a batch differ in length ({told}); give one of each a sample"
        )
    return counts["text"]


def pad_batch(batch: dict[str, np.ndarray], size: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Repeats the last sample up to `size`; also returns 1 for real samples, 0 for padding."""
    count = len(batch["has_text"])
    index = np.minimum(np.arange(size), count - 1)
    valid = (np.arange(size) < count).astype(np.float32)
    return {k: v[index] for k, v in batch.items()}, valid
