"""Turkish suffixes, the captions of every kind, and the way back."""

import csv
import re
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from otuken_jax.data.motifs import turkish
from otuken_jax.data.motifs.captions import (
    COLORS,
    LONGEST,
    captions,
    described,
    fill,
    parse_caption,
    style_text,
    unfamiliar_words,
)
from otuken_jax.data.motifs.english import FORMS as ENGLISH_FORMS
from otuken_jax.data.motifs.english import with_articles, without_articles
from otuken_jax.data.motifs.phrases import CAPTIONS, LAYOUTS, STYLE_TEXT, TECHNIQUES
from otuken_jax.data.motifs.recipes import HOSTS, MOTIFS, STYLES, Recipe
from otuken_jax.data.motifs.shapes import build_fields
from otuken_jax.data.motifs.styles import PLAIN_COLORS
from otuken_jax.data.motifs.table import PIERCED_HOSTS, allowed, layouts_of
from otuken_jax.data.text import ByteTokenizer, normalize

FORMS = list(product(range(3), repeat=3))
NOUNS = Path(__file__).with_name("turkish_nouns.csv")  # written by hand, word by word
KINDS = ["full", "short", "host", "motif", "style_first", "colloquial", "ascii", "english"]
BACK, FRONT = "aıouâû", "eiöüî"
NUMBERS = "bir|iki|üç|uc|dört|dort|beş|bes|altı|alti|yedi|sekiz|dokuz|on|çift|cift"
PLURAL_AFTER_NUMBER = rf"\b({NUMBERS})( \w+)?? \w+l[ae]r\w*"


@pytest.mark.parametrize("form", ["with_li", "genitive", "possessive", "locative"])
def test_every_noun_of_the_library_is_inflected_as_in_the_table(form):
    with NOUNS.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [entry.name for registry in (MOTIFS, HOSTS) for entry in registry.values()]
    assert sorted(row["noun"] for row in rows) == sorted(names)
    rule = getattr(turkish, form)
    assert [rule(row["noun"]) for row in rows] == [row[form] for row in rows]


@pytest.mark.parametrize(
    ("suffix", "table"),
    [
        (turkish.with_li, "süs süslü, motif motifli, kol kollu, desen desenli"),
        (turkish.genitive, "göl gölün, kök kökün, ev evin, hâl hâlin, kitap kitabın"),
        (turkish.possessive, "gövde gövdesi, yüz yüzü, üslup üslubu, renk rengi, kapak kapağı, "
                             "niş nişi, etek eteği, ayna aynası, taç tacı, kanat kanadı"),
        (lambda word: turkish.locative(word, possessed=True), "gövdesi gövdesinde, yüzü yüzünde, "
         "üslubu üslubunda, kaidesi kaidesinde, kapısı kapısında"),
    ],
)  # fmt: skip
def test_suffixes_of_other_words(suffix, table):
    pairs = [pair.split() for pair in table.split(",")]
    assert [suffix(word) for word, _ in pairs] == [expected for _, expected in pairs]


@pytest.mark.parametrize("name", [e.name for r in (MOTIFS, HOSTS) for e in r.values()])
def test_suffixes_keep_to_vowel_harmony(name):
    forms = [turkish.with_li(name), turkish.genitive(name), turkish.possessive(name)]
    for form in (*forms, turkish.locative(name)):
        word = form.split()[-1]
        vowels = [letter for letter in word if letter in BACK + FRONT]
        front = vowels[-2] in FRONT or word.startswith("hilal")
        assert vowels[-1] in ("eiü" if front else "aıu"), form
        rounded = vowels[-2] in "oöuü"
        if vowels[-1] not in "ae":
            assert (vowels[-1] in "uü") == rounded, form
        hiatus = [m[0] for m in re.finditer("[aeıioöuü]{2}", form)]  # meandr alone has one
        assert hiatus == re.findall("[aeıioöuü]{2}", name), form
        assert not re.search("[kpç][aeıioöuü]n?$", word) or len(vowels) == 2, form


def recipes(step=17, seed=0):
    """Of all pairs of host and motif (or none) every so many-th, the rest of the recipe by chance.

    17 leaves each host four times and each motif twice.
    """
    rng = np.random.default_rng(seed)
    for host, motif in list(product(HOSTS, [*MOTIFS, None]))[::step]:
        form, seed = FORMS[rng.integers(27)], int(rng.integers(2**31))
        if motif is None:
            yield Recipe(host, None, None, int(rng.integers(3)), form, seed)
            continue
        style = list(STYLES)[rng.integers(len(STYLES))]
        palette = int(rng.integers(len(STYLES[style].palettes)))
        technique = [None, *TECHNIQUES][rng.integers(5)]
        layout = list(LAYOUTS["noun"])[rng.integers(4)]
        yield Recipe(host, motif, style, palette, form, seed, technique, layout)


