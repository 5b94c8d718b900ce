"""Closed surface meshes from voxel fields, and the files that hold meshes and point clouds."""

import errno
import io
import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from otuken_jax.conventions import CANONICAL_SIZE, voxel_size
from otuken_jax.errors import UserError

TIE_FRACTION = 1e-3  # |f| below this share of max|f| is moved off zero: no degenerate triangles
POINT_SUFFIXES = (".ply", ".obj", ".xyz", ".npy")


@dataclass(frozen=True)
class SurfaceMesh:
    """Triangles in domain units, z up, wound outward; colours are sRGB in 0..1."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    colors: Float[np.ndarray, "v 3"] | None = None


def field_to_mesh(
    logits: Float[np.ndarray, "r r r"],
    colors: Float[np.ndarray, "r r r 3"] | None = None,
    *,
    level: float = 0.0,
) -> SurfaceMesh:
    """The closed surface `logits == level`, by marching cubes (Lorensen and Cline, 1987).

    A shape that touches the border of the domain is cut by the domain's face.

    Args:
        logits: field at the cell centres of [-1, 1]^3, indexed [x, y, z], inside where > level.
        colors: colour volume in 0..1, sampled trilinearly at the vertices.

    Returns:
        A mesh for which `is_closed` holds, wound outward (its signed volume is positive).

    Raises:
        UserError: no voxel is inside, or the field is not finite.
    """
    from skimage.measure import marching_cubes

    field = np.asarray(logits, np.float32) - np.float32(level)
    if not np.isfinite(field).all():
        raise UserError(
            "the predicted field holds NaN or infinity, so it has no surface: the weights are "
            "damaged or training diverged; use an earlier checkpoint"
        )
    if not (field > 0).any():
        raise UserError(
            f"the predicted shape is empty (the highest logit, {field.max() + level:.2f}, is not "
            f"above {level:g}): train for longer, use a later checkpoint or try another prompt"
        )
    field /= np.abs(field).max()  # skimage's interpolation adds an absolute 1e-7
    ties = np.abs(field) < TIE_FRACTION
    field[ties] = np.where(field[ties] > 0, TIE_FRACTION, -TIE_FRACTION)
    # One outside cell all around, the mirror of its neighbour, puts the cut exactly on the
    # domain's face, half a cell beyond the last centre.
    padded = -np.abs(np.pad(field, 1, mode="edge"))
    padded[1:-1, 1:-1, 1:-1] = field
    # Lewiner's tables, skimage's default, leave holes on tied values; Lorensen's do not.
    indices, faces, _, _ = marching_cubes(
        padded, level=0.0, method="lorensen", gradient_direction="ascent"
    )
    indices = indices.astype(np.float64) - 1.0  # of the unpadded grid
    vertices = ((indices + 0.5) * voxel_size(field.shape[0]) - 1.0).astype(np.float32)
    mesh = SurfaceMesh(
        vertices,
        faces.astype(np.int32),
        None if colors is None else _sample_trilinear(colors, indices),
    )
    if not is_closed(mesh):
        raise RuntimeError("marching cubes gave an open mesh; please report this field")
    return mesh


def _sample_trilinear(
    volume: Float[np.ndarray, "r r r c"], indices: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n c"]:
    """Trilinear samples at fractional voxel indices; beyond the last centre the value stays."""
    top = volume.shape[0] - 1
    indices = np.clip(indices, 0.0, top)
    low = np.minimum(indices.astype(np.int64), max(top - 1, 0))
    high = np.minimum(low + 1, top)
    t = (indices - low)[..., None]
    (x0, y0, z0), (x1, y1, z1) = low.T, high.T
    tx, ty, tz = t[:, 0], t[:, 1], t[:, 2]

    def along_z(x, y):
        return volume[x, y, z0] * (1 - tz) + volume[x, y, z1] * tz

    near = along_z(x0, y0) * (1 - ty) + along_z(x0, y1) * ty
    far = along_z(x1, y0) * (1 - ty) + along_z(x1, y1) * ty
    return (near * (1 - tx) + far * tx).astype(np.float32)


def is_closed(mesh: SurfaceMesh) -> bool:
    """Whether every edge has exactly two faces and these run along it in opposite directions."""
    start = mesh.faces.astype(np.int64)
    end = np.roll(start, -1, axis=1)
    count = len(mesh.vertices)
    directed = np.sort((start * count + end).ravel())
    reverse = np.sort((end * count + start).ravel())
    distinct = bool((directed[1:] != directed[:-1]).all())
    return len(directed) > 0 and distinct and bool((directed == reverse).all())


def signed_volumes(mesh: SurfaceMesh) -> Float[np.ndarray, " f"]:
    """Volume of the tetrahedron of each face and the origin; the sum is the mesh's volume."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(np.float64), 1, 0)
    return _dot(a, np.cross(b, c)) / 6.0


