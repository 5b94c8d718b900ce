"""Text and point tokens to one latent vector: the global shape."""

from dataclasses import dataclass
from typing import no_type_check

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from otuken_jax.models.layers import MLP, CrossAttention

POINT_OCTAVES = 4


@no_type_check  # remat also builds it of None, which is no array
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tokens:
    """Projected conditioning tokens [b, t, latent_dim] and which of them are real [b, t]."""

    values: Float[Array, "b t d"]
    mask: Bool[Array, "b t"]


class FusionBlock(nnx.Module):
    """Queries attend to the tokens, then an MLP; both residual, pre-norm."""

    def __init__(self, width: int, num_heads: int, *, dtype, rngs: nnx.Rngs) -> None:
        self.norm1 = nnx.LayerNorm(width, epsilon=1e-5, dtype=dtype, rngs=rngs)
        self.attention = CrossAttention(width, width, num_heads, dtype=dtype, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, epsilon=1e-5, dtype=dtype, rngs=rngs)
        self.mlp = MLP(width, 4 * width, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b q d"], tokens: Tokens) -> Float[Array, "b q d"]:
        x = x + self.attention(self.norm1(x), tokens.values, tokens.mask)
        return x + self.mlp(self.norm2(x))


class LatentFusion(nnx.Module):
    """Learned queries cross-attend to text and point tokens; their mean, normalised, is the latent.

    Either modality may be absent: its tokens are masked out, and one learned null token, always
    present, keeps the attention defined when both are.
    """

    def __init__(
        self,
        text_width: int,
        point_width: int,
        latent_dim: int,
        *,
        num_queries: int,
        num_layers: int,
        num_heads: int,
        dtype,
        rngs: nnx.Rngs,
    ) -> None:
        init = nnx.initializers.normal(1.0)
        self.dtype = dtype
        self.text_proj = nnx.Linear(text_width, latent_dim, dtype=dtype, rngs=rngs)
        self.text_norm = nnx.LayerNorm(latent_dim, epsilon=1e-5, dtype=dtype, rngs=rngs)
        self.point_norm = nnx.LayerNorm(point_width, epsilon=1e-5, dtype=dtype, rngs=rngs)
        # Point-E's tokens carry no position; 3 coordinates in POINT_OCTAVES octaves do.
        self.point_proj = nnx.Linear(
            point_width + 6 * POINT_OCTAVES, latent_dim, dtype=dtype, rngs=rngs
        )
        self.modality = nnx.Param(0.02 * init(rngs.params(), (2, latent_dim)))
        self.null_token = nnx.Param(init(rngs.params(), (1, latent_dim)))
        self.queries = nnx.Param(init(rngs.params(), (num_queries, latent_dim)))
        self.blocks = nnx.List(
            FusionBlock(latent_dim, num_heads, dtype=dtype, rngs=rngs) for _ in range(num_layers)
        )
        self.out = nnx.Linear(num_queries * latent_dim, latent_dim, dtype=dtype, rngs=rngs)
        self.out_norm = nnx.LayerNorm(latent_dim, epsilon=1e-5, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        text_embedding: Float[Array, "b l e"],
        text_mask: Bool[Array, "b l"],
        point_embedding: Float[Array, "b n p"],
        points: Float[Array, "b n 3"],
        has_points: Bool[Array, " b"],
    ) -> tuple[Float[Array, "b d"], Tokens]:
        """`text_mask` is all False for a sample without text. Returns the latent and all tokens."""
        b, n = points.shape[:2]
        modality = self.modality[...].astype(self.dtype)
        text = self.text_norm(self.text_proj(text_embedding)) + modality[0]
        frequencies = jnp.pi * 2.0 ** jnp.arange(POINT_OCTAVES)
        angles = (points[..., None] * frequencies).reshape(b, n, -1)
        positions = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        point = jnp.concatenate([self.point_norm(point_embedding), positions], axis=-1)
        point = self.point_proj(point.astype(self.dtype)) + modality[1]
        null = jnp.broadcast_to(self.null_token[...].astype(self.dtype), (b, 1, point.shape[-1]))
        tokens = Tokens(
            jnp.concatenate([null, text, point], axis=1),
            jnp.concatenate(
                [
                    jnp.ones((b, 1), bool),
                    text_mask.astype(bool),
                    jnp.broadcast_to(has_points[:, None], (b, n)),
                ],
                axis=1,
            ),
        )
        x = jnp.broadcast_to(self.queries[...].astype(self.dtype), (b, *self.queries.shape))
        for block in self.blocks:
            x = block(x, tokens)
        return self.out_norm(self.out(x.reshape(b, -1))), tokens
