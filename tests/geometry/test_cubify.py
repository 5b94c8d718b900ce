import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from otuken_jax.geometry.cubify import cubify


def test_a_box_is_closed_outward_and_in_place_under_jit():
    voxels = jnp.zeros((1, 5, 4, 6)).at[0, 1:4, 1:3, 2:5].set(1.0)  # z, y, x
    meshes = jax.jit(lambda v: cubify(v, 0.5, "corner"))(voxels)
    (verts,), (faces,) = meshes.to_lists()
    box = trimesh.Trimesh(verts, faces, process=False)
    assert box.is_watertight
    sides = np.array([3 * 2 / 6, 2 * 2 / 4, 3 * 2 / 5])
    np.testing.assert_allclose(box.volume, sides.prod(), rtol=5e-7)
    np.testing.assert_allclose(
        box.bounds[0], [2 * 2 / 6 - 1, 2 / 4 - 1, 2 / 5 - 1], rtol=0, atol=2e-7
    )
    np.testing.assert_allclose(np.ptp(box.bounds, axis=0), sides, rtol=0, atol=5e-7)


def test_the_densest_surface_fits():
    """A checkerboard shows every square of the lattice."""
    voxels = (np.indices((4, 4, 4)).sum(axis=0) % 2).astype(np.float32)[None]
    meshes = cubify(jnp.asarray(voxels), 0.5)
    assert int(meshes.num_faces[0]) == 12 * 32
    assert int(meshes.faces_mask.sum()) == 12 * 32


def test_impossible_alignments_raise():
    with pytest.raises(ValueError, match="align"):
        cubify(jnp.ones((1, 2, 2, 2)), 0.5, "top")
    with pytest.raises(ValueError, match="two voxels"):
        cubify(jnp.ones((1, 2, 1, 2)), 0.5, "center")
    assert int(cubify(jnp.ones((1, 2, 1, 2)), 0.5, "corner").num_faces[0]) == 32
