"""Mesh files of every format, with their transforms, textures and colours."""

import io

import numpy as np
import pytest
import trimesh
from hostile_files import textured_glb
from PIL import Image

from otuken_jax.data import mesh_files
from otuken_jax.data.mesh_files import BadMesh, read_mesh

THIRDS = np.full((1, 3), 1 / 3)


def box():
    return trimesh.creation.box([1.0, 2.0, 3.0])


def volume(raw):
    return trimesh.Trimesh(raw.vertices, raw.faces, process=False).volume


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "off", "glb", "gltf", "PLY"])
def test_every_format_is_read(tmp_path, suffix):
    path = tmp_path / f"box.{suffix}"
    box().export(path, file_type=suffix.lower())
    if suffix == "gltf":  # trimesh writes a folder's worth of files
        path.unlink()
        for name, data in trimesh.Scene(box()).export(file_type="gltf").items():
            (tmp_path / name.replace("model", "box")).write_bytes(data)
    raw, _ = read_mesh(path, tmp_path)
    assert len(raw.faces) == 12
    assert volume(raw) == pytest.approx(6)
    np.testing.assert_allclose(np.ptp(raw.vertices, axis=0), [1, 2, 3])


def test_text_formats_are_read(tmp_path):
    (tmp_path / "a.ply").write_bytes(box().export(file_type="ply", encoding="ascii"))
    (tmp_path / "a.stl").write_text(box().export(file_type="stl_ascii"))
    for name in ("a.ply", "a.stl"):
        assert volume(read_mesh(tmp_path / name, tmp_path)[0]) == pytest.approx(6)


