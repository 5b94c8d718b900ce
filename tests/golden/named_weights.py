"""Deterministic named arrays: regenerate every weight and every large input
used by the golden files, from nothing but a name and a shape.

Only NumPy is needed.  All results are float32 (num_batches_tracked: int64).
`name` is the PyTorch state_dict key and `shape` the PyTorch shape, that is
(out, in) for a linear layer and (out, in, 1, 1) for a 1x1 convolution.
Transpose AFTER generating when your layout differs.
"""

import math
import zlib

import numpy as np

# Keys whose values come from the published config, not from this rule.
CONFIG_BUFFERS = ("channel_scales", "channel_biases")


def _rng(name):
    return np.random.default_rng(zlib.crc32(name.encode("utf-8")))


def named_weight(name, shape):
    """Value of the state_dict entry `name` with (torch) shape `shape`."""
    shape = tuple(int(s) for s in shape)
    leaf = name.rsplit(".", 1)[-1]
    if leaf in CONFIG_BUFFERS:
        raise KeyError(f"{name} keeps its config value; do not generate it")
    if leaf == "num_batches_tracked":
        return np.zeros(shape, dtype=np.int64)
    z = np.asarray(_rng(name).standard_normal(shape, dtype=np.float32), dtype=np.float32)
    if leaf == "running_mean":
        return z * np.float32(0.02)
    if leaf == "running_var":
        return np.float32(1.0) + np.float32(0.1) * np.abs(z)
    if name.endswith("bias"):
        return z * np.float32(0.02)
    if len(shape) >= 2:
        fan_in = int(np.prod(shape[1:]))
        return z * np.float32(1.0 / math.sqrt(fan_in))
    if len(shape) == 1 and name.endswith("weight"):
        return np.float32(1.0) + np.float32(0.02) * z
    raise KeyError(f"no rule for {name} {shape}")


def named_state_dict(entries):
    """entries: iterable of (name, shape) -> dict name -> array, skipping the
    config buffers and anything under 'clip.'."""
    out = {}
    for name, shape in entries:
        if name.startswith("clip.") or name.rsplit(".", 1)[-1] in CONFIG_BUFFERS:
            continue
        out[name] = named_weight(name, shape)
    return out


def named_input(tag, shape):
    """Standard-normal float32 input identified by a text tag (used only for
    the inputs that are too large to store)."""
    return np.asarray(_rng(tag).standard_normal(tuple(shape), dtype=np.float32), dtype=np.float32)


def probe(array, n=8):
    """First n values plus mean and std in float64: a cheap check that two
    machines generated the same array."""
    a = np.asarray(array)
    f = a.reshape(-1).astype(np.float64)
    return {"first": [float(v) for v in f[:n]], "mean": float(f.mean()), "std": float(f.std())}
