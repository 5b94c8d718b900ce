"""The T5 encoders against the PyTorch models of transformers, every weight drawn at random."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from flax import nnx
from parity import assert_same, swapped, without_transpose

from otuken_jax.models.t5 import T5_CONFIGS, T5Config, T5Encoder, relative_position_buckets
from porting.rules import build, plan, port, target_shapes
from porting.t5 import NETWORKS, make_torch, t5_config

SIZES = {"vocab_size": 120, "d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4}
# As the published config.json of each family says it.
FAMILIES = {
    "t5-v1.0": ("T5", {"feed_forward_proj": "relu"}),
    "t5-v1.1": ("T5", {"feed_forward_proj": "gated-gelu"}),
    "mt5": ("MT5", {"feed_forward_proj": "gated-gelu", "num_heads": 3}),
    "umt5": ("UMT5", {"feed_forward_proj": "gated-gelu"}),
    "byt5": ("T5", {"feed_forward_proj": "gated-gelu", "vocab_size": 384, "d_kv": 24}),
}
LENGTHS = (1, 7, 512)


def draw_weights(module, seed):
    """Every weight at random; embeddings small enough that the norms' epsilon shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.ndim == 1:
                p.uniform_(0.5, 1.5, generator=generator)
            elif "relative_attention_bias" in name:
                p.normal_(0, 1, generator=generator)
            elif name == "shared.weight":
                p.normal_(0, 0.02, generator=generator)
            else:
                p.normal_(0, p.shape[1] ** -0.5, generator=generator)
                if ".q." in name:  # attention does not divide by sqrt(d_kv)
                    p.mul_((p.shape[0] / module.config.num_heads) ** -0.5)
    return {name: w.numpy() for name, w in module.state_dict().items()}


@functools.cache
def make_family(family, seed=0):
    """transformers' encoder, the config that its config.json gives, and its state dict."""
    kind, fields = FAMILIES[family]
    hf_config = getattr(transformers, f"{kind}Config")(**SIZES | fields, dropout_rate=0.1)
    module = getattr(transformers, f"{kind}EncoderModel")(hf_config).eval()
    state_dict = draw_weights(module, seed)
    config = t5_config(hf_config.to_dict(), {name: w.shape for name, w in state_dict.items()})
    return module, config, state_dict


