"""Chamfer distance between batches of point clouds, with every option of PyTorch3D's.

Fan et al., "A Point Set Generation Network" (2017), arXiv:1612.00603; values and gradients as in
PyTorch3D 0.7.9's `chamfer_distance`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from otuken_jax.geometry.neighbours import nearest_index
from otuken_jax.geometry.vectors import unit

MIN_NORMAL = 1e-6  # shorter normals are divided by this, not by their length

Loss = Array | tuple[Array, Array]


class _Cloud(NamedTuple):
    points: Float[Array, "b n d"]
    mask: Bool[Array, "b n"]
    normals: Float[Array, "b n 3"] | None


def chamfer_distance(
    x: Float[Array, "b n d"],
    y: Float[Array, "b m d"],
    x_lengths: Int[Array, " b"] | None = None,
    y_lengths: Int[Array, " b"] | None = None,
    x_normals: Float[Array, "b n 3"] | None = None,
    y_normals: Float[Array, "b m 3"] | None = None,
    weights: Float[Array, " b"] | None = None,
    batch_reduction: str | None = "mean",
    point_reduction: str | None = "mean",
    norm: int = 2,
    single_directional: bool = False,
    abs_cosine: bool = True,
) -> tuple[Loss, Loss | None]:
    """Distances from each point to the nearest of the other cloud, x to y plus y to x.

    Memory is O(b (n + m)), forwards and backwards; the gradient goes through the chosen pairs only.

    Args:
        x_lengths, y_lengths: true number of points of each cloud; the rest is padding.
        x_normals, y_normals: if both are given, the second result is reduced like the first from
            1 - |cos| of each point's normal and its neighbour's.
        weights: of the clouds; the batch mean is then divided by their sum.
        batch_reduction: "mean", "sum" or None (one value per cloud).
        point_reduction: "mean" over true points, "sum", "max" (the larger of both directions,
            without normals), or None, which needs batch_reduction None and gives (x's terms [b, n],
            y's terms [b, m]), 0 at padding.
        norm: 2 for the squared Euclidean distance (no root), 1 for the sum of |differences|. At
            equal coordinates the slope of norm 1 is -1 for the cloud that looks for neighbours.
        single_directional: only x to y.
        abs_cosine: False for 1 - cos, which tells opposite normals apart.

    Returns:
        The loss, and that of the normals, None without them. For weights that are all 0 PyTorch3D
        has other shapes, and a second result even without normals; here only the values become 0.

    Raises:
        ValueError: shapes that do not fit, an unknown or impossible choice, or negative weights
            (their values are unknown, and so not checked, inside `jax.jit`).
    """
    _check_choices(batch_reduction, point_reduction, norm, x_normals, y_normals)
    _check_shapes(x, y, weights)
    both_normals = x_normals is not None and y_normals is not None
    a = _cloud("x", x, x_lengths, x_normals if both_normals else None)
    b = _cloud("y", y, y_lengths, y_normals if both_normals else None)
    weights = None if weights is None else jnp.asarray(weights)
    directions = [(a, b)] if single_directional else [(a, b), (b, a)]
    terms = [_terms(source, target, norm, abs_cosine) for source, target in directions]
    distances, cosines = zip(*terms, strict=True)

    def reduced(values: tuple[Array, ...]) -> Loss:
        if weights is not None:
            values = tuple(v * weights[:, None] for v in values)
        masks = [source.mask for source, _ in directions]
        clouds = [_reduce_points(v, m, point_reduction) for v, m in zip(values, masks, strict=True)]
        if point_reduction is None:
            return clouds[0] if single_directional else tuple(clouds)
        together = jnp.maximum if point_reduction == "max" else jnp.add
        total = clouds[0] if single_directional else together(*clouds)
        return _reduce_batch(total, weights, batch_reduction)

    return reduced(distances), reduced(cosines) if both_normals else None


def _check_choices(batch_reduction, point_reduction, norm, x_normals, y_normals) -> None:
    if batch_reduction not in ("mean", "sum", None):
        raise ValueError(f'batch_reduction is "mean", "sum" or None, not {batch_reduction!r}')
    if point_reduction not in ("mean", "sum", "max", None):
        raise ValueError(f'point_reduction is "mean", "sum", "max" or None: {point_reduction!r}')
    if point_reduction is None and batch_reduction is not None:
        raise ValueError("point_reduction None keeps every point: set batch_reduction to None too")
    if norm not in (1, 2):
        raise ValueError(f"norm is 1 or 2, not {norm}")
    if point_reduction == "max" and not (x_normals is None and y_normals is None):
        raise ValueError('point_reduction "max" takes no normals')


def _check_shapes(x: Array, y: Array, weights: ArrayLike | None) -> None:
    if x.ndim != 3 or y.ndim != 3 or x.shape[::2] != y.shape[::2]:
        raise ValueError(
            f"clouds of shapes {x.shape} and {y.shape} are not [b, n, d] and [b, m, d]"
        )
    if weights is None:
        return
    if jnp.shape(weights) != x.shape[:1]:
        raise ValueError(f"weights of shape {jnp.shape(weights)} for {x.shape[0]} clouds")
    if not isinstance(weights, jax.core.Tracer) and (np.asarray(weights) < 0).any():
        raise ValueError("weights cannot be negative")


def _cloud(name: str, points: Array, lengths: Array | None, normals: Array | None) -> _Cloud:
    if normals is not None and normals.shape[:2] != points.shape[:2]:
        raise ValueError(f"{name}_normals of shape {normals.shape} for points {points.shape}")
    if lengths is None:
        lengths = jnp.full(points.shape[0], points.shape[1])
    if jnp.shape(lengths) != points.shape[:1]:
        raise ValueError(
            f"{name}_lengths of shape {jnp.shape(lengths)} for {points.shape[0]} clouds"
        )
    mask = jnp.arange(points.shape[1]) < jnp.asarray(lengths)[:, None]
    dtype = jnp.promote_types(points.dtype, jnp.float32)  # near points differ in the last bits
    normals = None if normals is None else normals.astype(dtype)
    return _Cloud(points.astype(dtype), mask, normals)


def _terms(
    x: _Cloud, y: _Cloud, norm: int, abs_cosine: bool
) -> tuple[Float[Array, "b n"], Float[Array, "b n"] | None]:
    """Distance and normal term of each point of x; 0 at padding."""
    if y.points.shape[1] == 0:
        zero = jnp.zeros(x.mask.shape, x.points.dtype)
        return zero, None if x.normals is None else x.mask.astype(zero.dtype)
    index = nearest_index(x.points, y.points, y.mask, norm)
    gather = jax.vmap(lambda rows, i: rows[i])
    difference = x.points - gather(y.points, index)
    if norm == 2:
        distance = jnp.sum(jnp.square(difference), axis=-1)
    else:
        distance = jnp.sum(jnp.where(difference > 0, difference, -difference), axis=-1)
    reachable = y.mask.any(axis=1)[:, None]
    distance = jnp.where(x.mask & reachable, distance, 0.0)
    if x.normals is None:
        return distance, None
    pairs = unit(x.normals, MIN_NORMAL) * unit(gather(y.normals, index), MIN_NORMAL)
    cosine = jnp.where(reachable, jnp.sum(pairs, axis=-1), 0.0)
    return distance, jnp.where(x.mask, 1 - (jnp.abs(cosine) if abs_cosine else cosine), 0.0)


def _reduce_points(
    values: Float[Array, "b n"], mask: Bool[Array, "b n"], reduction: str | None
) -> Float[Array, " b *n"]:
    if reduction is None:
        return values
    if reduction == "max":
        return jnp.max(values, axis=1)
    total = jnp.sum(values, axis=1)
    return total / jnp.maximum(jnp.sum(mask, axis=1), 1) if reduction == "mean" else total


def _reduce_batch(
    values: Float[Array, " b"], weights: Float[Array, " b"] | None, reduction: str | None
) -> Float[Array, "*b"]:
    if reduction is None:
        return values
    total = jnp.sum(values)
    if reduction == "sum":
        return total
    if weights is None:
        return total / max(len(values), 1)
    divisor = jnp.sum(weights)
    # All weights 0: every term is 0 as well, and 0 / 1 keeps the mean a number.
    return total / jnp.where(divisor == 0, 1.0, divisor)
