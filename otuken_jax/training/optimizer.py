"""AdamW with clipping and warm-up per group, plateau decay and early stopping."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW as PyTorch computes it; `warmup_steps` counts from each group's own first step."""

    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    clip_norm: float = 1.0
    warmup_steps: int = 200
    text_encoder_scale: float = 0.1  # of the learning rate, for the text encoder's group
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8


class Optimizer(NamedTuple):
    """An optax transformation that can tell the rate of each group."""

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]
    learning_rates: Callable[[Any], dict[str, Array]]  # of the state's next step, warm-up included


def make_optimizer(config: OptimizerConfig, labels: dict[str, str]) -> Optimizer:
    """Clip by global norm, then AdamW per group, then the injected learning rate.

    `labels` maps parameter names to groups. Every group keeps its own step count, so blocks that
    join later start with fresh moments, a fresh bias correction and a warm-up, while others go on.
    """
    groups = sorted(set(labels.values()))

    def scale(label: str, step: ArrayLike) -> ArrayLike:
        of_rate = config.text_encoder_scale if label == "text_encoder" else 1.0
        return of_rate * jnp.minimum((step + 1) / max(config.warmup_steps, 1), 1.0)

    def group(label: str) -> optax.GradientTransformation:
        return optax.chain(
            optax.scale_by_adam(config.b1, config.b2, config.eps),
            optax.add_decayed_weights(config.weight_decay),
            optax.scale_by_schedule(partial(scale, label)),
        )

    def build(learning_rate):
        return optax.chain(
            optax.clip_by_global_norm(config.clip_norm),
            optax.partition({label: group(label) for label in groups}, labels),
            optax.scale_by_learning_rate(learning_rate),
        )

    def learning_rates(state) -> dict[str, Array]:
        states = state.inner_state[1].inner_states  # of the partition, by group
        return {
            label: state.hyperparams["learning_rate"]
            * scale(label, states[label].inner_state[-1].count)
            for label in groups
        }

    tx = optax.inject_hyperparams(build)(learning_rate=config.learning_rate)
    return Optimizer(tx.init, tx.update, learning_rates)


def set_learning_rate(opt_state, learning_rate: float) -> None:
    """Sets the rate for the next steps, from the host; the plateau decides it."""
    old = opt_state.hyperparams["learning_rate"]
    new = np.asarray(learning_rate, old.dtype)
    opt_state.hyperparams["learning_rate"] = jax.device_put(new, old.sharding)


def carry_over(old_state, new_state):
    """`new_state` with every leaf that `old_state` has too, by path and shape.

    At a new stage the moments and counts of the blocks that were trained before go on.
    """
    old = {jax.tree_util.keystr(k): v for k, v in jax.tree_util.tree_leaves_with_path(old_state)}

    def pick(path, new):
        value = old.get(jax.tree_util.keystr(path))
        return value if value is not None and value.shape == new.shape else new

    return jax.tree_util.tree_map_with_path(pick, new_state)


@dataclass
class Plateau:
    """`torch.optim.lr_scheduler.ReduceLROnPlateau` (mode min, relative threshold), on the host."""

    learning_rate: float
    factor: float = 0.5
    patience: int = 5
    threshold: float = 1e-4
    best: float = math.inf
    bad: int = 0

    def step(self, loss: float) -> float:
        """Takes a validation loss; returns the learning rate to use from now on."""
        if loss < self.best * (1 - self.threshold):
            self.best, self.bad = loss, 0
        else:
            self.bad += 1
        if self.bad > self.patience:
            self.learning_rate, self.bad = self.learning_rate * self.factor, 0
        return self.learning_rate


@dataclass
class EarlyStopping:
    """True from `step` once `patience` validations in a row brought no lower loss."""

    patience: int | None = 10
    best: float = math.inf
    bad: int = 0

    def step(self, loss: float) -> bool:
        if loss < self.best:
            self.best, self.bad = loss, 0
        else:
            self.bad += 1
        return self.patience is not None and self.bad >= self.patience
