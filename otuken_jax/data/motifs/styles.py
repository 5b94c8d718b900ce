"""Styles of Turkish art: palettes, and whether the ornament is raised or engraved."""

from dataclasses import dataclass

RELIEF_DEPTH = 0.12  # the deepest, domain units: 1.9 voxels of a 32^3 grid


@dataclass(frozen=True)
class Color:
    """A colour by its Turkish name and its sRGB value in 0..1."""

    name: str
    rgb: tuple[float, float, float]


def _color(name: str, code: str) -> Color:
    return Color(name, tuple(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)))


LACIVERT = _color("lacivert", "1B2A6B")
FIRUZE = _color("firuze", "2FA8B5")
MERCAN = _color("mercan kırmızısı", "D0402B")
ZUMRUT = _color("zümrüt yeşili", "1E7F56")
PATLICAN = _color("patlıcan moru", "4A2348")
HARDAL = _color("hardal sarısı", "D9A52B")
KIREMIT = _color("kiremit rengi", "A9532F")
BAZALT = _color("bazalt grisi", "55575A")
GRANIT = _color("granit grisi", "9A9C9E")
BEYAZ = _color("beyaz", "F4F1E8")
SIYAH = _color("siyah", "1B1A1C")
ALTIN = _color("altın sarısı", "CFA52A")
KREM = _color("krem rengi", "E8D9B5")
BORDO = _color("bordo", "6E1423")


@dataclass(frozen=True)
class Palette:
    """The ground colour of the object and the colour of the ornament."""

    ground: Color
    motif: Color


@dataclass(frozen=True)
class Style:
    """Turkish name, palettes, signed relief (raised > 0), widening of strokes in chart units."""

    name: str
    palettes: tuple[Palette, ...]
    relief: float
    stroke: float


STYLES: dict[str, Style] = {
    "iznik": Style(
        "İznik",
        (Palette(BEYAZ, LACIVERT), Palette(BEYAZ, MERCAN), Palette(LACIVERT, BEYAZ)),
        relief=0.11,
        stroke=0.0,
    ),
    "selcuklu": Style(
        "Selçuklu",
        (Palette(FIRUZE, SIYAH), Palette(PATLICAN, FIRUZE), Palette(KIREMIT, FIRUZE)),
        relief=0.12,
        stroke=-0.02,
    ),
    "gokturk": Style(
        "Göktürk",
        (Palette(GRANIT, SIYAH), Palette(BAZALT, KIREMIT)),
        relief=-0.12,
        stroke=0.0,
    ),
    "kilim": Style(
        "Anadolu kilimi",
        (Palette(BORDO, KREM), Palette(LACIVERT, HARDAL), Palette(HARDAL, SIYAH)),
        relief=0.11,
        stroke=0.0,
    ),
    "barok": Style(
        "Osmanlı barok",
        (Palette(KREM, ALTIN), Palette(ZUMRUT, ALTIN)),
        relief=0.12,
        stroke=0.03,
    ),
}

PLAIN_COLORS: tuple[Color, ...] = (BEYAZ, KIREMIT, GRANIT)
