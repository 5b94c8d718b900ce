"""A failing disk as Orbax and TensorStore report it: the system's error, and nothing said twice."""

import contextlib
import logging
import re
import sys
import time
from collections.abc import Iterator


def os_error(error: BaseException) -> int | None:
    """The system's error code behind an exception; TensorStore raises its own, as a ValueError."""
    if isinstance(error, OSError):
        return error.errno
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return int(code[1]) if code else None


def _is_reported(error: BaseException | None) -> bool:
    """Whether an error came of a failed save or read, which itself reports the first of them.

    The ends of other writes then find the event loop closed.
    """
    if error is None:
        return False
    return os_error(error) is not None or str(error) == "Event loop is closed"


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and _is_reported(record.exc_info[1]))


@contextlib.contextmanager
def without_tracebacks() -> Iterator[None]:
    """Orbax logs what it raises, and TensorStore's threads print what they could not deliver.

    asyncio logs what nobody awaited, when it is collected: at times as the process ends.
    """
    absl = logging.getLogger("absl")
    level, hook = absl.level, sys.unraisablehook

    def told(unraisable) -> None:
        if not _is_reported(unraisable.exc_value):
            hook(unraisable)

    absl.setLevel(logging.CRITICAL)
    sys.unraisablehook = told
    try:
        yield
    except Exception:
        logging.getLogger("asyncio").addFilter(_is_news)
        time.sleep(0.5)  # the other reads or writes end a little later
        raise
    finally:
        absl.setLevel(level)
        sys.unraisablehook = hook
