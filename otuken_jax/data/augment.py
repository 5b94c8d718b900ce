"""Augmentation on the device: rotation about z, uniform scale, and the change of resolution.

All volumes of a batch go through one trilinear resampling, which also gives the lower resolutions
of progressive growing. Rotation and scale are drawn per sample and capped so that the shape stays
inside the domain; the decoder is told them as `pose`.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int8, Key, Shaped

from otuken_jax.conventions import TRUNCATION_VOXELS, voxel_size
from otuken_jax.data.records import LEVELS, distance_step

JITTER_RESOLUTION = 32  # jitter_strength is given in voxels of this grid
MARGIN = 0.25  # voxels that a shape keeps from the domain's border
NEAR = 2.0  # voxels from the surface over which fewer points are drawn, by a factor e
ANGLE_STEPS = 8  # a rotation that does not fit is shortened in eighths
# sin and cos of pi u by the int8 code of u, from -128: looking them up is ten times faster on a
# CPU than computing them.
_CIRCLE = np.pi * np.arange(-128, 128) / LEVELS
_SIN, _COS = np.sin(_CIRCLE).astype(np.float32), np.cos(_CIRCLE).astype(np.float32)


def augment(
    batch: dict[str, Shaped[Array, "..."] | Shaped[np.ndarray, "..."]],
    key: Key[Array, ""],
    resolution: int,
    *,
    rotation_range: float,
    scale_range: tuple[float, float],
    jitter_strength: float,
) -> dict[str, Shaped[Array, "..."]]:
    """A batch of records turned, scaled and resampled to `resolution`.

    Args:
        batch: sdf, host_sdf, band, u, v int8 [B, R, R, R]; points, normals [B, P, 3]; others are
            passed on as they are.
        key: sample i uses fold_in(key, i).
        resolution: r, cells along a side of the result.
        rotation_range: largest angle about z, in degrees, either way.
        scale_range: smallest and largest scale, drawn evenly in the logarithm.
        jitter_strength: standard deviation of noise on the points, in voxels of a 32^3 grid.

    Returns:
        sdf, host_sdf (domain units) and band float32 [B, r, r, r], chart float32 [B, r, r, r, 3]
        (sin pi u, cos pi u, v), points, normals, pose [B, 2] (angle in radians, log scale). With
        ranges of zero and r = R these are the stored values, exactly.
    """
    sdf = jnp.asarray(batch["sdf"])
    keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i), 3))(
        jnp.arange(sdf.shape[0])
    )
    unit = jax.vmap(jax.random.uniform)
    angle = math.radians(rotation_range) * (2 * unit(keys[:, 0]) - 1)
    low, high = (math.log(s) for s in scale_range)
    scale = jnp.exp(low + (high - low) * unit(keys[:, 1]))
    angle, scale = _fit(sdf, angle, scale, scale_range[0])

    volumes = {name: jnp.asarray(batch[name]) for name in ("sdf", "host_sdf", "band", "u", "v")}
    fields, chart = _resample(volumes, angle, scale, resolution)
    turn = _rotation(angle)
    points = jnp.einsum("bpi,bji->bpj", batch["points"], turn, precision="highest")
    points = scale[:, None, None] * points
    if jitter_strength:  # the noise takes long to compile, and validation has none
        noise = jax.vmap(lambda k: jax.random.normal(k, points.shape[1:]))(keys[:, 2])
        points = points + jitter_strength * voxel_size(JITTER_RESOLUTION) * noise
    augmented = {
        **fields,
        "chart": chart,
        "points": points,
        "normals": jnp.einsum("bpi,bji->bpj", batch["normals"], turn, precision="highest"),
        "pose": jnp.stack([angle, jnp.log(scale)], axis=1),
    }
    rest = {k: jnp.asarray(v) for k, v in batch.items() if k not in (*volumes, *augmented)}
    return augmented | rest


class OrnamentPoints(NamedTuple):
    """True charts near the surface of the band, and how high the ornament stands there."""

    chart: Float[Array, "b k 3"]  # sin pi u, cos pi u, v
    height: Float[Array, "b k"]  # over the plain surface, domain units
    known: Bool[Array, " b"]  # False: the sample has no band


def ornament_points(
    batch: dict[str, Shaped[Array, "..."] | Shaped[np.ndarray, "..."]],
    key: Key[Array, ""],
    count: int,
) -> OrnamentPoints:
    """Draws stored voxels, as they are: more of them the nearer to the plain surface.

    `batch` holds sdf, host_sdf, band, u, v int8 [B, R, R, R] and has_chart [B].
    """
    b, size = batch["sdf"].shape[:2]
    codes = {
        name: jnp.asarray(batch[name]).reshape(b, -1)
        for name in ("sdf", "host_sdf", "band", "u", "v")
    }
    voxels = TRUNCATION_VOXELS / LEVELS  # of one int8 step
    away = jnp.abs(codes["host_sdf"].astype(jnp.float32)) * voxels
    weight = jnp.cumsum(codes["band"] * jnp.exp(-away / NEAR), axis=1)
    draws = weight[:, -1:] * jax.random.uniform(key, (b, count))
    index = jax.vmap(functools.partial(jnp.searchsorted, side="right"))(weight, draws)
    index = jnp.minimum(index, size**3 - 1)  # where rounding led beyond the last voxel
    at = {n: jnp.take_along_axis(x, index, 1).astype(jnp.int32) for n, x in codes.items()}
    code = at["u"] + 128
    return OrnamentPoints(
        jnp.stack([jnp.asarray(_SIN)[code], jnp.asarray(_COS)[code], at["v"] / LEVELS], axis=-1),
        (at["host_sdf"] - at["sdf"]) * distance_step(size),
        jnp.asarray(batch["has_chart"]) & (weight[:, -1] > 0),
    )


def _rotation(angle: Float[Array, "*b"]) -> Float[Array, "*b 3 3"]:
    """Rotation matrices about z: turned = matrix @ point."""
    c, s, zero = jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(angle)
    rows = [[c, -s, zero], [s, c, zero], [zero, zero, zero + 1]]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def _fit(
    sdf: Int8[Array, "b x y z"],
    angle: Float[Array, " b"],
    scale: Float[Array, " b"],
    smallest: float,
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Angle and scale, reduced where the shape would leave the domain.

    The angle is shortened until the shape fits at the smallest scale, then the scale is lowered.
    How far a shape reaches in direction n is the largest n . x - sdf(x) over cells x.
    """
    size = sdf.shape[1]
    limit = size / 2 - MARGIN  # all in voxels from the centre
    t = jnp.arange(size) + 0.5 - size / 2
    voxels = TRUNCATION_VOXELS / LEVELS  # of one int8 step

    def reach(along: Array, nearest: Array) -> Array:
        near = nearest * voxels
        # Farther out a field that is not quite a distance would mislead.
        return jnp.where(near < 1.5, along - near, 0).max(axis=-1)

    steps = jnp.arange(ANGLE_STEPS, -1, -1) / ANGLE_STEPS
    candidates = angle[:, None] * steps  # [b, k], the whole angle first
    plane = jnp.stack(jnp.meshgrid(t, t, indexing="ij")).reshape(2, -1)
    turned = jnp.einsum(
        "bkij,jn->bkin", _rotation(candidates)[..., :2, :2], plane, precision="highest"
    )
    columns = sdf.min(axis=3).reshape(-1, 1, size * size)
    across = reach(jnp.abs(turned).max(axis=2), columns)
    upright = reach(jnp.abs(t), sdf.min(axis=(1, 2)))
    extent = jnp.maximum(jnp.maximum(across, upright[:, None]), 1)

    fits = (extent * smallest <= limit) | (steps == 0)
    chosen = jnp.argmax(fits, axis=1)[:, None]
    angle = jnp.take_along_axis(candidates, chosen, axis=1)[:, 0]
    extent = jnp.take_along_axis(extent, chosen, axis=1)[:, 0]
    return angle, jnp.maximum(jnp.minimum(scale, limit / extent), smallest)


