"""Writes converted weights back under their PyTorch names."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from flax import nnx
from safetensors import safe_open

from otuken_jax.errors import UserError
from otuken_jax.models.weights import WEIGHTS_FILE, read_card
from porting.convert import new_folder, write_safetensors
from porting.rules import Network, plan, target_shapes
from porting.sources import COMPANIONS


def export(folder: Path, out: Path, networks: Mapping[str, Network]) -> int:
    """Writes `out/model.safetensors`, which the PyTorch module loads with `strict=True`.

    Values keep their stored type, so porting the result back gives the same bits. Tensors that the
    Flax module has no place for hold what the PyTorch module starts with. Returns their number.

    Raises:
        UserError: `folder` holds no converted network, or `out` is in use or cannot be written.
    """
    if out.exists():
        raise UserError(f"{out} exists; choose another --out")
    card = read_card(folder)
    network = networks[card.network]
    config = next(type(c) for c in network.configs.values())(**card.config)
    module = network.make_torch(config)
    state_dict = module.state_dict()
    target = target_shapes(nnx.eval_shape(lambda: network.make_model(config)))
    names = {name: tuple(w.shape) for name, w in state_dict.items()}
    steps = plan(names, network.rules(config), target)
    path_of = {name: path for path, copies in steps.sources.items() for name in copies}
    with (
        safe_open(folder / WEIGHTS_FILE, framework="numpy") as file,
        new_folder(out.resolve()) as new,
    ):

        def read(name: str) -> np.ndarray:
            if name not in path_of:
                return state_dict[name].numpy()
            return steps.transforms[path_of[name]].invert(file.get_tensor(path_of[name]))

        types = {n: card.dtype if n in path_of else str(state_dict[n].numpy().dtype) for n in names}
        write_safetensors(new / WEIGHTS_FILE, names, types, read, framework="pt")
        for name in COMPANIONS:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, new / name)
    return len(names)
