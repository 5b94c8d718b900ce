"""Trains: `python -m otuken_jax.train --config configs/v64.py --workdir DIR [--config.x.y=value]`.

Started again with the same workdir it goes on where it stopped.
"""

import argparse
import hashlib
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from otuken_jax.errors import Parser, UserError, run_command


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = Parser(prog="python -m otuken_jax.train", description=__doc__)
    parser.add_argument("--config", required=True, help="a configuration: v64, configs/v64.py, ...")
    parser.add_argument("--workdir", required=True, help="where checkpoints and logs go")
    several = parser.add_argument_group("several processes (on one disk, each with its devices)")
    several.add_argument(
        "--distributed", action="store_true", help="find the others: Cloud TPU, Slurm, Open MPI"
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, elsewhere")
    several.add_argument("--num-processes", type=int)
    several.add_argument("--process-id", type=int)
    arguments, overrides = parser.parse_known_args(argv)
    trio = (arguments.coordinator, arguments.num_processes, arguments.process_id)
    if 0 < trio.count(None) < len(trio) and not arguments.distributed:
        parser.error("--coordinator, --num-processes and --process-id go together")
    return arguments, overrides


def prepare_workdir(workdir: Path, config_json: str) -> None:
    """Makes the folder and writes config.json, unless checkpoints of another one are there.

    Raises:
        UserError: it cannot be written, or holds a run of another configuration.
    """
    from otuken_jax.geometry.mesh_io import write_atomic
    from otuken_jax.training.checkpoints import config_sha256

    path, new = workdir / "config.json", config_json.encode()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        old = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UserError(
            f"cannot write to {workdir} ({error.strerror}); choose another --workdir"
        ) from error
    checkpoints = workdir / "checkpoints"
    trained = any(p.name.isdigit() for p in checkpoints.glob("*"))
    # The file may be lost or damaged: the checkpoints know as well.
    if trained and old != new and config_sha256(checkpoints) != hashlib.sha256(new).hexdigest():
        raise UserError(
            f"{workdir} holds a run of another configuration ({_difference(old, config_json)}); "
            "choose another --workdir or start it as it was"
        )
    write_atomic(path, new)


def _difference(old: bytes, config_json: str) -> str:
    try:
        text = old.decode()
        json.loads(text)
    except ValueError:
        return "by its checkpoints; config.json is missing or damaged"
    pairs = zip(text.splitlines(), config_json.splitlines(), strict=False)
    changed = [b.strip().rstrip(",") for a, b in pairs if a != b]
    return changed[0] if changed else "fields added or removed"


class _AboveTheBar(logging.Handler):
    """Writes lines on stderr that a progress bar does not run into."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def _start_logging() -> None:
    """This package's lines from INFO on, of other libraries warnings alone, and none adorned."""
    logging.basicConfig(format="%(message)s", handlers=[_AboveTheBar()])
    logging.getLogger("otuken_jax").setLevel(logging.INFO)


def run(argv: Sequence[str]):
    """Trains as the command line says; returns the trainer."""
    arguments, overrides = parse(argv)
    _start_logging()  # before the imports: Orbax's logs, by which absl would choose the format
    # Slow imports come after the arguments are known to be readable.
    from absl import flags

    from otuken_jax.config import load_config, to_json
    from otuken_jax.training import processes
    from otuken_jax.training.run import train

    flags.FLAGS.mark_as_parsed()  # grain's worker processes ask for it
    config = load_config(arguments.config, overrides)
    if arguments.distributed or arguments.coordinator:
        processes.initialize(arguments.coordinator, arguments.num_processes, arguments.process_id)
    workdir = Path(arguments.workdir)
    prepare_workdir(workdir, to_json(config))
    return train(config, workdir)


class _Terminated(BaseException):  # no library may take it for an error of its own
    """SIGTERM came where there is nothing to save."""


def _terminate(signum, frame):
    raise _Terminated


def main(argv: Sequence[str] | None = None) -> int:
    # While it trains the trainer's own handler is in place.
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        run(sys.argv[1:] if argv is None else argv)
    except _Terminated:
        print("stopped by SIGTERM, nothing to save; the same command goes on", file=sys.stderr)
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
