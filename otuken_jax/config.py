"""Configuration files to the frozen dataclasses that the code takes."""

import difflib
import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from otuken_jax.errors import UserError
from otuken_jax.losses.field import LossWeights
from otuken_jax.models.decoder import DecoderConfig
from otuken_jax.models.otuken3d import ModelConfig
from otuken_jax.models.point_e import PointEEncoderConfig
from otuken_jax.training.optimizer import OptimizerConfig
from otuken_jax.training.step import StepConfig


def find_config(name: str) -> Path:
    """The file of a configuration: a path, or the bare name of an installed one.

    Raises:
        UserError: there is none.
    """
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return path
    installed = Path(importlib.util.find_spec("configs").submodule_search_locations[0])
    known = {p.stem: p for p in sorted(installed.glob("*.py")) if p.stem != "__init__"}
    if path.stem in known:
        return known[path.stem]
    close = difflib.get_close_matches(path.stem, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
    raise UserError(f"no configuration {name!r}; {hint}")


def field_names(config: ConfigDict, prefix: str = "") -> list[str]:
    """Dotted names of all fields."""
    names = []
    for key in config:
        value = config.get(key)
        names += field_names(value, f"{prefix}{key}.") if isinstance(value, ConfigDict) else [
            prefix + key
        ]
    return names


def load_config(name: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Reads a configuration and applies `--config.group.field=value` overrides; locked.

    Raises:
        UserError: unknown configuration or field (with the nearest one), or a value of a wrong type.
    """
    values = flags.FlagValues()
    path = find_config(name)
    config_flags.DEFINE_config_file("config", flag_values=values, lock_config=True)
    known = field_names(_default(path))
    for override in overrides:
        match = re.fullmatch(r"--config\.([\w.]+)(=.*)?", override, re.DOTALL)
        if not match or match[2] is None:
            raise UserError(f"cannot read {override!r}; write --config.group.field=value")
        if match[1] not in known:
            close = difflib.get_close_matches(match[1], known, n=1)
            hint = f"; did you mean config.{close[0]}?" if close else ""
            raise UserError(f"no field config.{match[1]} in {path.name}{hint}")
    try:
        values(["otuken_jax", f"--config={path}", *overrides])
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(f"a value does not fit its field: {' '.join(str(error).split())}") from error
    return values.config


def _default(path: Path) -> ConfigDict:
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    values(["otuken_jax", f"--config={path}"])
    return values.config


def to_json(config: ConfigDict) -> str:
    """The whole configuration, as it goes into a run's workdir."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True, ensure_ascii=False)


def model_config(config: ConfigDict) -> ModelConfig:
    """Sizes of the model from `config.model`; UserError if they do not fit together."""
    model = config.model
    decoder = model.decoder
    text_encoder = model.text_encoder
    if model.voxel_size not in decoder.stage_resolutions:
        stages = ", ".join(map(str, decoder.stage_resolutions))
        raise UserError(f"config.model.voxel_size={model.voxel_size} is no stage; one of {stages}")
    try:
        return ModelConfig(
            text_encoder_name=text_encoder.name if model.pretrained else text_encoder.scratch_name,
            point_encoder=PointEEncoderConfig(
                model.point_encoder.width, model.point_encoder.layers, model.point_encoder.heads
            ),
            latent_dim=model.latent_dim,
            style_dim=model.style_dim,
            ornament_dim=model.ornament_dim,
            num_queries=model.num_queries,
            fusion_layers=model.fusion_layers,
            num_heads=model.num_heads,
            mapping_layers=model.mapping_layers,
            decoder=DecoderConfig(
                trunk_resolutions=tuple(decoder.trunk_resolutions),
                trunk_widths=tuple(decoder.trunk_widths),
                stage_resolutions=tuple(decoder.stage_resolutions),
                attention_resolutions=tuple(decoder.attention_resolutions),
                num_heads=model.num_heads,
                norm_groups=decoder.norm_groups or None,
                ornament_width=decoder.ornament_width,
                ornament_layers=decoder.ornament_layers,
                ornament_fraction=decoder.ornament_fraction,
            ),
            dtype=model.dtype,
            remat=model.remat,
        )
    except ValueError as error:
        raise UserError(f"config.model does not fit together: {error}") from error


def optimizer_config(config: ConfigDict) -> OptimizerConfig:
    optim = config.optim
    return OptimizerConfig(
        optim.learning_rate,
        optim.weight_decay,
        optim.clip_norm,
        optim.warmup_steps,
        optim.text_encoder_scale,
    )


def step_config(config: ConfigDict) -> StepConfig:
    data, loss = config.data, config.train.loss
    return StepConfig(
        rotation_range=data.rotation_range,
        scale_range=tuple(data.scale_range),
        jitter_strength=data.jitter_strength,
        chart_teaching=config.train.chart_teaching,
        loss=LossWeights(**loss.to_dict()),
    )
