"""Flowers and fruit."""

import numpy as np

from otuken_jax.data.motifs.drawing import (
    Field,
    Motif,
    blob,
    both,
    curve,
    cut,
    disc,
    drop,
    path,
    petal,
    polar,
    polygon,
    sector,
    spiral,
    stroke,
    taper,
    turned,
    union,
)
from otuken_jax.data.motifs.primitives import box_distance


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


def _gul(u: Field, v: Field) -> Field:
    x, y = u, v - 0.2
    r, angle = polar(x, y)
    bloom = r - 0.73 - 0.05 * np.cos(6 * angle)
    bloom = cut(bloom, stroke(x, y, spiral((0, 0), (0.14, 0.5), 130, 510), 0.15))
    leaf = petal(*turned(np.abs(u) - 0.08, v + 0.86, 62), 0.0, 0.92, 0.2)
    return union(bloom, leaf, box_distance(u, v + 0.72, 0.1, 0.22))


def _sumbul(u: Field, v: Field) -> Field:
    s = np.abs(u)
    field = stroke(u, v, [(0, -0.9), (0, 0.6)], 0.2)
    for x, y, size in (
        (0.4, -0.32, 0.22),
        (0.37, 0.12, 0.2),
        (0.31, 0.52, 0.17),
        (0.0, 0.76, 0.18),
    ):
        r, angle = polar(s - x, v - y)
        field = union(field, r - size - 0.2 * size * np.cos(5 * angle))
        field = union(field, stroke(s, v, [(0, y - 0.1), (x, y)], 0.17))
    leaf = taper(s, v, curve("0.05,-.88 .4,-.86 .7,-.76 .9,-.56"), (0.22, 0.26, 0.1))
    return union(field, leaf)


def _nergis(u: Field, v: Field) -> Field:
    x, y = sector(u, v, 6)
    corolla = union(petal(x, y, 0.1, 0.95, 0.3), disc(u, v, 0, 0, 0.45))
    r = np.hypot(u, v)
    return union(cut(corolla, both(r - 0.45, 0.28 - r)), r - 0.13 - 0.15)


def _susen(u: Field, v: Field) -> Field:
    s = np.abs(u)
    standard = petal(u, v, -0.1, 0.97, 0.22)
    side = taper(s, v, curve("0.04,.0 .4,.16 .5,.5 .3,.84"), (0.24, 0.3, 0.28, 0.08))
    fall = taper(s, v, curve("0.04,.0 .5,-.04 .74,-.36"), (0.2, 0.3, 0.42))
    sword = petal(*turned(s, v + 0.94, 30), 0.0, 0.84, 0.11)
    return union(standard, side, fall, sword, stroke(u, v, [(0, -0.9), (0, 0.1)], 0.2))


def _zambak(u: Field, v: Field) -> Field:
    s = np.abs(u)
    trumpet = polygon(s, v, path("0,-.5 .13,-.48 .2,-.1 .34,.16 .5,.3 .3,.4 .16,.26 0,.2"))
    curl = taper(s, v, curve("0.3,.22 .58,.4 .8,.3 .84,.0"), (0.32, 0.26, 0.14))
    stamens = union(
        stroke(u, v, [(0, 0.1), (0, 0.74)], 0.18),
        disc(u, v, 0, 0.8, 0.14),
        stroke(s, v, [(0.16, 0.2), (0.36, 0.72)], 0.17),
        disc(s, v, 0.39, 0.76, 0.13),
    )
    leaf = petal(*turned(s, v + 0.9, 48), 0.0, 0.9, 0.18)
    return union(trumpet, curl, stamens, leaf, stroke(u, v, [(0, -0.9), (0, -0.4)], 0.2))


def _menekse(u: Field, v: Field) -> Field:
    s, y = np.abs(u), v - 0.05
    upper, side = disc(s, y, 0.36, 0.5, 0.38), disc(s, y, 0.56, -0.12, 0.36)
    lower = union(disc(u, y, 0, -0.5, 0.42), both(disc(u, y, 0, 0, 0.3), y))
    upper = cut(upper, union(disc(s, y, 0.56, -0.12, 0.46), s - 0.05))
    side = cut(side, disc(u, y, 0, -0.5, 0.53))
    return cut(union(upper, side, lower), disc(u, y, 0, 0.0, 0.16))


