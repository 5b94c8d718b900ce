"""Layers of the trainable part in PyTorch; mirrors `otuken_jax.models.layers`.

Features of positions are written as what they mean, sines of multiples, where the Flax module uses
recurrences: a mistake there would show.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from otuken_jax.conventions import voxel_centers
from otuken_jax.models.layers import ANGULAR_HARMONICS, OCTAVES


class MLP(nn.Module):
    """Linear -> GELU -> Linear."""

    def __init__(self, in_features: int, hidden: int, out_features: int):
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden)
        self.fc2 = nn.Linear(hidden, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class CrossAttention(nn.Module):
    """Queries [b, q, d] attend to a context [b, k, c] where `mask` [b, k] is true."""

    def __init__(self, width: int, context_width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context_width, width)
        self.value = nn.Linear(context_width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            y.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for y in (self.query(x), self.key(context), self.value(context))
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        return self.out(y.transpose(1, 2).flatten(2))


class AdaIN(nn.Module):
    """(1 + gamma(w)) * normalised x + beta(w), statistics per channel or group of channels."""

    def __init__(self, channels: int, style_dim: int, num_groups: int | None):
        super().__init__()
        self.num_groups = num_groups or channels
        self.affine = nn.Linear(style_dim, 2 * channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        normed = F.group_norm(channels_first(x), self.num_groups, eps=1e-5)
        gamma, beta = self.affine(w)[:, None, None, None].chunk(2, dim=-1)
        return (1 + gamma) * channels_last(normed) + beta


def channels_first(x: Tensor) -> Tensor:
    """[b, x, y, z, c] -> [b, c, x, y, z]"""
    return x.permute(0, 4, 1, 2, 3)


def channels_last(x: Tensor) -> Tensor:
    """[b, c, x, y, z] -> [b, x, y, z, c]"""
    return x.permute(0, 2, 3, 4, 1)


def resize_volume(x: Tensor, resolution: int) -> Tensor:
    """Trilinear resampling of [b, x, y, z] or [b, x, y, z, c] that keeps cell centres."""
    if x.ndim == 4:
        return resize_volume(x[..., None], resolution)[..., 0]
    size = (resolution,) * 3
    y = F.interpolate(channels_first(x), size, mode="trilinear", align_corners=False)
    return channels_last(y)


def depth_to_space(x: Tensor) -> Tensor:
    """[b, x, y, z, 8c] -> [b, 2x, 2y, 2z, c]; sub-voxel (i, j, k) is slowest in the channels."""
    x = x.unflatten(-1, (2, 2, 2, -1)).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.flatten(5, 6).flatten(3, 4).flatten(1, 2)


def fourier_positions(pose: Tensor, resolution: int) -> Tensor:
    """Features [b, r, r, r, f] of each voxel centre in the frame that `pose` [b, 2] turns."""
    c = torch.from_numpy(voxel_centers(resolution)).to(pose)
    gx, gy, gz = torch.meshgrid(c, c, c, indexing="ij")
    angle, scale = pose[:, 0, None, None, None], pose[:, 1, None, None, None].exp()
    cos, sin = angle.cos(), angle.sin()
    x, y, z = (cos * gx + sin * gy) / scale, (cos * gy - sin * gx) / scale, gz / scale
    r = (x**2 + y**2 + 1e-6).sqrt()
    base = torch.stack([x, y, z.expand_as(x), r], dim=-1)
    features = [base]
    for octave in range(OCTAVES):
        angles = math.pi * 2**octave * base
        features += [angles.sin(), angles.cos()]
    around = torch.complex(x / r, y / r)
    powers = [around**n for n in range(1, ANGULAR_HARMONICS + 1)]
    harmonics = torch.stack([part for p in powers for part in (p.imag, p.real)], dim=-1)
    return torch.cat([*features, torch.tanh(8 * r)[..., None] * harmonics], dim=-1)
