"""Recipes and splits of the motif library."""

from collections import Counter
from itertools import product

import pytest

from configs.quickstart import HOSTS, MOTIFS, STYLES
from otuken_jax.data.motifs.captions import captions
from otuken_jax.data.motifs.recipes import HOSTS as LIBRARY_HOSTS
from otuken_jax.data.motifs.recipes import MOTIFS as LIBRARY_MOTIFS
from otuken_jax.data.motifs.recipes import (
    Recipe,
    form_values,
    hold_out,
    is_heldout_pair,
    is_val_form,
    sample_recipes,
)
from otuken_jax.data.motifs.table import styles_of
from otuken_jax.errors import UserError

COUNTS = {
    "num_val": 200,
    "num_heldout_pairs": 200,
    "num_heldout_styles": 100,
    "num_heldout_phrasing": 100,
}
COMPACT = {"hosts": HOSTS, "motifs": MOTIFS, "styles": STYLES, "free": True}


@pytest.fixture(scope="module")
def splits():
    return sample_recipes(1000, 0, hold_out(0, **COMPACT, unseen_styles=None), **COUNTS)


def pairs(recipes):
    return {(r.host, r.motif) for r in recipes if r.motif}


def test_sizes_and_determinism(splits):
    assert {name: len(recipes) for name, recipes in splits.items()} == {
        "train": 1000,
        "val": 200,
        "heldout_pairs": 200,
        "heldout_styles": 100,
        "heldout_phrasing": 100,
    }
    holdout = hold_out(0, **COMPACT, unseen_styles=None)
    assert splits == sample_recipes(1000, 0, holdout, **COUNTS)
    assert splits["train"] != sample_recipes(1000, 1, holdout, **COUNTS)["train"]


def test_heldout_pairs_are_whole_and_balanced(splits):
    held = pairs(splits["heldout_pairs"])
    assert not held & (pairs(splits["train"]) | pairs(splits["val"]))
    assert len(held) + len(pairs(splits["train"])) == len(HOSTS) * len(MOTIFS)
    assert held == set(hold_out(0, **COMPACT, unseen_styles=None).pairs)
    assert 0.1 < len(held) / (len(HOSTS) * len(MOTIFS)) < 0.2
    assert max(Counter(host for host, _ in held).values()) <= 0.25 * len(MOTIFS)
    assert max(Counter(motif for _, motif in held).values()) <= 0.3 * len(HOSTS)
    small = sample_recipes(60, 5, hold_out(5, **COMPACT), num_heldout_pairs=3 * len(MOTIFS))
    assert pairs(small["heldout_pairs"]) == held  # whatever the number of shapes and the seed


def test_val_forms_and_full_captions_are_new(splits):
    train = {(r.host, r.form) for r in splits["train"]}
    val = {(r.host, r.form) for r in splits["val"]}
    assert not train & val
    for host in HOSTS:  # yet each level of each attribute is in both
        for held in (False, True):
            forms = [f for f in product(range(3), repeat=3) if is_val_form(host, f) == held]
            assert all({form[i] for form in forms} == {0, 1, 2} for i in range(3))
    seen = {text for r in splits["train"] for text in captions(r).values()}
    for recipe in splits["val"]:
        texts = captions(recipe)
        assert texts["full"] not in seen
        assert texts["host"] not in seen


def test_train_is_balanced_and_has_plain_objects(splits):
    seen = Counter((r.host, r.motif) for r in splits["train"] if r.motif)
    assert sum(seen.values()) == 900
    assert_balanced(seen)
    plain = Counter(r.host for r in splits["train"] if not r.motif)
    assert set(plain.values()) == {10}
    assert all(r.motif and r.style for r in splits["val"] + splits["heldout_pairs"])


def assert_balanced(seen):
    """Each motif as often as any other, and so each of its hosts."""
    motifs = Counter()
    for (_, motif), count in seen.items():
        motifs[motif] += count
    assert max(motifs.values()) - min(motifs.values()) <= 1
    for motif in motifs:
        counts = [count for pair, count in seen.items() if pair[1] == motif]
        assert max(counts) - min(counts) <= 1


