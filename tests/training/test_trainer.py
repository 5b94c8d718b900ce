"""The trainer: the original system's usage, stages, freezing, resume, errors."""

import dataclasses
import hashlib
import json
import logging
import math
import os
import signal
from pathlib import Path
from unittest.mock import DEFAULT, Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_models import TINY as TINY_MODEL
from tiny_models import drawn, write_workdir
from tiny_training import (
    copied,
    make_quick_step,
    num_split,
    one_device_mesh,
    sphere_loader,
    sphere_trainer,
    trained_parts,
)

from otuken_jax import Otuken3DModel
from otuken_jax.config import load_config, to_json
from otuken_jax.errors import UserError
from otuken_jax.generation import Generator, Prompt, predict
from otuken_jax.geometry.meshes import Meshes
from otuken_jax.losses.surface import TERMS
from otuken_jax.models.decoder import DecoderConfig
from otuken_jax.models.otuken3d import PARTS
from otuken_jax.models.parameters import split_model, update_model
from otuken_jax.training import run
from otuken_jax.training import trainer as trainer_module
from otuken_jax.training.batches import BatchPreparer
from otuken_jax.training.checkpoints import load_model
from otuken_jax.training.logging import NonFiniteLoss
from otuken_jax.training.sharding import make_mesh
from otuken_jax.training.stages import trainable_groups
from otuken_jax.training.step import StepConfig, make_train_step

TINY = Path(__file__).parents[1] / "configs" / "tiny.py"


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """The tiny configuration's data set, built once."""
    directory = tmp_path_factory.mktemp("tiny_data")
    run.build_data(load_config(str(TINY), [f"--config.data.directory={directory}"]), directory)
    return directory


def run_config(tiny_data, *overrides):
    overrides = [f"--config.{o}" for o in overrides]
    return load_config(str(TINY), [f"--config.data.directory={tiny_data}", *overrides])


def tetrahedra(size: int = 8) -> dict:
    """A batch of meshes."""
    vertices = np.array([[-1, -1, -1], [1, -1, -1], [0, 1, -1], [0, 0, 1]], np.float32) * 0.5
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    meshes = Meshes.from_lists([vertices] * size, [faces] * size)
    return {"text": ["dörtyüzlü"] * size, "mesh": meshes}


@pytest.mark.slow
def test_usage_of_the_original_system(tiny_config, tmp_path):
    """At its resolutions; only the widths are small."""
    decoder = DecoderConfig(
        trunk_resolutions=(4, 8, 16, 24, 32),
        trunk_widths=(16, 16, 8, 8, 8),
        attention_resolutions=(8,),
        num_heads=2,
        ornament_width=16,
        ornament_layers=2,
    )
    model = Otuken3DModel(voxel_size=64, config=dataclasses.replace(tiny_config, decoder=decoder))
    model.gradient_checkpointing_enable()  # first, so that `train` finds its programs compiled
    # What is outside in training is inside in validation: the better the one, the worse the other.
    (batch,) = batches = sphere_loader(1, size=1)
    inside_out = [batch | {"field": -batch["field"]}]
    trainer = sphere_trainer(
        model, train_loader=batches * 2, val_loader=inside_out, workdir=tmp_path, fade_fraction=0.5
    )
    losses = []

    def train_epoch(loader=trainer.train_loader) -> set[str]:
        before = split_model(model)[1]
        losses.append(trainer.train_epoch(loader)["loss"])
        return trained_parts(before, split_model(model)[1])

    for size in (32, 48, 64):
        model.set_voxel_size(size)
        assert "decoder" in train_epoch()
        if size == 32:  # the quickest to compile
            model.freeze("text_encoder")
            assert train_epoch() == set(PARTS) - {"text_encoder"}
            model.unfreeze("text_encoder")
    train_epoch([tetrahedra(1)])
    assert np.isfinite(losses).all()
    before = split_model(model)[1]
    trainer.train(num_epochs=30, save_every=2, early_stopping_patience=2)
    assert trained_parts(before, split_model(model)[1]) == set(PARTS)
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    resolutions = [line["resolution"] for line in lines if line["split"] == "val"]
    assert resolutions == sorted(resolutions)
    assert set(resolutions) == {32, 48, 64}
    assert len(resolutions) < 30  # no loss stays below the first for long: early stops
    assert Otuken3DModel.from_pretrained(str(tmp_path)).voxel_size == 64
    generator = Generator(load_model(tmp_path))
    inputs, _ = generator.inputs(Prompt("küre"))
    strengths = {"mix": 0.0, "style": 1.0, "ornament": 1.0}
    field, _ = predict(generator.modeldef, generator.stage, generator.params, inputs, strengths)
    assert field.shape == (1, 64, 64, 64)
    assert np.isfinite(field).all()


