"""Meshes per second of `otuken_jax.prepare`, beside trimesh's own voxelisation.

    python benchmarks/prepare.py [--count 100] [--workers 2] [--meshes DIR]

Without --meshes it makes closed meshes of about 10,000 faces with relief on them. Prepared: the
whole command, from OBJ files to a data set at 64^3 (signed distance, 4,096 points with normals and
colours), the start of its worker processes included. trimesh: reading the same files and
`voxelized(pitch).fill()`, in one process; it gives occupancy alone. IoU: with the occupancy by
exact winding numbers (`igl.winding_number`) at the same voxel centres.
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
from otuken_jax.data.mesh_files import MESH_SUFFIXES, Y_UP_SUFFIXES, read_mesh
from otuken_jax.data.mesh_records import normalize
from otuken_jax.data.prepare import prepare_meshes
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


def compare(paths: list[Path]) -> None:
    """IoU of both with exact winding numbers, mesh by mesh."""
    centers = grid_points(RESOLUTION).reshape(-1, 3).astype(np.float64)
    print("| mesh | faces | prepared IoU | trimesh IoU |\n|---|---|---|---|")
    for path in paths:
        vertices, faces = read(path)
        exact = igl.winding_number(vertices, faces, centers) > 0.5
        ours = solidify(vertices, faces, RESOLUTION).sdf.ravel() < 0
        # Its voxel centres are whole multiples of the pitch, ours lie half a voxel off them.
        half = voxel_size(RESOLUTION) / 2
        theirs = voxelize_with_trimesh(vertices - half, faces).is_filled(centers - half)
        scores = f"{iou(ours, exact):.4f} | {iou(theirs, exact):.4f}"
        print(f"| {path.name} | {len(faces)} | {scores} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--meshes", type=Path, help="a folder of your own meshes instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        folder = arguments.meshes or scratch / "meshes"
        if arguments.meshes is None:
            folder.mkdir()
            make_meshes(folder, arguments.count)
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in MESH_SUFFIXES)
        (scratch / "captions.csv").write_text("path,text\n")
        start = time.perf_counter()
        made = prepare_meshes(
            folder,
            scratch / "captions.csv",
            scratch / "data",
            resolution=RESOLUTION,
            workers=arguments.workers,
            progress=False,
        )
        rate = len(paths) / (time.perf_counter() - start)
        print(f"prepared: {rate:.2f} meshes/s in {arguments.workers} processes ({made.counts})")
        start = time.perf_counter()
        for path in paths:
            voxelize_with_trimesh(*read(path))
        rate = len(paths) / (time.perf_counter() - start)
        print(f"trimesh: {rate:.2f} meshes/s in one process, occupancy alone")
        compare(paths[:COMPARED] if arguments.meshes is None else paths)


if __name__ == "__main__":
    main()