def assert_says(text, recipe, slots):
    """The text is read back as the recipe's fields, and as those of all slots."""
    found, words = parse_caption(text), described(recipe)
    named = {"motif", "style"} if "plain" in slots else set()
    named |= {"form" if slot in "abc" else slot for slot in slots} - {"plain"}
    if "layout" in slots:
        named |= {"motif", "color", "technique"}
    assert found.keys() == named, text
    form = found.pop("form", (None,) * 3)
    for name, level, own in zip("abc", form, recipe.form, strict=True):
        assert level == (own if name in slots else None), text
    assert found == {name: words.get(name) for name in found}, text


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [*KINDS, "style_text"])
def test_every_template_can_be_read_back(kind, step):
    phrasings = CAPTIONS.get(kind, STYLE_TEXT)
    for template in (*phrasings.usual, *phrasings.heldout):
        slots = set(re.findall(r"\{(\w+)", template))
        said = [(r, fill(template, kind, described(r))) for r in recipes(step)]
        said = [(r, text) for r, text in said if text is not None]
        assert said
        if step == 1:  # every host is said, and every motif unless words for it are wanting
            assert ("host" not in slots) or {r.host for r, _ in said} == HOSTS.keys()
            assert ("motif" not in slots) or len({r.motif for r, _ in said}) >= len(MOTIFS) - 3
        for recipe, text in said:
            assert text == " ".join(text.split())
            assert_says(text, recipe, slots)


def test_unfamiliar_words_replace_names_of_style_and_colours_alone():
    library = {word for entry in STYLES.values() for word in entry.name.split()}
    library |= {word for name in COLORS for word in name.split()}
    made_up, kept = set(), Counter()
    for recipe in recipes(5):
        texts = unfamiliar_words(recipe)
        if recipe.motif is None:
            assert not texts
            continue
        own = [captions(recipe)["full"], style_text(recipe)]
        values = described(recipe)
        for text, usual in zip(texts.values(), own, strict=True):
            assert len(text.encode()) <= LONGEST
            if len(usual) > 150:  # a longer name may not fit into the same template
                continue
            before, after = (Counter(re.findall(r"\w+", t)) for t in (usual, text))
            gone, new = before - after, after - before
            names = [STYLES[recipe.style].name, values["ground"], values["color"]]
            assert gone <= Counter(word for name in names for word in name.split()), text
            assert new, text
            assert not new.keys() & library, text
            made_up |= new.keys()
            kept[sum(new.values())] += 1
    assert len(made_up) > 100
    assert min(kept[1], kept[2], kept[3]) > 10  # the style, with one colour or both


def test_unfamiliar_words_have_room(monkeypatch):
    # With the first names drawn for it no phrasing had room.
    recipe = Recipe("minare", "yildiz12", "karahanli", 1, (1, 1, 1), 20811, None, "allover")
    texts = unfamiliar_words(recipe)
    assert len(texts) == 2
    assert all(len(text.encode()) <= LONGEST for text in texts.values())
    long = iter([f"upuzun{'a' * 30}{i}" for i in range(100)])
    monkeypatch.setattr("otuken_jax.data.motifs.captions.invented", lambda rng: next(long))
    assert unfamiliar_words(recipe) == {}


def test_made_up_names_are_none_of_the_library(monkeypatch):
    words = iter(["geyik", "çeşme", "zumal", "şişkin", "lomat", "beyaz", "pertin"])
    monkeypatch.setattr("otuken_jax.data.motifs.captions.invented", lambda rng: next(words))
    recipe = Recipe("vazo", "lale", "iznik", 0, (1, 1, 1), 3)
    text = unfamiliar_words(recipe)["unfamiliar"]
    assert "Zumal" in text
    assert not re.search("geyik|çeşme|şişkin", text)


def test_invented_words_are_in_harmony():
    rng = np.random.default_rng(0)
    words = [turkish.invented(rng) for _ in range(200)]
    assert len(set(words)) > 190
    for word in words:
        vowels = {letter for letter in word if letter in turkish.VOWELS}
        assert vowels, word
        assert vowels <= set(BACK) or vowels <= set(FRONT), word


