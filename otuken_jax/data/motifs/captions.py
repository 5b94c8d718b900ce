"""Captions of a recipe in eight kinds, its style text, and both read back; made-up names.

The templates are in `phrases`; which of several a shape gets follows from its recipe. None counts
the motifs: each host repeats them so many times whatever its form, so its noun says the number.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from otuken_jax.data.motifs.english import FORMS, with_articles, without_articles
from otuken_jax.data.motifs.fields import MOTIFS
from otuken_jax.data.motifs.hosts import HOSTS
from otuken_jax.data.motifs.phrases import (
    ASCII,
    CAPTIONS,
    ENGLISH,
    LAYOUTS,
    ORIGINS,
    STYLE_TEXT,
    TECHNIQUES,
    Phrasings,
)
from otuken_jax.data.motifs.recipes import Form, Recipe, plain_color
from otuken_jax.data.motifs.styles import PLAIN_COLORS, STYLES
from otuken_jax.data.motifs.table import own_technique
from otuken_jax.data.motifs.turkish import genitive, invented, locative, possessive, with_li
from otuken_jax.data.text import FOLDING, normalize

LONGEST = 199  # bytes of a text: with its end token 200, what every configuration reads
SLOT = re.compile(r"\{(\w+)(?::(\w+))?\}")
STYLE_KIND = "style_text"
UNFAMILIAR = 1  # of the seeds of made-up names
TRIES = 8  # of them for a shape
NO_NAMES: Mapping[str, str] = MappingProxyType({})
UNINFLECTED = ("elibelinde", "yıldız ve haç")  # motifs that take no -lI
PALETTES = [palette for style in STYLES.values() for palette in style.palettes]
PLAIN = [color for colors in PLAIN_COLORS.values() for color in colors]
COLORS = {c.name: c for c in (*PLAIN, *(c for p in PALETTES for c in (p.ground, p.motif)))}


def captions(recipe: Recipe, *, heldout: bool = False) -> dict[str, str]:
    """Captions by kind, of at most `LONGEST` bytes each.

    full: everything that moves the shape, and its colours; short; host: the object and its form
    without ornament; motif: the ornament without its object; style_first; colloquial; ascii: typed
    without Turkish letters; english. Those of a plain object say that it has no ornament, and no
    style. `heldout` takes the phrasings of the split `heldout_phrasing`.
    """
    values, seed = described(recipe), recipe.jitter_seed
    return {kind: _say(kind, words, values, seed, heldout) for kind, words in CAPTIONS.items()}


def style_text(recipe: Recipe, *, heldout: bool = False) -> str:
    """The ornament in words: style, motif, colours, technique, layout; never names the host."""
    return _say(STYLE_KIND, STYLE_TEXT, described(recipe), recipe.jitter_seed, heldout)


def object_words(recipe: Recipe, *, form_of: str | None = None, heldout: bool = False) -> str:
    """The caption of kind "host"; its words for the form may be those of the host `form_of`."""
    values = described(recipe) | _form_words(form_of or recipe.host, recipe.form)
    return _say("host", CAPTIONS["host"], values, recipe.jitter_seed, heldout)


def unfamiliar_words(recipe: Recipe, *, heldout: bool = False) -> dict[str, str]:
    """The full caption and the style text with names that the library does not have.

    Of kinds "unfamiliar" and "unfamiliar_style": the style's name is made up, and in half of the
    shapes that of each colour. Of a colour's two words the second stays: what a "kobalt mavisi" is
    can be guessed. A reader who has met some such names reads on past a new one. Empty for a plain
    object, which names no style, and where no names were found that `LONGEST` has room for.
    """
    if recipe.motif is None:
        return {}
    values, seed = described(recipe), recipe.jitter_seed
    rng = np.random.default_rng([seed, UNFAMILIAR])
    for _ in range(TRIES):
        names = {"style": _new_name(rng).capitalize()}
        for field in ("ground", "color"):
            _, *hue = values[field].split()
            name = " ".join([_new_name(rng), *hue])
            if rng.random() < 0.5:
                names[field] = name
        full = _fitting("full", CAPTIONS["full"], values, seed, heldout, names)
        style = _fitting(STYLE_KIND, STYLE_TEXT, values, seed, heldout, names)
        if full and style:
            return {"unfamiliar": full, "unfamiliar_style": style}
    return {}


def _new_name(rng: np.random.Generator) -> str:
    """A made-up word that is none of the library's."""
    while (word := invented(rng)) in _library_words():
        pass
    return word


