"""CLIP against the PyTorch model and the image processor of transformers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
import torch
from flax import nnx
from parity import swapped, without_transpose
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from otuken_jax.models.clip import CLIP, CLIP_CONFIGS, CLIPConfig, preprocess_image
from porting.clip import NETWORKS, clip_config
from porting.rules import PortError, build, target_shapes
from porting.verify import draw_weights

TINY = CLIPConfig(
    projection_dim=24,
    vocab_size=50,
    context_length=12,
    text_width=32,
    text_mlp_width=80,
    text_layers=2,
    text_heads=4,
    image_size=35,
    patch_size=7,
    vision_width=48,
    vision_mlp_width=96,
    vision_layers=2,
    vision_heads=3,
)
NETWORK = NETWORKS["clip"]
# Of the largest output; measured: 4.2e-7 at most, 8.1e-7 at the published size.
assert_same = functools.partial(parity.assert_same, tolerance=4e-6)


@functools.cache
def make_reference():
    """transformers' CLIPModel with every weight at random, inputs and its outputs."""
    module = NETWORK.make_torch(TINY)
    draw_weights(module)
    inputs = NETWORK.make_inputs(TINY, np.random.default_rng(0))
    with torch.inference_mode():
        tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
        outputs = NETWORK.run_torch(module, tensors)
        # What the reference returns of its own accord, as a check of run_torch.
        whole = module(
            input_ids=tensors["ids"].long(), pixel_values=tensors["pixels"].permute(0, 3, 1, 2)
        )
    for name, embeds in (("text", whole.text_embeds), ("image", whole.image_embeds)):
        torch.testing.assert_close(
            torch.nn.functional.normalize(outputs[f"{name} embedding"]), embeds
        )
    return module, inputs, {name: w.numpy() for name, w in outputs.items()}


def state_dict(module):
    return {name: w.numpy() for name, w in module.state_dict().items()}


@functools.partial(jax.jit, static_argnums=0)
def call(graphdef, state, inputs):
    return NETWORK.run_model(nnx.merge(graphdef, state), inputs)


def test_values():
    module, inputs, want = make_reference()
    got = call(*nnx.split(build(NETWORK, TINY, state_dict(module))), inputs)
    assert got["patch grid"].shape == (2, 25, 48)
    for name in want:
        assert_same(got[name], want[name])


@pytest.mark.parametrize(
    ("mutate_rules", "mutate_config"),
    [
        (lambda rules: without_transpose(rules, "query"), {}),
        (lambda rules: without_transpose(rules, "out"), {}),
        (lambda rules: swapped(rules, "query", "key"), {}),
        (lambda rules: swapped(rules, "attention_norm", "mlp_norm"), {}),
        (lambda rules: rules, {"layer_norm_epsilon": 1e-2}),
        (lambda rules: rules, {"vision_heads": 4}),
    ],
    ids=["query", "out", "swap query key", "swap norms", "epsilon", "heads"],
)
def test_values_see_mistakes_that_shapes_do_not(mutate_rules, mutate_config):
    module, inputs, want = make_reference()
    mutated = dataclasses.replace(NETWORK, rules=lambda c: mutate_rules(NETWORK.rules(c)))
    config = dataclasses.replace(TINY, **mutate_config)
    got = call(*nnx.split(build(mutated, config, state_dict(module))), inputs)
    with pytest.raises(AssertionError):
        assert_same(got["patch grid"], want["patch grid"])


def test_epsilon_shows_where_features_are_small():
    """The position embeddings' spread of 0.02 would hide a wrong epsilon; small pixels do not."""
    module, inputs, _ = make_reference()
    tensors = state_dict(module) | {"vision_model.embeddings.class_embedding": np.zeros(48, "f4")}
    tensors["vision_model.embeddings.position_embedding.weight"] = (
        tensors["vision_model.embeddings.position_embedding.weight"] * 0.05
    )
    module = NETWORK.make_torch(TINY)
    module.load_state_dict({name: torch.from_numpy(w) for name, w in tensors.items()})
    inputs = inputs | {"pixels": inputs["pixels"] * 1e-3}
    with torch.inference_mode():
        tensors_in = {name: torch.from_numpy(value) for name, value in inputs.items()}
        want = NETWORK.run_torch(module, tensors_in)["patch grid"].numpy()
    for epsilon, same in ((1e-5, True), (1e-6, False)):
        config = dataclasses.replace(TINY, layer_norm_epsilon=epsilon)
        got = call(*nnx.split(build(NETWORK, config, tensors)), inputs)["patch grid"]
        if same:
            assert_same(got, want)
        else:
            with pytest.raises(AssertionError):
                assert_same(got, want)


