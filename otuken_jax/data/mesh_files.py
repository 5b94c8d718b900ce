"""Mesh files of strangers: OBJ, PLY, STL, OFF, GLB and glTF to triangles with colours.

What a header claims is compared with the bytes that are there before anything is parsed, so a
small file cannot ask for a large array; `prepare` adds limits of time and memory around it all.
"""

import contextlib
import io
import json
import re
import struct
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from trimesh.resolvers import Resolver

MESH_SUFFIXES = (".obj", ".ply", ".stl", ".off", ".glb", ".gltf")
Y_UP_SUFFIXES = (".glb", ".gltf")  # by the format's own definition
MAX_FILE_BYTES = 512 * 2**20
MAX_FACES = 5_000_000
MAX_PIXELS = 64 * 2**20  # of a texture
MAX_ALL_PIXELS = 4 * MAX_PIXELS  # of all the textures of a file
MAX_ITEMS = 100_000  # nodes, accessors or views of a glTF file
# Of Pillow's other formats some decode as they are opened (ICO) or start programs (EPS).
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "TGA")
UNREAD_IMAGE = "a texture cannot be read; save it as PNG or JPEG"
GLOSSY = "KHR_materials_pbrSpecularGlossiness"
UNREADABLE = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_mesh_quantization")
PLY_BYTES = {"char": 1, "uchar": 1, "short": 2, "ushort": 2, "double": 8} | {
    f"{kind}{bits}": bits // 8 for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)
}  # any other type has 4
GLTF_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
GLTF_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}


class BadMesh(Exception):
    """Why a file is refused, in words for the report."""


@dataclass(frozen=True)
class Coloring:
    """Colours of one part: factor x texture x vertex (or face) colours."""

    factor: Float[np.ndarray, "3"]
    texture: UInt8[np.ndarray, "h w 3"] | None = None
    uv: Float[np.ndarray, "f 3 2"] | None = None  # of each face's corners, origin lower left
    corners: Float[np.ndarray, "f 3 3"] | None = None  # vertex colours, of each face's corners
    linear: bool = False  # glTF: all but the texture are linear light

    def at(
        self, face: Int[np.ndarray, " n"], weights: Float[np.ndarray, "n 3"]
    ) -> Float[np.ndarray, "n 3"]:
        """sRGB in 0..1 at points of faces, by barycentric weights."""
        color = np.tile(self.factor, (len(face), 1))
        if self.corners is not None:
            color = color * np.einsum("nk,nkc->nc", weights, self.corners[face])
        if self.texture is not None and self.uv is not None:
            height, width, _ = self.texture.shape
            u, v = np.einsum("nk,nkc->nc", weights, self.uv[face]).T % 1.0
            row = np.clip(((1 - v) * height).astype(np.int64), 0, height - 1)
            texel = self.texture[row, np.clip((u * width).astype(np.int64), 0, width - 1)] / 255
            color = color * (_to_linear(texel) if self.linear else texel)
        return np.clip(_to_srgb(color) if self.linear else color, 0, 1)


