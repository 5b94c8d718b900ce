"""Axes, units and sizes that every part of the project shares.

Right-handed, z up (GLB files are written y up). Volumes are indexed [batch, x, y, z, channel] and
sample cell centres of the cube [-1, 1]^3. Signed distance is negative inside; logits are positive
inside.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

CANONICAL_SIZE = 1.8  # longest side of a centred shape, in domain units
DOMAIN_SIZE = 2.0  # side of the cube [-1, 1]^3
POINT_E_SCALE = 1.0 / CANONICAL_SIZE  # domain units to Point-E's, whose longest side is 1
TAU_VOXELS = 0.7  # softness of the occupancy target; 0/1 targets cost 0.2 voxel of accuracy
TRUNCATION_VOXELS = 8.0  # signed distance is stored up to this many voxels


def voxel_size(resolution: int) -> float:
    """Side of one voxel in domain units."""
    return DOMAIN_SIZE / resolution


def voxel_centers(resolution: int) -> Float[np.ndarray, " r"]:
    """Cell-centre coordinates along one axis, float32."""
    return ((np.arange(resolution) + 0.5) * voxel_size(resolution) - 1.0).astype(np.float32)


def grid_points(resolution: int) -> Float[np.ndarray, "r r r 3"]:
    """Cell centres of the whole grid, indexed [x, y, z], float32."""
    c = voxel_centers(resolution)
    return np.stack(np.meshgrid(c, c, c, indexing="ij"), axis=-1)


def occupancy_target(sdf: Float[Array, "*shape"], resolution: int) -> Float[Array, "*shape"]:
    """Soft occupancy in [0, 1] from signed distance in domain units: sigmoid(-sdf / tau)."""
    return jax.nn.sigmoid(-jnp.asarray(sdf) / (TAU_VOXELS * voxel_size(resolution)))
