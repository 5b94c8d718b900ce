"""Running borders, which join across the edge of the cell."""

from itertools import pairwise

import numpy as np

from otuken_jax.data.motifs.drawing import (
    Field,
    Motif,
    interlaced,
    stroke,
    union,
)
from otuken_jax.data.motifs.primitives import box_distance


def _zencerek(u: Field, v: Field) -> Field:
    wave = [(x, 0.52 * np.sin(np.pi * x)) for x in np.linspace(-1.2, 1.2, 61)]
    return union(stroke(u, v, wave, 0.36), stroke(u, -v, wave, 0.36))


def _suyolu(u: Field, v: Field) -> Field:
    zigzag = [(x, y) for x, y in zip(range(-2, 3), (0.3, -0.3, 0.3, -0.3, 0.3), strict=True)]
    return union(stroke(u, v - 0.48, zigzag, 0.38), stroke(u, v + 0.48, zigzag, 0.38))


def _meandr(u: Field, v: Field) -> Field:
    base = np.abs(v + 0.72) - 0.17
    key = [(-0.66, -0.7), (-0.66, 0.72), (0.66, 0.72), (0.66, -0.06), (0.0, -0.06)]
    parts = [
        box_distance(u - (a + c) / 2, v - (b + d) / 2, abs(a - c) / 2 + 0.17, abs(b - d) / 2 + 0.17)
        for (a, b), (c, d) in pairwise(key)
    ]
    return union(base, *parts)


def _orgu(u: Field, v: Field) -> Field:
    x = np.linspace(-1.5, 1.5, 91)  # a strand comes round in 3, the braid in 1
    under, over = np.full(u.shape, np.inf), np.full(u.shape, np.inf)
    for phase in (0.0, 2 * np.pi / 3, 4 * np.pi / 3):
        strand = stroke(
            u, v, list(zip(x, 0.62 * np.sin(2 * np.pi / 3 * x + phase), strict=True)), 0.3
        )
        inwards = np.sin(2 * (2 * np.pi / 3 * u + phase)) < 0  # over the others to the middle
        over = np.where(inwards, union(over, strand), over)
        under = np.where(inwards, under, union(under, strand))
    return interlaced(over, under, 0.12)


BORDERS: dict[str, Motif] = {
    "zencerek": Motif(
        "zencerek",
        "chain",
        "bordur",
        "Birbirine geçen iki şerit: süreklilik.",
        "Two strands that link: continuity.",
        _zencerek,
    ),
    "suyolu": Motif(
        "su yolu",
        "running water",
        "bordur",
        "Zikzak akan su: hayatın akışı ve arınma.",
        "Water in zigzags: the flow of life, and cleansing.",
        _suyolu,
    ),
    "meandr": Motif(
        "meandr",
        "meander",
        "bordur",
        "Köşeli kıvrımlarla dönen anahtar bordür.",
        "The key border that turns in square folds.",
        _meandr,
    ),
    "orgu": Motif(
        "örgü",
        "braid",
        "bordur",
        "Üç kollu saç örgüsü: birlik ve bağlılık.",
        "A plait of three strands: union and loyalty.",
        _orgu,
    ),
}
