"""Styles of Turkish art: palettes, and whether the ornament is raised or engraved."""

from dataclasses import dataclass

RELIEF_DEPTH = 0.12  # the deepest, domain units: 1.9 voxels of a 32^3 grid
EDGE_WIDTH = 0.2  # of the relief's flank, in chart units: about 1.5 voxels of a 32^3 grid


@dataclass(frozen=True)
class Color:
    """A colour by its Turkish and English names and its sRGB value in 0..1."""

    name: str
    english: str
    rgb: tuple[float, float, float]


def _color(name: str, english: str, code: str) -> Color:
    return Color(name, english, tuple(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)))


LACIVERT = _color("lacivert", "navy", "1B2A6B")
FIRUZE = _color("firuze", "turquoise", "2FA8B5")
MERCAN = _color("mercan kırmızısı", "coral red", "D0402B")
ZUMRUT = _color("zümrüt yeşili", "emerald green", "1E7F56")
PATLICAN = _color("patlıcan moru", "aubergine", "4A2348")
HARDAL = _color("hardal sarısı", "mustard yellow", "D9A52B")
KIREMIT = _color("kiremit rengi", "brick red", "A9532F")
BAZALT = _color("bazalt grisi", "basalt grey", "55575A")
GRANIT = _color("granit grisi", "granite grey", "9A9C9E")
BEYAZ = _color("beyaz", "white", "F4F1E8")
SIYAH = _color("siyah", "black", "1B1A1C")
ALTIN = _color("altın sarısı", "gold", "CFA52A")
KREM = _color("krem rengi", "cream", "E8D9B5")
BORDO = _color("bordo", "burgundy", "6E1423")
KOBALT = _color("kobalt mavisi", "cobalt blue", "1F4AA8")
TUNC = _color("tunç rengi", "bronze", "8C6A3A")
CEVIZ = _color("ceviz rengi", "walnut", "6A4630")
PEMBE = _color("gül pembesi", "rose pink", "D98A96")


@dataclass(frozen=True)
class Palette:
    """The ground colour of the object and the colour of the ornament."""

    ground: Color
    motif: Color


@dataclass(frozen=True)
class Style:
    """Names, palettes, and how the style bends the geometry of an ornament.

    `relief` is raised where positive; `stroke` widens strokes, `edge` is the width of the relief's
    flank, both in chart units; `steps` (0: none) draws in squares, so many to a chart unit; `sway`
    bends upright motifs to one side. `techniques` may take the place of the style's own relief.
    """

    name: str
    palettes: tuple[Palette, ...]
    relief: float
    stroke: float
    english: str
    techniques: tuple[str, ...] = ()
    edge: float = EDGE_WIDTH
    steps: int = 0
    sway: float = 0.0


