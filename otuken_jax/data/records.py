"""Records: one shape with its captions as msgpack with zstd blobs, in ArrayRecord files.

Distances are stored as int8 in steps of 8 voxels / 127 (truncated at 8 voxels), the band and its
chart as int8 in steps of 1 / 127. No pickle anywhere.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import msgpack
import numpy as np
import zstandard
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import Float, Int8

from otuken_jax.conventions import TRUNCATION_VOXELS, voxel_size
from otuken_jax.errors import UserError
from otuken_jax.json_files import read_json

SCHEMA_VERSION = 1
MANIFEST = "dataset.json"  # beside the record files of a data set
MANIFEST_FORM = {"schema": int, "splits": {str: {"count": int, "files": dict}}}
LEVELS = 127  # int8 steps on either side of zero

VOLUMES = ("sdf", "host_sdf", "band", "u", "v")
# Surface arrays on disk: the dtype and what 1.0 is stored as.
SURFACE = {
    "points": (np.dtype("<i2"), 32767),  # the domain in steps of 3e-5
    "normals": (np.dtype("<i2"), 32767),
    "colors": (np.dtype("u1"), 255),
}
REQUIRED = ("sdf", *SURFACE, "captions", "style_text", "has_chart")
OPTIONAL = ("host_sdf", "band", "u", "v", "recipe", "has_colors")


def distance_step(resolution: int) -> float:
    """Domain units that one int8 step of a stored distance stands for."""
    return TRUNCATION_VOXELS * voxel_size(resolution) / LEVELS


def quantize_distance(sdf: Float[np.ndarray, "r r r"]) -> Int8[np.ndarray, "r r r"]:
    """Signed distance in domain units to int8, truncated at 8 voxels of its own grid.

    What is inside stays inside: a surface that just misses cell centres would else lose a layer.
    """
    steps = quantize_unit(sdf / (LEVELS * distance_step(sdf.shape[0])))
    return np.where((steps == 0) & (sdf < 0), np.int8(-1), steps)


def quantize_unit(values: Float[np.ndarray, "*shape"]) -> Int8[np.ndarray, "*shape"]:
    """Values in [-1, 1] (band, u, v) to int8."""
    return np.clip(np.rint(values * LEVELS), -LEVELS, LEVELS).astype(np.int8)


def encode(example: Mapping[str, Any]) -> bytes:
    """One record from an example.

    Args:
        example: sdf int8 [R, R, R]; points, normals, colors float32 [N, 3]; captions (kind ->
            text); style_text (may be empty); has_chart; and, where known, host_sdf, band, u, v
            int8 [R, R, R], the recipe (plain types), and has_colors (False: the colours only fill
            the place).

    Raises:
        ValueError: an entry is missing, unknown, of another shape, or outside its range.
    """
    missing = [k for k in REQUIRED if k not in example]
    unknown = [k for k in example if k not in REQUIRED + OPTIONAL]
    if missing or unknown:
        raise ValueError(f"an example lacks {missing} and has unknown entries {unknown}")
    record: dict[str, Any] = {"schema": SCHEMA_VERSION}
    volume = example["sdf"].shape
    cloud = example["points"].shape
    for name, value in example.items():
        if name in VOLUMES:
            if value.dtype != np.int8 or value.shape != volume or len(set(volume)) != 1:
                raise ValueError(f"{name} is {value.dtype} {value.shape}, not int8 [R, R, R]")
            record[name] = {"shape": list(value.shape), "zstd": _compress(value)}
        elif name in SURFACE:
            dtype, one = SURFACE[name]
            low = 0.0 if dtype.kind == "u" else -1.0
            if value.shape != cloud or not (value.min() >= low - 1e-3 and value.max() <= 1 + 1e-3):
                raise ValueError(f"{name} {value.shape} is not [N, 3] within [{low}, 1]")
            stored = np.rint(np.clip(value, low, 1.0) * one).astype(dtype)
            record[name] = {"shape": list(value.shape), "zstd": _compress(stored)}
        else:
            record[name] = value
    return msgpack.packb(record)


def decode(data: bytes) -> dict[str, Any]:
    """The example of a record: what `encode` was given, in the precision it is stored with.

    Raises:
        UserError: the bytes are no record, are damaged, or come from a newer version.
    """
    try:
        record = msgpack.unpackb(data)
        version = record.pop("schema")
        if version <= SCHEMA_VERSION:
            return {name: _decode_entry(name, value) for name, value in record.items()}
    except (ValueError, KeyError, TypeError, AttributeError, zstandard.ZstdError) as error:
        raise UserError(
            f"a record is damaged ({type(error).__name__}: {error}); build the data again"
        ) from error
    raise UserError(
        f"a record has schema version {version}, this program reads up to {SCHEMA_VERSION}; "
        "update otuken_jax or build the data again"
    )


def _compress(array: np.ndarray) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(array.tobytes())


def _decompress(entry: Mapping[str, Any], dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(entry["shape"])) * dtype.itemsize
    data = zstandard.ZstdDecompressor().decompress(entry["zstd"], max_output_size=size)
    return np.frombuffer(data, dtype).reshape(entry["shape"])


def _decode_entry(name: str, value: Any) -> Any:
    if name in VOLUMES:
        return _decompress(value, np.dtype("i1"))
    if name in SURFACE:
        dtype, one = SURFACE[name]
        return _decompress(value, dtype).astype(np.float32) / np.float32(one)
    return value


def write_records(path: Path, records: Iterable[bytes]) -> int:
    """Writes an ArrayRecord file and returns how many records it holds.

    `path` appears only when the file is complete. What `records` raises goes through.

    Raises:
        UserError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    count = 0
    try:
        with _as_user_error(path):
            # One record a group for random access; they are compressed already.
            writer = ArrayRecordWriter(str(partial), "group_size:1,uncompressed")
        try:
            for record in records:
                with _as_user_error(path):
                    writer.write(record)
                count += 1
        finally:
            with _as_user_error(path):
                writer.close()
        with _as_user_error(path):
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return count


