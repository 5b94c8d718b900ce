"""Random points on the surfaces of meshes, differentiable in the vertices."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from otuken_jax.geometry.meshes import Meshes
from otuken_jax.geometry.vectors import length, triangle_normals, unit

MIN_NORMAL = 2.2e-16  # the reference's floor: twice the area of a triangle with sides of 1e-8


def sample_points_from_meshes(
    meshes: Meshes, num_samples: int, key: Array
) -> tuple[Float[Array, "n s 3"], Float[Array, "n s 3"]]:
    """Points uniform by area on each mesh, and the unit normals of their faces.

    The draws are constants for the gradient: a point moves with the corners of its face, as in
    PyTorch3D. An empty mesh gives zeros; a mesh whose faces all have no area is drawn from evenly
    by face.

    Raises:
        ValueError: all meshes are empty, or one has vertices that are not finite. Inside `jax.jit`
            values are unknown: an empty batch then gives zeros, such a mesh NaN.
    """
    areas = face_areas(meshes)
    total = jnp.sum(areas, axis=-1)
    if not isinstance(total, jax.core.Tracer):
        if not np.asarray(meshes.faces_mask).any():
            raise ValueError("no mesh has a face to sample points on")
        if not np.isfinite(total).all():
            raise ValueError("cannot sample points on a mesh whose vertices are not finite")
    face_key, *point_keys = jax.random.split(key, 3)
    shape = (areas.shape[0], num_samples)
    face_index = draw_faces(meshes, areas, jax.random.uniform(face_key, shape))
    u, v = (jax.random.uniform(k, shape) for k in point_keys)
    points, normals = points_on_faces(meshes, face_index, u, v)
    nan = jnp.where(jnp.isfinite(total), 0.0, jnp.nan)[:, None, None]
    return points + nan, normals + nan


def face_areas(meshes: Meshes) -> Float[Array, "n f"]:
    """Areas of the faces, 0 for padding; constants for the gradient."""
    areas = length(triangle_normals(jax.lax.stop_gradient(meshes.triangles))) / 2
    return jnp.where(meshes.faces_mask, areas, 0.0)


def draw_faces(
    meshes: Meshes, areas: Float[Array, "n f"], uniform: Float[Array, "n s"]
) -> Int[Array, "n s"]:
    """Face index within each mesh, proportional to area, by inverting the cumulative sum.

    `uniform` is in [0, 1). Faces without area and padding are never drawn, except from a mesh that
    has nothing else.
    """
    flat = jnp.sum(areas, axis=-1, keepdims=True) == 0
    # A parallel sum rounds each prefix in its own way, so that it can fall by an ulp.
    sums = jax.lax.cummax(
        jnp.cumsum(jnp.where(flat, meshes.faces_mask, areas), axis=-1), axis=areas.ndim - 1
    )
    search = jax.vmap(lambda cumulative, x: jnp.searchsorted(cumulative, x, side="right"))
    index = search(sums, uniform * sums[:, -1:])
    return jnp.minimum(index, areas.shape[-1] - 1).astype(jnp.int32)


def points_on_faces(
    meshes: Meshes,
    face_index: Int[Array, "n s"],
    u: Float[Array, "n s"],
    v: Float[Array, "n s"],
) -> tuple[Float[Array, "n s 3"], Float[Array, "n s 3"]]:
    """Points of given faces from uniforms u, v in [0, 1), uniform by area, and unit normals.

    Weights of the corners: 1 - sqrt(u), sqrt(u) (1 - v), sqrt(u) v (Osada et al., "Shape
    Distributions", 2002, section 4.2). Of a padding face: zeros.
    """
    corners = jax.vmap(lambda triangles, i: triangles[i])(meshes.triangles, face_index)
    valid = jnp.take_along_axis(meshes.faces_mask, face_index, axis=1)[..., None]
    root = jnp.sqrt(u)
    weights = jnp.stack([1 - root, root * (1 - v), root * v], axis=-1)
    points = jnp.sum(weights[..., None] * corners, axis=-2)
    normals = unit(triangle_normals(corners), MIN_NORMAL)
    return jnp.where(valid, points, 0.0), jnp.where(valid, normals, 0.0)
