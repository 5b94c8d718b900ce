import errno
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from otuken_jax.conventions import grid_points
from otuken_jax.errors import UserError
from otuken_jax.geometry.mesh_io import (
    FORMATS,
    SurfaceMesh,
    export,
    field_to_mesh,
    is_closed,
    normalize_points,
    read_point_cloud,
    remove_specks,
    signed_volumes,
)


def ball(center, radius, resolution=32):
    """Logits of a ball, about one per voxel."""
    offset = grid_points(resolution) - np.asarray(center, np.float32)
    return ((radius - np.linalg.norm(offset, axis=-1)) * resolution / 2).astype(np.float32)


def volume(mesh):
    return signed_volumes(mesh).sum()


def assert_closed(mesh):
    """By a second opinion, as it is and with vertices merged as a file reader does."""
    assert is_closed(mesh)
    for process in (False, True):
        other = trimesh.Trimesh(mesh.vertices, mesh.faces, process=process)
        assert other.is_watertight
        assert other.is_winding_consistent
        assert other.volume > 0


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


@pytest.fixture
def painted():
    """A ball off the centre, taller than wide, whose colours differ in every channel."""
    x, y, z = np.moveaxis(grid_points(16), -1, 0)
    field = 4.0 - np.hypot(np.hypot(x - 0.2, y) / 0.09, (z - 0.1) / 0.19)
    colors = np.stack([x, y, z], axis=-1) * 0.4 + 0.5
    return field_to_mesh(field.astype(np.float32), colors.astype(np.float32))


