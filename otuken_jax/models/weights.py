"""Reads converted weights: a folder with `model.safetensors` and `card.json`, as `porting` writes.

Tensors are named by their path in the module, `blocks/0/query/kernel`. Reading is strict: the file
and the module must hold the same names and shapes, or nothing is changed.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import nnx
from safetensors import SafetensorError, safe_open

from otuken_jax.errors import UserError

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"


@dataclasses.dataclass(frozen=True)
class Card:
    """What a folder of converted weights holds and where it came from."""

    network: str  # name of the converter's network, e.g. "t5" or "point-e/sdf"
    config: Mapping[str, Any]  # fields of the network's config dataclass: T5Config(**card.config)
    source: str  # published name, or name of the local file or folder
    source_sha256: Mapping[str, str]  # by file name
    sha256: str  # of model.safetensors
    dtype: str  # stored type of the float tensors
    num_parameters: int
    unused: list[str]  # source tensors that the network has no place for
    converter_version: int


def read_card(folder: str | Path, network: str | None = None) -> Card:
    """The card of a folder, which must hold `network` if that is given.

    Raises:
        UserError: the folder is missing or not a converted network, or holds another one.
    """
    path = Path(folder) / CARD_FILE
    make = f"`python -m porting {network or 'NETWORK'} SOURCE --out {folder}` makes them"
    if not path.is_file():
        raise UserError(f"no {network or 'converted'} weights at {folder}; {make}")
    try:
        card = Card(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not a card of this version ({error}); {make} anew") from error
    if network not in (None, card.network):
        raise UserError(f"{folder} holds weights of {card.network}, not of {network}; {make}")
    return card


def load_weights(
    model: nnx.Module, folder: str | Path, *, network: str, part: str | None = None
) -> Card:
    """Fills every parameter and buffer of `model` from a folder, in the model's own dtypes.

    The model may be concrete or come from `nnx.eval_shape`. Make it from the card's config: numbers
    such as heads and epsilons leave no trace in shapes.

    part: path of the child that `model` is inside the stored network; `"encoder"` reads the encoder
        of a stored `point-e/sdf` and leaves its decoder alone.

    Raises:
        UserError: the folder does not hold these weights, or they do not fit the model.
    """
    card = read_card(folder, network)
    path = Path(folder) / WEIGHTS_FILE
    prefix = f"{part}/" if part else ""
    state = nnx.state(model)
    leaves = {prefix + "/".join(map(str, p)): leaf for p, leaf in nnx.to_flat_state(state)}
    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            stored = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            _check_shapes(stored, {n: leaf.get_value().shape for n, leaf in leaves.items()}, folder)
            arrays = {
                name: jnp.asarray(file.get_tensor(name), dtype=leaf.get_value().dtype)
                for name, leaf in leaves.items()
            }
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); convert {network} again") from error
    for name, leaf in leaves.items():
        leaf.set_value(arrays[name])
    nnx.update(model, state)
    return card


def _check_shapes(
    stored: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]], folder: str | Path
) -> None:
    problems = [f"{name} is not in the file" for name in wanted if name not in stored]
    problems += [f"{name} is not in the model" for name in stored if name not in wanted]
    problems += [
        f"{name} is {list(stored[name])}, the model has {list(shape)}"
        for name, shape in wanted.items()
        if name in stored and stored[name] != tuple(shape)
    ]
    if problems:
        raise UserError(f"the weights at {folder} do not fit the model: {'; '.join(problems)}")
