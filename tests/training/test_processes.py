"""Real processes: killed and started again, and two that train together."""

import json
import os
import re
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
from otuken_jax.models.parameters import split_model
from otuken_jax.training.loading import load_model

TINY = str(Path(__file__).parents[1] / "configs" / "tiny.py")
TIMEOUT = 900  # seconds: only for what hangs; slow cores with other tests beside take 300


def start(workdir: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "otuken_jax.train", "--config", TINY]
    command += ["--workdir", str(workdir), *arguments]
    quick = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # it compiles longer than it runs
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=quick, start_new_session=True
    )


def start_two(workdir: Path, *overrides: str) -> list[subprocess.Popen]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2", *overrides]
    return [start(workdir, *common, "--process-id", str(i)) for i in range(2)]


def wait_for_checkpoint(workdir: Path, step: int, *processes: subprocess.Popen) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not (workdir / "checkpoints" / "checksums" / f"{step}.json").exists():
        assert all(p.poll() is None for p in processes), "the run ended before it was stopped"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def finish(*processes: subprocess.Popen) -> str:
    outputs = [process.communicate(timeout=TIMEOUT)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return "".join(outputs)


def losses(workdir: Path) -> dict[tuple[int, str], float]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {(line["step"], line["split"]): line["loss"] for line in lines}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The workdir of an unbroken run of one process."""
    workdir = tmp_path_factory.mktemp("whole")
    finish(start(workdir))
    return workdir


@pytest.mark.slow
def test_killed_process_resumes_bit_for_bit(whole, tmp_path):
    process = start(tmp_path)
    wait_for_checkpoint(tmp_path, 8, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    errors = finish(start(tmp_path))
    assert re.search(r"^resumed from step \d+$", errors, re.MULTILINE), errors
    assert re.search(r"^stage 12\^3, trainable: text_encoder ", errors, re.MULTILINE), errors
    want, got = load_model(whole), load_model(tmp_path)
    assert want.step == got.step
    params = split_model(want.model)[1]
    for name, value in split_model(got.model)[1].items():
        np.testing.assert_array_equal(value, params[name], err_msg=name)
    assert losses(tmp_path) == losses(whole)


@pytest.mark.slow
def test_sigterm_saves_and_exits_with_zero(tmp_path):
    process = start(tmp_path)
    wait_for_checkpoint(tmp_path, 4, process)
    process.send_signal(signal.SIGTERM)
    errors = finish(process)
    stopped = re.search(r"^stopped by SIGTERM at step (\d+), saved$", errors, re.MULTILINE)
    assert stopped, errors
    assert (tmp_path / "checkpoints" / stopped[1]).is_dir()
    assert re.search(r"<\d\d:\d\d, +[\d.]+(step/s|s/step)", errors)  # the bar, and time to go


@pytest.mark.slow
def test_ctrl_c_saves_and_readers_are_quiet(tmp_path, ctrl_c):
    """A terminal sends it to the processes that read the data too."""
    fields = ("data.num_workers=1", "train.stage_epochs=(200,1)", "train.eval_every=200")
    process = start(tmp_path, *(f"--config.{field}" for field in fields))
    wait_for_checkpoint(tmp_path, 8, process)
    os.killpg(process.pid, signal.SIGINT)
    errors = finish(process)
    stopped = re.search(r"^stopped by SIGINT at step (\d+), saved$", errors, re.MULTILINE)
    assert stopped, errors
    assert (tmp_path / "checkpoints" / stopped[1]).is_dir()
    assert "Traceback" not in errors


def check_same_training(whole: Path, workdir: Path) -> None:
    one, two = losses(whole), losses(workdir)
    assert one.keys() == two.keys()
    # The first steps only: rounding in another order grows from there.
    first = [k for k in one if k[0] <= 5]
    np.testing.assert_allclose([two[k] for k in first], [one[k] for k in first], rtol=1e-5)


@pytest.mark.slow
def test_two_processes_train_as_one_does(whole, tmp_path):
    finish(*start_two(tmp_path))
    check_same_training(whole, tmp_path)


def num_split(checkpoint: Path, item: str) -> int:
    """How many of the item's arrays were split over the mesh's "fsdp" axis when it was saved."""
    shardings = json.loads((checkpoint / item / "_sharding").read_text()).values()
    return sum("fsdp" in json.loads(text)["partition_spec"] for text in shardings)


@pytest.mark.slow
def test_sigterm_to_one_stops_both_and_the_run_goes_on(whole, tmp_path):
    """Each process holds half of every large parameter and of its moments."""
    processes = start_two(tmp_path, "--config.mesh.fsdp=2")
    wait_for_checkpoint(tmp_path, 4, *processes)
    processes[1].send_signal(signal.SIGTERM)
    assert finish(*processes).count("stopped by SIGTERM") == 2
    finish(*start_two(tmp_path, "--config.mesh.fsdp=2"))
    check_same_training(whole, tmp_path)
    got = load_model(tmp_path)  # by one process
    split = num_split(tmp_path / "checkpoints" / str(got.step), "model")
    assert split > 0
    assert num_split(tmp_path / "checkpoints" / str(got.step), "opt") == 2 * split


def test_processes_that_cannot_meet_are_one_line(tmp_path, capsys):
    arguments = ["--config", TINY, "--workdir", str(tmp_path), "--distributed"]
    assert run_command(lambda: train.main(arguments)) == 2
    assert "give --coordinator HOST:PORT" in capsys.readouterr().err
