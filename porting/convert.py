"""Converts one source to a folder of safetensors and a card, one tensor at a time."""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
from flax import nnx
from tqdm import tqdm

from otuken_jax.errors import UserError
from otuken_jax.models.weights import CARD_FILE, WEIGHTS_FILE, Card
from porting.download import record_file, sha256_of, write_atomically
from porting.registry import NETWORKS
from porting.rules import Network, PortError, Shape, plan, target_shapes
from porting.sources import (
    COMPANIONS,
    DamagedError,
    Source,
    locate,
    open_source,
    require_torch,
)
from porting.verify import Difference, compare_files

CONVERTER_VERSION = 1
DTYPES = ("float32", "bfloat16")
# Name in the card -> NumPy type, name in the header of safetensors
_TYPES = {
    "float32": (np.dtype(np.float32), "F32"),
    "bfloat16": (np.dtype(ml_dtypes.bfloat16), "BF16"),
    "int64": (np.dtype(np.int64), "I64"),  # counters of PyTorch modules, in exports alone
}


class DifferenceError(UserError):
    """The converted network differs from PyTorch by more than its tolerance."""


def convert(
    network: Network, source: str, out: Path, *, dtype: str = "float32", verify: bool = False
) -> tuple[Card, list[Difference]]:
    """Writes the converted `source` (file, folder or published name) to the folder `out`.

    Returns the card and, with `verify`, the differences from PyTorch on random input.

    Raises:
        UserError: the source cannot be read or does not fit, or `out` cannot be written. Whatever
            is raised, `out` is then as it was before.
        DifferenceError: `verify` finds a difference above tolerance.
    """
    out = out.resolve()
    _check_out(out)
    if verify:
        require_torch("--verify")
    path = locate(source, network)
    local = path == Path(source)
    label = path.name if local else source
    try:
        with open_source(path, label=label, state_dict_key=network.state_dict_key) as opened:
            return _convert_open(network, opened, out, dtype, verify)
    except PortError as error:
        raise UserError(f"{label} does not convert to {network.name}: {error}") from error
    except DamagedError as error:
        if local:
            raise
        # The hub's cache shows its files as links; the bytes lie elsewhere.
        raise UserError(
            f"{error}; it came damaged: delete {error.path.resolve()} and its line in "
            f"{record_file()}, then the same command fetches it anew"
        ) from error


def _convert_open(
    network: Network, source: Source, out: Path, dtype: str, verify: bool
) -> tuple[Card, list[Difference]]:
    _check_names(network, source.files)
    config = network.config_from_source(source.config_json, source.shapes)
    target = target_shapes(nnx.eval_shape(lambda: network.make_model(config)))
    steps = plan(source.shapes, network.rules(config), target)
    types = dict.fromkeys(target, dtype)
    with new_folder(out) as folder:
        sha256 = write_safetensors(
            folder / WEIGHTS_FILE, target, types, lambda path: steps.tensor(path, source.read)
        )
        card = Card(
            network=network.name,
            config=dataclasses.asdict(config),
            source=source.label,
            source_sha256={
                file.name: sha256_of(file) for file in [*source.files, *source.companions]
            },
            sha256=sha256,
            dtype=dtype,
            num_parameters=sum(math.prod(shape) for shape in target.values()),
            unused=list(steps.unused),
            converter_version=CONVERTER_VERSION,
        )
        text = json.dumps(dataclasses.asdict(card), indent=2, ensure_ascii=False)
        write_atomically(folder / CARD_FILE, text + "\n")
        for file in source.companions:
            shutil.copyfile(file, folder / file.name)
        differences = compare_files(network, config, source, folder) if verify else []
        if any(not d.within_tolerance for d in differences):
            listed = "; ".join(map(str, differences))
            raise DifferenceError(f"{network.name} differs from PyTorch: {listed}")
    return card, differences


def _check_out(out: Path) -> None:
    """Only a new or empty folder, or an earlier conversion and nothing else, may be replaced."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / CARD_FILE).is_file()):
        raise UserError(f"{out} exists and holds no converted weights; choose another --out")
    written = {WEIGHTS_FILE, CARD_FILE, *COMPANIONS}
    others = [
        path.name
        for path in (out.iterdir() if out.is_dir() else ())
        if path.is_dir() or path.name not in written
    ]
    if others:
        raise UserError(
            f"{out} holds more than converted weights, which would be lost: "
            f"{', '.join(sorted(others))}; move it away or choose another --out"
        )


def _check_names(network: Network, files: list[Path]) -> None:
    """No file may bear the published name of another network: some of those have equal shapes."""
    published = {
        url.rpartition("/")[2]: other.name
        for other in NETWORKS.values()
        if other.name != network.name
        for url in other.published.values()
    }
    for file in files:
        if other := published.get(file.name):
            raise UserError(
                f"{file} bears the published name of {other}, not of {network.name}: convert it "
                f"as {other}, or rename it if that is not what it holds"
            )


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `out` at the end, or vanishes on any error."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        try:
            yield temporary
            if out.exists():
                old = out.with_name(f".{out.name}.{os.getpid()}.old")
                out.rename(old)
                try:
                    temporary.rename(out)
                except BaseException:
                    old.rename(out)
                    raise
                shutil.rmtree(old)
            else:
                temporary.rename(out)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error}") from error


def write_safetensors(
    path: Path,
    shapes: Mapping[str, Shape],
    types: Mapping[str, str],
    read: Callable[[str], np.ndarray],
    *,
    framework: str = "flax",
) -> str:
    """Writes tensors one by one, so that no two are held at a time; returns the file's SHA-256."""
    header, end = {"__metadata__": {"format": framework}}, 0
    # Wide types first: safetensors wants every tensor aligned to its own type.
    order = sorted(shapes, key=lambda name: -_TYPES[types[name]][0].itemsize)
    for name in order:
        numpy_type, header_type = _TYPES[types[name]]
        begin, end = end, end + math.prod(shapes[name]) * numpy_type.itemsize
        header[name] = {"dtype": header_type, "shape": shapes[name], "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    sha256 = hashlib.sha256()
    with path.open("wb") as file:

        def write(data: bytes | memoryview) -> None:
            file.write(data)
            sha256.update(data)

        write(struct.pack("<Q", len(text)) + text)
        for name in tqdm(order, desc="writing", unit="tensor", disable=None):
            tensor = np.ascontiguousarray(read(name), dtype=_TYPES[types[name]][0])
            write(memoryview(tensor.reshape(-1).view(np.uint8)))
    return sha256.hexdigest()
