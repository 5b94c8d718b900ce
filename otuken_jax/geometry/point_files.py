"""Point clouds from files."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float

from otuken_jax.conventions import CANONICAL_SIZE
from otuken_jax.errors import UserError

POINT_SUFFIXES = (".ply", ".obj", ".xyz", ".npy")


def read_point_cloud(
    path: str | Path,
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"] | None]:
    """Points, float32, and sRGB colours in 0..1 if the file has them; of a mesh, its vertices.

    PLY (ascii or binary), OBJ and XYZ files, and NPY files of one [n, 3] array.

    Raises:
        UserError: the file is missing, damaged or of another format, or a point is not finite in
            float32.
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
        with np.errstate(over="ignore"):  # an infinite point is refused below
            points, colors = _parse_points(data, suffix)
    except Exception as error:  # parsers raise anything on damaged bytes
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"cannot read points from {path}: it is damaged ({reason})") from error
    if len(points) == 0:
        raise UserError(f"{path} holds no points: export it again with its vertices")
    if not np.isfinite(points).all():
        bad = int((~np.isfinite(points)).any(axis=1).sum())
        raise UserError(
            f"{path}: {bad} of {len(points)} points are NaN, infinite or beyond 3e38; remove them"
        )
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
        UserError: all the points coincide, or lie so close or so far apart that numbers end.
    """
    points = points.astype(np.float64)  # in float32 a wide cloud overflows, a narrow one vanishes
    low, high = points.min(axis=0), points.max(axis=0)
    if (low == high).all():
        raise UserError("all points of the cloud coincide: it has no shape")
    with np.errstate(over="ignore"):
        longest = (high - low).max()
        scale = CANONICAL_SIZE / longest
    if not 0 < scale < np.inf:
        raise UserError(f"the cloud is {longest:g} wide, which cannot be scaled; use another unit")
    return ((points - (low + high) / 2) * scale).astype(np.float32)
