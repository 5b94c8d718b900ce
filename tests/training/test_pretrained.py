"""Pretrained encoders: frozen, absent from checkpoints, the text encoder trained at the end."""

import shutil

import jax
import numpy as np
import pytest
from tiny_models import TINY
from tiny_training import copied, sphere_trainer, trained_parts
from tiny_weights import ENCODERS, write_encoders

from otuken_jax import Otuken3DTrainer
from otuken_jax.errors import UserError
from otuken_jax.models.otuken3d import PARTS
from otuken_jax.models.parameters import split_model
from otuken_jax.training import learner as learner_module
from otuken_jax.training import trainer as trainer_module
from otuken_jax.training.checkpoints import Checkpoints
from otuken_jax.training.step import TrainState, step_knobs


@pytest.fixture(scope="module")
def weights(tiny_model, tmp_path_factory):
    """Both encoders of a tiny model as the converter writes them."""
    root = tmp_path_factory.mktemp("weights")
    write_encoders(root, tiny_model)
    return root


def pretrained_trainer(model, weights, workdir, stage_epochs, **kwargs) -> Otuken3DTrainer:
    """Two steps an epoch; a fade takes half of a stage."""
    model = copied(model, TINY.decoder.stage_resolutions[len(stage_epochs) - 1])
    for part in ENCODERS:
        model.load_pretrained(part, str(weights / part))
    return sphere_trainer(
        model, workdir=workdir, stage_epochs=stage_epochs, fade_fraction=0.5, **kwargs
    )


@pytest.mark.slow
def test_a_run_resumes_where_the_last_fade_ends(tiny_model, weights, tmp_path, quick_step):
    """There the text encoder joins what is trained and saved."""
    losses = {6: 0.5}  # the best: its checkpoint stays beside those of the second and fourth epoch

    def start(workdir):
        trainer = pretrained_trainer(tiny_model, weights, workdir, (1, 1, 4), plateau_patience=0)
        trainer.validate = lambda: {"loss": losses.get(trainer.step, 0.9)}
        return trainer

    whole = start(tmp_path / "whole")
    before = split_model(whole.model)[1]
    stale = tmp_path / "whole" / "metrics.jsonl"  # of a start that did not get to a checkpoint
    stale.parent.mkdir()
    stale.write_text('{"step": 1, "stale": true}\n')
    whole.train(save_every=2)
    assert "stale" not in stale.read_text()
    after = split_model(whole.model)[1]
    assert trained_parts(before, after) == set(PARTS) - {"point_encoder"}
    for name in before:
        if name.startswith("text_encoder"):
            np.testing.assert_allclose(after[name], before[name] + 4, rtol=1e-6, err_msg=name)
    # The epochs of the fade do not count: neither as the best nor as one without a better loss.
    assert whole.learning_rate == pytest.approx(1e-3 / 4)

    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    shutil.rmtree(tmp_path / "broken" / "checkpoints" / "12")
    resumed = start(tmp_path / "broken")
    resumed.train(save_every=2)
    assert resumed.step == whole.step == 12
    for name, value in split_model(resumed.model)[1].items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)

    folder = tmp_path / "whole" / "checkpoints"
    checkpoints = Checkpoints(folder)
    assert checkpoints.steps() == [6, 8, 12]
    for step, frozen in ((6, {"text_encoder", "point_encoder"}), (8, {"point_encoder"})):
        for item in ("model", "opt"):
            names = (folder / str(step) / item / "_METADATA").read_text()
            assert {part for part in PARTS if f"{part}." not in names} == frozen, (step, item)
        pretrained = checkpoints.read_meta(step)["pretrained"]
        assert [(part, sha256) for part, _, sha256 in pretrained] == [
            (part, f"sha of {part}") for part in ENCODERS
        ]


def test_the_last_stage_is_the_last_that_is_trained(tiny_model, weights, monkeypatch):
    """At 12 of 8, 12 and 16 the band's weight and the rate fall and the text encoder trains.

    For that a second step is compiled; the stage before has one.
    """
    steps = []

    def make_step(modeldef, tx, stage, config, mesh, state, ornament_alone):
        def step(state, frozen, batch, key, knobs):
            grown = jax.tree.map(lambda x: x + 1, state.params)
            return TrainState(grown, state.opt_state, state.step), {"loss": 1.0, "iou": 0.0}

        shardings = jax.tree.map(lambda x: x.sharding, state)  # as those of the true step
        jitted = jax.jit(step, out_shardings=(shardings, None), donate_argnums=0)
        steps.append((stage, jitted))
        return jitted

    monkeypatch.setattr(learner_module, "make_train_step", make_step)
    trainer = pretrained_trainer(tiny_model, weights, None, (1, 2), cooldown=0.5)
    before = split_model(trainer.model)[1]
    knobs = []
    monkeypatch.setattr(
        trainer_module, "step_knobs", lambda *args: knobs.append(step_knobs(*args)) or knobs[-1]
    )
    trainer.validate = lambda: {"loss": 1.0}
    trainer.train()
    assert [(stage, step._cache_size()) for stage, step in steps] == [(0, 1), (1, 1), (1, 1)]
    rates = [float(k["rate_scale"]) for k in knobs]
    assert rates == pytest.approx([1, 1, 1, 1, 2 / 3, 1 / 3])
    bands = [float(k["band_weight"]) for k in knobs]
    assert bands == pytest.approx([10, 10, 10, 8.75, 7.5, 6.25])
    assert "text_encoder" in trained_parts(before, split_model(trainer.model)[1])
    trainer.train_loader = iter(trainer.train_loader)
    with pytest.raises(UserError, match=r"cooldown=0\.5 needs .* that knows its length"):
        trainer.train()
