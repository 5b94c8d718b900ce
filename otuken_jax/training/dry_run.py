"""A configuration's training step without data or weights: shapes only, to compile and inspect."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from otuken_jax.config import model_config, optimizer_config, step_config
from otuken_jax.models.otuken3d import Otuken3DModel
from otuken_jax.models.parameters import split_model
from otuken_jax.training.optimizer import make_optimizer
from otuken_jax.training.sharding import parameter_sharding, replicated
from otuken_jax.training.stages import trainable_groups
from otuken_jax.training.step import TrainState, make_train_step, split_params

Shape = jax.ShapeDtypeStruct


@dataclass(frozen=True)
class DryStep:
    """A step and the shapes of its arguments: `step.lower(*arguments)`."""

    step: Any
    arguments: tuple[Any, ...]


def batch_shapes(config: ConfigDict, batch_size: int) -> dict[str, Shape]:
    """Shapes and types of a pipeline batch."""
    data, r, n = config.data, config.data.resolution, config.model.point_encoder.num_points
    shapes = {
        k: Shape((batch_size, r, r, r), jnp.int8) for k in ("sdf", "host_sdf", "band", "u", "v")
    }
    shapes |= {k: Shape((batch_size, n, 3), jnp.float32) for k in ("points", "normals", "colors")}
    for name, length in (("text", data.text_length), ("style", data.style_length)):
        shapes[f"{name}_ids"] = Shape((batch_size, length), jnp.int32)
        shapes[f"{name}_mask"] = Shape((batch_size, length), jnp.bool_)
    flags = ("has_chart", "has_colors", "has_text", "has_points", "has_style")
    return shapes | {k: Shape((batch_size,), jnp.bool_) for k in flags}


def dry_step(
    config: ConfigDict, stage: int, batch_size: int, mesh: Mesh, frozen: tuple[str, ...] = ()
) -> DryStep:
    """The training step of `stage`; `frozen` names the parts that do not train."""
    sizes = model_config(config)
    model = nnx.eval_shape(lambda: Otuken3DModel(voxel_size=config.model.voxel_size, config=sizes))
    modeldef, params = split_model(model)

    def place(x) -> Shape:
        sharding = parameter_sharding(mesh, x, config.mesh.min_sharded_size)
        return Shape(x.shape, x.dtype, sharding=sharding)

    params = jax.tree.map(place, params)
    groups = trainable_groups(params, stage, frozen, sizes.decoder)
    tx = make_optimizer(optimizer_config(config), groups)
    trained, fixed = split_params(params, groups)
    opt_state = jax.tree.map(place, jax.eval_shape(tx.init, trained))
    state = TrainState(trained, opt_state, Shape((), jnp.int32, sharding=replicated(mesh)))
    step = make_train_step(modeldef, tx, stage, step_config(config), mesh, state)
    key = jax.eval_shape(lambda: jax.random.key(0))
    knobs = {k: Shape((), jnp.float32) for k in ("alpha", "band_weight", "rate_scale")}
    return DryStep(step, (state, fixed, batch_shapes(config, batch_size), key, knobs))
