"""What glibc's allocator does with freed memory; on other systems nothing here has an effect."""

import ctypes
import gc
import os

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of <malloc.h>
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """Makes freed memory stay in the process, for the next allocation of the same size.

    A compiled step on the CPU allocates some hundred MiB each time. glibc maps that anew, and the
    kernel clears it page by page: a seventh of the processor time of the quickstart.
    """
    mallopt = _libc("mallopt")
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
        mallopt(M_ARENA_MAX, 1)  # what one thread freed serves the others too


def release_freed_memory() -> None:
    """Gives freed memory back to the system.

    LLVM frees what it needed to compile in many small pieces: 0.8 GiB after one step of the
    quickstart.
    """
    gc.collect()
    trim = _libc("malloc_trim")
    if trim is not None:
        trim(0)


def _libc(name: str):
    """A function of the C library; None where there is none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
