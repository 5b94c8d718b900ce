"""Meshes to signed distance on the voxel grid."""

import numpy as np
from jaxtyping import Float

from otuken_jax.conventions import grid_points
from otuken_jax.geometry.meshes import Meshes


def signed_distance_grid(meshes: Meshes, resolution: int) -> Float[np.ndarray, "b r r r"]:
    """Signed distance (domain units, negative inside) from each mesh to every voxel centre.

    The sign is the generalised winding number's (Jacobson et al. 2013), so small holes do no harm.
    """
    import igl  # imported here: only training on meshes needs it

    points = grid_points(resolution).reshape(-1, 3).astype(np.float64)
    grids = []
    for vertices, faces in zip(*meshes.to_lists(), strict=True):
        vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces, np.int64)
        distance = igl.signed_distance(
            points, vertices, faces, sign_type=igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER
        )[0]
        grids.append(distance.reshape((resolution,) * 3).astype(np.float32))
    return np.stack(grids)
