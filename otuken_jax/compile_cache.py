"""XLA's compiled programs: kept between runs, and the memory that compiling them leaves."""

import ctypes
import gc
import os
from pathlib import Path

import jax


def enable_compile_cache() -> Path:
    """Keeps compiled programs in $XDG_CACHE_HOME/otuken_jax (or ~/.cache) unless JAX is told where.

    The first generation with a model compiles for some seconds; later ones read the result.
    """
    if jax.config.jax_compilation_cache_dir is None:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(root / "otuken_jax" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return Path(jax.config.jax_compilation_cache_dir)


def release_compile_memory() -> None:
    """Gives memory that a compilation freed back to the system.

    LLVM frees it in many small pieces, which glibc keeps: 0.8 GiB after one step of the quickstart.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
