"""A model while it trains: its parameters on the device mesh, and the compiled step."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from otuken_jax.compile_cache import release_compile_memory
from otuken_jax.models.otuken3d import Otuken3DModel
from otuken_jax.models.parameters import ModelDef, Params, split_model, update_model
from otuken_jax.training import sharding
from otuken_jax.training.checkpoints import Restored
from otuken_jax.training.optimizer import OptimizerConfig, carry_over, make_optimizer
from otuken_jax.training.stages import describe_groups, trainable_groups
from otuken_jax.training.step import (
    Batch,
    Metrics,
    StepConfig,
    TrainState,
    make_train_step,
    split_params,
)

logger = logging.getLogger(__name__)


class Learner:
    """The state of the compiled step, and the model that it comes from and goes to.

        learner.prepare(frozen=("point_encoder",), ornament_alone=False, step=0)
        metrics = learner.step(batch, key, knobs)
        learner.sync_model()

    The step donates its state, so the model holds arrays of its own: those of the last
    `sync_model`. Between two of them `state` is ahead of the model.

    Args:
        model: is updated in place.
        optimizer: of AdamW, for every group of parameters.
        mesh: the devices; all parameters lie there from the first `place_model` on.
        min_sharded_size: elements from which on a tensor is split over the "fsdp" axis.
    """

    def __init__(
        self,
        model: Otuken3DModel,
        optimizer: OptimizerConfig,
        step_config: StepConfig,
        mesh: Mesh,
        min_sharded_size: int,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.step_config = step_config
        self.mesh = mesh
        self.min_sharded_size = min_sharded_size
        self.state: TrainState | None = None
        self._fixed: Params = {}
        self._signature: tuple[ModelDef, tuple[str, ...], bool] | None = None
        self._compiling = False  # until the present step has run once

    def place_model(self) -> tuple[ModelDef, Params]:
        """The model's parts, its parameters now where the mesh is to have them.

        There is one copy of what is frozen, and validation and pictures meet nothing that lies on
        one device or in one process alone.
        """
        modeldef, params = split_model(self.model)
        params = sharding.put_parameters(self.mesh, params, self.min_sharded_size)
        update_model(self.model, params)
        return modeldef, params

    def prepare(self, frozen: tuple[str, ...], *, ornament_alone: bool, step: int) -> None:
        """Takes the model's weights; builds step and optimizer anew if other parameters train.

        Args:
            frozen: parts of the model that do not train.
            ornament_alone: of the others nothing but the ornament trains.
            step: how many steps the run has made.
        """
        # Placed alike every time: other shardings would compile the step once more.
        modeldef, params = self.place_model()
        signature = (modeldef, frozen, ornament_alone)
        if signature == self._signature:
            # Between epochs the model is the truth: its owner may have loaded other weights.
            trained = {n: jnp.copy(params[n]) for n in self.state.params}
            self.state = dataclasses.replace(self.state, params=trained)
            self._fixed = {n: params[n] for n in self._fixed}
            return
        self._build(modeldef, params, frozen, ornament_alone, step)
        self._signature = signature
        release_compile_memory()  # the step before is gone; this one needs room to compile
        self._compiling = True

    def _build(
        self,
        modeldef: ModelDef,
        params: Params,
        frozen: tuple[str, ...],
        ornament_alone: bool,
        step: int,
    ) -> None:
        """Makes state and step; moments of what was trained before go on."""
        stage = self.model.stage
        groups = trainable_groups(
            params, stage, frozen, self.model.config.decoder, ornament_alone=ornament_alone
        )
        name = "ornament" if ornament_alone else f"stage {self.model.voxel_size}^3"
        logger.info("%s, %s", name, describe_groups(params, groups))
        tx = make_optimizer(self.optimizer, groups)
        trained, fixed = split_params(params, groups)
        opt_state = tx.init(trained)
        if self.state is not None:
            opt_state = carry_over(self.state.opt_state, opt_state)
        opt_state = sharding.put_parameters(self.mesh, opt_state, self.min_sharded_size)
        # The step donates its state; the model keeps arrays of its own until the next sync.
        self.state = TrainState(jax.tree.map(jnp.copy, trained), opt_state, self._count(step))
        self._fixed = fixed
        self._train_step = make_train_step(
            modeldef, tx, stage, self.step_config, self.mesh, self.state, ornament_alone
        )

    def _count(self, step: int) -> Array:
        return sharding.put(np.int32(step), sharding.replicated(self.mesh))

    def step(self, batch: Batch, key: Array, knobs: dict[str, np.float32]) -> Metrics:
        """One step on this process's share of a batch; does not wait for its metrics.

        Raises:
            UserError: the devices do not divide the batch.
        """
        device_batch = sharding.put_batch(self.mesh, batch)
        self.state, metrics = self._train_step(self.state, self._fixed, device_batch, key, knobs)
        if self._compiling:
            jax.block_until_ready(metrics)
            release_compile_memory()
            self._compiling = False
        return metrics

    def params(self) -> Params:
        """All parameters as they are now."""
        return self._fixed | self.state.params

    def sync_model(self) -> None:
        """Writes what was trained into the model.

        After Ctrl-C in the middle of a step, which takes its state, the model stays as it is.
        """
        if any(x.is_deleted() for x in self.state.params.values()):
            self.state = self._signature = None
        else:
            update_model(self.model, jax.tree.map(jnp.copy, self.state.params))

    def saved_params(self) -> Params:
        """All but frozen pretrained weights, which a checkpoint's meta names by source and hash."""
        _, frozen, _ = self._signature
        skipped = [part for part in frozen if part in self.model.pretrained_parts()]
        return {n: x for n, x in self.params().items() if n.partition(".")[0] not in skipped}

    def load(self, restored: Restored) -> None:
        """Goes on from a checkpoint with these `saved_params`."""
        self._fixed |= {n: x for n, x in restored.params.items() if n in self._fixed}
        trained = {n: restored.params[n] for n in self.state.params}
        self.state = TrainState(trained, restored.opt_state, self._count(restored.step))
        update_model(self.model, jax.tree.map(jnp.copy, self.params()))
