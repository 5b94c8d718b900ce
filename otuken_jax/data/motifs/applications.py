"""How a motif is applied: by which technique, and laid out how over the ornament zone.

Both leave the chart what it is for the ornament head: u and v run over one motif, the band is where
they do, and the relief there is a function of u and v.
"""

from dataclasses import dataclass, replace

import numpy as np

from otuken_jax.data.motifs.charts import ZONE_FADE, Chart, Field, masked
from otuken_jax.data.motifs.primitives import smoothstep

MEDALLION_SIZE = 0.8  # of a cell
# By how much smaller cells have wider strokes, chart units, on either side. A stroke of 0.16, the
# narrowest, is two voxels of a 64^3 grid in a row's cell of 25; with 0.08 it would be that in cells
# of half the size, where the gaps close sooner: with 0.06 it is 1.75.
BOLDER = {"row": 0.0, "border": 0.06, "allover": 0.06, "medallion": 0.02}
PIERCED_WALL = 0.25  # domain units, or more on coarse grids: thicker hosts are hollowed first


@dataclass(frozen=True)
class Application:
    """Turkish and English names."""

    name: str
    english: str


TECHNIQUES = {
    "relief": Application("kabartma", "raised in relief"),
    "engraving": Application("oyma", "engraved"),
    "color": Application("boyama", "in colour only"),
    "pierced": Application("ajur", "cut through the wall"),
}
LAYOUTS = {
    "row": Application("tek sıra", "one row of motifs"),
    "border": Application("bordür", "a border band along the top"),
    "allover": Application("tüm yüzey", "small motifs all over"),
    "medallion": Application("madalyon", "one medallion in the middle"),
}


def lay_out(chart: Chart, layout: str) -> Chart:
    """The chart of a layout from the chart of one row of cells.

    A border has twice as many cells of half the size in the upper half of the zone, `allover` two
    rows of them, a medallion the one cell that looks to +x.
    """
    if layout == "row":
        return chart
    if layout == "medallion":
        across = chart.u if chart.across is None else chart.across
        u, v = across / np.float32(MEDALLION_SIZE), chart.v / np.float32(MEDALLION_SIZE)
        edge = np.maximum(np.abs(u), np.abs(v))
    else:
        u = _wrapped(2 * chart.u + 1)
        v = 2 * chart.v - 1 if layout == "border" else _wrapped(2 * chart.v + 1)
        edge = np.abs(v)
    moved = replace(chart, u=np.clip(u, -1, 1), v=np.clip(v, -1, 1))
    return masked(moved, smoothstep(1.0, ZONE_FADE, edge))


def _wrapped(x: Field) -> Field:
    return np.mod(x + 1, 2) - 1
