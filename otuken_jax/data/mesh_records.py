"""One mesh file to one record, in a worker process with limits of its own."""

import hashlib
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from otuken_jax.conventions import CANONICAL_SIZE
from otuken_jax.data.caption_files import Caption
from otuken_jax.data.records import encode, quantize_distance

NO_COLOR = (0.8, 0.74, 0.66)  # stands in a record whose colours are unknown
MIN_BOUNDING = 0.5  # share of the surface that must separate inside from outside
MIN_VOXELS = 8

OK, REPAIRED, FAILED = "ok", "repaired", "failed"


class Settings(NamedTuple):
    """What every record of a data set shares."""

    resolution: int
    num_points: int
    up: str | None  # "y" or "z"; None: y for glTF, z for the other formats


class Task(NamedTuple):
    """A mesh to prepare."""

    root: str
    path: str  # within root
    caption: Caption
    settings: Settings


class Outcome(NamedTuple):
    """What became of a mesh."""

    status: str
    reason: str = ""
    record: bytes = b""
    faces: int = 0
    digest: str = ""  # of the geometry
    inputs: tuple[tuple[str, int, int], ...] = ()  # files read: path in root, bytes, mtime in ns


def limit_worker(memory_bytes: int) -> None:
    """Prepares a worker process: one thread, at most so much memory more than it has now."""
    os.environ["IGL_NUM_THREADS"] = "1"  # read when libigl first starts threads
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle
    import igl  # noqa: F401  loaded before the limit and before any file's time starts
    import skimage.measure  # noqa: F401
    import trimesh  # noqa: F401

    if sys.platform == "linux":  # elsewhere the kernel does not hold to it
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = used + memory_bytes
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def prepare_mesh(task: Task) -> Outcome:
    """Reads, repairs and encodes one mesh; whatever is wrong with the file is in the outcome."""
    from otuken_jax.data.mesh_files import BadMesh

    root, path = Path(task.root), Path(task.root, task.path)
    inputs = (file_state(root, path),)
    try:
        return _prepare(task, root, path, inputs)
    except BadMesh as error:
        return Outcome(FAILED, str(error), inputs=inputs)
    except OSError as error:
        return Outcome(FAILED, f"cannot be read: {error.strerror}", inputs=inputs)


def _prepare(task: Task, root: Path, path: Path, inputs: tuple) -> Outcome:
    from otuken_jax.data.mesh_files import Y_UP_SUFFIXES, BadMesh, read_mesh
    from otuken_jax.geometry.solid import sample_solid, solidify

    raw, companions = read_mesh(path, root)
    inputs += tuple(file_state(root, companion) for companion in companions)
    settings, caption = task.settings, task.caption
    up = settings.up or ("y" if path.suffix.lower() in Y_UP_SUFFIXES else "z")
    vertices = normalize(raw.vertices, raw.faces, up)
    digest = hashlib.sha256(vertices.tobytes() + raw.faces.tobytes()).hexdigest()
    try:
        solid = solidify(vertices, raw.faces, settings.resolution)
    except ValueError as error:
        raise BadMesh(f"unusable: {error}") from error
    inside = int((solid.sdf < 0).sum())
    if inside < MIN_VOXELS:
        raise BadMesh(f"has no inside: it encloses {inside} voxels of {settings.resolution}^3")
    if solid.bounding < MIN_BOUNDING:
        share = f"{100 * solid.bounding:.0f} %"
        raise BadMesh(f"has no clear inside: only {share} of its surface bounds one")
    seed = int(digest[:8], 16)
    surface = sample_solid(solid, settings.num_points, seed)
    if raw.colored:
        colors = raw.colors(surface.face, surface.weights)
    else:
        colors = np.tile(np.float32(NO_COLOR), (settings.num_points, 1))
    record = encode(
        {
            "sdf": quantize_distance(solid.sdf),
            "points": surface.points,
            "normals": surface.normals,
            "colors": colors,
            "captions": caption.kinds(),
            "style_text": caption.style_text,
            "has_chart": False,
            "has_colors": raw.colored,
        }
    )
    repairs = list(solid.mesh.defects)
    if solid.num_turned:
        repairs.append(f"{solid.num_turned} faces turned outward")
    notes = list(raw.notes)
    if not solid.closed:
        notes.append("open: its size may be off")
    if not caption.texts:
        notes.append("no caption: learned from its points alone")
    status = REPAIRED if repairs else OK
    return Outcome(status, "; ".join(repairs + notes), record, len(raw.faces), digest, inputs)


def normalize(
    vertices: Float[np.ndarray, "v 3"], faces: np.ndarray, up: str
) -> Float[np.ndarray, "v 3"]:
    """Vertices z up, centred, the longest side of what the faces use `CANONICAL_SIZE`.

    These are the bounds of the mesh as it is: what a hole took from an end is not known, and the
    rest is scaled in its place. A spire without its last twentieth has IoU 0.86 with the whole,
    so the report says of open meshes that their size may be off.

    Raises:
        BadMesh: the shape has no size, or one beyond floating point.
    """
    from otuken_jax.data.mesh_files import BadMesh

    if up == "y":
        x, y, z = vertices.T
        vertices = np.stack([x, -z, y], axis=1)
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    low, high = vertices[used].min(axis=0), vertices[used].max(axis=0)
    longest = float((high / 2 - low / 2).max()) * 2
    if not 0 < longest < 1e150:
        raise BadMesh(f"its longest side is {longest:g}")
    moved = (vertices - (low / 2 + high / 2)) * (CANONICAL_SIZE / longest)
    return np.where(used[:, None], moved, 0.0)


def file_state(root: Path, path: Path) -> tuple[str, int, int]:
    """Path within `root`, size and time of change of a file."""
    info = path.stat()
    return os.path.relpath(path.resolve(), root.resolve()), info.st_size, info.st_mtime_ns
