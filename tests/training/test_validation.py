"""What a validation pass reports."""

import numpy as np
import pytest

from otuken_jax.training.step import EvalSums
from otuken_jax.training.validation import Validation


def sums(losses, chamfers, made, true, usable) -> EvalSums:
    usable = np.array(usable)
    return EvalSums(
        fields={"loss": np.sum(losses), "count": len(losses)},
        surfaces={"chamfer_l2_squared": np.sum(chamfers), "count": usable.sum()},
        made=made,
        true=true,
        usable=usable,
    )


def test_means_are_over_the_shapes_that_have_what_is_measured():
    clouds = np.random.default_rng(0).normal(size=(5, 200, 3))
    flat = clouds * [1, 1, 0.1]
    same, other = Validation(None), Validation(None)
    for validation, made in ((same, clouds), (other, flat)):
        validation.add(sums([1, 2, 3], [0.5, 0.1], made[:3], clouds[:3], [True, True, False]))
        validation.add(sums([4, 5], [0.3], made[3:], clouds[3:], [True, False]))
    metrics = same.metrics()
    assert metrics["loss"] == 3
    assert metrics["chamfer_l2_squared"] == pytest.approx(0.3)
    assert metrics["surface_share"] == pytest.approx(3 / 5)
    assert metrics["fd_d2"] == pytest.approx(0, abs=1e-6)
    assert other.metrics()["fd_d2"] > 10
    assert "p_fid" not in metrics


def test_without_surfaces_what_needs_them_is_left_out():
    clouds = np.zeros((2, 4, 3))
    validation = Validation(None)
    validation.add(sums([1, 2], [], clouds, clouds, [False, False]))
    assert validation.metrics() == {"loss": 1.5, "surface_share": 0}