def make_batch(config, length, seed=0):
    """Three sequences: whole, masked after two thirds, masked after the first token."""
    rng = np.random.default_rng(seed)
    mask = np.ones((3, length), np.int32)
    mask[1, -(-2 * length // 3) :] = 0
    mask[2, 1:] = 0
    return rng.integers(0, config.vocab_size, (3, length), dtype=np.int32), mask


def reference(module, ids, mask):
    with torch.inference_mode():
        return module(torch.tensor(ids), torch.tensor(mask)).last_hidden_state.numpy()


@functools.partial(jax.jit, static_argnums=0)
def call(graphdef, state, ids, mask):
    return nnx.merge(graphdef, state)(ids, mask)


def encode(model, ids, mask):
    return np.asarray(call(*nnx.split(model), jnp.asarray(ids), jnp.asarray(mask)))


@pytest.mark.parametrize(
    ("family", "length"),
    [*((family, 64) for family in FAMILIES), *(("umt5", length) for length in LENGTHS)],
)
def test_values(family, length):
    """Measured: at most 2e-6 of the largest output, 3.9e-6 at the published sizes."""
    module, config, state_dict = make_family(family)
    model = build(NETWORKS["t5"], config, state_dict)
    ids, mask = make_batch(config, length)
    assert_same(encode(model, ids, mask), reference(module, ids, mask))


@pytest.mark.parametrize("family", ["t5-v1.0", "t5-v1.1", "umt5"])
def test_gradients_of_every_parameter(family):
    """Measured: 1.4e-6 of each parameter's largest."""
    module, config, state_dict = make_family(family)
    model = build(NETWORKS["t5"], config, state_dict)
    ids, mask = make_batch(config, 40)
    weight = np.random.default_rng(1).normal(size=(3, 40, config.d_model)).astype(np.float32)
    module.zero_grad()
    out = module(torch.tensor(ids), torch.tensor(mask)).last_hidden_state
    (out * torch.tensor(weight)).sum().backward()
    grads = {name: p.grad.numpy() for name, p in module.named_parameters()}
    want = port(grads, NETWORKS["t5"].rules(config), target_shapes(model))

    graphdef, params = nnx.split(model)

    def loss(params):
        features = nnx.merge(graphdef, params)(jnp.asarray(ids), jnp.asarray(mask))
        return jnp.sum(features * weight)

    got = nnx.to_flat_state(jax.jit(jax.grad(loss))(params))
    assert len(got) == len(want)
    for path, leaf in got:
        assert_same(np.asarray(leaf.get_value()), want["/".join(map(str, path))])


@pytest.mark.parametrize(
    ("mutate_rules", "mutate_config"),
    [
        (lambda rules: without_transpose(rules, "query"), {}),
        (lambda rules: without_transpose(rules, "out"), {}),
        (lambda rules: swapped(rules, "query", "key"), {}),
        (lambda rules: swapped(rules, "gate", "up"), {}),
        (lambda rules: rules, {"layer_norm_epsilon": 1e-5}),
        (lambda rules: rules, {"relative_attention_max_distance": 64}),
    ],
    ids=["query", "out", "swap query key", "swap gate up", "epsilon", "max distance"],
)
def test_values_see_mistakes_that_shapes_do_not(mutate_rules, mutate_config):
    module, config, state_dict = make_family("t5-v1.1")
    network = NETWORKS["t5"]
    mutated = dataclasses.replace(network, rules=lambda c: mutate_rules(network.rules(c)))
    model = build(mutated, dataclasses.replace(config, **mutate_config), state_dict)
    ids, mask = make_batch(config, 64)
    with pytest.raises(AssertionError):
        assert_same(encode(model, ids, mask), reference(module, ids, mask))


@pytest.mark.parametrize("setting", [(32, 128), (32, 64), (16, 20)])
def test_buckets(setting):
    distance = torch.arange(2000)[None] - torch.arange(2000)[:, None]
    attention = transformers.models.t5.modeling_t5.T5Attention
    want = attention._relative_position_bucket(distance, True, *setting).numpy()
    np.testing.assert_array_equal(relative_position_buckets(2000, *setting), want)


@pytest.mark.parametrize("family", ["t5-v1.0", "t5-v1.1"])
def test_bfloat16_stays_near_float32(family):
    """Measured over all families: 3.1 % of the largest output at most, 1.6 % root mean square."""
    _, config, state_dict = make_family(family)
    exact = build(NETWORKS["t5"], config, state_dict)
    half = build(dataclasses.replace(NETWORKS["t5"], make_model=make_half), config, state_dict)
    ids, mask = make_batch(config, 64)
    out, want = encode(half, ids, mask), encode(exact, ids, mask)
    assert out.dtype == jnp.bfloat16
    assert all(w.dtype == jnp.float32 for w in jax.tree.leaves(nnx.state(half)))
    error = out.astype(np.float32) - want
    assert np.abs(error).max() < 0.06 * np.abs(want).max()
    assert np.sqrt(np.mean(error**2)) < 0.03 * np.sqrt(np.mean(want**2))


def make_half(config):
    return T5Encoder(config, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))


def test_remat_changes_nothing():
    model = T5Encoder(T5Config(**SIZES | {"num_layers": 1}), rngs=nnx.Rngs(0))
    ids, mask = map(jnp.asarray, make_batch(model.config, 12))
    state = nnx.state(model)
    grads = []
    for remat in (False, True):
        model.remat = remat
        graphdef = nnx.graphdef(model)
        loss = lambda p, g=graphdef: jnp.sum(jnp.sin(nnx.merge(g, p)(ids, mask)))  # noqa: E731
        grads.append(jax.jit(jax.grad(loss))(state))
    for a, b in zip(*map(jax.tree.leaves, grads), strict=True):
        # Measured: equal. A program that recomputes may be fused, and so rounded, otherwise.
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * float(jnp.abs(a).max()))


def test_compiles_once_per_shape():
    _, config, state_dict = make_family("t5-v1.1")
    model = build(NETWORKS["t5"], config, state_dict)
    before = call._cache_size()
    for seed, length in enumerate((5, 5, 9, 5)):
        encode(model, *make_batch(config, length, seed))
    assert call._cache_size() == before + 2