@pytest.mark.slow
def test_model_is_made_by_the_published_names():
    """Shapes only: the weights would take long to draw."""
    arguments = {"text_encoder_name": "bytes-tiny", "voxel_size": 48, "latent_dim": 64}
    model = nnx.eval_shape(lambda: Otuken3DModel(**arguments))
    assert (model.config.text_encoder_name, model.voxel_size) == ("bytes-tiny", 48)
    inputs = {name: jnp.ones((2, 4), int) for name in ("text_ids", "text_mask")}
    inputs |= {name: jnp.ones((2, 4), int) for name in ("style_ids", "style_mask")}
    inputs |= {name: jnp.ones(2, bool) for name in ("has_text", "has_points", "has_style")}
    inputs["points"] = jnp.zeros((2, 8, 3))
    assert nnx.eval_shape(lambda m: m.encode(inputs).latent, model).shape == (2, 64)


def test_meshes_become_fields(tiny_model):
    trainer = sphere_trainer(copied(tiny_model, 16))
    prepared = trainer.preparer(tetrahedra())
    assert (prepared["sdf"] < 0).mean() == pytest.approx(1 / 6 / 8, rel=0.1)  # a sixth, in 2^3
    with pytest.raises(UserError, match="mesh"):
        trainer.preparer({"text": ["?"]})


def test_a_text_that_is_cut_is_said_once(caplog):
    preparer = BatchPreparer("bytes", resolution=4, num_points=4, text_length=12, style_length=8)
    field = np.ones((2, 4, 4, 4), np.float32)
    preparer({"text": ["lale", "vazo"], "style_text": ["iznik", "rumi"], "field": field})
    assert not caplog.messages
    for _ in range(2):
        preparer({"text": ["lale", "karanfil motifli vazo"], "field": field})
    assert caplog.messages == ["texts longer than 12 tokens are cut: karanfil motifli vazo..."]


def test_validation_and_pictures_find_all_of_the_model_on_the_mesh(tiny_model):
    """Also what does not train, and what one device alone held, as it does a loaded model."""
    model = copied(tiny_model, 8)
    update_model(model, jax.device_put(split_model(model)[1], jax.devices()[0]))
    mesh = make_mesh(2, 4)
    trainer = sphere_trainer(model, mesh=mesh, min_sharded_size=1)
    trainer._validator = lambda model, *_: {"loss": float(num_split(split_model(model)[1]))}
    assert trainer.validate()["loss"] > 0
    assert {x.sharding.mesh for x in split_model(model)[1].values()} == {mesh}


@pytest.mark.slow
def test_early_stop_ends_the_stage_not_the_run(tiny_model, monkeypatch):
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
    trainer = sphere_trainer(copied(tiny_model, 16))
    losses = iter([1.0, 2.0, 3.0, 0.9, 2.0, 3.0, 0.8, 2.0, 3.0])
    resolutions = []

    def validate():
        resolutions.append(trainer.model.voxel_size)
        return {"loss": next(losses)}

    trainer.validate = validate
    trainer.train(num_epochs=30, early_stopping_patience=2)
    assert resolutions == [8] * 3 + [12] * 3 + [16] * 3


def test_saves_count_epochs_however_rare_validations_are(tiny_model, monkeypatch):
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
    trainer = sphere_trainer(copied(tiny_model, 8), eval_every=3)
    losses = iter([1.0, 2.0, 3.0])
    trainer.validate = lambda: {"loss": next(losses)}
    saves = []
    trainer._save = lambda loss=math.inf: saves.append((trainer.progress.epoch, loss))
    trainer.train(num_epochs=7, save_every=2)
    assert saves == [(2, math.inf), (3, 1.0), (4, math.inf), (6, 2.0), (7, 3.0)]


def test_intervals_below_one_are_refused(tiny_model):
    for name in ("eval_every", "log_every"):
        with pytest.raises(UserError, match=f"{name}=0; give a number from 1"):
            sphere_trainer(tiny_model, **{name: 0})
    with pytest.raises(UserError, match="save_every=0; give a number from 1"):
        sphere_trainer(tiny_model).train(save_every=0)


