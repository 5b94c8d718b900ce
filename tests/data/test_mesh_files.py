"""Mesh files of every format, with their transforms and colours; and hostile ones, refused."""

import contextlib
import csv
import io
import itertools
import json
import re
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import trimesh
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


def glb(header, payload=b""):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(payload), b"BIN\0") + payload
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def triangle_header(**changes):
    """One triangle as glTF; `changes` replace entries of the header."""
    accessor = {"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 3}
    return {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [accessor],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"byteLength": 36}],
    } | changes


TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes()
POSITIONS = {"bufferView": 0, "componentType": 5126, "type": "VEC3"}


def png_bomb(side):
    """A PNG of side x side black pixels in a few kilobytes."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    size = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def ico(png):
    """A Windows icon of one image."""
    return struct.pack("<3H4B2H2I", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(png), 22) + png


GLOSSY = "KHR_materials_pbrSpecularGlossiness"


def textured_glb(image, glossy=False, mime="image/png", **info):
    payload = TRIANGLE + np.zeros((3, 2), "<f4").tobytes() + image
    uv = {"bufferView": 1, "componentType": 5126, "type": "VEC2", "count": 3}
    ends = np.cumsum([0, 36, 24, len(image)])
    views = [
        {"buffer": 0, "byteOffset": int(a), "byteLength": int(b - a)}
        for a, b in itertools.pairwise(ends)
    ]
    primitive = {"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "material": 0}
    texture = {"index": 0} | info
    material = {"pbrMetallicRoughness": {"baseColorTexture": texture}}
    if glossy:
        values = {"diffuseTexture": texture, "diffuseFactor": [1, 1, 1, 1]}
        material = {"extensions": {GLOSSY: values | {"specularFactor": [0.5, 0.5, 0.5]}}}
    header = triangle_header(
        meshes=[{"primitives": [primitive]}],
        materials=[material],
        textures=[{"source": 0}],
        images=[{"bufferView": 2, "mimeType": mime}],
        accessors=[POSITIONS | {"count": 3}, uv],
        bufferViews=views,
        buffers=[{"byteLength": len(payload)}],
    )
    return glb(header, payload)


PLY_HEADER = "ply\nformat {}\nelement vertex {}\nproperty float x\nproperty float y\n"
PLY_HEADER += (
    "property float z\nelement face {}\nproperty list uchar int vertex_indices\nend_header\n"
)
BIG = 10**8


def ply(form, vertices, faces, data):
    return PLY_HEADER.format(form, vertices, faces).encode() + data


def changed(**changes):
    """A GLB file of 100 triangles' data with some of its header replaced."""
    return glb(triangle_header(**changes), TRIANGLE * 100)


def naming(uri):
    """A glTF file whose data is elsewhere."""
    return json.dumps(triangle_header(buffers=[{"byteLength": 36, "uri": uri}])).encode()


def positions(count, **more):
    return POSITIONS | {"count": count} | more