@pytest.mark.parametrize("name", list(FORMATS))
def test_formats_read_back_closed_and_colored(painted, tmp_path, name):
    path = tmp_path / f"shape.{name}"
    export(painted, path, name)
    # trimesh hides the vertex colours of a mesh that has a material.
    loaded = trimesh.load(path, **({"skip_materials": True} if name == "glb" else {}))
    if name == "glb":
        assert len(loaded.graph.nodes_geometry) == 1
        loaded = loaded.to_geometry()
    assert loaded.is_watertight
    assert loaded.is_winding_consistent
    assert loaded.volume == pytest.approx(volume(painted), rel=1e-5)
    x, y, z = painted.vertices.T
    expected = np.stack([x, z, -y] if name == "glb" else [x, y, z], axis=1)
    np.testing.assert_allclose(loaded.bounds, [expected.min(0), expected.max(0)], atol=1e-6)
    if name == "stl":
        return
    np.testing.assert_allclose(loaded.vertices, expected, atol=1e-6)
    colors = np.asarray(loaded.visual.vertex_colors)[:, :3] / 255
    if name == "glb":  # stored linear; back to sRGB
        colors = np.where(colors <= 0.0031308, colors * 12.92, 1.055 * colors ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(colors, painted.colors, atol=0.02)


def test_glb_is_valid_and_looks_right_in_a_viewer(painted, tmp_path):
    export(painted, tmp_path / "shape.glb", "glb")
    data = (tmp_path / "shape.glb").read_bytes()
    magic, version, length, json_length = struct.unpack_from("<4sIII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    document = json.loads(data[20 : 20 + json_length])
    assert json_length % 4 == 0
    assert len(document["nodes"]) == 1
    material = document["materials"][0]["pbrMetallicRoughness"]
    assert material["metallicFactor"] == 0  # the default 1 looks black
    normals = document["accessors"][1]
    assert document["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] == 1
    view = document["bufferViews"][normals["bufferView"]]
    start = 28 + json_length + view["byteOffset"]
    normals = np.frombuffer(data, "<f4", normals["count"] * 3, start).reshape(-1, 3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    x, y, z = (painted.vertices - [0.2, 0, 0.1]).T
    assert ((normals * np.stack([x, z, -y], axis=1)).sum(axis=1) > 0).all()  # outward


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("colored", [True, False])
def test_the_same_mesh_gives_the_same_bytes(painted, tmp_path, name, colored):
    mesh = painted if colored else SurfaceMesh(painted.vertices, painted.faces)
    copy = SurfaceMesh(mesh.vertices.copy(), mesh.faces.copy(), mesh.colors)
    export(mesh, tmp_path / "a", name)
    export(copy, tmp_path / "b", name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_an_unknown_format_names_the_known(painted, tmp_path):
    with pytest.raises(UserError, match="'fbx': choose from glb, obj, stl, ply"):
        export(painted, tmp_path / "a.fbx", "fbx")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left on device; free some space"),
        (errno.EACCES, "permission denied; choose a folder"),
    ],
)
def test_a_failed_write_is_explained_and_leaves_nothing(
    painted, tmp_path, monkeypatch, number, words
):
    path = tmp_path / "shape.ply"
    path.write_bytes(b"the old file")

    def fail(self, data):
        with open(self, "wb") as file:
            file.write(data[:10])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(UserError, match=f"cannot write {path}: {words}"):
        export(painted, path, "ply")
    assert [p.name for p in tmp_path.iterdir()] == ["shape.ply"]
    assert path.read_bytes() == b"the old file"


def test_a_file_where_the_folder_should_be_is_explained(painted, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="choose a folder"):
        export(painted, tmp_path / "out" / "shape.ply", "ply")


POINTS = np.array([[0.5, 1.0, -2.0], [3.0, 0.25, 1.0], [0.0, 0.0, 4.0]], np.float32)
COLORS = np.array([[255, 0, 0], [0, 128, 0], [10, 20, 30]], np.uint8)


def ply(layout, body, properties=(), count=3):
    lines = ["ply", f"format {layout} 1.0", f"element vertex {count}"]
    lines += [f"property float {axis}" for axis in "xyz"] + list(properties) + ["end_header", ""]
    return "\n".join(lines).encode() + body


RGB = [f"property uchar {name}" for name in ("red", "green", "blue")]
ROWS = "\n".join(" ".join(map(str, row)) for row in POINTS.tolist()).encode()


def colored_rows(byte_order):
    rows = np.zeros(3, [("xyz", byte_order + "f4", 3), ("rgb", "u1", 3)])
    rows["xyz"], rows["rgb"] = POINTS, COLORS
    return rows.tobytes()


@pytest.mark.parametrize(
    ("name", "data", "colored"),
    [
        ("a.ply", ply("ascii", ROWS + b"\n"), False),
        ("B.PLY", ply("binary_little_endian", colored_rows("<"), RGB), True),
        ("c.ply", ply("binary_big_endian", colored_rows(">"), RGB), True),
        ("d.xyz", ROWS, False),
        ("e.obj", b"\n".join(b"v " + row for row in ROWS.splitlines()), False),
    ],
)
def test_point_clouds_are_read(tmp_path, name, data, colored):
    (tmp_path / name).write_bytes(data)
    points, colors = read_point_cloud(tmp_path / name)
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, POINTS)
    if colored:
        np.testing.assert_allclose(colors, COLORS / 255, atol=1e-6)
    else:
        assert colors is None


def test_our_own_ply_and_npy_are_read(painted, tmp_path):
    export(painted, tmp_path / "mesh.ply", "ply")
    points, colors = read_point_cloud(tmp_path / "mesh.ply")
    np.testing.assert_array_equal(points, painted.vertices)
    np.testing.assert_allclose(colors, painted.colors, atol=0.5 / 255 + 1e-6)
    np.save(tmp_path / "points.npy", points.astype(np.float64))
    np.testing.assert_array_equal(read_point_cloud(tmp_path / "points.npy")[0], points)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.ply", b"hello", "damaged"),
        ("a.ply", b"", "damaged"),
        ("a.ply", ply("binary_little_endian", colored_rows("<")[:-7], RGB), "damaged"),
        ("a.ply", ply("ascii", b"", count=0), "holds no points"),
        ("a.ply", ply("ascii", ROWS.replace(b"4.0", b"nan") + b"\n"), "1 of 3 points are NaN"),
        ("a.npy", b"\x93NUMPY", "damaged"),
        ("a.step", b"", r"ends in \.ply, \.obj"),
    ],
)
def test_bad_point_clouds_are_explained(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=words) as caught:
        read_point_cloud(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_point_cloud_is_explained(tmp_path):
    with pytest.raises(UserError, match=r"gone\.ply: no such file"):
        read_point_cloud(tmp_path / "gone.ply")


def test_normalized_points_are_centred_with_longest_side_1_8():
    points = normalize_points(POINTS)
    assert points.dtype == np.float32
    extent = points.max(axis=0) - points.min(axis=0)
    np.testing.assert_allclose(extent, np.array([3.0, 1.0, 6.0]) * 0.3, atol=1e-6)
    np.testing.assert_allclose(points.max(axis=0) + points.min(axis=0), 0, atol=1e-6)
    with pytest.raises(UserError, match="coincide"):
        normalize_points(POINTS[[0, 0]])
