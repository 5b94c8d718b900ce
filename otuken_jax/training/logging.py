"""Training records: TensorBoard through tensorboardX, and the same scalars in metrics.jsonl."""

import json
import math
import time
from pathlib import Path

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from otuken_jax.errors import UserError
from otuken_jax.geometry.mesh_io import write_atomic


class NonFiniteLoss(UserError):
    """A loss term became infinite or NaN; the message names step, term and last good checkpoint."""


def check_finite(
    step: int, values: dict[str, float], good: Path | None, *, validation: bool = False
) -> None:
    """NonFiniteLoss if one of the step's values is not finite; `good` is the last checkpoint."""
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        # A term tells more than the sum and the gradients that follow from it.
        terms = [name for name in bad if name.startswith(("loss/", "surface/"))] or bad
        where = f"step {step}, validation" if validation else f"step {step}"
        raise NonFiniteLoss(
            f"{where}: {', '.join(f'{name} is {values[name]}' for name in terms)}; the last "
            f"good checkpoint: {good or 'none was saved yet'}. Lower optim.learning_rate or look "
            f"at the data of this {'validation' if validation else 'step'}"
        )


def make_folder(path: Path) -> None:
    """Makes a folder of a run, and those above it.

    Raises:
        UserError: it cannot be made, such as where a file has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder {path} cannot be made ({(error.strerror or str(error)).lower()}); "
            "choose another --workdir"
        ) from error


class MetricsLog:
    """Writes scalars, pictures and meshes of one run; a resumed run appends.

    Scalars of steps after `resume_step` are dropped first: the resumed run will write them again.

    Raises:
        UserError: its files cannot be written, or something else has the name of one.
    """

    def __init__(self, workdir: str | Path, *, resume_step: int | None = None) -> None:
        self.path = Path(workdir) / "metrics.jsonl"
        folder = Path(workdir) / "tensorboard"
        make_folder(folder)
        if resume_step is not None:
            self._truncate(resume_step)
        # Not SummaryWriter, which writes from a thread behind a queue: where the disk is full the
        # thread ends with a traceback, and the training stands still at the next full queue.
        self._writer = EventsWriter(str(folder / "events"))
        if resume_step is not None:  # TensorBoard then hides later ones of earlier files
            start = SessionLog(status=SessionLog.START)
            self._event(Event(step=resume_step + 1, session_log=start))

    def _event(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _truncate(self, step: int) -> None:
        data = self.path.read_bytes() if self.path.is_file() else b""
        lines, kept = data.splitlines(), []
        for number, line in enumerate(lines, start=1):
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + b"\n")
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines) and line[:1] == b"{" and data[-1:] != b"\n":
                    break  # it was being written when the process was killed
                raise UserError(
                    f"line {number} of {self.path} is no record of a training; repair the file "
                    "or move it away"
                ) from error
        write_atomic(self.path, b"".join(kept))

    def scalars(self, step: int, values: dict[str, float], *, split: str = "train") -> None:
        """One line of metrics.jsonl, and one TensorBoard scalar each."""
        record = {"step": step, "split": split, "time": round(time.time(), 3)}
        record |= {name: float(value) for name, value in values.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        scalars = [summary.scalar(f"{split}/{n}", float(x)).value[0] for n, x in values.items()]
        self._event(Event(step=step, summary=Summary(value=scalars)))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """`image` [h, w, 3] uint8."""
        self._event(Event(step=step, summary=summary.image(name, image, dataformats="HWC")))

    def mesh(
        self, step: int, name: str, vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray
    ) -> None:
        """`vertices` [n, 3], `faces` [m, 3], `colors` [n, 3] uint8."""
        mesh = summary.mesh(name, vertices[None], colors[None], faces[None])
        self._event(Event(step=step, summary=mesh))
