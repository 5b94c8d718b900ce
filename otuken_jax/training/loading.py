"""A trained model from its checkpoint, or as converted, and what the checkpoint says about it."""

import contextlib
import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from otuken_jax.errors import UserError
from otuken_jax.models.otuken3d import ModelConfig, Otuken3DModel
from otuken_jax.models.parameters import split_model
from otuken_jax.models.weights import CARD_FILE, load_weights, read_card
from otuken_jax.training.checkpoints import Checkpoints

NETWORK = "otuken3d"  # name of the whole model in the converter
CONFIG_FILE = "config.json"  # beside converted weights: what a checkpoint's meta says


def model_config(meta: dict[str, Any]) -> ModelConfig:
    """Sizes of the model of a checkpoint; UserError if this version does not know them."""
    try:
        return ModelConfig.from_dict(meta["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the checkpoint is of another version of otuken_jax ({error}); use that version or "
            "train again"
        ) from error


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    parts = {n: _flat(x).items() if isinstance(x, dict) else [("", x)] for n, x in fields.items()}
    return {f"{n}.{m}".rstrip("."): x for n, part in parts.items() for m, x in part}


def check_same_model(meta: dict[str, Any], config: ModelConfig) -> None:
    """UserError unless a checkpoint is of a model of these sizes."""
    there, here = _flat(dataclasses.asdict(model_config(meta))), _flat(dataclasses.asdict(config))
    for name in here:
        if there[name] != here[name]:
            raise UserError(
                f"the checkpoints are of another model: {name} is {there[name]!r} there and "
                f"{here[name]!r} here; choose another --workdir or their own configuration"
            )


@dataclass(frozen=True)
class LoadedModel:
    """A trained model and what its checkpoint says about it."""

    model: Otuken3DModel
    meta: dict[str, Any]
    step: int


def portable_meta(loaded: LoadedModel) -> dict[str, Any]:
    """What must go with the weights when they leave a workdir, for `load_model` to read again."""
    meta = {name: loaded.meta[name] for name in ("model", "voxel_size", "data")}
    return {"model_type": NETWORK, "step": loaded.step} | meta


def _load_converted(folder: Path) -> LoadedModel:
    """A model that was exported and converted back; its pretrained parts are in the file too."""
    card = read_card(folder, NETWORK)
    try:
        meta = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        size, step, _ = meta["voxel_size"], meta["step"], meta["data"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder / CONFIG_FILE} is missing or damaged; convert again") from error
    config = model_config({"model": card.config})
    model = nnx.eval_shape(lambda: Otuken3DModel(voxel_size=size, config=config))
    load_weights(model, folder, network=NETWORK)
    return LoadedModel(model, meta, step)


def load_model(workdir: str | os.PathLike) -> LoadedModel:
    """Reads only the model item of the best checkpoint in a workdir (or its `checkpoints` folder).

    A folder that `python -m porting otuken3d` wrote is read as well.

    Raises:
        UserError: no checkpoint is there, or none can be read.
    """
    directory = Path(workdir)
    if (directory / CARD_FILE).is_file():
        return _load_converted(directory)
    if (directory / "checkpoints").is_dir():
        directory = directory / "checkpoints"
    if not any(p.name.isdigit() and p.is_dir() for p in directory.glob("*")):
        raise UserError(
            f"no checkpoint in {workdir}; train one or give the --workdir of a training"
        )
    with contextlib.closing(Checkpoints(directory)) as checkpoints:
        step = checkpoints.best_good()
        meta = checkpoints.read_meta(step)
        config = model_config(meta)
        # Shapes only: initial values would be computed just to be thrown away.
        model = nnx.eval_shape(lambda: Otuken3DModel(voxel_size=meta["voxel_size"], config=config))
        for part, folder, sha256 in meta["pretrained"]:
            model.load_pretrained(part, folder, sha256)
        modeldef, params = split_model(model)
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        target = {
            n: jax.ShapeDtypeStruct(params[n].shape, params[n].dtype, sharding=device)
            for n in meta["saved"]
        }
        params |= checkpoints.restore(step, target).params
    return LoadedModel(modeldef.bind(params), meta, step)
