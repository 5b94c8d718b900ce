"""Signed distance of meshes, whole and broken on purpose, against the intact shape or a formula.

Broken ones are files that are prepared; they are compared with what the intact file becomes.
"""

import numpy as np
import pytest
import trimesh

from otuken_jax.conventions import CANONICAL_SIZE, grid_points
from otuken_jax.data.caption_files import Caption
from otuken_jax.data.mesh_records import FAILED, OK, REPAIRED, Settings, Task, prepare_mesh
from otuken_jax.data.records import decode
from otuken_jax.geometry import repair
from otuken_jax.geometry.solid import sample_solid, solidify

SIZE = 48
VOXEL = 2 / SIZE
TRUNCATION = 8 * VOXEL
PROFILE = [(0, -0.9), (0.5, -0.9), (0.75, -0.3), (0.5, 0.4), (0.6, 0.9), (0.45, 0.9)]
PROFILE += [(0.32, 0.4), (0.55, -0.3), (0.3, -0.7), (0, -0.7)]  # down the inside: a thick vase


def vase():
    mesh = trimesh.creation.revolve(np.array(PROFILE), sections=48)
    assert mesh.is_watertight
    assert mesh.volume > 0
    return np.array(mesh.vertices), np.array(mesh.faces, np.int64)


def bowl():
    """Its wall is 0.094 thick, three voxels of 64^3."""
    turns = np.linspace(-np.pi / 2, 0, 25)
    arc = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    profile = np.concatenate([0.9 * arc, 0.806 * arc[::-1]])
    mesh = trimesh.creation.revolve(profile, sections=64)
    assert mesh.is_watertight
    assert mesh.volume > 0
    return np.array(mesh.vertices), np.array(mesh.faces, np.int64)


def iou(a, b):
    return ((a < 0) & (b < 0)).sum() / ((a < 0) | (b < 0)).sum()


def prepared(folder, vertices, faces, size=SIZE):
    """The signed distance that `prepare` stores of a file of this mesh, and its outcome."""
    trimesh.Trimesh(vertices, faces, process=False).export(folder / "m.ply")
    outcome = prepare_mesh(Task(str(folder), "m.ply", Caption(), Settings(size, 64, None)))
    assert outcome.status != FAILED, outcome.reason
    return decode(outcome.record)["sdf"], outcome


