import igl
import numpy as np
import pytest
from known_shapes import assert_closed, ball, volume

from otuken_jax.conventions import grid_points
from otuken_jax.geometry.mesh_io import (
    decimate,
    field_to_mesh,
    is_manifold,
    remove_specks,
    smooth,
)


def test_specks_go_and_the_rest_keeps_its_colors():
    big, speck = ball((-0.2, 0, 0), 0.6), ball((0.8, 0.8, 0.8), 0.08)
    colors = (grid_points(32) * 0.5 + 0.5).astype(np.float32)
    cleaned, removed = remove_specks(field_to_mesh(np.maximum(big, speck), colors))
    assert removed == 1
    alone = field_to_mesh(big, colors)
    assert volume(cleaned) == pytest.approx(volume(alone), rel=1e-5)
    assert_closed(cleaned)
    np.testing.assert_allclose(cleaned.colors, cleaned.vertices * 0.5 + 0.5, atol=1e-5)
    assert remove_specks(alone)[1] == 0


def test_two_large_parts_stay():
    field = np.maximum(ball((-0.5, 0, 0), 0.4), ball((0.5, 0, 0), 0.2))
    assert remove_specks(field_to_mesh(field))[1] == 0


def test_cavities_follow_their_outer_shell():
    body = ball((-0.2, 0, 0), 0.7)
    hollow = np.minimum(body, -ball((-0.2, 0, 0), 0.4))
    kept, removed = remove_specks(field_to_mesh(hollow))
    assert removed == 0
    assert volume(kept) == pytest.approx(4 / 3 * np.pi * (0.7**3 - 0.4**3), rel=0.03)
    bubble = np.minimum(body, -ball((-0.2, 0, 0), 0.1))
    filled, removed = remove_specks(field_to_mesh(bubble))
    assert removed == 1
    assert volume(filled) == pytest.approx(volume(field_to_mesh(body)), rel=1e-5)


def test_a_thin_bubble_goes_as_a_whole():
    """Each of its two shells is above the limit, the wall between them is not."""
    thin = np.minimum(ball((0.65, 0.65, 0.65), 0.3, 64), -ball((0.65, 0.65, 0.65), 0.25, 64))
    field = np.maximum(ball((-0.2, -0.2, -0.2), 0.7, 64), thin)
    cleaned, removed = remove_specks(field_to_mesh(field), min_fraction=0.04)
    assert removed == 2
    assert cleaned.vertices.max() < 0.6
    assert_closed(cleaned)


def test_a_cavity_counts_against_the_part_around_it_alone():
    hollow = np.minimum(ball((-0.4, 0, 0), 0.55), -ball((-0.4, 0, 0), 0.3))
    neighbour = ball((0.6, 0, 0), 0.32)  # larger than the cavity, smaller than its shell
    _, removed = remove_specks(field_to_mesh(np.maximum(hollow, neighbour)), min_fraction=0.05)
    assert removed == 0


def test_an_island_in_a_cavity_stays():
    hollow = np.minimum(ball((0, 0, 0), 0.9), -ball((0, 0, 0), 0.7))
    island = ball((0.1, 0, 0), 0.4)
    mesh = field_to_mesh(np.maximum(hollow, island))
    cleaned, removed = remove_specks(mesh)
    assert removed == 0
    assert volume(cleaned) == pytest.approx(volume(mesh))


def test_the_largest_of_many_specks_stays():
    centers = [(x, y, 0) for x in (-0.6, 0, 0.6) for y in (-0.6, 0, 0.6)]
    field = np.max([ball(c, 0.1 + 0.01 * i) for i, c in enumerate(centers)], axis=0)
    cleaned, removed = remove_specks(field_to_mesh(field), min_fraction=0.5)
    assert removed == 8
    assert_closed(cleaned)
    assert cleaned.vertices[:, 0].min() > 0.4


def pot(resolution, wall):
    """Logits of a beaker with a wall and floor of `wall` voxels."""
    x, y, z = np.moveaxis(grid_points(resolution), -1, 0)
    width, radius = 2 * wall / resolution, np.hypot(x, y)
    outside = np.minimum(0.7 - radius, 0.9 - np.abs(z))
    inside = np.minimum(0.7 - width - radius, z + 0.9 - width)
    return (np.minimum(outside, -inside) * resolution / 2).astype(np.float32)


