"""Procedural shapes per second and their size on disk.

    python benchmarks/motif_build.py --shapes 600 --resolution 32 --workers 2

Builds a training set of the whole motif library as `otuken_jax.train` does, in a temporary folder:
fields, 2,048 surface points with normals and colours, captions. The start of the worker processes
is included. The last column is the size of 20,000 such records.
"""

import argparse
import tempfile
import time
from pathlib import Path

from otuken_jax.data.build import build_motif_dataset

SURFACE_POINTS = 2048  # as in training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=int, default=600)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        build_motif_dataset(
            folder,
            num_shapes=arguments.shapes,
            resolution=arguments.resolution,
            num_points=SURFACE_POINTS,
            seed=0,
            coarsest=32,
            num_val=0,
            num_heldout=0,
            num_workers=arguments.workers,
            progress=False,
        )
        seconds = time.perf_counter() - start
        size = sum(p.stat().st_size for p in Path(folder).glob("*.arrayrecord"))
    print("| shapes | grid | workers | seconds | shapes/s | bytes/record | 20,000 records |")
    print("|---|---|---|---|---|---|---|")
    cells = (
        arguments.shapes,
        f"{arguments.resolution}^3",
        arguments.workers,
        f"{seconds:.1f}",
        f"{arguments.shapes / seconds:.1f}",
        f"{size / arguments.shapes:.0f}",
        f"{20_000 * size / arguments.shapes / 1e9:.2f} GB",
    )
    print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
