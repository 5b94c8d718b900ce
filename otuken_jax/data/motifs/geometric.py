"""Stars, lattices, and motifs of architecture."""

import numpy as np

from otuken_jax.data.motifs.drawing import (
    Field,
    Motif,
    both,
    curve,
    cut,
    disc,
    interlaced,
    path,
    polygon,
    stroke,
    union,
)
from otuken_jax.data.motifs.primitives import box_distance


def octagram(u: Field, v: Field, size: float) -> Field:
    upright = np.maximum(np.abs(u), np.abs(v))
    turned = (np.abs(u) + np.abs(v)) / np.sqrt(2)
    return np.minimum(upright, turned) - size


def _yildiz8(u: Field, v: Field) -> Field:
    return cut(octagram(u, v, 0.68), octagram(u, v, 0.34))


def _baklava(u: Field, v: Field) -> Field:
    d = np.abs(u) + np.abs(v)
    return 0.25 - np.abs(d - 1.02)


def hexagram(u: Field, v: Field, size: float) -> Field:
    """Tips at twice the size."""

    def triangle(y):
        return np.maximum(-y, (np.sqrt(3) * np.abs(u) + y) / 2) - size

    return union(triangle(v), triangle(-v))


def _muhur(u: Field, v: Field) -> Field:
    return cut(hexagram(u, v, 0.5), disc(u, v, 0, 0, 0.2))


def _yildiz12(u: Field, v: Field) -> Field:
    corners = [((0.97, 0.62)[k % 2], k * np.pi / 12) for k in range(24)]
    star = polygon(u, v, [(radius * np.sin(a), radius * np.cos(a)) for radius, a in corners])
    return cut(star, hexagram(u, v, 0.23))


def _hacvari(u: Field, v: Field) -> Field:
    star = cut(octagram(u, v, 0.58), octagram(u, v, 0.24))
    x, y = np.abs(u), np.abs(v)
    corner = polygon(x, y, path("1,.36 .78,.5 .78,.78 .5,.78 .36,1 1,1"))
    return union(star, corner)


def _girih(u: Field, v: Field) -> Field:
    def strand(x: Field, y: Field) -> Field:
        return stroke(np.abs(x), np.abs(y), path("-.3,1.3 .36,.64 1.4,.64"), 0.26)

    # The straps leave an eight-pointed star between them, and weave at its corners.
    lying, standing = strand(u, v), strand(v, u)
    over = np.where(u * v > 0, lying, standing)
    straps = interlaced(over, np.where(u * v > 0, standing, lying), 0.1)
    return union(straps, octagram(u, v, 0.33))


def _petek(u: Field, v: Field) -> Field:
    height = np.sqrt(3) / 2  # of a row of hexagons one wide

    def edge(x: Field, y: Field) -> Field:
        x = np.mod(x + 0.5, 1.0) - 0.5
        y = np.mod(y + height, 2 * height) - height
        return np.maximum(np.abs(x), np.abs(x) / 2 + np.abs(y) * np.sqrt(3) / 2)

    return 0.385 - union(edge(u, v), edge(u + 0.5, v + height))


def _sebeke(u: Field, v: Field) -> Field:
    def hole(x: Field, y: Field, size: float) -> Field:
        return octagram(np.abs(x) - 0.5, np.abs(y) - 0.5, size)

    small = np.abs(np.abs(u) - 1) + np.abs(v)
    small = union(small, np.abs(u) + np.abs(v), np.abs(u) + np.abs(np.abs(v) - 1)) - 0.15
    return cut(0 * u - 1.0, union(hole(u, v, 0.275), small))


def _mukarnas(u: Field, v: Field) -> Field:
    arch = [*curve("0,.46 .14,.3 .2,.08 .2,-.02"), (0, 0)]
    body, niches = np.abs(v - 0.86) - 0.1, np.full(u.shape, np.inf)
    for tier, reach in enumerate((1.0, 0.79, 0.46)):  # each half a niche in from the one above
        x = np.abs(np.mod(u + (tier + 1) / 3, 2 / 3) - 1 / 3)
        y = v - 0.22 + 0.56 * tier  # up from the tier's foot
        body = union(body, box_distance(u, y - 0.27, reach, 0.28))
        niches = union(niches, both(polygon(x, y, arch), np.abs(u) - reach + 0.1))
    return cut(body, niches)


def _turkucgen(u: Field, v: Field) -> Field:
    def folded(x: Field, y: Field) -> Field:
        """An upright triangle, one face in the light."""
        side = np.abs(x) - 0.5 * (0.96 - y) + 0.1
        face = both(side + 0.24, 0.1 - x, -0.72 - y)
        return both(cut(side, face), np.abs(y) - 0.94)

    return union(folded(u, v), folded(np.mod(u, 2.0) - 1, -v))


GEOMETRIC: dict[str, Motif] = {
    "yildiz8": Motif(
        "sekiz köşeli yıldız",
        "eight-pointed star",
        "geometrik",
        "İki karenin birleşmesi: Selçuklu yıldızı, düzen ve sonsuzluk.",
        "Two squares in one: the Seljuk star, order without end.",
        _yildiz8,
    ),
    "baklava": Motif(
        "baklava",
        "lozenge",
        "geometrik",
        "Eşkenar dörtgen dilimler: kilimden sütun başlığına.",
        "Lozenges, from kilims to the capitals of columns.",
        _baklava,
        lattice=True,
    ),
    "muhur": Motif(
        "mührüsüleyman",
        "Seal of Solomon",
        "geometrik",
        "İç içe iki üçgen: hikmet ve korunma.",
        "Two crossed triangles: wisdom and protection.",
        _muhur,
    ),
    "yildiz12": Motif(
        "on iki köşeli yıldız",
        "twelve-pointed star",
        "geometrik",
        "On iki ayın ve burçların göğü.",
        "The sky of twelve months and signs.",
        _yildiz12,
    ),
    "hacvari": Motif(
        "yıldız ve haç",
        "star and cross",
        "geometrik",
        "Kubadabad çinilerinde yıldızların arasını dolduran haç.",
        "The cross that fills the gaps between the star tiles of Kubadabad.",
        _hacvari,
    ),
    "girih": Motif(
        "girih",
        "strapwork (girih)",
        "geometrik",
        "Birbirinin altından ve üstünden geçen şeritler: sonsuz örgü.",
        "Straps that pass over and under each other: a net without end.",
        _girih,
    ),
    "petek": Motif(
        "petek",
        "honeycomb",
        "geometrik",
        "Altıgen karoların ağı: çalışkanlık ve düzen.",
        "A net of hexagonal tiles: diligence and order.",
        _petek,
        lattice=True,
    ),
    "sebeke": Motif(
        "şebeke",
        "lattice screen",
        "geometrik",
        "Işığı süzen delikli mermer kafes.",
        "A marble grille that filters light.",
        _sebeke,
        lattice=True,
    ),
    "mukarnas": Motif(
        "mukarnas",
        "muqarnas",
        "geometrik",
        "Kat kat taşan küçük nişler: taş sarkıtlar.",
        "Tiers of small niches that step outward: stalactites of stone.",
        _mukarnas,
        lattice=True,
    ),
    "turkucgen": Motif(
        "Türk üçgeni",
        "Turkish triangle",
        "geometrik",
        "Kareden kubbeye geçişi sağlayan kırık üçgenler kuşağı.",
        "The belt of folded triangles that carries a square to a dome.",
        _turkucgen,
    ),
}
