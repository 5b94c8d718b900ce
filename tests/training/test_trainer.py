"""The trainer: the original system's usage, stages, freezing, resume, errors."""

import json
import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny_models import TINY as TINY_MODEL
from tiny_models import drawn, write_workdir

from otuken_jax import Otuken3DModel, Otuken3DTrainer
from otuken_jax.config import load_config
from otuken_jax.errors import UserError
from otuken_jax.geometry.meshes import Meshes
from otuken_jax.losses.surface import TERMS
from otuken_jax.models.parameters import split_model
from otuken_jax.training import run
from otuken_jax.training.batches import BatchPreparer
from otuken_jax.training.logging import NonFiniteLoss
from otuken_jax.training.optimizer import OptimizerConfig
from otuken_jax.training.sharding import make_mesh
from otuken_jax.training.step import StepConfig

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


def sphere_loader(batches: int = 2, size: int = 8) -> list[dict]:
    """Batches of spheres as a user gives them: text and a field, or a mesh."""
    from otuken_jax.conventions import grid_points

    sdf = np.linalg.norm(grid_points(16), axis=-1) - 0.6
    batch = {
        "text": [f"küre {i}" for i in range(size)],
        "style_text": ["İznik üslubu"] * size,
        "points": np.random.default_rng(0).normal(size=(size, 20, 3)).astype(np.float32) * 0.3,
        "field": np.stack([sdf] * size),
    }
    return [batch] * batches


def sphere_trainer(config, **kwargs) -> Otuken3DTrainer:
    model = Otuken3DModel(voxel_size=16, config=config)
    preparer = BatchPreparer("bytes", resolution=16, num_points=16, text_length=24, style_length=24)
    return Otuken3DTrainer(
        model=model,
        train_loader=sphere_loader(),
        val_loader=sphere_loader(1),
        learning_rate=1e-3,
        optimizer=OptimizerConfig(warmup_steps=1),
        preparer=preparer,
        **kwargs,
    )


@pytest.mark.slow
def test_usage_of_the_original_system(tiny_config, tmp_path):
    trainer = sphere_trainer(tiny_config, workdir=tmp_path, fade_fraction=0.5)
    model = trainer.model
    losses = []
    for size in (8, 12, 16):
        model.set_voxel_size(size)
        losses.append(trainer.train_epoch(trainer.train_loader)["loss"])
    assert np.isfinite(losses).all()
    before = split_model(model)[1]
    model.freeze("text_encoder")
    model.gradient_checkpointing_enable()
    trainer.train_epoch(trainer.train_loader)
    after = split_model(model)[1]
    moved = {n.partition(".")[0] for n in before if not np.array_equal(before[n], after[n])}
    assert moved == {"point_encoder", "fusion", "style_encoder", "decoder"}
    model.unfreeze("text_encoder")
    metrics = trainer.train(num_epochs=5, save_every=2, early_stopping_patience=10)
    assert 0 <= metrics["iou"] <= 1
    assert (tmp_path / "checkpoints").is_dir()
    again = Otuken3DModel.from_pretrained(str(tmp_path))
    assert again.voxel_size == 16


def test_meshes_train_too(tiny_config):
    vertices = np.array([[-1, -1, -1], [1, -1, -1], [0, 1, -1], [0, 0, 1]], np.float32) * 0.5
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    trainer = sphere_trainer(tiny_config)
    trainer.model.set_voxel_size(8)
    batch = {"text": ["dörtyüzlü"] * 8, "mesh": Meshes.from_lists([vertices] * 8, [faces] * 8)}
    prepared = trainer.preparer(batch)
    assert (prepared["sdf"] < 0).mean() == pytest.approx(1 / 6 / 8, rel=0.1)  # a sixth, in 2^3
    with pytest.raises(UserError, match="mesh"):
        trainer.preparer({"text": ["?"]})


@pytest.mark.slow
def test_early_stop_ends_the_stage_not_the_run(tiny_config, tmp_path):
    trainer = sphere_trainer(tiny_config, workdir=tmp_path)
    losses = iter([1.0, 2.0, 3.0, 0.9, 2.0, 3.0, 0.8, 2.0, 3.0])
    trainer.validate = lambda: {"loss": next(losses)}
    trainer.train(num_epochs=30, early_stopping_patience=2)
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    resolutions = [x["resolution"] for x in lines if x["split"] == "val"]
    assert resolutions == [8.0] * 3 + [12.0] * 3 + [16.0] * 3


