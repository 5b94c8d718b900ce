"""Motifs as 2D signed fields f(u, v) < 0 inside, on the chart cell [-1, 1]^2.

u wraps round with period 2, v is up. Strokes and gaps are wide (about 0.35 of the cell's 2), so
that a motif survives a cell of 15 voxels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt, gaussian_filter

from otuken_jax.data.motifs.primitives import box_distance, polyline_distance

TABLE_SIZE = 256
Field = Float[np.ndarray, "*shape"]
Path = list[tuple[float | int, float | int]]


@dataclass(frozen=True)
class Motif:
    """Turkish name and an implicit function of (u, v), negative inside; only its sign counts."""

    name: str
    outline: Callable[[Field, Field], Field]


def disc(u: Field, v: Field, cu: float, cv: float, radius: float) -> Field:
    """Signed distance to a disc."""
    return np.hypot(u - cu, v - cv) - radius


def stroke(u: Field, v: Field, path: Path, width: float) -> Field:
    """Signed distance to a round-ended stroke along a polyline."""
    squared = np.full(u.shape, np.inf)
    for (ax, ay), (bx, by) in pairwise(path):
        ex, ey = bx - ax, by - ay
        t = np.clip(((u - ax) * ex + (v - ay) * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        squared = np.minimum(squared, (u - ax - t * ex) ** 2 + (v - ay - t * ey) ** 2)
    return np.sqrt(squared) - width / 2


def polygon(u: Field, v: Field, vertices: Path) -> Field:
    """Signed distance to a polygon."""
    return polyline_distance(u, v, np.asarray(vertices), closed=True)


def union(*parts: Field) -> Field:
    """Union of fields."""
    return np.minimum.reduce(parts)


def cut(a: Field, b: Field) -> Field:
    """a without b."""
    return np.maximum(a, -b)


def _yildiz8(u: Field, v: Field) -> Field:
    upright = np.maximum(np.abs(u), np.abs(v)) - 0.62
    turned = (np.abs(u) + np.abs(v)) / np.sqrt(2) - 0.62
    return np.minimum(upright, turned)


def _hilal(u: Field, v: Field) -> Field:
    return cut(disc(u, v, 0.0, 0.0, 0.85), disc(u, v, 0.3, 0.12, 0.56))


def _baklava(u: Field, v: Field) -> Field:
    d = np.abs(u) + np.abs(v)
    return cut(d - 1.0, d - 0.45)


def _lale(u: Field, v: Field) -> Field:
    cup = polygon(
        np.abs(u), v, [(0, -0.25), (0.3, -0.2), (0.5, 0.1), (0.6, 0.9), (0.3, 0.5), (0, 0.95)]
    )
    stem = box_distance(u, v + 0.6, 0.17, 0.35)
    leaf = stroke(np.abs(u), v, [(0.1, -0.8), (0.45, -0.7), (0.7, -0.35)], 0.3)
    return union(cup, stem, leaf)


MOTIFS: dict[str, Motif] = {
    "lale": Motif("lale", _lale),
    "yildiz8": Motif("sekiz köşeli yıldız", _yildiz8),
    "hilal": Motif("hilal", _hilal),
    "baklava": Motif("baklava", _baklava),
}


@cache
def _table(name: str) -> Float[np.ndarray, "n n"]:
    """Signed distance on pixel centres [u, v], from the outline's sign, periodic in u."""
    c = (np.arange(TABLE_SIZE) + 0.5) * (2 / TABLE_SIZE) - 1
    inside = MOTIFS[name].outline(*np.meshgrid(c, c, indexing="ij")) < 0
    inside = np.tile(inside, (3, 1))
    pixels = np.where(
        inside, 0.5 - distance_transform_edt(inside), distance_transform_edt(~inside) - 0.5
    )
    smooth = gaussian_filter(pixels, 1.5, mode="nearest")  # takes the pixel steps off the outline
    return (smooth[TABLE_SIZE : 2 * TABLE_SIZE] * (2 / TABLE_SIZE)).astype(np.float32)


def motif_field(name: str, u: Field, v: Field) -> Field:
    """Signed distance to the motif in chart units, near exact; u wraps, v is clamped."""
    table = _table(name)
    x = (u + 1) * (TABLE_SIZE / 2) - 0.5
    y = np.clip((v + 1) * (TABLE_SIZE / 2) - 0.5, 0, TABLE_SIZE - 1.001)
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = (x - x0).astype(u.dtype), (y - y0).astype(u.dtype)
    a, b = x0 % TABLE_SIZE, (x0 + 1) % TABLE_SIZE
    low = table[a, y0] * (1 - fx) + table[b, y0] * fx
    high = table[a, y0 + 1] * (1 - fx) + table[b, y0 + 1] * fx
    return low * (1 - fy) + high * fy
