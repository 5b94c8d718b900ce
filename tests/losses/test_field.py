"""Field losses against their formulas."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from otuken_jax.conventions import TAU_VOXELS, grid_points, occupancy_target, voxel_size
from otuken_jax.losses.field import (
    LossWeights,
    iou,
    occupancy_terms,
    relief_errors,
    soft_dice,
    stage_loss,
    total_loss,
    trilinear_sample,
)
from otuken_jax.models.decoder import StageOutput

R = 8


def test_trilinear_sample_is_exact_on_a_linear_field():
    points = np.random.default_rng(0).uniform(-0.85, 0.85, (2, 50, 3)).astype(np.float32)
    grid = grid_points(R)
    volume = np.stack([grid @ [1.0, 2.0, 3.0], grid @ [-1.0, 0.5, 0.0]], axis=-1)
    got = trilinear_sample(
        jnp.asarray(np.stack([volume, 2 * volume]), jnp.float32), jnp.asarray(points)
    )
    want = np.stack([points @ [1.0, 2.0, 3.0], points @ [-1.0, 0.5, 0.0]], axis=-1)
    want[1] *= 2
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_soft_dice_is_zero_for_equal_and_one_for_disjoint():
    a = jnp.array([[1.0, 1.0, 0.0, 0.0]])
    assert float(soft_dice(a, a)[0]) == pytest.approx(0.0, abs=1e-6)
    assert float(soft_dice(a, 1 - a)[0]) == pytest.approx(1.0, rel=5e-7)


def test_occupancy_terms_weight_voxels_and_skip_invalid_samples():
    logits = jnp.zeros((2, 2, 2, 2))
    target = jnp.zeros((2, 2, 2, 2)).at[1].set(1.0)
    weight = jnp.ones_like(logits)
    both = occupancy_terms(logits, target, weight, jnp.array([True, True]), 0.0)
    assert float(both) == pytest.approx(np.log(2), rel=5e-7)
    wrong = logits.at[1, 0, 0, 0].set(-4.0)
    heavy = weight.at[1, 0, 0, 0].set(10.0)
    valid = jnp.array([False, True])
    want = (10 * np.log1p(np.exp(4.0)) + 7 * np.log(2)) / 17
    assert float(occupancy_terms(wrong, target, heavy, valid, 0.0)) == pytest.approx(want, rel=1e-6)


def perfect() -> tuple[StageOutput, dict]:
    """A relief of 0.1 on a sphere, and the output that says exactly that."""
    sphere = np.linalg.norm(grid_points(R), axis=-1) - 0.6
    host = jnp.asarray(sphere[None], jnp.float32)
    band = jnp.asarray(np.abs(host) < 0.3, jnp.float32)
    sdf = host - 0.1 * band
    tau = TAU_VOXELS * voxel_size(R)
    chart = jnp.asarray(np.random.default_rng(0).normal(size=(1, R, R, R, 3)), jnp.float32)
    batch = {
        "sdf": sdf,
        "host_sdf": host,
        "band": band,
        "chart": chart,
        "points": jnp.zeros((1, 4, 3)),
        "colors": jnp.full((1, 4, 3), 0.5),
        "has_chart": jnp.array([True]),
        "has_colors": jnp.array([True]),
    }
    output = StageOutput(
        field=-sdf / tau,
        host=-host / tau,
        band=100 * (2 * band - 1),
        chart=chart,
        color=jnp.full((1, R, R, R, 3), 0.5),
    )
    return output, batch


def test_perfect_output_leaves_only_the_targets_own_entropy():
    output, batch = perfect()
    terms = stage_loss(output, batch, LossWeights(), 5.0)
    for name in ("band", "chart", "color"):
        assert float(terms[name]) == pytest.approx(0.0, abs=1e-14), name  # 1.7e-15
    worse = dataclasses.replace(output, field=output.field + 1.0)
    assert float(stage_loss(worse, batch, LossWeights(), 5.0)["field"]) > float(terms["field"])


@pytest.mark.parametrize("name", ["host", "band", "chart", "color"])
def test_every_term_sees_its_own_error(name):
    output, batch = perfect()
    before = stage_loss(output, batch, LossWeights(), 5.0)
    worse = dataclasses.replace(output, **{name: getattr(output, name) * -0.5 + 0.5})
    after = stage_loss(worse, batch, LossWeights(), 5.0)
    changed = {k for k in before if float(after[k]) > float(before[k]) + 1e-6}
    assert changed == {name}


def test_relief_errors_are_in_units_of_a_typical_relief():
    height = jnp.array([[0.0, 0.1], [0.2, 0.2]])
    np.testing.assert_allclose(relief_errors(height, height), 0)
    np.testing.assert_allclose(relief_errors(height + 0.05, height), 0.25, rtol=1e-5)


def test_unknown_charts_and_colours_count_for_nothing():
    output, batch = perfect()
    batch |= {"has_chart": jnp.array([False]), "has_colors": jnp.array([False])}
    terms = stage_loss(output, batch, LossWeights(), 5.0)
    assert all(float(terms[k]) == 0 for k in ("host", "band", "chart", "color"))
    assert float(terms["field"]) > 0


def test_earlier_heads_weigh_half_as_much_each():
    output, batch = perfect()
    weights = LossWeights()
    one, _ = total_loss([output], [batch], weights, 5.0)
    three, _ = total_loss([output] * 3, [batch] * 3, weights, 5.0)
    assert float(three / one) == pytest.approx(1.75, rel=5e-7)


def test_occupancy_target_is_half_on_the_surface():
    assert float(occupancy_target(jnp.zeros(()), 32)) == 0.5
    one_voxel_in = float(occupancy_target(jnp.asarray(-voxel_size(32)), 32))
    assert one_voxel_in == pytest.approx(1 / (1 + np.exp(-1 / 0.7)), rel=5e-7)


def test_iou_counts_voxels():
    logits = jnp.array([[1.0, 1.0, -1.0, -1.0]])
    assert float(iou(logits, jnp.array([[-1.0, 1.0, -1.0, 1.0]]))[0]) == pytest.approx(
        1 / 3, rel=3e-7
    )