STYLES: dict[str, Style] = {
    "iznik": Style(
        "İznik",
        (Palette(BEYAZ, LACIVERT), Palette(BEYAZ, MERCAN), Palette(LACIVERT, BEYAZ)),
        relief=0.11,
        stroke=0.0,
        english="İznik (Ottoman classical)",
        techniques=("color", "engraving", "pierced"),
    ),
    "selcuklu": Style(
        "Selçuklu",
        (Palette(FIRUZE, SIYAH), Palette(PATLICAN, FIRUZE), Palette(KIREMIT, FIRUZE)),
        relief=0.12,
        stroke=0.0,
        english="Seljuk",
        techniques=("engraving", "color", "pierced"),
    ),
    "gokturk": Style(
        "Göktürk",
        (Palette(GRANIT, SIYAH), Palette(BAZALT, KIREMIT)),
        relief=-0.12,
        stroke=0.0,
        english="Göktürk",
        techniques=("relief",),
    ),
    "kilim": Style(
        "Anadolu kilimi",
        (Palette(BORDO, KREM), Palette(LACIVERT, HARDAL), Palette(HARDAL, SIYAH)),
        relief=0.11,
        stroke=0.0,
        english="Anatolian village",
        techniques=("color",),
        steps=8,  # woven
    ),
    "barok": Style(
        "Osmanlı barok",
        (Palette(KREM, ALTIN), Palette(ZUMRUT, ALTIN)),
        relief=0.12,
        stroke=0.03,
        english="Ottoman baroque",
        techniques=("engraving", "color", "pierced"),
    ),
    "hitit": Style(
        "Hitit",
        (Palette(BAZALT, TUNC), Palette(TUNC, SIYAH), Palette(KIREMIT, KREM)),
        relief=0.12,
        stroke=0.03,
        english="Hittite",
        techniques=("engraving", "color"),
        edge=0.34,  # rounded
    ),
    "bozkir": Style(
        "bozkır",
        (Palette(TUNC, ALTIN), Palette(ALTIN, KIREMIT), Palette(SIYAH, ALTIN)),
        relief=0.12,
        stroke=0.02,
        english="steppe (Hun and Avar)",
        techniques=("engraving",),
        edge=0.42,  # slanted carving
    ),
    "uygur": Style(
        "Uygur",
        (Palette(MERCAN, ALTIN), Palette(KREM, MERCAN), Palette(ZUMRUT, KREM)),
        relief=0.1,
        stroke=0.0,
        english="Uyghur",
        techniques=("color", "engraving"),
        edge=0.26,
        sway=-0.08,
    ),
    "karahanli": Style(
        "Karahanlı",
        (Palette(KIREMIT, KREM), Palette(HARDAL, KIREMIT), Palette(KREM, FIRUZE)),
        relief=0.12,
        stroke=0.0,
        english="Karakhanid",
        techniques=("engraving",),
        steps=8,  # laid in bricks
    ),
    "beylikler": Style(
        "Beylikler",
        (Palette(FIRUZE, LACIVERT), Palette(KREM, FIRUZE), Palette(GRANIT, BEYAZ)),
        relief=0.12,
        stroke=0.01,
        english="Anatolian principalities",
        techniques=("engraving", "pierced"),
    ),
    "akkoyunlu": Style(
        "Akkoyunlu",
        (Palette(GRANIT, BAZALT), Palette(BAZALT, KREM), Palette(KREM, KIREMIT)),
        relief=-0.11,
        stroke=0.02,
        english="Aq Qoyunlu",
        techniques=("relief",),
        edge=0.26,
    ),
    "erkenosmanli": Style(
        "erken Osmanlı",
        (Palette(BEYAZ, KOBALT), Palette(KOBALT, BEYAZ), Palette(FIRUZE, KOBALT)),
        relief=0.1,
        stroke=0.0,
        english="early Ottoman (blue and white)",
        techniques=("color", "engraving", "pierced"),
    ),
    "saz": Style(
        "saz",
        (Palette(BEYAZ, FIRUZE), Palette(KOBALT, BEYAZ), Palette(BEYAZ, LACIVERT)),
        relief=0.1,
        stroke=0.0,
        english="saz",
        techniques=("color", "engraving"),
        sway=0.14,
    ),
    "laledevri": Style(
        "Lale Devri",
        (Palette(KREM, MERCAN), Palette(BEYAZ, PEMBE), Palette(ZUMRUT, KREM)),
        relief=0.12,
        stroke=0.0,
        english="Tulip Era",
        techniques=("color", "engraving"),
        sway=0.08,
    ),
    "kutahya": Style(
        "Kütahya",
        (Palette(BEYAZ, KOBALT), Palette(BEYAZ, HARDAL), Palette(BEYAZ, ZUMRUT)),
        relief=0.09,
        stroke=0.0,
        english="Kütahya",
        techniques=("color",),
    ),
    "canakkale": Style(
        "Çanakkale",
        (Palette(KREM, PATLICAN), Palette(HARDAL, KIREMIT), Palette(ZUMRUT, KREM)),
        relief=0.1,
        stroke=0.04,
        english="Çanakkale",
        techniques=("color", "engraving"),
        edge=0.3,  # a loose brush
    ),
}

# Of an object without ornament, by its material.
PLAIN_COLORS: dict[str, tuple[Color, ...]] = {
    "clay": (BEYAZ, KIREMIT, FIRUZE),
    "stone": (GRANIT, BAZALT, BEYAZ),
    "masonry": (KIREMIT, GRANIT, BEYAZ),
    "metal": (TUNC, ALTIN, BAZALT),
    "wood": (CEVIZ, SIYAH, KREM),
    "felt": (BEYAZ, KREM, BORDO),
    "glass": (LACIVERT, KOBALT, FIRUZE),
}