def every_word():
    """Recipes that together use every word: each host in each level of form, the rest in turn."""
    palettes = [(style, i) for style, s in STYLES.items() for i in range(len(s.palettes))]
    applied = list(product(TECHNIQUES, LAYOUTS["noun"]))
    for i, (host, level) in enumerate(product(HOSTS, range(3))):
        form, ornament = (level,) * 3, (list(MOTIFS)[i % len(MOTIFS)], *palettes[i % len(palettes)])
        yield Recipe(host, *ornament, form, 0, *applied[i % len(applied)])
        if level == i // 3 % 3:
            yield Recipe(host, None, None, i % 3, form, 0)


@pytest.mark.parametrize("kind", [*KINDS, "style_text"])
def test_every_word_can_be_read_back(kind):
    """From the templates of a kind in turn; `test_every_template_can_be_read_back` has all."""
    phrasings = CAPTIONS.get(kind, STYLE_TEXT)
    templates = (*phrasings.usual, *phrasings.heldout)
    used = dict.fromkeys(templates, 0)
    for recipe in every_word():
        texts = {t: fill(t, kind, described(recipe)) for t in templates}
        template = min((t for t in templates if texts[t] is not None), key=used.get)
        used[template] += 1
        assert_says(texts[template], recipe, set(re.findall(r"\{(\w+)", template)))
    assert min(used.values()) > 1


def test_the_words_for_levels_differ_within_a_host():
    for host, entry in HOSTS.items():
        for words in (lambda word: word, ENGLISH_FORMS.get):
            assert len({words(word) for levels in entry.form for word in levels}) == 9, host


def test_a_full_caption_is_the_recipe():
    for recipe in recipes():
        found = parse_caption(captions(recipe)["full"])
        if recipe.motif is None:
            colors = [color.name for color in PLAIN_COLORS[HOSTS[recipe.host].material]]
            again = Recipe(
                found["host"], None, None, colors.index(found["ground"]), found["form"], 0
            )
        else:
            style = STYLES[found["style"]]
            pairs = [(p.ground.name, p.motif.name) for p in style.palettes]
            palette = pairs.index((found["ground"], found["color"]))
            names = [found[name] for name in ("host", "motif", "style")]
            applied = found["technique"], found["layout"]
            again = Recipe(*names, palette, found["form"], 0, *applied)
        assert described(again) == described(recipe)


@pytest.mark.parametrize("host", HOSTS)
def test_an_adjective_of_one_word_comes_first_or_last(host):
    """Before another it would share its noun: the width of "dar ve alçak kemerli" is no arch's."""
    second, third = HOSTS[host].form[1:]
    possessed = re.compile(r"(\w+[lsz][ıiuü]z?|biçimli)$")
    assert all(map(possessed.search, second)) or not any(map(possessed.search, third))


def test_what_no_template_says_is_an_error():
    with pytest.raises(ValueError, match="no template"):
        parse_caption("laleli bir araba")
    with pytest.raises(ValueError, match="no template"):
        parse_caption("sığ, oval gövdeli, kısa boyunlu bir vazo")  # no vase is shallow


def test_kinds_of_captions():
    for recipe in recipes(seed=1):
        for heldout in (False, True):
            texts = captions(recipe, heldout=heldout)
            assert list(texts) == KINDS
            assert len(texts["full"].encode()) <= LONGEST
            ornament = (style_text(recipe, heldout=heldout), texts["motif"])
            assert all("host" not in parse_caption(text) for text in ornament)
            assert set(parse_caption(texts["host"])) == {"host", "form"}
            assert texts["ascii"].isascii()
            assert texts["ascii"] == texts["ascii"].lower()
            assert not re.search(r"\ba [aeiou]|\ban [^aeiouAEOİ]", texts["english"])
            twice = r"\b(\w+) \1\b|(?:^|, )(\w+), \2 "  # not "ince uzun, uzun boyunlu"
            assert not [text for text in texts.values() if re.search(twice, text)]
            turkish_texts = [text for kind, text in texts.items() if kind != "english"]
            assert not [text for text in turkish_texts if re.search(PLURAL_AFTER_NUMBER, text)]