def _uzum(u: Field, v: Field) -> Field:
    field = disc(u, v, 0, -0.74, 0.22)
    for height, columns in ((-0.32, (-0.29, 0.29)), (0.1, (-0.58, 0, 0.58))):
        for x in columns:
            field = union(field, disc(u, v, x, height, 0.22))
    r, angle = polar(u + 0.1, v - 0.6)
    leaf = r - 0.32 - 0.07 * np.cos(5 * angle)
    tendril = stroke(u, v, curve("0,.56 .4,.6 .66,.5 .84,.66 .7,.86 .5,.8"), 0.17)
    return union(field, leaf, tendril)


def _bahar(u: Field, v: Field) -> Field:
    branch = taper(u, v, curve("-.84,-.9 -.5,-.5 0,-.2 .3,.2 .5,.5"), (0.28, 0.18))
    twigs = union(
        stroke(u, v, curve("-.3,-.4 -.5,-.1 -.52,.2"), 0.18),
        stroke(u, v, curve("-.1,-.26 .2,-.36 .4,-.5"), 0.18),
        petal(*turned(u + 0.1, v + 0.2, -20), 0.1, 0.76, 0.13),
    )
    field = union(branch, twigs)
    for x, y in ((-0.54, 0.46), (0.5, -0.58), (0.48, 0.56)):
        px, py = sector(u - x, v - y, 5)
        blossom = union(disc(px, py, 0, 0.24, 0.165), disc(px, py, 0, 0, 0.2))
        field = union(field, blossom)
        field = cut(field, disc(u, v, x, y, 0.09))
    return field


def _nar(u: Field, v: Field) -> Field:
    s = np.abs(u)
    fruit = disc(u, v, 0, -0.22, 0.68)
    crown = polygon(s, v, path("0,.3 .2,.36 .42,.92 .16,.66 0,.92"))
    leaf = petal(*turned(s - 0.1, v - 0.36, 80), 0.1, 0.82, 0.15)
    window = cut(petal(u, v, -0.72, 0.28, 0.36), disc(u, v, 0, 0.0, 0.12))
    window = cut(window, union(disc(s, v, 0.15, -0.24, 0.11), disc(u, v, 0, -0.48, 0.12)))
    return union(cut(fruit, window), crown, leaf)


def _enginar(u: Field, v: Field) -> Field:
    s = np.abs(u)
    cone = blob(s, v, "0,.98 .34,.66 .66,.14 .62,-.3 .36,-.56 0,-.6 -.3,-.5 -.3,.7")
    a, b = (u + 0.7 * v) / 0.68 + 0.5, (u - 0.7 * v) / 0.68 + 0.5
    seam = np.minimum(np.abs(a - np.rint(a)), np.abs(b - np.rint(b)))
    scales = both(cone, 0.12 - seam)
    leaf = taper(s, v, curve("0.1,-.78 .5,-.76 .86,-.4"), (0.22, 0.26, 0.04))
    return union(scales, leaf, box_distance(u, v + 0.78, 0.12, 0.15))


def _hatayi(u: Field, v: Field) -> Field:
    s = np.abs(u)
    field = disc(u, v, 0, -0.16, 0.44)
    for angle, length, half in ((0, 1.5, 0.3), (27, 1.14, 0.24), (56, 0.9, 0.22)):
        field = union(field, petal(*turned(s, v + 0.55, angle), 0.0, length, half))
    field = cut(field, cut(drop(u, v, -0.44, 0.56, 0.32), drop(u, v, -0.3, 0.3, 0.15)))
    low = taper(s, v, curve("0,-.74 .36,-.72 .6,-.5 .8,-.5 .86,-.26"), (0.3, 0.24, 0.2, 0.2))
    stem = stroke(u, v, [(0, -0.92), (0, -0.6)], 0.24)
    return union(field, low, box_distance(u, v + 0.62, 0.4, 0.1), stem)


def _gonca(u: Field, v: Field) -> Field:
    s = np.abs(u)
    bud = cut(petal(u, v, -0.1, 0.95, 0.34), petal(u, v, 0.22, 0.7, 0.1))
    sepal = taper(s, v, curve("0.04,-.24 .4,-.1 .56,.2 .5,.52"), (0.24, 0.22, 0.04))
    leaf = petal(*turned(s, v + 0.86, 56), 0.0, 0.9, 0.17)
    return union(bud, sepal, leaf, stroke(u, v, [(0, -0.92), (0, -0.1)], 0.18))


