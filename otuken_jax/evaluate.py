"""Measures a trained model: `python -m otuken_jax.evaluate --checkpoint runs/quickstart`."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from otuken_jax.errors import UserError, run_command


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m otuken_jax.evaluate", description=__doc__)
    parser.add_argument("--checkpoint", required=True, help="the workdir of a training run")
    parser.add_argument("--data", help="the run's data set (default: the one it was trained on)")
    parser.add_argument("--split", action="append", help="val, heldout_pairs (default: both)")
    parser.add_argument("--limit", type=int, help="at most so many shapes of each split")
    parser.add_argument("--out", help="also write the figures to this JSON file")
    return parser.parse_args(argv)


def data_of(checkpoint: Path) -> Path:
    """The data set of a run; UserError if its configuration is gone."""
    path = checkpoint / "config.json"
    if not path.is_file():
        raise UserError(f"no config.json in {checkpoint}; give --data")
    directory = json.loads(path.read_text())["data"]["directory"]
    return Path(directory) if directory else checkpoint / "data"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(sys.argv[1:] if argv is None else argv)
    checkpoint = Path(arguments.checkpoint)
    directory = Path(arguments.data) if arguments.data else data_of(checkpoint)

    from otuken_jax import evaluation
    from otuken_jax.compile_cache import enable_compile_cache
    from otuken_jax.generation import Generator
    from otuken_jax.geometry.mesh_io import write_atomic
    from otuken_jax.training.checkpoints import load_model

    enable_compile_cache()
    generator = Generator(load_model(checkpoint))
    library = evaluation.Library.read(directory)
    means = evaluation.mean_shapes(directory)
    results = []
    for split in arguments.split or ("val", "heldout_pairs"):
        recipes = evaluation.read_recipes(directory, split, arguments.limit)
        results += evaluation.evaluate_split(generator, library, recipes, means, split)
    swaps = evaluation.word_swaps(generator, library, recipes[: 4 * evaluation.BATCH])
    print(evaluation.format_table(results, swaps))
    print()
    print(evaluation.format_confusion(results[-len(evaluation.MODES)], library.hosts))
    if arguments.out:
        figures = {"results": [dataclasses.asdict(r) for r in results], "word_swaps": swaps}
        write_atomic(arguments.out, json.dumps(figures, indent=2).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
