"""PointNet++ classifier, whose features Point-E's P-FID and P-IS are computed on.

Qi et al., "PointNet++: Deep Hierarchical Feature Learning on Point Sets in a Metric Space" (2017),
arXiv:1706.02413; single-scale grouping. Inference only: batch norm uses its stored statistics.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class PointNet2Config:
    """Sizes; the defaults are the published classifier's (ModelNet40, doubled width)."""

    num_classes: int = 40
    width_multiplier: int = 2


def farthest_points(
    points: Float[Array, "b n 3"], count: int, start: Int[Array, " b"]
) -> Int[Array, "b k"]:
    """Indices of farthest-point sampling from `start`; the lowest index wins a tie."""

    def body(carry: tuple[Array, Array], _):
        distances, last = carry
        chosen = jnp.take_along_axis(points, last[:, None, None], axis=1)
        distances = jnp.minimum(distances, jnp.sum((points - chosen) ** 2, axis=-1))
        return (distances, jnp.argmax(distances, axis=-1)), last

    distances = jnp.full(points.shape[:2], 1e10)
    _, indices = jax.lax.scan(body, (distances, start), length=count)
    return indices.T


def ball_neighbours(
    points: Float[Array, "b n 3"], centres: Float[Array, "b m 3"], radius: float, count: int
) -> Int[Array, "b m k"]:
    """The `count` lowest indices of points within `radius`, not the nearest ones.

    A short list is padded by repeating its first entry; every centre must have a neighbour.
    """
    distances = -2 * jnp.einsum("bmc,bnc->bmn", centres, points)
    distances += jnp.sum(centres**2, axis=-1)[:, :, None] + jnp.sum(points**2, axis=-1)[:, None]
    n = points.shape[1]
    indices = jnp.where(distances <= radius**2, jnp.arange(n), n)
    indices = jnp.sort(indices, axis=-1)[..., :count]
    return jnp.where(indices == n, indices[..., :1], indices)


class BatchNorm(nnx.Module):
    """Batch norm with stored statistics, computed in float32."""

    def __init__(self, features: int):
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))

    def __call__(self, x: Float[Array, "... c"]) -> Float[Array, "... c"]:
        gain = self.scale[...] * jax.lax.rsqrt(self.var[...] + EPSILON)
        return ((x - self.mean[...]) * gain + self.bias[...]).astype(x.dtype)


class SetAbstraction(nnx.Module):
    """Points and features around sampled centres -> one feature per centre, by a maximum.

    count: number of centres; None makes one group of everything, relative to the origin.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        *,
        count: int | None = None,
        radius: float = 0.0,
        neighbours: int = 0,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.count, self.radius, self.neighbours = count, radius, neighbours
        pairs = list(itertools.pairwise(channels))
        self.layers = nnx.List([nnx.Linear(i, o, dtype=dtype, rngs=rngs) for i, o in pairs])
        self.norms = nnx.List([BatchNorm(o) for _, o in pairs])

    def __call__(
        self,
        points: Float[Array, "b n 3"],
        features: Float[Array, "b n c"] | None,
        start: Int[Array, " b"],
    ) -> tuple[Float[Array, "b m 3"], Float[Array, "b m d"]]:
        if self.count is None:
            centres = jnp.zeros_like(points[:, :1])
            groups = points if features is None else jnp.concatenate([points, features], axis=-1)
            groups = groups[:, None]
        else:
            pick = jax.vmap(lambda values, index: values[index])
            centres = pick(points, farthest_points(points, self.count, start))
            index = ball_neighbours(points, centres, self.radius, self.neighbours)
            groups = pick(points, index) - centres[:, :, None]
            if features is not None:
                groups = jnp.concatenate([groups, pick(features, index)], axis=-1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            groups = jax.nn.relu(norm(layer(groups)))
        return centres, groups.max(axis=2)


class PointNet2(nnx.Module):
    """Classifier over point clouds that also gives the 512 features of P-FID.

    Parameters, distances and probabilities stay float32 whatever the `dtype` of the layers.
    """

    def __init__(self, config: PointNet2Config, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs):
        kind = {"dtype": dtype, "rngs": rngs}
        m = config.width_multiplier
        sa1, sa2, sa3 = (64, 64, 128), (128, 128, 256), (256, 512, 1024)
        sa1, sa2, sa3 = (tuple(m * c for c in sizes) for sizes in (sa1, sa2, sa3))
        self.sa1 = SetAbstraction((3, *sa1), count=512, radius=0.2, neighbours=32, **kind)
        self.sa2 = SetAbstraction((3 + sa1[-1], *sa2), count=128, radius=0.4, neighbours=64, **kind)
        self.sa3 = SetAbstraction((3 + sa2[-1], *sa3), **kind)
        self.fc1 = nnx.Linear(sa3[-1], 512 * m, **kind)
        self.norm1 = BatchNorm(512 * m)
        self.fc2 = nnx.Linear(512 * m, 256 * m, **kind)
        self.norm2 = BatchNorm(256 * m)
        self.fc3 = nnx.Linear(256 * m, config.num_classes, **kind)

    def __call__(
        self, points: Float[Array, "b n 3"], start: Int[Array, " b"] | None = None
    ) -> tuple[Float[Array, "b f"], Float[Array, "b k"]]:
        """Features (before the last ReLU) and log-probabilities of the classes.

        points: centred on their mean, largest radius 1; n >= 512. start: where farthest-point
        sampling begins; by default point i for cloud i of the batch, as the published evaluation
        has it, so that features depend slightly on a cloud's place in its batch. Give zeros where
        they must not.
        """
        if start is None:
            start = jnp.arange(points.shape[0])
        centres, features = self.sa1(points, None, start)
        centres, features = self.sa2(centres, features, start)
        _, features = self.sa3(centres, features, start)
        x = jax.nn.relu(self.norm1(self.fc1(features[:, 0])))
        x = self.norm2(self.fc2(x))
        return x, jax.nn.log_softmax(self.fc3(jax.nn.relu(x)).astype(jnp.float32))
