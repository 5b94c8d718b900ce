import dataclasses
import errno
import json
import os
import struct
import zipfile
from pathlib import Path

import lib3mf
import numpy as np
import pytest
import trimesh
from known_shapes import painted_ball, volume

from otuken_jax.errors import UserError
from otuken_jax.geometry.mesh_io import FORMATS, SIZES_MM, SurfaceMesh, export


@pytest.fixture(scope="module")
def painted():
    return painted_ball()


@pytest.mark.parametrize("name", ["glb", "obj", "stl", "ply"])
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


PROMPT = 'İznik <lale> & "vazo"\n\x01'


def read_3mf(path):
    """(model, mesh object) by the format's reference library, which must find nothing odd."""
    model = lib3mf.get_wrapper().CreateModel()
    reader = model.QueryReader("3mf")
    reader.SetStrictModeActive(True)
    reader.ReadFromFile(str(path))
    assert reader.GetWarningCount() == 0
    objects = model.GetMeshObjects()
    assert objects.Count() == 1
    objects.MoveNext()
    return model, objects.GetCurrentMeshObject()


def positions_3mf(shape):
    return np.array([list(v.Coordinates) for v in shape.GetVertices()])


@pytest.mark.parametrize("colored", [True, False])
def test_3mf_is_valid_closed_and_colored(painted, tmp_path, colored):
    mesh = painted if colored else SurfaceMesh(painted.vertices, painted.faces)
    export(mesh, tmp_path / "shape.3mf", "3mf", info={"prompt": PROMPT, "seed": 3})
    model, shape = read_3mf(tmp_path / "shape.3mf")
    assert model.GetUnit() == lib3mf.ModelUnit.MilliMeter
    assert model.GetBuildItems().Count() == 1
    assert shape.IsValid()
    assert shape.IsManifoldAndOriented()
    faces = np.array([list(t.Indices) for t in shape.GetTriangleIndices()])
    np.testing.assert_array_equal(faces, painted.faces)
    longest = np.ptp(painted.vertices, axis=0).max()
    expected = (painted.vertices - painted.vertices.min(axis=0)) * 100 / longest
    np.testing.assert_allclose(positions_3mf(shape), expected, atol=1e-4)
    metadata = model.GetMetaDataGroup()
    assert metadata.GetMetaDataByKey("", "Title").GetValue() == 'İznik <lale> & "vazo"  '
    assert json.loads(metadata.GetMetaDataByKey("", "Description").GetValue())["seed"] == 3
    if not colored:
        return
    group = model.GetColorGroupByID(shape.GetTriangleProperties(0).ResourceID)
    channels = {i: group.GetColor(i) for i in group.GetAllPropertyIDs()}
    for face, properties in zip(faces, shape.GetAllTriangleProperties(), strict=True):
        for vertex, number in zip(face, properties.PropertyIDs, strict=True):
            color = channels[number]
            got = np.array([color.Red, color.Green, color.Blue]) / 255
            np.testing.assert_allclose(got, painted.colors[vertex], atol=0.5 / 255 + 1e-6)


def test_3mf_holds_no_date(painted, tmp_path):
    export(painted, tmp_path / "shape.3mf", "3mf")
    with zipfile.ZipFile(tmp_path / "shape.3mf") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist()[0] == "[Content_Types].xml"


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_size_in_millimetres_stands_on_the_ground(painted, tmp_path, name):
    path = tmp_path / f"shape.{name}"
    export(painted, path, name, size_mm=120.0)
    if name == "3mf":
        positions = positions_3mf(read_3mf(path)[1])
        positions[:, :2] -= np.ptp(positions, axis=0)[:2] / 2  # its corner is at the origin
    else:
        positions = trimesh.load(path, force="mesh").vertices
    low, high = positions.min(axis=0), positions.max(axis=0)
    up = 1 if name == "glb" else 2
    unit = 0.001 if name == "glb" else 1.0
    assert (high - low).argmax() == up  # the painted ball is taller than wide
    assert high[up] == pytest.approx(120 * unit, rel=1e-6)
    assert low[up] == pytest.approx(0, abs=1e-6 * unit)
    level = [i for i in range(3) if i != up]
    np.testing.assert_allclose((low + high)[level], 0, atol=2e-5 * unit)


def test_what_was_asked_is_in_the_file(painted, tmp_path):
    info = {"prompt": PROMPT, "seed": 3, "model": "otuken_jax 32^3"}
    for name in ("glb", "obj", "ply"):
        export(painted, tmp_path / f"shape.{name}", name, info=info)
        assert trimesh.load(tmp_path / f"shape.{name}", force="mesh").is_watertight
    data = (tmp_path / "shape.glb").read_bytes()
    length = struct.unpack_from("<I", data, 12)[0]
    assert json.loads(data[20 : 20 + length])["asset"]["extras"] == info
    for name, mark in (("obj", b"# {"), ("ply", b"comment {")):
        lines = (tmp_path / f"shape.{name}").read_bytes().split(b"\n")[:10]
        line = next(line for line in lines if line.startswith(mark))
        assert json.loads(line[len(mark) - 1 :]) == info


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("colored", [True, False])
def test_the_same_mesh_gives_the_same_bytes(painted, tmp_path, name, colored):
    mesh = painted if colored else SurfaceMesh(painted.vertices, painted.faces)
    copy = SurfaceMesh(mesh.vertices.copy(), mesh.faces.copy(), mesh.colors)
    export(mesh, tmp_path / "a", name, size_mm=50.0, info={"prompt": "vazo"})
    export(copy, tmp_path / "b", name, size_mm=50.0, info={"prompt": "vazo"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("size", [1e300, 1e-300, 0.0, -5.0, float("nan"), float("inf")])
def test_a_size_out_of_range_writes_nothing(painted, tmp_path, size):
    with pytest.raises(UserError, match=r"out of range; give 0\.1 to 100000 mm"):
        export(painted, tmp_path / "a.glb", "glb", size_mm=size)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", SIZES_MM)
def test_the_smallest_and_the_largest_size_are_whole(painted, tmp_path, size):
    export(painted, tmp_path / "a.glb", "glb", size_mm=size)
    mesh = trimesh.load(tmp_path / "a.glb", force="mesh")
    assert mesh.extents.max() == pytest.approx(size / 1000, rel=1e-5)
    assert mesh.volume > 0


@pytest.mark.parametrize("factor", [0.0, np.nan, np.inf])
def test_a_mesh_without_an_extent_writes_nothing(painted, tmp_path, factor):
    with np.errstate(invalid="ignore"):
        vertices = painted.vertices * np.float32(factor)
    with np.errstate(invalid="ignore"), pytest.raises(UserError, match="no finite extent"):
        export(dataclasses.replace(painted, vertices=vertices), tmp_path / "a.stl", "stl")
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_names_the_known(painted, tmp_path):
    with pytest.raises(UserError, match="'fbx': choose from glb, obj, stl, ply, 3mf"):
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
