"""Turkish suffixes and captions."""

import re
from itertools import product

import pytest

from otuken_jax.data.motifs.captions import captions, style_text
from otuken_jax.data.motifs.recipes import HOSTS, MOTIFS, STYLES, Recipe
from otuken_jax.data.motifs.styles import PLAIN_COLORS
from otuken_jax.data.motifs.turkish import genitive, instrumental, locative, possessive, with_li

FORMS = list(product(range(3), repeat=3))


@pytest.mark.parametrize(
    ("suffix", "table"),
    [
        (with_li, "lale laleli, yıldız yıldızlı, boynuz boynuzlu, süs süslü, motif motifli, "
                  "hilal hilalli, göz gözlü, kol kollu, kâse kâseli"),
        (genitive, "vazo vazonun, sürahi sürahinin, kâse kâsenin, tabak tabağın, şamdan şamdanın, "
                   "kümbet kümbetin, otağ otağın, testi testinin, taş taşın, çini çininin, "
                   "hilal hilalin, kök kökün, boynuz boynuzun"),
        (possessive, "gövde gövdesi, yüz yüzü, kaide kaidesi, üslup üslubu, renk rengi, "
                     "kapak kapağı, boyun boyunu, kapı kapısı"),
        (locative, "masa masada, taş taşta, göl gölde, kâse kâsede, ev evde"),
        (lambda word: locative(word, possessed=True), "gövdesi gövdesinde, yüzü yüzünde, "
         "üslubu üslubunda, kaidesi kaidesinde, kapısı kapısında"),
        (instrumental, "lale laleyle, motifi motifiyle, taş taşla, boya boyayla, göz gözle"),
    ],
)  # fmt: skip
def test_suffixes_of_known_words(suffix, table):
    pairs = [pair.split() for pair in table.split(",")]
    assert [suffix(word) for word, _ in pairs] == [expected for _, expected in pairs]


def has(text, name):
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


def ornamented_recipes():
    for i, (host, motif) in enumerate(product(HOSTS, MOTIFS)):
        style = list(STYLES)[i % len(STYLES)]
        palettes = len(STYLES[style].palettes)
        yield Recipe(host, motif, style, i % palettes, FORMS[i % 27], i)


def test_captions_are_clean_and_name_what_they_must():
    for recipe in ornamented_recipes():
        host, style = HOSTS[recipe.host].name, STYLES[recipe.style]
        words = [levels[k] for levels, k in zip(HOSTS[recipe.host].form, recipe.form, strict=True)]
        texts = captions(recipe)
        assert list(texts) == [
            "short", "medium", "full", "short_plain", "medium_plain", "full_plain"
        ]  # fmt: skip
        for kind, text in texts.items():
            assert text == " ".join(text.split()), text
            assert host in text
            motif = MOTIFS[recipe.motif].name
            by_form = any(has(word, motif) and word in text for word in words)
            named = by_form or not kind.endswith("_plain")
            assert has(text, motif) == named, text
        assert all(word in texts[kind] for word in words for kind in ("full", "full_plain"))
        assert style.name in texts["full"]
        palette = style.palettes[recipe.palette]
        assert all(color.name in texts["full"] for color in (palette.ground, palette.motif))
        assert not any(has(texts["full_plain"], other.name) for other in STYLES.values())
        assert len(texts["short"]) < len(texts["medium"]) < len(texts["full"])


def test_style_text_names_the_ornament_and_no_host():
    for recipe in ornamented_recipes():
        text = style_text(recipe)
        style = STYLES[recipe.style]
        palette = style.palettes[recipe.palette]
        assert text == " ".join(text.split())
        for part in (
            MOTIFS[recipe.motif].name,
            style.name,
            palette.ground.name,
            palette.motif.name,
        ):
            assert part in text
        assert not any(has(text, host.name) or has(text, host.face) for host in HOSTS.values())


def test_every_form_has_its_own_full_caption():
    texts = [
        captions(Recipe(host, None, None, 0, form, 0))["full_plain"]
        for host in HOSTS
        for form in FORMS
    ]
    assert len(set(texts)) == len(HOSTS) * 27


def test_a_plain_object_says_so():
    for seed in range(20):
        recipe = Recipe("tabak", None, None, seed % len(PLAIN_COLORS), (0, 1, 2), seed)
        texts = captions(recipe)
        assert "motif" not in " ".join(texts.values())
        assert "süslemesiz" in texts["full"]
        assert PLAIN_COLORS[recipe.palette].name in style_text(recipe)


def test_phrasings_vary_but_follow_from_the_recipe():
    recipes = [Recipe("vazo", "lale", "iznik", 0, (1, 1, 1), seed) for seed in range(40)]
    for kind in ("short", "medium", "full", "full_plain"):
        assert len({captions(recipe)[kind] for recipe in recipes}) >= 3
    assert [captions(recipe) for recipe in recipes] == [captions(recipe) for recipe in recipes]
    assert len({style_text(recipe) for recipe in recipes}) == 4
