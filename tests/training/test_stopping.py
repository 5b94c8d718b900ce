"""What ends a run early: SIGTERM, Ctrl-C, a loss that is not finite."""

import json
import math
import os
import signal
from unittest.mock import DEFAULT, Mock

import numpy as np
import pytest
from tiny_training import copied, make_quick_step, run_config, sphere_loader, sphere_trainer

from otuken_jax.models.parameters import split_model
from otuken_jax.training import learner as learner_module
from otuken_jax.training import run
from otuken_jax.training.logging import NonFiniteLoss


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

    monkeypatch.setattr(learner_module, "make_train_step", lambda *_: stopped_once)
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


def test_after_an_interrupted_run_a_pass_is_whole(tiny_model, quick_step):
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
def test_stopped_in_the_last_step_a_run_ends_without_validation(tiny_data, tmp_path, quick_step):
    """Of an epoch, by a loader that goes on where it was: no step is left to take metrics of."""
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


def test_stopped_in_the_last_validation_it_says_so(tiny_model, quick_step, caplog):
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

    monkeypatch.setattr(learner_module, "make_train_step", lambda *_: stopped_twice)
    trainer = sphere_trainer(copied(tiny_model, 8), val_loader=None)
    before = split_model(trainer.model)[1]
    with pytest.raises(KeyboardInterrupt):
        trainer.train(num_epochs=2)
    after = split_model(trainer.model)[1]
    name = next(name for name in before if name.startswith("fusion."))
    np.testing.assert_allclose(after[name], before[name] + 2, rtol=1e-6)
    trainer.train(num_epochs=1)
    assert len(calls) == 6


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


def test_non_finite_validation_loss_stops_before_it_is_saved(tiny_model, tmp_path, quick_step):
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
