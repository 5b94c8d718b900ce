"""What the values of a configuration may be: their types, their ranges, and what fits together."""

import math
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from otuken_jax.errors import UserError


class Range(NamedTuple):
    """What a number may be, both ends included, and how a message says it."""

    words: str
    low: float
    high: float = 2**31 - 1


COUNT = Range("a number from 1, below 2^31", 1)
NATURAL = Range("a number from 0, below 2^31", 0)
ABOVE_ZERO = Range("a number above 0, below 2^31", math.ulp(0.0))
SHARE = Range("a share, 0 to 1", 0, 1)

# Every number of `configs.base`; of a tuple, each of its numbers.
RANGES = {
    "model.voxel_size": COUNT,
    "model.latent_dim": COUNT,
    "model.style_dim": COUNT,
    "model.ornament_dim": COUNT,
    "model.num_queries": COUNT,
    "model.fusion_layers": COUNT,
    "model.num_heads": COUNT,
    "model.mapping_layers": COUNT,
    "model.point_encoder.num_points": COUNT,
    "model.point_encoder.width": COUNT,
    "model.point_encoder.layers": COUNT,
    "model.point_encoder.heads": COUNT,
    "model.decoder.trunk_resolutions": COUNT,
    "model.decoder.trunk_widths": COUNT,
    "model.decoder.stage_resolutions": COUNT,
    "model.decoder.attention_resolutions": COUNT,
    "model.decoder.norm_groups": NATURAL,
    "model.decoder.ornament_width": COUNT,
    "model.decoder.ornament_layers": COUNT,
    "model.decoder.ornament_fraction": Range("a share above 0, up to 1", math.ulp(0.0), 1),
    "data.num_shapes": COUNT,
    "data.num_val": COUNT,
    "data.num_heldout": NATURAL,
    "data.num_heldout_styles": NATURAL,
    "data.num_heldout_phrasing": NATURAL,
    "data.resolution": COUNT,
    "data.coarsest": Range("a number from 4, below 2^31", 4),  # below, a shape fills its grid
    "data.batch_size": COUNT,
    "data.text_length": COUNT,
    "data.style_length": COUNT,
    "data.rotation_range": Range("degrees, 0 to 180", 0, 180),
    "data.scale_range": ABOVE_ZERO,
    "data.jitter_strength": NATURAL,
    "data.text_only": SHARE,
    "data.text_and_points": SHARE,
    "data.ornament_in_caption": SHARE,
    "data.style_dropout": SHARE,
    "data.other_form": SHARE,
    "data.unfamiliar": SHARE,
    "data.full_caption": SHARE,
    "data.one_sentence": SHARE,
    "data.num_workers": NATURAL,
    "optim.learning_rate": ABOVE_ZERO,
    "optim.weight_decay": NATURAL,
    "optim.clip_norm": ABOVE_ZERO,
    "optim.warmup_steps": NATURAL,
    "optim.text_encoder_scale": NATURAL,
    "optim.cooldown": SHARE,
    "optim.plateau_factor": SHARE,
    "optim.plateau_patience": NATURAL,
    "train.seed": NATURAL,
    "train.stage_epochs": NATURAL,
    "train.ornament_epochs": NATURAL,
    "train.fade_fraction": SHARE,
    "train.early_stopping_patience": COUNT,
    "train.eval_every": COUNT,
    "train.chart_teaching": SHARE,
    "train.loss.dice": NATURAL,
    "train.loss.band": NATURAL,
    "train.loss.band_final": NATURAL,
    "train.loss.host": NATURAL,
    "train.loss.chart": NATURAL,
    "train.loss.relief": NATURAL,
    "train.loss.color": NATURAL,
    "train.loss.head_decay": SHARE,
    "train.loss.surface.chamfer": NATURAL,
    "train.loss.surface.normals": NATURAL,
    "train.loss.surface.edge": NATURAL,
    "train.loss.surface.laplacian": NATURAL,
    "train.loss.surface.consistency": NATURAL,
    "train.loss.surface.points": COUNT,
    "train.loss.surface.min_iou": Range("an IoU, up to 1; below 0 it is always reached", -1, 1),
    "train.loss.surface.smoothing": NATURAL,
    "mesh.data": Range("-1 or a number of devices", -1),
    "mesh.fsdp": COUNT,
    "mesh.min_sharded_size": NATURAL,
    "checkpoint.save_every": COUNT,
    "log.every": COUNT,
}


def value_of(config: ConfigDict, field: str) -> Any:
    """The value of a field by its dotted name."""
    for part in field.split("."):
        config = config[part]
    return config


def _fits(value: Any, kind: type) -> bool:
    """Whether a value is of that type: whole numbers are floats, lists tuples, True no number."""
    kinds = {float: (int, float), tuple: (list, tuple)}.get(kind, kind)
    return isinstance(value, kinds) and (kind is bool or not isinstance(value, bool))


