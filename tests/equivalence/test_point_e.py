"""Point-E's networks against outputs of the reference, on weights made by rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from golden_files import channels_last, load, manifest, probe, state_dict

from otuken_jax.models import point_e
from porting import point_e as tables
from porting.rules import port, target_shapes

TINY = manifest("pointe_models/manifest-tiny.json")
FULL = manifest("pointe_models/manifest-full.json")


def build(make_model, rules, weights):
    """A Flax model holding the weights of a PyTorch state dict."""
    graphdef, state = nnx.split(nnx.eval_shape(make_model))
    arrays = port(weights, rules, target_shapes(state))
    for path, leaf in nnx.to_flat_state(state):
        leaf.set_value(jnp.asarray(arrays["/".join(map(str, path))]))
    return nnx.merge(graphdef, state)


@pytest.mark.parametrize("name", [*TINY, *FULL])
def test_weights_are_made_as_the_golden_files_say(name):
    entry = TINY.get(name) or FULL[name]
    wanted = entry.get("weight_probes", {})
    probed = [e for e in entry["state_dict"] if e["name"] in wanted]
    assert len(probed) == len(wanted)
    for key, array in state_dict(probed).items():
        got = probe(array)
        np.testing.assert_array_equal(got["first"][: len(array.ravel())], wanted[key]["first"])
        np.testing.assert_allclose(
            [got["mean"], got["std"]], [wanted[key]["mean"], wanted[key]["std"]], rtol=1e-9
        )


def build_sdf(entry):
    c = entry["config"]
    config = point_e.PointESDFConfig(
        c["width"], c["encoder_layers"], c["encoder_heads"], c["decoder_layers"], c["decoder_heads"]
    )
    weights = state_dict(entry["state_dict"])
    return build(
        lambda: point_e.PointESDF(config, rngs=nnx.Rngs(0)), tables.sdf_rules(config), weights
    )


def test_tiny_encoder_and_sdf():
    g = load("pointe_models/tiny-sdf.npz")
    model = build_sdf(TINY["tiny-sdf"])
    points, queries = (jnp.asarray(channels_last(g[k])) for k in ("point_clouds", "queries"))
    latents = jax.jit(lambda m, p: m.encoder(p))(model, points)
    np.testing.assert_allclose(latents, g["latents"], atol=5e-5, rtol=1e-4)
    print(np.abs(latents - g["latents"]).max())
    sdf = jax.jit(lambda m, p, q: m(p, q))(model, points, queries)
    print(np.abs(sdf - g["sdf"]).max())
    np.testing.assert_allclose(sdf, g["sdf"], atol=5e-5, rtol=1e-4)


def test_encoder_takes_any_number_of_points_in_any_order():
    config = point_e.PointEEncoderConfig(width=32, layers=2, heads=4)
    encoder = point_e.PointEEncoder(config, rngs=nnx.Rngs(0))
    points = jax.random.normal(jax.random.key(1), (2, 37, 3))
    order = np.random.default_rng(0).permutation(37)
    tokens = encoder(points)
    assert tokens.shape == (2, 37, 32)
    np.testing.assert_allclose(encoder(points[:, order]), tokens[:, order], atol=1e-5)
    assert encoder(points[:, :5]).shape == (2, 5, 32)


def test_initialisation_is_the_published_one():
    model = point_e.PointESDF(point_e.PointESDFConfig(), rngs=nnx.Rngs(0))
    block = model.encoder.blocks[3]
    for linear in (block.attention.qkv, block.attention.proj, block.mlp.fc, block.mlp.proj):
        np.testing.assert_allclose(np.std(linear.kernel[...]), 0.25 / 16, rtol=0.02)
        assert not np.any(linear.bias[...])
    projection = model.output_proj
    assert 0.9 / 16 < np.abs(projection.kernel[...]).max() <= 1 / 16
    assert 0 < np.abs(projection.bias[...]).max() <= 1 / 16
    small = point_e.PointDiffusionConfig(width=32, layers=1, heads=4)
    diffusion = point_e.PointDiffusionTransformer(small, rngs=nnx.Rngs(0))
    assert not np.any(diffusion.output_proj.kernel[...])
