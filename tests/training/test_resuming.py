"""Checkpoints of a run: when they are written, and what goes on from them."""

import hashlib
import json
import logging
import math
import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny_models import TINY, drawn, write_workdir
from tiny_training import copied, num_split, one_device_mesh, run_config, sphere_trainer

from otuken_jax.config import to_json
from otuken_jax.errors import UserError
from otuken_jax.models.parameters import split_model
from otuken_jax.training import learner as learner_module
from otuken_jax.training import run
from otuken_jax.training.loading import load_model
from otuken_jax.training.sharding import make_mesh
from otuken_jax.training.step import make_train_step


def test_train_starts_from_what_train_epoch_trained(tiny_model, tmp_path, quick_step, caplog):
    """Unless a checkpoint is of a later step, as when the script that made it is run again."""
    params = split_model(tiny_model)[1]
    name = next(name for name in params if name.startswith("fusion."))
    settings = {"workdir": tmp_path, "val_loader": None, "stage_epochs": (1,), "log_every": 1}

    def trained(trainer) -> tuple[int, float]:
        after = split_model(trainer.model)[1][name]
        return trainer.step, float(np.round(np.mean(after - params[name])))

    first = sphere_trainer(copied(tiny_model, 8), **settings)
    first.train()
    assert trained(first) == (2, 2)
    first.train_epoch()
    records = (tmp_path / "metrics.jsonl").read_bytes()
    first.train_epoch()
    assert trained(first) == (6, 6)
    assert (tmp_path / "metrics.jsonl").read_bytes() == records
    first.train()
    assert trained(first) == (8, 8)
    words = "starts anew from this trainer's step 6: the checkpoint of step 2 is older"
    assert caplog.messages == [words]
    again = sphere_trainer(copied(tiny_model, 8), **settings)
    again.train_epoch()
    again.train()
    assert trained(again) == (8, 8)
    assert caplog.messages[1:] == [
        "what train_epoch trained is given up for the checkpoint of step 8"
    ]


def test_saves_count_epochs_however_rare_validations_are(tiny_model, quick_step):
    trainer = sphere_trainer(copied(tiny_model, 8), eval_every=3)
    losses = iter([1.0, 2.0, 3.0])
    trainer.validate = lambda: {"loss": next(losses)}
    saves = []
    trainer._save = lambda loss=math.inf: saves.append((trainer.progress.epoch, loss))
    trainer.train(num_epochs=7, save_every=2)
    assert saves == [(2, math.inf), (3, 1.0), (4, math.inf), (6, 2.0), (7, 3.0)]


def test_checkpoints_of_a_later_stage_are_refused(tiny_model, tmp_path, quick_step):
    settings = {"workdir": tmp_path, "val_loader": None}
    sphere_trainer(copied(tiny_model, 12), **settings).train(num_epochs=2)
    trainer = sphere_trainer(copied(tiny_model, 8), **settings, log_every=1)
    with pytest.raises(UserError, match=r"checkpoints/4 has grown to 12\^3 and the .* set to 8\^3"):
        trainer.train(num_epochs=2)
    assert trainer.model.voxel_size == 8
    records = (tmp_path / "metrics.jsonl").read_bytes()
    trainer.train_epoch()  # which logs nothing, also after this
    assert (tmp_path / "metrics.jsonl").read_bytes() == records


def test_a_pass_broken_off_is_not_forgotten(tiny_model, tmp_path, quick_step, caplog):
    trainer = sphere_trainer(copied(tiny_model, 8), workdir=tmp_path, val_loader=None)
    trainer.train(num_epochs=1)
    batches = list(trainer.train_loader)

    def failing():
        yield from batches
        raise OSError("the network is down")

    with pytest.raises(UserError, match="no batch"):
        trainer.train_epoch([])  # which trains nothing
    trainer.train(num_epochs=1)
    assert not [message for message in caplog.messages if "given up" in message]
    with pytest.raises(OSError, match="network"):
        trainer.train_epoch(failing())
    trainer.train(num_epochs=1)
    assert "starts anew from this trainer's step 4: the checkpoint of step 2 is older" in (
        caplog.messages
    )


@pytest.mark.slow
def test_checkpoints_of_another_model_are_refused(tiny_data, tmp_path):
    write_workdir(tmp_path, drawn(TINY, 8))
    with pytest.raises(UserError, match=r"the checkpoints are of another model: .* choose another"):
        run.build_trainer(run_config(tiny_data), tmp_path).train()


