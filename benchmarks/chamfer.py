"""Time and memory of the chamfer distance, value and gradients to both clouds, under jit.

    python benchmarks/chamfer.py

Points are normal, three coordinates, float32. Times are medians after one warm-up. Peak memory is
that of a whole process of its own, JAX and the compiler included.
"""

import datetime
import multiprocessing
import os
import platform
import re
import statistics
import time
from pathlib import Path

import jax
import numpy as np

from otuken_jax.losses.chamfer import chamfer_distance

SHAPES = ((8, 2048, 9), (1, 16384, 9), (1, 65536, 3))  # batch, points, repeats


def clouds(batch: int, points: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    shape = (2, batch, points, 3)
    x, y = rng.standard_normal(shape, dtype=np.float32)
    return jax.device_put(x), jax.device_put(y)


def value_and_gradients(x: jax.Array, y: jax.Array):
    return jax.value_and_grad(lambda x, y: chamfer_distance(x, y)[0], (0, 1))(x, y)


def seconds(batch: int, points: int, repeats: int) -> tuple[float, float]:
    """Median and smallest time of one call."""
    step, inputs, taken = jax.jit(value_and_gradients), clouds(batch, points), []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(step(*inputs))
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:]), min(taken[1:])


def _peak(batch: int, points: int) -> int:
    jax.block_until_ready(jax.jit(value_and_gradients)(*clouds(batch, points)))
    # Not ru_maxrss, which a new process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


def peak_memory(batch: int, points: int) -> int:
    """Peak resident bytes of a new process that makes one call (Linux)."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (batch, points))


def main() -> None:
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0))
    print(
        f"{datetime.date.today()}, {device.device_kind} ({device.platform}), {platform.machine()}, "
        f"{cores} cores, load {os.getloadavg()[0]:.1f}, jax {jax.__version__}"
    )
    print("| batch x points | median | best | peak memory |\n|---|---|---|---|")
    for batch, points, repeats in SHAPES:
        peak = peak_memory(batch, points)
        median, best = seconds(batch, points, repeats)
        print(
            f"| {batch} x {points:,} x {points:,} | {median:.4f} s | {best:.4f} s "
            f"| {peak / 2**20:.0f} MiB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
