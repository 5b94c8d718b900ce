"""What motifs are drawn with: simple 2D fields in chart units, negative inside.

u wraps round with period 2, v is up. Strokes and gaps are about 0.2 wide or more of the cell's 2,
so that a motif survives a cell of 20 voxels; `fields` turns the outline into true distances.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from otuken_jax.data.motifs.primitives import polyline_distance, smooth_profile

Field = Float[np.ndarray, "*shape"]
Number = float | int
Path = list[tuple[Number, Number]]
GROUPS = {  # Turkish and English names of the contact sheets
    "bitki": ("Çiçekler ve meyveler", "Flowers and fruit"),
    "yaprak": ("Yapraklar, ağaçlar ve rumiler", "Leaves, trees and rumi"),
    "geometrik": ("Geometrik ve mimari motifler", "Geometry and architecture"),
    "bordur": ("Bordürler", "Borders"),
    "sembol": ("Simgeler ve madalyonlar", "Symbols and medallions"),
    "kilim": ("Kilim motifleri", "Kilim motifs"),
    "figur": ("Hayvan figürleri", "Animals"),
}


@dataclass(frozen=True)
class Motif:
    """A motif's names and meaning, and an implicit function of (u, v): only its sign counts.

    `lattice`: piercing cuts the ground out and leaves the motif standing.
    """

    name: str
    english: str
    group: str
    meaning: str
    meaning_english: str
    outline: Callable[[Field, Field], Field]
    lattice: bool = False


def path(text: str) -> Path:
    """Points written as "u,v u,v ..."."""
    return [tuple(float(x) for x in point.split(",")) for point in text.split()]


def disc(u: Field, v: Field, cu: Number, cv: Number, radius: Number) -> Field:
    """Signed distance to a disc."""
    return np.hypot(u - cu, v - cv) - radius


def stroke(u: Field, v: Field, path: Path, width: Number) -> Field:
    """Signed distance to a round-ended stroke along a polyline."""
    squared = np.full(u.shape, np.inf)
    for (ax, ay), (bx, by) in pairwise(path):
        ex, ey = bx - ax, by - ay
        t = np.clip(((u - ax) * ex + (v - ay) * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        squared = np.minimum(squared, (u - ax - t * ex) ** 2 + (v - ay - t * ey) ** 2)
    return np.sqrt(squared) - width / 2


def taper(u: Field, v: Field, path: Path, widths: Sequence[Number]) -> Field:
    """A stroke whose width runs evenly through `widths` from its first point to its last."""
    steps = [np.hypot(c - a, d - b) for (a, b), (c, d) in pairwise(path)]
    along = np.concatenate([[0], np.cumsum(steps)]) / sum(steps)
    radii = np.interp(along, np.linspace(0, 1, len(widths)), np.divide(widths, 2))
    field = np.full(u.shape, np.inf)
    for ((ax, ay), (bx, by)), (ra, rb) in zip(pairwise(path), pairwise(radii), strict=True):
        ex, ey = bx - ax, by - ay
        t = np.clip(((u - ax) * ex + (v - ay) * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        distance = np.hypot(u - ax - t * ex, v - ay - t * ey)
        field = np.minimum(field, distance - (ra + t * (rb - ra)))
    return field


def polygon(u: Field, v: Field, vertices: Path) -> Field:
    """Signed distance to a polygon."""
    return polyline_distance(u, v, np.asarray(vertices), closed=True)


def petal(u: Field, v: Field, low: Number, high: Number, half: Number) -> Field:
    """Signed distance to an upright lens, pointed at (0, low) and (0, high)."""
    length = (high - low) / 2
    radius = (length**2 + half**2) / (2 * half)
    return np.hypot(np.abs(u) + radius - half, v - (low + high) / 2) - radius


def drop(u: Field, v: Field, low: Number, high: Number, half: Number) -> Field:
    """An upright drop, round at the bottom, pointed at (0, high)."""
    return taper(u, v, [(0, low + half), (0, high)], (2 * half, 0.0))


def bitmap(u: Field, v: Field, rows: Sequence[str], size: Number = 0.95) -> Field:
    """A drawing in squares, '#' inside; it fills |u|, |v| < size."""
    grid = np.array([[letter == "#" for letter in row] for row in rows])
    grid = np.pad(grid, 1)
    height, width = len(rows), len(rows[0])
    column = np.floor((u / size + 1) / 2 * width).astype(int)
    row = np.floor((1 - v / size) / 2 * height).astype(int)
    inside = grid[np.clip(row, -1, height) + 1, np.clip(column, -1, width) + 1]
    return np.where(inside, -1.0, 1.0)


def union(*parts: Field) -> Field:
    """Union of fields."""
    return np.minimum.reduce(parts)


def both(*parts: Field) -> Field:
    """Intersection of fields."""
    return np.maximum.reduce(parts)


def cut(a: Field, b: Field) -> Field:
    """a without b."""
    return np.maximum(a, -b)


def interlaced(over: Field, under: Field, gap: Number) -> Field:
    """Two strands, the lower one broken off `gap` beside the upper."""
    return union(over, cut(under, over - gap))


def turned(u: Field, v: Field, degrees: Number) -> tuple[Field, Field]:
    """Coordinates in which an upright drawing leans to the right by `degrees`."""
    sin, cos = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    return u * cos - v * sin, u * sin + v * cos


def polar(u: Field, v: Field) -> tuple[Field, Field]:
    """Radius, and angle in radians from straight up, clockwise."""
    return np.hypot(u, v), np.arctan2(u, v)


def sector(u: Field, v: Field, count: int) -> tuple[Field, Field]:
    """Coordinates that repeat an upright drawing `count` times round the origin."""
    r, angle = polar(u, v)
    step = 2 * np.pi / count
    angle = np.mod(angle + step / 2, step) - step / 2
    return r * np.sin(angle), r * np.cos(angle)


def arc(center: tuple[Number, Number], radius: Number, start: Number, end: Number) -> Path:
    """Points of a circular arc, angles in degrees."""
    angles = np.radians(np.linspace(start, end, 12))
    return [(center[0] + radius * np.cos(t), center[1] + radius * np.sin(t)) for t in angles]


def spiral(
    center: tuple[Number, Number], radii: tuple[Number, Number], start: Number, end: Number
) -> Path:
    """Points of an Archimedean spiral, angles in degrees."""
    angles = np.radians(np.linspace(start, end, 40))
    lengths = np.linspace(*radii, 40)
    return [
        (center[0] + r * np.cos(t), center[1] + r * np.sin(t))
        for r, t in zip(lengths, angles, strict=True)
    ]


def curve(text: str, segments: int = 6) -> Path:
    """A smooth curve through the points of `text`."""
    return [tuple(p) for p in smooth_profile(path(text), segments)]


def blob(u: Field, v: Field, text: str) -> Field:
    """The inside of a smooth closed curve through the points of `text`."""
    points = path(text)
    around = smooth_profile([points[-1], *points, points[0], points[1]], 6)
    return polygon(u, v, [tuple(p) for p in around[6:-7]])
