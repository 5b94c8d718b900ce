"""Turkish captions of a recipe in three lengths, with and without the ornament."""

from otuken_jax.data.motifs.fields import MOTIFS
from otuken_jax.data.motifs.hosts import HOSTS
from otuken_jax.data.motifs.recipes import Recipe
from otuken_jax.data.motifs.styles import PLAIN_COLORS, STYLES


def high_vowel(word: str) -> str:
    """The high vowel (ı, i, u, ü) that harmonises with the last vowel of a word."""
    last = next(c for c in reversed(word) if c in "aıoueiöüâîû")
    return {"a": "ı", "ı": "ı", "o": "u", "u": "u", "ö": "ü", "ü": "ü"}.get(last, "i")


def with_li(word: str) -> str:
    """-lI, "with": lale -> laleli, yıldız -> yıldızlı."""
    return f"{word}l{high_vowel(word)}"


def captions(recipe: Recipe) -> dict[str, str]:
    """Captions by kind: short, medium, full, and each of them `_plain` (object and form only)."""
    host = HOSTS[recipe.host]
    a, b, c = (words[level] for words, level in zip(host.form, recipe.form, strict=True))
    plain = {
        "short_plain": host.name,
        "medium_plain": f"{a} {host.name}",
        "full_plain": f"{a}, {b}, {c} bir {host.name}",
    }
    if recipe.motif is None:
        return {**{kind.removesuffix("_plain"): text for kind, text in plain.items()}, **plain}
    style = STYLES[recipe.style]
    motif = MOTIFS[recipe.motif].name
    palette = style.palettes[recipe.palette]
    return {
        "short": f"{motif} {with_li('motif')} {host.name}",
        "medium": f"{style.name} üslubunda, {motif} {with_li('motif')}, {a} {host.name}",
        "full": f"{style.name} üslubunda, {palette.ground.name} üzerine {palette.motif.name} "
        f"{motif} {with_li('motif')}, {a}, {b}, {c} bir {host.name}",
        **plain,
    }


def style_text(recipe: Recipe) -> str:
    """The ornament in words (style, motif, colours); never names the host."""
    if recipe.motif is None:
        return f"süslemesiz, {PLAIN_COLORS[recipe.palette].name}"
    style = STYLES[recipe.style]
    palette = style.palettes[recipe.palette]
    return (
        f"{style.name} üslubu, {MOTIFS[recipe.motif].name} motifi, "
        f"{palette.ground.name} üzerine {palette.motif.name}"
    )