def test_damage_without_checksums_falls_back(tiny_model, tmp_path, quick_step, caplog):
    """Both where a run resumes and where its model is loaded."""
    caplog.set_level(logging.INFO, logger="otuken_jax")
    settings = {"workdir": tmp_path, "stage_epochs": (2,), "val_loader": None}
    sphere_trainer(copied(tiny_model, 8), **settings).train(save_every=1)
    assert "stage 8^3, trainable: text_encoder" in caplog.text
    checkpoints = tmp_path / "checkpoints"
    (checkpoints / "checksums" / "4.json").unlink()
    for path in (checkpoints / "4" / "model").rglob("d/*"):
        path.write_bytes(path.read_bytes()[:-100])
    assert load_model(tmp_path).step == 2
    trainer = sphere_trainer(copied(tiny_model, 8), **settings)
    trainer.train(save_every=1)
    assert caplog.text.count("checkpoint 4 is broken") == 2
    assert "resumed from step 2" in caplog.text
    assert trainer.step == 4


@pytest.fixture(scope="module")
def whole(tiny_data, tmp_path_factory):
    """An unbroken run through both stages, of split parameters and with surface terms.

    Its trainer and compiled steps.
    """
    surface = ("train.loss.surface.chamfer=1.0", "train.loss.surface.points=64")
    config = run_config(tiny_data, "mesh.fsdp=4", *surface)
    steps = []

    def counted(*args):
        steps.append(make_train_step(*args))
        return steps[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner_module, "make_train_step", counted)
        trainer = run.build_trainer(config, tmp_path_factory.mktemp("whole"))
        trainer.train(save_every=1)
    return config, trainer, steps


@pytest.mark.slow
def test_one_compilation_per_stage(whole):
    """Of encoders that train from the start; with pretrained text the last stage has two."""
    _, _, steps = whole
    assert [step._cache_size() for step in steps] == [1, 1]


@pytest.mark.slow
def test_resume_is_bit_for_bit_the_unbroken_run(whole, tmp_path):
    config, whole, _ = whole
    broken = run.build_trainer(config, tmp_path)
    stop = broken._record

    def interrupt(step, metrics, bar):
        if step == 5:  # in the middle of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return stop(step, metrics, bar)

    broken._record = interrupt
    broken.train(save_every=1)
    assert broken.interrupted
    assert broken.step % broken.train_loader.steps_per_epoch  # nothing but the signal saves there
    assert (tmp_path / "checkpoints" / str(broken.step)).is_dir()
    resumed = run.build_trainer(config, tmp_path)
    resumed.train(save_every=1)
    assert resumed.step == whole.step == 16
    meta = load_model(tmp_path).meta
    assert meta["config_sha256"] == hashlib.sha256(to_json(config).encode()).hexdigest()
    lengths = {"text_length": 64, "style_length": 64, "num_points": 16}
    assert meta["data"] == {"tokenizer": "bytes"} | lengths
    assert meta["revision"] == run.revision(Path(__file__).parents[2])
    want = split_model(whole.model)[1]
    for name, value in split_model(resumed.model)[1].items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)
    for mesh in (one_device_mesh(), make_mesh(8, 1)):
        moved = run.build_trainer(config, tmp_path)
        moved.mesh = mesh
        moved.train()  # it only reads: the run has ended
        assert (num_split(moved._learner.state), num_split(resumed._learner.state) > 0) == (0, True)
        jax.tree.map(np.testing.assert_array_equal, moved._learner.state, resumed._learner.state)
    losses, lines = [], []
    for workdir in (tmp_path, whole.workdir):
        lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        losses.append({(line["step"], line["split"]): line["loss"] for line in lines})
    assert losses[0] == losses[1]
    assert all("surface_share" in line for line in lines if line["split"] == "val")
    # A warm-up of two steps for each group, then the cooldown in the second half of the last stage.
    rates = [line for line in lines if line["split"] == "train"]
    cooldown = [*[1.0] * 5, 0.75, 0.5, 0.25]
    for group, scale, want in (
        ("", 1.0, [0.5, *[1.0] * 7, *cooldown]),
        ("/stage_0", 1.0, [0.5, *[1.0] * 7, *cooldown]),
        ("/stage_1", 1.0, [0.5, *cooldown[1:]]),
        ("/text_encoder", 0.2, [0.5, *[1.0] * 7, *cooldown]),
    ):
        got = [line[f"learning_rate{group}"] for line in rates if f"learning_rate{group}" in line]
        assert got == pytest.approx([2e-3 * scale * w for w in want]), group