def where(mesh, vertices, faces, size=SIZE):
    """The signed distance of a sound mesh where `prepare` puts a broken file of it.

    What is broken off or astray changes the file's bounds and so where everything lies; that is no
    error of the inside.
    """
    used = vertices[np.unique(faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    moved = (mesh[0] - (low + high) / 2) * (CANONICAL_SIZE / (high - low).max())
    return solidify(moved, mesh[1], size).sdf


def some(faces, share, seed=0):
    return np.random.default_rng(seed).random(len(faces)) < share


def soup(vertices, faces, noise):
    corners = vertices[faces].reshape(-1, 3)
    corners = corners + np.random.default_rng(1).normal(0, noise, corners.shape)
    return corners, np.arange(len(corners)).reshape(-1, 3)


def flipped(faces, chosen):
    return np.where(chosen[:, None], faces[:, ::-1], faces)


def scattered_holes(v, f):
    return v, f[~some(f, 0.05)]


def one_large_hole(v, f):
    center = np.array([0.7, 0.0, -0.3])
    return v, f[np.linalg.norm(v[f].mean(axis=1) - center, axis=1) > 0.25]


def some_faces_flipped(v, f):
    return v, flipped(f, some(f, 0.3))


def inside_out(v, f):
    return v, f[:, ::-1]


def inside_out_with_a_hole(v, f):
    return inside_out(*one_large_hole(v, f))


def triangle_soup(v, f):
    return soup(v, f[np.random.default_rng(2).permutation(len(f))], 0.0)


def loose_soup_flipped_at_random(v, f):
    v, f = soup(v, f, 0.002)
    return v, flipped(f, some(f, 0.5))


def repeated_faces(v, f):
    return v, np.concatenate([f, f[some(f, 0.4)], f[some(f, 0.2, seed=3)]])


def both_sides_modelled(v, f):
    return v, np.concatenate([f, f[:, [1, 0, 2]]])


def degenerate_faces(v, f):
    return v, np.concatenate([f, f[:50, [0, 0, 1]], np.full((9, 3), 5)])


def seams(v, f):
    """Vertices split along a cut, as texture coordinates do it."""
    right = v[f].mean(axis=1)[:, 0] > 0
    return np.concatenate([v, v]), np.where(right[:, None], f + len(v), f)


def inner_wall(v, f):
    """A disc inside the thick foot, twice, back to back, as when solids were put side by side."""
    disc = np.array([[0.3, 0, -0.8], [-0.2, 0.2, -0.8], [-0.2, -0.2, -0.8]])
    extra = np.arange(3)[None] + len(v)
    return np.concatenate([v, disc]), np.concatenate([f, extra, extra[:, ::-1]])


def fin(v, f):
    """A sheet that sticks out of an edge, which then has three faces."""
    tip = np.append(v[f[300, :2]].mean(axis=0)[:2] * 1.05, v[f[300, 0], 2])
    return np.concatenate([v, tip[None]]), np.concatenate([f, [[*f[300, :2], len(v)]]])


DEFECTS = [
    scattered_holes,
    one_large_hole,
    some_faces_flipped,
    inside_out,
    inside_out_with_a_hole,
    triangle_soup,
    loose_soup_flipped_at_random,
    repeated_faces,
    both_sides_modelled,
    degenerate_faces,
    seams,
    inner_wall,
    fin,
]


@pytest.mark.parametrize("defect", DEFECTS)
def test_broken_files_become_the_intact_solid(tmp_path, monkeypatch, defect):
    broken = defect(*vase())
    intact = where(vase(), *broken)
    solids = []
    spy = lambda *arguments: solids.append(solidify(*arguments)) or solids[-1]  # noqa: E731
    monkeypatch.setattr("otuken_jax.geometry.solid.solidify", spy)
    sdf, outcome = prepared(tmp_path, *broken)
    assert iou(sdf, intact) >= 0.95
    # In its own bounds too; those of the loose soup grow by what is astray, and it is smaller.
    loose = defect is loose_soup_flipped_at_random
    assert iou(sdf, prepared(tmp_path, *vase())[0]) >= (0.91 if loose else 0.95)
    assert solids[0].bounding > 0.9
    sound = defect in (triangle_soup, seams)  # files of some formats are always so
    assert (outcome.status == OK) == sound


@pytest.mark.parametrize("defect", [scattered_holes, some_faces_flipped, triangle_soup])
def test_broken_thin_walls_become_the_intact_solid(tmp_path, defect):
    broken = defect(*bowl())
    sdf, _ = prepared(tmp_path, *broken, 64)
    assert iou(sdf, where(bowl(), *broken, 64)) >= 0.95
    assert iou(sdf, prepared(tmp_path, *bowl(), 64)[0]) >= 0.95


def test_parts_of_a_file_that_run_into_each_other_are_one(tmp_path):
    whole = trimesh.creation.box([1.8, 0.8, 0.8])
    halves = [
        trimesh.creation.box([1.0, 0.8, 0.8]).apply_translation([x, 0, 0]) for x in (-0.4, 0.4)
    ]
    both = trimesh.util.concatenate(halves)
    sdf, _ = prepared(tmp_path, both.vertices, both.faces)
    assert iou(sdf, prepared(tmp_path, whole.vertices, whole.faces)[0]) >= 0.95


def test_a_lost_pole_moves_a_ball_little(tmp_path):
    """The bounds are those of what is left; a spire without its tip would be another shape."""
    ball = trimesh.creation.icosphere(4, 0.9)
    left = np.linalg.norm(ball.triangles_center - [0, 0, 0.9], axis=1) > 0.25
    sdf, outcome = prepared(tmp_path, ball.vertices, ball.faces[left])
    assert outcome.status == REPAIRED
    assert iou(sdf, prepared(tmp_path, ball.vertices, ball.faces)[0]) >= 0.95


def test_parts_that_run_into_each_other_are_one_solid():
    def ball(x):
        mesh = trimesh.creation.icosphere(3, 0.5)
        return mesh.vertices + np.array([x, 0, 0]), np.array(mesh.faces)

    (a, f), (b, _) = ball(-0.3), ball(0.3)
    both = np.concatenate([a, b]), np.concatenate([f, f + len(a)])
    union = np.minimum(solidify(a, f, SIZE).sdf, solidify(b, f, SIZE).sdf)
    assert iou(solidify(*both, SIZE).sdf, union) == 1
    # Also when one of them was modelled inside out.
    turned = both[0], np.concatenate([f, f[:, ::-1] + len(a)])
    solid = solidify(*turned, SIZE)
    assert solid.num_turned == len(f)
    assert iou(solid.sdf, union) == 1
    points = sample_solid(solid, 2000, 0).points
    inside = np.minimum(*(np.linalg.norm(points - [x, 0, 0], axis=1) for x in (-0.3, 0.3)))
    # None on the walls within; the crease between the balls is rounded by the grid.
    assert inside.min() > 0.5 - VOXEL
    assert np.mean(inside > 0.495) > 0.98


def test_a_leaking_shape_at_the_border_is_not_turned():
    """On a grid so coarse that its inside is reached and its outside is narrower than a voxel."""
    ball = trimesh.creation.icosphere(2, 0.9)
    solid = solidify(np.array(ball.vertices), np.array(ball.faces[:-20]), 16)
    assert solid.num_turned == 0
    assert (solid.sdf < 0).sum() > 1400


def test_a_cavity_stays_hollow():
    ball = trimesh.creation.icosphere(3)
    shell = np.concatenate([0.9 * ball.vertices, 0.5 * ball.vertices])
    faces = np.concatenate([ball.faces, ball.faces[:, ::-1] + len(ball.vertices)])
    solid = solidify(shell, faces, SIZE)
    assert solid.num_turned == 0
    assert solid.sdf[SIZE // 2, SIZE // 2, SIZE // 2] > 0
    assert solid.sdf[SIZE // 2, SIZE // 2, SIZE // 2 + int(0.7 / VOXEL)] < 0


def test_distances_are_those_of_the_formula():
    half = np.array([0.9, 0.5, 0.33])
    box = trimesh.creation.box(2 * half)
    sdf = solidify(np.array(box.vertices), np.array(box.faces), SIZE).sdf
    q = np.abs(grid_points(SIZE).astype(np.float64)) - half
    true = np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(axis=-1), 0)
    near = np.abs(true) < 2 * VOXEL
    np.testing.assert_allclose(sdf[near], true[near], atol=1e-6)
    error = np.abs(np.clip(sdf, -TRUNCATION, TRUNCATION) - np.clip(true, -TRUNCATION, TRUNCATION))
    assert error.max() < VOXEL
    assert error[np.abs(true) < TRUNCATION].mean() < 0.05 * VOXEL


def test_a_hole_is_closed_smoothly():
    ball = trimesh.creation.icosphere(4, 0.9)
    opened = ball.faces[ball.triangles_center[:, 2] < 0.7]
    axis = solidify(np.array(ball.vertices), np.array(opened), SIZE).sdf[SIZE // 2, SIZE // 2]
    crossing = np.flatnonzero((axis[:-1] < 0) & (axis[1:] > 0))[-1]
    height = (crossing + 0.5 + axis[crossing] / (axis[crossing] - axis[crossing + 1])) * VOXEL - 1
    assert 0.7 < height < 0.9  # between the flat lid and the lost cap
    # Distances go through zero in even steps, where those to the mesh would jump.
    np.testing.assert_allclose(np.diff(axis[crossing - 2 : crossing + 4]), VOXEL, rtol=0.2)


def test_points_lie_on_the_surface_and_normals_point_outward():
    ball = trimesh.creation.icosphere(4, 0.9)
    faces = flipped(np.array(ball.faces), some(ball.faces, 0.4))
    surface = sample_solid(solidify(np.array(ball.vertices), faces, SIZE), 4000, 0)
    np.testing.assert_allclose(np.linalg.norm(surface.points, axis=1), 0.9, atol=0.003)
    assert (np.einsum("ni,ni->n", surface.points, surface.normals) / 0.9).min() > 0.99
    at = np.einsum("nk,nki->ni", surface.weights, ball.vertices[ball.faces[surface.face]])
    corners = np.sort(ball.vertices[faces[surface.face]], axis=1)
    assert corners.shape == (4000, 3, 3)
    np.testing.assert_allclose(at, surface.points, atol=1e-6)
    octants = np.bincount((surface.points > 0) @ [1, 2, 4], minlength=8)
    assert octants.min() > 400  # of 500


def test_an_open_sheet_has_no_inside():
    sheet = np.array([[-0.9, -0.9, 0], [0.9, -0.9, 0], [0.9, 0.9, 0], [-0.9, 0.9, 0]])
    solid = solidify(sheet, np.array([[0, 1, 2], [0, 2, 3]]), SIZE)
    assert (solid.sdf < 0).sum() == 0 or solid.bounding < 0.5


def test_no_area_and_odd_resolutions_are_refused():
    line = np.array([[0.0, 0, 0], [0.5, 0, 0], [0.9, 0, 0]])
    with pytest.raises(ValueError, match="area"):
        solidify(line, np.array([[0, 1, 2]]), SIZE)
    with pytest.raises(ValueError, match="multiple of 4"):
        solidify(*vase(), 30)


def test_defects_are_named():
    v, f = vase()
    assert repair.clean(v, f).defects == ()
    broken = np.concatenate([flipped(f[1:], np.arange(len(f) - 1) == 40), f[5:7], [[3, 3, 4]]])
    assert repair.clean(v, broken).defects == (
        "1 degenerate faces dropped",
        "2 duplicate faces dropped",
        "3 open edges",
        "3 edges between faces of opposite direction",
    )
