"""Point-E in PyTorch, with the published state dict names; mirrors `otuken_jax.models.point_e`."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from otuken_jax.models.point_e import (
    CHANNEL_BIASES,
    CHANNEL_SCALES,
    CHANNELS,
    PointDiffusionConfig,
    PointEEncoderConfig,
    PointESDFConfig,
)


class MLP(nn.Module):
    """width -> 4 width -> width with the exact GELU."""

    def __init__(self, width: int):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


class SelfAttention(nn.Module):
    """Fused self-attention; the rows of `c_qkv` are ordered head by head, each [q | k | v]."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.c_qkv = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.c_qkv(x).unflatten(-1, (self.heads, -1)).transpose(1, 2).chunk(3, dim=-1)
        return self.c_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Attention from x to data; the rows of `c_kv` are ordered head by head, each [k | v]."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.c_q = nn.Linear(width, width)
        self.c_kv = nn.Linear(width, 2 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, data: Tensor) -> Tensor:
        q = self.c_q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.c_kv(data).unflatten(-1, (self.heads, -1)).transpose(1, 2).chunk(2, dim=-1)
        return self.c_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-norm self-attention block."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attn = SelfAttention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = MLP(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class CrossBlock(nn.Module):
    """Pre-norm block whose queries read `data`."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attn = CrossAttention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = MLP(width)
        self.ln_3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, data: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x), self.ln_2(data))
        return x + self.mlp(self.ln_3(x))


class Transformer(nn.Module):
    """A stack of blocks under the published name `resblocks`."""

    def __init__(self, block: type[nn.Module], width: int, layers: int, heads: int):
        super().__init__()
        self.resblocks = nn.ModuleList([block(width, heads) for _ in range(layers)])

    def forward(self, x: Tensor, *data: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x, *data)
        return x


class PointEEncoder(nn.Module):
    """Coordinates [b, n, 3] to one token per point [b, n, width]."""

    def __init__(self, config: PointEEncoderConfig):
        super().__init__()
        self.encoder_input_proj = nn.Linear(3, config.width)
        self.encoder = Transformer(Block, config.width, config.layers, config.heads)

    def forward(self, points: Tensor) -> Tensor:
        return self.encoder(self.encoder_input_proj(points))


class PointESDF(nn.Module):
    """Point cloud encoder and its signed distance decoder."""

    def __init__(self, config: PointESDFConfig):
        super().__init__()
        width = config.width
        self.encoder_input_proj = nn.Linear(3, width)
        self.encoder = Transformer(Block, width, config.encoder_layers, config.encoder_heads)
        self.decoder_input_proj = nn.Linear(3, width)
        self.decoder = Transformer(CrossBlock, width, config.decoder_layers, config.decoder_heads)
        self.ln_post = nn.LayerNorm(width)
        self.output_proj = nn.Linear(width, 1)

    def encode(self, points: Tensor) -> Tensor:
        return self.encoder(self.encoder_input_proj(points))

    def decode(self, latents: Tensor, queries: Tensor) -> Tensor:
        x = self.decoder(self.decoder_input_proj(queries), latents)
        return self.output_proj(self.ln_post(x))[..., 0]

    def forward(self, points: Tensor, queries: Tensor) -> Tensor:
        return self.decode(self.encode(points), queries)


def timestep_embedding(t: Tensor, dim: int) -> Tensor:
    """[cos | sin] of t times 10000^(-j / half); an odd dim ends in a zero."""
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t.float()[:, None] * torch.exp(-math.log(10000.0) * steps / half)
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=-1), (0, dim % 2))


class PointDiffusionTransformer(nn.Module):
    """Noise and variance of a noisy point cloud at a step; all published variants."""

    def __init__(self, config: PointDiffusionConfig):
        super().__init__()
        self.config = config
        width = config.width
        if config.low_res:
            self.register_buffer("channel_scales", torch.tensor(CHANNEL_SCALES))
            self.register_buffer("channel_biases", torch.tensor(CHANNEL_BIASES))
            self.cond_point_proj = nn.Linear(CHANNELS, width)
        self.time_embed = MLP(width)
        self.ln_pre = nn.LayerNorm(width)
        self.backbone = Transformer(Block, width, config.layers, config.heads)
        self.ln_post = nn.LayerNorm(width)
        self.input_proj = nn.Linear(CHANNELS, width)
        self.output_proj = nn.Linear(width, 2 * CHANNELS)
        if config.condition == "vector":
            self.clip_embed = nn.Linear(config.condition_dim, width)
        elif config.condition == "grid":
            norm = nn.LayerNorm(config.condition_dim)
            self.clip_embed = nn.Sequential(norm, nn.Linear(config.condition_dim, width))

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        embedding: Tensor | None = None,
        low_res: Tensor | None = None,
    ) -> Tensor:
        config = self.config
        h = self.input_proj(x)
        time = self.time_embed(timestep_embedding(t, config.width))[:, None]
        prefix = []
        if config.time_token:
            prefix.append(time)
        else:
            h = h + time
        if config.condition != "none" and embedding is None:
            embedding = x.new_zeros(x.shape[0], *config.embedding_shape)
        if config.condition == "grid":
            prefix.append(self.clip_embed(embedding))
        elif config.condition == "vector":
            token = self.clip_embed(embedding * math.sqrt(config.condition_dim))[:, None]
            if config.condition_token:
                prefix.insert(0, token)
            else:
                h = h + token
        if config.low_res:
            prefix.append(self.cond_point_proj(low_res * self.channel_scales + self.channel_biases))
        h = self.backbone(self.ln_pre(torch.cat([*prefix, h], dim=1)))
        return self.output_proj(self.ln_post(h)[:, -x.shape[1] :])
