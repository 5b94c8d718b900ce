"""The compiled training and validation steps."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from otuken_jax.data.augment import augment, ornament_points
from otuken_jax.geometry.surface import surface_nets
from otuken_jax.losses.field import LossWeights, iou, masked_mean, relief_errors, total_loss
from otuken_jax.losses.surface import compare, surface_terms, weighted
from otuken_jax.models.decoder import KnownChart, StageOutput
from otuken_jax.models.otuken3d import Otuken3DModel
from otuken_jax.models.parameters import ModelDef, Params
from otuken_jax.models.style import Style
from otuken_jax.training.optimizer import Optimizer
from otuken_jax.training.sharding import batch_sharding, replicated
from otuken_jax.training.stages import Stage

RELIEF_POINTS = 1024  # drawn in each sample's band
Batch = dict[str, ArrayLike]
Metrics = dict[str, Float[Array, ""]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """What a step changes: the trainable parameters, the optimizer's state, the step count.

    Leaves are arrays, or their shapes or shardings where a step is set up.
    """

    params: dict[str, Any]
    opt_state: Any
    step: Any  # int32 scalar


@dataclass(frozen=True)
class StepConfig:
    """Everything of a step that does not change during a stage."""

    rotation_range: float = 30.0  # degrees, either way
    scale_range: tuple[float, float] = (0.9, 1.1)
    jitter_strength: float = 0.1  # standard deviation of the points, in 32^3 voxels
    chart_teaching: float = 0.5  # share of samples whose ornament is drawn on the true chart
    loss: LossWeights = field(default_factory=LossWeights)


def split_params(params: Params, names) -> tuple[Params, Params]:
    """(named, others)."""
    return {n: params[n] for n in names}, {n: x for n, x in params.items() if n not in names}


def stage_batches(batch: Batch, key: Array, resolutions, config: StepConfig) -> list[Batch]:
    """The augmented batch on each head's grid, all in the same pose."""
    return [
        augment(
            batch,
            key,
            resolution,
            rotation_range=config.rotation_range,
            scale_range=config.scale_range,
            jitter_strength=config.jitter_strength,
        )
        for resolution in resolutions
    ]


