"""Emblems, medallions, marks and writing."""

import numpy as np

from otuken_jax.data.motifs.drawing import (
    Field,
    Motif,
    arc,
    bitmap,
    blob,
    both,
    curve,
    cut,
    disc,
    path,
    petal,
    polar,
    sector,
    stroke,
    taper,
    turned,
    union,
)
from otuken_jax.data.motifs.geometric import octagram
from otuken_jax.data.motifs.primitives import box_distance


def _hilal(u: Field, v: Field) -> Field:
    return cut(disc(u, v, 0.0, 0.0, 0.9), disc(u, v, 0.34, 0.14, 0.6))


def _cintemani(u: Field, v: Field) -> Field:
    s = np.abs(u)
    balls = union(disc(u, v, 0.0, 0.5, 0.42), disc(s, v, 0.5, -0.46, 0.42))
    return cut(balls, union(disc(u, v, 0.0, 0.58, 0.17), disc(s, v, 0.5, -0.38, 0.17)))


def _carkifelek(u: Field, v: Field) -> Field:
    r, angle = np.hypot(u, v), np.arctan2(v, u)
    blade = np.cos(5 * (angle + 1.1 * r)) + 0.1
    return union(np.maximum(-blade, r - 0.92), r - 0.25)


def _bulut(u: Field, v: Field) -> Field:
    wave = curve("-.6,-.34 -.86,-.05 -.6,.3 -.2,.2 .2,-.2 .6,-.3 .86,.05 .6,.34")
    field = taper(u, v, wave, (0.2, 0.3, 0.36, 0.3, 0.2))
    for sign in (1, -1):
        a, b = sign * u, sign * v
        curl = stroke(a, b, curve(".6,.34 .37,.26 .41,.06"), 0.19)
        puff = taper(a, b, curve("-.3,.3 -.1,.62 .2,.66 .34,.86"), (0.3, 0.24, 0.06))
        field = union(field, curl, puff)
    return field


def _pelengi(u: Field, v: Field) -> Field:
    field = np.full(u.shape, np.inf)
    for height in (0.44, -0.44):
        wave = [(x, height + 0.17 * np.sin(2.2 * np.pi * x)) for x in np.linspace(-0.9, 0.9, 41)]
        field = union(field, taper(u, v, wave, (0.02, 0.34, 0.46, 0.34, 0.02)))
    return field


def _semse(u: Field, v: Field) -> Field:
    angle = np.arctan2(u / 0.66, v / 0.7)

    def almond(size: float, lobes: float) -> Field:
        level = (np.abs(u) / 0.66) ** 1.5 + (np.abs(v) / 0.7) ** 1.5
        return level ** (2 / 3) - size - lobes * np.cos(12 * angle)

    body = union(cut(almond(1.0, 0.07), almond(0.6, 0.0)), almond(0.36, 0.0))
    return union(body, petal(u, np.abs(v), 0.6, 0.99, 0.16))


def _rozet(u: Field, v: Field) -> Field:
    r = np.hypot(u, v)
    x, y = sector(u, v, 8)
    lobes = cut(union(disc(x, y, 0, 0.7, 0.245), r - 0.78), r - 0.6)
    return union(lobes, cut(r - 0.46, octagram(u, v, 0.2)))


def _kufi(u: Field, v: Field) -> Field:
    rows = (
        "###.#.###",
        "#...#.#.#",
        "#.###.#.#",
        "#.....#..",
        "#########",
        "..#......",
        "###.###.#",
        "#.#.#.#.#",
        "#.###.###",
    )
    return bitmap(u, v, rows)


def _tugra(u: Field, v: Field) -> Field:
    heights = ((-0.2, 0.9), (0.11, 0.8), (0.42, 0.7))
    shafts = union(*(stroke(u, v, [(x, -0.5), (x, top)], 0.17) for x, top in heights))
    lines = union(
        *(
            stroke(u, v, curve(line, 8), 0.17)
            for line in (
                "-.2,-.4 -.6,-.38 -.83,-.06 -.77,.32 -.5,.5 -.2,.5",
                "-.2,-.1 -.44,-.1 -.56,.06 -.44,.22 -.2,.22",
                ".42,.24 .62,.26 .84,.1",
                ".42,-.1 .62,-.1 .84,-.26",
            )
        )
    )
    base = blob(u, v, "-.5,-.66 -.2,-.5 .2,-.5 .6,-.46 .66,-.68 .4,-.9 -.1,-.93 -.44,-.86")
    return union(shafts, lines, base)


