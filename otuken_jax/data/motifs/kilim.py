"""Motifs of flat-woven rugs; most are drawn in squares, as they are woven."""

from collections.abc import Callable

import numpy as np

from otuken_jax.data.motifs.drawing import (
    Field,
    Motif,
    arc,
    bitmap,
    both,
    cut,
    disc,
    path,
    polygon,
    stroke,
    taper,
    union,
)
from otuken_jax.data.motifs.primitives import box_distance


def _elibelinde(u: Field, v: Field) -> Field:
    s = np.abs(u)
    head = s + np.abs(v - 0.68) - 0.3
    trunk = box_distance(u, v - 0.05, 0.18, 0.5)
    arm = stroke(s, v, [(0.1, 0.4), (0.8, 0.26), (0.1, -0.3)], 0.22)
    skirt = polygon(s, v, [(0, -0.3), (0.18, -0.46), (0.9, -0.94), (0, -0.94)])
    return union(head, trunk, arm, skirt)


def _kocboynuzu(u: Field, v: Field) -> Field:
    s = np.abs(u)
    stem = box_distance(u, v + 0.35, 0.17, 0.57)
    horn = stroke(s, v, [(0, 0.1), *arc((0.46, 0.38), 0.34, 180, -70)], 0.34)
    return union(stem, horn)


def _goz(u: Field, v: Field) -> Field:
    r = np.hypot(u, v)
    return union(cut(r - 0.92, r - 0.6), r - 0.32)


def _muska(u: Field, v: Field) -> Field:
    def triangle(size: float) -> Field:
        return polygon(np.abs(u), v + 0.14, [(0, -0.6 * size), (size, -0.6 * size), (0, size)])

    return union(cut(triangle(0.96), triangle(0.58)), triangle(0.28))


def _pitrak(u: Field, v: Field) -> Field:
    s, y = np.abs(u), np.abs(v)
    burr = cut(s + y - 0.8, both(s + y - 0.5, 0.22 - (s + y)))
    ticks = (".6,0 .86,0", "0,.6 0,.86", ".36,.36 .66,.66")
    return union(burr, *(stroke(s, y, path(tick), 0.24) for tick in ticks))


def _kupe(u: Field, v: Field) -> Field:
    s = np.abs(u)
    hook = np.abs(np.hypot(u, v - 0.66) - 0.2) - 0.09
    pendant = polygon(s, v, path("0,.56 .86,-.34 0,-.34"))
    pendant = cut(pendant, polygon(s, v, path("0,.2 .34,-.14 0,-.14")))
    drops = union(disc(u, v, 0, -0.74, 0.18), disc(s, v, 0.56, -0.74, 0.18))
    links = union(
        stroke(u, v, [(0, -0.3), (0, -0.7)], 0.18), stroke(s, v, path(".56,-.3 .56,-.7"), 0.18)
    )
    return union(hook, pendant, drops, links)


def _sacbagi(u: Field, v: Field) -> Field:
    s, y = np.abs(u), np.abs(v)
    triangle = polygon(s, y, path("0,.1 .1,.1 .76,.7 0,.7"))
    teeth = union(*(box_distance(s - x, y - 0.76, 0.1, 0.19) for x in (0.0, 0.36, 0.72)))
    knot = s + y - 0.3
    return union(triangle, box_distance(u, y - 0.62, 0.82, 0.1), teeth, knot)


def _bukagi(u: Field, v: Field) -> Field:
    s = np.abs(u)
    trapezoid = polygon(s, v, path(".26,.36 .92,.82 .92,-.82 .26,-.36"))
    hole = polygon(s, v, path(".5,.22 .7,.36 .7,-.36 .5,-.22"))
    return union(cut(trapezoid, hole), box_distance(u, v, 0.3, 0.14))


def _akrep(u: Field, v: Field) -> Field:
    s = np.abs(u)
    body = polygon(s, v, path("0,.6 .2,.5 .3,.2 .2,-.16 0,-.28"))
    arm = stroke(s, v, path(".1,.36 .5,.4 .62,.62"), 0.18)
    claw = (stroke(s, v, path(finger), 0.18) for finger in (".62,.6 .44,.88", ".62,.6 .86,.84"))
    legs = (
        stroke(s, v, path(leg), 0.17) for leg in (".1,.12 .58,.1 .86,.28", ".1,-.1 .5,-.2 .84,-.1")
    )
    tail = stroke(u, v, path("0,-.2 0,-.56 .2,-.84 .6,-.84 .78,-.6"), 0.2)
    sting = taper(u, v, path(".78,-.6 .5,-.46"), (0.26, 0.14))
    return union(body, arm, *claw, *legs, tail, sting)


