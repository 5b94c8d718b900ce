"""Templates of captions by kind. A slot `{field}` or `{field:form}` stands for words of a recipe.

A template with a slot that a recipe has no word for is not used for it: `{motif}` for a plain
object, `{plain}` (whose form is the word itself) for an ornamented one, `{style:of}` for a style
that makes no compound. The words are in `captions`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phrasings:
    """Templates of one kind: those of every split, and those of `heldout_phrasing` alone."""

    usual: tuple[str, ...]
    heldout: tuple[str, ...]


ENGLISH, ASCII = "english", "ascii"  # kinds in another language or spelling

TECHNIQUES = {
    "relief": ("kabartma", "raised"),
    "engraving": ("oyma", "engraved"),
    "color": ("boyama", "painted"),
    "pierced": ("ajur", "openwork"),
}
# Styles that name an object's origin, as in Selçuklu taçkapısı.
ORIGINS = {
    "iznik": "İznik",
    "selcuklu": "Selçuklu",
    "gokturk": "Göktürk",
    "hitit": "Hitit",
    "bozkir": "bozkır",
    "uygur": "Uygur",
    "karahanli": "Karahanlı",
    "beylikler": "Beylikler dönemi",
    "akkoyunlu": "Akkoyunlu",
    "erkenosmanli": "erken Osmanlı",
    "laledevri": "Lale Devri",
    "kutahya": "Kütahya",
    "canakkale": "Çanakkale",
}

# Words for a layout, which themselves have slots; the usual one, a row, goes without saying.
LAYOUTS: dict[str, dict[str, str]] = {
    "with_li": {
        "row": "{color} {technique} {motif} motifli",
        "border": "{color} {technique} {motif} bordürlü",
        "allover": "baştan başa {color} {technique} {motif} motifli",
        "medallion": "{color} {technique} {motif} madalyonlu",
    },
    "noun": {
        "row": "{color} {technique} {motif} motifi",
        "border": "{color} {technique} {motif} bordürü",
        "allover": "baştan başa {color} {technique} {motif} motifi",
        "medallion": "{color} {technique} {motif} madalyonu",
    },
    "instrumental": {
        "row": "{color} {technique} {motif} motifiyle",
        "border": "{color} {technique} {motif} bordürüyle",
        "allover": "baştan başa {color} {technique} {motif} motifiyle",
        "medallion": "{color} {technique} {motif} madalyonuyla",
    },
    "english": {
        "row": "{technique} {color} {motif} motifs",
        "border": "a border of {technique} {color} {motif} motifs",
        "allover": "{technique} {color} {motif} motifs all over",
        "medallion": "a {technique} {color} {motif} medallion",
    },
}

CAPTIONS: dict[str, Phrasings] = {
    "full": Phrasings(
        (
            "{style} üslubunda, {ground} zemin üzerine {layout:with_li}, {a}, {b}, {c} bir {host}",
            "{a}, {b}, {c} bir {host}; {host:on_face} {style} üslubunda, {ground} zemin üzerine "
            "{layout:noun} var",
            "{a}, {b} ve {c} bir {host}; {host:face} {style} tarzında, {ground} üzerine "
            "{layout:instrumental} bezeli",
            "{style} tarzı, {ground} üzerine {layout:with_li}, {a}, {b}, {c} {host}",
            "{a}, {b}, {c}, {plain}, {ground} bir {host}",
            "{plain}, {ground} bir {host}: {a}, {b}, {c}",
            "{a}, {b} ve {c}, {plain:sade}, {ground} bir {host}",
        ),
        (
            "{layout:with_li}, {ground} zeminli, {style} tarzında, {a}, {b} ve {c} {host}",
            "{a}, {b}, {c}, {ground} {host}; {style} tarzı {layout:noun}",  # short: fits all
            "{plain:bezemesiz} ve {ground}, {a}, {b} ve {c} {host}",
        ),
    ),
    "short": Phrasings(
        (
            "{motif} motifli {host}",
            "{motif:with_li} {host}",
            "{style} üslubunda {motif} motifli bir {host}",
            "{host:on_face} {motif} motifi olan {host}",
            "{host:of} {host:on_face} {motif} motifi",
            "{plain} {host}",
            "{plain:sade} bir {host}",
            "{ground}, {plain:motifsiz} {host}",
        ),
        (
            "üzerinde {motif} deseni olan bir {host}",
            "{plain:bezemesiz} bir {host}",
        ),
    ),
    "host": Phrasings(
        (
            "{a}, {b}, {c} bir {host}",
            "{a}, {b} ve {c} bir {host}",
            "bir {host}: {a}, {b}, {c}",
            "{a} bir {host}, {b} ve {c}",
        ),
        ("{host}; {a}, {b} ve {c}",),
    ),
    "motif": Phrasings(
        (
            "{motif} motifi",
            "{motif:with_li} süsleme",
            "{motif} motifli bir eser",
            "{plain}",
            "{plain:sade}",
        ),
        ("{motif} deseni", "{plain:bezemesiz}"),
    ),
    "style_first": Phrasings(
        (
            "{style} tarzı {motif} motifli, {ground} ve {color} {host}",
            "{style} üslubunda {color} {motif} motifli, {a} bir {host}",
            "{style} usulü {motif} desenli {host}",
            "{style:of} {host:possessive}: {a}, {motif} motifli",
            "{plain}, {ground} ve {a} bir {host}",
            "{plain:sade}, {ground} {host}",
            "{plain:motifsiz}, {c} bir {host}",
        ),
        (
            "{style} tarzında yapılmış, {motif} motifli bir {host}",
            "{style:of} {host:possessive}, {motif} desenli",
            "{plain:bezemesiz}, {ground} bir {host}",
        ),
    ),
    "colloquial": Phrasings(
        (
            "bana {motif:with_li} bir {host} yap",
            "üstünde {motif} motifi olan bir {host} istiyorum",
            "şöyle {style} tarzı, {motif} motifli bir {host} olsun",
            "bir {host} lazım, {motif} desenli olsun",
            "{a} bir {host} yap, üstü {motif} motifli olsun",
            "{host:of} üstünde {motif} motifi olsun",
            "bana {plain:sade} bir {host} yap",
            "{plain:süssüz} bir {host} istiyorum",
            "{ground} bir {host} olsun, {plain:süssüz}",
        ),
        (
            "{motif} motifli, {a} bir {host} yapar mısın",
            "{plain:sade}, {a} bir {host} yapar mısın",
        ),
    ),
    ASCII: Phrasings(
        (
            "{style} tarzı {motif} motifli {a} bir {host}",
            "{motif:with_li} {host}",
            "{style} üslubunda {color} {motif} motifli {host}",
            "üzerinde {motif} motifi olan {a}, {c} {host}",
            "{plain} {a} bir {host}",
            "{plain:sade} {host}",
            "{ground} {plain:motifsiz} {host}",
        ),
        (
            "{a} {host}, {motif} motifli, {style} tarzı",
            "{a} {plain:bezemesiz} {host}",
        ),
    ),
    ENGLISH: Phrasings(
        (
            "a {a}, {b}, {c} {host} in the {style} style with {layout:english} on {ground}",
            "a {style} {host} with {layout:english} on {ground}: {a}, {b}, {c}",
            "a {style}-style {host} with a {motif} motif",
            "a {a} {host} with a {motif} motif in {color}",
            "a {plain:plain} {ground} {host}",
            "a {plain:plain}, {a}, {b}, {c} {ground} {host}",
            "a {a} {ground} {host}, {plain:undecorated}",
        ),
        (
            "{layout:english} on {ground}, in the {style} style, on a {a}, {b}, {c} {host}",
            "a {a}, {b}, {c} {host} in {ground}, {plain:undecorated}",
        ),
    ),
}

STYLE_TEXT = Phrasings(
    (
        "{style} üslubu, {layout:noun}, {ground} zemin",
        "{ground} zemin üzerine {layout:noun}, {style} üslubu",
        "{style} tarzı, {ground} üzerine {layout:noun}",
        "{style} üslubunda, {ground} zemin üzerine {layout:noun}",
        "{plain}, {ground}",
        "{plain:sade}, {ground} yüzey",
        "{ground}, {plain:motifsiz}",
    ),
    (
        "{ground} zeminli, {style} tarzında {layout:noun}",
        "{plain:bezemesiz}, {ground} yüzey",
    ),
)
