"""Layers against PyTorch where it has them, and against their definitions."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from otuken_jax.models.layers import (
    AdaIN,
    CrossAttention,
    depth_to_space,
    fourier_positions,
    resize_volume,
)


@pytest.mark.parametrize(("size", "resolution"), [(4, 8), (8, 12), (12, 8), (6, 6)])
def test_resize_equals_torch_interpolate(size, resolution):
    x = np.random.default_rng(0).normal(size=(2, size, size, size, 3)).astype(np.float32)
    want = torch.nn.functional.interpolate(
        torch.tensor(x).permute(0, 4, 1, 2, 3), size=(resolution,) * 3, mode="trilinear"
    ).permute(0, 2, 3, 4, 1)
    got = resize_volume(jnp.asarray(x), resolution)
    np.testing.assert_allclose(got, want, atol=1e-6)  # measured: 2.4e-7


def test_depth_to_space_puts_channels_into_sub_voxels():
    x = jnp.arange(1 * 2 * 2 * 2 * 16, dtype=jnp.float32).reshape(1, 2, 2, 2, 16)
    y = depth_to_space(x)
    assert y.shape == (1, 4, 4, 4, 2)
    # Sub-voxel (1, 0, 1) of voxel (0, 1, 1) is number 4 + 1 of its eight, two channels each.
    np.testing.assert_array_equal(y[0, 1, 2, 3], x[0, 0, 1, 1, 10:12])


def test_adain_normalises_then_scales_and_shifts():
    layer = AdaIN(4, 3, dtype=jnp.float32, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(5.0, 3.0, (2, 4, 4, 4, 4)), jnp.float32)
    w = jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)
    want = torch.nn.functional.instance_norm(torch.tensor(np.moveaxis(x, -1, 1).copy()))
    want = np.moveaxis(want.numpy(), 1, -1)
    np.testing.assert_allclose(layer(x, w), want, atol=1e-5)
    kernel = rng.normal(size=(3, 8)).astype(np.float32)
    layer.affine.kernel[...] = jnp.asarray(kernel)
    gamma, beta = np.split((w @ kernel)[:, None, None, None], 2, axis=-1)
    np.testing.assert_allclose(layer(x, w), (1 + gamma) * want + beta, atol=5e-5)


def test_adain_group_norm_equals_torch():
    layer = AdaIN(6, 3, num_groups=2, dtype=jnp.float32, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(2.0, 3.0, (2, 3, 3, 3, 6)).astype(np.float32)
    want = torch.nn.functional.group_norm(torch.tensor(np.moveaxis(x, -1, 1).copy()), 2)
    got = layer(jnp.asarray(x), jnp.ones((2, 3)))
    np.testing.assert_allclose(got, np.moveaxis(want.numpy(), 1, -1), atol=1e-5)


def test_cross_attention_equals_torch():
    ours = CrossAttention(8, 6, 2, dtype=jnp.float32, rngs=nnx.Rngs(0))
    theirs = torch.nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
    copy = lambda t, a: t.data.copy_(torch.tensor(np.asarray(a)))  # noqa: E731
    copy(theirs.q_proj_weight, ours.query.kernel[...].T)
    copy(theirs.k_proj_weight, ours.key.kernel[...].T)
    copy(theirs.v_proj_weight, ours.value.kernel[...].T)
    copy(theirs.out_proj.weight, ours.out.kernel[...].T)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 8)).astype(np.float32)
    context = rng.normal(size=(2, 5, 6)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 1]], bool)
    with torch.no_grad():
        want, _ = theirs(
            torch.tensor(x),
            torch.tensor(context),
            torch.tensor(context),
            key_padding_mask=torch.tensor(~mask),
        )
    got = ours(jnp.asarray(x), jnp.asarray(context), jnp.asarray(mask))
    np.testing.assert_allclose(got, want.numpy(), atol=1e-6)


def test_positions_turn_with_the_object():
    """A quarter turn of the pose is a quarter turn of the grid."""
    still = fourier_positions(jnp.zeros((1, 2)), 6)
    turned = fourier_positions(jnp.array([[np.pi / 2, 0.0]]), 6)
    # The point (x, y) of the object lies at (-y, x) of the grid: axis 0 becomes axis 1.
    np.testing.assert_allclose(turned, jnp.rot90(still, 1, axes=(1, 2)), atol=2e-5)


def test_positions_hold_the_harmonics_of_theta():
    features = np.asarray(fourier_positions(jnp.array([[0.3, 0.1]]), 8))
    x, y = features[..., 0], features[..., 1]
    radius = features[..., 3]
    fade = np.tanh(8 * radius)
    for k in (1, 3, 8):
        want = fade * np.sin(k * np.arctan2(y, x))
        np.testing.assert_allclose(features[..., 28 + 2 * (k - 1)], want, atol=2e-3)
    want = np.sin(4 * np.pi * features[..., 2])
    np.testing.assert_allclose(features[..., 4 + 16 + 2], want, atol=1e-4)