def test_masked_tokens_do_not_matter_and_an_empty_mask_is_finite():
    _, config, state_dict = make_family("t5-v1.1")
    model = build(NETWORKS["t5"], config, state_dict)
    ids, mask = make_batch(config, 12)
    other = np.where(mask == 1, ids, (ids + 1) % config.vocab_size)
    a, b = encode(model, ids, mask), encode(model, other, mask.astype(bool))
    np.testing.assert_array_equal(a[mask == 1], b[mask == 1])
    assert np.isfinite(encode(model, ids, np.zeros_like(mask))).all()


def test_dropout_only_with_rngs():
    config = T5Config(**SIZES | {"num_layers": 1, "dropout_rate": 0.5})
    model = T5Encoder(config, rngs=nnx.Rngs(0))
    ids, mask = map(jnp.asarray, make_batch(config, 12))

    @functools.partial(jax.jit, static_argnums=0)
    def dropped(graphdef, state, seed):
        return nnx.merge(graphdef, state)(ids, mask, rngs=nnx.Rngs(dropout=jax.random.key(seed)))

    graphdef, state = nnx.split(model)
    first = dropped(graphdef, state, 0)
    assert float(jnp.abs(dropped(graphdef, state, 1) - first).max()) > 0.1
    assert np.abs(encode(model, ids, mask) - np.asarray(first)).max() > 0.1
    # Measured: equal; other draws are more than 0.1 off, and fusion may round otherwise.
    model.remat = True
    np.testing.assert_allclose(dropped(nnx.graphdef(model), state, 0), first, atol=1e-5)


@pytest.mark.parametrize("feed_forward", ["relu", "gated-gelu"])
def test_initial_scales_are_t5s(feed_forward):
    """transformers' own initialisation, parameter by parameter: same spread, norms at one."""
    config = T5Config(120, 256, 16, 512, 1, 4, feed_forward=feed_forward)
    module = make_torch(config)
    state_dict = {name: w.numpy() for name, w in module.state_dict().items()}
    model = T5Encoder(config, rngs=nnx.Rngs(0))
    want = port(state_dict, NETWORKS["t5"].rules(config), target_shapes(model))
    for path, leaf in nnx.to_flat_state(nnx.state(model)):
        name = "/".join(map(str, path))
        spread = np.sqrt(np.mean(want[name] ** 2))
        few = 0.25 if "relative_bias" in name else 0.05  # 128 draws, or thousands
        assert np.sqrt(np.mean(leaf.get_value() ** 2)) == pytest.approx(spread, rel=few), name


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("google/t5-v1_1-base", 109.6),
        ("google/mt5-base", 277.0),
        ("google/umt5-base", 281.9),
        ("google/byt5-small", 217.7),
    ],
)
def test_published_sizes(name, millions):
    model = nnx.eval_shape(lambda: T5Encoder(T5_CONFIGS[name], rngs=nnx.Rngs(0)))
    count = sum(int(np.prod(shape)) for shape in target_shapes(model).values())
    assert round(count / 1e6, 1) == millions


def test_a_whole_encoder_decoder_file_fits_and_its_decoder_is_left_out():
    hf_config = transformers.T5Config(**SIZES, feed_forward_proj="gated-gelu")
    with torch.device("meta"):
        module = transformers.T5ForConditionalGeneration(hf_config)
    shapes = {name: tuple(w.shape) for name, w in module.state_dict().items()}
    config = t5_config(hf_config.to_dict(), shapes)
    model = nnx.eval_shape(lambda: T5Encoder(config, rngs=nnx.Rngs(0)))
    steps = plan(shapes, NETWORKS["t5"].rules(config), target_shapes(model))
    assert set(steps.unused) == {
        n
        for n in shapes
        if n == "lm_head.weight" or (n.startswith("decoder.") and "embed_tokens" not in n)
    }
    assert steps.sources["embedding"] == (
        "shared.weight",
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["google/t5-v1_1-base", "google/umt5-base", "google/byt5-small"])
def test_published_size_values(name):
    config = T5_CONFIGS[name]
    module = make_torch(config)
    state_dict = draw_weights(module, 0)
    model = build(NETWORKS["t5"], config, state_dict)
    for length in LENGTHS:
        ids, mask = make_batch(config, length)
        assert_same(encode(model, ids, mask), reference(module, ids, mask))
