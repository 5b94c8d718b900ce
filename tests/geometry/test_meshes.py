import jax
import jax.numpy as jnp
import numpy as np
import pytest

from otuken_jax.geometry.meshes import Meshes

TRIANGLE = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
SQUARE = np.array([[0.0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], np.float32)
VERTS = [TRIANGLE, SQUARE, np.zeros((0, 3), np.float32)]
FACES = [
    np.array([[0, 1, 2]]),
    np.array([[0, 1, 2], [0, 2, 3]]),
    np.zeros((0, 3), np.int32),
]


def squared_area(meshes):
    """Of one mesh, the sum of its faces' squared areas, by its masks alone."""
    corners = meshes.verts[meshes.faces]
    cross = jnp.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return jnp.where(meshes.faces_mask, (cross**2).sum(axis=-1) / 4, 0.0).sum()


def test_lists_come_back_and_padding_is_marked():
    meshes = Meshes.from_lists(VERTS, FACES)
    assert meshes.verts.shape == (3, 4, 3)
    assert meshes.faces.dtype == jnp.int32
    np.testing.assert_array_equal(meshes.num_verts, [3, 4, 0])
    np.testing.assert_array_equal(meshes.num_faces, [1, 2, 0])
    np.testing.assert_array_equal(meshes.faces[0], [[0, 1, 2], [-1, -1, -1]])
    np.testing.assert_array_equal(meshes.verts_mask.sum(axis=1), [3, 4, 0])
    np.testing.assert_array_equal(meshes.faces_mask.sum(axis=1), [1, 2, 0])
    for given, back in zip((VERTS, FACES), meshes.to_lists(), strict=True):
        for a, b in zip(given, back, strict=True):
            np.testing.assert_array_equal(a, b)


def test_padded_arrays_count_every_vertex_row_and_drop_padding_faces():
    padded = Meshes.from_lists(VERTS, FACES)
    meshes = Meshes.from_padded(padded.verts, padded.faces.at[1, 0, 1].set(-1))
    np.testing.assert_array_equal(meshes.num_verts, [4, 4, 4])
    np.testing.assert_array_equal(meshes.num_faces, [1, 1, 0])
    _, faces = meshes.to_lists()
    np.testing.assert_array_equal(faces[1], [[0, 2, 3]])


def test_works_under_jit_vmap_and_grad():
    meshes = Meshes.from_lists(VERTS, FACES)
    total = jax.jit(jax.vmap(squared_area))
    np.testing.assert_array_equal(total(meshes), [0.25, 0.5, 0.0])
    built = jax.jit(Meshes.from_padded)(meshes.verts, meshes.faces)
    np.testing.assert_array_equal(built.num_faces, meshes.num_faces)
    grad = jax.grad(lambda m: total(m)[1], allow_int=True)(meshes)
    assert float(jnp.abs(grad.verts[1]).max()) > 0
    assert float(jnp.abs(grad.verts[0]).max()) == 0


def test_is_a_pytree_that_may_hold_shapes():
    meshes = Meshes.from_lists(VERTS, FACES)
    assert len(jax.tree.leaves(meshes)) == 4
    assert jax.tree.map(jnp.shape, meshes).verts == (3, 4, 3)
    assert jax.eval_shape(lambda m: m, meshes).faces.shape == (3, 2, 3)


def test_no_meshes_at_all():
    meshes = Meshes.from_lists([], [])
    assert meshes.verts.shape == (0, 0, 3)
    assert meshes.to_lists() == ([], [])


@pytest.mark.parametrize("bad", [[[0, 1, 3]], [[-1, 0, 1]]])
def test_a_face_index_outside_its_mesh_is_named(bad):
    with pytest.raises(ValueError, match=r"mesh 1: face indices .* do not fit 3 vertices"):
        Meshes.from_lists([SQUARE, TRIANGLE], [FACES[1], np.array(bad)])


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="2 vertex arrays but 1 face arrays"):
        Meshes.from_lists([SQUARE, TRIANGLE], [FACES[1]])


def test_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"mesh 0: shapes \(4, 2\) and \(2, 3\)"):
        Meshes.from_lists([SQUARE[:, :2]], [FACES[1]])
