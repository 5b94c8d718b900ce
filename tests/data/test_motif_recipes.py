"""Recipes and splits of the motif library."""

from collections import Counter
from itertools import product

import pytest

from configs.quickstart import HOSTS, MOTIFS, STYLES
from otuken_jax.data.motifs.captions import captions
from otuken_jax.data.motifs.recipes import (
    Recipe,
    form_values,
    is_heldout_pair,
    is_val_form,
    sample_recipes,
)
from otuken_jax.errors import UserError

COMPACT = {"hosts": HOSTS, "motifs": MOTIFS, "styles": STYLES}


@pytest.fixture(scope="module")
def splits():
    return sample_recipes(1000, 0, **COMPACT, num_val=200, num_heldout=200)


def pairs(recipes):
    return {(r.host, r.motif) for r in recipes if r.motif}


def test_sizes_and_determinism(splits):
    assert {name: len(recipes) for name, recipes in splits.items()} == {
        "train": 1000,
        "val": 200,
        "heldout_pairs": 200,
    }
    assert splits == sample_recipes(1000, 0, **COMPACT, num_val=200, num_heldout=200)
    assert (
        splits["train"] != sample_recipes(1000, 1, **COMPACT, num_val=200, num_heldout=200)["train"]
    )


def test_heldout_pairs_are_whole_and_balanced(splits):
    held = pairs(splits["heldout_pairs"])
    assert not held & (pairs(splits["train"]) | pairs(splits["val"]))
    assert len(held) + len(pairs(splits["train"])) == len(HOSTS) * len(MOTIFS)
    assert 0.1 < len(held) / (len(HOSTS) * len(MOTIFS)) < 0.2
    assert max(Counter(host for host, _ in held).values()) <= 0.25 * len(MOTIFS)
    assert max(Counter(motif for _, motif in held).values()) <= 0.3 * len(HOSTS)
    small = sample_recipes(60, 5, **COMPACT, num_val=10, num_heldout=len(held))
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
    hosts = Counter(r.host for r in splits["train"])
    motifs = Counter(r.motif for r in splits["train"])
    assert max(hosts.values()) < 1.2 * min(hosts.values())
    assert motifs.pop(None) == 100
    assert max(motifs.values()) < 1.4 * min(motifs.values())
    assert all(r.motif and r.style for r in splits["val"] + splits["heldout_pairs"])


def test_a_subset_of_the_library():
    splits = sample_recipes(
        30, 0, hosts=["vazo", "tabak"], motifs=["lale", "goz"], styles=["iznik"], num_val=4,
        num_heldout=0,
    )  # fmt: skip
    assert {r.host for r in splits["train"]} == {"vazo", "tabak"}
    assert {r.style for r in splits["train"]} == {"iznik", None}
    assert all(not is_heldout_pair(r.host, r.motif) for r in splits["train"] if r.motif)


def test_unknown_names_are_reported():
    with pytest.raises(UserError, match=r"unknown motif papatya: choose among lale, karanfil"):
        sample_recipes(3, 0, motifs=["papatya"], num_val=0, num_heldout=0)


def test_record_form_and_jitter():
    recipe = Recipe("vazo", "lale", "iznik", 1, (0, 1, 2), 7)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert type(recipe.to_dict()["form"]) is list
    values = form_values(recipe)
    assert all(abs(v - w) <= 0.15 for v, w in zip(values, (-1, 0, 1), strict=True))
    assert values != form_values(Recipe("vazo", "lale", "iznik", 1, (0, 1, 2), 8))
