"""Writes converted weights, or a trained checkpoint, under their PyTorch names."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open

from otuken_jax.errors import UserError
from otuken_jax.models.parameters import split_model
from otuken_jax.models.weights import CARD_FILE, WEIGHTS_FILE, read_card
from otuken_jax.training.loading import CONFIG_FILE, NETWORK, load_model, portable_meta
from porting.convert import DTYPES, new_folder, write_safetensors
from porting.rules import Network, plan, target_shapes
from porting.sources import COMPANIONS, require_torch


class Stored(NamedTuple):
    """What there is to export: `read` gives a tensor by its Flax path."""

    network: Network
    config: Any
    dtype: str
    read: Callable[[str], np.ndarray]
    companions: Mapping[str, bytes]  # files beside the weights


def export(folder: Path, out: Path, networks: Mapping[str, Network]) -> int:
    """Writes `out/model.safetensors`, which the PyTorch module loads with `strict=True`.

    `folder` is one that the converter wrote, or the workdir of a training. Values keep their stored
    type, so porting the result back gives the same bits. Tensors that the Flax module has no place
    for hold what the PyTorch module starts with. Returns their number.

    Raises:
        UserError: `folder` holds nothing to export or is damaged, `out` is in use or cannot be
            written, or PyTorch is not installed.
    """
    if out.exists():
        raise UserError(f"{out} exists; choose another --out")
    require_torch("the export")
    with _open(folder, networks) as stored, new_folder(out.resolve()) as new:
        network, config = stored.network, stored.config
        try:
            target = target_shapes(nnx.eval_shape(lambda: network.make_model(config)))
            state_dict = network.make_torch(config).state_dict()
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise _no_card(folder, error) from error
        names = {name: tuple(w.shape) for name, w in state_dict.items()}
        steps = plan(names, network.rules(config), target)
        path_of = {name: path for path, copies in steps.sources.items() for name in copies}

        def read(name: str) -> np.ndarray:
            if name not in path_of:
                return state_dict[name].numpy()
            path = path_of[name]
            if (w := stored.read(path)).shape != target[path]:
                raise UserError(
                    f"{path} in {folder} is {list(w.shape)}, by the card it should be "
                    f"{list(target[path])}; convert again"
                )
            return steps.transforms[path].invert(w)

        types = {
            n: stored.dtype if n in path_of else str(state_dict[n].numpy().dtype) for n in names
        }
        write_safetensors(new / WEIGHTS_FILE, names, types, read, framework="pt")
        for name, data in stored.companions.items():
            (new / name).write_bytes(data)
    return len(names)


@contextmanager
def _open(folder: Path, networks: Mapping[str, Network]) -> Iterator[Stored]:
    if (folder / "checkpoints").is_dir() and not (folder / CARD_FILE).is_file():
        yield _checkpoint(folder, networks[NETWORK])
        return
    card = read_card(folder)
    try:
        network = networks[card.network]
        config = network.read_config(card.config)
    except (KeyError, TypeError, ValueError) as error:
        raise _no_card(folder, error) from error
    if card.dtype not in DTYPES:
        raise _no_card(folder, f"dtype {card.dtype}")
    files = [file for name in COMPANIONS if (file := folder / name).is_file()]
    companions = {file.name: file.read_bytes() for file in files}
    path = folder / WEIGHTS_FILE
    try:
        with safe_open(path, framework="numpy") as file:
            yield Stored(network, config, card.dtype, file.get_tensor, companions)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); convert again") from error


def _no_card(folder: Path, reason: Exception | str) -> UserError:
    return UserError(f"{folder / CARD_FILE} is not of this version ({reason!r}); convert again")


def _checkpoint(workdir: Path, network: Network) -> Stored:
    """The best checkpoint of a training, its pretrained parts included."""
    loaded = load_model(workdir)
    params = split_model(loaded.model)[1]
    text = json.dumps(portable_meta(loaded), indent=2, ensure_ascii=False)
    return Stored(
        network,
        loaded.model.config,
        "float32",
        lambda path: np.asarray(params[path.replace("/", ".")]),
        {CONFIG_FILE: text.encode() + b"\n"},
    )
