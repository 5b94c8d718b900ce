"""PointNet++ in PyTorch under the published names; mirrors `otuken_jax.models.pointnet2`."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from otuken_jax.models.pointnet2 import PointNet2Config


def farthest_points(points: Tensor, count: int, start: Tensor) -> Tensor:
    distances = torch.full(points.shape[:2], 1e10)
    rows, chosen, indices = torch.arange(len(points)), start, []
    for _ in range(count):
        indices.append(chosen)
        step = (points - points[rows, chosen][:, None]).square().sum(-1)
        distances = torch.minimum(distances, step)
        chosen = distances.argmax(-1)
    return torch.stack(indices, dim=1)


def ball_neighbours(points: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    distances = -2 * centres @ points.transpose(1, 2)
    distances += centres.square().sum(-1)[:, :, None] + points.square().sum(-1)[:, None]
    n = points.shape[1]
    indices = torch.arange(n).expand_as(distances).masked_fill(distances > radius**2, n)
    indices = indices.sort(dim=-1).values[..., :count]
    return torch.where(indices == n, indices[..., :1], indices)


def pick(values: Tensor, index: Tensor) -> Tensor:
    """values[b, index[b]] for each b."""
    flat = index.flatten(1)
    rows = torch.arange(len(values))[:, None]
    return values[rows, flat].unflatten(1, index.shape[1:])


class SetAbstraction(nn.Module):
    """Points and features around sampled centres -> one feature per centre."""

    def __init__(self, channels, count=None, radius=0.0, neighbours=0):
        super().__init__()
        self.count, self.radius, self.neighbours = count, radius, neighbours
        pairs = list(itertools.pairwise(channels))
        self.mlp_convs = nn.ModuleList([nn.Conv2d(i, o, 1) for i, o in pairs])
        self.mlp_bns = nn.ModuleList([nn.BatchNorm2d(o) for _, o in pairs])

    def forward(self, points: Tensor, features: Tensor | None, start: Tensor):
        if self.count is None:
            centres = torch.zeros_like(points[:, :1])
            groups = torch.cat([points, features], dim=-1)[:, None]
        else:
            centres = pick(points, farthest_points(points, self.count, start))
            index = ball_neighbours(points, centres, self.radius, self.neighbours)
            groups = pick(points, index) - centres[:, :, None]
            if features is not None:
                groups = torch.cat([groups, pick(features, index)], dim=-1)
        groups = groups.permute(0, 3, 1, 2)
        for conv, norm in zip(self.mlp_convs, self.mlp_bns, strict=True):
            groups = F.relu(norm(conv(groups)))
        return centres, groups.amax(dim=3).transpose(1, 2)


class PointNet2(nn.Module):
    """Classifier over point clouds that also gives the features of P-FID."""

    def __init__(self, config: PointNet2Config):
        super().__init__()
        m = config.width_multiplier
        self.sa1 = SetAbstraction((3, 64 * m, 64 * m, 128 * m), 512, 0.2, 32)
        self.sa2 = SetAbstraction((3 + 128 * m, 128 * m, 128 * m, 256 * m), 128, 0.4, 64)
        self.sa3 = SetAbstraction((3 + 256 * m, 256 * m, 512 * m, 1024 * m))
        self.fc1 = nn.Linear(1024 * m, 512 * m)
        self.bn1 = nn.BatchNorm1d(512 * m)
        self.fc2 = nn.Linear(512 * m, 256 * m)
        self.bn2 = nn.BatchNorm1d(256 * m)
        self.fc3 = nn.Linear(256 * m, config.num_classes)

    def forward(self, points: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if start is None:
            start = torch.arange(len(points))
        centres, features = self.sa1(points, None, start)
        centres, features = self.sa2(centres, features, start)
        _, features = self.sa3(centres, features, start)
        x = F.relu(self.bn1(self.fc1(features[:, 0])))
        x = self.bn2(self.fc2(x))
        return x, F.log_softmax(self.fc3(F.relu(x)), dim=-1)
