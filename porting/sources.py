"""Source files of the converter, read one tensor at a time: safetensors, sharded, .bin and .pt."""

import contextlib
import dataclasses
import importlib.util
import json
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from otuken_jax.errors import UserError
from porting.download import HUB_FILES, download, download_snapshot
from porting.rules import Network, Shape

# Files that travel with the weights, so that the converted folder serves as tokenizer too.
COMPANIONS = [name for name in HUB_FILES if "safetensors" not in name]
INDEX = ".safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth")
# What NumPy's scalars are pickled as: training checkpoints keep accuracies beside the weights. The
# function that makes one is stored under its module's name before NumPy 2 or after.
_MAKE_SCALAR = np.float64(0).__reduce__()[0]
_SCALARS = [
    *((_MAKE_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *(type(np.dtype(name)) for name in ("?", "i4", "i8", "f4", "f8")),
]


class DamagedError(UserError):
    """A file of weights cannot be read."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def require_torch(what: str) -> None:
    """UserError if PyTorch, which the `port` extra brings, is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise UserError(f"{what} needs PyTorch: pip install 'otuken_jax[port]'")


@dataclasses.dataclass(frozen=True)
class Source:
    """Tensors by name, read on demand, and the files that they come from."""

    label: str
    shapes: Mapping[str, Shape]
    read: Callable[[str], np.ndarray]
    files: list[Path]
    config_json: Mapping[str, Any] | None
    companions: list[Path]


def locate(name: str, network: Network) -> Path:
    """The local file or folder of SOURCE, downloaded where it is a published name.

    Raises:
        UserError: there is no such file and no such published name, or PyTorch is to read it and
            is not there.
    """
    if Path(name).exists():
        return Path(name)
    if (short := name.removeprefix("point-e/")) in network.published:
        url = network.published[short]
        if url.endswith(PICKLES):
            require_torch(f"reading {url.rpartition('/')[2]}")
        return download(url)
    if network.hub and re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", name):
        return download_snapshot(name)
    known = ", ".join(network.published) or "OWNER/NAME on the Hugging Face hub"
    raise UserError(f"{name} is no file, folder or published name of {network.name} ({known})")


@contextlib.contextmanager
def open_source(path: Path, *, label: str, state_dict_key: str | None = None) -> Iterator[Source]:
    """Opens a file, or the one set of weights in a folder.

    Raises:
        UserError: nothing readable is there; also while reading a tensor.
    """
    path = _weights_in(path) if path.is_dir() else path
    companions = [file for name in COMPANIONS if (file := path.parent / name).is_file()]
    config = path.parent / "config.json"
    with contextlib.ExitStack() as stack:
        if path.name.endswith(INDEX):
            files = _shards(path)
            shapes, read = _open_safetensors(files, stack)
            files = [path, *files]
        elif path.suffix == ".safetensors":
            files = [path]
            shapes, read = _open_safetensors(files, stack)
        elif path.suffix in PICKLES:
            files = [path]
            shapes, read = _open_pickle(path, state_dict_key)
        else:
            raise UserError(f"{path} is none of .safetensors, *{INDEX}, {', '.join(PICKLES)}")
        yield Source(label, shapes, read, files, _read_json(config), companions)


def _weights_in(folder: Path) -> Path:
    for pattern in ("model.safetensors", f"*{INDEX}", "*.safetensors", *(f"*{s}" for s in PICKLES)):
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            names = ", ".join(file.name for file in found)
            raise UserError(
                f"{folder} holds several weight files ({names}); give the one to convert"
            )
        if found:
            return found[0]
    raise UserError(f"{folder} holds no weights (.safetensors, .bin or .pt)")


def _read_json(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object")
    return value


def _shards(index: Path) -> list[Path]:
    """The files that an index names, which must all be there."""
    weight_map = (_read_json(index) or {}).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{index} has no weight_map")
    if odd := [name for name, file in weight_map.items() if not isinstance(file, str)]:
        raise UserError(f"{index} gives no file for {', '.join(odd)}")
    files = [index.parent / name for name in sorted(set(weight_map.values()))]
    missing = [file.name for file in files if file.parent != index.parent or not file.is_file()]
    if missing:
        raise UserError(f"{index} names shards that are not beside it: {', '.join(missing)}")
    return files


def _open_safetensors(files: list[Path], stack: contextlib.ExitStack):
    """Shapes and reader over one or more safetensors files."""
    holder = {}
    for path in files:
        try:
            file = stack.enter_context(safe_open(path, framework="numpy"))
        except (SafetensorError, OSError) as error:
            message = f"{path} is truncated or no safetensors file: {error}"
            raise DamagedError(path, message) from error
        for name in file.keys():  # noqa: SIM118 (a safetensors file, not a dict)
            if name in holder:
                raise UserError(f"{path} repeats the tensor {name} of another shard")
            holder[name] = file
    shapes = {name: tuple(file.get_slice(name).get_shape()) for name, file in holder.items()}
    return shapes, lambda name: holder[name].get_tensor(name)


def _open_pickle(path: Path, state_dict_key: str | None):
    """Shapes and reader of a state dict saved by torch; nothing but values is ever unpickled."""
    require_torch(f"reading {path.name}")
    import torch

    try:
        # Files in the format before torch 1.6 cannot be mapped and are read whole.
        mapped = zipfile.is_zipfile(path)
        with torch.serialization.safe_globals(_SCALARS):
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise DamagedError(
            path,
            f"{path} is refused: it is truncated, or holds more than tensors, and running code "
            f"from it would not be safe ({_reason(error)})",
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        message = f"{path} is truncated or no PyTorch file: {_reason(error)}"
        raise DamagedError(path, message) from error
    if state_dict_key is not None and isinstance(loaded, dict) and state_dict_key in loaded:
        loaded = loaded[state_dict_key]
    if not isinstance(loaded, dict) or not all(
        isinstance(w, torch.Tensor) for w in loaded.values()
    ):
        raise UserError(f"{path} holds no plain state dict (names to tensors)")

    def read(name: str) -> np.ndarray:
        tensor = loaded[name].detach()
        if tensor.dtype == torch.bfloat16:
            return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return tensor.numpy()

    return {name: tuple(w.shape) for name, w in loaded.items()}, read


def _reason(error: Exception) -> str:
    """What went wrong in one sentence, without torch's advice on how to load anyway."""
    found = re.search(r"[Uu]nsupported [^\n]*", str(error))
    text = found.group() if found else str(error).strip()
    return re.split(r"\n|\. ", f"{type(error).__name__}: {text}")[0].rstrip(".: ")
