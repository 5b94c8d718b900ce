"""Latent fusion in PyTorch; mirrors `otuken_jax.models.fusion`."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from otuken_jax.models.fusion import POINT_OCTAVES
from porting.torch_reference.layers import MLP, CrossAttention


class Tokens(NamedTuple):
    """Conditioning tokens [b, t, latent_dim] and which of them are real [b, t]."""

    values: Tensor
    mask: Tensor


class FusionBlock(nn.Module):
    """Queries attend to the tokens, then an MLP; both residual, pre-norm."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = CrossAttention(width, width, num_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width, width)

    def forward(self, x: Tensor, tokens: Tokens) -> Tensor:
        x = x + self.attention(self.norm1(x), *tokens)
        return x + self.mlp(self.norm2(x))


class LatentFusion(nn.Module):
    """Learned queries read text and point tokens; a null token keeps the attention defined."""

    def __init__(
        self,
        text_width: int,
        point_width: int,
        latent_dim: int,
        *,
        num_queries: int,
        num_layers: int,
        num_heads: int,
    ):
        super().__init__()
        self.text_proj = nn.Linear(text_width, latent_dim)
        self.text_norm = nn.LayerNorm(latent_dim)
        self.point_norm = nn.LayerNorm(point_width)
        self.point_proj = nn.Linear(point_width + 6 * POINT_OCTAVES, latent_dim)
        self.modality = nn.Parameter(0.02 * torch.randn(2, latent_dim))
        self.null_token = nn.Parameter(torch.randn(1, latent_dim))
        self.queries = nn.Parameter(torch.randn(num_queries, latent_dim))
        self.blocks = nn.ModuleList(FusionBlock(latent_dim, num_heads) for _ in range(num_layers))
        self.out = nn.Linear(num_queries * latent_dim, latent_dim)
        self.out_norm = nn.LayerNorm(latent_dim)

    def forward(
        self,
        text_embedding: Tensor,
        text_mask: Tensor,
        point_embedding: Tensor,
        points: Tensor,
        has_points: Tensor,
    ) -> tuple[Tensor, Tokens]:
        """The latent [b, d] and all tokens; absent modalities are masked out."""
        b, n = points.shape[:2]
        text = self.text_norm(self.text_proj(text_embedding)) + self.modality[0]
        frequencies = math.pi * 2.0 ** torch.arange(POINT_OCTAVES, device=points.device)
        angles = (points[..., None] * frequencies).flatten(2)
        point = torch.cat([self.point_norm(point_embedding), angles.sin(), angles.cos()], dim=-1)
        point = self.point_proj(point) + self.modality[1]
        null = self.null_token.expand(b, 1, -1)
        always = has_points.new_ones(b, 1)
        mask = torch.cat([always, text_mask, has_points[:, None].expand(b, n)], dim=1)
        tokens = Tokens(torch.cat([null, text, point], dim=1), mask)
        x = self.queries.expand(b, -1, -1)
        for block in self.blocks:
            x = block(x, tokens)
        return self.out_norm(self.out(x.flatten(1))), tokens
