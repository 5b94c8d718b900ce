"""The networks of Point-E: point diffusion transformers, the point cloud encoder and its SDF.

Nichol et al., "Point-E: A System for Generating 3D Point Clouds from Complex Prompts" (2022),
arXiv:2212.08751. Everything is channels last. "Raw" units: the longest side of a cloud is about 1,
colours are 0 to 255. "Scaled" units, in which diffusion runs: everything is about [-1, 1].
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Real

from otuken_jax.models.attention import attention

CHANNEL_SCALES = (2.0, 2.0, 2.0, 0.007843137255, 0.007843137255, 0.007843137255)
CHANNEL_BIASES = (0.0, 0.0, 0.0, -1.0, -1.0, -1.0)
CHANNELS = len(CHANNEL_SCALES)  # x, y, z, red, green, blue
INIT_SCALE = 0.25
EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class PointEEncoderConfig:
    """Sizes of the point cloud encoder; the defaults are the published ones."""

    width: int = 256
    layers: int = 8
    heads: int = 4


@dataclasses.dataclass(frozen=True)
class PointESDFConfig:
    """Sizes of the SDF model; the defaults are the published ones."""

    width: int = 256
    encoder_layers: int = 8
    encoder_heads: int = 4
    decoder_layers: int = 4
    decoder_heads: int = 4


@dataclasses.dataclass(frozen=True)
class PointDiffusionConfig:
    """Sizes and conditioning of a point diffusion transformer.

    condition: "none", "vector" (one CLIP embedding) or "grid" (CLIP's patch features).
    low_res: the cloud of an earlier stage is prepended (the upsampler).
    time_token, condition_token: prepend as a token; else add to every point's token.
    """

    width: int = 512
    layers: int = 12
    heads: int = 8
    condition: str = "none"
    condition_dim: int = 768
    grid_tokens: int = 256
    low_res: bool = False
    time_token: bool = True
    condition_token: bool = True

    def __post_init__(self):
        if self.condition not in ("none", "vector", "grid"):
            raise ValueError(f"condition is 'none', 'vector' or 'grid', not {self.condition!r}")

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """Shape of one sample's CLIP embedding, without the batch axis."""
        if self.condition == "grid":
            return (self.grid_tokens, self.condition_dim)
        return (self.condition_dim,)


_VECTOR = PointDiffusionConfig(condition="vector", condition_dim=768)
_GRID = PointDiffusionConfig(condition="grid", condition_dim=1024)
POINT_DIFFUSION_CONFIGS = {
    "base40M-uncond": PointDiffusionConfig(),
    "base40M-textvec": _VECTOR,
    "base40M-imagevec": _VECTOR,
    "base40M": _GRID,
    "base300M": dataclasses.replace(_GRID, width=1024, layers=24, heads=16),
    "base1B": dataclasses.replace(_GRID, width=2048, layers=24, heads=32),
    "upsample": dataclasses.replace(_GRID, low_res=True),
}


class Buffer(nnx.Variable):
    """A constant that belongs to the weights but is never trained."""


def _torch_uniform(fan_in: int):
    """PyTorch's default for a linear layer: uniform in +-1/sqrt(fan_in), weight and bias alike."""
    bound = 1.0 / math.sqrt(fan_in)

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def _projection(in_features: int, out_features: int, *, dtype, rngs: nnx.Rngs) -> nnx.Linear:
    """A linear layer into or out of the transformer, initialised as PyTorch does."""
    init = _torch_uniform(in_features)
    return nnx.Linear(
        in_features, out_features, kernel_init=init, bias_init=init, dtype=dtype, rngs=rngs
    )


def _linear(in_features: int, out_features: int, width: int, *, dtype, rngs: nnx.Rngs):
    """A linear layer inside the transformer: N(0, (0.25 / sqrt(width))^2), bias zero."""
    init = nnx.initializers.normal(INIT_SCALE / math.sqrt(width))
    return nnx.Linear(in_features, out_features, kernel_init=init, dtype=dtype, rngs=rngs)


def _norm(features: int, *, dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(features, epsilon=EPSILON, use_fast_variance=False, dtype=dtype, rngs=rngs)


class MLP(nnx.Module):
    """width -> 4 width -> width with the exact (erf) GELU."""

    def __init__(self, width: int, *, dtype, rngs: nnx.Rngs):
        self.fc = _linear(width, 4 * width, width, dtype=dtype, rngs=rngs)
        self.proj = _linear(4 * width, width, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        return self.proj(jax.nn.gelu(self.fc(x), approximate=False))


class SelfAttention(nnx.Module):
    """Multi-head self-attention with one fused kernel; each head's columns are [q | k | v]."""

    def __init__(self, width: int, heads: int, *, dtype, rngs: nnx.Rngs):
        self.heads = heads
        self.qkv = _linear(width, 3 * width, width, dtype=dtype, rngs=rngs)
        self.proj = _linear(width, width, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        qkv = self.qkv(x).reshape(*x.shape[:2], self.heads, -1)
        q, k, v = jnp.split(qkv, 3, axis=-1)
        return self.proj(attention(q, k, v).reshape(x.shape))


class CrossAttention(nnx.Module):
    """Multi-head attention from x to data; each head's columns of the fused kernel are [k | v]."""

    def __init__(self, width: int, heads: int, *, dtype, rngs: nnx.Rngs):
        self.heads = heads
        self.q = _linear(width, width, width, dtype=dtype, rngs=rngs)
        self.kv = _linear(width, 2 * width, width, dtype=dtype, rngs=rngs)
        self.proj = _linear(width, width, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b t d"], data: Float[Array, "b s d"]):
        q = self.q(x).reshape(*x.shape[:2], self.heads, -1)
        kv = self.kv(data).reshape(*data.shape[:2], self.heads, -1)
        k, v = jnp.split(kv, 2, axis=-1)
        return self.proj(attention(q, k, v).reshape(x.shape))


class Block(nnx.Module):
    """Pre-norm residual block: x += attention(norm(x)); x += mlp(norm(x))."""

    def __init__(self, width: int, heads: int, *, dtype, rngs: nnx.Rngs):
        self.norm_attention = _norm(width, dtype=dtype, rngs=rngs)
        self.attention = SelfAttention(width, heads, dtype=dtype, rngs=rngs)
        self.norm_mlp = _norm(width, dtype=dtype, rngs=rngs)
        self.mlp = MLP(width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        x = x + self.attention(self.norm_attention(x))
        return x + self.mlp(self.norm_mlp(x))


class CrossBlock(nnx.Module):
    """Pre-norm block whose queries read `data`; queries do not see each other."""

    def __init__(self, width: int, heads: int, *, dtype, rngs: nnx.Rngs):
        self.norm_query = _norm(width, dtype=dtype, rngs=rngs)
        self.norm_data = _norm(width, dtype=dtype, rngs=rngs)
        self.attention = CrossAttention(width, heads, dtype=dtype, rngs=rngs)
        self.norm_mlp = _norm(width, dtype=dtype, rngs=rngs)
        self.mlp = MLP(width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b t d"], data: Float[Array, "b s d"]):
        x = x + self.attention(self.norm_query(x), self.norm_data(data))
        return x + self.mlp(self.norm_mlp(x))


class PointEEncoder(nnx.Module):
    """Point cloud -> one token per point: the encoder half of Point-E's SDF model.

    No positional embedding and no norm at either end, so the map is equivariant in the points and
    takes any number of them.
    """

    def __init__(self, config: PointEEncoderConfig, *, dtype=jnp.float32, rngs: nnx.Rngs):
        self.input_proj = _projection(3, config.width, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            [
                Block(config.width, config.heads, dtype=dtype, rngs=rngs)
                for _ in range(config.layers)
            ]
        )

    def __call__(self, points: Float[Array, "b n 3"]) -> Float[Array, "b n d"]:
        """Tokens for points in raw units (see `conventions.POINT_E_SCALE`); colour is not used."""
        x = self.input_proj(points)
        for block in self.blocks:
            x = block(x)
        return x


class PointESDF(nnx.Module):
    """Signed distance at query points, read from an encoded point cloud by cross-attention."""

    def __init__(self, config: PointESDFConfig, *, dtype=jnp.float32, rngs: nnx.Rngs):
        encoder = PointEEncoderConfig(config.width, config.encoder_layers, config.encoder_heads)
        self.encoder = PointEEncoder(encoder, dtype=dtype, rngs=rngs)
        self.query_proj = _projection(3, config.width, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            [
                CrossBlock(config.width, config.decoder_heads, dtype=dtype, rngs=rngs)
                for _ in range(config.decoder_layers)
            ]
        )
        self.norm_post = _norm(config.width, dtype=dtype, rngs=rngs)
        self.output_proj = _projection(config.width, 1, dtype=dtype, rngs=rngs)

    def decode(
        self, latents: Float[Array, "b n d"], queries: Float[Array, "b m 3"]
    ) -> Float[Array, "b m"]:
        """The field at `queries` (raw units) for a cloud that `encoder` has turned into tokens."""
        x = self.query_proj(queries)
        for block in self.blocks:
            x = block(x, latents)
        return self.output_proj(self.norm_post(x))[..., 0]

    def __call__(
        self, points: Float[Array, "b n 3"], queries: Float[Array, "b m 3"]
    ) -> Float[Array, "b m"]:
        return self.decode(self.encoder(points), queries)


def timestep_embedding(t: Real[Array, " b"], dim: int) -> Float[Array, "b d"]:
    """[cos(t f), sin(t f)] with f_j = 10000^(-j / half), half = dim // 2; an odd dim ends in 0."""
    half = dim // 2
    frequencies = np.exp(-math.log(10000.0) * np.arange(half) / half).astype(np.float32)
    angles = t.astype(jnp.float32)[:, None] * frequencies
    embedding = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    return jnp.pad(embedding, ((0, 0), (0, dim % 2)))


def drop_condition(
    embedding: Float[Array, "b ..."], key: Array, probability: float = 0.1
) -> Float[Array, "b ..."]:
    """Zeroes whole samples' embeddings at random, so that guidance has an unconditional model."""
    keep = jax.random.uniform(key, embedding.shape[:1]) >= probability
    return jnp.where(keep.reshape(-1, *[1] * (embedding.ndim - 1)), embedding, 0)


class PointDiffusionTransformer(nnx.Module):
    """Noise and variance of a noisy point cloud at a step, given time, CLIP and a coarse cloud."""

    def __init__(self, config: PointDiffusionConfig, *, dtype=jnp.float32, rngs: nnx.Rngs):
        width = config.width
        self.config = config
        self.dtype = dtype
        self.time_embed = MLP(width, dtype=dtype, rngs=rngs)
        self.norm_pre = _norm(width, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            [Block(width, config.heads, dtype=dtype, rngs=rngs) for _ in range(config.layers)]
        )
        self.norm_post = _norm(width, dtype=dtype, rngs=rngs)
        self.input_proj = _projection(CHANNELS, width, dtype=dtype, rngs=rngs)
        zeros = nnx.initializers.zeros_init()
        self.output_proj = nnx.Linear(
            width, 2 * CHANNELS, kernel_init=zeros, bias_init=zeros, dtype=dtype, rngs=rngs
        )
        if config.condition != "none":
            self.condition_proj = _projection(config.condition_dim, width, dtype=dtype, rngs=rngs)
        if config.condition == "grid":
            self.norm_condition = _norm(config.condition_dim, dtype=dtype, rngs=rngs)
        if config.low_res:
            self.channel_scales = Buffer(jnp.array(CHANNEL_SCALES, jnp.float32))
            self.channel_biases = Buffer(jnp.array(CHANNEL_BIASES, jnp.float32))
            self.low_res_proj = _projection(CHANNELS, width, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "b n 6"],
        t: Real[Array, " b"],
        embedding: Float[Array, "b ..."] | None = None,
        low_res: Float[Array, "b m 6"] | None = None,
    ) -> Float[Array, "b n 12"]:
        """Predicted noise (channels 0-5) and variance interpolation (6-11), both scaled.

        x: noisy cloud, scaled units. t: step of the full schedule, 0 to 1023, may be fractional.
        embedding: CLIP's vector [b, 768] of unit length or its patch grid [b, 256, 1024]; None is
        unconditional, the same as zeros. low_res: the earlier stage's cloud, raw units.
        """
        config = self.config
        if (low_res is not None) != config.low_res:
            raise ValueError(f"low_res must {'' if config.low_res else 'not '}be given")
        if config.condition == "none" and embedding is not None:
            raise ValueError("this network takes no embedding")
        h = self.input_proj(x)
        prefix = []
        time = self.time_embed(timestep_embedding(t, config.width).astype(self.dtype))[:, None]
        if config.time_token:
            prefix.append(time)
        else:
            h = h + time
        if config.condition != "none":
            condition = self._condition(embedding, x.shape[0])
            # No position is embedded, so the order of the tokens in front does not matter.
            if config.condition == "grid" or config.condition_token:
                prefix.append(condition)
            else:
                h = h + condition
        if low_res is not None:
            scaled = low_res * self.channel_scales[...] + self.channel_biases[...]
            prefix.append(self.low_res_proj(scaled))
        h = self.norm_pre(jnp.concatenate([*prefix, h], axis=1))
        for block in self.blocks:
            h = block(h)
        return self.output_proj(self.norm_post(h)[:, -x.shape[1] :])

    def _condition(self, embedding: Array | None, batch: int) -> Float[Array, "b t d"]:
        """CLIP's embedding as tokens: one for a vector, one per patch for a grid."""
        config = self.config
        if embedding is None:
            embedding = jnp.zeros((batch, *config.embedding_shape))
        if config.condition == "grid":
            return self.condition_proj(self.norm_condition(embedding))
        # A unit vector's entries get about unit variance.
        return self.condition_proj(embedding * math.sqrt(config.condition_dim))[:, None]