def test_scenes_are_flattened_with_their_transforms(tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(box(), node_name="a", geom_name="box")
    moved = trimesh.transformations.translation_matrix([10, 0, 0])
    scene.graph.update("b", "world", matrix=moved, geometry="box")
    mirror = np.diag([-2.0, 1.0, 1.0, 1.0])
    mirror[0, 3] = -10
    scene.graph.update("c", "b", matrix=mirror, geometry="box")
    scene.export(tmp_path / "s.glb")
    raw, _ = read_mesh(tmp_path / "s.glb", tmp_path)
    assert len(raw.faces) == 36
    # The mirrored copy, twice as wide, is not inside out.
    assert volume(raw) == pytest.approx(6 + 6 + 12)
    centers = sorted(raw.vertices.reshape(3, 8, 3).mean(axis=1)[:, 0].round(6).tolist())
    assert centers == [0, 0, 10]


def quad(material=None):
    """A unit square; by default its texture's left half is red, the right half blue."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4], pixels[:, 4:] = (200, 30, 40), (20, 60, 210)
    textured = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(pixels))
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    visual = trimesh.visual.TextureVisuals(uv=vertices[:, :2], material=material or textured)
    return trimesh.Trimesh(vertices, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)


def color_near(raw, place):
    """The colour at the point of the mesh nearest to `place`."""
    mesh = trimesh.Trimesh(raw.vertices, raw.faces, process=False)
    at, _, face = trimesh.proximity.closest_point_naive(mesh, [place])
    weights = trimesh.triangles.points_to_barycentric(mesh.triangles[face], at)
    return 255 * raw.colors(face, weights)[0]


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_textures_are_sampled(tmp_path, suffix):
    quad().export(tmp_path / f"q.{suffix}")
    raw, companions = read_mesh(tmp_path / f"q.{suffix}", tmp_path)
    assert raw.colored
    np.testing.assert_allclose(color_near(raw, [0.2, 0.7, 0]), [200, 30, 40], atol=1)
    np.testing.assert_allclose(color_near(raw, [0.8, 0.1, 0]), [20, 60, 210], atol=1)
    assert len(companions) == (2 if suffix == "obj" else 0)


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_a_shared_texture_is_decoded_once(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(mesh_files, "MAX_ALL_PIXELS", 100)  # the texture has 64
    if suffix == "glb":
        material = quad().visual.material
        trimesh.Scene([quad(material) for _ in range(3)]).export(tmp_path / "q.glb")
    else:
        quad().export(tmp_path / "q.obj")
        materials = tmp_path / "material.mtl"
        image = materials.read_text().partition("map_Kd")[2].split()[0]
        names = ("a", "b", "c")
        materials.write_text("".join(f"newmtl {n}\nmap_Kd {image}\n" for n in names))
        head, _, tail = (tmp_path / "q.obj").read_text().partition("usemtl")
        faces = tail.partition("\n")[2]
        parts = "".join(f"usemtl {n}\n{faces}\n" for n in names)
        (tmp_path / "q.obj").write_text(head + parts)
    raw, companions = read_mesh(tmp_path / f"q.{suffix}", tmp_path)
    first, *others = (coloring.texture for _, coloring in raw.parts)
    assert len(others) == 2
    assert all(texture is first for texture in others)
    assert len(companions) == (2 if suffix == "obj" else 0)
    np.testing.assert_allclose(color_near(raw, [0.8, 0.1, 0]), [20, 60, 210], atol=1)


def test_textures_are_limited_together(tmp_path, monkeypatch):
    monkeypatch.setattr(mesh_files, "MAX_ALL_PIXELS", 100)
    gray = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.new("RGB", (8, 8), "gray"))
    trimesh.Scene([quad(), quad(gray)]).export(tmp_path / "q.glb")
    with pytest.raises(BadMesh, match="more than 100 pixels in all"):
        read_mesh(tmp_path / "q.glb", tmp_path)


def test_a_mirrored_copy_keeps_its_texture(tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(quad(), transform=np.diag([-1.0, 1, 1, 1]))
    scene.export(tmp_path / "q.glb")
    raw, _ = read_mesh(tmp_path / "q.glb", tmp_path)
    np.testing.assert_allclose(color_near(raw, [-0.2, 0.7, 0]), [200, 30, 40], atol=1)


def test_linear_factors_of_gltf_become_srgb(tmp_path):
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=[0.5, 0.2, 1.0, 1.0])
    quad(material=material).export(tmp_path / "q.glb")
    raw, _ = read_mesh(tmp_path / "q.glb", tmp_path)
    # sRGB of linear 0.5 and 0.2, by the standard's formula; trimesh keeps eight bits.
    np.testing.assert_allclose(color_near(raw, [0.5, 0.5, 0]), [187.5, 123.6, 255], atol=1.5)


def test_vertex_colors_are_interpolated(tmp_path):
    mesh = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], process=False)
    mesh.visual.vertex_colors = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    mesh.export(tmp_path / "t.ply")
    raw, _ = read_mesh(tmp_path / "t.ply", tmp_path)
    np.testing.assert_allclose(raw.colors(np.array([0]), THIRDS), THIRDS, atol=1e-6)
    plain = tmp_path / "plain.ply"
    box().export(plain)
    assert not read_mesh(plain, tmp_path)[0].colored


def test_our_own_glb_comes_back_with_its_colors(tmp_path):
    from otuken_jax.geometry.mesh_io import SurfaceMesh, export

    mesh = box()
    colors = np.tile(np.float32([0.8, 0.4, 0.6]), (8, 1))
    made = SurfaceMesh(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), colors)
    export(made, tmp_path / "b.glb", "glb")
    raw, _ = read_mesh(tmp_path / "b.glb", tmp_path)
    np.testing.assert_allclose(
        raw.colors(np.arange(12), THIRDS.repeat(12, 0))[0], colors[0], atol=0.01
    )
    np.testing.assert_allclose(np.ptp(raw.vertices, axis=0), [1, 3, 2], rtol=1e-6)  # y up


def test_specular_materials_keep_their_diffuse_colors(tmp_path):
    image = io.BytesIO()
    Image.new("RGB", (2, 2), (200, 100, 50)).save(image, "PNG")
    for name, glossy in (("plain.glb", False), ("glossy.glb", True)):
        (tmp_path / name).write_bytes(textured_glb(image.getvalue(), glossy))
        colors = read_mesh(tmp_path / name, tmp_path)[0].colors(np.array([0]), THIRDS)
        np.testing.assert_allclose(colors, np.array([[200, 100, 50]]) / 255, atol=1e-6)


def test_texture_placement_that_is_not_applied_is_a_note(tmp_path):
    image = io.BytesIO()
    Image.new("RGB", (2, 2), (200, 100, 50)).save(image, "PNG")
    transform = {"extensions": {"KHR_texture_transform": {"scale": [2, 2]}}}
    words = {"KHR_texture_transform is not applied": transform, "by TEXCOORD_0": {"texCoord": 1}}
    for said, info in words.items():
        for glossy in (False, True):
            data = textured_glb(image.getvalue(), glossy, **info)
            (tmp_path / "a.glb").write_bytes(data)
            (note,) = read_mesh(tmp_path / "a.glb", tmp_path)[0].notes
            assert said in note
    (tmp_path / "a.glb").write_bytes(textured_glb(image.getvalue(), texCoord=0))
    assert read_mesh(tmp_path / "a.glb", tmp_path)[0].notes == ()


def test_off_counts_may_follow_the_name_at_once(tmp_path):
    (tmp_path / "a.off").write_bytes(b"OFF3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    assert len(read_mesh(tmp_path / "a.off", tmp_path)[0].faces) == 1


def test_a_missing_material_is_a_note(tmp_path):
    text = box().export(file_type="obj")
    (tmp_path / "a.obj").write_text("mtllib lost.mtl\n" + text)
    raw, _ = read_mesh(tmp_path / "a.obj", tmp_path)
    assert raw.notes == ("lost.mtl is missing",)