@contextlib.contextmanager
def _as_user_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot write {path} ({error}); free space or choose another") from error


def describe_file(path: Path) -> dict[str, Any]:
    """Size and sha256 of a record file, as the manifest holds them."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Writes `dataset.json`, which makes a folder of record files a data set."""
    partial = directory / f".{MANIFEST}.{os.getpid()}.partial"
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, directory / MANIFEST)
    except OSError as error:
        raise UserError(
            f"cannot write {directory / MANIFEST} ({error.strerror}); free space or choose another"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def read_manifest(directory: str | Path) -> dict[str, Any]:
    """The content of a folder's `dataset.json`: schema, arguments, splits.

    Raises:
        UserError: there is none, it is damaged, or it is of a newer version.
    """
    path = Path(directory) / MANIFEST
    if not path.is_file():
        raise UserError(f"no data set in {directory} (no {MANIFEST}); build or prepare one")
    manifest = read_json(path, MANIFEST_FORM, "remove the folder and build again")
    schema = manifest["schema"]
    if schema > SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema version {schema}, this program reads up to {SCHEMA_VERSION}; "
            "update otuken_jax or build the data again"
        )
    return manifest


class RecordSource:
    """A grain source: the decoded examples of some ArrayRecord files, by index."""

    def __init__(self, paths: Sequence[Path]):
        self.paths = list(paths)
        with self._readable():
            self._source = ArrayRecordDataSource([str(path) for path in self.paths])

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        return decode(self.raw(index))

    def raw(self, index: SupportsIndex) -> bytes:
        """A record as it is stored."""
        with self._readable():
            return self._source[index]

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            names = ", ".join(str(path) for path in self.paths)
            raise UserError(
                f"cannot read {names} ({error or 'damaged file'}); build the data again"
            ) from error
