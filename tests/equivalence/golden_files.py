"""Reads the golden files and makes the weights that their outputs belong to.

What no test reads: `layer_names` and `layer_stats` (for finding a fault; outputs and gradients are
compared whole), `sqdist` (our ball query forms it inside, and its indices are equal), and
`t_before_truncation_float64sigma` (the arithmetic of NumPy 1, which the reference did not run).
"""

import functools
import json
import sys
from pathlib import Path

import jax
import numpy as np

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
sys.path.insert(0, str(GOLDEN))

from named_weights import named_input, named_state_dict, probe  # noqa: E402

from otuken_jax.models.point_e import CHANNEL_BIASES, CHANNEL_SCALES  # noqa: E402

__all__ = [
    "GOLDEN",
    "channels_last",
    "jit",
    "load",
    "manifest",
    "named_input",
    "probe",
    "state_dict",
]

# Tests run each program a few times only, so half their time would be LLVM's optimisation.
jit = functools.partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
)


def load(path: str) -> dict[str, np.ndarray]:
    """All arrays of one .npz file."""
    with np.load(GOLDEN / path) as file:
        return dict(file)


def manifest(path: str) -> dict:
    return json.loads((GOLDEN / path).read_text())


def state_dict(entries: list[dict]) -> dict[str, np.ndarray]:
    """The weights, under their PyTorch names, of a manifest's list of names and shapes."""
    made = named_state_dict((e["name"], e["shape"]) for e in entries)
    config_values = {"channel_scales": CHANNEL_SCALES, "channel_biases": CHANNEL_BIASES}
    for entry in entries:
        if entry["name"] in config_values:
            made[entry["name"]] = np.array(config_values[entry["name"]], np.float32)
    return {e["name"]: made[e["name"]] for e in entries}


def channels_last(array: np.ndarray) -> np.ndarray:
    """[b, c, n] of the golden files to [b, n, c]."""
    return np.swapaxes(array, 1, 2)
