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
    angle = np.arctan2(u / 0.52, v / 0.64)
    body = petal(u, v, -0.7, 0.7, 0.58) - 0.05 * np.cos(12 * angle)
    body = union(cut(body, petal(u, v, -0.5, 0.5, 0.32)), petal(u, v, -0.32, 0.32, 0.16))
    neck = box_distance(u, np.abs(v) - 0.7, 0.085, 0.1)
    return union(body, neck, petal(u, np.abs(v), 0.66, 1.0, 0.16))


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
    # The strokes are a little wider than the gaps.
    return union(*(bitmap(u + a, v + b, rows) for a in (-0.008, 0.008) for b in (-0.008, 0.008)))


def _tugra(u: Field, v: Field) -> Field:
    heights = ((-0.1, 0.9), (0.19, 0.84), (0.48, 0.78))
    shafts = union(*(stroke(u, v, [(x, -0.6), (x, top)], 0.17) for x, top in heights))
    # Each loop is one line: from the base round to the left, over the shafts, to the tip.
    loops = (
        ".5,-.52 .1,-.54 -.5,-.52 -.85,-.18 -.72,.3 -.2,.5 .4,.42 .86,.06",
        "-.1,-.2 -.42,-.22 -.55,-.02 -.4,.16 -.1,.14 .4,.08 .86,.02",
    )
    lines = union(*(stroke(u, v, curve(loop, 8), 0.17) for loop in loops))
    base = blob(u, v, "-.4,-.5 0,-.5 .56,-.46 .72,-.62 .66,-.86 .3,-.94 -.1,-.9 -.36,-.7")
    return union(shafts, lines, base, disc(u, v, 0.68, 0.14, 0.1))


def _im(u: Field, v: Field) -> Field:
    s = np.abs(u)
    ring = np.abs(s + np.abs(v - 0.08) - 0.4) - 0.16
    fork = stroke(s, v, path("0,.46 .52,.8"), 0.24)
    foot = stroke(s, v, path("0,-.4 0,-.78 .56,-.78 .56,-.5"), 0.24)
    return union(ring, fork, foot)


def _tamga(u: Field, v: Field) -> Field:
    bow = stroke(u, v, arc((0, -0.36), 0.72, 10, 170), 0.22)
    shaft = stroke(u, v, [(0, -0.84), (0, 0.84)], 0.22)
    head = stroke(np.abs(u), v, path("0,.84 .36,.5"), 0.2)
    feet = stroke(np.abs(u), v, path("0.72,-.3 .72,-.84"), 0.22)
    return union(bow, shaft, head, feet)


def _guneskursu(u: Field, v: Field) -> Field:
    y = v - 0.1
    r, _ = polar(u, y)
    ring = np.abs(r - 0.54) - 0.1
    lattice = union(np.abs(np.abs(u) - 0.16), np.abs(np.abs(y) - 0.16)) - 0.08
    turns = np.radians((-72, -36, 0, 36, 72))
    rim = union(*(disc(u, y, 0.76 * np.sin(t), 0.76 * np.cos(t), 0.13) for t in turns))
    horn = taper(np.abs(u), v, curve("0,-.72 .4,-.74 .76,-.5 .9,-.06"), (0.3, 0.26, 0.2, 0.08))
    return union(ring, both(lattice, r - 0.54), rim, horn, box_distance(u, v + 0.72, 0.2, 0.22))


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
        "sunburst",
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
