"""Turkish captions of a recipe in three lengths, with and without the ornament.

Which of several phrasings a shape gets follows from its recipe.
"""

from zlib import crc32

from otuken_jax.data.motifs.applications import TECHNIQUES
from otuken_jax.data.motifs.fields import MOTIFS
from otuken_jax.data.motifs.hosts import HOSTS
from otuken_jax.data.motifs.recipes import Recipe
from otuken_jax.data.motifs.styles import PLAIN_COLORS, STYLES
from otuken_jax.data.motifs.turkish import genitive, instrumental, locative, possessive, with_li


def captions(recipe: Recipe) -> dict[str, str]:
    """Captions by kind: short, medium, full, and of each a `_plain` one without the ornament.

    The full ones name all three form attributes. For a plain object, short, medium and full say
    that it has no ornament and name its colour.
    """
    plain = {
        f"{kind}_plain": _choose(recipe, f"{kind}_plain", texts)
        for kind, texts in _plain_phrases(recipe).items()
    }
    phrases = _bare_phrases if recipe.motif is None else _ornament_phrases
    named = {kind: _choose(recipe, kind, texts) for kind, texts in phrases(recipe).items()}
    return {**named, **plain}


def style_text(recipe: Recipe) -> str:
    """The ornament in words (style, motif, colours, sometimes relief); never names the host."""
    if recipe.motif is None:
        color = PLAIN_COLORS[recipe.palette].name
        texts = [f"süslemesiz, {color}", f"sade, {color} yüzey", f"{color}, motifsiz"]
        return _choose(recipe, "style", texts)
    style, motif, ground, color, relief = _ornament_words(recipe)
    look = possessive("üslup")
    texts = [
        f"{style} {look}, {motif} motifi, {ground} zemin üzerine {color}",
        f"{style} {locative(look, possessed=True)} {color} {motif} motifi, {ground} zemin",
        f"{ground} zemin üzerine {color} {relief} {motif} motifi, {style} {look}",
        f"{style} tarzı {relief} {motif}, {ground} üzerine {color}",
    ]
    return _choose(recipe, "style", texts)


def _choose(recipe: Recipe, kind: str, texts: list[str]) -> str:
    """One of the texts, by a hash that does not depend on the other fields of the recipe."""
    return texts[crc32(f"{kind} {recipe.jitter_seed}".encode()) % len(texts)]


def _form_words(recipe: Recipe) -> tuple[str, str, str]:
    attributes = HOSTS[recipe.host].form
    return tuple(levels[level] for levels, level in zip(attributes, recipe.form, strict=True))


def _ornament_words(recipe: Recipe) -> tuple[str, str, str, str, str]:
    """Style, motif, ground colour, motif colour, and raised or engraved."""
    style = STYLES[recipe.style]
    palette = style.palettes[recipe.palette]
    own = "relief" if style.relief > 0 else "engraving"
    relief = TECHNIQUES[recipe.technique or own].name
    return style.name, MOTIFS[recipe.motif].name, palette.ground.name, palette.motif.name, relief


def _plain_phrases(recipe: Recipe) -> dict[str, list[str]]:
    host = HOSTS[recipe.host].name
    a, b, c = _form_words(recipe)
    return {
        "short": [host, f"bir {host}", f"{a} {host}"],
        "medium": [f"{a} bir {host}", f"{a}, {b} {host}", f"{a}, {c} bir {host}"],
        "full": [
            f"{a}, {b}, {c} bir {host}",
            f"{a}, {b} ve {c} bir {host}",
            f"bir {host}: {a}, {b}, {c}",
        ],
    }


def _bare_phrases(recipe: Recipe) -> dict[str, list[str]]:
    """Phrases for an object without ornament."""
    host = HOSTS[recipe.host].name
    color = PLAIN_COLORS[recipe.palette].name
    a, b, c = _form_words(recipe)
    return {
        "short": [f"süslemesiz {host}", f"sade bir {host}", f"{color}, sade {host}"],
        "medium": [f"süslemesiz, {a} bir {host}", f"{color}, süslemesiz, {c} bir {host}"],
        "full": [
            f"{a}, {b}, {c}, süslemesiz, {color} bir {host}",
            f"süslemesiz, {color} bir {host}: {a}, {b}, {c}",
        ],
    }


def _ornament_phrases(recipe: Recipe) -> dict[str, list[str]]:
    host = HOSTS[recipe.host]
    style, motif, ground, color, relief = _ornament_words(recipe)
    a, b, c = _form_words(recipe)
    look = locative(possessive("üslup"), possessed=True)
    place = possessive(host.face)
    on_place = locative(place, possessed=True)
    patterned = f"{motif} {with_li('motif')}"
    return {
        "short": [
            f"{patterned} {host.name}",
            f"{style} {look} {patterned} bir {host.name}",
            f"{motif} {with_li('desen')} {host.name}",
            f"{on_place} {motif} motifi olan {host.name}",
            f"üzerinde {motif} deseni olan bir {host.name}",
        ],
        "medium": [
            f"{style} {look}, {patterned}, {a} bir {host.name}",
            f"{on_place} {color} {motif} motifi olan, {c} bir {host.name}",
            f"{ground} zemin üzerine {color} {patterned}, {a} bir {host.name}",
        ],
        "full": [
            f"{style} {look}, {ground} zemin üzerine {color} {patterned}, {a}, {b}, {c} "
            f"bir {host.name}",
            f"{a}, {b} ve {c} bir {host.name}; {on_place} {style} {look}, {ground} zemin üzerine "
            f"{color} {relief} {motif} motifi var",
            f"{a}, {b}, {c} bir {host.name}; {genitive(host.name)} {place} {style} {look} {color} "
            f"{motif} {instrumental('motifi')} bezeli, zemini {ground}",
        ],
    }
