import numpy as np
import pytest
from known_shapes import assert_closed, ball, volume

from otuken_jax.conventions import grid_points
from otuken_jax.errors import UserError
from otuken_jax.geometry.mesh_io import SurfaceMesh, field_to_mesh, is_closed, remove_specks


def hard_fields():
    rng = np.random.default_rng(0)
    checkers = np.indices((6, 6, 6)).sum(axis=0) % 2
    yield "checkerboard", np.where(checkers == 0, 1.0, -1.0)
    yield "everything inside", np.ones((5, 5, 5))
    yield "one cell", np.ones((1, 1, 1))
    corner = -np.ones((4, 4, 4))
    corner[0, 0, 0] = 1e-7
    yield "weak corner voxel", corner
    sheet = -np.ones((8, 8, 8))
    sheet[:, 3] = 1.0
    yield "thin sheet up to the border", sheet
    yield "tiny values", sheet * 1e-9
    for i in range(20):
        yield f"noise {i}", rng.normal(size=(9, 9, 9))
        yield f"ties {i}", rng.integers(-1, 2, size=(7, 7, 7)).astype(float)


@pytest.mark.parametrize("field", [pytest.param(f, id=name) for name, f in hard_fields()])
def test_every_field_gives_a_closed_mesh(field):
    mesh = field_to_mesh(field.astype(np.float32))
    assert_closed(mesh)
    assert np.abs(mesh.vertices).max() <= 1.0
    assert_closed(remove_specks(mesh)[0])


def test_a_ball_is_where_it_should_be():
    mesh = field_to_mesh(ball((0.3, -0.2, 0.4), 0.5, 64))
    assert_closed(mesh)
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.01)
    middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    np.testing.assert_allclose(middle, [0.3, -0.2, 0.4], atol=0.005)
    assert mesh.vertices.dtype == np.float32
    assert mesh.faces.dtype == np.int32


def test_a_shape_that_leaves_the_domain_is_cut_at_its_border():
    mesh = field_to_mesh(ball((0.0, 0.0, 1.0), 0.5, 64))
    assert mesh.vertices[:, 2].max() == 1.0
    assert volume(mesh) == pytest.approx(2 / 3 * np.pi * 0.5**3, rel=0.02)
    assert volume(field_to_mesh(np.ones((8, 8, 8), np.float32))) == pytest.approx(8.0, rel=0.05)


@pytest.mark.parametrize("scale", [1e-8, 1e6])
def test_the_scale_of_the_field_does_not_matter(scale):
    field = ball((0.1, 0, 0), 0.5, 16)
    scaled = field_to_mesh((field * scale).astype(np.float32))
    np.testing.assert_allclose(scaled.vertices, field_to_mesh(field).vertices, atol=1e-5)


def test_level_moves_the_surface():
    field = ball((0, 0, 0), 0.5, 64)
    smaller = field_to_mesh(field, level=3.2)  # 3.2 voxels = 0.1 units
    assert np.abs(smaller.vertices).max() == pytest.approx(0.4, abs=0.01)


def test_colors_are_sampled_trilinearly():
    points = grid_points(16)
    mesh = field_to_mesh(ball((0, 0, 0), 0.6, 16), (points * 0.5 + 0.5).astype(np.float32))
    np.testing.assert_allclose(mesh.colors, mesh.vertices * 0.5 + 0.5, atol=1e-5)
    cut = field_to_mesh(np.ones((4, 4, 4), np.float32), np.full((4, 4, 4, 3), 0.3, np.float32))
    np.testing.assert_allclose(cut.colors, 0.3, atol=1e-6)


def test_an_empty_or_broken_field_is_explained():
    with pytest.raises(UserError, match=r"empty \(the highest logit, -1.50,.*train for longer"):
        field_to_mesh(np.full((4, 4, 4), -1.5, np.float32))
    with pytest.raises(UserError, match="NaN"):
        field_to_mesh(np.full((4, 4, 4), np.nan, np.float32))


def test_open_and_badly_wound_meshes_are_not_closed():
    mesh = field_to_mesh(ball((0, 0, 0), 0.6, 8))
    faces = mesh.faces
    assert not is_closed(SurfaceMesh(mesh.vertices, faces[1:]))
    flipped = np.concatenate([faces[:1, ::-1], faces[1:]])
    assert not is_closed(SurfaceMesh(mesh.vertices, flipped))
    assert not is_closed(SurfaceMesh(mesh.vertices, np.concatenate([faces, faces])))
    assert not is_closed(SurfaceMesh(mesh.vertices, faces[:0]))
