"""The ornament head in PyTorch; mirrors `otuken_jax.models.ornament`."""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from otuken_jax.models.ornament import (
    BASIS,
    COEFFICIENT_SCALE,
    HARMONICS,
    NUM_CHART_FEATURES,
    PAINT_SHARPNESS,
    RELIEF_UNIT,
)


def chart_features(chart: Tensor) -> tuple[Tensor, Tensor]:
    """(sin pi u, cos pi u, v) [b, k, 3] -> features of u [b, k, 16] and of v [b, k, 17]."""
    norm = (chart[..., :2].square().sum(-1) + 1e-6).sqrt()
    around = torch.complex(chart[..., 1] / norm, chart[..., 0] / norm)
    powers = torch.cumprod(around[..., None].expand(*around.shape, HARMONICS), dim=-1)
    u = torch.stack([powers.imag, powers.real], dim=-1).flatten(-2)
    v = chart[..., 2:]
    angles = v * (0.5 * math.pi) * torch.arange(1, HARMONICS + 1, device=v.device)
    return u, torch.cat([v, angles.sin(), angles.cos()], dim=-1)


def chart_basis(u: Tensor, v: Tensor) -> Tensor:
    """Products of every feature of u, and 1, with every feature of v, and 1."""
    one = torch.ones_like(v[..., :1])
    u, v = torch.cat([one, u], dim=-1), torch.cat([one, v], dim=-1)
    return (u[..., :, None] * v[..., None, :]).flatten(-2)


class OrnamentHead(nn.Module):
    """A modulated MLP over chart features, plus a sum over a basis with the code's coefficients."""

    def __init__(self, code_dim: int, style_dim: int, width: int, num_layers: int):
        super().__init__()
        sizes = [NUM_CHART_FEATURES] + [width] * num_layers
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(sizes))
        self.film = nn.Linear(code_dim, 2 * width * num_layers)
        self.coefficients = nn.Linear(code_dim, math.prod(BASIS) * 2)
        self.out = nn.Linear(width, 2)
        self.palette = nn.Linear(style_dim, 3)

    def forward(self, chart: Tensor, code: Tensor, style: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Relief [b, k] in domain units, paint [b, k] and its colour [b, 3], both in 0..1."""
        u, v = chart_features(chart)
        x = torch.cat([u, v], dim=-1)
        film = self.film(code).unflatten(-1, (len(self.layers), 2, 1, -1))
        for i, layer in enumerate(self.layers):
            x = F.silu((1 + film[:, i, 0]) * layer(x) + film[:, i, 1])
        coefficients = COEFFICIENT_SCALE * self.coefficients(code)
        coefficients = coefficients.unflatten(-1, (math.prod(BASIS), 2))
        out = self.out(x) + chart_basis(u, v) @ coefficients
        height = out[..., 0].detach().abs()
        paint = (out[..., 1] + PAINT_SHARPNESS * (height - 0.5)).sigmoid()
        return RELIEF_UNIT * out[..., 0], paint, self.palette(style).sigmoid()


def top_voxels(score: Tensor, fraction: float) -> Tensor:
    """Flat indices [b, k] of the `fraction` of voxels with the highest score; lower ones first."""
    flat = score.flatten(1)
    order = flat.sort(dim=-1, descending=True, stable=True).indices
    return order[:, : int(fraction * flat.shape[1])]
