"""Configuration files to the frozen dataclasses that the code takes."""

import ast
import contextlib
import difflib
import importlib.util
import json
import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from configs import base
from otuken_jax.config_checks import check_fits, check_ranges, check_type, value_of
from otuken_jax.errors import UserError
from otuken_jax.losses.field import LossWeights
from otuken_jax.losses.surface import SurfaceWeights
from otuken_jax.models.decoder import DecoderConfig
from otuken_jax.models.otuken3d import ModelConfig
from otuken_jax.models.point_e import PointEEncoderConfig
from otuken_jax.training.optimizer import OptimizerConfig
from otuken_jax.training.step import StepConfig

DTYPES = ("float32", "bfloat16")  # of the computation


def did_you_mean(name: str, known: Sequence[str], prefix: str = "") -> str:
    """The end of a message about a wrong name: the nearest one, or nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def find_config(name: str) -> Path:
    """The file of a configuration: a path, or the bare name of an installed one.

    `configs/NAME.py` finds the installed one too, wherever the command is started.

    Raises:
        UserError: there is none.
    """
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return path
    installed = Path(importlib.util.find_spec("configs").submodule_search_locations[0])
    known = {p.stem: p for p in sorted(installed.glob("*.py")) if p.stem != "__init__"}
    if path.stem in known:
        if path.parent in (Path(), Path("configs")) and path.suffix in ("", ".py"):
            return known[path.stem]
        raise UserError(f"no configuration {name!r}; did you mean {path.stem}, the installed one?")
    hint = did_you_mean(path.stem, list(known)) or f"; there are {', '.join(known)}"
    raise UserError(f"no configuration {name!r}{hint}")


def field_names(config: ConfigDict, prefix: str = "") -> list[str]:
    """Dotted names of all fields."""
    names = []
    for key in config:
        value = config.get(key)
        names += (
            field_names(value, f"{prefix}{key}.")
            if isinstance(value, ConfigDict)
            else [prefix + key]
        )
    return names


def load_config(name: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Reads a configuration and applies `--config.group.field=value` overrides; locked.

    Its fields are those of `configs.base`.

    Raises:
        UserError: unknown configuration or field (with the nearest one), a file that cannot be
            run, or a value that does not fit its field.
    """
    path = find_config(name)
    config, defaults = _run(path).lock(), base.get_config()
    known, given = field_names(defaults), field_names(config)
    for field in given:
        _check_field(field, known, path.name)
    for field in known:
        if field not in given:
            raise UserError(f"{path.name} lacks config.{field}; begin with base.get_config()")
    for override in overrides:
        match = re.fullmatch(r"--config\.([\w.]+)=(.*)", override, re.DOTALL)
        if not match:
            raise UserError(f"cannot read {override!r}; write --config.group.field=value")
        field, text = match.groups()
        _check_field(field, known, "the command line")
        _assign(config, field, text, value_of(defaults, field))
    for field in known:  # as the file has them
        check_type(field, value_of(config, field), value_of(defaults, field))
    return config


def _run(path: Path) -> ConfigDict:
    """What `get_config` of a file returns; UserError with the line at which it fails."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config() if hasattr(module, "get_config") else None
    except UserError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        frame = ([f for f in frames if f.filename == spec.origin] or frames)[-1]
        at = error if isinstance(error, SyntaxError) else frame
        words = " ".join(str(error).replace(r"\n", " ").split())
        raise UserError(
            f"{at.filename}, line {at.lineno}: {type(error).__name__}: {words}"
        ) from error
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"{path} has no get_config() that returns a configuration; configs/v32.py is an example"
        )
    return config


def _check_field(field: str, known: Sequence[str], place: str) -> None:
    if field not in known:
        hint = did_you_mean(field, known, "config.")
        raise UserError(f"{place}: no field config.{field}{hint}")


def _assign(config: ConfigDict, field: str, text: str, default: Any) -> None:
    """Sets a dotted field from its text, if that is of the type of its default."""
    value: Any = text
    if not isinstance(default, str):  # what cannot be parsed stays a text, which does not fit
        with contextlib.suppress(TypeError, ValueError, SyntaxError, RecursionError):
            value = ast.literal_eval(text)
    check_type(field, value, default)
    group, _, name = field.rpartition(".")
    value_of(config, group)[name] = value


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
    if model.dtype not in DTYPES:
        raise UserError(
            f"config.model.dtype={model.dtype} is no dtype of the computation; one of "
            f"{', '.join(DTYPES)}{did_you_mean(model.dtype, DTYPES)}"
        )
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


def check_config(config: ConfigDict) -> None:
    """UserError for values of the right type with which no run can be trained."""
    check_ranges(config)
    model_config(config)
    check_fits(config)


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
    data, loss = config.data, config.train.loss.to_dict()
    surface = SurfaceWeights(**loss.pop("surface"))
    return StepConfig(
        rotation_range=data.rotation_range,
        scale_range=tuple(data.scale_range),
        jitter_strength=data.jitter_strength,
        chart_teaching=config.train.chart_teaching,
        loss=LossWeights(**loss, surface=surface),
    )