def wordiest():
    """Every host in its longest form, and every palette, with the longest words of all else."""
    forms = {
        host: tuple(max(range(3), key=lambda i: len(levels[i].encode())) for levels in entry.form)
        for host, entry in HOSTS.items()
    }
    palettes = [(style, i) for style, s in STYLES.items() for i in range(len(s.palettes))]
    motif = max(MOTIFS, key=lambda m: len(MOTIFS[m].name))

    def ornamented(host, style, palette):
        return Recipe(host, motif, style, palette, forms[host], 0, "relief", "allover")

    def length(recipe):
        words = (*described(recipe).values(), HOSTS[recipe.host].name, STYLES[recipe.style].name)
        return sum(len(word.encode()) for word in words)

    longest = max((ornamented(h, *p) for h in HOSTS for p in palettes), key=length)
    for host, form in forms.items():
        yield ornamented(host, longest.style, longest.palette)
        yield Recipe(host, None, None, 1, form, 0)
    yield from (ornamented(longest.host, *palette) for palette in palettes)


@pytest.mark.parametrize("heldout", [False, True])
def test_every_recipe_has_words_and_they_fit(heldout):
    for recipe in wordiest():
        texts = [*captions(recipe, heldout=heldout).values(), style_text(recipe, heldout=heldout)]
        assert max(len(ByteTokenizer().encode(normalize(text))) for text in texts) <= LONGEST + 1


def test_training_is_never_short_of_a_phrasing_of_its_own():
    """What the table puts together fits some usual template, so held-out ones stay unseen."""
    for host, style in product(HOSTS, STYLES):
        motifs = [motif for motif in MOTIFS if allowed(host, motif, style)]
        if not motifs:
            continue
        motif = max(motifs, key=lambda m: len(MOTIFS[m].name.encode()))
        form = tuple(max(range(3), key=lambda i: len(w[i].encode())) for w in HOSTS[host].form)
        layouts = ["row", *layouts_of(host, motif, 64)]
        palettes, techniques = range(len(STYLES[style].palettes)), ("relief", "engraving")
        for palette, technique, layout in product(palettes, techniques, layouts):
            recipe = Recipe(host, motif, style, palette, form, 0, technique, layout)
            for kind, phrasings in {**CAPTIONS, "style_text": STYLE_TEXT}.items():
                texts = [fill(t, kind, described(recipe)) for t in phrasings.usual]
                shortest = min(len(text.encode()) for text in texts if text)
                assert shortest <= LONGEST, (recipe, kind)


def test_phrasings_vary_follow_from_the_recipe_and_differ_when_held_out():
    shapes = [Recipe("vazo", "lale", "iznik", 0, (1, 1, 1), seed) for seed in range(60)]
    assert [captions(r) for r in shapes] == [captions(r) for r in shapes]
    for kind in KINDS:
        usual = {captions(r)[kind] for r in shapes}
        assert len(usual) >= 3
        assert not usual & {captions(r, heldout=True)[kind] for r in shapes}
    usual = {style_text(r) for r in shapes}
    assert len(usual) == 4
    assert not usual & {style_text(r, heldout=True) for r in shapes}


def test_english_articles():
    text = "a engraved iris on a vase, a upright stele, a İznik bowl, a Uyghur tent"
    said = "an engraved iris on a vase, an upright stele, an İznik bowl, a Uyghur tent"
    assert with_articles(text) == said
    assert without_articles(said) == text


@pytest.mark.parametrize(
    ("coarsest", "resolution"),
    [(16, 32), *(pytest.param(32, size, marks=pytest.mark.slow) for size in (32, 64))],
)
@pytest.mark.parametrize("host", HOSTS)
def test_the_full_caption_names_all_that_moves_the_shape(host, coarsest, resolution):
    """Two shapes with the same full caption, which differ in the seed of their jitter alone."""
    rng = np.random.default_rng(0)
    for form in [FORMS[i] for i in rng.permutation(27)[:4]]:
        style = list(STYLES)[rng.integers(len(STYLES))]
        motif = list(MOTIFS)[rng.integers(len(MOTIFS))]
        seeds = rng.integers(2**31, size=3)
        techniques = ["relief", "engraving"] + ["pierced"] * (host in PIERCED_HOSTS)
        technique = techniques[rng.integers(len(techniques))]
        layout = list(LAYOUTS["noun"])[rng.integers(4)]
        shapes = [Recipe(host, motif, style, 0, form, int(s), technique, layout) for s in seeds]
        assert len({str(parse_caption(captions(r)["full"])) for r in shapes}) == 1
        a, b, c = (build_fields(recipe, resolution, coarsest=coarsest).sdf < 0 for recipe in shapes)
        assert min((x & y).sum() / (x | y).sum() for x, y in ((a, b), (b, c), (a, c))) >= 0.95