def check_type(field: str, value: Any, default: Any) -> None:
    """UserError for a value, or one in a tuple, of another type than the default's.

    ConfigDict itself lets None pass, True for a number, and anything in a tuple.
    """
    kind = type(default)
    words, fits = kind.__name__, _fits(value, kind)
    if kind is tuple:
        inner = type(default[0]) if default else str  # an empty one is of names
        words = f"tuple of {inner.__name__}"
        fits = fits and all(_fits(element, inner) for element in value)
    if not fits:
        raise UserError(f"config.{field}={value} does not fit its field, of type {words}")


def check_ranges(config: ConfigDict) -> None:
    """UserError for the first number that is out of its range."""
    for field, allowed in RANGES.items():
        value = value_of(config, field)
        for number in value if isinstance(value, tuple) else (value,):
            if not allowed.low <= number <= allowed.high:  # nor is NaN
                raise UserError(f"config.{field}={value}; give {allowed.words}")


def check_fits(config: ConfigDict) -> None:
    """UserError for values in their ranges that do not fit each other."""
    _check_model(config)
    _check_data(config)
    _check_stage_epochs(config)


def _check_model(config: ConfigDict) -> None:
    """UserError for sizes of layers that do not fit each other."""
    model, decoder = config.model, config.model.decoder
    trunk, stages = decoder.trunk_resolutions, decoder.stage_resolutions
    for field, sizes in (("trunk_resolutions", trunk), ("stage_resolutions", stages)):
        if list(sizes) != sorted(set(sizes)):
            raise UserError(f"config.model.decoder.{field}={sizes}; give them in rising order")
    if len(trunk) < 2 or 2 * trunk[-1] != stages[-1]:
        raise UserError(
            f"config.model.decoder.trunk_resolutions={trunk}; give two at least, the last one "
            f"{stages[-1] // 2}, half of the last stage"
        )
    attended = set(decoder.attention_resolutions)
    if attended - set(trunk):
        raise UserError(
            f"config.model.decoder.attention_resolutions={decoder.attention_resolutions}; "
            f"choose among {', '.join(map(str, trunk))}, those of the trunk"
        )
    widths = decoder.trunk_widths
    divided = (
        ("model.num_heads", "model.latent_dim", (model.latent_dim,)),
        ("model.num_heads", "model.style_dim", (model.style_dim,)),
        (
            "model.num_heads",
            "model.decoder.trunk_widths",
            [w for r, w in zip(trunk, widths, strict=True) if r in attended],
        ),
        ("model.point_encoder.heads", "model.point_encoder.width", (model.point_encoder.width,)),
        ("model.decoder.norm_groups", "model.decoder.trunk_widths", widths[:-1]),  # no norm there
    )
    for divisor, field, sizes in divided:
        number = value_of(config, divisor)
        if number and any(size % number for size in sizes):
            raise UserError(
                f"config.{divisor}={number} does not divide config.{field}="
                f"{value_of(config, field)}; change one of them"
            )


def _check_data(config: ConfigDict) -> None:
    """UserError for fields of the data that do not fit each other."""
    data = config.data
    scales = data.scale_range
    if len(scales) != 2 or scales[0] > scales[1]:
        raise UserError(
            f"config.data.scale_range={scales}; give the smallest and the largest scale"
        )
    if data.text_only + data.text_and_points > 1 + 1e-6:
        raise UserError(
            f"config.data.text_only={data.text_only} and config.data.text_and_points="
            f"{data.text_and_points} are shares of the same samples; give at most 1 together"
        )
    if data.source == "motifs" and data.num_shapes < data.batch_size:
        raise UserError(
            f"config.data.num_shapes={data.num_shapes} is fewer than one batch of "
            f"config.data.batch_size={data.batch_size}; make it more"
        )


def _check_stage_epochs(config: ConfigDict) -> None:
    """UserError unless there are epochs, and a number of them for each stage."""
    stages = config.model.decoder.stage_resolutions
    stages = stages[: stages.index(config.model.voxel_size) + 1]
    epochs = config.train.stage_epochs
    if not any(epochs):
        raise UserError(
            f"config.train.stage_epochs={epochs}; give whole numbers of epochs, one above zero"
        )
    if len(epochs) != len(stages):
        fitting = (epochs + epochs[-1:] * len(stages))[: len(stages)]
        plural = "s" if len(stages) > 1 else ""
        raise UserError(
            f"config.model.voxel_size={config.model.voxel_size} trains {len(stages)} stage{plural} "
            f"({', '.join(map(str, stages))}) and config.train.stage_epochs={epochs} has "
            f"{len(epochs)} numbers; set one for each, such as "
            f"--config.train.stage_epochs='{fitting}'"
        )