def relief_loss(
    model: Otuken3DModel, style: Style, batch: Batch, key: Array
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Errors of the ornament on true charts, and 1 for each sample that has charts.

    On the stored grid, whatever the stage: on 16^3 two motifs hardly differ. After 250 batches of 8
    style texts, charts of 16^3 gave a motif accuracy of 0.14, those of 32^3 0.61.
    """
    points = ornament_points(batch, key, RELIEF_POINTS)
    relief, _, _ = model.decoder.ornament(points.chart, style.ornament, style.layers[:, -1])
    return relief_errors(relief, points.height), points.known.astype(jnp.float32)


def loss_fn(
    params: Params,
    frozen: Params,
    modeldef: ModelDef,
    stage: int,
    config: StepConfig,
    batch: Batch,
    key: Array,
    knobs: dict[str, Array],
) -> tuple[Float[Array, ""], Metrics]:
    """Loss of one batch and its metrics. `knobs`: scalars that change by step."""
    model = modeldef.bind(frozen | params)
    augment_key, teach_key = jax.random.split(key)
    resolutions = model.config.decoder.stage_resolutions[: stage + 1]
    batches = stage_batches(batch, augment_key, resolutions, config)
    use = jax.random.bernoulli(teach_key, config.chart_teaching, batch["has_chart"].shape)
    use &= batch["has_chart"]
    known = {
        r: KnownChart(b["chart"], b["band"], use) for r, b in zip(resolutions, batches, strict=True)
    }
    inputs = batches[-1]
    conditioning = model.encode(inputs)
    outputs = model.decode(
        conditioning, inputs["pose"], stage=stage, alpha=knobs["alpha"], known=known
    )
    loss, terms = total_loss(outputs, batches, config.loss, knobs["band_weight"])
    relief_key = jax.random.fold_in(teach_key, 2)
    errors, charted = relief_loss(model, conditioning.style, batch, relief_key)
    terms["relief"] = masked_mean(errors, charted)
    loss += config.loss.relief * terms["relief"]
    field, sdf = outputs[-1].field, batches[-1]["sdf"]
    overlap = iou(field, sdf)
    metrics = {f"loss/{k}": v for k, v in terms.items()} | {"iou": jnp.mean(overlap)}
    surface = config.loss.surface
    if surface.any:
        draw_key = jax.random.fold_in(teach_key, 1)
        terms = surface_terms(field, sdf, overlap, surface, draw_key)
        loss += weighted(terms, surface)
        metrics |= {f"surface/{k}": v for k, v in terms.items()}
    return loss, metrics


def ornament_loss_fn(
    params: Params, frozen: Params, modeldef: ModelDef, batch: Batch, key: Array
) -> tuple[Float[Array, ""], Metrics]:
    """The relief's loss alone: style texts against charts, nothing on a grid."""
    model = modeldef.bind(frozen | params)
    style = model.encode_style(batch["style_ids"], batch["style_mask"], batch["has_style"])
    errors, charted = relief_loss(model, style, batch, key)
    loss = masked_mean(errors, charted)
    return loss, {"loss/relief": loss}


def part_norms(grads: Params) -> Metrics:
    """Global norm of the gradient of each part of the model."""
    parts = sorted({name.partition(".")[0] for name in grads})
    return {
        f"grad_norm/{part}": optax.tree.norm([g for n, g in grads.items() if n.startswith(part)])
        for part in parts
    }


def step_knobs(
    stage: Stage, stage_step: int, config: StepConfig, cooldown: float
) -> dict[str, np.float32]:
    """The knobs of a stage's step.

    In the last stage the band's weight falls. At the end of the run, in the share `cooldown` of its
    steps, the learning rate falls to zero, linearly. Neither does if their number is unknown.
    """
    band = config.loss.band
    knobs = {"alpha": stage.alpha(stage_step), "band_weight": band, "rate_scale": 1.0}
    if stage.num_steps and stage.last:
        final = config.loss.band_final
        knobs["band_weight"] = final + (band - final) * stage.share_left(stage_step)
    if stage.num_steps and cooldown > 0:
        knobs["rate_scale"] = min(1.0, stage.run_left(stage_step) / cooldown)
    return {k: np.float32(v) for k, v in knobs.items()}


def compiler_options(mesh: Mesh) -> dict[str, bool | str]:
    """XLA's options for a step on `mesh`; none but on CPUs.

    Fusions are compiled without MLIR: of the quickstart's 32^3 step that takes 1.0 GiB less (peak
    0.6 instead of 1.6 GiB), and the step is 0 to 3 % slower. The barriers of `jax.checkpoint` stay:
    XLA removes them on CPUs, and then merges what is recomputed with what it should replace.
    """
    if mesh.devices.flat[0].platform != "cpu":
        return {}
    return {
        "xla_cpu_use_fusion_emitters": False,
        "xla_disable_hlo_passes": "cse_barrier_expander",
    }


def make_train_step(
    modeldef: ModelDef,
    tx: Optimizer,
    stage: int,
    config: StepConfig,
    mesh: Mesh,
    state: TrainState,
    ornament_alone: bool = False,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """`step(state, frozen, batch, key, knobs) -> (state, metrics)`, compiled once.

    There is one for each stage, a second one where pretrained text joins what is trained, and one
    for the ornament alone, which knows only the rate among the knobs.
    `knobs`: alpha (fade-in), band_weight, rate_scale (of the learning rate). The state is donated,
    and stays where the leaves of this `state`, or their shapes, say; `frozen` (parameters that do
    not train) is not donated. Draws come from fold_in(key, step), so a resumed run repeats them.
    """
    state_sharding = jax.tree.map(lambda x: x.sharding, state)

    @functools.partial(
        jax.jit,
        in_shardings=(state_sharding, None, batch_sharding(mesh), None, None),
        out_shardings=(state_sharding, replicated(mesh)),
        donate_argnums=0,
        compiler_options=compiler_options(mesh),
    )
    def train_step(state, frozen, batch, key, knobs):
        key = jax.random.fold_in(key, state.step)

        def loss_of(params):
            if ornament_alone:
                return ornament_loss_fn(params, frozen, modeldef, batch, key)
            return loss_fn(params, frozen, modeldef, stage, config, batch, key, knobs)

        (loss, metrics), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        rates = tx.learning_rates(state.opt_state)
        rates = {f"learning_rate/{g}": knobs["rate_scale"] * rate for g, rate in rates.items()}
        rates["learning_rate"] = functools.reduce(jnp.maximum, rates.values(), 0.0)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        updates = jax.tree.map(lambda u: knobs["rate_scale"] * u, updates)
        params = optax.apply_updates(state.params, updates)
        metrics |= {"loss": loss, "grad_norm": optax.tree.norm(grads)} | part_norms(grads) | rates
        return TrainState(params, opt_state, state.step + 1), metrics

    return train_step


@no_type_check  # arrays of the device or of the host
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EvalSums:
    """Sums over the samples of a batch that count, and points on their surfaces."""

    fields: Metrics  # over all samples; their number is `count`
    surfaces: Metrics  # over samples with a surface; likewise
    made: Float[Array, "b p 3"]
    true: Float[Array, "b p 3"]
    usable: Bool[Array, " b"]  # which of these clouds are of a surface


def make_eval_step(
    modeldef: ModelDef, stage: int, config: StepConfig, mesh: Mesh
) -> Callable[[Params, Batch, Array], EvalSums]:
    """`step(params, batch, valid) -> sums`: canonical pose, alpha 1, no true charts.

    `valid` [b] is 0 for samples that only fill up the last batch.
    """

    @functools.partial(
        jax.jit,
        in_shardings=(None, batch_sharding(mesh), batch_sharding(mesh)),
        out_shardings=replicated(mesh),
        compiler_options=compiler_options(mesh),
    )
    def eval_step(params, batch, valid):
        model = modeldef.bind(params)
        resolution = model.config.decoder.stage_resolutions[stage]
        still = StepConfig(0.0, (1.0, 1.0), 0.0, loss=config.loss)
        grid = stage_batches(batch, jax.random.key(0), [resolution], still)[0]
        conditioning = model.encode(grid)
        output = model.decode(conditioning, grid["pose"], stage=stage)[-1]

        def sample_terms(fields, sample):
            fields, sample = jax.tree.map(lambda x: x[None], (fields, sample))
            output = StageOutput(**fields)
            loss, terms = total_loss([output], [sample], config.loss, config.loss.band_final)
            return {"loss": loss} | {f"loss/{k}": v for k, v in terms.items()}

        values = jax.vmap(sample_terms)(vars(output), grid)
        errors, charted = relief_loss(model, conditioning.style, batch, jax.random.key(0))
        values["loss/relief"] = errors * charted
        values["loss"] += config.loss.relief * values["loss/relief"]
        values["iou"] = iou(output.field, grid["sdf"])
        made, true = surface_nets(output.field), surface_nets(-grid["sdf"])
        values["surface_overflow"] = 1.0 * (made.overflow | true.overflow)
        usable = made.usable & true.usable & (valid > 0)
        points = config.loss.surface.points
        compared = compare(made, true, points, jax.random.key(0))
        # Not the evaluation's figures, which compare the cleaned mesh with exact surface points.
        surfaces = {
            f"surface_chamfer_l2_squared_{points}": compared.chamfer,
            f"surface_normal_consistency_{points}": 1 - compared.normals / 2,
        }
        ones = jnp.ones_like(valid)
        return EvalSums(
            fields={k: jnp.sum(v * valid) for k, v in (values | {"count": ones}).items()},
            surfaces={
                k: jnp.sum(jnp.where(usable, v, 0)) for k, v in (surfaces | {"count": ones}).items()
            },
            made=compared.made,
            true=compared.true,
            usable=usable,
        )

    return eval_step