def _to_linear(srgb: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _to_srgb(linear: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    power = 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, power)


@dataclass(frozen=True)
class RawMesh:
    """The triangles of a whole file, in its own units and axes."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    parts: tuple[tuple[int, Coloring | None], ...]  # faces of each part, in order, and its colours
    notes: tuple[str, ...] = ()

    @property
    def colored(self) -> bool:
        return any(coloring is not None for _, coloring in self.parts)

    def colors(
        self, face: Int[np.ndarray, " n"], weights: Float[np.ndarray, "n 3"]
    ) -> Float[np.ndarray, "n 3"]:
        """sRGB in 0..1 at points of faces; white where a part has no colour."""
        result = np.ones((len(face), 3))
        start = 0
        for count, coloring in self.parts:
            here = (face >= start) & (face < start + count)
            if coloring is not None and here.any():
                result[here] = coloring.at(face[here] - start, weights[here])
            start += count
        return result.astype(np.float32)


@dataclass
class FolderResolver(Resolver):
    """Files that a mesh names beside itself, from within `root` only."""

    mesh: Path
    root: Path
    refused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    read: dict[Path, bytes] = field(default_factory=dict)
    budget: int = MAX_FILE_BYTES  # bytes of all of them together

    def get(self, name: str) -> bytes:
        name = name.strip()
        for candidate in dict.fromkeys((name, urllib.parse.unquote(name))):
            path = (self.mesh.parent / candidate).resolve()
            if not path.is_relative_to(self.root.resolve()):
                self.refused.append(f"names {name!r}, which lies outside the folder")
            elif path in self.read:
                return self.read[path]
            elif path.is_file():
                self.budget -= path.stat().st_size
                if self.budget < 0:
                    self.refused.append(f"names files of more than {MAX_FILE_BYTES:,} bytes")
                    break
                self.read[path] = path.read_bytes()
                return self.read[path]
        self.missing.append(name)
        raise FileNotFoundError(name)

    def write(self, name: str, data: bytes) -> None:
        raise PermissionError(name)

    def namespaced(self, namespace: str) -> "FolderResolver":
        raise PermissionError(namespace)

    def keys(self) -> list[str]:
        return []


def read_mesh(path: Path, root: Path) -> tuple[RawMesh, list[Path]]:
    """The triangles of a file within `root`, and the other files that it was read from.

    Scenes are flattened: every part is placed by its transform, as often as the scene shows it.

    Raises:
        BadMesh: the file is refused or unreadable, and why.
    """
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise BadMesh(f"{size:,} bytes, more than {MAX_FILE_BYTES:,}")
    data = path.read_bytes()
    suffix = path.suffix.lower()
    if not data.strip():
        raise BadMesh("empty file")
    resolver = FolderResolver(path, root)
    notes: list[str] = []
    try:
        header = _gltf_header(data, suffix) if suffix in Y_UP_SUFFIXES else {}
        check_claims(data, suffix, header)
        if header:
            data = _without_glossiness(data, suffix, header)
            notes += _unheeded(header)
        parts = _load_parts(data, suffix, resolver, notes)
    except (BadMesh, MemoryError):
        raise
    except Exception as error:  # parsers raise anything on damaged bytes
        if resolver.refused:
            raise BadMesh(resolver.refused[0]) from error
        if suffix in Y_UP_SUFFIXES and resolver.missing:
            raise BadMesh(f"{resolver.missing[0]} is missing") from error
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise BadMesh(f"unreadable ({reason})") from error
    if resolver.refused:
        raise BadMesh(resolver.refused[0])
    notes += [f"{name} is missing" for name in resolver.missing]
    return _join(parts, tuple(dict.fromkeys(notes))), list(resolver.read)


def check_claims(data: bytes, suffix: str, header: dict[str, Any]) -> None:
    """Compares what a file says that it holds with its size; `header` is that of a glTF file.

    Raises:
        BadMesh: it claims more than it can hold, or more than `MAX_FACES` faces.
    """
    if suffix == ".ply":
        claims = list(_ply_claims(data))
    elif suffix == ".off":
        claims = list(_off_claims(data))
    elif suffix == ".stl":
        claims = list(_stl_claims(data))
    elif suffix == ".obj":
        claims = [("faces", data.count(b"\nf "), 4)]
    else:
        claims = list(_gltf_claims(header, len(data)))
    for name, count, least in claims:
        if not 0 <= count * least <= len(data):
            raise BadMesh(f"claims {count:,} {name} in a file of {len(data):,} bytes")
        if name in ("face", "faces") and count > MAX_FACES:
            raise BadMesh(f"{count:,} faces, more than {MAX_FACES:,}; decimate it first")


def _ply_claims(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, count and fewest bytes each, of a PLY file's elements."""
    end = data.find(b"end_header", 0, 2**20)
    if not data.startswith(b"ply") or end < 0:
        raise BadMesh("not a PLY file: it has no header")
    lines = [line.split() for line in data[:end].decode("latin-1").splitlines()]
    ascii_format = any(line[:2] == ["format", "ascii"] for line in lines)
    elements: list[list] = []
    for line in lines:
        if line[:1] == ["element"]:
            elements.append([line[1], int(line[2]), 0])
        elif line[:1] == ["property"]:
            kind = line[2] if line[1] == "list" else line[1]
            elements[-1][2] += 2 if ascii_format else PLY_BYTES.get(kind, 4)
    yield from (tuple(element) for element in elements)


def _off_claims(data: bytes) -> Iterator[tuple[str, int, int]]:
    text = re.sub(rb"#[^\n]*", b"", data[:4096])
    match = re.match(rb"\s*C?OFF\s*(\d+)\s+(\d+)", text)
    if not match:
        raise BadMesh("not an OFF file: it has no counts")
    yield "vertices", int(match[1]), 6
    yield "faces", int(match[2]), 8


def _stl_claims(data: bytes) -> Iterator[tuple[str, int, int]]:
    if b"facet" in data[:4096] and data.lstrip().startswith(b"solid"):
        yield "faces", data.count(b"endfacet"), 50
    elif len(data) < 84:
        raise BadMesh("cut short: a binary STL file has at least 84 bytes")
    else:
        yield "faces", struct.unpack_from("<I", data, 80)[0], 50


def _gltf_header(data: bytes, suffix: str) -> dict[str, Any]:
    """The JSON of a GLB or glTF file."""
    if suffix == ".glb":
        if len(data) < 20 or data[:4] != b"glTF":
            raise BadMesh("not a GLB file")
        total, chunk = struct.unpack_from("<II", data, 8)
        if total > len(data) or chunk > len(data) - 20:
            raise BadMesh(f"claims {max(total, chunk):,} bytes in a file of {len(data):,}")
        data = data[20 : 20 + chunk]
    header = json.loads(data)
    if not isinstance(header, dict):
        raise BadMesh("not a glTF file")
    return header


def _gltf_claims(header: dict[str, Any], size: int) -> Iterator[tuple[str, int, int]]:
    """Claims of a glTF file; its arrays and instances are checked here."""
    compressed = set(UNREADABLE) & set(header.get("extensionsRequired", ()))
    if compressed:
        raise BadMesh(f"uses {min(compressed)}; export it without compression")
    for name in ("nodes", "meshes", "accessors", "bufferViews", "buffers", "images"):
        if len(header.get(name, ())) > MAX_ITEMS:
            raise BadMesh(f"claims {len(header[name]):,} {name}, more than {MAX_ITEMS:,}")
    external = any("uri" in buffer for buffer in header.get("buffers", ()))
    views, accessors = header.get("bufferViews", []), header.get("accessors", [])
    room = MAX_FILE_BYTES if external else size
    if sum(view["byteLength"] for view in views) > 2 * room:
        raise BadMesh("claims more data in its buffer views than it holds")
    needed = 0
    for accessor in accessors:
        if "bufferView" not in accessor or "sparse" in accessor:
            raise BadMesh("has sparse arrays or arrays without data; export it without them")
        width = GLTF_BYTES[accessor["componentType"]] * GLTF_WIDTHS[accessor["type"]]
        held = views[accessor["bufferView"]]["byteLength"]
        if not 0 <= accessor["count"] * width <= max(held, 0):
            raise BadMesh(f"claims {accessor['count']:,} values in a buffer of {held:,} bytes")
        needed += accessor["count"] * width
    if needed > 4 * room:
        raise BadMesh("claims more data in its arrays than it holds")

    def triangles(mesh: dict[str, Any]) -> int:
        counted = (p.get("indices", p["attributes"]["POSITION"]) for p in mesh["primitives"])
        return sum(accessors[index]["count"] // 3 for index in counted)

    meshes = [triangles(mesh) for mesh in header.get("meshes", ())]
    total = sum(meshes[node["mesh"]] for node in header.get("nodes", ()) if "mesh" in node)
    if total > MAX_FACES:
        raise BadMesh(f"{total:,} faces in all its copies, more than {MAX_FACES:,}")
    yield "nodes", len(header.get("nodes", ())), 2


def _without_glossiness(data: bytes, suffix: str, header: dict[str, Any]) -> bytes:
    """The file, and `header`, with the diffuse colours of specular materials as base colours.

    trimesh would turn those materials into others by decoding their textures as it loads them,
    however large, and what it makes of them is not the diffuse colour.
    """
    glossy = [m for m in header.get("materials", ()) if GLOSSY in m.get("extensions", {})]
    if not glossy:
        return data
    for material in glossy:
        values = material["extensions"].pop(GLOSSY)
        names = {"diffuseFactor": "baseColorFactor", "diffuseTexture": "baseColorTexture"}
        material["pbrMetallicRoughness"] = {
            new: values[old] for old, new in names.items() if old in values
        }
    text = json.dumps(header).encode()
    if suffix == ".gltf":
        return text
    text += b" " * (-len(text) % 4)
    rest = data[20 + struct.unpack_from("<I", data, 12)[0] :]
    total = 20 + len(text) + len(rest)
    return struct.pack("<4sIII4s", b"glTF", 2, total, len(text), b"JSON") + text + rest


def _unheeded(header: dict[str, Any]) -> Iterator[str]:
    """Notes on what trimesh does not heed of a glTF file's textures."""
    if any(image.get("mimeType") == "image/ktx2" for image in header.get("images", ())):
        yield UNREAD_IMAGE
    materials = [m.get("pbrMetallicRoughness", {}) for m in header.get("materials", ())]
    textures = [m["baseColorTexture"] for m in materials if "baseColorTexture" in m]
    if any("KHR_texture_transform" in texture.get("extensions", {}) for texture in textures):
        yield "KHR_texture_transform is not applied: colours may be wrong"
    if any(texture.get("texCoord", 0) for texture in textures):
        yield "textures are placed by TEXCOORD_0 alone: colours may be wrong"


@contextlib.contextmanager
def _plain_images(notes: list[str]) -> Iterator[None]:
    """Opens images in `IMAGE_FORMATS` only, undecoded, and notes those that cannot be opened.

    trimesh goes by their content, whatever they are called, and silently on without them.
    """
    from PIL import Image

    kept = Image.open, Image.MAX_IMAGE_PIXELS

    def open_plain(file: Any, *_: Any, **__: Any) -> Any:
        try:
            return kept[0](file, formats=IMAGE_FORMATS)
        except Exception:
            notes.append(UNREAD_IMAGE)
            raise

    Image.open, Image.MAX_IMAGE_PIXELS = open_plain, None  # `_pixels` looks at their size
    try:
        yield
    finally:
        Image.open, Image.MAX_IMAGE_PIXELS = kept


def _load_parts(
    data: bytes, suffix: str, resolver: FolderResolver, notes: list[str]
) -> list[tuple]:
    """Vertices, faces and colouring of every placed part of the file; adds to `notes`."""
    import trimesh

    with _plain_images(notes):
        scene = trimesh.load_scene(
            io.BytesIO(data), file_type=suffix[1:], resolver=resolver, process=False
        )
    parts = []
    textures: dict[Any, UInt8[np.ndarray, "h w 3"]] = {}
    total = 0
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        mesh = scene.geometry[name]
        if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
            continue
        total += len(mesh.faces)
        if total > MAX_FACES:
            raise BadMesh(f"more than {MAX_FACES:,} faces; decimate it first")
        faces = np.asarray(mesh.faces, np.int64)
        vertices = np.asarray(mesh.vertices, np.float64)
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise BadMesh("a face names a vertex that is not there")
        unfit = ~np.isfinite(vertices).all(axis=1)
        if unfit.any():
            raise BadMesh(f"{unfit.sum():,} of {len(vertices):,} vertices are NaN or infinite")
        if not np.isfinite(matrix).all():
            raise BadMesh("a part's transform is NaN or infinite")
        # Mirroring turns a part inside out, so its faces are turned back.
        mirrored = np.linalg.det(matrix[:3, :3]) < 0
        placed = vertices @ matrix[:3, :3].T + matrix[:3, 3]
        coloring = _coloring(mesh, faces, textures, linear=suffix in Y_UP_SUFFIXES)
        parts.append((placed, faces, mirrored, coloring))
    return parts


def _join(parts: list[tuple], notes: tuple[str, ...]) -> RawMesh:
    """One mesh of all parts; faces of mirrored ones are turned back.

    Raises:
        BadMesh: there is no triangle.
    """
    if not parts:
        raise BadMesh("holds no triangles")
    starts = np.cumsum([0, *(len(vertices) for vertices, *_ in parts)])
    vertices = np.concatenate([part[0] for part in parts])
    used = np.concatenate([part[1] + start for part, start in zip(parts, starts, strict=False)])
    turned = np.concatenate([np.full(len(part[1]), part[2]) for part in parts])
    # Turned by swapping corners 1 and 2; the colourings are told by weights of the old order.
    faces = np.where(turned[:, None], used[:, [0, 2, 1]], used)
    colorings = []
    for _, part_faces, mirrored, coloring in parts:
        if mirrored and coloring is not None:
            coloring = _swap_corners(coloring)
        colorings.append((len(part_faces), coloring))
    return RawMesh(vertices, faces, tuple(colorings), notes)


def _swap_corners(coloring: Coloring) -> Coloring:
    order = [0, 2, 1]
    uv = None if coloring.uv is None else coloring.uv[:, order]
    corners = None if coloring.corners is None else coloring.corners[:, order]
    return Coloring(coloring.factor, coloring.texture, uv, corners, coloring.linear)


def _coloring(
    mesh: Any, faces: Int[np.ndarray, "f 3"], textures: dict[Any, np.ndarray], *, linear: bool
) -> Coloring | None:
    """The colours of a trimesh, or None if it has none; `textures` are those decoded so far."""
    visual = mesh.visual
    if visual.kind in ("vertex", "face"):
        if visual.kind == "vertex":
            corners = np.asarray(visual.vertex_colors)[faces][..., :3] / 255
        else:
            corners = np.repeat(np.asarray(visual.face_colors)[:, None, :3] / 255, 3, axis=1)
        return Coloring(np.ones(3), corners=corners, linear=linear)
    if visual.kind != "texture":
        return None
    material = visual.material
    if hasattr(material, "baseColorFactor"):
        factor, image = material.baseColorFactor, material.baseColorTexture
    else:
        named = "kd" in material.kwargs
        factor, image = material.diffuse if named else None, material.image
        if image is not None and image.format is None:
            image = None  # trimesh's placeholder, read from no file
    extra = visual.vertex_attributes.get("color")
    if factor is None and image is None and extra is None:
        return None
    # An OBJ material's diffuse colour is ignored beside its texture, as viewers do.
    plain = factor is None or (image is not None and not linear)
    color = np.ones(3) if plain else np.asarray(factor)[:3] / 255
    texture = None
    if image is not None:
        # An OBJ's materials each open the file that they name; glTF's share the images.
        name = id(image) if linear else image.info.get("file_path", id(image))
        if name not in textures:
            textures[name] = _pixels(image, sum(t[..., 0].size for t in textures.values()))
        texture = textures[name]
    uv = None if visual.uv is None else np.asarray(visual.uv, np.float64)[faces]
    if uv is not None and not np.isfinite(uv).all():
        raise BadMesh("texture coordinates are NaN or infinite")
    corners = None
    if extra is not None:
        extra = np.asarray(extra)
        top = 1.0 if extra.dtype.kind == "f" else np.iinfo(extra.dtype).max
        corners = (extra[faces][..., :3] / top).astype(np.float64)
    return Coloring(color, texture, uv, corners, linear)


def _pixels(image: Any, others: int) -> UInt8[np.ndarray, "h w 3"]:
    """A texture's pixels, beside `others` of other textures; transparent ones keep their colour.

    Raises:
        BadMesh: there are more than `MAX_PIXELS`, or `MAX_ALL_PIXELS` in all, or it is damaged.
    """
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadMesh(f"a texture of {width:,} x {height:,} pixels, more than {MAX_PIXELS:,}")
    if others + width * height > MAX_ALL_PIXELS:
        raise BadMesh(f"textures of more than {MAX_ALL_PIXELS:,} pixels in all; shrink them")
    try:
        pixels = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise BadMesh(f"a damaged texture ({error})") from error
    image.close()  # it holds the pixels once more
    return pixels
