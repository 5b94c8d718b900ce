"""Two real processes that train together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from otuken_jax import train
from otuken_jax.errors import run_command

TINY = str(Path(__file__).parents[1] / "configs" / "tiny.py")


def start(workdir: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "otuken_jax.train", "--config", TINY]
    command += ["--workdir", str(workdir), *arguments]
    quick = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # it compiles longer than it runs
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=quick)


def start_two(workdir: Path, *overrides: str) -> list[subprocess.Popen]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2", *overrides]
    return [start(workdir, *common, "--process-id", str(i)) for i in range(2)]


def finish(processes: list[subprocess.Popen]) -> str:
    outputs = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return "".join(outputs)


def losses(workdir: Path) -> dict[tuple[int, str], float]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {(line["step"], line["split"]): line["loss"] for line in lines}


@pytest.fixture(scope="module")
def losses_of_one(tmp_path_factory) -> dict[tuple[int, str], float]:
    workdir = tmp_path_factory.mktemp("one")
    finish([start(workdir)])
    return losses(workdir)


@pytest.mark.slow
@pytest.mark.parametrize("fsdp", [1, 2])
def test_two_processes_train_as_one_does(losses_of_one, tmp_path, fsdp):
    finish(start_two(tmp_path, f"--config.mesh.fsdp={fsdp}"))
    one, two = losses_of_one, losses(tmp_path)
    assert one.keys() == two.keys()
    # The first steps only: rounding in another order grows from there.
    first = [k for k in one if k[0] <= 5]
    np.testing.assert_allclose([two[k] for k in first], [one[k] for k in first], rtol=1e-5)


@pytest.mark.slow
def test_sigterm_to_one_stops_both_and_the_run_goes_on(tmp_path):
    processes = start_two(tmp_path)
    deadline = time.monotonic() + 300
    while not (tmp_path / "checkpoints" / "checksums" / "4.json").exists():
        assert all(p.poll() is None for p in processes), "the run ended before it was stopped"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    processes[1].send_signal(signal.SIGTERM)
    assert finish(processes).count("stopped by SIGTERM") == 2
    finish(start_two(tmp_path))
    assert max(step for step, _ in losses(tmp_path)) == 16


def test_processes_that_cannot_meet_are_one_line(tmp_path, capsys):
    arguments = ["--config", TINY, "--workdir", str(tmp_path), "--distributed"]
    assert run_command(lambda: train.main(arguments)) == 2
    assert "give --coordinator HOST:PORT" in capsys.readouterr().err
