"""Style: from style text to one vector per decoder layer (global) and an ornament code (local)."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from otuken_jax.models.layers import MLP, CrossAttention


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Style:
    """What AdaIN and the ornament head read.

    `layers` [b, n, s] holds one style vector per decoder layer, coarse to fine; `ornament` [b, c]
    is the code of the motif, which never sees the object's words.
    """

    layers: Float[Array, "b n s"]
    ornament: Float[Array, "b c"]


def mix_styles(
    a: Style, b: Style, *, crossover: int | None = None, weight: float | Array | None = None
) -> Style:
    """Coarse layers of `a` with fine layers of `b` from layer `crossover` on, or a blend.

    With `weight` w everything is (1 - w) a + w b, ornament codes too. With `crossover` the
    ornament, the finest detail of all, is `b`'s. Exactly one of the two must be given, else
    ValueError.
    """
    if (crossover is None) == (weight is None):
        raise ValueError("give either a crossover layer or a blend weight")
    if weight is not None:
        return jax.tree.map(lambda x, y: (1 - weight) * x + weight * y, a, b)
    take_b = jnp.arange(a.layers.shape[1]) >= crossover
    return Style(jnp.where(take_b[None, :, None], b.layers, a.layers), b.ornament)


class StyleEncoder(nnx.Module):
    """Style tokens -> z -> mapping network -> style vectors; second query -> ornament code.

    The mapping network is StyleGAN's (Karras et al. 2019, arXiv:1812.04948). Without a style,
    learned null vectors stand in: a plain object.
    """

    def __init__(
        self,
        text_width: int,
        style_dim: int,
        ornament_dim: int,
        num_style_layers: int,
        *,
        mapping_layers: int,
        num_heads: int,
        dtype,
        rngs: nnx.Rngs,
    ) -> None:
        init = nnx.initializers.normal(1.0)
        self.dtype = dtype
        self.num_style_layers = num_style_layers
        self.text_proj = nnx.Linear(text_width, style_dim, dtype=dtype, rngs=rngs)
        self.text_norm = nnx.LayerNorm(style_dim, epsilon=1e-5, dtype=dtype, rngs=rngs)
        self.queries = nnx.Param(init(rngs.params(), (4, style_dim)))
        self.attention = CrossAttention(style_dim, style_dim, num_heads, dtype=dtype, rngs=rngs)
        self.null_z = nnx.Param(init(rngs.params(), (style_dim,)))
        self.null_ornament = nnx.Param(init(rngs.params(), (ornament_dim,)))
        self.mapping_network = nnx.List(
            nnx.Linear(2 * style_dim if i == 0 else style_dim, style_dim, dtype=dtype, rngs=rngs)
            for i in range(mapping_layers)
        )
        self.layer_affine = nnx.Linear(
            style_dim, num_style_layers * style_dim, dtype=dtype, rngs=rngs
        )
        self.ornament_mlp = MLP(2 * style_dim, 2 * style_dim, ornament_dim, dtype=dtype, rngs=rngs)
        self.null_proj = nnx.Linear(style_dim, 2 * style_dim, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        style_embedding: Float[Array, "b l e"],
        style_mask: Bool[Array, "b l"],
        has_style: Bool[Array, " b"],
    ) -> Style:
        b = style_embedding.shape[0]
        tokens = self.text_norm(self.text_proj(style_embedding))
        # A sample without style attends to its padding; the result is replaced below.
        mask = style_mask.astype(bool) | ~has_style[:, None]
        queries = jnp.broadcast_to(self.queries[...].astype(self.dtype), (b, *self.queries.shape))
        pooled = self.attention(queries, tokens, mask).reshape(b, 2, -1)  # [b, (global, local), 2s]
        present = has_style[:, None]
        z = jnp.where(present, pooled[:, 0], self.null_proj(self.null_z[...]))
        for layer in self.mapping_network:
            z = jax.nn.leaky_relu(layer(z), 0.2)
        layers = self.layer_affine(z).reshape(b, self.num_style_layers, -1)
        null_ornament = self.null_ornament[...].astype(self.dtype)
        ornament = jnp.where(present, self.ornament_mlp(pooled[:, 1]), null_ornament)
        return Style(layers, ornament)


def scale_global(style: Style, null: Style, strength: float | Array) -> Style:
    """Moves the global vectors from the null style (0) to the given one (1) or beyond."""
    layers = null.layers + strength * (style.layers - null.layers)
    return dataclasses.replace(style, layers=layers)
