"""Motifs as 2D signed fields f(u, v) < 0 inside, on the chart cell [-1, 1]^2.

u wraps round with period 2, v is up. Strokes and gaps are wide (about 0.35 of the cell's 2), so
that a motif survives a cell of 15 voxels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt, gaussian_filter

from otuken_jax.data.motifs.primitives import box_distance, polyline_distance

TABLE_SIZE = 256
ROUNDING = 0.08  # radius of the sharpest tip, chart units
Field = Float[np.ndarray, "*shape"]
Number = float | int
Path = list[tuple[Number, Number]]


@dataclass(frozen=True)
class Motif:
    """Turkish name and an implicit function of (u, v), negative inside; only its sign counts."""

    name: str
    outline: Callable[[Field, Field], Field]


def disc(u: Field, v: Field, cu: Number, cv: Number, radius: Number) -> Field:
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


def arc(
    center: tuple[float | int, float | int], radius: float, start: float | int, end: float | int
) -> Path:
    """Points of a circular arc, angles in degrees."""
    angles = np.radians(np.linspace(start, end, 12))
    return [(center[0] + radius * np.cos(t), center[1] + radius * np.sin(t)) for t in angles]


def _lale(u: Field, v: Field) -> Field:
    s = np.abs(u)
    cup = polygon(
        s,
        v,
        [
            (0, -0.3),
            (0.26, -0.24),
            (0.44, -0.04),
            (0.5, 0.2),
            (0.56, 0.45),
            (0.8, 0.86),
            (0.5, 0.8),
            (0.27, 0.34),
            (0, 0.92),
        ],
    )
    leaf = polygon(
        s,
        v,
        [
            (0, -0.92),
            (0.3, -0.88),
            (0.68, -0.66),
            (0.92, -0.12),
            (0.72, -0.1),
            (0.52, -0.32),
            (0.3, -0.5),
            (0, -0.5),
        ],
    )
    return union(cup, leaf, box_distance(u, v + 0.55, 0.17, 0.37))


def _karanfil(u: Field, v: Field) -> Field:
    x, y = u, v + 0.35
    r, angle = np.hypot(x, y), np.degrees(np.arctan2(x, y))
    between = 2 * np.abs(np.mod(angle / 28 + 0.5, 1.0) - 0.5)  # 0 amid a petal, 1 between two
    fan = np.maximum(r - 1.26 + 0.34 * between, np.abs(angle) - 70)
    fan = np.maximum(cut(fan, r - 0.62), np.abs(u) - 0.88)
    calyx = polygon(
        np.abs(u), v, [(0, -0.92), (0.18, -0.92), (0.18, -0.62), (0.4, -0.2), (0.26, 0.0), (0, 0.0)]
    )
    return union(fan, calyx)


def _penc(u: Field, v: Field) -> Field:
    angle = np.arctan2(u, v)
    sector = np.mod(angle + np.pi / 5, 2 * np.pi / 5) - np.pi / 5
    r = np.hypot(u, v)
    petal = np.hypot(r * np.sin(sector), (r * np.cos(sector) - 0.56)) - 0.36
    return cut(union(petal, r - 0.4), r - 0.24)


def _octagram(u: Field, v: Field, size: float) -> Field:
    upright = np.maximum(np.abs(u), np.abs(v))
    turned = (np.abs(u) + np.abs(v)) / np.sqrt(2)
    return np.minimum(upright, turned) - size


def _yildiz8(u: Field, v: Field) -> Field:
    return cut(_octagram(u, v, 0.68), _octagram(u, v, 0.34))


def _hilal(u: Field, v: Field) -> Field:
    return cut(disc(u, v, 0.0, 0.0, 0.9), disc(u, v, 0.34, 0.14, 0.6))


def _cintemani(u: Field, v: Field) -> Field:
    return union(disc(u, v, 0.0, 0.47, 0.4), disc(np.abs(u), v, 0.5, -0.42, 0.4))


def _baklava(u: Field, v: Field) -> Field:
    d = np.abs(u) + np.abs(v)
    return 0.25 - np.abs(d - 1.02)


def _muhur(u: Field, v: Field) -> Field:
    def triangle(y):
        return np.maximum(-y, (np.sqrt(3) * np.abs(u) + y) / 2) - 0.5

    star = union(triangle(v), triangle(-v))
    return cut(star, disc(u, v, 0, 0, 0.2))


def _elibelinde(u: Field, v: Field) -> Field:
    s = np.abs(u)
    head = s + np.abs(v - 0.68) - 0.3
    trunk = box_distance(u, v - 0.05, 0.18, 0.5)
    arm = stroke(s, v, [(0.1, 0.34), (0.74, 0.34), (0.74, -0.2), (0.54, -0.2)], 0.28)
    skirt = polygon(s, v, [(0, -0.3), (0.18, -0.5), (0.3, -0.6), (0.86, -0.92), (0, -0.92)])
    return union(head, trunk, arm, skirt)


def _kocboynuzu(u: Field, v: Field) -> Field:
    s = np.abs(u)
    stem = box_distance(u, v + 0.35, 0.17, 0.57)
    horn = stroke(s, v, [(0, 0.1), *arc((0.46, 0.38), 0.34, 180, -70)], 0.34)
    return union(stem, horn)


def _selvi(u: Field, v: Field) -> Field:
    def tree(x, low, high, width):
        t = np.clip((v - low) / (high - low), 0.0, 1.0)
        crown = np.abs(x) - width * (np.sin(np.pi * t**0.7) ** 0.8) * (1.12 - t) ** 0.2
        crown = np.maximum(crown, np.maximum(low - v, v - high))
        return union(crown, box_distance(x, v - low, 0.15, 0.25))

    side = np.mod(u, 2.0) - 1.0
    return union(tree(u, -0.62, 0.95, 0.46), tree(side, -0.62, 0.35, 0.3))


def _carkifelek(u: Field, v: Field) -> Field:
    r, angle = np.hypot(u, v), np.arctan2(v, u)
    blade = np.cos(5 * (angle + 1.1 * r)) + 0.1
    return union(np.maximum(-blade, r - 0.92), r - 0.25)


def _zencerek(u: Field, v: Field) -> Field:
    wave = [(x, 0.52 * np.sin(np.pi * x)) for x in np.linspace(-1.2, 1.2, 61)]
    return union(stroke(u, v, wave, 0.36), stroke(u, -v, wave, 0.36))


def _suyolu(u: Field, v: Field) -> Field:
    zigzag = [(x, y) for x, y in zip(range(-2, 3), (0.3, -0.3, 0.3, -0.3, 0.3), strict=True)]
    return union(stroke(u, v - 0.48, zigzag, 0.38), stroke(u, v + 0.48, zigzag, 0.38))


def _goz(u: Field, v: Field) -> Field:
    def almond(half_width, half_height):
        radius = (half_width**2 + half_height**2) / (2 * half_height)
        return disc(u, np.abs(v), 0, half_height - radius, radius)

    return union(cut(almond(0.96, 0.76), almond(0.68, 0.46)), disc(u, v, 0, 0, 0.21))


def _meandr(u: Field, v: Field) -> Field:
    base = np.abs(v + 0.72) - 0.17
    key = [(-0.66, -0.7), (-0.66, 0.72), (0.66, 0.72), (0.66, -0.06), (0.0, -0.06)]
    parts = [
        box_distance(u - (a + c) / 2, v - (b + d) / 2, abs(a - c) / 2 + 0.17, abs(b - d) / 2 + 0.17)
        for (a, b), (c, d) in pairwise(key)
    ]
    return union(base, *parts)


MOTIFS: dict[str, Motif] = {
    "lale": Motif("lale", _lale),
    "karanfil": Motif("karanfil", _karanfil),
    "penc": Motif("penç", _penc),
    "yildiz8": Motif("sekiz köşeli yıldız", _yildiz8),
    "hilal": Motif("hilal", _hilal),
    "cintemani": Motif("çintemani", _cintemani),
    "baklava": Motif("baklava", _baklava),
    "muhur": Motif("mührüsüleyman", _muhur),
    "elibelinde": Motif("elibelinde", _elibelinde),
    "kocboynuzu": Motif("koçboynuzu", _kocboynuzu),
    "selvi": Motif("selvi", _selvi),
    "carkifelek": Motif("çarkıfelek", _carkifelek),
    "zencerek": Motif("zencerek", _zencerek),
    "suyolu": Motif("su yolu", _suyolu),
    "goz": Motif("göz", _goz),
    "meandr": Motif("meandr", _meandr),
}


def _pixel_distance(inside: Bool[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """Signed distance in pixels, negative inside, between pixel centres and the outline."""
    return np.where(
        inside, 0.5 - distance_transform_edt(inside), distance_transform_edt(~inside) - 0.5
    )


@cache
def _table(name: str) -> Float[np.ndarray, "n n"]:
    """Signed distance on pixel centres [u, v], from the outline's sign, periodic in u.

    Opening rounds off the tips narrower than a voxel, which would come out as loose specks.
    """
    c = (np.arange(TABLE_SIZE) + 0.5) * (2 / TABLE_SIZE) - 1
    inside = MOTIFS[name].outline(*np.meshgrid(c, c, indexing="ij")) < 0
    inside = np.pad(np.tile(inside, (3, 1)), ((0, 0), (TABLE_SIZE, TABLE_SIZE)), mode="edge")
    rounding = ROUNDING * TABLE_SIZE / 2
    inside = _pixel_distance(_pixel_distance(inside) < -rounding) < rounding
    smooth = gaussian_filter(_pixel_distance(inside), 1.5)  # takes the pixel steps off the outline
    cell = slice(TABLE_SIZE, 2 * TABLE_SIZE)
    return (smooth[cell, cell] * (2 / TABLE_SIZE)).astype(np.float32)


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
