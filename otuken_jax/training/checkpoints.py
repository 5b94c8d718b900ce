"""Orbax checkpoints: written whole, verified by checksum, newest and best kept.

A checkpoint of step N is the folder `N` with the items model, opt, data (a grain iterator) and meta
(JSON). Beside it, `checksums/N.json` holds the sha256 of each of its files.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from otuken_jax.errors import UserError
from otuken_jax.geometry.mesh_io import write_atomic
from otuken_jax.models.parameters import Params
from otuken_jax.training.orbax_errors import os_error, without_tracebacks

logger = logging.getLogger(__name__)
STAGE_RANK = 1e6  # a later stage beats any loss of an earlier one
ITEMS_FILE = "_CHECKPOINT_METADATA"  # where Orbax says which items a checkpoint has
TEMPORARY = ".orbax-checkpoint-tmp"  # ends the name of a checkpoint that Orbax is writing


class CorruptCheckpoint(Exception):
    """Files of a checkpoint are missing, unreadable or not those that were written."""


@dataclass(frozen=True)
class Restored:
    """Contents of one checkpoint; `opt_state` None if only the model was asked for."""

    step: int
    params: Params
    opt_state: Any
    meta: dict[str, Any]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_meta(root: Path) -> dict[str, Any]:
    """The meta item of a checkpoint's folder; CorruptCheckpoint if it cannot be read."""
    try:
        meta = json.loads((root / "meta" / "metadata").read_bytes())
    except (OSError, ValueError) as error:  # ValueError: cut short, or no text at all
        raise CorruptCheckpoint(f"its meta cannot be read: {error}") from error
    if not isinstance(meta, dict):
        raise CorruptCheckpoint(f"{root / 'meta'} is damaged")
    return meta


def _rank(metrics: dict[str, int | float]) -> float:
    return metrics["loss"] - STAGE_RANK * metrics["stage"]


def _set_aside_broken(directory: Path) -> None:
    """Renames what Orbax stumbles over: it reads all metrics as it opens the folder, and saves to
    no name that a file has.

    Raises:
        UserError: the folder cannot be changed.
    """
    broken = [path for path in directory.glob("*") if path.name.isdigit() and path.is_file()]
    for path in directory.glob("*/metrics/metrics"):
        try:
            _rank(json.loads(path.read_bytes()))
        except (ValueError, KeyError, TypeError):
            broken.append(path.parent)
    for path in broken:
        aside = path.with_name(f"{path.name}.broken")  # it then counts as missing
        try:
            path.rename(aside)
        except OSError as error:
            step = path.relative_to(directory).parts[0]
            raise UserError(
                f"{path} is damaged and cannot be renamed ({error.strerror}); remove the "
                f"checkpoint {directory / step}"
            ) from error
        logger.warning("%s is damaged and now called %s", path, aside.name)