def vertex_normals(mesh: SurfaceMesh) -> Float[np.ndarray, "v 3"]:
    """Unit normals, the area-weighted mean over the faces around each vertex."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(np.float64), 1, 0)
    face_normals = np.repeat(np.cross(b - a, c - a), 3, axis=0)  # length: twice the area
    corners = mesh.faces.ravel()
    sums = np.stack(
        [np.bincount(corners, face_normals[:, i], len(mesh.vertices)) for i in range(3)], axis=1
    )
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    up = np.array([0.0, 0.0, 1.0])
    return np.where(length > 0, sums / np.maximum(length, 1e-30), up).astype(np.float32)


def remove_specks(mesh: SurfaceMesh, min_fraction: float = 0.005) -> tuple[SurfaceMesh, int]:
    """Drops loose parts and bubbles smaller than `min_fraction` of the volume of a closed mesh.

    A part is an outer shell with the cavities right inside it. A cavity that is too small is
    filled, and one whose outer shell goes, goes with it. The largest part always stays.

    Returns:
        The cleaned mesh and the number of shells (outer or cavity) removed from it.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    start = mesh.faces[:, [0, 1]].ravel()
    end = mesh.faces[:, [1, 2]].ravel()
    size = len(mesh.vertices)
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    _, shell = np.unique(label[mesh.faces[:, 0]], return_inverse=True)  # of each face
    volume = np.bincount(shell, signed_volumes(mesh))  # of each shell; a cavity's is negative
    least = min_fraction * volume.sum()
    kept = np.abs(volume) >= least
    kept[volume.argmax()] = True

    # What lies inside a removed shell is smaller still, so the shell around a kept cavity is kept.
    outer = np.flatnonzero(kept & (volume > 0))
    outer = outer[np.argsort(volume[outer])]
    solid = np.arange(len(volume))  # of each shell: the outer shell of its part
    solid_volume = np.maximum(volume, 0.0)
    triangles = mesh.vertices[mesh.faces].astype(np.float64)
    for cavity in np.flatnonzero(kept & (volume < 0)):
        probe = triangles[shell == cavity][0, 0]
        larger = outer[volume[outer] > -volume[cavity]]
        solid[cavity] = next(s for s in larger if _contains(triangles[shell == s], probe))
        solid_volume[solid[cavity]] += volume[cavity]
    solid_kept = kept & (solid_volume >= least)
    solid_kept[solid_volume.argmax()] = True
    kept &= solid_kept[solid]

    removed = int(len(volume) - kept.sum())
    return (_select_faces(mesh, kept[shell]) if removed else mesh), removed


def _contains(triangles: Float[np.ndarray, "f 3 3"], point: Float[np.ndarray, "3"]) -> bool:
    """Whether a closed shell winds around `point` (solid angles: van Oosterom, Strackee, 1983)."""
    corners = triangles - point
    a, b, c = np.moveaxis(corners, 1, 0)
    la, lb, lc = np.moveaxis(np.linalg.norm(corners, axis=-1), 1, 0)
    numerator = _dot(a, np.cross(b, c))
    denominator = la * lb * lc + _dot(a, b) * lc + _dot(b, c) * la + _dot(c, a) * lb
    return bool(np.arctan2(numerator, denominator).sum() > np.pi)  # 2 pi inside, 0 outside


