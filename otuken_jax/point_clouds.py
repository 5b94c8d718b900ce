"""Operations on coloured point clouds, and Point-E's mesh from its SDF model (NumPy, on the host).

Clouds here are in Point-E's raw units, the longest side about 1, with colours in 0..1.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from otuken_jax.models.point_e import PointESDF

SIDE_LENGTH = 1.02  # of the cube in which the surface is sought
BATCH_SIZE = 4096  # queries at a time


def split_cloud(
    cloud: Float[np.ndarray, "*b n 6"],
) -> tuple[Float[np.ndarray, "*b n 3"], Float[np.ndarray, "*b n 3"]]:
    """Coordinates, and colours from 0 to 1 in steps of 1/255, of what the sampler gives."""
    return cloud[..., :3], np.round(np.clip(cloud[..., 3:], 0, 255)) / np.float32(255)


def join_cloud(
    points: Float[np.ndarray, "*b n 3"], colors: Float[np.ndarray, "*b n 3"]
) -> Float[np.ndarray, "*b n 6"]:
    """The inverse of `split_cloud`: channels as Point-E's networks take them."""
    return np.concatenate([points, np.round(colors * 255)], axis=-1).astype(np.float32)


def _squared_distances(
    points: Float[np.ndarray, "n 3"], others: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, "n m"]:
    """|a|^2 + |b|^2 - 2ab: the rounding that the reference's choices rest on."""
    squares = (points**2).sum(-1)[:, None] + (others**2).sum(-1)[None]
    return squares - 2 * (points @ others.T)


def nearest_points(
    points: Float[np.ndarray, "n 3"], queries: Float[np.ndarray, "m 3"]
) -> Int[np.ndarray, " m"]:
    """Index of the nearest point for each query; the lowest index wins a tie."""
    return np.argmin(_squared_distances(points, queries), axis=0)


def farthest_points(
    points: Float[np.ndarray, "n 3"], count: int, start: int = 0
) -> Int[np.ndarray, " k"]:
    """Indices of `count` points by farthest-point sampling from `start`.

    Raises:
        ValueError: there are fewer than `count` points.
    """
    if count > len(points):
        raise ValueError(f"cannot take {count} of {len(points)} points")
    squares = (points**2).sum(-1)
    indices = [start]
    distances = np.full(len(points), np.inf, points.dtype)
    while len(indices) < count:
        last = indices[-1]
        step = squares + squares[last] - 2 * (points @ points[last])
        distances = np.minimum(distances, step)
        indices.append(int(np.argmax(distances)))
    return np.array(indices)


def average_neighbours(
    points: Float[np.ndarray, "n 3"], values: Float[np.ndarray, "n c"], kept: Int[np.ndarray, " k"]
) -> Float[np.ndarray, "k c"]:
    """Mean value over all points whose nearest kept point is each one."""
    owner = nearest_points(points[kept], points)
    owner[kept] = np.arange(len(kept))
    sums = np.zeros((len(kept), values.shape[1]))
    np.add.at(sums, owner, values)
    return (sums / np.bincount(owner, minlength=len(kept))[:, None]).astype(values.dtype)


def sdf_volume(
    model: PointESDF,
    points: Float[np.ndarray, "n 3"],
    *,
    grid_size: int = 32,
    side_length: float = SIDE_LENGTH,
) -> Float[np.ndarray, "g g g"]:
    """Point-E's field on a grid over a centred cube, indexed [x, y, z]; the sides are included."""
    axis = (np.arange(grid_size) * (side_length / (grid_size - 1)) - side_length / 2).astype("f4")
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    filled = np.concatenate([grid, np.zeros((-len(grid) % BATCH_SIZE, 3), np.float32)])
    queries = jnp.asarray(filled.reshape(-1, 1, BATCH_SIZE, 3))
    graphdef, state = nnx.split(model)
    values = _evaluate(graphdef, state, jnp.asarray(points, jnp.float32)[None], queries)
    return np.asarray(values, np.float32).ravel()[: len(grid)].reshape((grid_size,) * 3)


@partial(jax.jit, static_argnums=0)
def _evaluate(
    graphdef, state, points: Float[Array, "1 n 3"], queries: Float[Array, "s 1 m 3"]
) -> Float[Array, "s 1 m"]:
    model = nnx.merge(graphdef, state)
    latents = model.encoder(points)
    return jax.lax.map(lambda batch: model.decode(latents, batch), queries)


def volume_to_mesh(
    volume: Float[np.ndarray, "g g g"], *, side_length: float = SIDE_LENGTH
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"], Float[np.ndarray, "v 3"]]:
    """Vertices, faces and normals of the zero level as Point-E extracts it; may be open.

    A field of one sign has its mean removed first. Faces wind outward where the field is positive
    inside. For closed meshes of this project's own field see `geometry.mesh_io.field_to_mesh`.
    """
    from skimage.measure import marching_cubes

    if (volume > 0).all() or (volume < 0).all():
        volume = volume - volume.mean()
    spacing = side_length / (volume.shape[0] - 1)
    vertices, faces, normals, _ = marching_cubes(
        volume, level=0.0, allow_degenerate=False, spacing=(spacing,) * 3
    )
    return vertices - side_length / 2, faces[:, [1, 0, 2]], normals


def encode_cloud_ply(points: Float[np.ndarray, "n 3"], colors: Float[np.ndarray, "n 3"]) -> bytes:
    """Binary little-endian PLY of a coloured cloud, byte for byte as Point-E writes it."""
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    header += [f"property float {axis}" for axis in "xyz"]
    header += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
    records = np.zeros(len(points), [("position", "<f4", 3), ("color", "u1", 3)])
    records["position"], records["color"] = points, np.round(colors * 255.499)
    return "\n".join([*header, "end_header", ""]).encode("ascii") + records.tobytes()
