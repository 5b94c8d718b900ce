"""The library of motifs, and each as a 2D signed field f(u, v) < 0 inside, on the cell [-1, 1]^2.

u wraps round with period 2, v is up. A new motif is one entry, with its outline, in the module of
its group. Which pairs are held out goes by the order here, so that another motif moves them: a
model is compared on data of its own library.
"""

from functools import cache

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt, gaussian_filter

from otuken_jax.data.motifs.animals import ANIMALS
from otuken_jax.data.motifs.borders import BORDERS
from otuken_jax.data.motifs.drawing import Field, Motif
from otuken_jax.data.motifs.flowers import FLOWERS
from otuken_jax.data.motifs.foliage import FOLIAGE
from otuken_jax.data.motifs.geometric import GEOMETRIC
from otuken_jax.data.motifs.kilim import KILIM
from otuken_jax.data.motifs.symbols import SYMBOLS

TABLE_SIZE = 256
MARGIN = 64  # pixels round the cell; distances are true up to half a chart unit
ROUNDING = 0.08  # radius of the sharpest tip, chart units
SEAM = 0.03  # widest gap that is closed: a hairline, half a voxel of a 64^3 grid
# The splits count by this order: the motifs of the compact library first.
FIRST = [
    "lale",
    "karanfil",
    "penc",
    "yildiz8",
    "hilal",
    "cintemani",
    "baklava",
    "muhur",
    "elibelinde",
    "kocboynuzu",
    "selvi",
    "carkifelek",
    "zencerek",
    "suyolu",
    "goz",
    "meandr",
]
_ALL = FLOWERS | FOLIAGE | GEOMETRIC | BORDERS | SYMBOLS | KILIM | ANIMALS
MOTIFS: dict[str, Motif] = {name: _ALL[name] for name in FIRST} | _ALL


def _pixel_distance(inside: Bool[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """Signed distance in pixels, negative inside, between pixel centres and the outline."""
    return np.where(
        inside, 0.5 - distance_transform_edt(inside), distance_transform_edt(~inside) - 0.5
    )


@cache
def _table(name: str) -> Float[np.ndarray, "n n"]:
    """Signed distance on pixel centres [u, v], from the outline's sign, periodic in u.

    Opening rounds off the tips narrower than a voxel, which would come out as loose specks; closing
    fills the hairlines between parts that almost touch.
    """
    c = (np.arange(TABLE_SIZE) + 0.5) * (2 / TABLE_SIZE) - 1
    inside = MOTIFS[name].outline(*np.meshgrid(c, c, indexing="ij")) < 0
    inside = np.pad(inside, ((MARGIN, MARGIN), (0, 0)), mode="wrap")
    inside = np.pad(inside, ((0, 0), (MARGIN, MARGIN)), mode="edge")
    rounding = ROUNDING * TABLE_SIZE / 2
    inside = _pixel_distance(_pixel_distance(inside) < -rounding) < rounding
    seam = SEAM / 2 * TABLE_SIZE / 2
    inside = _pixel_distance(_pixel_distance(inside) < seam) < -seam
    smooth = gaussian_filter(_pixel_distance(inside), 1.5)  # takes the pixel steps off the outline
    cell = slice(MARGIN, MARGIN + TABLE_SIZE)
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
