"""The trainer: the original system's usage, its loaders, devices."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_training import (
    copied,
    num_split,
    one_device_mesh,
    run_config,
    sphere_loader,
    sphere_trainer,
    tetrahedra,
    trained_parts,
)

from otuken_jax import Otuken3DModel
from otuken_jax.errors import UserError
from otuken_jax.generation import Generator, Prompt, predict
from otuken_jax.losses.surface import TERMS
from otuken_jax.models.decoder import DecoderConfig
from otuken_jax.models.otuken3d import PARTS
from otuken_jax.models.parameters import split_model, update_model
from otuken_jax.training import run
from otuken_jax.training.loading import load_model
from otuken_jax.training.sharding import make_mesh
from otuken_jax.training.step import StepConfig, stage_batches


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


def test_validation_and_pictures_find_all_of_the_model_on_the_mesh(tiny_model):
    """Also what does not train, and what one device alone held, as it does a loaded model."""
    model = copied(tiny_model, 8)
    update_model(model, jax.device_put(split_model(model)[1], jax.devices()[0]))
    mesh = make_mesh(2, 4)
    trainer = sphere_trainer(model, mesh=mesh, min_sharded_size=1)
    trainer._validator = lambda model, *_: {"loss": float(num_split(split_model(model)[1]))}
    assert trainer.validate()["loss"] > 0
    assert {x.sharding.mesh for x in split_model(model)[1].values()} == {mesh}


def test_a_pass_has_the_rate_that_the_trainer_says(tiny_model, quick_step):
    """Not that of the stage before, which its plateau may have lowered."""
    trainer = sphere_trainer(copied(tiny_model, 8), plateau_patience=1)
    trainer.validate = lambda: {"loss": 1.0}
    trainer.train(num_epochs=4)
    assert trainer.learning_rate < 1e-3
    trainer.model.set_voxel_size(12)
    trainer.train_epoch()
    assert trainer.learning_rate == 1e-3
    states = jax.tree.leaves(trainer._learner.state.opt_state, is_leaf=is_rated)
    rates = [state.hyperparams["learning_rate"] for state in states if is_rated(state)]
    assert rates
    np.testing.assert_allclose(rates, 1e-3, rtol=1e-6)


def is_rated(state) -> bool:
    return "learning_rate" in getattr(state, "hyperparams", {})


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
def test_a_loader_without_batches_is_one_line(tiny_model, quick_step, loaders, words):
    trainer = sphere_trainer(copied(tiny_model, 8), **{"val_loader": None} | loaders)
    with pytest.raises(UserError, match=f"^{words}"):
        trainer.train(num_epochs=2)


def test_without_a_length_there_is_no_fade_in_and_it_is_said(tiny_model, quick_step, caplog):
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
        assert trainer._learner._train_step._cache_size() == 1
        state = trainer._learner.state
        split = num_split(state.params)
        assert (split > 0) == (mesh.shape["fsdp"] > 1)
        assert num_split(state.opt_state) == 2 * split
        return [{k: v for k, v in m.items() if "loss" in k or "surface" in k} for m in metrics]

    want = losses(one_device_mesh())
    for mesh in [make_mesh(8, 1)] if terms else [make_mesh(8, 1), make_mesh(2, 4)]:
        for got, one in zip(losses(mesh), want, strict=True):
            assert got == pytest.approx(one, rel=1e-5)


@pytest.mark.slow
def test_augmented_pose_reaches_the_decoder(tiny_data, tmp_path):
    """Turning the targets without telling the decoder must not give the same loss."""
    trainer = run.build_trainer(run_config(tiny_data), tmp_path)
    batch = next(iter(trainer.train_loader))
    turned = stage_batches(batch, jax.random.key(0), [8], StepConfig())[0]
    assert np.abs(turned["pose"]).max() > 0.05
    predict = jax.jit(lambda inputs: trainer.model(inputs, stage=0)[-1].field)
    told, untold = predict(turned), predict(turned | {"pose": turned["pose"] * 0})
    assert np.abs(told - untold).max() > 1e-3
