"""The whole model: its public face, its modalities, its start."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file
from tiny_models import decode, drawn

from otuken_jax.errors import UserError
from otuken_jax.models.otuken3d import PARTS, ModelConfig, Otuken3DModel
from otuken_jax.models.parameters import split_model, update_model
from otuken_jax.models.style import Style, mix_styles, scale_global
from otuken_jax.models.weights import Card


def field(model, inputs):
    return np.asarray(decode(model, inputs, stage=0)[-1].field)


def test_parts_have_the_published_names(tiny_model):
    assert all(hasattr(tiny_model, part) for part in PARTS)
    assert {n.partition(".")[0] for n in split_model(tiny_model)[1]} == set(PARTS)


def test_absent_modalities_are_not_looked_at(tiny_model, tiny_inputs):
    """Sample 0 lacks points, sample 1 text, sample 2 style: garbage there changes nothing."""
    want = field(tiny_model, tiny_inputs)
    garbage = {k: np.array(v) for k, v in tiny_inputs.items()}
    garbage["points"][0] = 0.77
    garbage["text_ids"][1] = 5
    garbage["style_ids"][2] = 5
    np.testing.assert_allclose(field(tiny_model, garbage), want, atol=1e-5)


@pytest.mark.parametrize(("name", "sample"), [("points", 1), ("text_ids", 0), ("style_ids", 0)])
def test_present_modalities_matter(tiny_model, tiny_inputs, name, sample):
    want = field(tiny_model, tiny_inputs)
    changed = {k: np.array(v) for k, v in tiny_inputs.items()}
    changed[name][sample] = np.roll(changed[name][sample], 1, axis=0) + (name == "points")
    got = field(tiny_model, changed)
    assert np.abs(got[sample] - want[sample]).max() > 1e-3


def test_padding_is_not_looked_at(tiny_model, tiny_inputs):
    want = field(tiny_model, tiny_inputs)
    changed = {k: np.array(v) for k, v in tiny_inputs.items()}
    for name in ("text", "style"):
        changed[f"{name}_ids"][~changed[f"{name}_mask"]] = 9
    np.testing.assert_allclose(field(tiny_model, changed), want, atol=1e-5)


def test_ornament_code_never_sees_the_object(tiny_model, tiny_inputs):
    """The code comes from the style text alone, whatever text and points say."""
    code = jax.jit(lambda inputs: tiny_model.encode(inputs).style.ornament)
    want = code(tiny_inputs)
    changed = tiny_inputs | {
        "text_ids": tiny_inputs["text_ids"] * 0 + 7,
        "points": tiny_inputs["points"] * 0.5,
    }
    np.testing.assert_array_equal(code(changed), want)


def test_voxel_size_chooses_the_stage(tiny_config):
    model = drawn(tiny_config, 8)
    for size in (8, 12, 16):
        model.set_voxel_size(size)
        assert model.voxel_size == size
    with pytest.raises(ValueError, match="8, 12, 16"):
        model.set_voxel_size(20)


def test_original_constructor_arguments_build_the_published_sizes():
    """Shapes only: T5 v1.1 base, Point-E's encoder, three stages."""
    model = nnx.eval_shape(lambda: Otuken3DModel("google/t5-v1_1-base", 64, 512))
    params = split_model(model)[1]
    sizes = {p: sum(x.size for n, x in params.items() if n.startswith(p)) for p in PARTS}
    assert sizes["text_encoder"] == 109_628_544
    assert 25e6 < sizes["decoder"] < 45e6
    assert model.voxel_size == 64


def test_weights_fill_a_part_and_name_it(tiny_config, tiny_model, tmp_path):
    make = functools.partial(Otuken3DModel, voxel_size=8, config=tiny_config)
    state = nnx.to_flat_state(nnx.state(tiny_model.text_encoder))
    tensors = {"/".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in state}
    save_file(tensors, tmp_path / "model.safetensors")
    card = Card("t5", {}, "test", {}, "0" * 64, "float32", 0, [], 1)
    (tmp_path / "card.json").write_text(json.dumps(dataclasses.asdict(card)))
    model = make(weights={"text_encoder": str(tmp_path)})
    assert model.pretrained == (("text_encoder", str(tmp_path), "0" * 64),)
    plain, want = (split_model(m)[1] for m in (make(), tiny_model))
    for name, value in split_model(model)[1].items():
        source = want if name.startswith("text_encoder.") else plain
        np.testing.assert_array_equal(value, source[name], err_msg=name)
    with pytest.raises(UserError, match="no point-e/sdf weights at none"):
        make(weights={"point_encoder": "none"})