class Unmeasured:
    """Batches without a length: an iterator, or anew each time it is asked."""

    def __init__(self, batches: list, *, once: bool) -> None:
        self.batches, self.once = iter(batches) if once else batches, once

    def __iter__(self):
        return self.batches if self.once else iter(self.batches)


@pytest.mark.parametrize(
    ("loaders", "words"),
    [
        ({"train_loader": []}, "the training loader gave no batch after step 0; give"),
        (
            {"train_loader": Unmeasured(sphere_loader(), once=True)},
            "the training loader gave no batch after step 2; give",
        ),
        ({"val_loader": []}, "the validation loader gave no batch; give"),
    ],
)
def test_a_loader_without_batches_is_one_line(tiny_model, monkeypatch, loaders, words):
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
    trainer = sphere_trainer(copied(tiny_model, 8), **{"val_loader": None} | loaders)
    with pytest.raises(UserError, match=f"^{words}"):
        trainer.train(num_epochs=2)


def test_without_a_length_there_is_no_fade_in_and_it_is_said(tiny_model, monkeypatch, caplog):
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
    loader = Unmeasured(sphere_loader(), once=False)
    words = "new stages start without fade-in: it needs a train_loader with __len__"
    trainer = sphere_trainer(copied(tiny_model, 12), train_loader=loader, val_loader=None)
    trainer.model.set_voxel_size(8)
    trainer.train_epoch()
    trainer.train(num_epochs=1)
    assert words not in caplog.messages
    trainer.model.set_voxel_size(12)
    trainer.train_epoch()
    assert caplog.messages.count(words) == 1
    trainer.train(num_epochs=2)
    assert caplog.messages.count(words) == 2


def test_train_starts_from_what_train_epoch_trained(tiny_model, tmp_path, monkeypatch, caplog):
    """Unless a checkpoint is of a later step, as when the script that made it is run again."""
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
    params = split_model(tiny_model)[1]
    name = next(name for name in params if name.startswith("fusion."))
    settings = {"workdir": tmp_path, "val_loader": None, "stage_epochs": (1,)}

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


