"""Animals."""

import numpy as np

from otuken_jax.data.motifs.drawing import (
    Field,
    Motif,
    arc,
    blob,
    curve,
    cut,
    disc,
    path,
    polar,
    polygon,
    stroke,
    taper,
    turned,
    union,
)


def _kecitamga(u: Field, v: Field) -> Field:
    body = stroke(u, v, curve("-.72,.22 -.6,-.0 -.1,-.1 .3,-.04 .5,.3"), 0.24)
    legs = union(
        stroke(u, v, path("-.52,-.1 -.52,-.86"), 0.21),
        stroke(u, v, path(".28,-.06 .28,-.86"), 0.21),
    )
    head = taper(u, v, path(".48,.36 .86,.2"), (0.3, 0.18))
    horn = stroke(u, v, curve(".46,.4 .4,.72 .06,.86 -.26,.74 -.36,.44"), 0.2)
    return union(body, legs, head, horn)


def _ciftkartal(u: Field, v: Field) -> Field:
    s = np.abs(u)
    body = blob(s, v, "-.1,.3 .12,.3 .26,.0 .2,-.34 .0,-.5 -.1,-.5")
    neck = taper(s, v, curve("0.06,.16 .12,.4 .24,.66"), (0.3, 0.22, 0.24))
    beak = taper(s, v, curve(".28,.74 .52,.72 .6,.5"), (0.3, 0.22, 0.1))
    wing = taper(s, v, curve(".16,.06 .44,.12 .72,.24 .9,.56"), (0.34, 0.34, 0.34, 0.14))
    feathers = union(
        taper(s, v, path(".8,.3 .83,-.62"), (0.3, 0.26, 0.1)),
        taper(s, v, path(".48,.1 .47,-.5"), (0.26, 0.22, 0.1)),
    )
    tail = polygon(s, v, path("0,-.3 .12,-.36 .46,-.86 .3,-.96 .16,-.8 0,-.96"))
    return union(body, neck, disc(s, v, 0.28, 0.72, 0.18), beak, wing, feathers, tail)


def _aslan(u: Field, v: Field) -> Field:
    trunk = taper(u, v, path("-.5,-.14 .2,-.1"), (0.4, 0.46))
    legs = union(
        stroke(u, v, curve("-.58,-.1 -.74,-.5 -.68,-.85 -.54,-.86"), 0.23),
        stroke(u, v, curve("-.42,-.14 -.24,-.5 -.26,-.85 -.1,-.86"), 0.23),
        stroke(u, v, path(".18,-.1 .18,-.86 .32,-.86"), 0.23),
        stroke(u, v, curve(".3,-.1 .64,-.24 .64,-.52 .84,-.52"), 0.23),
    )
    tail = stroke(u, v, curve("-.6,-.04 -.88,.2 -.8,.56 -.6,.64"), 0.2)
    tuft = taper(u, v, curve("-.64,.64 -.42,.58 -.36,.3"), (0.2, 0.38, 0.1))
    x, y = u - 0.3, v - 0.44
    r, angle = polar(x, y)
    mane = r - 0.42 - 0.07 * np.cos(8 * angle)
    face = taper(x, y, path(".16,0 .45,-.08"), (0.52, 0.46))
    return cut(union(trunk, legs, tail, tuft, mane, face), disc(x, y, 0.2, 0.04, 0.09))


def _geyik(u: Field, v: Field) -> Field:
    trunk = taper(u, v, path("-.5,-.22 .2,-.2"), (0.34, 0.36))
    neck = taper(u, v, path(".22,-.14 .46,.2"), (0.32, 0.22))
    head = taper(u, v, path(".44,.24 .84,.08"), (0.28, 0.17))
    paths = (
        "-.58,-.2 -.68,-.52 -.58,-.88",
        "-.42,-.3 -.3,-.88",
        ".14,-.3 .06,-.88",
        ".3,-.2 .46,-.5 .44,-.88",
    )
    legs = union(*(stroke(u, v, path(p), 0.18) for p in paths))
    antler = union(
        stroke(u, v, curve(".42,.3 .24,.44 -.1,.44 -.5,.64 -.56,.88"), 0.18),
        stroke(u, v, path(".2,.44 .2,.88"), 0.18),
        stroke(u, v, path("-.18,.48 -.2,.88"), 0.18),
        stroke(u, v, path(".46,.3 .66,.5 .64,.88"), 0.18),
    )
    tail = taper(u, v, path("-.6,-.14 -.84,.04"), (0.22, 0.17))
    return union(trunk, neck, head, legs, antler, tail)


