"""The bytes of mesh files, one encoder a format; the same mesh gives the same bytes."""

import json
import struct

import numpy as np
from jaxtyping import Float, UInt8

from otuken_jax.geometry.surface_mesh import SurfaceMesh, vertex_normals


def _to_bytes(colors: Float[np.ndarray, "v 3"]) -> UInt8[np.ndarray, "v 3"]:
    return np.rint(np.clip(colors, 0.0, 1.0) * 255.0).astype(np.uint8)


def encode_stl(mesh: SurfaceMesh) -> bytes:
    """Binary STL: z up, face normals, no colours."""
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    records = np.zeros(len(mesh.faces), [("normal", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")])
    records["normal"], records["v"] = normals, corners
    header = b"otuken_jax, z up".ljust(80)
    return header + struct.pack("<I", len(records)) + records.tobytes()


def encode_ply(mesh: SurfaceMesh) -> bytes:
    """Binary little-endian PLY: z up, vertex colours as bytes."""
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(mesh.vertices)}"]
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


def encode_obj(mesh: SurfaceMesh) -> bytes:
    """OBJ: z up, vertex colours as three more numbers on each `v` line."""
    rows, line = mesh.vertices.astype(np.float64), "v %.7f %.7f %.7f\n"
    if mesh.colors is not None:
        rows = np.concatenate([rows, mesh.colors], axis=1)
        line = "v %.7f %.7f %.7f %.4f %.4f %.4f\n"
    vertices = (line * len(rows)) % tuple(rows.ravel().tolist())
    faces = ("f %d %d %d\n" * len(mesh.faces)) % tuple((mesh.faces.ravel() + 1).tolist())
    return ("# otuken_jax, z up\n" + vertices + faces).encode("ascii")


def _y_up(vectors: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "v 3"]:
    x, y, z = vectors.T
    return np.stack([x, z, -y], axis=1).astype("<f4")


def encode_glb(mesh: SurfaceMesh) -> bytes:
    """Binary glTF 2.0: one node, y up, smooth normals, vertex colours made linear as it asks."""
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
        "asset": {"version": "2.0", "generator": "otuken_jax"},
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
