"""What the comparisons with PyTorch share: the bound, and mistakes that shapes do not show."""

import dataclasses

import numpy as np

from porting.rules import IDENTITY


def assert_same(got, want, tolerance=1e-5):
    """Equal to `tolerance` times the largest expected value."""
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())


def _layer(rule):
    """The last but one part of a rule's path: "query" of "blocks/0/query/kernel"."""
    return rule.path.split("/")[-2] if rule.path and "/" in rule.path else None


def swapped(rules, first, second):
    """The table with the targets of two layers exchanged."""
    other = {first: second, second: first}
    return [
        dataclasses.replace(rule, path=rule.path.replace(f"/{name}/", f"/{other[name]}/"))
        if (name := _layer(rule)) in other
        else rule
        for rule in rules
    ]


def without_transpose(rules, name):
    """The table with one layer's matrices left as PyTorch stores them."""
    return [
        dataclasses.replace(rule, transform=IDENTITY) if _layer(rule) == name else rule
        for rule in rules
    ]