@pytest.mark.slow
def test_one_compilation_per_stage(tiny_data, tmp_path):
    surface = ("train.loss.surface.chamfer=1.0", "train.loss.surface.points=64")
    trainer = run.build_trainer(run_config(tiny_data, *surface), tmp_path)
    counts = []
    step = trainer._train_stage

    def counted(*args):
        result = step(*args)
        counts.append(trainer._train_step._cache_size())
        return result

    trainer._train_stage = counted
    trainer.train(save_every=10)
    assert counts == [1, 1]


@pytest.mark.slow
def test_checkpoints_of_another_model_are_refused(tiny_data, tmp_path):
    write_workdir(tmp_path, drawn(TINY_MODEL, 8))
    with pytest.raises(UserError, match=r"the checkpoints are of another model: .* choose another"):
        run.build_trainer(run_config(tiny_data), tmp_path).train()


@pytest.mark.slow
def test_resume_is_bit_for_bit_the_unbroken_run(tiny_data, tmp_path):
    config = run_config(tiny_data)
    whole = run.build_trainer(config, tmp_path / "whole")
    whole.train(save_every=1)
    broken = run.build_trainer(config, tmp_path / "broken")
    stop = broken._record

    def interrupt(step, metrics, bar):
        if step == 5:  # in the middle of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return stop(step, metrics, bar)

    broken._record = interrupt
    broken.train(save_every=1)
    assert broken.interrupted
    resumed = run.build_trainer(config, tmp_path / "broken")
    resumed.train(save_every=1)
    assert resumed.step == whole.step == 16
    want = split_model(whole.model)[1]
    for name, value in split_model(resumed.model)[1].items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)
    losses = [
        {(r["step"], r["split"]): r["loss"] for r in map(json.loads, path.read_text().splitlines())}
        for path in (tmp_path / "whole/metrics.jsonl", tmp_path / "broken/metrics.jsonl")
    ]
    assert losses[0] == losses[1]
    lines = map(json.loads, (tmp_path / "whole/metrics.jsonl").read_text().splitlines())
    assert all("surface_share" in line for line in lines if line["split"] == "val")


@pytest.mark.slow
@pytest.mark.parametrize("terms", [(), TERMS], ids=["field", "surface"])
def test_devices_do_not_change_the_losses(tiny_data, tmp_path, terms):
    """One device, and eight as 8 x 1 and 2 x 4: the same five losses, term by term.

    The surface terms of one arrangement alone: each takes half a minute to compile.
    """
    overrides = [f"train.loss.surface.{term}=0.1" for term in terms]
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
        return [{k: v for k, v in m.items() if "loss" in k or "surface" in k} for m in metrics]

    one = jax.make_mesh(
        (1, 1),
        ("data", "fsdp"),
        axis_types=(jax.sharding.AxisType.Auto,) * 2,
        devices=jax.devices()[:1],
    )
    want = losses(one)
    for mesh in [make_mesh(8, 1)] if terms else [make_mesh(8, 1), make_mesh(2, 4)]:
        for got, one in zip(losses(mesh), want, strict=True):
            assert got == pytest.approx(one, rel=1e-5)


@pytest.mark.slow
def test_non_finite_loss_names_step_term_and_checkpoint(tiny_config, tmp_path):
    trainer = sphere_trainer(tiny_config, workdir=tmp_path, stage_epochs=(2, 1, 1))
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


def test_augmented_pose_reaches_the_decoder(tiny_data, tmp_path):
    """Turning the targets without telling the decoder must not give the same loss."""
    from otuken_jax.training.step import stage_batches

    trainer = run.build_trainer(run_config(tiny_data), tmp_path)
    batch = next(iter(trainer.train_loader))
    turned = stage_batches(batch, jax.random.key(0), [12], StepConfig())[0]
    assert np.abs(turned["pose"]).max() > 0.05
    predict = jax.jit(lambda inputs: trainer.model(inputs, stage=1)[-1].field)
    told, untold = predict(turned), predict(turned | {"pose": turned["pose"] * 0})
    assert np.abs(told - untold).max() > 1e-3