def _resample(
    volumes: dict[str, Int8[Array, "b x y z"]],
    angle: Float[Array, " b"],
    scale: Float[Array, " b"],
    resolution: int,
) -> tuple[dict[str, Float[Array, "b r r r"]], Float[Array, "b r r r 3"]]:
    """Fields and chart on the turned and scaled grid.

    Trilinear interpolation is bilinear in the x-y plane, where the grid turns, times linear along
    z: whole z columns of all volumes are gathered four times, then multiplied by a matrix of z
    weights. On a CPU this is several times faster than gathering single voxels eight times.
    """
    size = volumes["sdf"].shape[1]
    code = volumes["u"].astype(jnp.int32) + 128
    sdf, host, band, v = (
        volumes[name].astype(jnp.float32) for name in ("sdf", "host_sdf", "band", "v")
    )
    columns = jnp.stack([sdf, host, band, v, jnp.asarray(_SIN)[code], jnp.asarray(_COS)[code]], 3)
    columns = columns.reshape(-1, size * size, 6 * size)

    # Where the result's cells come from, in voxels of the source; exact at identity.
    t = (jnp.arange(resolution) + 0.5 - resolution / 2) * (size / resolution)
    plane = jnp.stack(jnp.meshgrid(t, t, indexing="ij"), axis=-1).reshape(-1, 2)
    back = _rotation(angle)[:, :2, :2] / scale[:, None, None]  # row vector @ matrix turns back
    source = jnp.einsum("pi,bij->bpj", plane, back, precision="highest") + (size / 2 - 0.5)
    corner = jnp.clip(jnp.floor(source), 0, size - 2)
    wx, wy = jnp.moveaxis(jnp.clip(source - corner, 0, 1), -1, 0)[..., None]
    index = (corner[..., 0] * size + corner[..., 1]).astype(jnp.int32)
    take = jax.vmap(lambda column, i: column.at[i].get(mode="promise_in_bounds"))
    near = take(columns, index) * (1 - wy) + take(columns, index + 1) * wy
    far = take(columns, index + size) * (1 - wy) + take(columns, index + size + 1) * wy
    columns = (near * (1 - wx) + far * wx).reshape(-1, resolution**2, 6, size)

    z = t / scale[:, None] + (size / 2 - 0.5)
    weights = jnp.clip(z, 0, size - 1)[..., None] - jnp.arange(size)
    weights = jnp.maximum(1 - jnp.abs(weights), 0)
    values = jnp.einsum("bpcz,bkz->bpck", columns, weights, precision="highest")
    values = values.reshape(-1, resolution, resolution, 6, resolution)
    sdf, host, band, v, sin, cos = (values[:, :, :, i] for i in range(6))
    # Cells from beyond the source grid are as much farther from the shape.
    xy = jnp.sum((source - jnp.clip(source, 0, size - 1)) ** 2, axis=-1)[..., None]
    beyond = jnp.sqrt(xy + ((z - jnp.clip(z, 0, size - 1)) ** 2)[:, None])
    beyond = beyond.reshape(sdf.shape) * (scale * voxel_size(size))[:, None, None, None]
    unit = distance_step(size) * scale[:, None, None, None]  # distances scale with the shape
    fields = {
        "sdf": sdf * unit + beyond,
        "host_sdf": host * unit + beyond,
        "band": band * (1 / LEVELS),
    }
    radius = jnp.sqrt(jnp.maximum(sin**2 + cos**2, 1e-12))
    return fields, jnp.stack([sin / radius, cos / radius, v * (1 / LEVELS)], axis=-1)
