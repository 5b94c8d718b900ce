"""The style path in PyTorch; mirrors `otuken_jax.models.style`."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from porting.torch_reference.layers import MLP, CrossAttention


class Style(NamedTuple):
    """One style vector per decoder layer [b, n, s] and the code of the ornament [b, c]."""

    layers: Tensor
    ornament: Tensor


def mix_styles(
    a: Style, b: Style, *, crossover: int | None = None, weight: float | Tensor | None = None
) -> Style:
    """Coarse layers of `a`, fine ones and the ornament of `b`; or (1 - weight) a + weight b."""
    if (crossover is None) == (weight is None):
        raise ValueError("give either a crossover layer or a blend weight")
    if weight is not None:
        return Style(*((1 - weight) * x + weight * y for x, y in zip(a, b, strict=True)))
    layers = torch.cat([a.layers[:, :crossover], b.layers[:, crossover:]], dim=1)
    return Style(layers, b.ornament)


def scale_global(style: Style, null: Style, strength: float | Tensor) -> Style:
    """Moves the global vectors from the null style (0) to the given one (1) or beyond."""
    return style._replace(layers=null.layers + strength * (style.layers - null.layers))


class StyleEncoder(nn.Module):
    """Style tokens -> z -> mapping network -> style vectors; two more queries -> ornament code."""

    def __init__(
        self,
        text_width: int,
        style_dim: int,
        ornament_dim: int,
        num_style_layers: int,
        *,
        mapping_layers: int,
        num_heads: int,
    ):
        super().__init__()
        self.num_style_layers = num_style_layers
        self.text_proj = nn.Linear(text_width, style_dim)
        self.text_norm = nn.LayerNorm(style_dim)
        self.queries = nn.Parameter(torch.randn(4, style_dim))
        self.attention = CrossAttention(style_dim, style_dim, num_heads)
        self.null_z = nn.Parameter(torch.randn(style_dim))
        self.null_ornament = nn.Parameter(torch.randn(ornament_dim))
        self.mapping_network = nn.ModuleList(
            nn.Linear(2 * style_dim if i == 0 else style_dim, style_dim)
            for i in range(mapping_layers)
        )
        self.layer_affine = nn.Linear(style_dim, num_style_layers * style_dim)
        self.ornament_mlp = MLP(2 * style_dim, 2 * style_dim, ornament_dim)
        self.null_proj = nn.Linear(style_dim, 2 * style_dim)

    def forward(self, style_embedding: Tensor, style_mask: Tensor, has_style: Tensor) -> Style:
        """The style of each sample; the learned null style where `has_style` is false."""
        present = has_style[:, None]
        tokens = self.text_norm(self.text_proj(style_embedding))
        queries = self.queries.expand(len(tokens), -1, -1)
        pooled = self.attention(queries, tokens, style_mask | ~present)
        z = torch.where(present, pooled[:, :2].flatten(1), self.null_proj(self.null_z))
        for layer in self.mapping_network:
            z = F.leaky_relu(layer(z), 0.2)
        layers = self.layer_affine(z).unflatten(-1, (self.num_style_layers, -1))
        code = self.ornament_mlp(pooled[:, 2:].flatten(1))
        return Style(layers, torch.where(present, code, self.null_ornament))