VIEW = {"buffer": 0, "byteLength": 3600}
COPIES = {
    "scenes": [{"nodes": list(range(90_000))}],
    "nodes": [{"mesh": 0}] * 90_000,
    "accessors": [positions(300)],
    "bufferViews": [VIEW],
}
OBJ = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
OFF = b"OFF\n3 %d 0\n0 0 %s\n1 0 0\n0 1 0\n3 0 1 %d\n"
LITTLE, ASCII = "binary_little_endian 1.0", "ascii 1.0"
LENGTHS = struct.pack("<4sIII4s", b"glTF", 2, 2**32 - 1, 8, b"JSON")
HOSTILE = {
    "faces.ply": (ply(LITTLE, 3, BIG, TRIANGLE), "claims 100,000,000 face"),
    "vertices.ply": (ply(ASCII, BIG, 1, b"0 0 0\n"), "claims 100,000,000 vertex"),
    "negative.ply": (ply(ASCII, -5, 1, b"0 0 0\n"), "claims -5 vertex"),
    "points.ply": (ply(ASCII, 1, 0, b"0 0 0\n"), "no triangles"),
    "empty.ply": (b"", "empty file"),
    "faces.stl": (bytes(80) + struct.pack("<I", BIG) + bytes(50), "claims 100,000,000 faces"),
    "short.stl": (bytes(40), "cut short"),
    "noise.stl": (np.random.default_rng(0).bytes(5000), "claims"),
    "faces.off": (OFF % (BIG, b"0", 2), "claims 100,000,000 faces"),
    "index.off": (OFF % (1, b"0", 999_999_999), "unreadable"),
    "infinite.off": (OFF % (1, b"1e999", 2), "1 of 3 vertices are NaN"),
    "nan.obj": (OBJ.replace(b"v 0 0 0", b"v 0 0 nan"), "1 of 3 vertices are NaN"),
    "index.obj": (OBJ.replace(b"f 1 2 3", b"f 1 2 900000000"), "unreadable"),
    "noise.obj": (np.random.default_rng(1).bytes(5000), "holds no triangles|unreadable"),
    "material.obj": (b"mtllib ../secret.mtl\n" + OBJ, "'../secret.mtl', which lies outside"),
    "wrong.glb": (b"PK\x03\x04" + bytes(100), "not a GLB file"),
    "length.glb": (LENGTHS + b"{}      ", "claims 4,294,967,295 bytes"),
    "count.glb": (changed(accessors=[positions(BIG)]), "claims 100,000,000 values"),
    "zeros.glb": (
        changed(accessors=[{"componentType": 5126, "type": "VEC3", "count": BIG}]),
        "arrays without data",
    ),
    "sparse.glb": (changed(accessors=[positions(3, sparse={})]), "sparse arrays"),
    "views.glb": (changed(bufferViews=[VIEW] * 5000), "more data in its buffer views"),
    "arrays.glb": (
        changed(bufferViews=[VIEW], accessors=[positions(300)] * 9000),
        "more data in its arrays",
    ),
    "copies.glb": (changed(**COPIES), "9,000,000 faces in all its copies"),
    "nodes.glb": (changed(nodes=[{}] * 100_001), "100,001 nodes"),
    "draco.glb": (
        changed(extensionsRequired=["KHR_draco_mesh_compression"]),
        "uses KHR_draco_mesh_compression",
    ),
    "bomb.glb": (textured_glb(png_bomb(60_000)), "60,000 x 60,000 pixels"),
    "glossy.glb": (textured_glb(png_bomb(60_000), glossy=True), "60,000 x 60,000 pixels"),
    "torn.glb": (textured_glb(png_bomb(2_000)[:-600]), "damaged texture"),
    "deep.gltf": (b"[" * 200_000, "unreadable"),
    "outside.gltf": (naming("../secret.bin"), "'../secret.bin', which lies outside"),
    "escaped.gltf": (naming("%2e%2e/secret.bin"), "lies outside"),
    "absolute.gltf": (naming("/etc/hostname"), "lies outside"),
    "lost.gltf": (naming("lost.bin"), "lost.bin is missing"),
}
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n0 0 moveto\n%%EOF\n"
UNREAD = {
    "ico.glb": textured_glb(ico(png_bomb(30_000))),
    "eps.glb": textured_glb(EPS),
    "text.glb": textured_glb(b"no image"),
    "ktx.glb": textured_glb(b"\xabKTX 20\xbb", mime="image/ktx2"),
    "eps.obj": b"mtllib eps.mtl\nvt 0 0\nusemtl a\n" + OBJ.replace(b"f 1 2 3", b"f 1/1 2/1 3/1"),
}


def write_unread(folder):
    (folder / "eps.mtl").write_text("newmtl a\nmap_Kd eps.png\n")
    (folder / "eps.png").write_bytes(EPS)
    for name, data in UNREAD.items():
        (folder / name).write_bytes(data)


def test_textures_that_cannot_be_read_are_a_note(tmp_path):
    write_unread(tmp_path)
    for name in UNREAD:
        raw, _ = read_mesh(tmp_path / name, tmp_path)
        assert (name, raw.notes) == (name, (mesh_files.UNREAD_IMAGE,))
        assert not raw.colored


PEAKS = """
import re, sys
from pathlib import Path
from otuken_jax.data.mesh_files import read_mesh
for name in sys.argv[1:]:
    read_mesh(Path(name), Path(name).parent)
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@on_linux
def test_no_texture_is_decoded_as_it_is_opened(tmp_path):
    """Pillow's memory is none of Python's, so it is the process's that is measured."""
    (tmp_path / "plain.glb").write_bytes(textured_glb(png_bomb(900)))
    write_unread(tmp_path)
    names = [str(tmp_path / name) for name in ("plain.glb", *UNREAD)]
    program = [sys.executable, "-c", PEAKS, *names]
    peaks = subprocess.run(program, capture_output=True, text=True, check=True).stdout.split()
    assert len(peaks) == len(names)
    assert int(peaks[-1]) - int(peaks[0]) < 64 * 2**10  # KiB


def tree_peaks(root):
    """The highest memory so far, in bytes, of a process and of those that it started."""
    parents, peaks = {}, {}
    for file in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):  # it has just ended
            fields = dict(re.findall(r"^(Pid|PPid|VmHWM):\s+(\d+)", file.read_text(), re.M))
            pid = int(fields["Pid"])
            parents[pid], peaks[pid] = int(fields["PPid"]), int(fields.get("VmHWM", 0)) * 1024

    def ours(pid):
        return pid == root or (pid in parents and ours(parents[pid]))

    return {pid: peak for pid, peak in peaks.items() if ours(pid)}