def _im(u: Field, v: Field) -> Field:
    ring = np.abs(np.hypot(u, v + 0.4) - 0.36) - 0.13
    stem = stroke(u, v, path("0,-.04 0,.34"), 0.22)
    fork = stroke(u, v, path("-.66,.84 -.4,.38 .5,.38 .5,.84"), 0.22)
    return union(ring, stem, fork)


def _tamga(u: Field, v: Field) -> Field:
    bow = stroke(u, v, arc((0, -0.36), 0.72, 10, 170), 0.22)
    shaft = stroke(u, v, [(0, -0.84), (0, 0.84)], 0.22)
    head = stroke(np.abs(u), v, path("0,.84 .36,.5"), 0.2)
    feet = stroke(np.abs(u), v, path("0.72,-.3 .72,-.84"), 0.22)
    return union(bow, shaft, head, feet)


def _guneskursu(u: Field, v: Field) -> Field:
    y = v - 0.12
    r, _ = polar(u, y)
    ring = np.abs(r - 0.54) - 0.11
    x, z = turned(u, y, 45)
    spokes = both(union(np.abs(x), np.abs(z)) - 0.1, r - 0.54)
    rim = np.full(u.shape, np.inf)
    for degrees in (-100, -50, 0, 50, 100):
        t = np.radians(degrees)
        rim = union(rim, disc(u, y, 0.74 * np.sin(t), 0.74 * np.cos(t), 0.15))
    horn = taper(np.abs(u), v, curve(".08,-.5 .3,-.84 .64,-.84 .86,-.5"), (0.26, 0.24, 0.12))
    return union(ring, spokes, rim, horn, box_distance(u, v + 0.56, 0.16, 0.16))


SYMBOLS: dict[str, Motif] = {
    "hilal": Motif(
        "hilal",
        "crescent",
        "sembol",
        "Yeni ay: Türk sancağının simgesi.",
        "The new moon, emblem of Turkish banners.",
        _hilal,
    ),
    "cintemani": Motif(
        "çintemani",
        "chintamani",
        "sembol",
        "Hilal gözlü üç benek: güç, saltanat ve uğur.",
        "Three spots with a crescent in each: power, rule and luck.",
        _cintemani,
    ),
    "carkifelek": Motif(
        "çarkıfelek",
        "whirling wheel",
        "sembol",
        "Dönen gök çarkı: kader ve zaman.",
        "The turning wheel of the sky: fate and time.",
        _carkifelek,
    ),
    "bulut": Motif(
        "bulut",
        "cloud band",
        "sembol",
        "Ucu kıvrık Çin bulutu: gök ve yağmur.",
        "The curled cloud that came from China: sky and rain.",
        _bulut,
    ),
    "pelengi": Motif(
        "pelengi",
        "tiger stripe",
        "sembol",
        "Dalgalı kaplan çizgisi: yiğitlik.",
        "The wavy stripe of a tiger: courage.",
        _pelengi,
    ),
    "semse": Motif(
        "şemse",
        "sun medallion",
        "sembol",
        "Güneşi andıran salbekli madalyon, cilt kapaklarından.",
        "A sun-like medallion with pendants, from book covers.",
        _semse,
    ),
    "rozet": Motif(
        "rozet",
        "rosette boss",
        "sembol",
        "Taçkapıların dilimli taş kabarası.",
        "The lobed stone boss of portals.",
        _rozet,
    ),
    "kufi": Motif(
        "kûfi yazı",
        "square Kufic",
        "sembol",
        "Kareli yazı kuşağı; harfler soyuttur, metin taşımaz.",
        "A band of square script; its letters are abstract and carry no text.",
        _kufi,
    ),
    "tugra": Motif(
        "tuğra",
        "tughra",
        "sembol",
        "Sultanın imzasının biçimi: tuğlar, beyzeler ve sere.",
        "The form of a sultan's monogram: shafts, loops and base.",
        _tugra,
    ),
    "im": Motif(
        "im",
        "family mark",
        "sembol",
        "Dokuyan ailenin kilime işlediği işaret.",
        "The sign that a weaver's family leaves in the rug.",
        _im,
    ),
    "tamga": Motif(
        "tamga",
        "tamga",
        "sembol",
        "Boyun mülk damgası: ok ve yay.",
        "A clan's brand: bow and arrow.",
        _tamga,
    ),
    "guneskursu": Motif(
        "güneş kursu",
        "sun disc",
        "sembol",
        "Alacahöyük'ün tunç güneşi: gök ve doğurgan toprak.",
        "The bronze sun of Alacahöyük: sky and fertile earth.",
        _guneskursu,
    ),
}
