"""Time of attention, forward and backward, by JAX's kernels and written out, with the difference.

    python benchmarks/attention.py

The shapes are those of the published encoders and samplers. `xla` is
`jax.nn.dot_product_attention`, which the networks call on accelerators, `written out` what they
call on the CPU. On a GPU cuDNN's fused kernel is a third, in bfloat16, where it takes the shape:
its backward pass wants even lengths. The difference is the largest of the output and of the
gradients to query, key and value, relative to the largest entry of each as written out in float32.
Times are medians of single calls, the kernels taking turns.
"""

import argparse
import datetime
import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from otuken_jax.models.attention import written_out

# Network: batch, queries, keys, heads, width of a head; a bias and a mask as in T5.
SHAPES = {
    "T5 v1.1 base": (8, 128, 128, 12, 64, True),
    "CLIP ViT-L/14": (8, 257, 257, 16, 64, False),
    "Point-E sdf": (8, 1024, 1024, 4, 64, False),
    "Point-E base40M": (2, 1281, 1281, 8, 64, False),
    "Point-E upsample": (1, 4353, 4353, 8, 64, False),
}


PLAIN = partial(written_out, scale=None, is_causal=False)


def with_kernel(name):
    return partial(jax.nn.dot_product_attention, implementation=name)


def inputs(batch, queries, keys, heads, width, biased, dtype):
    rng = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(rng.standard_normal(shape), dtype)  # noqa: E731
    q, out = (normal(batch, queries, heads, width) for _ in range(2))
    k, v = (normal(batch, keys, heads, width) for _ in range(2))
    bias = normal(1, heads, queries, keys) if biased else None
    mask = None
    if biased:
        lengths = rng.integers(keys // 4, keys + 1, batch)
        mask = jnp.asarray(np.arange(keys) < lengths[:, None])[:, None, None]
    return q, k, v, out, bias, mask


def forward_backward(attend):
    def run(q, k, v, out, bias, mask):
        y, vjp = jax.vjp(lambda q, k, v: attend(q, k, v, bias=bias, mask=mask), q, k, v)
        return y, *vjp(out)

    return jax.jit(run)


def difference(got, want) -> float:
    return max(
        float(jnp.abs(a.astype(jnp.float32) - b).max() / jnp.abs(b).max())
        for a, b in zip(got, want, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    device = jax.devices()[0]
    dtype = jnp.bfloat16 if device.platform == "gpu" else jnp.float32
    kernels = {"xla": with_kernel("xla"), "written out": PLAIN}
    print(f"{datetime.date.today()}, {device.device_kind}, {dtype.__name__}, jax {jax.__version__}")
    print("| network | batch x queries x heads x width | kernel | seconds | difference |")
    print("|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        with jax.default_matmul_precision("highest"):
            want = forward_backward(PLAIN)(*inputs(*shape, jnp.float32))
        given = inputs(*shape, dtype)
        fused = device.platform == "gpu" and shape[1] % 2 == shape[2] % 2 == 0
        able = kernels | ({"cudnn": with_kernel("cudnn")} if fused else {})
        steps = {kernel: forward_backward(attend) for kernel, attend in able.items()}
        differences = {kernel: difference(step(*given), want) for kernel, step in steps.items()}
        times = {kernel: [] for kernel in steps}
        for _ in range(arguments.repeats):
            for kernel, step in steps.items():
                start = time.perf_counter()
                jax.block_until_ready(step(*given))
                times[kernel].append(time.perf_counter() - start)
        for kernel, taken in times.items():
            size = " x ".join(map(str, (shape[0], shape[1], *shape[3:5])))
            row = f"{statistics.median(taken):.5f} | {differences[kernel]:.1e}"
            print(f"| {name} | {size} | {kernel} | {row} |", flush=True)


if __name__ == "__main__":
    main()
