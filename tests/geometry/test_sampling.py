import jax
import jax.numpy as jnp
import numpy as np
import pytest

from otuken_jax.geometry.meshes import Meshes
from otuken_jax.geometry.sampling import draw_faces, sample_points_from_meshes

TRIANGLE = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
FACE = np.array([[0, 1, 2]])
EMPTY = (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
MESHES = Meshes.from_lists(
    [TRIANGLE, TRIANGLE * [[1], [0], [0]], EMPTY[0]], [np.repeat(FACE, 3, axis=0), FACE, EMPTY[1]]
)


def test_faces_are_drawn_by_area_and_never_padding_or_without_area():
    areas = jnp.array([[0.0, 3.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).at[0, 0].set(1.0)
    uniform = jnp.broadcast_to(jnp.array([0.0, 0.2499, 0.25, 1 - 2**-23]), (3, 4))
    index = draw_faces(MESHES, areas, uniform)
    np.testing.assert_array_equal(index[:2], [[0, 0, 1, 1], [0, 0, 0, 0]])


def test_points_move_with_their_corners_under_jit():
    """The weights of the corners are the gradient, so its sum over corners is the point count."""
    key = jax.random.key(1)

    @jax.jit
    def points_of(verts):
        meshes = Meshes(verts, MESHES.faces, MESHES.num_verts, MESHES.num_faces)
        return sample_points_from_meshes(meshes, 16, key)

    points, normals = points_of(MESHES.verts)
    assert points.shape == normals.shape == (3, 16, 3)
    np.testing.assert_array_equal(normals[0], np.tile([0.0, 0, 1], (16, 1)))
    grad = jax.grad(lambda v: jnp.sum(points_of(v)[0][..., 0]))(MESHES.verts)
    np.testing.assert_allclose(grad.sum(axis=1), [[16, 0, 0], [16, 0, 0], [0, 0, 0]], rtol=2e-7)
    step = 0.125
    moved = points_of(MESHES.verts.at[0, 1, 2].add(step))[0] - points
    by_corner = jax.grad(lambda v: jnp.sum(points_of(v)[0][0, :, 2]))(MESHES.verts)[0, 1, 2]
    np.testing.assert_allclose(moved[0, :, 2].sum() / step, by_corner, rtol=7e-7)


def test_same_key_same_points_and_another_key_others():
    draw = lambda seed: sample_points_from_meshes(MESHES, 4, jax.random.key(seed))[0]  # noqa: E731
    np.testing.assert_array_equal(draw(0), draw(0))
    assert (draw(0)[0, :, :2] != draw(1)[0, :, :2]).all()


def test_nothing_to_sample_raises_and_inside_jit_shows():
    empty = Meshes(
        MESHES.verts, jnp.full_like(MESHES.faces, -1), MESHES.num_verts, 0 * MESHES.num_faces
    )
    with pytest.raises(ValueError, match="no mesh has a face"):
        sample_points_from_meshes(empty, 4, jax.random.key(0))
    broken = Meshes.from_lists([TRIANGLE, TRIANGLE + np.nan], [FACE, FACE])
    with pytest.raises(ValueError, match="not finite"):
        sample_points_from_meshes(broken, 4, jax.random.key(0))
    sample = jax.jit(sample_points_from_meshes, static_argnums=1)
    assert not sample(empty, 4, jax.random.key(0))[0].any()
    points, _ = sample(broken, 4, jax.random.key(0))
    assert np.isnan(points).all(axis=(1, 2)).tolist() == [False, True]
