"""The training command's mistakes, each one line."""

import errno
import json
import os
import re
import signal
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from tiny_training import full_disk

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
        (TINY, ["--config.train.stage_epochs=(1, 'a')"], "its field, of type tuple of int"),
        (TINY, ["--config.train.ornament_epochs=-1"], "config.train.ornament_epochs=-1; give a"),
        (TINY, ["--config.optim.cooldown=1.5"], "config.optim.cooldown=1.5; give a share"),
        (TINY, ["--config.train.eval_every=0"], "config.train.eval_every=0; give a number from 1"),
        (TINY, ["--config.checkpoint.save_every=0"], "config.checkpoint.save_every=0; give"),
        (TINY, ["--config.mesh.fsdp=0"], "config.mesh.fsdp=0; give"),
        (TINY, ["--config.mesh.fsdp=-1"], "config.mesh.fsdp=-1; give"),
        (TINY, ["--config.data.batch_size=0"], "config.data.batch_size=0; give"),
        (TINY, ["--config.log.every=0"], "config.log.every=0; give"),
        (TINY, ["--config.model.dtype=bf16"], "float32, bfloat16; did you mean bfloat16?"),
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


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("config.optim.learning_rte = 1.0", "; did you mean config.optim.learning_rate?"),
        ("config.train.loss.dise = 1.0", "; did you mean config.train.loss.dice?"),
        ("config.optm.learning_rate = 1.0", 'Did you mean "optim" instead of "optm"?'),
        ("config.optim = ConfigDict({'learning_rate': 1.0})", "mine.py lacks config.optim."),
        ("config.data.num_val = 'few'", "mine.py, line 4: TypeError: "),
        ("import absent", "mine.py, line 4: ModuleNotFoundError: No module named 'absent'"),
        ("config.data. = 1", "mine.py, line 4: SyntaxError: invalid syntax"),
        ("return None", "mine.py has no get_config() that returns a configuration"),
        (None, "mine.py has no get_config() that returns a configuration"),
    ],
)
def test_mistakes_in_a_file_are_one_line(tmp_path, capsys, code, words):
    body = f"\n\ndef get_config():\n    {code}\n    return config\n" if code else ""
    (tmp_path / "mine.py").write_text(
        "from configs.v32 import *; from ml_collections import ConfigDict; "
        f"config = get_config(){body or '; del get_config'}"
    )
    arguments = ["--config", str(tmp_path / "mine.py"), "--workdir", str(tmp_path / "run")]
    assert run_command(lambda: train.main(arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert not (tmp_path / "run").exists()


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


def test_ctrl_c_is_one_line(tmp_path, capsys, monkeypatch, ctrl_c):
    monkeypatch.setattr(run, "build_model", lambda _: ctrl_c())
    arguments = ["--config", TINY, "--workdir", str(tmp_path)]
    assert run_command(lambda: train.main(arguments)) == 130
    assert capsys.readouterr().err == "interrupted\n"


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


@pytest.mark.parametrize("damage", [None, b"", b'{\n"lr', b"\xff\xfe"])
def test_the_checkpoints_know_the_configuration_too(tmp_path, damage):
    """Where config.json is lost or damaged the newest readable one decides."""
    mine, other = '{\n"lr": 1\n}', '{\n"lr": 2\n}'
    path = tmp_path / "config.json"
    for step, meta in (("9", {"config_sha256": sha256(mine.encode()).hexdigest()}), ("10", {})):
        (tmp_path / "checkpoints" / step / "meta").mkdir(parents=True)
        if meta:
            (tmp_path / "checkpoints" / step / "meta" / "metadata").write_text(json.dumps(meta))
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(train.UserError, match=r"another configuration \(by its checkpoints; "):
        train.prepare_workdir(tmp_path, other)
    train.prepare_workdir(tmp_path, mine)
    assert path.read_text() == mine


def test_a_full_disk_at_the_start_is_one_line_and_leaves_nothing(tmp_path, capsys):
    # Less fits than a configuration is long.
    arguments = ["--config", TINY, "--workdir", str(tmp_path)]
    with full_disk(100):
        assert run_command(lambda: train.main(arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: cannot write {tmp_path / 'config.json'}: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "some",
    [
        ["--num-processes", "2", "--process-id", "1"],
        ["--process-id", "0"],
        ["--coordinator", "localhost:1", "--num-processes", "2"],
    ],
)
def test_a_process_that_does_not_know_the_others_does_not_start(tmp_path, capsys, some):
    """It would be a second one that writes to the folder."""
    arguments = ["--config", TINY, "--workdir", str(tmp_path), *some]
    assert run_command(lambda: train.main(arguments)) == 2
    words = "error: --coordinator, --num-processes and --process-id go together; "
    assert capsys.readouterr().err.startswith(words)


def test_the_advice_of_a_failed_start_works_in_the_same_workdir(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "Otuken3DModel", lambda **_: sys.exit("past the weights"))
    arguments = ["--config", "v64", "--workdir", "run"]
    assert run_command(lambda: train.main(arguments)) == 2
    advice = re.search(r"--config\.\S+=\S+", capsys.readouterr().err).group()
    with pytest.raises(SystemExit, match="past the weights"):
        train.main([*arguments, advice])
    assert json.loads(Path("run/config.json").read_text())["model"]["pretrained"] is False


def test_sigterm_before_training_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "build_model", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert train.main(["--config", TINY, "--workdir", str(tmp_path)]) == 0
    assert capsys.readouterr().err.strip().endswith("nothing to save; the same command goes on")
    assert signal.getsignal(signal.SIGTERM) is before
