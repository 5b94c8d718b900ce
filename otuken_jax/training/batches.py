"""What a user's loader yields, made into the arrays that a step takes."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from otuken_jax.conventions import TRUNCATION_VOXELS, voxel_size
from otuken_jax.data.text import TokenBatch, Tokenizer, load_tokenizer
from otuken_jax.errors import UserError
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
        """Raises UserError if a batch has neither `mesh` nor `field`."""
        if "text_ids" in batch:
            return dict(batch)
        size = len(batch["text"])
        sdf = self._distance(batch)
        text = self._tokenize(batch["text"], self.text_length)
        style = self._tokenize(batch.get("style_text") or batch["text"], self.style_length)
        points, has_points = self._points(batch.get("points"), size)
        blank = np.zeros_like(sdf)
        yes, no = np.ones(size, bool), np.zeros(size, bool)
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
            "has_text": yes,
            "has_points": has_points,
            "has_style": yes,  # without `style_text` the prompt itself goes to both encoders
        }

    def _tokenize(self, texts: Sequence[str], length: int) -> TokenBatch:
        tokens = self.tokenizer.tokenize(list(texts), length)
        if tokens.truncated and not self._warned:
            self._warned = True
            first = texts[tokens.truncated[0]]
            logger.warning("texts longer than %d tokens are cut: %s...", length, first[:40])
        return tokens

    def _distance(self, batch: dict[str, Any]) -> np.ndarray:
        """Signed distance as stored in records: int8, 127 at TRUNCATION_VOXELS voxels."""
        if "field" in batch:
            sdf = np.asarray(batch["field"], np.float32)
        elif "mesh" in batch:
            sdf = signed_distance_grid(batch["mesh"], self.resolution)
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
        return np.stack([c[index % len(c)] for c in clouds]), np.ones(size, bool)


def pad_batch(batch: dict[str, np.ndarray], size: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Repeats the last sample up to `size`; also returns 1 for real samples, 0 for padding."""
    count = len(batch["has_text"])
    index = np.minimum(np.arange(size), count - 1)
    valid = (np.arange(size) < count).astype(np.float32)
    return {k: v[index] for k, v in batch.items()}, valid
