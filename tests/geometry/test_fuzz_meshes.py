"""Closed, consistently oriented, edge- and vertex-manifold meshes from 1,000 random fields."""

import numpy as np
import pytest
import trimesh
from scipy import ndimage

from otuken_jax.geometry.mesh_io import (
    SurfaceMesh,
    decimate,
    field_to_mesh,
    is_closed,
    is_manifold,
    remove_specks,
    smooth,
)


def noise(rng, shape):
    return rng.normal(size=shape) + rng.uniform(-1, 1)


def smooth_noise(rng, shape):
    return ndimage.gaussian_filter(rng.normal(size=shape), 1.0) + rng.uniform(-0.05, 0.05)


def thin_sheets(rng, shape):
    """Planes one cell thick, axis-aligned or slanted, that cross each other and the border."""
    points = np.moveaxis(np.indices(shape), 0, -1)
    normals = rng.integers(-1, 2, size=(3, 3))
    offsets = rng.integers(0, shape[0], size=3)
    return np.max([0.5 - np.abs(points @ n - d) for n, d in zip(normals, offsets, strict=True)], 0)


def at_the_border(rng, shape):
    """Outside but for cells on the faces, edges and corners of the domain."""
    field = -rng.uniform(0.1, 1, size=shape)
    cells = rng.integers(0, shape[0], size=(8, 3))
    cells[np.arange(8), rng.integers(0, 3, 8)] = rng.choice([0, shape[0] - 1], 8)
    field[tuple(cells.T)] = rng.uniform(1e-6, 1, 8)
    return field


def single_voxels(rng, shape):
    field = -np.ones(shape)
    count = int(rng.integers(1, 6))
    field[tuple(rng.integers(0, shape[0], size=(3, count)))] = rng.choice([1e-8, 0.5, 1.0])
    return field * rng.choice([1e-6, 1.0, 1e6])


def checkerboard(rng, shape):
    """Cells that touch along edges and at corners only, some of them flipped."""
    parity = np.indices(shape).sum(axis=0) % 2 * 2.0 - 1.0
    return parity * rng.choice([1, 1, 1, -1], shape) * rng.choice([1.0, 0.25], shape)


def ties(rng, shape):
    """Few values: neighbours are equal, and many grid points are exactly zero."""
    return rng.integers(-1, 2, size=shape) * rng.choice([1.0, 0.5])


def zeros_on_a_surface(rng, shape):
    """A box or a ball in whole cells, whose surface runs through grid points."""
    offset = np.abs(np.indices(shape) - rng.integers(0, shape[0], 3).reshape(3, 1, 1, 1))
    distance = offset.max(axis=0) if rng.integers(2) else offset.sum(axis=0)
    return (rng.integers(1, 4) - distance).astype(float)


KINDS = (
    noise,
    smooth_noise,
    thin_sheets,
    at_the_border,
    single_voxels,
    checkerboard,
    ties,
    zeros_on_a_surface,
)


def random_fields(count):
    """(name, field), each kind in turn, 2 to 9 cells a side, each with something inside."""
    rng = np.random.default_rng(20)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        field = kind(rng, (int(rng.integers(2, 10)),) * 3)
        if not (field > 0).any():
            field.flat[rng.integers(field.size)] = 1.0
        yield f"{kind.__name__} {number}", field.astype(np.float32)


def defects(vertices, faces):
    """What keeps a mesh from being a closed, oriented manifold, by walking it face by face."""
    if len(faces) == 0:
        return ["no faces"]
    after = {}  # of each vertex: the neighbour that follows each neighbour, turning around it
    for face in faces.tolist():
        for i in range(3):
            v, a, b = face[i], face[(i + 1) % 3], face[(i + 2) % 3]
            if a in after.setdefault(v, {}):
                return [f"edge {v}-{a} has two faces on one side"]
            after[v][a] = b
    found = []
    for v, turn in after.items():
        start = at = next(iter(turn))
        steps = 0
        while at in turn and steps <= len(turn):
            at = turn[at]
            steps += 1
            if at == start:
                break
        if at != start:
            found.append(f"edge {v}-{at} has a face on one side only")
        elif steps != len(turn):
            found.append(f"vertex {v} has several fans")
    if len(np.unique(vertices[list(after)], axis=0)) != len(after):
        found.append("vertices coincide")
    return found


def check(name, mesh):
    assert defects(mesh.vertices, mesh.faces) == [], name
    other = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert other.is_watertight, name
    assert other.is_winding_consistent, name
    assert other.volume > 0, name


def check_fields(count, refine_every):
    rng = np.random.default_rng(21)
    for number, (name, field) in enumerate(random_fields(count)):
        mesh = field_to_mesh(field, rng.random((*field.shape, 3), np.float32))
        check(name, mesh)
        assert np.abs(mesh.vertices).max() <= 1.0, name
        cleaned, _ = remove_specks(mesh)
        check(f"{name}, cleaned", cleaned)
        if number % refine_every:
            continue
        smoothed = smooth(cleaned)
        check(f"{name}, smoothed", smoothed)
        check(f"{name}, decimated", decimate(smoothed, len(smoothed.faces) // 3))


def test_a_hundred_random_fields_give_manifold_meshes():
    check_fields(104, refine_every=5)


@pytest.mark.slow
def test_a_thousand_random_fields_give_manifold_meshes():
    check_fields(1000, refine_every=1)


TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)


@pytest.mark.parametrize(
    ("second", "closed", "words"),
    [
        ([4, 5, 6, 7], True, None),  # two apart
        ([0, 5, 6, 7], True, "vertex 0 has several fans"),
        ([0, 1, 6, 7], False, "two faces on one side"),
    ],
)
def test_what_touches_in_a_point_or_along_an_edge_is_not_manifold(second, closed, words):
    vertices = np.concatenate([CORNERS, 2 - CORNERS[:, ::-1]])
    mesh = SurfaceMesh(vertices, np.concatenate([TETRAHEDRON, np.take(second, TETRAHEDRON)]))
    assert is_closed(mesh) == closed
    assert is_manifold(mesh) == (words is None)
    assert (words or "") in "".join(defects(mesh.vertices, mesh.faces))
    assert (defects(mesh.vertices, mesh.faces) == []) == (words is None)
    assert defects(mesh.vertices, TETRAHEDRON[1:]) != []
    assert not is_manifold(SurfaceMesh(mesh.vertices, TETRAHEDRON[1:]))
