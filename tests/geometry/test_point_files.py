import numpy as np
import pytest
from known_shapes import painted_ball

from otuken_jax.errors import UserError
from otuken_jax.geometry.mesh_io import export, normalize_points, read_point_cloud

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


def test_our_own_ply_and_npy_are_read(tmp_path):
    painted = painted_ball()
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
        ("a.xyz", b"0 0 1e300\n1 2 3\n", "1 of 2 points are NaN, infinite or beyond 3e38"),
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


@pytest.mark.parametrize("unit", [1e-44, 1e-30, 1e30, 3e38])
def test_a_cloud_of_any_width_keeps_its_shape(unit):
    corners = np.array([[-1, -1, -1], [1, 1, 1], [-1, 1, 1]], np.float32)
    points = normalize_points((corners * np.float64(unit)).astype(np.float32))
    np.testing.assert_allclose(points, corners * 0.9, rtol=1e-6)


def test_a_cloud_beyond_all_numbers_is_explained():
    for width in (5e-324, 1.7e308):
        with pytest.raises(UserError, match="cannot be scaled; use another unit"):
            normalize_points(np.array([[-width] * 3, [width] * 3]))
