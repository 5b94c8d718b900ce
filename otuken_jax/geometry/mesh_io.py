"""Writes meshes as files; all that other packages use of closed meshes is found here."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otuken_jax.errors import NO_ROOM, UserError
from otuken_jax.geometry.marching_cubes import field_to_mesh
from otuken_jax.geometry.mesh_cleaning import decimate, remove_specks, smooth
from otuken_jax.geometry.mesh_formats import (
    Info,
    encode_3mf,
    encode_glb,
    encode_obj,
    encode_ply,
    encode_stl,
)
from otuken_jax.geometry.point_files import normalize_points, read_point_cloud
from otuken_jax.geometry.surface_mesh import (
    SurfaceMesh,
    is_closed,
    is_manifold,
    signed_volumes,
    vertex_normals,
)

__all__ = [
    "FORMATS",
    "SurfaceMesh",
    "decimate",
    "export",
    "field_to_mesh",
    "is_closed",
    "is_manifold",
    "normalize_points",
    "read_point_cloud",
    "remove_specks",
    "signed_volumes",
    "smooth",
    "vertex_normals",
    "write_atomic",
]


@dataclass(frozen=True)
class Format:
    """How a mesh becomes a file, and what one unit of its coordinates means where it has a size."""

    encode: Callable[[SurfaceMesh, Info], bytes]
    unit_mm: float = 1.0  # OBJ, STL and PLY name no unit; slicers take millimetres
    default_size_mm: float | None = None  # None: the file is in domain units


FORMATS = {
    "glb": Format(encode_glb, unit_mm=1000.0),  # glTF is in metres
    "obj": Format(encode_obj),
    "stl": Format(encode_stl),
    "ply": Format(encode_ply),
    "3mf": Format(encode_3mf, default_size_mm=100.0),  # its unit is millimetres, always
}

SIZES_MM = (0.1, 1e5)  # what `export` makes a mesh: float32 and slicers take no more


def export(
    mesh: SurfaceMesh,
    path: str | Path,
    format: str,
    *,
    size_mm: float | None = None,
    info: Info | None = None,
) -> None:
    """Writes a mesh as one of `FORMATS`; the same arguments give the same bytes.

    Args:
        size_mm: longest side of the bounding box, within `SIZES_MM`; the mesh then stands centred
            on the ground.
        info: what to say in the file about how it was made, such as the prompt.

    Raises:
        UserError: the format is unknown, the size out of range, the mesh without an extent, or
            the file cannot be written.
    """
    if format not in FORMATS:
        raise UserError(f"unknown mesh format {format!r}: choose from {', '.join(FORMATS)}")
    chosen = FORMATS[format]
    size_mm = chosen.default_size_mm if size_mm is None else size_mm
    if size_mm is not None:
        check_size(size_mm)
    vertices = mesh.vertices.astype(np.float64)
    if not (len(vertices) and 0 < np.ptp(vertices, axis=0).max() < np.inf):
        raise UserError(f"cannot write {path}: the mesh has no finite extent; make another")
    if size_mm is not None:
        mesh = _resize(mesh, size_mm / chosen.unit_mm)
    write_atomic(path, chosen.encode(mesh, info or {}))


def check_size(size_mm: float) -> None:
    """UserError for a longest side out of `SIZES_MM`."""
    low, high = SIZES_MM
    if not low <= size_mm <= high:
        raise UserError(f"a size of {size_mm} mm is out of range; give {low} to {high:.0f} mm")


def _resize(mesh: SurfaceMesh, longest: float) -> SurfaceMesh:
    """Scales the longest side of the bounding box to `longest`; its foot is centred at 0."""
    vertices = mesh.vertices.astype(np.float64)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    foot = np.array([*(low + high)[:2] / 2, low[2]])
    vertices = (vertices - foot) * (longest / (high - low).max())
    return SurfaceMesh(vertices.astype(np.float32), mesh.faces, mesh.colors)


def check_writable(path: Path) -> None:
    """Before long work: could `write_atomic` write this file at its end?

    Raises:
        UserError: it could not.
    """
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; give the name of a file")
    probe = path.with_name(f".{path.name}.probe")
    write_atomic(probe, b"")
    probe.unlink()


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
        remedy = (
            "free some space" if error.errno in NO_ROOM else "choose a folder that you can write to"
        )
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot write {path}: {reason}; {remedy}") from error
