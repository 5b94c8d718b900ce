"""Several processes of one run: how they start, who writes, how they stop together."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils

from otuken_jax.errors import UserError
from otuken_jax.models.parameters import Params


def initialize(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins the run's other processes; call it before anything uses a device.

    On Cloud TPU, Slurm and Open MPI no argument is needed.

    Raises:
        UserError: the others cannot be found, or did not come.
    """
    jax.config.update("jax_enable_preemption_service", True)
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the processes of this run did not come together ({reason}); outside Cloud TPU, Slurm "
            "and Open MPI give --coordinator HOST:PORT, --num-processes and --process-id to each"
        ) from error


def is_primary() -> bool:
    """Whether this process is the one that writes logs and data."""
    return jax.process_index() == 0


def wait_for_all(what: str) -> None:
    """Returns when every process has reached the place named `what`."""
    multihost_utils.sync_global_devices(what)


@contextlib.contextmanager
def handling_stop(handler: Callable[[str], None]) -> Iterator[None]:
    """Calls `handler` with the signal's name on SIGTERM and on Ctrl-C, in a run of one process.

    After that another Ctrl-C is a KeyboardInterrupt, as ever. Several processes must stop after the
    same step: JAX's preemption service sees to that, on SIGTERM alone, `stop_requested`.
    """
    if jax.process_count() > 1:
        yield
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, previous[signal.SIGINT])
        handler(signal.Signals(number).name)

    try:
        for number, before in previous.items():
            if before is not signal.SIG_IGN:  # as Ctrl-C is in a script's background
                signal.signal(number, handle)
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def stop_requested(step: int) -> bool:
    """Whether some process got SIGTERM; every process hears it after the same step."""
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)


def local_params(params: Params) -> Params:
    """The parameters as arrays of this process alone; all processes must call it."""
    if jax.process_count() == 1:
        return params
    return multihost_utils.process_allgather(params, tiled=True)