def test_the_whole_library_shows_every_motif_equally_often_and_every_pair():
    holdout = hold_out(0, unseen_styles=None)
    seen = Counter((r.host, r.motif) for r in sample_recipes(3000, 0, holdout)["train"] if r.motif)
    assert set(seen) == set(holdout.known)
    assert {motif for _, motif in seen} == set(LIBRARY_MOTIFS)
    assert_balanced(seen)


@pytest.mark.parametrize("seed", range(4))
def test_every_motif_is_known_on_three_hosts(seed):
    known = Counter(motif for _, motif in hold_out(seed, unseen_styles=None).known)
    assert set(known) == set(LIBRARY_MOTIFS)
    assert min(known.values()) >= 3


def test_a_subset_of_the_library():
    subset = {"hosts": ["vazo", "tabak"], "motifs": ["lale", "goz"], "styles": ["iznik"]}
    splits = sample_recipes(30, 0, hold_out(0, **subset, free=True), num_val=4)
    assert {r.host for r in splits["train"]} == {"vazo", "tabak"}
    assert {r.style for r in splits["train"]} == {"iznik", None}
    assert all(not is_heldout_pair(r.host, r.motif) for r in splits["train"] if r.motif)


def test_unknown_names_are_reported():
    with pytest.raises(UserError, match=r"unknown motif papatya: choose among lale, karanfil"):
        hold_out(0, motifs=["papatya"])
    with pytest.raises(UserError, match="held-out styles saz must be among iznik"):
        hold_out(0, styles=["iznik"], unseen_styles=["saz"])
    with pytest.raises(UserError, match="nothing is left"):
        sample_recipes(3, 0, hold_out(0, **COMPACT), num_heldout_styles=1)


def test_heldout_styles_are_in_no_other_split(splits):
    (style,) = {r.style for r in splits["heldout_styles"]}
    assert all(
        r.style != style for name in splits for r in splits[name] if name != "heldout_styles"
    )
    assert pairs(splits["heldout_styles"]) <= pairs(splits["train"])
    drawn = {hold_out(seed, **COMPACT, unseen_styles=None).unseen_styles[0] for seed in range(40)}
    assert drawn == set(STYLES)
    assert hold_out(3, **COMPACT, unseen_styles=["barok"]).unseen_styles == ["barok"]


def test_of_the_whole_library_an_eighth_of_the_styles_is_held_out():
    for seed in range(2):
        holdout = hold_out(seed, unseen_styles=None)
        splits = sample_recipes(10, seed, holdout, num_heldout_styles=60)
        assert len(holdout.unseen_styles) == 2
        assert {r.style for r in splits["heldout_styles"]} == set(holdout.unseen_styles)
        assert {host for host, _ in holdout.known} == set(LIBRARY_HOSTS)  # all are still shown
        assert {motif for _, motif in holdout.known} == set(LIBRARY_MOTIFS)
        assert pairs(splits["heldout_styles"]) <= set(holdout.known)
        styles = {style for pair in holdout.known for style in styles_of(*pair)}
        assert styles >= set(holdout.styles)


def test_heldout_phrasing_shows_the_forms_of_val(splits):
    assert all(is_val_form(r.host, r.form) for r in splits["heldout_phrasing"])
    assert pairs(splits["heldout_phrasing"]) <= pairs(splits["train"])


def test_record_form_and_jitter():
    recipe = Recipe("vazo", "lale", "iznik", 1, (0, 1, 2), 7)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert type(recipe.to_dict()["form"]) is list
    values = form_values(recipe)
    assert all(abs(v - w) <= 0.15 for v, w in zip(values, (-1, 0, 1), strict=True))
    assert values != form_values(Recipe("vazo", "lale", "iznik", 1, (0, 1, 2), 8))