def roughness(mesh):
    """RMS distance from a sphere around the origin."""
    return np.linalg.norm(mesh.vertices, axis=1).std()


def test_smoothing_takes_off_the_steps_of_voxels():
    steps = np.where(ball((0, 0, 0), 0.7) > 0, 1, -1).astype(np.float32)
    mesh = field_to_mesh(steps, np.full((32, 32, 32, 3), 0.3, np.float32))
    smoothed = smooth(mesh)
    assert roughness(smoothed) < 0.6 * roughness(mesh)  # 0.52
    assert volume(smoothed) == pytest.approx(volume(mesh), rel=0.005)
    assert_closed(smoothed)
    assert smoothed.faces is mesh.faces
    assert smoothed.colors is mesh.colors
    np.testing.assert_array_equal(smooth(mesh, 0).vertices, mesh.vertices)


@pytest.mark.parametrize("steps", [10, 20])
def test_smoothing_keeps_the_volume_of_thin_walls(steps):
    mesh = field_to_mesh(pot(32, 2.5))
    assert volume(smooth(mesh, steps)) == pytest.approx(volume(mesh), rel=0.005)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_decimated_meshes_are_closed_and_small_enough(share):
    mesh = field_to_mesh(np.maximum(pot(32, 2.5), ball((0.6, 0, 0), 0.3)))
    target = int(share * len(mesh.faces))
    small = decimate(mesh, target)
    assert 0.25 * target < len(small.faces) <= target
    assert_closed(small)
    assert volume(small) == pytest.approx(volume(mesh), rel=0.02 if share > 0.05 else 0.1)
    distance, _, _ = igl.point_mesh_squared_distance(
        mesh.vertices.astype(float), small.vertices.astype(float), small.faces.astype(np.int64)
    )
    assert np.sqrt(distance.max()) < 0.1
    assert decimate(mesh, len(mesh.faces)) is mesh


def test_decimation_gives_the_same_mesh_twice():
    mesh = field_to_mesh(ball((0.1, 0, 0), 0.7))
    first, second = decimate(mesh, 300), decimate(mesh, 300)
    np.testing.assert_array_equal(first.vertices, second.vertices)
    np.testing.assert_array_equal(first.faces, second.faces)


def test_decimation_keeps_what_is_painted_on_a_plane():
    x, y, z = np.moveaxis(grid_points(32), -1, 0)
    tile = np.minimum(np.minimum(0.8 - np.abs(x), 0.8 - np.abs(y)), 0.15 - np.abs(z)) * 16
    leaf = (np.hypot(x, 0.5 * y) < 0.25)[..., None]
    colors = np.where(leaf, [0.1, 0.2, 0.7], [0.9, 0.9, 0.8])
    mesh = field_to_mesh(tile.astype(np.float32), colors.astype(np.float32))
    small = decimate(mesh, len(mesh.faces) // 5)
    assert is_manifold(small)
    known = {tuple(v): tuple(c) for v, c in zip(mesh.vertices, mesh.colors, strict=True)}
    for vertex, color in zip(small.vertices, small.colors, strict=True):
        assert known[tuple(vertex)] == tuple(color)
    error = np.abs(colors_at(small, mesh.vertices) - mesh.colors)
    assert error.mean() < 0.01  # 0.12 if the leaf is lost


def colors_at(mesh, points):
    """The colour of a mesh at the points of its surface nearest to `points`."""
    vertices, faces = mesh.vertices.astype(float), mesh.faces.astype(np.int64)
    _, face, nearest = igl.point_mesh_squared_distance(points.astype(float), vertices, faces)
    corners = [np.ascontiguousarray(vertices[faces[face, i]]) for i in range(3)]
    weights = igl.barycentric_coordinates(nearest, *corners)
    return (weights[..., None] * mesh.colors[faces[face]]).sum(axis=1)


def test_decimation_stops_before_the_shape_is_gone():
    mesh = field_to_mesh(pot(32, 2.5))
    assert 4 < len(decimate(mesh, 4).faces) < 400
