"""Measures a trained model from words alone, beside baselines, a floor and a ceiling.

python -m otuken_jax.evaluate --checkpoint runs/quickstart --out metrics.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from otuken_jax.errors import Parser, UserError, natural, run_command
from otuken_jax.json_files import read_json

RESPONSES, QUICK_RESPONSES = 48, 16  # shapes whose words are changed
SHOWN = "heldout_pairs"  # the split whose responses and hosts are printed, if it is measured


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m otuken_jax.evaluate", description=__doc__)
    add = parser.add_argument
    add("--checkpoint", required=True, help="the workdir of a training run")
    add("--data", help="a data set, built or prepared (default: the one of the run)")
    add("--split", action="append", help="repeat for several (default: all but train)")
    add("--limit", type=int, help="at most so many shapes of each split")
    add("--out", help="write the figures to this JSON file, tables and pictures beside it")
    add("--pointnet", help="converted PointNet++ weights: P-FID and P-IS, not their substitutes")
    add("--seed", type=natural, default=0, help="of sampled points and bootstrap (default 0)")
    add("--quick", action="store_true", help="full captions alone, no blends, no pictures")
    return parser.parse_args(argv)


def data_of(checkpoint: Path) -> Path:
    """The procedural data set of a run.

    Raises:
        UserError: it had none, or its configuration is gone or damaged.
    """
    path = checkpoint / "config.json"
    if not path.is_file():
        raise UserError(f"no config.json in {checkpoint}; give --data")
    data = read_json(path, {"data": {"source": str, "directory": str}}, "give --data")["data"]
    if data["source"] != "motifs":
        raise UserError(f"the run in {checkpoint} learned from {data['source']}; give --data")
    return Path(data["directory"]) if data["directory"] else checkpoint / "data"


def splits_of(directory: Path) -> list[str]:
    """The splits that training did not see; UserError if there is none."""
    from otuken_jax.data.records import read_manifest

    splits = read_manifest(directory)["splits"]
    names = [name for name in splits if name != "train" and splits[name]["count"]]
    if not names:
        raise UserError(f"{directory} has no split but train; give --split train to measure that")
    return names


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(sys.argv[1:] if argv is None else argv)
    if arguments.limit is not None and arguments.limit < 1:
        raise UserError(f"--limit is {arguments.limit}; give at least 1")
    out = Path(arguments.out) if arguments.out else None
    if out is not None and out.suffix != ".json":
        raise UserError(f"--out {out} must end in .json; the tables go beside it as .md")
    checkpoint = Path(arguments.checkpoint)
    directory = Path(arguments.data) if arguments.data else data_of(checkpoint)
    splits = arguments.split or splits_of(directory)

    from otuken_jax.compile_cache import enable_compile_cache
    from otuken_jax.evaluation import report
    from otuken_jax.evaluation.examples import ALL_WORDS, FULL_WORDS, open_split
    from otuken_jax.evaluation.measures import SetMeasure
    from otuken_jax.evaluation.run import Evaluation
    from otuken_jax.generation import Generator
    from otuken_jax.geometry.mesh_io import check_writable, write_atomic
    from otuken_jax.training.loading import load_model

    for split in splits:
        open_split(directory, split)
    if out is not None:
        check_writable(out)
    set_measure = SetMeasure.read(arguments.pointnet)
    enable_compile_cache()
    evaluation = Evaluation(
        Generator(load_model(checkpoint)),
        directory,
        words=FULL_WORDS if arguments.quick else ALL_WORDS,
        set_measure=set_measure,
        limit=arguments.limit,
        seed=arguments.seed,
    )
    results = [evaluation.split(split) for split in splits]
    shown = next((r for r in results if r.split == SHOWN), results[-1])
    limit = QUICK_RESPONSES if arguments.quick else RESPONSES
    changes = {
        split: evaluation.responses(split, limit, full=not arguments.quick)
        for split in ([shown.split] if arguments.quick else splits)
    }
    print(report.summary_table(evaluation, results))
    print(report.response_lines(changes[shown.split]))
    if shown.confusion:
        print()
        print(report.format_confusion(evaluation, shown))
    if out is not None:
        figures = report.to_json(evaluation, results, changes)
        write_atomic(out, json.dumps(figures, indent=2, ensure_ascii=False).encode())
        tables = report.full_tables(evaluation, results, changes)
        write_atomic(out.with_suffix(".md"), tables.encode())
        paths = [out, out.with_suffix(".md")]
        if not arguments.quick:
            paths += [p for r in results for p in report.write_pictures(evaluation, r, out)]
        print()
        print(*paths, sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
