"""Meshes to signed distance on the voxel grid."""

import numpy as np
from jaxtyping import Float

from otuken_jax.geometry.meshes import Meshes


def signed_distance_grid(meshes: Meshes, resolution: int) -> Float[np.ndarray, "b r r r"]:
    """Signed distance (domain units, negative inside) from each mesh to every voxel centre.

    What is inside, and how exact distances are, is said at `solid.solidify`; the resolution is a
    multiple of 4.
    """
    from otuken_jax.geometry.solid import solidify  # here: only training on meshes needs libigl

    grids = [
        solidify(np.asarray(vertices, np.float64), np.asarray(faces, np.int64), resolution).sdf
        for vertices, faces in zip(*meshes.to_lists(), strict=True)
    ]
    return np.stack(grids)
