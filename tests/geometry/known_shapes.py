"""Shapes that the tests of meshes share."""

import numpy as np
import trimesh

from otuken_jax.conventions import grid_points
from otuken_jax.geometry.mesh_io import field_to_mesh, is_manifold, signed_volumes


def ball(center, radius, resolution=32):
    """Logits of a ball, about one per voxel."""
    offset = grid_points(resolution) - np.asarray(center, np.float32)
    return ((radius - np.linalg.norm(offset, axis=-1)) * resolution / 2).astype(np.float32)


def volume(mesh):
    return signed_volumes(mesh).sum()


def assert_closed(mesh):
    """By a second opinion, as it is and with vertices merged as a file reader does."""
    assert is_manifold(mesh)
    for process in (False, True):
        other = trimesh.Trimesh(mesh.vertices, mesh.faces, process=process)
        assert other.is_watertight
        assert other.is_winding_consistent
        assert other.volume > 0


def painted_ball():
    """A ball off the centre, taller than wide, whose colours differ in every channel."""
    x, y, z = np.moveaxis(grid_points(16), -1, 0)
    field = 4.0 - np.hypot(np.hypot(x - 0.2, y) / 0.09, (z - 0.1) / 0.19)
    colors = np.stack([x, y, z], axis=-1) * 0.4 + 0.5
    return field_to_mesh(field.astype(np.float32), colors.astype(np.float32))