@cache
def _library_words() -> frozenset[str]:
    names = [entry.name for registry in (HOSTS, MOTIFS, STYLES) for entry in registry.values()]
    names += [word for host in HOSTS.values() for levels in host.form for word in levels]
    return frozenset(normalize(" ".join([*names, *COLORS])).split())


def parse_caption(text: str) -> dict[str, Any]:
    """The recipe fields that a caption or a style text names.

    Of host, motif, style, technique and layout the name in the library (motif and style None where
    it says that there is no ornament); form: three levels, None for each that is left open; ground
    and color: Turkish names of the colours of object and ornament.

    Raises:
        ValueError: no template says this, or they say different things with it.
    """
    text = " ".join(text.split())
    english = without_articles(text)
    found = []
    for pattern in _patterns():
        if match := pattern.expression.fullmatch(english if pattern.kind == ENGLISH else text):
            found += pattern.read(match)
    if not found:
        raise ValueError(f"no template of a caption says {text!r}")
    if any(fields != found[0] for fields in found):
        raise ValueError(f"{text!r} may say any of {found}")
    return found[0]


def described(recipe: Recipe) -> dict[str, str]:
    """The word, or the library's name, of everything that a caption can say of a recipe."""
    words = {"host": recipe.host, **_form_words(recipe.host, recipe.form)}
    if recipe.motif is None:
        return words | {"plain": "plain", "ground": plain_color(recipe).name}
    style = STYLES[recipe.style]
    palette = style.palettes[recipe.palette]
    return words | {
        "motif": recipe.motif,
        "style": recipe.style,
        "ground": palette.ground.name,
        "color": palette.motif.name,
        "technique": recipe.technique or own_technique(recipe.host, recipe.style),
        "layout": recipe.layout,
    }


def _form_words(host: str, form: Form) -> dict[str, str]:
    levels = zip("abc", HOSTS[host].form, form, strict=True)
    return {name: words[level] for name, words, level in levels}


def fill(
    template: str, kind: str, values: dict[str, str], names: Mapping[str, str] = NO_NAMES
) -> str | None:
    """The template with words for the values, or with `names`; None where one has no word."""
    while slot := SLOT.search(template):
        words = _words(slot[1], slot[2] or "", kind == ENGLISH)
        made_up = None if slot[2] else names.get(slot[1])  # they have no other forms
        word = made_up or words.get(values.get(slot[1], ""))
        if word is None:
            return None
        template = template[: slot.start()] + word + template[slot.end() :]
    return _spell(template, kind)


def _say(kind: str, phrasings: Phrasings, values: dict[str, str], seed: int, heldout: bool) -> str:
    text = _fitting(kind, phrasings, values, seed, heldout)
    if text is None:
        raise ValueError(f"no phrasing of kind {kind} has {LONGEST} bytes or less: {values}")
    return text


def _fitting(
    kind: str,
    phrasings: Phrasings,
    values: dict[str, str],
    seed: int,
    heldout: bool,
    names: Mapping[str, str] = NO_NAMES,
) -> str | None:
    """The first phrasing that fits, in an order by hashes of kind, seed and template alone."""
    order = lambda template: crc32(f"{kind} {seed} {template}".encode())  # noqa: E731
    # The longest words, which the table never puts together, fit a held-out phrasing alone.
    usual = () if heldout else phrasings.usual
    templates = (*sorted(usual, key=order), *sorted(phrasings.heldout, key=order))
    texts = (fill(template, kind, values, names) for template in templates)
    return next((text for text in texts if text and len(text.encode()) <= LONGEST), None)


def _spell(text: str, kind: str) -> str:
    if kind == ENGLISH:
        return with_articles(text)
    return _fold(text) if kind == ASCII else text


def _fold(text: str) -> str:
    return "".join(FOLDING.get(letter, letter) for letter in normalize(text))