def _cengel(u: Field, v: Field) -> Field:
    lozenge = cut(np.abs(u) + np.abs(v) - 0.5, np.abs(u) + np.abs(v) - 0.18)
    hook = path("0,.36 0,.84 .8,.84 .8,.28 .46,.28")
    return union(lozenge, stroke(u, v, hook, 0.24), stroke(-u, -v, hook, 0.24))


BITMAPS = {
    "bereket": (
        "###.....###",
        "#.#..#..#.#",
        "#...###...#",
        "###.#.#.###",
        "..###.###..",
        ".##..#..##.",
        "..###.###..",
        "###.#.#.###",
        "#...###...#",
        "#.#..#..#.#",
        "###.....###",
    ),
    "kurtizi": (
        "...#.#...",
        "...###...",
        "....#....",
        "##..#..##",
        ".#######.",
        "##..#..##",
        "....#....",
        "...###...",
        "...#.#...",
    ),
    "tarak": (
        "#.#.#.#.#",
        "#.#.#.#.#",
        "#.#.#.#.#",
        "#.#.#.#.#",
        "#########",
        "#########",
        "...###...",
        "...###...",
        ".#######.",
    ),
    "sandik": (
        ".#######.",
        "##.....##",
        "#########",
        "#...#...#",
        "#..###..#",
        "#...#...#",
        "#.......#",
        "#########",
        "##.....##",
    ),
}


def _woven(name: str) -> Callable[[Field, Field], Field]:
    return lambda u, v: bitmap(u, v, BITMAPS[name])


KILIM: dict[str, Motif] = {
    "elibelinde": Motif(
        "elibelinde",
        "hands-on-hips",
        "kilim",
        "Ellerini beline koymuş kadın: analık ve bereket.",
        "A woman with her hands on her hips: motherhood.",
        _elibelinde,
    ),
    "kocboynuzu": Motif(
        "koçboynuzu",
        "ram's horn",
        "kilim",
        "Kıvrık boynuz: erkeklik, güç ve yiğitlik.",
        "The curled horn: manhood, strength and bravery.",
        _kocboynuzu,
    ),
    "goz": Motif(
        "göz",
        "eye",
        "kilim",
        "Kem gözü geri çeviren göz.",
        "The eye that turns away the evil eye.",
        _goz,
    ),
    "bereket": Motif(
        "bereket",
        "fertility",
        "kilim",
        "Elibelinde ile koçboynuzunun birleşmesi: soyun bolluğu.",
        "Hands-on-hips joined with the ram's horn: abundance.",
        _woven("bereket"),
    ),
    "muska": Motif(
        "muska",
        "amulet",
        "kilim",
        "İçinde dua saklanan üçgen kese.",
        "The triangular pouch that keeps a prayer.",
        _muska,
    ),
    "pitrak": Motif(
        "pıtrak",
        "burdock",
        "kilim",
        "Dikenli pıtrak: kötülüğü uzak tutar, bolluk getirir.",
        "The prickly burr: keeps harm away, brings plenty.",
        _pitrak,
    ),
    "kurtizi": Motif(
        "kurt izi",
        "wolf's track",
        "kilim",
        "Sürüyü kurttan koruyan iz.",
        "The track that guards the flock from the wolf.",
        _woven("kurtizi"),
    ),
    "akrep": Motif(
        "akrep",
        "scorpion",
        "kilim",
        "Zehirden korunmak için dokunan akrep.",
        "A scorpion woven as a guard against its sting.",
        _akrep,
    ),
    "kupe": Motif(
        "küpe",
        "earring",
        "kilim",
        "Evlenmek isteyen kızın dileği.",
        "The wish of a girl who wants to marry.",
        _kupe,
    ),
    "sacbagi": Motif(
        "saçbağı",
        "hair band",
        "kilim",
        "Gelinin saç bağı: evlilik isteği.",
        "A bride's hair band: the wish to marry.",
        _sacbagi,
    ),
    "tarak": Motif(
        "tarak",
        "comb",
        "kilim",
        "Tarak ve parmaklar: düğün, doğum ve korunma.",
        "Comb and fingers: wedding, birth and protection.",
        _woven("tarak"),
    ),
    "bukagi": Motif(
        "bukağı",
        "fetter",
        "kilim",
        "İki bukağıyı bağlayan köstek: ayrılmayan aile.",
        "The hobble that joins two cuffs: a family that stays together.",
        _bukagi,
    ),
    "sandik": Motif(
        "sandık",
        "dowry chest",
        "kilim",
        "Gelinin çeyiz sandığı.",
        "The chest of a bride's dowry.",
        _woven("sandik"),
    ),
    "cengel": Motif(
        "çengel",
        "hook",
        "kilim",
        "Kem gözü çekip yok eden kanca.",
        "The hook that catches the evil eye.",
        _cengel,
    ),
}
