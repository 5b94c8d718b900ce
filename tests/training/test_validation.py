"""What a validation pass reports."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_training import copied, sphere_trainer

from otuken_jax.conventions import grid_points
from otuken_jax.losses.field import LossWeights
from otuken_jax.losses.surface import SurfaceWeights
from otuken_jax.models.decoder import StageOutput
from otuken_jax.models.otuken3d import Otuken3DModel
from otuken_jax.models.pointnet2 import PointNet2
from otuken_jax.training.step import EvalSums, StepConfig
from otuken_jax.training.validation import Validation


def sums(losses, chamfers, made, true, usable) -> EvalSums:
    usable = np.array(usable)
    return EvalSums(
        fields={"loss": np.sum(losses), "count": len(losses)},
        surfaces={"surface_chamfer_l2_squared_9": np.sum(chamfers), "count": usable.sum()},
        made=made,
        true=true,
        usable=usable,
    )


def test_means_are_over_the_shapes_that_have_what_is_measured():
    clouds = np.random.default_rng(0).normal(size=(5, 200, 3))
    flat = clouds * [1, 1, 0.1]
    same, other = Validation(None), Validation(None)
    for validation, made in ((same, clouds), (other, flat)):
        validation.add(sums([1, 2, 3], [0.5, 0.1], made[:3], clouds[:3], [True, True, False]))
        validation.add(sums([4, 5], [0.3], made[3:], clouds[3:], [True, False]))
    metrics = same.metrics()
    assert metrics["loss"] == 3
    assert metrics["surface_chamfer_l2_squared_9"] == pytest.approx(0.3)
    assert metrics["surface_share"] == pytest.approx(3 / 5)
    assert metrics["fd_d2_200"] == pytest.approx(0, abs=1e-6)
    assert other.metrics()["fd_d2_200"] > 10
    assert not [name for name in metrics if name.startswith("p_fid")]


def test_without_surfaces_what_needs_them_is_left_out():
    clouds = np.zeros((2, 4, 3))
    validation = Validation(None)
    validation.add(sums([1, 2], [], clouds, clouds, [False, False]))
    assert validation.metrics() == {"loss": 1.5, "surface_share": 0}


class Spreads(PointNet2):
    """Features that can be checked by hand: a cloud's spread along each axis."""

    def __init__(self):
        pass

    def __call__(self, points):
        return points.std(axis=1), jnp.zeros((len(points), 2))


@pytest.mark.slow
def test_known_spheres_are_logged_with_their_distance(
    tiny_model, tmp_path, monkeypatch, quick_step
):
    """True spheres of 0.6; made ones of 0.5, of 0.6, none, and a surface too large to hold."""
    radii = np.array([0.5, 0.5, 0.5, 0.5, 0.6, 0.6, -1.0, -1.0])
    distance = np.linalg.norm(grid_points(16), axis=-1)
    field = jnp.asarray(radii[:, None, None, None] - distance, jnp.float32)
    field = field.at[-1].set((-1.0) ** np.indices((16, 16, 16)).sum(0))
    none, triple = jnp.zeros_like(field), jnp.zeros((*field.shape, 3))
    output = StageOutput(field, none, none, triple, triple)
    monkeypatch.setattr(Otuken3DModel, "decode", lambda *_, **__: [output])
    points = StepConfig(loss=LossWeights(surface=SurfaceWeights(points=1024)))
    trainer = sphere_trainer(
        copied(tiny_model, 16), workdir=tmp_path, stage_epochs=(0, 0, 1), step_config=points
    )
    trainer.train()
    *_, line = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert line["split"] == "val"
    assert line["surface_share"] == pytest.approx(6 / 8)
    assert line["surface_overflow"] == pytest.approx(1 / 8)
    # Points are apart on the surface too: a random nearest neighbour is sqrt(area / n pi) away.
    spacing = 2 * 4 * 0.6**2 / 1024
    chamfer = (4 * 2 * 0.1**2 + 6 * spacing) / 6
    assert line["surface_chamfer_l2_squared_1024"] == pytest.approx(chamfer, rel=0.1)
    assert 0.97 < line["surface_normal_consistency_1024"] < 1
    ball = 4 / 3 * np.pi * 0.6**3 / 2**3  # of the grid; every other voxel is in the last field
    assert line["iou"] == pytest.approx(
        (4 * (0.5 / 0.6) ** 3 + 2 + ball / (1 + ball)) / 8, rel=0.03
    )
    assert line["fd_d2_1024"] > 0

    trainer._validator.pointnet = Spreads()
    metrics = trainer.validate()
    assert 0 < metrics.pop("p_fid_1024") < 1e-3  # spheres of any size have the same spread
    assert metrics == {k: line[k] for k in metrics}
    assert not [name for name in metrics if name.startswith("fd_d2")]
