"""Mesh files that claim, hide or reach for more than they may; and unreadable textures."""

import itertools
import json
import struct
import zlib

import numpy as np


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
