"""Makes a data set of your own meshes, for training beside the procedural shapes or alone.

    python -m otuken_jax.prepare --meshes DIR --captions FILE.csv|jsonl --out DIR

Meshes are OBJ, PLY, STL, OFF, GLB or glTF files, whole or broken. Captions have the fields path
(within the meshes' folder), text (several in CSV: separated by "|"; in JSON lines: a list) and
style_text, which may be empty. report.csv in the new folder says what became of each file. Started
again it goes on where it stopped; files that changed are prepared again.

Then: python -m otuken_jax.train --config CONFIG --workdir DIR --config.data.source=DIR
or, mixed by weight, --config.data.source=motifs:0.7,DIR:0.3
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from otuken_jax.errors import Parser, run_command


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m otuken_jax.prepare", description=__doc__)
    add = parser.add_argument
    add("--meshes", type=Path, required=True, help="folder of mesh files, searched through")
    add("--captions", type=Path, required=True, help="CSV or JSON lines: path, text, style_text")
    add("--out", type=Path, required=True, help="folder of the new data set")
    add("--resolution", type=int, default=64, help="voxels along a side (default 64)")
    add("--up", choices=("y", "z"), help="axis that points up (default: y in glTF, else z)")
    add("--workers", type=int, help="processes (default: one per CPU)")
    add("--timeout", type=float, default=120.0, help="seconds for one file (default 120)")
    arguments = parser.parse_args(argv)
    if arguments.workers is not None and arguments.workers < 1:
        parser.error("--workers must be at least 1")
    if not 0 < arguments.timeout < float("inf"):
        parser.error(f"--timeout is {arguments.timeout}; give seconds above 0")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(sys.argv[1:] if argv is None else argv)
    # Slow imports come after the arguments are known to be readable.
    from otuken_jax.data.prepare import prepare_meshes

    made = prepare_meshes(
        arguments.meshes,
        arguments.captions,
        arguments.out,
        resolution=arguments.resolution,
        up=arguments.up,
        workers=arguments.workers,
        timeout=arguments.timeout,
    )
    counts = ", ".join(f"{made.counts.get(s, 0)} {s}" for s in ("ok", "repaired", "failed"))
    sizes = ", ".join(f"{n} {s['count']}" for n, s in made.manifest["splits"].items())
    print(f"{counts} ({made.report}); records: {sizes}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