def test_checkpoints_of_a_later_stage_are_refused(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
    settings = {"workdir": tmp_path, "val_loader": None}
    sphere_trainer(copied(tiny_model, 12), **settings).train(num_epochs=2)
    trainer = sphere_trainer(copied(tiny_model, 8), **settings)
    with pytest.raises(UserError, match=r"checkpoints/4 has grown to 12\^3 and the .* set to 8\^3"):
        trainer.train(num_epochs=2)
    assert trainer.model.voxel_size == 8


def test_a_stage_without_epochs_is_skipped(tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
    trainer = sphere_trainer(copied(tiny_model, 16), stage_epochs=(0, 1, 0), val_loader=None)
    assert trainer.train() == {"loss": 1.0, "iou": 0.0}
    assert trainer.step == 2
    error = capsys.readouterr().err
    assert "12^3" in error
    assert "8^3" not in error
    assert "16^3" not in error


@pytest.mark.parametrize(("name", "said"), [("SIGTERM", "saved"), ("SIGINT", "not saved")])
def test_an_interrupted_run_can_be_started_again(
    tiny_model, tmp_path, monkeypatch, caplog, ctrl_c, name, said
):
    """By the same trainer, towards the same resolution."""
    step = make_quick_step(*[None] * 6)
    calls = []

    def stopped_once(*args):
        calls.append(args)
        if len(calls) == 1:
            os.kill(os.getpid(), signal.Signals[name])
        return step(*args)

    monkeypatch.setattr(trainer_module, "make_train_step", lambda *_: stopped_once)
    workdir = tmp_path if said == "saved" else None
    trainer = sphere_trainer(copied(tiny_model, 12), workdir=workdir, stage_epochs=(1, 1))
    trainer.validate = lambda: {"loss": 1.0}
    trainer.train()
    assert (trainer.interrupted, trainer.step) == (True, 1)
    assert caplog.messages[-1] == f"stopped by {name} at step 1, {said}"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    # In the middle of an epoch of two.
    assert (tmp_path / "checkpoints" / "1").is_dir() == (said == "saved")
    trainer.train()
    assert (trainer.interrupted, trainer.step, trainer.model.voxel_size) == (False, 5, 12)


def test_after_an_interrupted_run_a_pass_is_whole(tiny_model, monkeypatch):
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
    trainer = sphere_trainer(copied(tiny_model, 8), train_loader=sphere_loader(3))
    trainer.preparer = Mock(wraps=trainer.preparer)
    trainer.preparer.side_effect = lambda _: os.kill(os.getpid(), signal.SIGTERM) or DEFAULT
    trainer.train(num_epochs=1)
    assert (trainer.interrupted, trainer.step) == (True, 1)
    trainer.preparer.side_effect = None
    for step in (4, 7):
        trainer.train_epoch()
        assert (trainer.interrupted, trainer.step) == (False, step)


@pytest.mark.slow
def test_stopped_in_the_last_step_a_run_ends_without_validation(tiny_data, tmp_path, monkeypatch):
    """Of an epoch, by a loader that goes on where it was: no step is left to take metrics of."""
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
    config = run_config(tiny_data, "train.stage_epochs=(1,1)", "optim.cooldown=0.0")
    for step in (4, 8):
        trainer = run.build_trainer(config, tmp_path)
        trainer.val_loader = None
        if step == 4:
            trainer._record = lambda at, *_: (
                {"loss": 1.0} if at < 3 else os.kill(os.getpid(), signal.SIGTERM) or {"loss": 1.0}
            )
        trainer.train(save_every=1)
        assert trainer.step == step


def test_stopped_in_the_last_validation_it_says_so(tiny_model, monkeypatch, caplog):
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
    trainer = sphere_trainer(copied(tiny_model, 8))
    trainer.validate = lambda: os.kill(os.getpid(), signal.SIGTERM) or {"loss": 1.0}
    trainer.train(num_epochs=1)
    assert caplog.messages[-1] == "stopped by SIGTERM at step 2, not saved"


def test_a_second_ctrl_c_stops_at_once(tiny_model, monkeypatch, ctrl_c):
    """In the middle of a step, which has taken its state: the epoch is lost, the model is not."""
    step = make_quick_step(*[None] * 6)
    calls = []

    def stopped_twice(state, *args):
        calls.append(args)
        if len(calls) == 4:  # the second of the second epoch
            ctrl_c()
            for x in state.params.values():
                x.delete()
            ctrl_c()
        return step(state, *args)

    monkeypatch.setattr(trainer_module, "make_train_step", lambda *_: stopped_twice)
    trainer = sphere_trainer(copied(tiny_model, 8), val_loader=None)
    before = split_model(trainer.model)[1]
    with pytest.raises(KeyboardInterrupt):
        trainer.train(num_epochs=2)
    after = split_model(trainer.model)[1]
    name = next(name for name in before if name.startswith("fusion."))
    np.testing.assert_allclose(after[name], before[name] + 2, rtol=1e-6)
    trainer.train(num_epochs=1)
    assert len(calls) == 6


def test_the_ornament_starts_alone_and_resumes(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
    settings = {"workdir": tmp_path, "stage_epochs": (1,), "ornament_epochs": 2}
    before = split_model(tiny_model)[1]
    trainer = sphere_trainer(copied(tiny_model, 8), **settings)

    def broken_off():
        raise KeyboardInterrupt

    trainer.validate = broken_off  # the first validation is that of the first epoch with shapes
    with pytest.raises(KeyboardInterrupt):
        trainer.train(save_every=1)
    assert trainer.step == 6
    assert (tmp_path / "checkpoints" / "4").is_dir()
    trainer = sphere_trainer(copied(tiny_model, 8), **settings)
    trainer.validate = lambda: {"loss": 1.0}
    trainer.train(save_every=1)
    assert trainer.step == 6
    ornament = trainable_groups(before, 0, (), TINY_MODEL.decoder, ornament_alone=True)
    steps = {n: 6 for n in ornament} | {
        n: 2 for n in trainable_groups(before, 0, (), TINY_MODEL.decoder) if n not in ornament
    }
    after = split_model(trainer.model)[1]
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value + steps.get(name, 0), rtol=1e-6, atol=1e-6)


def test_damage_without_checksums_falls_back(tiny_model, tmp_path, monkeypatch, caplog):
    """Both where a run resumes and where its model is loaded."""
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
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


def test_non_finite_validation_loss_stops_before_it_is_saved(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "make_train_step", make_quick_step)
    trainer = sphere_trainer(copied(tiny_model, 8), workdir=tmp_path, stage_epochs=(3,))
    losses = iter([1.0, math.nan])
    # A metric that is not finite is no reason to stop.
    trainer.validate = lambda: {"loss": next(losses), "fd_d2_4096": math.nan}
    with pytest.raises(
        NonFiniteLoss,
        match=r"^step 4, validation: loss is nan; the last good checkpoint: .*/checkpoints/2\. ",
    ):
        trainer.train(save_every=1)
    assert not (tmp_path / "checkpoints" / "4").exists()
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if line["split"] == "val"] == [2]


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
        patch.setattr(trainer_module, "make_train_step", counted)
        trainer = run.build_trainer(config, tmp_path_factory.mktemp("whole"))
        trainer.train(save_every=1)
    return config, trainer, steps


@pytest.mark.slow
def test_one_compilation_per_stage(whole):
    """Of encoders that train from the start; with pretrained text the last stage has two."""
    _, _, steps = whole
    assert [step._cache_size() for step in steps] == [1, 1]


@pytest.mark.slow
def test_checkpoints_of_another_model_are_refused(tiny_data, tmp_path):
    write_workdir(tmp_path, drawn(TINY_MODEL, 8))
    with pytest.raises(UserError, match=r"the checkpoints are of another model: .* choose another"):
        run.build_trainer(run_config(tiny_data), tmp_path).train()


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
        assert (num_split(moved._state), num_split(resumed._state) > 0) == (0, True)
        jax.tree.map(np.testing.assert_array_equal, moved._state, resumed._state)
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


@pytest.mark.slow
@pytest.mark.parametrize("terms", [(), TERMS], ids=["field", "surface"])
def test_devices_do_not_change_the_losses(tiny_data, tmp_path, terms):
    """One device, and eight as 8 x 1 and 2 x 4: the same five losses, term by term.

    In 2 x 4 large parameters and their moments are split four ways. The surface terms of one
    arrangement alone: each takes half a minute to compile. At the usual rate Adam's division makes
    rounding grow fivefold a step; at this one the losses still move by a hundredth and more, and
    differ by 3e-7.
    """
    overrides = [f"train.loss.surface.{term}=0.1" for term in terms]
    overrides += ["optim.learning_rate=2e-4"]
    # Of any sample, however far the field still is from its target.
    overrides += ["train.loss.surface.min_iou=-1.0", "train.loss.surface.points=64"]
    config = run_config(tiny_data, *overrides)

    def losses(mesh) -> list[dict[str, float]]:
        trainer = run.build_trainer(config, tmp_path)
        trainer.mesh = mesh
        batches = iter(trainer.train_loader)
        trainer.model.set_voxel_size(8)
        metrics = [trainer.train_epoch([next(batches)]) for _ in range(5)]
        assert all(m[f"surface/{term}"] > 0 for m in metrics for term in terms)
        assert trainer._train_step._cache_size() == 1
        state = trainer._state
        split = num_split(state.params)
        assert (split > 0) == (mesh.shape["fsdp"] > 1)
        assert num_split(state.opt_state) == 2 * split
        return [{k: v for k, v in m.items() if "loss" in k or "surface" in k} for m in metrics]

    want = losses(one_device_mesh())
    for mesh in [make_mesh(8, 1)] if terms else [make_mesh(8, 1), make_mesh(2, 4)]:
        for got, one in zip(losses(mesh), want, strict=True):
            assert got == pytest.approx(one, rel=1e-5)


@pytest.mark.slow
def test_non_finite_loss_names_step_term_and_checkpoint(tiny_model, tmp_path):
    trainer = sphere_trainer(copied(tiny_model, 16), workdir=tmp_path, stage_epochs=(2, 1, 1))
    calls = []
    prepare = trainer.preparer

    def poison(batch):
        calls.append(1)
        arrays = prepare(batch)
        if len(calls) > 3:  # in the second epoch: two batches to train on, one to validate
            arrays |= {"colors": arrays["colors"] * np.nan, "has_colors": arrays["has_text"]}
        return arrays

    trainer.preparer = poison
    with pytest.raises(
        NonFiniteLoss,
        match=r"^step 3: loss/color is nan; the last good checkpoint: .*/checkpoints/2\. ",
    ):
        trainer.train(save_every=1)


@pytest.mark.slow
def test_augmented_pose_reaches_the_decoder(tiny_data, tmp_path):
    """Turning the targets without telling the decoder must not give the same loss."""
    from otuken_jax.training.step import stage_batches

    trainer = run.build_trainer(run_config(tiny_data), tmp_path)
    batch = next(iter(trainer.train_loader))
    turned = stage_batches(batch, jax.random.key(0), [8], StepConfig())[0]
    assert np.abs(turned["pose"]).max() > 0.05
    predict = jax.jit(lambda inputs: trainer.model(inputs, stage=0)[-1].field)
    told, untold = predict(turned), predict(turned | {"pose": turned["pose"] * 0})
    assert np.abs(told - untold).max() > 1e-3
