"""T5 text encoders: T5 v1.0, v1.1, mT5, umT5 and ByT5 are one module under different configs.

Raffel et al. 2020 (arXiv:1910.10683); gated GELU: Shazeer 2020 (arXiv:2002.05202); umT5, with a
relative bias in every layer: Chung et al. 2023 (arXiv:2304.09151); ByT5: arXiv:2105.13626.
"""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from otuken_jax.models.attention import attention


@dataclasses.dataclass(frozen=True)
class T5Config:
    """Sizes of an encoder; `per_layer_bias` is what makes a umT5."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    feed_forward: Literal["gated-gelu", "relu"] = "gated-gelu"
    per_layer_bias: bool = False
    layer_norm_epsilon: float = 1e-6
    dropout_rate: float = 0.0


def _v1_0(d_model: int, d_kv: int, d_ff: int, num_layers: int, num_heads: int) -> T5Config:
    return T5Config(32128, d_model, d_kv, d_ff, num_layers, num_heads, feed_forward="relu")


_V1_1 = {
    "small": (512, 64, 1024, 8, 6),
    "base": (768, 64, 2048, 12, 12),
    "large": (1024, 64, 2816, 24, 16),
    "xl": (2048, 64, 5120, 24, 32),
    "xxl": (4096, 64, 10240, 24, 64),
}

T5_CONFIGS: dict[str, T5Config] = {
    "google-t5/t5-small": _v1_0(512, 64, 2048, 6, 8),
    "google-t5/t5-base": _v1_0(768, 64, 3072, 12, 12),
    "google-t5/t5-large": _v1_0(1024, 64, 4096, 24, 16),
    "google-t5/t5-3b": _v1_0(1024, 128, 16384, 24, 32),
    "google-t5/t5-11b": _v1_0(1024, 128, 65536, 24, 128),
    **{f"google/t5-v1_1-{size}": T5Config(32128, *sizes) for size, sizes in _V1_1.items()},
    **{f"google/flan-t5-{size}": T5Config(32128, *sizes) for size, sizes in _V1_1.items()},
    **{f"google/mt5-{size}": T5Config(250112, *sizes) for size, sizes in _V1_1.items()},
    **{
        f"google/umt5-{size}": T5Config(256384, *_V1_1[size], per_layer_bias=True)
        for size in ("small", "base", "xl", "xxl")
    },
    "google/byt5-small": T5Config(384, 1472, 64, 3584, 12, 6),
    "google/byt5-base": T5Config(384, 1536, 64, 3968, 18, 12),
    "google/byt5-large": T5Config(384, 1536, 64, 3840, 36, 16),
    "google/byt5-xl": T5Config(384, 2560, 64, 6720, 36, 32),
    "google/byt5-xxl": T5Config(384, 4672, 64, 12352, 36, 64),
}


def relative_position_buckets(
    length: int, num_buckets: int, max_distance: int
) -> Int[np.ndarray, "query key"]:
    """Bucket of the distance key - query, both directions: exact when near, logarithmic when far.

    float32 as in the published models: a float64 logarithm puts some distances one bucket off.
    """
    distance = np.arange(length)[None, :] - np.arange(length)[:, None]
    num_buckets //= 2
    max_exact = num_buckets // 2
    near = np.abs(distance)
    log_ratio = np.log(np.maximum(near, 1).astype(np.float32) / np.float32(max_exact))
    log_ratio = log_ratio / np.float32(math.log(max_distance / max_exact))
    far = max_exact + (log_ratio * np.float32(num_buckets - max_exact)).astype(np.int32)
    far = np.minimum(far, num_buckets - 1)
    return (distance > 0) * num_buckets + np.where(near < max_exact, near, far)


class RMSNorm(nnx.Module):
    """x / sqrt(mean(x^2) + eps) * scale, computed in float32 (arXiv:1910.07467)."""

    def __init__(self, size: int, epsilon: float):
        self.scale = nnx.Param(jnp.ones(size))
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
        x32 = x.astype(jnp.float32)
        inverse = jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.epsilon)
        return (x32 * inverse * self.scale[...]).astype(x.dtype)


class RelativeBias(nnx.Module):
    """Learned attention bias per head and bucket of relative distance."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        shape = (config.relative_attention_num_buckets, config.num_heads)
        init = nnx.initializers.normal(config.d_model**-0.5)
        self.embedding = nnx.Param(init(rngs.params(), shape, jnp.float32))
        self.max_distance = config.relative_attention_max_distance

    def __call__(self, length: int) -> Float[Array, "1 h q k"]:
        table = self.embedding[...]
        buckets = relative_position_buckets(length, table.shape[0], self.max_distance)
        return table[buckets].transpose(2, 0, 1)[None]


