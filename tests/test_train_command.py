"""The training command's mistakes, each one line; and a real process killed and started again."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from otuken_jax import train
from otuken_jax.errors import run_command
from otuken_jax.training import run

TINY = str(Path(__file__).parent / "configs" / "tiny.py")


@pytest.mark.parametrize(
    ("config", "overrides", "words"),
    [
        ("quikstart", [], "did you mean quickstart?"),
        ("exp/v64.py", [], "no configuration 'exp/v64.py'; did you mean v64, the installed one?"),
        ("v64.yaml", [], "no configuration 'v64.yaml'; did you mean v64, the installed one?"),
        (TINY, ["--config.optim.learning_rat=1"], "did you mean config.optim.learning_rate?"),
        (TINY, ["--config.data.batch_size=abc"], "does not fit its field"),
        (TINY, ["--config.data.batch_size=12"], "use 8 or 16"),
        (TINY, ["--config.model.voxel_size=13"], "one of 8, 12"),
        (TINY, ["--config.mesh.fsdp=3"], "number of devices"),
        (TINY, ["--confg.data.batch_size=8"], "--config.group.field=value"),
        ("v64", [], "t5 at weights/t5-v1_1-base and point-e/sdf at weights/point-e-sdf"),
        (TINY, ["--config.data.motifs=('lalee',)"], "lalee"),
        (
            "v64",
            ["--config.model.voxel_size=32"],
            "config.model.voxel_size=32 trains 1 stage (32) and config.train.stage_epochs="
            "(30, 20, 50) has 3 numbers; set one for each, such as "
            "--config.train.stage_epochs='(30,)'",
        ),
        ("v32", ["--config.model.voxel_size=48"], "--config.train.stage_epochs='(30, 30)'"),
        (TINY, ["--config.train.stage_epochs=(0, 0)"], "config.train.stage_epochs=(0, 0); give"),
        (TINY, ["--config.train.stage_epochs=(1, 'a')"], "one above zero"),
        (TINY, ["--config.train.eval_every=0"], "config.train.eval_every=0; give a number from 1"),
        (TINY, ["--config.checkpoint.save_every=0"], "config.checkpoint.save_every=0; give"),
        (TINY, ["--config.mesh.fsdp=0"], "config.mesh.fsdp=0; give"),
        (TINY, ["--config.mesh.fsdp=-1"], "config.mesh.fsdp=-1; give"),
        (TINY, ["--config.data.batch_size=0"], "config.data.batch_size=0; give"),
        (TINY, ["--config.log.every=0"], "config.log.every=0; give"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, monkeypatch, config, overrides, words):
    monkeypatch.chdir(tmp_path)
    arguments = ["--config", config, "--workdir", str(tmp_path / "run"), *overrides]
    assert run_command(lambda: train.main(arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert not list((tmp_path / "run").glob("*/*"))  # no data, no checkpoints


def test_a_file_where_the_workdir_should_be_is_one_line(tmp_path, capsys):
    (tmp_path / "run").write_text("")
    arguments = ["--config", TINY, "--workdir", str(tmp_path / "run" / "a")]
    assert run_command(lambda: train.main(arguments)) == 2
    assert capsys.readouterr().err.strip().endswith("; choose another --workdir")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "no space left on device (run/a); free some space"),
        (errno.EROFS, "read-only file system (run/a); choose another folder"),
    ],
)
def test_no_room_is_one_line_wherever_it_is_met(capsys, code, words):
    def main():
        raise OSError(code, os.strerror(code), "run/a")

    assert run_command(main) == 2
    assert capsys.readouterr().err == f"error: {words}\n"


def test_other_errors_keep_their_traceback():
    def main():
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        run_command(main)


def test_another_configuration_in_the_workdir_is_refused(tmp_path):
    """Once it has trained: what a failed start leaves is overwritten."""
    first, second, third = (f'{{\n"lr": {number}\n}}' for number in (1, 2, 3))
    train.prepare_workdir(tmp_path, first)
    train.prepare_workdir(tmp_path, second)
    (tmp_path / "checkpoints" / "4").mkdir(parents=True)
    train.prepare_workdir(tmp_path, second)
    with pytest.raises(train.UserError, match=r'another configuration \("lr": 3\)'):
        train.prepare_workdir(tmp_path, third)
    assert (tmp_path / "config.json").read_text() == second


def test_the_advice_of_a_failed_start_works_in_the_same_workdir(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "Otuken3DModel", lambda **_: sys.exit("past the weights"))
    arguments = ["--config", "v64", "--workdir", "run"]
    assert run_command(lambda: train.main(arguments)) == 2
    advice = re.search(r"--config\.\S+=\S+", capsys.readouterr().err).group()
    with pytest.raises(SystemExit, match="past the weights"):
        train.main([*arguments, advice])
    assert json.loads(Path("run/config.json").read_text())["model"]["pretrained"] is False


def start(workdir: Path, **kwargs) -> subprocess.Popen:
    command = [sys.executable, "-m", "otuken_jax.train", "--config", TINY]
    quick = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # it compiles longer than it runs
    return subprocess.Popen([*command, "--workdir", str(workdir)], env=quick, **kwargs)


def wait_for_checkpoint(workdir: Path, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while not (workdir / "checkpoints" / "checksums" / f"{step}.json").exists():
        assert process.poll() is None, "the run ended before it was stopped"
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_process_resumes_bit_for_bit(tmp_path):
    from otuken_jax.models.parameters import split_model
    from otuken_jax.training.checkpoints import load_model

    assert start(tmp_path / "whole").wait() == 0
    process = start(tmp_path / "killed")
    wait_for_checkpoint(tmp_path / "killed", 8, process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert start(tmp_path / "killed").wait() == 0
    want, got = (load_model(tmp_path / name) for name in ("whole", "killed"))
    assert want.step == got.step
    params = split_model(want.model)[1]
    for name, value in split_model(got.model)[1].items():
        np.testing.assert_array_equal(value, params[name], err_msg=name)
    losses = [
        {(r["step"], r["split"]): r["loss"] for r in map(json.loads, path.read_text().splitlines())}
        for path in (tmp_path / "whole/metrics.jsonl", tmp_path / "killed/metrics.jsonl")
    ]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_sigterm_saves_and_exits_with_zero(tmp_path):
    process = start(tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for_checkpoint(tmp_path, 4, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 0
    stopped = re.search(r"stopped by SIGTERM at step (\d+), saved$", errors, re.MULTILINE)
    assert stopped, errors
    assert (tmp_path / "checkpoints" / stopped[1]).is_dir()
    assert re.search(r"<\d\d:\d\d, +[\d.]+(step/s|s/step)", errors)  # the bar, and time to go


def test_sigterm_before_training_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "build_model", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert train.main(["--config", TINY, "--workdir", str(tmp_path)]) == 0
    assert capsys.readouterr().err.strip().endswith("nothing to save; the same command goes on")
    assert signal.getsignal(signal.SIGTERM) is before
