"""Losses on the predicted field, its chart and its colours."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from otuken_jax.conventions import occupancy_target, voxel_size
from otuken_jax.losses.surface import SurfaceWeights
from otuken_jax.models.decoder import StageOutput
from otuken_jax.models.ornament import RELIEF_UNIT

ORNAMENT_COLOR = 4.0  # extra weight in the colour loss of points on the ornament


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; `head_decay` per stage below the current one (1, 0.5, 0.25)."""

    dice: float = 0.5
    band: float = 10.0  # extra weight of voxels in the ornament band, annealed to `band_final`
    band_final: float = 5.0
    host: float = 1.0
    chart: float = 1.0
    relief: float = 1.0
    color: float = 0.5
    head_decay: float = 0.5
    surface: SurfaceWeights = field(default_factory=SurfaceWeights)


def soft_dice(probs: Float[Array, "b n"], target: Float[Array, "b n"]) -> Float[Array, " b"]:
    """1 - 2 |p t| / (|p| + |t|) per sample, sums of squares below (V-Net, arXiv:1606.04797)."""
    overlap = 2 * jnp.sum(probs * target, -1)
    return 1 - overlap / (jnp.sum(probs**2, -1) + jnp.sum(target**2, -1) + 1e-6)


def trilinear_sample(
    volume: Float[Array, "b r r r c"], points: Float[Array, "b p 3"]
) -> Float[Array, "b p c"]:
    """Values of a cell-centred volume at points in [-1, 1]^3, clamped at the border."""
    resolution = volume.shape[1]
    position = jnp.clip((points + 1) / voxel_size(resolution) - 0.5, 0, resolution - 1)
    low = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, resolution - 2)
    t = position - low
    batch = jnp.arange(volume.shape[0])[:, None]
    total = jnp.zeros((*points.shape[:2], volume.shape[-1]), volume.dtype)
    for corner in range(8):
        bits = jnp.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        weight = jnp.prod(jnp.where(bits == 1, t, 1 - t), axis=-1)
        x, y, z = jnp.moveaxis(low + bits, -1, 0)
        total = total + weight[..., None] * volume[batch, x, y, z]
    return total


def masked_mean(x: Float[Array, " b *s"], mask: Float[Array, " b *s"]) -> Float[Array, ""]:
    """Mean of `x` weighted by `mask`; 0 if the mask is empty."""
    return jnp.sum(x * mask) / jnp.maximum(jnp.sum(mask), 1.0)


def occupancy_terms(
    logits: Float[Array, "b r r r"],
    target: Float[Array, "b r r r"],
    weight: Float[Array, "b r r r"],
    valid: Bool[Array, " b"],
    dice: float,
) -> Float[Array, ""]:
    """Weighted BCE + `dice` * soft Dice, averaged over the valid samples."""
    flat = lambda x: x.reshape(x.shape[0], -1)  # noqa: E731
    bce = optax.sigmoid_binary_cross_entropy(logits, target)
    per_sample = jnp.sum(flat(bce * weight), -1) / jnp.sum(flat(weight), -1)
    per_sample += dice * soft_dice(flat(jax.nn.sigmoid(logits)), flat(target))
    return masked_mean(per_sample, valid.astype(jnp.float32))


def stage_loss(
    output: StageOutput,
    batch: dict[str, Array],
    weights: LossWeights,
    band_weight: float | Array,
) -> dict[str, Float[Array, ""]]:
    """Unweighted loss terms of one stage.

    `batch` holds, at the stage's resolution r: sdf, host_sdf [b, r, r, r] (domain units), band
    (0..1), chart [b, r, r, r, 3]; points, colors [b, p, 3]; has_chart, has_colors [b]. The chart,
    band and plain-host terms count only where the data knows them.
    """
    resolution = output.field.shape[1]
    band, known = batch["band"], batch["has_chart"]
    target = occupancy_target(batch["sdf"], resolution)
    # Where the ornament can change the shape: within reach of a relief from the plain surface.
    shell = band * (jnp.abs(batch["host_sdf"]) < 3 * voxel_size(resolution))
    field_weight = 1 + band_weight * shell * known[:, None, None, None]
    everywhere = jnp.ones_like(known)
    known_band = band * known[:, None, None, None]
    host_target = occupancy_target(batch["host_sdf"], resolution)
    ones = jnp.ones_like(target)
    # The height of the ornament over the plain surface, in the head's own units.
    height = (batch["host_sdf"] - batch["sdf"]) / RELIEF_UNIT
    color = trilinear_sample(output.color, batch["points"])
    # The ornament covers about a sixth of the surface: its points count as much as the ground's.
    on_ornament = jnp.clip(jnp.abs(trilinear_sample(height[..., None], batch["points"])), 0, 1)
    color_weight = (1 + ORNAMENT_COLOR * known[:, None] * on_ornament[..., 0]) * (
        batch["has_colors"][:, None]
    )
    band_bce = optax.sigmoid_binary_cross_entropy(output.band, band).mean(axis=(1, 2, 3))
    return {
        "field": occupancy_terms(output.field, target, field_weight, everywhere, weights.dice),
        "host": occupancy_terms(output.host, host_target, ones, known, weights.dice),
        "band": masked_mean(band_bce, known.astype(jnp.float32)),
        "chart": masked_mean(jnp.square(output.chart - batch["chart"]).mean(-1), known_band),
        "color": masked_mean(jnp.abs(color - batch["colors"]).mean(-1), color_weight),
    }


def relief_errors(relief: Float[Array, "b k"], height: Float[Array, "b k"]) -> Float[Array, " b"]:
    """Mean squared error of the ornament's height over the plain surface, in `RELIEF_UNIT`."""
    return jnp.mean(jnp.square((relief - height) / RELIEF_UNIT), axis=-1)


def total_loss(
    outputs: list[StageOutput],
    batches: list[dict[str, Array]],
    weights: LossWeights,
    band_weight: float | Array,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Weighted sum over the stages (coarse to fine), and the finest one's terms by name."""
    total, terms = jnp.zeros(()), {}
    for depth, (output, batch) in enumerate(zip(outputs[::-1], batches[::-1], strict=True)):
        head = stage_loss(output, batch, weights, band_weight)
        loss = (
            head["field"]
            + weights.host * (head["host"] + head["band"])
            + weights.chart * head["chart"]
            + weights.color * head["color"]
        )
        total += weights.head_decay**depth * loss
        terms |= {} if terms else head
    return total, terms


def iou(logits: Float[Array, " b *s"], sdf: Float[Array, " b *s"]) -> Float[Array, " b"]:
    """Intersection over union per sample of {logits > 0} and {sdf < 0}."""
    axes = tuple(range(1, logits.ndim))
    a, b = logits > 0, sdf < 0
    union = jnp.sum(a | b, axes)
    return jnp.sum(a & b, axes) / jnp.maximum(union, 1)