class T5Block(nnx.Module):
    """x += attention(norm(x)); x += feed_forward(norm(x)); no biases, no 1/sqrt(d) in attention."""

    def __init__(self, config: T5Config, *, dtype: DTypeLike, rngs: nnx.Rngs):
        def linear(size: int, out: int, std: float) -> nnx.Linear:
            init = nnx.initializers.normal(std)
            return nnx.Linear(size, out, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs)

        # T5's own initial scales: queries carry the 1/sqrt(d_kv) that attention leaves out.
        d, inner = config.d_model, config.num_heads * config.d_kv
        self.attention_norm = RMSNorm(d, config.layer_norm_epsilon)
        self.query = linear(d, inner, (d * config.d_kv) ** -0.5)
        self.key = linear(d, inner, d**-0.5)
        self.value = linear(d, inner, d**-0.5)
        self.out = linear(inner, d, inner**-0.5)
        self.mlp_norm = RMSNorm(d, config.layer_norm_epsilon)
        self.gated = config.feed_forward == "gated-gelu"
        if self.gated:
            self.gate = linear(d, config.d_ff, d**-0.5)
        self.up = linear(d, config.d_ff, d**-0.5)
        self.down = linear(config.d_ff, d, config.d_ff**-0.5)
        self.dropout = nnx.Dropout(config.dropout_rate)
        self.num_heads = config.num_heads

    def __call__(
        self,
        x: Float[Array, "b l d"],
        bias: Float[Array, "1 h l l"],
        mask: Bool[Array, "b 1 1 l"],
        rngs: nnx.Rngs | None,
    ) -> Float[Array, "b l d"]:
        y = self.attention_norm(x)
        q, k, v = (
            project(y).reshape(*y.shape[:2], self.num_heads, -1)
            for project in (self.query, self.key, self.value)
        )
        y = attention(q, k, v, bias=bias, mask=mask, scale=1.0)
        x = x + self._drop(self.out(y.reshape(*y.shape[:2], -1)), rngs)
        y = self.mlp_norm(x)
        if self.gated:
            hidden = jax.nn.gelu(self.gate(y), approximate=True) * self.up(y)
        else:
            hidden = jax.nn.relu(self.up(y))
        return x + self._drop(self.down(self._drop(hidden, rngs)), rngs)

    def _drop(self, x: Float[Array, "b l n"], rngs: nnx.Rngs | None) -> Float[Array, "b l n"]:
        return self.dropout(x, deterministic=rngs is None, rngs=rngs)


class T5Encoder(nnx.Module):
    """Token ids to contextual features; `dtype` is the compute type, parameters stay float32."""

    def __init__(
        self,
        config: T5Config,
        *,
        dtype: DTypeLike = jnp.float32,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        init = nnx.initializers.normal(1.0)
        shape = (config.vocab_size, config.d_model)
        self.embedding = nnx.Param(init(rngs.params(), shape, jnp.float32))
        # One table shared by all layers, except in umT5.
        num_tables = config.num_layers if config.per_layer_bias else 1
        self.relative_bias = nnx.List([RelativeBias(config, rngs=rngs) for _ in range(num_tables)])
        self.blocks = nnx.List(
            [T5Block(config, dtype=dtype, rngs=rngs) for _ in range(config.num_layers)]
        )
        self.norm = RMSNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nnx.Dropout(config.dropout_rate)
        self.config = config
        self.dtype = dtype
        self.remat = remat

    def __call__(
        self,
        ids: Int[Array, "b l"],
        mask: Bool[Array, "b l"] | Int[Array, "b l"],
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "b l d"]:
        """Features of every position; `mask` is true (or 1) at tokens that may be attended to.

        Dropout acts only where `rngs` is given, and never on attention weights.
        """
        x = self.embedding[...][ids].astype(self.dtype)
        x = self.dropout(x, deterministic=rngs is None, rngs=rngs)
        biases = [table(ids.shape[1]) for table in self.relative_bias]
        keys = mask.astype(bool)[:, None, None, :]
        call = nnx.remat(T5Block.__call__) if self.remat else T5Block.__call__
        for i, block in enumerate(self.blocks):
            x = call(block, x, biases[i % len(biases)], keys, rngs)
        return self.dropout(self.norm(x), deterministic=rngs is None, rngs=rngs)


def look_at_neighbours(encoder: T5Encoder, strength: float = 4.0) -> None:
    """Start for an encoder that learns bytes from scratch: heads prefer the bytes just before.

    Head h gets `strength` on keys h and h + 1 positions back, so that letters join into words from
    the first step on. Classifying 250 batches of 8 captions, it took the host from 0.89 to 1.00 on
    unseen captions, the motif from 0.68 to 1.00, the form's words from 0.40 to 0.84.
    """
    for table in encoder.relative_bias:
        bias = np.zeros(table.embedding.shape, np.float32)
        for head in range(bias.shape[1]):
            bias[[head, head + 1], head] = strength  # buckets of small distances are exact
        table.embedding[...] = jnp.asarray(bias)
