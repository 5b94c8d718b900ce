"""Meshes per second of `otuken_jax.prepare`, beside trimesh's own voxelisation.

    python benchmarks/prepare.py [--count 100] [--workers 2]
    python benchmarks/prepare.py --meshes DIR

The first makes closed meshes of about 10,000 faces with relief on them. Prepared: the whole
command, from OBJ files to a data set at 64^3 (signed distance, 4,096 points with normals and
colours), the start of its worker processes included. trimesh: reading the same files and
`voxelized(pitch).fill()`, in one process; it gives occupancy alone. IoU: with the occupancy by
exact winding numbers (`igl.winding_number`) at the same voxel centres.

The second tells of each file of a folder what becomes of it: the report's words, the seconds it
takes in one process and, of closed meshes alone, the IoU with the file's own winding numbers:
of the solid that was found, and of the 8-bit distances that the record holds of it.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ["IGL_NUM_THREADS"] = "1"

import igl
import numpy as np
import trimesh

from otuken_jax.conventions import grid_points, voxel_size
from otuken_jax.data.caption_files import Caption
from otuken_jax.data.mesh_files import MESH_SUFFIXES, Y_UP_SUFFIXES, read_mesh
from otuken_jax.data.mesh_records import FAILED, Settings, Task, normalize, prepare_mesh
from otuken_jax.data.prepare import NUM_POINTS, prepare_meshes
from otuken_jax.data.records import decode
from otuken_jax.geometry.solid import solidify

RESOLUTION = 64
COMPARED = 5  # exact winding numbers take seconds for each mesh


def make_meshes(folder: Path, count: int) -> None:
    """Vessels of about 10,000 faces whose radius carries a relief, as OBJ files."""
    for number in range(count):
        rng = np.random.default_rng(number)
        mesh = trimesh.creation.uv_sphere(count=[51, 51])
        x, y, z = mesh.vertices.T
        waves = rng.integers(3, 9)
        radius = 0.55 + 0.25 * np.sin(rng.uniform(2, 5) * z + rng.uniform(0, 6))
        radius += 0.05 * np.sin(waves * np.arctan2(y, x)) * np.sin(waves * z) * (1 - z**2)
        mesh.vertices = np.stack([x * radius, y * radius, z], axis=1)
        mesh.export(folder / f"{number}.obj")


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    raw, _ = read_mesh(path, path.parent)
    up = "y" if path.suffix.lower() in Y_UP_SUFFIXES else "z"
    return normalize(raw.vertices, raw.faces, up), raw.faces


def voxelize_with_trimesh(vertices: np.ndarray, faces: np.ndarray) -> trimesh.voxel.VoxelGrid:
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    return mesh.voxelized(voxel_size(RESOLUTION)).fill()


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def exact_occupancy(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    centers = grid_points(RESOLUTION).reshape(-1, 3).astype(np.float64)
    return igl.winding_number(vertices, faces, centers) > 0.5


def compare(paths: list[Path]) -> None:
    """IoU of both with exact winding numbers, mesh by mesh."""
    centers = grid_points(RESOLUTION).reshape(-1, 3).astype(np.float64)
    print("| mesh | faces | prepared IoU | trimesh IoU |\n|---|---|---|---|")
    for path in paths:
        vertices, faces = read(path)
        exact = exact_occupancy(vertices, faces)
        ours = solidify(vertices, faces, RESOLUTION).sdf.ravel() < 0
        # Its voxel centres are whole multiples of the pitch, ours lie half a voxel off them.
        half = voxel_size(RESOLUTION) / 2
        theirs = voxelize_with_trimesh(vertices - half, faces).is_filled(centers - half)
        scores = f"{iou(ours, exact):.4f} | {iou(theirs, exact):.4f}"
        print(f"| {path.name} | {len(faces)} | {scores} |", flush=True)


def tell(folder: Path) -> None:
    """What becomes of each file, as a table."""
    print("| file | status | reason | faces | seconds | IoU | stored IoU |")
    print("|---|---|---|---|---|---|---|")
    for path in mesh_paths(folder):
        caption, settings = Caption((path.stem,)), Settings(RESOLUTION, NUM_POINTS, None)
        start = time.perf_counter()
        outcome = prepare_mesh(Task(str(folder), path.name, caption, settings))
        seconds = time.perf_counter() - start
        scores = [""] * 2
        if outcome.status != FAILED:
            vertices, faces = read(path)
            # Merged first: some formats split the vertices along seams.
            if trimesh.Trimesh(vertices, faces).is_watertight:
                exact = exact_occupancy(vertices, faces)
                found = solidify(vertices, faces, RESOLUTION).sdf, decode(outcome.record)["sdf"]
                scores = [f"{iou(sdf.ravel() < 0, exact):.4f}" for sdf in found]
        told = (path.name, outcome.status, outcome.reason, f"{outcome.faces:,}", f"{seconds:.2f}")
        print(f"| {' | '.join((*told, *scores))} |", flush=True)


def mesh_paths(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in MESH_SUFFIXES)


def measure(scratch: Path, count: int, workers: int) -> None:
    """Meshes per second of both, and the IoU of some."""
    folder = scratch / "meshes"
    folder.mkdir()
    make_meshes(folder, count)
    (scratch / "captions.csv").write_text("path,text\n")
    start = time.perf_counter()
    made = prepare_meshes(
        folder,
        scratch / "captions.csv",
        scratch / "data",
        resolution=RESOLUTION,
        workers=workers,
        progress=False,
    )
    ours = count / (time.perf_counter() - start)
    assert FAILED not in made.counts, made.counts
    start = time.perf_counter()
    for path in mesh_paths(folder):
        voxelize_with_trimesh(*read(path))
    theirs = count / (time.perf_counter() - start)
    print("| | processes | meshes/s | meshes/s per process |\n|---|---|---|---|")
    print(f"| prepared | {workers} | {ours:.2f} | {ours / workers:.2f} |")
    print(f"| trimesh, occupancy alone | 1 | {theirs:.2f} | {theirs:.2f} |")
    compare(mesh_paths(folder)[:COMPARED])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--meshes", type=Path, help="a folder of your own meshes instead")
    arguments = parser.parse_args()
    if arguments.meshes is not None:
        tell(arguments.meshes)
        return
    with tempfile.TemporaryDirectory() as temporary:
        measure(Path(temporary), arguments.count, arguments.workers)


if __name__ == "__main__":
    main()
