"""What changing words changes, for a model that obeys and for one that does not listen."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from otuken_jax.data.motifs.captions import captions, parse_caption, style_text
from otuken_jax.data.motifs.phrases import TECHNIQUES
from otuken_jax.data.motifs.recipes import (
    HOSTS,
    MOTIFS,
    STYLES,
    Recipe,
    hold_out,
    sample_recipes,
)
from otuken_jax.data.motifs.shapes import build_fields
from otuken_jax.data.motifs.table import allowed
from otuken_jax.evaluation import responses
from otuken_jax.evaluation.baselines import spread_colors
from otuken_jax.evaluation.examples import ALL_WORDS, Volume
from otuken_jax.evaluation.library import Library
from otuken_jax.evaluation.responses import (
    BLEND,
    OTHERS,
    Judge,
    change,
    changes_in,
    is_monotone,
    prompt_of,
    without_ornament,
)
from otuken_jax.generation import Generator, Prompt

R = 24
LIBRARY = Library(("vazo", "kase"), ("lale", "yildiz8", "hilal"), ("iznik", "gokturk"), 16)
RECIPE = Recipe("vazo", "lale", "iznik", 0, (1, 1, 1), 3)


def truth(recipe: Recipe) -> Volume:
    field = -build_fields(recipe, R, coarsest=16).sdf
    surface = LIBRARY.surface(recipe)
    return Volume(field, spread_colors(field, surface["points"], surface["colors"]))


@pytest.fixture(scope="module")
def judge():
    return Judge.of(LIBRARY, RECIPE, R)


@pytest.fixture(scope="module")
def before():
    return truth(RECIPE)


@pytest.mark.parametrize("name", OTHERS)
def test_an_obedient_model(judge, before, name):
    changed = change(name, LIBRARY, RECIPE)
    figures = judge.response(name, changed, before, truth(changed.after))
    assert figures["follows"] == 1.0
    assert figures["inside"] == figures["inside_true"]
    assert figures["outside"] == figures["outside_true"]
    assert figures["keeps_host"] == (name not in ("host", "object"))
    assert figures["keeps_motif"] == (name != "motif")
    # Words for the ornament change nothing outside the band, words for the host do.
    assert (figures["outside"] > 0.0) == (name in ("host", "object"))
    assert (figures["inside"] == 0.0) == (name == "color")
    assert figures["color_change"] > 0.01


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_that_does_not_listen(judge, before, name):
    figures = judge.response(name, change(name, LIBRARY, RECIPE), before, before)
    assert figures["follows"] == 0.0
    assert figures["inside"] == figures["outside"] == figures["color_change"] == 0.0


@pytest.mark.parametrize("heldout", [False, True])
def test_the_prompt_changes_what_is_named_and_nothing_else(heldout):
    words = captions(RECIPE, heldout=heldout)["host"], style_text(RECIPE, heldout=heldout)
    new = {
        "host": {"vazo": "kâse"},
        "object": {"vazo": "kâse", "orta boylu": "orta derinlikte", "oval": "yuvarlak",
                   "orta uzunlukta boyunlu": "orta boy ayaklı"},
        "motif": {"lale": "sekiz köşeli yıldız"},
        "color": {"lacivert": "mercan kırmızısı"},
        "style": {"İznik": "Göktürk", "beyaz": "granit grisi", "lacivert": "siyah",
                  "kabartma": "oyma"},
    }  # fmt: skip
    for name in OTHERS:
        prompt = change(name, LIBRARY, RECIPE, heldout=heldout).prompt
        expected = list(words)
        which = name not in ("host", "object")  # the caption or the style text
        for old, word in new[name].items():
            assert old in expected[which]
            expected[which] = expected[which].replace(old, word)
        assert [prompt.text, prompt.style] == expected


def test_a_sentence_changes_in_what_is_named_too():
    sentence, short = ALL_WORDS[1], ALL_WORDS[3]
    old = parse_caption(prompt_of(RECIPE, sentence).text)
    expected = {
        "motif": {"motif"},
        "object": {"host"},  # of the same form levels
        "color": {"ground", "color"},
        "style": {"style", "ground", "color", "technique"},
    }
    for name, fields in expected.items():
        changed = change(name, LIBRARY, RECIPE, sentence)
        new = parse_caption(changed.prompt.text)
        assert {field for field in old if new[field] != old[field]} <= fields
        assert new["motif"] == changed.after.motif
        assert (new["host"], new["style"]) == (changed.after.host, changed.after.style)
        assert changed.prompt.style is None
    assert parse_caption(change("motif", LIBRARY, RECIPE, short).prompt.text)["motif"] == "yildiz8"


def test_another_host_takes_the_ornament_as_the_words_have_it():
    hosts = dataclasses.replace(LIBRARY, hosts=("vazo", "kase", "cini", "kandil"))
    pierced = Recipe("cini", "lale", "iznik", 0, (1, 1, 1), 3, "pierced", "medallion")
    changed = change("host", hosts, pierced)
    assert changed.after == dataclasses.replace(pierced, host="kandil")  # a vase is too thick
    raised = dataclasses.replace(pierced, technique="engraving")
    assert change("host", hosts, dataclasses.replace(raised, host="vazo")).after == (
        dataclasses.replace(raised, host="kase")
    )


def test_data_that_follow_the_table_are_changed_within_it():
    whole = Library(tuple(HOSTS), tuple(MOTIFS), tuple(STYLES), 32, free=False)
    recipes = sample_recipes(200, 0, hold_out(0))["train"]
    changed = [change(name, whole, r).after for r in recipes if r.motif for name in OTHERS]
    assert all(allowed(r.host, r.motif, r.style) for r in changed)
    assert {r.technique for r in changed} >= {None, *TECHNIQUES} - {"pierced"}  # which is rare
    lamp = Recipe("buhurdan", "penc", "iznik", 0, (1, 1, 1), 0, "pierced")
    names = dataclasses.replace(whole, motifs=("penc", "gul", "lale"))
    assert not names.shows(dataclasses.replace(lamp, style="barok", motif="gul"))


def test_nothing_to_change_is_left_out(judge, before):
    one = dataclasses.replace(LIBRARY, motifs=("lale",))
    style = change("style", dataclasses.replace(LIBRARY, styles=("iznik",)), RECIPE)
    assert np.isnan(list(judge.exchange(style, before, before).values())).all()
    assert np.isnan(list(judge.blend(style, [before] * len(BLEND)).values())).all()
    figures = judge.response("motif", change("motif", one, RECIPE), before, before)
    assert np.isnan(list(figures.values())).all()


def test_exchanging_the_style_text(judge, before):
    changed = change("style", LIBRARY, RECIPE)
    obeyed = judge.exchange(changed, before, truth(changed.after))
    assert obeyed.pop("palette_old") == 0.0
    assert set(obeyed.values()) == {1.0}
    ignored = judge.exchange(changed, before, before)
    assert ignored["palette_true"] == ignored["style_true"] == 1.0
    assert ignored["palette_after"] == ignored["style_after"] == 0.0
    assert ignored["palette_old"] == ignored["host_after"] == 1.0


@pytest.mark.parametrize("style", LIBRARY.styles)  # raised, engraved
def test_asking_for_no_ornament(monkeypatch, style):
    recipe = dataclasses.replace(RECIPE, style=style, palette=1, layout="medallion")
    plain = without_ornament(recipe)
    assert (plain.host, plain.form, plain.jitter_seed) == ("vazo", (1, 1, 1), 3)
    shapes = {prompt_of(r): truth(r) for r in (recipe, plain)}

    def figures(answer: Callable[[Prompt], Volume]) -> dict[str, float]:
        answers = lambda _, prompts, mix=0.0: [answer(p) for p in prompts]  # noqa: E731
        monkeypatch.setattr(responses, "predict_prompts", answers)
        row = responses.respond(object.__new__(Generator), LIBRARY, [recipe], R, 0, full=False)[
            "plain"
        ]
        return {name: estimate.value for name, estimate in row.items()}

    obeyed = figures(lambda prompt: shapes.get(prompt, shapes[prompt_of(recipe)]))
    assert obeyed["plain_iou"] == obeyed["plain_band"] == 1.0
    ignored = figures(lambda _: shapes[prompt_of(recipe)])
    assert 0.8 < ignored["plain_iou"] == obeyed["ornamented_iou"] < 1.0
    assert 0.1 < ignored["plain_band"] == obeyed["ornamented_band"] < 0.9


def test_no_ornament_is_asked_for_in_the_words_of_plain_shapes():
    for host in HOSTS:
        recipe = dataclasses.replace(RECIPE, host=host, palette=4, technique="relief")
        plain = without_ornament(recipe)
        prompt = prompt_of(plain)
        assert (prompt.text, prompt.style) == (captions(plain)["host"], style_text(plain))
        said = parse_caption(prompt.style)
        assert set(said) == {"motif", "style", "ground"}
        assert said["motif"] is said["style"] is None


def test_blending(judge, before):
    changed = change("style", LIBRARY, RECIPE)
    end = truth(changed.after)
    mix = lambda a, b, w: (1 - w) * a + w * b  # noqa: E731
    steps = [
        Volume(mix(before.field, end.field, w), mix(before.colors, end.colors, w)) for w in BLEND
    ]
    assert judge.blend(changed, steps) == {"color_monotone": 1.0, "relief_monotone": 1.0}
    backwards = judge.blend(changed, steps[::-1])
    assert backwards == {"color_monotone": 0.0, "relief_monotone": 0.0}
    shuffled = judge.blend(changed, [steps[i] for i in (0, 2, 1, 3, 4)])
    assert shuffled == {"color_monotone": 0.0, "relief_monotone": 0.0}


def test_monotone():
    assert is_monotone(np.array([0.0, 0.0, 1.0]))
    assert not is_monotone(np.array([0.0, 0.0, 0.0]))
    assert not is_monotone(np.array([0.0, 2.0, 1.0]))


def test_changes_inside_and_outside():
    a, b, region = np.zeros((3, 2, 2, 2), bool)
    region[0] = True
    a[0, 0, 0] = b[0, 1, 1] = True  # inside: two of four voxels differ
    a[1, 0, 0] = b[1, 0, 0] = b[1, 1, 1] = True  # outside: one of two filled ones differs
    assert changes_in(a, b, region) == (0.5, 0.5)
