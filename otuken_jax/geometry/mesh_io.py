"""Writes meshes as files; all that other packages use of closed meshes is found here."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from otuken_jax.errors import UserError
from otuken_jax.geometry.marching_cubes import field_to_mesh
from otuken_jax.geometry.mesh_cleaning import remove_specks
from otuken_jax.geometry.mesh_formats import encode_glb, encode_obj, encode_ply, encode_stl
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
    "export",
    "field_to_mesh",
    "is_closed",
    "is_manifold",
    "normalize_points",
    "read_point_cloud",
    "remove_specks",
    "signed_volumes",
    "vertex_normals",
    "write_atomic",
]

FORMATS: dict[str, Callable[[SurfaceMesh], bytes]] = {
    "glb": encode_glb,
    "obj": encode_obj,
    "stl": encode_stl,
    "ply": encode_ply,
}


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