def _balik(u: Field, v: Field) -> Field:
    x, y = turned(u, v, -24)
    body = np.hypot(x - 0.16, np.abs(y) + 0.25) - 0.82
    tail = polygon(x, np.abs(y), path("-.3,0 -.3,.14 -1.0,.5 -.84,0"))
    fin = polygon(x, np.abs(y), path("-.2,.4 -.1,.78 .34,.46"))
    gill = stroke(x, y, arc((-0.1, 0), 0.34, -48, 48), 0.14)
    return cut(union(body, tail, fin), union(gill, disc(x, y, 0.58, 0.1, 0.1)))


def _bozkurt(u: Field, v: Field) -> Field:
    head = polygon(
        u,
        v,
        path(
            "-.5,-.92 -.78,-.4 -.76,.1 -.62,.36 -.66,.96 -.24,.62 -.04,.96 .1,.5 .44,.26 .94,.14 "
            ".92,-.1 .5,-.12 .3,-.22 .62,-.34 .8,-.28 .72,-.5 .36,-.58 .14,-.5 .2,-.94 -.06,-.7 "
            "-.2,-.94 -.36,-.7"
        ),
    )
    return cut(head, polygon(u, v, path("-.08,.36 .28,.14 -.14,.12")))


def _ejder(u: Field, v: Field) -> Field:
    body = taper(
        u,
        v,
        curve("-.2,.5 .2,.42 .6,.2 .5,-.12 0,-.22 -.5,-.36 -.6,-.7 -.1,-.82 .4,-.72 .84,-.5"),
        (0.3, 0.34, 0.36, 0.34, 0.32, 0.28, 0.22, 0.04),
    )
    head = polygon(
        u, v, path("0,.3 -.3,.24 -.9,.22 -.62,.4 -.92,.6 -.5,.72 -.2,.92 -.1,.72 .12,.66")
    )
    crest = union(
        *(polygon(u, v, path(t)) for t in (".2,.5 .46,.86 .5,.4", ".5,.36 .88,.5 .74,.06"))
    )
    return union(body, cut(head, disc(u, v, -0.32, 0.54, 0.09)), crest)


ANIMALS: dict[str, Motif] = {
    "kecitamga": Motif(
        "dağ keçisi",
        "mountain goat",
        "figur",
        "Göktürk kağanlarının damgası: özgürlük.",
        "The brand of the Göktürk khagans: freedom.",
        _kecitamga,
    ),
    "ciftkartal": Motif(
        "çift başlı kartal",
        "double-headed eagle",
        "figur",
        "Doğuya ve batıya bakan Selçuklu kartalı: hükümranlık.",
        "The Seljuk eagle that looks east and west: sovereignty.",
        _ciftkartal,
    ),
    "aslan": Motif(
        "aslan",
        "lion",
        "figur",
        "Kapıları bekleyen aslan: güç.",
        "The lion that guards the gates: might.",
        _aslan,
    ),
    "geyik": Motif(
        "geyik",
        "stag",
        "figur",
        "Alacahöyük ve bozkırın kutlu geyiği: yol gösterici.",
        "The sacred stag of Alacahöyük and the steppe: a guide.",
        _geyik,
    ),
    "balik": Motif(
        "balık",
        "fish",
        "figur",
        "Sudaki bolluk ve uğur.",
        "Plenty in the water, and good luck.",
        _balik,
    ),
    "bozkurt": Motif(
        "kurt başı",
        "wolf head",
        "figur",
        "Göktürk sancağındaki kurt: türeyiş.",
        "The wolf of the Göktürk banner: the people's origin.",
        _bozkurt,
    ),
    "ejder": Motif(
        "ejder",
        "dragon",
        "figur",
        "Su ve göğün bekçisi, kıvrılan ejder.",
        "The coiling dragon, keeper of waters and sky.",
        _ejder,
    ),
}
