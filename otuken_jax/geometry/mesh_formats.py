"""The bytes of mesh files, one encoder a format; the same mesh and info give the same bytes.

`info`, such as the prompt, goes where a format has a place for it: all but STL do.
"""

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from xml.sax.saxutils import escape

import numpy as np
from jaxtyping import Float, UInt8

from otuken_jax.geometry.surface_mesh import SurfaceMesh, vertex_normals

Info = Mapping[str, str | int | float | None]
GENERATOR = "otuken_jax"
CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
MATERIALS = "http://schemas.microsoft.com/3dmanufacturing/material/2015/02"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
MODEL_PATH = "3D/3dmodel.model"
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def _to_bytes(colors: Float[np.ndarray, "v 3"]) -> UInt8[np.ndarray, "v 3"]:
    return np.rint(np.clip(colors, 0.0, 1.0) * 255.0).astype(np.uint8)


def _one_line(info: Info) -> str:
    """ASCII and without line breaks, whatever the prompt holds."""
    return json.dumps(dict(info))


def encode_stl(mesh: SurfaceMesh, info: Info) -> bytes:
    """Binary STL: z up, face normals; no colours, and no room for the info."""
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    records = np.zeros(len(mesh.faces), [("normal", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")])
    records["normal"], records["v"] = normals, corners
    header = f"{GENERATOR}, z up".encode().ljust(80)
    return header + struct.pack("<I", len(records)) + records.tobytes()


def encode_ply(mesh: SurfaceMesh, info: Info) -> bytes:
    """Binary little-endian PLY: z up, vertex colours as bytes."""
    header = ["ply", "format binary_little_endian 1.0", f"comment {GENERATOR}, z up"]
    header += [f"comment {_one_line(info)}", f"element vertex {len(mesh.vertices)}"]
    header += [f"property float {axis}" for axis in "xyz"]
    fields = [("position", "<f4", 3)]
    if mesh.colors is not None:
        header += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
        fields.append(("color", "u1", 3))
    header += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices"]
    vertices = np.zeros(len(mesh.vertices), fields)
    vertices["position"] = mesh.vertices
    if mesh.colors is not None:
        vertices["color"] = _to_bytes(mesh.colors)
    faces = np.zeros(len(mesh.faces), [("count", "u1"), ("index", "<i4", 3)])
    faces["count"], faces["index"] = 3, mesh.faces
    text = "\n".join([*header, "end_header", ""])
    return text.encode("ascii") + vertices.tobytes() + faces.tobytes()


def encode_obj(mesh: SurfaceMesh, info: Info) -> bytes:
    """OBJ: z up, vertex colours as three more numbers on each `v` line."""
    rows, line = mesh.vertices.astype(np.float64), "v %.9g %.9g %.9g\n"
    if mesh.colors is not None:
        rows = np.concatenate([rows, mesh.colors], axis=1)
        line = "v %.9g %.9g %.9g %.4f %.4f %.4f\n"
    vertices = (line * len(rows)) % tuple(rows.ravel().tolist())
    faces = ("f %d %d %d\n" * len(mesh.faces)) % tuple((mesh.faces.ravel() + 1).tolist())
    header = f"# {GENERATOR}, z up\n# {_one_line(info)}\n"
    return (header + vertices + faces).encode("ascii")


def _y_up(vectors: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "v 3"]:
    x, y, z = vectors.T
    return np.stack([x, z, -y], axis=1).astype("<f4")


def encode_glb(mesh: SurfaceMesh, info: Info) -> bytes:
    """Binary glTF 2.0: y up, smooth normals, vertex colours linear as it asks, info in extras."""
    positions = _y_up(mesh.vertices)
    arrays = {"POSITION": positions, "NORMAL": _y_up(vertex_normals(mesh))}
    if mesh.colors is not None:
        srgb = np.clip(mesh.colors.astype(np.float64), 0.0, 1.0)
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        arrays["COLOR_0"] = np.pad(linear, ((0, 0), (0, 1)), constant_values=1.0).astype("<f4")
    attributes = {name: index for index, name in enumerate(arrays)}
    accessors = [
        {"componentType": 5126, "type": f"VEC{a.shape[1]}", "count": len(a)}
        for a in arrays.values()
    ]
    accessors[0] |= {"min": positions.min(0).tolist(), "max": positions.max(0).tolist()}
    accessors.append({"componentType": 5125, "type": "SCALAR", "count": mesh.faces.size})
    buffers = [a.tobytes() for a in arrays.values()] + [mesh.faces.astype("<u4").tobytes()]
    views, offset = [], 0
    for index, data in enumerate(buffers):
        accessors[index]["bufferView"] = index
        target = 34963 if index == len(arrays) else 34962  # element or vertex array
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(data), "target": target})
        offset += len(data)
    # glTF's default material is a metal, which looks black without an environment to mirror.
    surface = {"metallicFactor": 0.0, "roughnessFactor": 0.6}
    primitive = {"attributes": attributes, "indices": len(arrays), "material": 0}
    document = {
        "asset": {"version": "2.0", "generator": GENERATOR, "extras": dict(info)},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"pbrMetallicRoughness": surface}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": offset}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text  # "JSON"
    chunks += struct.pack("<II", offset, 0x004E4942) + b"".join(buffers)  # "BIN"
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def encode_3mf(mesh: SurfaceMesh, info: Info) -> bytes:
    """3MF (core specification 1.3): millimetres, z up, in the positive octant.

    Vertex colours are a colour group of the materials extension.
    """
    content = f"""<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="{PACKAGE}/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>
</Types>"""
    relation = f"""<?xml version="1.0" encoding="UTF-8"?>
<Relationships xmlns="{PACKAGE}/relationships">
<Relationship Id="model" Type="{CORE.replace("core/2015/02", "2013/01/3dmodel")}" \
Target="/{MODEL_PATH}"/>
</Relationships>"""
    parts = {"[Content_Types].xml": content, "_rels/.rels": relation}
    parts[MODEL_PATH] = _model_of_3mf(mesh, info)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in parts.items():
            entry = zipfile.ZipInfo(name, ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text.encode())
    return buffer.getvalue()


def _model_of_3mf(mesh: SurfaceMesh, info: Info) -> str:
    vertices = mesh.vertices - mesh.vertices.min(axis=0)
    points = '<vertex x="%.9g" y="%.9g" z="%.9g"/>\n' * len(vertices) % tuple(vertices.ravel())
    rows, line, palette = mesh.faces, '<triangle v1="%d" v2="%d" v3="%d"/>\n', ""
    if mesh.colors is not None:
        colors, number = np.unique(_to_bytes(mesh.colors), axis=0, return_inverse=True)
        palette = '<m:color color="#%02X%02X%02X"/>\n' * len(colors) % tuple(colors.ravel())
        palette = f'<m:colorgroup id="1">\n{palette}</m:colorgroup>\n'
        rows = np.concatenate([mesh.faces, number.ravel()[mesh.faces]], axis=1)
        line = '<triangle v1="%d" v2="%d" v3="%d" pid="1" p1="%d" p2="%d" p3="%d"/>\n'
    triangles = line * len(rows) % tuple(rows.ravel())
    title, description = str(info.get("prompt") or ""), json.dumps(dict(info), ensure_ascii=False)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<model unit="millimeter" xml:lang="tr" xmlns="{CORE}" xmlns:m="{MATERIALS}">
<metadata name="Application">{GENERATOR}</metadata>
<metadata name="Title">{_xml_text(title)}</metadata>
<metadata name="Description">{_xml_text(description)}</metadata>
<resources>
{palette}<object id="2" type="model"{' pid="1" pindex="0"' if palette else ""}>
<mesh>
<vertices>
{points}</vertices>
<triangles>
{triangles}</triangles>
</mesh>
</object>
</resources>
<build>
<item objectid="2"/>
</build>
</model>
"""


def _xml_text(text: str) -> str:
    """Escaped, and without control characters, which XML has no way to write."""
    return escape("".join(c if c.isprintable() else " " for c in text))
