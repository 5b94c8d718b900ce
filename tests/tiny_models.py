"""The tiny model that many tests share."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from otuken_jax.models.decoder import NUM_OUTPUTS, DecoderConfig, StageOutput
from otuken_jax.models.otuken3d import ModelConfig, Otuken3DModel
from otuken_jax.models.parameters import split_model
from otuken_jax.models.point_e import PointEEncoderConfig
from otuken_jax.training.checkpoints import Checkpoints

TINY = ModelConfig(
    text_encoder_name="bytes-tiny",
    point_encoder=PointEEncoderConfig(width=16, layers=1, heads=2),
    latent_dim=24,
    style_dim=16,
    ornament_dim=16,
    num_queries=2,
    fusion_layers=1,
    num_heads=2,
    mapping_layers=2,
    decoder=DecoderConfig(
        trunk_resolutions=(4, 6, 8),
        trunk_widths=(16, 16, 8),
        stage_resolutions=(8, 12, 16),
        attention_resolutions=(6,),
        num_heads=2,
        ornament_width=16,
        ornament_layers=2,
    ),
)


def drawn(config: ModelConfig, voxel_size: int, seed: int = 0) -> Otuken3DModel:
    """A model with every weight drawn at random, gates and last layers too, at a useful scale.

    Nothing is initialised first: that takes ten times as long.
    """
    rng = np.random.default_rng(seed)
    model = nnx.eval_shape(lambda: Otuken3DModel(voxel_size=voxel_size, config=config))
    definition, params = split_model(model)
    for name, p in params.items():
        w = rng.normal(size=p.shape)
        if name.endswith(".scale"):
            w = 1 + 0.2 * w
        elif p.ndim < 2:
            w = 0.2 * w
        elif name.endswith(".kernel"):
            w = w / np.sqrt(np.prod(p.shape[:-1]))
        # Charts like trained ones, on which the ornament's harmonics are not beyond float32: sine
        # and cosine of a definite length, v within -1..1.
        if ".local." in name or ".readout." in name:
            w.reshape(*w.shape[:-1], -1, NUM_OUTPUTS)[..., 2:5] /= 6
        if name == "decoder.heads.0.local.bias":  # the heads are summed
            w.reshape(8, -1)[:, 2:4] += 6
        params[name] = jnp.asarray(w, p.dtype)
    return definition.bind(params)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _decode(modeldef, stage, params, inputs, given):
    return modeldef.bind(params)(inputs, stage=stage, **given)


def decode(
    model: Otuken3DModel, inputs: dict, *, stage: int, alpha=1.0, ornament_strength=1.0, **given
) -> list[StageOutput]:
    """The model's outputs, by one program for all values of its weights and arguments.

    As constants they would be compiled in anew at every call, for longer than the program runs.
    """
    modeldef, params = split_model(model)
    given |= {"alpha": alpha, "ornament_strength": ornament_strength}
    return _decode(modeldef, stage, params, inputs, given)


def write_workdir(workdir: Path, model: Otuken3DModel, step: int = 1) -> Path:
    """A training's workdir with a checkpoint of `model`, as the trainer writes it.

    The later of two is the better.
    """
    pretrained = model.pretrained_parts()
    params = {n: p for n, p in split_model(model)[1].items() if n.split(".")[0] not in pretrained}
    meta = {
        "voxel_size": model.voxel_size,
        "model": dataclasses.asdict(model.config),
        "pretrained": [list(p) for p in model.pretrained],
        "data": {"tokenizer": "bytes", "text_length": 24, "style_length": 16, "num_points": 20},
    }
    checkpoints = Checkpoints(workdir / "checkpoints")
    checkpoints.save(step, params, {"count": jnp.zeros(())}, meta, stage=model.stage, loss=1 / step)
    checkpoints.close()
    return workdir