def test_freeze_takes_parts_only(tiny_config):
    model = drawn(tiny_config, 8)
    model.freeze("text_encoder")
    model.freeze("decoder")
    model.unfreeze("decoder")
    assert model.frozen == ("text_encoder",)
    with pytest.raises(ValueError, match="text_encoder"):
        model.freeze("encoder")


@pytest.mark.slow
def test_gradient_checkpointing_changes_no_gradient(tiny_config, tiny_inputs):
    model = drawn(tiny_config, 8)
    grads = []
    for _ in range(2):
        modeldef, params = split_model(model)
        loss = lambda p, d=modeldef: jnp.sum(d.bind(p)(tiny_inputs, stage=0)[0].field ** 2)  # noqa: E731
        grad = jax.grad(loss)
        grads.append(jax.jit(grad)(params))
        recomputed = "remat" in str(jax.make_jaxpr(grad)(params))
        assert recomputed == model.config.remat
        model.gradient_checkpointing_enable()
    # Measured: 2.5e-6 of each tensor's largest entry. A bias before a normalization, or of a key,
    # has no gradient but the rounding of sums that cancel: 2e-8 of the model's largest.
    largest = max(float(jnp.abs(g).max()) for g in grads[0].values())
    for name, g in grads[0].items():
        bound = 1e-5 * float(jnp.abs(g).max()) + 1e-7 * largest
        np.testing.assert_allclose(g, grads[1][name], rtol=0, atol=bound, err_msg=name)


def test_config_survives_json(tiny_config):
    values = json.loads(json.dumps(dataclasses.asdict(tiny_config)))
    assert ModelConfig.from_dict(values) == tiny_config
    with pytest.raises(ValueError, match="bytes-tiny"):
        ModelConfig(text_encoder_name="t6")


def test_update_model_writes_only_what_is_named(tiny_config):
    model = Otuken3DModel(voxel_size=8, config=tiny_config)
    before = split_model(model)[1]
    update_model(model, {"decoder.seed": before["decoder.seed"] + 1})
    after = split_model(model)[1]
    changed = [n for n in before if not np.array_equal(before[n], after[n])]
    assert changed == ["decoder.seed"]


def styles() -> tuple[Style, Style]:
    rng = np.random.default_rng(0)
    draw = lambda *s: jnp.asarray(rng.normal(size=s), jnp.float32)  # noqa: E731
    return tuple(Style(draw(2, 6, 4), draw(2, 5)) for _ in range(2))


def test_style_mixing_by_crossover():
    a, b = styles()
    mixed = mix_styles(a, b, crossover=2)
    np.testing.assert_array_equal(mixed.layers[:, :2], a.layers[:, :2])
    np.testing.assert_array_equal(mixed.layers[:, 2:], b.layers[:, 2:])
    np.testing.assert_array_equal(mixed.ornament, b.ornament)


def test_style_mixing_by_weight():
    a, b = styles()
    mixed = mix_styles(a, b, weight=0.25)
    np.testing.assert_allclose(mixed.layers, 0.75 * a.layers + 0.25 * b.layers, rtol=1e-6)
    np.testing.assert_allclose(mixed.ornament, 0.75 * a.ornament + 0.25 * b.ornament, rtol=1e-6)
    with pytest.raises(ValueError, match="either"):
        mix_styles(a, b)


def test_global_strength_moves_from_null_to_style():
    style, null = styles()
    np.testing.assert_allclose(scale_global(style, null, 0.0).layers, null.layers)
    np.testing.assert_allclose(scale_global(style, null, 1.0).layers, style.layers, rtol=1e-5)
    np.testing.assert_array_equal(scale_global(style, null, 0.0).ornament, style.ornament)