def test_padding_after_the_end_token_does_not_matter():
    module, inputs, want = make_reference()
    model = build(NETWORK, TINY, state_dict(module))
    ids = inputs["ids"][1:].copy()
    length = int(np.argmax(ids)) + 1
    ids[:, length:] = 0  # OpenAI pads with zeros, transformers with end tokens
    graphdef, state = nnx.split(model)
    encode = jax.jit(lambda state, ids: nnx.merge(graphdef, state).encode_text(ids))
    for row in (ids, ids[:, :length]):
        assert_same(encode(state, jnp.asarray(row)), want["text embedding"][1:])


def test_bfloat16_stays_near_float32():
    """Measured: 0.7 and 1.0 % of the largest output, in two runs."""
    module, inputs, want = make_reference()
    half = dataclasses.replace(
        NETWORK, make_model=lambda c: CLIP(c, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    )
    got = call(*nnx.split(build(half, TINY, state_dict(module))), inputs)
    for name in want:
        assert got[name].dtype == jnp.bfloat16
        assert_same(np.asarray(got[name], np.float32), want[name], tolerance=0.02)


def test_compiles_once_per_shape():
    module, inputs, _ = make_reference()
    graphdef, state = nnx.split(build(NETWORK, TINY, state_dict(module)))
    call(graphdef, state, inputs)
    before = call._cache_size()
    call(graphdef, state, {name: value[::-1].copy() for name, value in inputs.items()})
    assert call._cache_size() == before


def test_config_of_the_published_files():
    """From transformers' config.json and tensor shapes, and from the shapes alone."""
    config = CLIP_CONFIGS["openai/clip-vit-large-patch14"]
    with torch.device("meta"):
        module = NETWORK.make_torch(config)
    shapes = {name: tuple(w.shape) for name, w in module.state_dict().items()}
    assert clip_config(module.config.to_dict(), shapes) == config
    assert clip_config(None, shapes) == config


def test_other_activations_and_networks_are_refused():
    with torch.device("meta"):
        module = NETWORK.make_torch(TINY)
    shapes = {name: tuple(w.shape) for name, w in module.state_dict().items()}
    fields = module.config.to_dict()
    fields["vision_config"]["hidden_act"] = "gelu"
    with pytest.raises(PortError, match="quick_gelu"):
        clip_config(fields, shapes)
    with pytest.raises(PortError, match="not a CLIP model"):
        clip_config(None, {"encoder.weight": (2, 2)})


@pytest.mark.parametrize(
    ("mode", "size"),
    [
        ("RGB", (224, 224)),
        ("RGB", (640, 427)),
        ("RGB", (301, 517)),
        ("RGB", (90, 61)),
        ("RGB", (1200, 40)),
        ("L", (225, 300)),
        ("RGBA", (256, 300)),
        ("P", (300, 256)),
    ],
)
def test_preprocessing(mode, size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    image = Image.fromarray(pixels, "RGBA")
    image = image.convert("RGB").quantize(64) if mode == "P" else image.convert(mode)
    want = CLIPImageProcessorPil()(image, return_tensors="np")["pixel_values"][0]
    got = preprocess_image(image)
    assert got.dtype == np.float32
    # Measured: equal. A product rounded otherwise is two float32 steps of the largest value, 2.1.
    np.testing.assert_allclose(got, want.transpose(1, 2, 0), rtol=0, atol=5e-7)


@pytest.mark.slow
def test_published_size_values():
    config = CLIP_CONFIGS["openai/clip-vit-large-patch14"]
    module = NETWORK.make_torch(config)
    draw_weights(module)
    inputs = NETWORK.make_inputs(config, np.random.default_rng(0))
    with torch.inference_mode():
        want = NETWORK.run_torch(module, {n: torch.from_numpy(v) for n, v in inputs.items()})
    model = build(NETWORK, config, state_dict(module))
    count = sum(int(np.prod(shape)) for shape in target_shapes(model).values())
    assert count == sum(p.numel() for p in module.parameters()) - 1  # without logit_scale
    got = call(*nnx.split(model), inputs)
    assert got["patch grid"].shape == (2, 256, 1024)
    for name, value in want.items():
        assert_same(got[name], value.numpy())