def _dot(a: Float[np.ndarray, "f 3"], b: Float[np.ndarray, "f 3"]) -> Float[np.ndarray, " f"]:
    return np.einsum("fi,fi->f", a, b)


def _select_faces(mesh: SurfaceMesh, selected: Bool[np.ndarray, " f"]) -> SurfaceMesh:
    """The selected faces with the vertices that they use."""
    faces = mesh.faces[selected]
    used = np.zeros(len(mesh.vertices), bool)
    used[faces] = True
    renumbered = np.cumsum(used) - 1
    colors = None if mesh.colors is None else mesh.colors[used]
    return SurfaceMesh(mesh.vertices[used], renumbered[faces].astype(np.int32), colors)


def export(mesh: SurfaceMesh, path: str | Path, format: str) -> None:
    """Writes a mesh as one of `FORMATS`; the same mesh gives the same bytes.

    Raises:
        UserError: the format is unknown, or the file cannot be written.
    """
    if format not in FORMATS:
        raise UserError(f"unknown mesh format {format!r}: choose from {', '.join(FORMATS)}")
    write_atomic(path, FORMATS[format](mesh))


def write_atomic(path: str | Path, data: bytes) -> None:
    """Writes a whole file or none: first under a temporary name in the same folder.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space" if full else "choose a folder that you can write to"
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot write {path}: {reason}; {remedy}") from error


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


FORMATS: dict[str, Callable[[SurfaceMesh], bytes]] = {
    "glb": encode_glb,
    "obj": encode_obj,
    "stl": encode_stl,
    "ply": encode_ply,
}


def read_point_cloud(
    path: str | Path,
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"] | None]:
    """Points, float32, and sRGB colours in 0..1 if the file has them; of a mesh, its vertices.

    PLY (ascii or binary), OBJ and XYZ files, and NPY files of one [n, 3] array.

    Raises:
        UserError: the file is missing, damaged or of another format, or a point is not finite.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in POINT_SUFFIXES:
        raise UserError(
            f"cannot read points from {path}: give a file that ends in {', '.join(POINT_SUFFIXES)}"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    try:
        points, colors = _parse_points(data, suffix)
    except Exception as error:  # parsers raise anything on damaged bytes
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"cannot read points from {path}: it is damaged ({reason})") from error
    if len(points) == 0:
        raise UserError(f"{path} holds no points: export it again with its vertices")
    if not np.isfinite(points).all():
        bad = int((~np.isfinite(points)).any(axis=1).sum())
        raise UserError(f"{path}: {bad} of {len(points)} points are NaN or infinite; remove them")
    return points, colors


def _parse_points(
    data: bytes, suffix: str
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"] | None]:
    if suffix == ".npy":
        points = np.load(io.BytesIO(data), allow_pickle=False)
        if points.ndim != 2 or points.shape[1] != 3:
            raise ValueError(f"expected shape [n, 3], got {list(points.shape)}")
        return points.astype(np.float32), None
    import trimesh  # 0.6 s

    loaded = trimesh.load(io.BytesIO(data), file_type=suffix[1:], process=False)
    if isinstance(loaded, trimesh.Scene):  # trimesh's answer to a file without any vertex
        return np.zeros((0, 3), np.float32), None
    colors = np.zeros((0, 4))
    if isinstance(loaded, trimesh.PointCloud):
        colors = loaded.colors
    elif loaded.visual.kind == "vertex":
        colors = loaded.visual.vertex_colors
    points = np.asarray(loaded.vertices, np.float32)
    known = len(colors) == len(points)
    return points, np.asarray(colors[:, :3], np.float32) / np.float32(255.0) if known else None


def normalize_points(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Centres the bounding box and scales its longest side to `CANONICAL_SIZE`.

    Raises:
        UserError: all the points coincide.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    longest = (high - low).max()
    if longest <= 0:
        raise UserError("all points of the cloud coincide: it has no shape")
    return ((points - (low + high) / 2) * (CANONICAL_SIZE / longest)).astype(np.float32)
