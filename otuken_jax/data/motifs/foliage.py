"""Leaves, trees, and the ornament that grew out of them."""

import numpy as np

from otuken_jax.data.motifs.drawing import (
    Field,
    Motif,
    curve,
    cut,
    disc,
    path,
    petal,
    polygon,
    stroke,
    taper,
    turned,
    union,
)
from otuken_jax.data.motifs.primitives import box_distance


def _selvi(u: Field, v: Field) -> Field:
    def tree(x, low, high, width):
        t = np.clip((v - low) / (high - low), 0.0, 1.0)
        crown = np.abs(x) - width * (np.sin(np.pi * t**0.62) ** 0.8) * (1.12 - t) ** 0.2
        crown = np.maximum(crown, np.maximum(low - v, v - high))
        return union(crown, box_distance(x, v - low, 0.11, 0.22))

    return union(tree(u, -0.7, 0.97, 0.3), tree(np.abs(u) - 0.7, -0.7, 0.1, 0.19))


def _saz(u: Field, v: Field) -> Field:
    spine = np.array(curve("-.4,-.94 -.56,-.4 -.36,.16 .16,.5 .64,.4 .8,0", 8))
    field = taper(u, v, [tuple(p) for p in spine], (0.2, 0.5, 0.7, 0.66, 0.46, 0.22, 0.1))
    # Teeth on the outer side alone, leaning to the tip.
    for i, length in ((7, 0.46), (13, 0.58), (19, 0.6), (25, 0.54)):
        (x, y), (dx, dy) = spine[i], spine[i + 1] - spine[i - 1]
        along = np.degrees(np.arctan2(dx, dy))
        field = union(field, petal(*turned(u - x, v - y, along - 52), 0.0, length, 0.15))
    return cut(field, taper(u, v, [tuple(p) for p in spine[7:23]], (0.15, 0.13)))


def _rumi(u: Field, v: Field) -> Field:
    long = taper(u, v, curve("-.3,-.5 .1,-.3 .3,.1 .3,.5 .84,.9", 8), (0.2, 0.5, 0.62, 0.46, 0.04))
    curled = taper(
        u,
        v,
        curve("-.3,-.5 -.16,-.06 -.3,.36 -.66,.5 -.84,.22 -.6,.1", 8),
        (0.2, 0.4, 0.42, 0.3, 0.22, 0.2),
    )
    stem = taper(u, v, curve("-.28,-.46 -.2,-.8 .2,-.9 .6,-.76 .84,-.5"), (0.26, 0.22, 0.2, 0.1))
    return union(long, curled, stem)


def _palmet(u: Field, v: Field) -> Field:
    s, y = np.abs(u), v + 0.34
    field = petal(u, y, 0.12, 1.28, 0.18)
    for angle, length in ((33, 1.2), (66, 1.02)):
        field = union(field, petal(*turned(s, y, angle), 0.16, length, 0.17))
    volute = stroke(s, v, curve("0,-.5 .3,-.36 .6,-.44 .7,-.7 .46,-.82 .34,-.68"), 0.2)
    return union(field, volute, disc(u, v, 0, -0.26, 0.3))


def _akantus(u: Field, v: Field) -> Field:
    s = np.abs(u)
    field = taper(u, v, path("0,-.94 0,.4"), (0.6, 0.7, 0.4))
    # Lobes of three teeth each, two to a side and one on top, with an eye between them.
    lobes = ((0.0, 0.36, 0, 0.6), (0.26, 0.08, 56, 0.7), (0.24, -0.54, 82, 0.72))
    for x, y, angle, length in lobes:
        field = union(field, disc(s, v, x, y, 0.2))
        for lean, share in ((-46, 0.84), (0, 1.0), (46, 0.84)):
            tooth = petal(*turned(s - x, v - y, angle + lean), -0.3, share * length, 0.16)
            field = union(field, tooth)
    eye = taper(s, v, path(".46,-.24 .8,-.18"), (0.2, 0.28))
    return cut(field, union(eye, taper(u, v, path("0,-1 0,.1"), (0.2, 0.18))))


def _munhani(u: Field, v: Field) -> Field:
    # Three commas that come out from behind one another, like feathers.
    field = np.full(u.shape, np.inf)
    for crest, widths in (
        (".38,-.36 .46,.1 .2,.54 -.34,.74 -.86,.42", (1.0, 0.94, 0.72, 0.42, 0.14)),
        (".0,-.42 .08,-.1 -.1,.2 -.44,.27 -.87,.0", (0.86, 0.76, 0.56, 0.36, 0.14)),
        ("-.42,-.58 -.4,-.42 -.52,-.26 -.88,-.32", (0.66, 0.6, 0.4, 0.12)),
    ):
        comma = taper(u, v, curve(crest), widths)
        field = union(comma, cut(field, comma - 0.18))
    return field


def _hayatagaci(u: Field, v: Field) -> Field:
    s = np.abs(u)
    field = union(
        stroke(u, v, [(0, -0.8), (0, 0.6)], 0.24),
        polygon(s, v, path("0,-.52 .54,-.94 0,-.94")),
        petal(u, v, 0.42, 0.98, 0.18),
    )
    for height, reach in ((-0.5, 0.76), (-0.04, 0.68), (0.4, 0.5)):
        tip = (reach, height + 0.3)
        field = union(field, stroke(s, v, [(0, height), tip], 0.23), disc(s, v, *tip, 0.17))
    return field


FOLIAGE: dict[str, Motif] = {
    "selvi": Motif(
        "selvi",
        "cypress",
        "yaprak",
        "Her mevsim yeşil ağaç: ölümsüzlük ve doğruluk.",
        "Green in every season: eternity and uprightness.",
        _selvi,
    ),
    "saz": Motif(
        "saz yaprağı",
        "saz leaf",
        "yaprak",
        "Hançer gibi kıvrılan dişli uzun yaprak.",
        "A long serrated leaf that bends like a dagger.",
        _saz,
    ),
    "rumi": Motif(
        "rumi",
        "rumi (split palmette)",
        "yaprak",
        "İkiye ayrılan yarım palmet: Anadolu Selçuklu bezemesinin özü.",
        "A half palmette that splits in two, the heart of Anatolian Seljuk ornament.",
        _rumi,
    ),
    "palmet": Motif(
        "palmet",
        "palmette",
        "yaprak",
        "Kıvrımlı dipten açılan yelpaze yaprak.",
        "A fan of leaves that opens from two curls.",
        _palmet,
    ),
    "akantus": Motif(
        "akantus",
        "acanthus",
        "yaprak",
        "Sütun başlıklarından barok bezemeye geçen dilimli yaprak.",
        "The lobed leaf that went from capitals into baroque ornament.",
        _akantus,
    ),
    "munhani": Motif(
        "münhani",
        "munhani (graded comma)",
        "yaprak",
        "İç içe, ton ton boyanan virgül biçimli eğriler.",
        "Commas one inside another, painted in graded tones.",
        _munhani,
    ),
    "hayatagaci": Motif(
        "hayat ağacı",
        "tree of life",
        "yaprak",
        "Yer ile göğü bağlayan ağaç: soyun sürmesi.",
        "The tree that joins earth and sky: the line goes on.",
        _hayatagaci,
    ),
}
