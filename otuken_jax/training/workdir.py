"""The folder of a run: its log, its checkpoints, and what each of them says about the run."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from otuken_jax.errors import UserError
from otuken_jax.models.otuken3d import Otuken3DModel
from otuken_jax.models.parameters import Params
from otuken_jax.training import processes
from otuken_jax.training.checkpoints import Checkpoints, Restored
from otuken_jax.training.loading import check_same_model
from otuken_jax.training.logging import MetricsLog, make_folder
from otuken_jax.training.optimizer import EarlyStopping, Plateau


@dataclasses.dataclass
class Progress:
    """Where a run stands; goes into every checkpoint."""

    stage: int = 0
    epoch: int = 0  # of the stage
    epoch_step: int = 0  # batches of the epoch already trained on
    stage_step: int = 0  # steps of the stage so far
    plateau: Plateau | None = None
    early_stopping: EarlyStopping | None = None
    finished: bool = False

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Progress":
        parts = {"plateau": Plateau(**values["plateau"])}
        parts["early_stopping"] = EarlyStopping(**values["early_stopping"])
        return cls(**values | parts)


class Workdir:
    """The open folder of one run; made if it is not there.

    `newest` is the step of the newest good checkpoint, None before the first. `log` is None in all
    processes but one.

    Raises:
        UserError: it cannot be written, or its checkpoints are all broken.
    """

    def __init__(self, directory: Path) -> None:
        make_folder(directory / "checkpoints")
        self._checkpoints = Checkpoints(directory / "checkpoints")
        self.newest = self._checkpoints.newest_good()
        self.log = None
        if processes.is_primary():
            self._checkpoints.remove_unfinished()
            # Without a checkpoint the run starts anew: what an earlier start logged goes.
            self.log = MetricsLog(directory, resume_step=self.newest or 0)

    @property
    def newest_path(self) -> Path | None:
        """The folder of the newest good checkpoint."""
        return None if self.newest is None else self._checkpoints.directory / str(self.newest)

    def read_progress(self, model: Otuken3DModel) -> Progress:
        """Where the newest checkpoint stands; brings the model to its resolution.

        Raises:
            UserError: the checkpoint is of a model of other sizes, or of a later stage.
        """
        meta = self._checkpoints.read_meta(self.newest)
        check_same_model(meta, model.config)
        if meta["voxel_size"] > model.voxel_size:
            raise UserError(
                f"{self.newest_path} has grown to {meta['voxel_size']}^3 and the model is set to "
                f"{model.voxel_size}^3; set_voxel_size({meta['voxel_size']}) goes on, or choose "
                "another workdir"
            )
        model.set_voxel_size(meta["voxel_size"])
        return Progress.from_dict(meta["progress"])

    def restore(self, params: Params, opt_state: Any, iterator: Iterator) -> Restored:
        """The newest checkpoint, placed like these arrays; sets a grain iterator's position."""
        return self._checkpoints.restore(
            self.newest, _abstract(params), _abstract(opt_state), data_iterator=_position(iterator)
        )

    def save(
        self,
        step: int,
        params: Params,
        opt_state: Any,
        iterator: Iterator,
        *,
        model: Otuken3DModel,
        progress: Progress,
        loss: float,
        meta: dict[str, Any],
    ) -> None:
        """Writes a checkpoint. `params` lack frozen pretrained weights: the model names these.

        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        meta = meta | {
            "step": step,
            "voxel_size": model.voxel_size,
            "model": dataclasses.asdict(model.config),
            "pretrained": [list(p) for p in model.pretrained],
            "progress": progress.to_dict(),
        }
        self._checkpoints.save(
            step,
            params,
            opt_state,
            meta,
            stage=progress.stage,
            loss=loss,
            data_iterator=_position(iterator),
        )
        self.newest = step

    def close(self) -> None:
        if self.log is not None:
            self.log.close()
        self._checkpoints.close()


def is_resumable(iterator: Iterator) -> bool:
    """Whether it is a grain iterator, whose position a checkpoint can hold."""
    return hasattr(iterator, "get_state")


def _position(iterator: Iterator) -> Iterator | None:
    return iterator if is_resumable(iterator) else None


def _abstract(tree: Any) -> Any:
    """Shapes, dtypes and shardings in place of arrays."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)