@on_linux
@pytest.mark.slow
def test_the_command_reports_a_folder_of_hostile_files(tmp_path):
    root, out = tmp_path / "meshes", tmp_path / "out"
    root.mkdir()
    (tmp_path / "secret.bin").write_bytes(TRIANGLE)
    (tmp_path / "secret.mtl").write_text("newmtl a\n")
    for name, (data, _) in HOSTILE.items():
        (root / name).write_bytes(data)
    write_unread(root)
    trimesh.creation.icosphere(2).export(root / "top.ply")
    captions = tmp_path / "captions.csv"
    captions.write_text("path,text\ntop.ply,top\n../x,kaçak\n/etc/hostname,kaçak\n")
    command = [sys.executable, "-m", "otuken_jax.prepare", "--meshes", root, "--out", out]
    command += ["--captions", captions, "--workers", 2, "--timeout", 30, "--resolution", 16]
    began, peaks = time.monotonic(), {}
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log)
        try:
            while process.poll() is None and time.monotonic() - began < 180:
                for pid, peak in tree_peaks(process.pid).items():
                    peaks[pid] = max(peak, peaks.get(pid, 0))  # a process that ended has none
                time.sleep(0.1)
        finally:
            process.kill()
        log.seek(0)
        assert process.wait() == 0, log.read()
    with (out / "report.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = {row["path"]: (row["status"], row["reason"]) for row in csv.DictReader(lines)}
    assert rows.pop("top.ply") == ("ok", "")
    outside = "outside the folder of the meshes; not opened"
    assert rows.pop("../x") == ("failed", f"line 3: {outside}")
    assert rows.pop("/etc/hostname") == ("failed", f"line 4: {outside}")
    reasons = {name: reason for name, (_, reason) in HOSTILE.items()}
    reasons |= dict.fromkeys(UNREAD, "has no inside")  # one triangle
    assert rows.keys() == reasons.keys()
    for name, (status, reason) in rows.items():
        assert (name, status) == (name, "failed")
        assert re.search(reasons[name], reason), (name, reason)
    manifest = json.loads((out / "dataset.json").read_text())
    assert {n: s["count"] for n, s in manifest["splits"].items()} == {"train": 1, "val": 1}
    assert len(peaks) >= 3  # the command and both of its processes
    assert max(peaks.values()) < 2**29  # measured: 0.25 GiB, which is what the programs take


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path, name):
    data, reason = HOSTILE[name]
    folder = tmp_path / "meshes"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(TRIANGLE)
    (tmp_path / "secret.mtl").write_text("newmtl a\n")
    (folder / name).write_bytes(data)
    began = time.monotonic()
    tracemalloc.start()  # counts NumPy's arrays too
    with pytest.raises(BadMesh, match=reason):
        read_mesh(folder / name, folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - began < 10
    assert peak < 64 * 2**20


def test_the_harmless_twins_of_hostile_files_are_read(tmp_path):
    """So that it is the hostile part that is refused."""
    (tmp_path / "t.glb").write_bytes(glb(triangle_header(), TRIANGLE))
    (tmp_path / "i.glb").write_bytes(textured_glb(png_bomb(900)))
    (tmp_path / "t.ply").write_bytes(ply(LITTLE, 3, 1, TRIANGLE + struct.pack("<Biii", 3, 0, 1, 2)))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/u.gltf").write_bytes(naming("../secret.bin"))
    (tmp_path / "secret.bin").write_bytes(TRIANGLE)
    for name in ("t.glb", "i.glb", "t.ply", "sub/u.gltf"):
        assert len(read_mesh(tmp_path / name, tmp_path)[0].faces) == 1
    assert read_mesh(tmp_path / "sub/u.gltf", tmp_path)[1] == [(tmp_path / "secret.bin").resolve()]


def test_large_files_are_refused_unopened(tmp_path, monkeypatch):
    monkeypatch.setattr(mesh_files, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr(mesh_files, "MAX_FACES", 11)
    box().export(tmp_path / "b.stl")
    with pytest.raises(BadMesh, match="684 bytes, more than 100"):
        read_mesh(tmp_path / "b.stl", tmp_path)
    monkeypatch.setattr(mesh_files, "MAX_FILE_BYTES", 10_000)
    for name in ("b.stl", "b.obj", "b.ply", "b.off", "b.glb"):
        box().export(tmp_path / name)
        with pytest.raises(BadMesh, match="12 faces"):
            read_mesh(tmp_path / name, tmp_path)