def _try_items(root: Path) -> None:
    """Reads a checkpoint that no checksum vouches for; CorruptCheckpoint if it is not whole.

    Arrays become NumPy arrays, so that it does not matter on which devices they were.
    """
    try:
        items = json.loads((root / ITEMS_FILE).read_bytes())["item_handlers"]
        missing = [name for name in items if not any((root / name).glob("*"))]
        for path in (root / "data").glob("*.json"):  # one of each process
            json.loads(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptCheckpoint(f"its small files cannot be read: {error}") from error
    if missing:
        raise CorruptCheckpoint(f"{root / missing[0]} is missing")
    reader = ocp.PyTreeCheckpointer()
    with without_tracebacks():
        for item in ("model", "opt"):
            try:
                tree = reader.metadata(root / item).item_metadata.tree
                args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
                reader.restore(root / item, restore_args=args)
            except Exception as error:  # Orbax and TensorStore have many for damaged files
                raise CorruptCheckpoint(f"{root / item} cannot be read") from error


class Checkpoints:
    """The checkpoints of one training run."""

    def __init__(self, directory: str | os.PathLike) -> None:
        self.directory = Path(directory).absolute()
        _set_aside_broken(self.directory)
        policy = preservation_policy.AnyPreservationPolicy(
            [
                preservation_policy.LatestN(2),
                preservation_policy.BestN(get_metric_fn=_rank, reverse=True, n=1),
            ]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy,
            best_fn=_rank,
            best_mode="min",
            enable_async_checkpointing=False,  # the checksums need the finished files
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def steps(self) -> list[int]:
        """Steps of the checkpoints present, oldest first."""
        return sorted(self._manager.all_steps())

    def save(
        self,
        step: int,
        params: Params,
        opt_state: Any,
        meta: dict[str, Any],
        *,
        stage: int,
        loss: float,
        data_iterator: Any = None,
    ) -> None:
        """Writes a checkpoint; (stage, loss) rank it.

        Raises:
            UserError: the disk is full or the folder cannot be written; nothing half-written stays.
        """
        items = {
            "model": ocp.args.StandardSave(params),
            "opt": ocp.args.StandardSave(opt_state),
            "meta": ocp.args.JsonSave(meta | {"saved": sorted(params)}),
        }
        if data_iterator is not None:
            from grain.checkpoint import CheckpointSave  # 2 s of imports that generation spares

            items["data"] = CheckpointSave(data_iterator)
        with without_tracebacks():
            try:
                if step in self.steps():  # broken, and trained again from an older one
                    self._listing(step).unlink(missing_ok=True)
                    self._manager.delete(step)
                self._manager.save(
                    step,
                    args=ocp.args.Composite(**items),
                    metrics={"stage": stage, "loss": loss},
                    force=True,
                )
                self._manager.wait_until_finished()
                if jax.process_index() == 0:
                    self._write_checksums(step)
            except Exception as error:
                code = os_error(error)
                if code is None:
                    raise
                self.remove_unfinished()
                raise UserError(
                    f"the checkpoint of step {step} could not be written to {self.directory} "
                    f"({os.strerror(code)}); free space or choose another --workdir"
                ) from error

    def remove_unfinished(self) -> None:
        """Removes what a failed or killed save left; nobody else may be writing."""
        for _ in range(50):
            left = list(self.directory.glob(f"*{TEMPORARY}"))
            if not left:
                return
            time.sleep(0.1)  # a failed save's other writes may be under way, and make it again
            for path in left:
                shutil.rmtree(path, ignore_errors=True)

    def _write_checksums(self, step: int) -> None:
        root = self.directory / str(step)
        files = sorted(p for p in root.rglob("*") if p.is_file())
        folder = self.directory / "checksums"
        folder.mkdir(exist_ok=True)
        digests = {str(p.relative_to(root)): _sha256(p) for p in files}
        write_atomic(folder / f"{step}.json", json.dumps(digests).encode())
        kept = {f"{s}.json" for s in self.steps()}
        for old in folder.glob("*.json"):
            if old.name not in kept:
                old.unlink()

    def _listing(self, step: int) -> Path:
        return self.directory / "checksums" / f"{step}.json"

    def verify(self, step: int) -> None:
        """Raises CorruptCheckpoint unless every file is the one that was written."""
        root = self.directory / str(step)
        listing = self._listing(step)
        if not listing.is_file():
            return  # killed between the two; `_first_good` then reads all of it
        try:
            digests = json.loads(listing.read_bytes())
        except ValueError as error:
            raise CorruptCheckpoint(f"{listing} is damaged") from error
        if not isinstance(digests, dict):
            raise CorruptCheckpoint(f"{listing} is damaged")
        for name, digest in digests.items():
            path = root / name
            if not path.is_file():
                raise CorruptCheckpoint(f"{path} is missing")
            if _sha256(path) != digest:
                raise CorruptCheckpoint(f"{path} has changed since it was written")

    def read_meta(self, step: int) -> dict[str, Any]:
        """The meta item alone; CorruptCheckpoint if it cannot be read."""
        try:
            self.verify(step)
            return _read_meta(self.directory / str(step))
        except OSError as error:
            raise CorruptCheckpoint(str(error)) from error

    def restore(
        self, step: int, params: Params, opt_state: Any = None, *, data_iterator: Any = None
    ) -> Restored:
        """Reads a checkpoint into arrays of the shapes and shardings of `params` and `opt_state`.

        Raises:
            UserError: its arrays have other names or shapes: another version's model.
            CorruptCheckpoint: it cannot be read.
        """
        meta = self.read_meta(step)
        items = {"model": ocp.args.StandardRestore(params)}
        if opt_state is not None:
            items["opt"] = ocp.args.StandardRestore(opt_state)
        if data_iterator is not None:
            from grain.checkpoint import CheckpointRestore

            items["data"] = CheckpointRestore(data_iterator)
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        except OSError as error:
            raise CorruptCheckpoint(str(error)) from error
        except ValueError as error:
            if os_error(error) is not None:
                raise CorruptCheckpoint(str(error)) from error
            raise UserError(
                f"checkpoint {step} in {self.directory} does not fit this version's model "
                f"({str(error).splitlines()[0][:120]}); use the version that wrote it or train "
                "again"
            ) from error
        return Restored(step, restored["model"], restored.get("opt"), meta)

    def newest_good(self) -> int | None:
        """The newest step whose files are whole, with a warning for each broken one; None if new.

        Raises:
            UserError: checkpoints are there, but every one is broken.
        """
        return self._first_good(self.steps()[::-1])

    def best_good(self) -> int | None:
        """Like `newest_good`, from the best on, then newest first."""
        steps = self.steps()[::-1]
        best = self._manager.best_step()
        return self._first_good([s for s in dict.fromkeys([best, *steps]) if s is not None])

    def _first_good(self, candidates: list[int]) -> int | None:
        for step in candidates:
            try:
                self.read_meta(step)
                if not self._listing(step).is_file():
                    _try_items(self.directory / str(step))
                return step
            except CorruptCheckpoint as error:
                logger.warning("checkpoint %d is broken (%s); trying another", step, error)
        if candidates:
            raise UserError(
                f"every checkpoint in {self.directory} is broken; restore one from a backup or "
                "train into a new --workdir"
            )
        return None

    def close(self) -> None:
        self._manager.close()


def config_sha256(directory: Path) -> str | None:
    """Of which configuration the newest readable checkpoint is; None if none says it."""
    steps = sorted((p for p in directory.glob("*") if p.name.isdigit()), key=lambda p: int(p.name))
    for root in steps[::-1]:
        with contextlib.suppress(CorruptCheckpoint):
            return _read_meta(root).get("config_sha256")
    return None