@cache
def _words(field: str, form: str, english: bool) -> dict[str, str]:
    """What a slot may hold: words by the values of `described`."""
    if field == "plain":
        return {"plain": form or "süslemesiz"}
    if field == "layout":
        return LAYOUTS[form]
    if field == "technique":
        return {name: words[english] for name, words in TECHNIQUES.items()}
    if (field, form) == ("style", "of"):
        return ORIGINS
    if field in "abc":
        levels = [w for host in HOSTS.values() for w in host.form["abc".index(field)]]
        return {word: FORMS[word] if english else word for word in levels}
    if field in ("ground", "color"):
        return {name: color.english if english else name for name, color in COLORS.items()}
    registry = {"host": HOSTS, "motif": MOTIFS, "style": STYLES}[field]
    if english:  # without explanations in parentheses
        return {name: entry.english.split(" (")[0] for name, entry in registry.items()}
    inflected = {name: _INFLECTIONS[field, form](entry) for name, entry in registry.items()}
    return {name: word for name, word in inflected.items() if word is not None}


_INFLECTIONS: dict[tuple[str, str], Callable[[Any], str | None]] = {
    ("host", ""): lambda host: host.name,
    ("host", "of"): lambda host: genitive(host.name),
    ("host", "possessive"): lambda host: possessive(host.name),
    ("host", "face"): lambda host: possessive(host.face),
    ("host", "on_face"): lambda host: locative(possessive(host.face), possessed=True),
    ("motif", ""): lambda motif: motif.name,
    ("motif", "with_li"): lambda m: None if m.name in UNINFLECTED else with_li(m.name),
    ("style", ""): lambda style: style.name,
}


class _Pattern(NamedTuple):
    """A template with its layout filled in, as a regular expression over its slots."""

    kind: str
    expression: re.Pattern[str]
    groups: dict[str, tuple[str, dict[str, set[str]]]]  # by group: field, values of each word
    layout: dict[str, str]

    def read(self, match: re.Match[str]) -> Iterator[dict[str, Any]]:
        """The recipe fields that a text of this template names."""
        values: dict[str, set[str]] = {}
        for group, word in match.groupdict().items():
            field, meanings = self.groups[group]
            values[field] = values.get(field, meanings[word]) & meanings[word]
        fields: dict[str, Any] = dict(self.layout)
        if "plain" in values:
            fields |= {"motif": None, "style": None}
        said = values.keys() & set("abc")
        for host in values.get("host", [None]):
            levels = {name: self._level(host, name, values[name]) for name in said}
            if None in levels.values():
                continue
            named = {k: v for k, v in values.items() if k not in ("host", "plain", *"abc")}
            if any(len(value) != 1 for value in named.values()):
                continue
            form = {"form": tuple(levels.get(name) for name in "abc")} if said else {}
            yield (
                fields
                | ({"host": host} if host else {})
                | {name: next(iter(value)) for name, value in named.items()}
                | form
            )

    @staticmethod
    def _level(host: str, attribute: str, words: set[str]) -> int | None:
        levels = HOSTS[host].form["abc".index(attribute)]
        return next((i for i, word in enumerate(levels) if word in words), None)


@cache
def _patterns() -> list[_Pattern]:
    kinds = {**CAPTIONS, STYLE_KIND: STYLE_TEXT}
    return [
        _pattern(kind, filled, layout)
        for kind, phrasings in kinds.items()
        for template in (*phrasings.usual, *phrasings.heldout)
        for filled, layout in _with_layouts(template)
    ]


def _with_layouts(template: str) -> Iterator[tuple[str, dict[str, str]]]:
    slot = re.search(r"\{layout:(\w+)\}", template)
    if slot is None:
        yield template, {}
        return
    for layout, words in LAYOUTS[slot[1]].items():
        yield template.replace(slot[0], words), {"layout": layout}


def _pattern(kind: str, template: str, layout: dict[str, str]) -> _Pattern:
    expression, end = "", 0
    groups = {}
    spell = _fold if kind == ASCII else str
    template = spell(template)
    for slot in SLOT.finditer(template):
        meanings: dict[str, set[str]] = {}
        for value, word in _words(slot[1], slot[2] or "", kind == ENGLISH).items():
            meanings.setdefault(spell(word), set()).add(value)
        group = f"{slot[1]}{len(groups)}"
        groups[group] = slot[1], meanings
        words = "|".join(map(re.escape, sorted(meanings, key=len, reverse=True)))
        expression += re.escape(template[end : slot.start()]) + f"(?P<{group}>{words})"
        end = slot.end()
    expression += re.escape(template[end:])
    return _Pattern(kind, re.compile(expression), groups, layout)
