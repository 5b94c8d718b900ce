"""Which parameters train when, the plan of stages, and a trainer's way through it."""

import numpy as np
import pytest
from tiny_models import TINY
from tiny_training import copied, sphere_trainer

from otuken_jax.models.parameters import split_model
from otuken_jax.training.stages import (
    Stage,
    count_steps,
    describe_groups,
    parameter_stage,
    plan_stages,
    trainable_groups,
)
from otuken_jax.training.step import StepConfig, step_knobs


def test_original_epochs_are_shared_out_30_20_50():
    assert [s.epochs for s in plan_stages((32, 48, 64), 100)] == [30, 20, 50]
    assert sum(s.epochs for s in plan_stages((32, 48, 64), 7)) == 7
    assert [s.epochs for s in plan_stages((32, 48), 100, (3, 4))] == [3, 4]
    assert [s.last for s in plan_stages((32, 48), 100)] == [False, True]
    assert [s.last for s in plan_stages((32, 48, 64), 100, (3, 4, 0))] == [False, True, False]
    early = plan_stages((32, 48, 64), 100, (0, 4, 1), ornament_epochs=2)
    assert [(s.epochs, s.ornament_epochs) for s in early] == [(0, 0), (6, 2), (1, 0)]
    with pytest.raises(ValueError, match="2 epoch numbers for 3 stages"):
        plan_stages((32, 48, 64), 100, (1, 2))


def test_a_tenth_of_a_new_stage_fades_in():
    first, second = count_steps([Stage(i, 32, 10) for i in range(2)], 5, 0.1)
    assert first.alpha(0) == 1.0
    alphas = [second.alpha(i) for i in range(7)]
    assert alphas[:5] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert alphas[5:] == [1.0, 1.0]


def test_what_is_left_of_the_run_counts_every_stage():
    plan = count_steps(plan_stages((32, 48, 64), 7, (4, 0, 1), ornament_epochs=2), 10, 0.1)
    assert [s.num_steps for s in plan] == [60, 0, 10]
    assert [s.run_left(0) for s in (plan[0], plan[2])] == pytest.approx([1, 1 / 7])
    assert plan[0].run_left(60) == pytest.approx(1 / 7)
    assert plan[2].run_left(10) == plan[2].run_left(11) == 0
    three = count_steps(plan_stages((32, 48, 64), 17, (13, 1, 3)), 10, 0.1)
    assert [s.run_left(0) for s in three] == pytest.approx([1, 4 / 17, 3 / 17])


@pytest.mark.parametrize(
    ("steps", "index", "band", "scale"),
    [
        (5, 1, (10, 7.5, 5.5, 5), (0.5, 0.25, 0.05, 0)),  # ten steps in each of the two stages
        (5, 0, (10, 10, 10, 10), (1, 0.75, 0.55, 0.5)),
        (None, 1, (10, 10, 10, 10), (1, 1, 1, 1)),
    ],
)
def test_band_falls_in_the_last_stage_and_the_rate_towards_the_end(steps, index, band, scale):
    plan = count_steps(plan_stages((16, 32), 4, (2, 2)), steps, 0.1)
    knobs = [step_knobs(plan[index], i, StepConfig(), cooldown=1.0) for i in (0, 5, 9, 11)]
    assert [k["band_weight"] for k in knobs] == pytest.approx(band)
    assert [k["rate_scale"] for k in knobs] == pytest.approx(scale)
    last = steps and index
    assert [k["alpha"] for k in knobs] == pytest.approx([0.5 if last else 1, 1, 1, 1])
    late = [step_knobs(plan[index], i, StepConfig(), cooldown=0.2) for i in (0, 5, 9)]
    assert [k["rate_scale"] for k in late] == pytest.approx([1, 1, 0.25 if last else 1])


def test_later_blocks_wait_for_their_stage(tiny_model):
    params = split_model(tiny_model)[1]
    config = tiny_model.config.decoder
    groups = [trainable_groups(params, stage, (), config) for stage in range(3)]
    assert set(groups[2]) == set(params)
    waiting = {n.rpartition(".")[0].split(".conv")[0] for n in set(params) - set(groups[0])}
    assert all(
        n.startswith(("decoder.blocks", "decoder.heads", "decoder.attention")) for n in waiting
    )
    assert parameter_stage("decoder.blocks.2.conv1.kernel", config) == 2
    assert parameter_stage("decoder.heads.1.local.kernel", config) == 1
    assert parameter_stage("decoder.attention.6.gate", config) == 1
    assert parameter_stage("decoder.ornament.out.kernel", config) == 0
    assert groups[0].items() <= groups[1].items() <= groups[2].items()


def test_frozen_parts_are_in_no_group_and_the_line_says_so(tiny_config, tiny_model):
    params = split_model(tiny_model)[1]
    groups = trainable_groups(params, 0, ("text_encoder",), tiny_config.decoder)
    assert not any(n.startswith("text_encoder") for n in groups)
    line = describe_groups(params, groups)
    assert "text_encoder 0/" in line
    fusion = sum(x.size for n, x in params.items() if n.startswith("fusion"))
    assert f"fusion {fusion:,}/{fusion:,}" in line


def test_a_stage_without_epochs_is_skipped(tiny_model, quick_step, capsys):
    trainer = sphere_trainer(copied(tiny_model, 16), stage_epochs=(0, 1, 0), val_loader=None)
    assert trainer.train() == {"loss": 1.0, "iou": 0.0}
    assert trainer.step == 2
    error = capsys.readouterr().err
    assert "12^3" in error
    assert "8^3" not in error
    assert "16^3" not in error


@pytest.mark.slow
def test_early_stop_ends_the_stage_not_the_run(tiny_model, quick_step):
    trainer = sphere_trainer(copied(tiny_model, 16))
    losses = iter([1.0, 2.0, 3.0, 0.9, 2.0, 3.0, 0.8, 2.0, 3.0])
    resolutions = []

    def validate():
        resolutions.append(trainer.model.voxel_size)
        return {"loss": next(losses)}

    trainer.validate = validate
    trainer.train(num_epochs=30, early_stopping_patience=2)
    assert resolutions == [8] * 3 + [12] * 3 + [16] * 3


def test_the_ornament_starts_alone_and_resumes(tiny_model, tmp_path, quick_step):
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
    ornament = trainable_groups(before, 0, (), TINY.decoder, ornament_alone=True)
    steps = {n: 6 for n in ornament} | {
        n: 2 for n in trainable_groups(before, 0, (), TINY.decoder) if n not in ornament
    }
    after = split_model(trainer.model)[1]
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value + steps.get(name, 0), rtol=1e-6, atol=1e-6)