def _lotus(u: Field, v: Field) -> Field:
    s = np.abs(u)
    inner = taper(s, v, curve(".06,-.5 .4,-.25 .54,.16 .5,.66", 8), (0.24, 0.28, 0.26, 0.06))
    outer = taper(s, v, curve(".1,-.56 .58,-.5 .81,-.16 .84,.22", 8), (0.22, 0.26, 0.24, 0.06))
    base = taper(s, v, curve("0,-.9 .3,-.88 .56,-.78", 8), (0.2, 0.2, 0.14))
    flower = union(petal(u, v, -0.5, 0.94, 0.26), inner, outer)
    return union(flower, base, box_distance(u, v + 0.68, 0.14, 0.24))


FLOWERS: dict[str, Motif] = {
    "lale": Motif(
        "lale",
        "tulip",
        "bitki",
        "Tek soğandan tek çiçek verir: birliğin ve zarafetin simgesi.",
        "One flower from one bulb: unity and grace.",
        _lale,
    ),
    "karanfil": Motif(
        "karanfil",
        "carnation",
        "bitki",
        "Yelpaze gibi açılmış yapraklarıyla bahar ve yenilenme.",
        "Its petals open like a fan: spring and renewal.",
        _karanfil,
    ),
    "penc": Motif(
        "penç",
        "rosette",
        "bitki",
        "Çiçeğin kuş bakışı beş yapraklı görünüşü.",
        "A flower with five petals, seen from above.",
        _penc,
    ),
    "gul": Motif(
        "gül",
        "rose",
        "bitki",
        "Sevginin ve Hz. Peygamber'e duyulan saygının çiçeği.",
        "The flower of love, and of reverence for the Prophet.",
        _gul,
    ),
    "sumbul": Motif(
        "sümbül",
        "hyacinth",
        "bitki",
        "Küçük çiçekli salkımı baharın müjdecisidir.",
        "Its spike of small flowers announces spring.",
        _sumbul,
    ),
    "nergis": Motif(
        "nergis",
        "narcissus",
        "bitki",
        "Halka taçlı altı yaprağıyla göze benzetilir.",
        "Six petals round a crown; poets liken it to an eye.",
        _nergis,
    ),
    "susen": Motif(
        "süsen",
        "iris",
        "bitki",
        "Dik duran ve sarkan taç yapraklarıyla saray bahçelerinden.",
        "Standing and falling petals, from the palace gardens.",
        _susen,
    ),
    "zambak": Motif(
        "zambak",
        "lily",
        "bitki",
        "Boru biçimli çiçeği saflığı anlatır.",
        "A trumpet of a flower that stands for purity.",
        _zambak,
    ),
    "menekse": Motif(
        "menekşe",
        "violet",
        "bitki",
        "Beş yuvarlak yapraklı alçak gönüllü kır çiçeği.",
        "A modest wild flower with five round petals.",
        _menekse,
    ),
    "uzum": Motif(
        "üzüm",
        "grape",
        "bitki",
        "Salkım, asma yaprağı ve sülük: bolluk.",
        "Bunch, vine leaf and tendril: plenty.",
        _uzum,
    ),
    "bahar": Motif(
        "bahar dalı",
        "blossoming branch",
        "bitki",
        "Çiçek açmış meyve dalı: yeniden doğuş.",
        "A fruit branch in blossom: rebirth.",
        _bahar,
    ),
    "nar": Motif(
        "nar",
        "pomegranate",
        "bitki",
        "Çok taneli meyve: bereket ve çoğalma.",
        "The fruit of many seeds: fertility and increase.",
        _nar,
    ),
    "enginar": Motif(
        "enginar",
        "artichoke",
        "bitki",
        "Üst üste pullu kozalak biçimi, İznik çinilerinin iri meyvesi.",
        "A cone of overlapping scales, the large fruit of İznik tiles.",
        _enginar,
    ),
    "hatayi": Motif(
        "hatayi",
        "hatayi (stylised lotus)",
        "bitki",
        "Çiçeğin boyuna kesiti: katmanlı hayalî bir şakayık.",
        "A flower cut lengthwise: a layered peony of the imagination.",
        _hatayi,
    ),
    "gonca": Motif(
        "gonca",
        "bud",
        "bitki",
        "Henüz açılmamış çiçek: umut ve gençlik.",
        "A flower not yet open: hope and youth.",
        _gonca,
    ),
    "lotus": Motif(
        "lotus",
        "lotus",
        "bitki",
        "Sudan tertemiz çıkan çiçek, Uygur sanatından gelir.",
        "Rises clean from the water; it came with Uyghur art.",
        _lotus,
    ),
}
