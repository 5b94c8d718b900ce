"""The decoder: growing, ornament, heads."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_models import TINY, decode, drawn

from otuken_jax.models.decoder import DecoderConfig, Head, KnownChart
from otuken_jax.models.layers import resize_volume
from otuken_jax.models.otuken3d import Otuken3DModel
from otuken_jax.models.parameters import split_model
from otuken_jax.models.style import Style


@pytest.mark.parametrize("stage", [1, 2])
def test_growing_with_alpha_zero_is_the_upsampled_old_output(tiny_model, tiny_inputs, stage):
    old = decode(tiny_model, tiny_inputs, stage=stage - 1)[-1]
    new = decode(tiny_model, tiny_inputs, stage=stage, alpha=0.0)[-1]
    resolution = tiny_model.config.decoder.stage_resolutions[stage]
    for name in ("field", "host", "band", "chart", "color"):
        want = resize_volume(getattr(old, name), resolution)
        np.testing.assert_allclose(getattr(new, name), want, rtol=0, atol=1e-6)
    # And inside one program, where nothing is fused differently, exactly.
    outputs = decode(tiny_model, tiny_inputs, stage=stage, alpha=0.0)
    for old, new in zip(*map(jax.tree.leaves, outputs[-2:]), strict=True):
        np.testing.assert_array_equal(new, resize_volume(old, resolution))


def test_alpha_blends_linearly(tiny_model, tiny_inputs):
    fields = [
        np.asarray(decode(tiny_model, tiny_inputs, stage=1, alpha=a)[-1].field)
        for a in (0.0, 0.3, 1.0)
    ]
    np.testing.assert_allclose(fields[1], 0.7 * fields[0] + 0.3 * fields[2], atol=1e-5)


def test_stages_have_their_resolutions(tiny_model, tiny_inputs):
    outputs = decode(tiny_model, tiny_inputs, stage=2)
    assert [o.field.shape for o in outputs] == [(3, r, r, r) for r in (8, 12, 16)]
    assert outputs[-1].color.shape == (3, 16, 16, 16, 3)
    assert all(o.field.dtype == jnp.float32 for o in outputs)


def test_colours_stay_colours_whatever_the_strength(tiny_model, tiny_inputs):
    colors = [
        np.asarray(decode(tiny_model, tiny_inputs, stage=1, ornament_strength=s)[-1].color)
        for s in (0.0, 1.0, 5.0)
    ]
    assert all(c.min() >= 0 and c.max() <= 1 for c in colors)
    assert np.abs(colors[0] - colors[1]).max() > 0.01  # the paint is the ornament's


def test_no_convolution_is_transposed(tiny_model, tiny_inputs):
    jaxpr = str(jax.make_jaxpr(lambda: tiny_model(tiny_inputs, stage=2))())
    assert "conv_general_dilated" in jaxpr
    assert "lhs_dilation=(1, 1, 1)" in jaxpr
    assert "lhs_dilation=(2" not in jaxpr


def test_ornament_is_a_function_of_chart_and_code_alone(tiny_inputs):
    """The same true chart and code add the same relief to two different objects, everywhere."""
    decoder = dataclasses.replace(TINY.decoder, ornament_fraction=1.0)
    model = drawn(dataclasses.replace(TINY, decoder=decoder), 8)
    rng = np.random.default_rng(0)
    charts = jnp.broadcast_to(rng.normal(size=(8, 8, 8, 3)).astype(np.float32), (3, 8, 8, 8, 3))
    band = jnp.ones((3, 8, 8, 8))
    known = {8: KnownChart(charts, band, jnp.ones(3, bool))}

    @jax.jit
    def decode_with_one_code(inputs):
        made = model.encode(inputs)
        code = jnp.broadcast_to(made.style.ornament[:1], made.style.ornament.shape)
        style = Style(made.style.layers, code)
        pose = jnp.zeros((3, 2))
        return model.decoder(made.latent, made.tokens, style, pose, stage=0, known=known)[-1]

    output = decode_with_one_code(tiny_inputs)
    relief = np.asarray(output.field - output.host)
    both = (relief[0] != 0) & (relief[1] != 0)
    assert both.all()
    np.testing.assert_allclose(relief[0][both], relief[1][both], rtol=0, atol=5e-6)  # 2.4e-7
    assert not np.allclose(output.host[0], output.host[1], atol=1e-3)


def test_ornament_is_evaluated_on_a_fixed_share_of_voxels(tiny_model, tiny_inputs):
    output = decode(tiny_model, tiny_inputs, stage=2)[-1]
    changed = np.count_nonzero(np.asarray(output.field != output.host), axis=(1, 2, 3))
    assert (changed <= int(0.12 * 16**3)).all()
    assert (changed > 0.08 * 16**3).all()


def test_ornament_strength_and_mask(tiny_model, tiny_inputs):
    off = decode(tiny_model, tiny_inputs, stage=1, ornament_strength=0.0)[-1]
    np.testing.assert_array_equal(off.field, off.host)
    mask = np.zeros((3, 12, 12, 12), np.float32)
    mask[:, :6] = 1
    half = decode(tiny_model, tiny_inputs, stage=1, ornament_mask=jnp.asarray(mask))[-1]
    changed = np.asarray(half.field != half.host)
    assert changed[:, :6].any()
    assert not changed[:, 7:].any()


def test_head_starts_as_nearest_upsampling():
    head = Head(16, 24, 16, first=True, dtype=jnp.float32, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4, 4, 16)), jnp.float32)
    fourier = jnp.ones((1, 8, 8, 8, 44))
    y = np.asarray(head(x, jnp.ones((1, 24)), jnp.ones((1, 16)), fourier)).reshape(
        4, 2, 4, 2, 4, 2, 8
    )
    np.testing.assert_allclose(y, np.broadcast_to(y[:, :1, :, :1, :, :1], y.shape), atol=1e-6)


def test_a_new_stage_starts_with_what_the_last_one_found(tiny_inputs):
    """The host's logit counts voxels, of which there are more."""
    model = Otuken3DModel(voxel_size=16, config=TINY)
    outputs = decode(model, tiny_inputs, stage=2)
    assert np.ptp(outputs[0].chart) > 0.1
    for coarse, fine in itertools.pairwise(outputs):
        resolution = fine.host.shape[1]
        for name, factor in (
            ("host", resolution / coarse.host.shape[1]),
            ("band", 1),
            ("chart", 1),
        ):
            want = factor * resize_volume(getattr(coarse, name), resolution)
            np.testing.assert_allclose(getattr(fine, name), want, rtol=0, atol=5e-6, err_msg=name)


@pytest.mark.slow
def test_gradients_reach_every_used_parameter(tiny_model, tiny_inputs):
    modeldef, params = split_model(tiny_model)
    loss = lambda p: sum(  # noqa: E731
        jnp.sum(o.field**2) + jnp.sum(o.color**2) for o in modeldef.bind(p)(tiny_inputs, stage=2)
    )
    grads = jax.jit(jax.grad(loss))(params)
    idle = [n for n, g in grads.items() if not np.any(np.asarray(g))]
    # A key's bias shifts all scores of a query alike: softmax does not see it.
    assert [n for n in idle if not n.endswith("key.bias")] == []


def test_config_refuses_a_stage_without_trunk():
    with pytest.raises(ValueError, match="half their size"):
        DecoderConfig(stage_resolutions=(32, 40, 64))
