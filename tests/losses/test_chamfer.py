"""Chamfer distance where the answer is known without the golden files."""

import inspect
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from otuken_jax.geometry.neighbours import nearest_index
from otuken_jax.losses.chamfer import chamfer_distance

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(2, 40, 3)), jnp.float32)
Y = jnp.asarray(RNG.normal(size=(2, 55, 3)), jnp.float32)


@pytest.mark.parametrize("norm", [1, 2])
def test_nearest_index_is_that_of_all_distances(norm):
    y = jnp.concatenate([Y[:, :30], Y], axis=1)  # equal points in other blocks: the first wins
    mask = jnp.arange(85) < jnp.array([[85], [67]])
    difference = np.asarray(X, np.float64)[:, :, None] - np.asarray(y, np.float64)[:, None]
    distances = (np.abs(difference) ** norm).sum(axis=-1)
    want = np.where(np.asarray(mask)[:, None], distances, np.inf).argmin(axis=2)
    np.testing.assert_array_equal(nearest_index(X, y, mask, norm), want)


def test_padding_changes_nothing_and_gets_no_gradient():
    lengths = {"x_lengths": jnp.array([40, 25]), "y_lengths": jnp.array([31, 55])}
    loss = jax.jit(jax.value_and_grad(lambda x, y: chamfer_distance(x, y, **lengths)[0], (0, 1)))
    value, (grad_x, grad_y) = loss(X, Y)
    other, _ = loss(X.at[1, 25:].set(9.0), Y.at[0, 31:].set(X[0, 0]))
    assert float(value) == float(other)
    assert not grad_x[1, 25:].any()
    assert not grad_y[0, 31:].any()
    assert grad_x[1, :25].any()


def test_near_points_keep_their_distance_far_from_the_origin():
    x = X[:, :10] + 1000
    loss, _ = chamfer_distance(x, x + jnp.array([2.0**-10, 0, 0]))
    np.testing.assert_allclose(loss, 2 * 2.0**-20, rtol=5e-7)
    half = x.astype(jnp.bfloat16)
    assert chamfer_distance(half, half)[0].dtype == jnp.float32


def test_a_point_that_is_no_number_is_not_hidden():
    assert np.isnan(chamfer_distance(X.at[0, 3, 1].set(jnp.nan), Y)[0])
    assert np.isnan(chamfer_distance(X, Y.at[0, 33, 1].set(jnp.nan))[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": Y[:1]}, "clouds of shapes"),
        ({"norm": 3}, "norm"),
        ({"batch_reduction": "max"}, "batch_reduction"),
        ({"point_reduction": "median"}, "point_reduction"),
        ({"point_reduction": None}, "batch_reduction to None"),
        ({"point_reduction": "max", "x_normals": X}, "no normals"),
        ({"weights": jnp.array([1.0, -1.0])}, "negative"),
        ({"weights": jnp.ones(3)}, "for 2 clouds"),
        ({"x_lengths": jnp.ones(3, jnp.int32)}, "x_lengths"),
        ({"x_normals": X, "y_normals": Y[:, :50]}, "y_normals"),
    ],
)
def test_impossible_arguments_raise(arguments, message):
    unchecked = inspect.unwrap(chamfer_distance)  # the suite's checks of shapes would speak first
    with pytest.raises(ValueError, match=message):
        unchecked(**({"x": X, "y": Y} | arguments))


LARGE = """
import re
from pathlib import Path
import jax
import numpy as np
from otuken_jax.losses.chamfer import chamfer_distance

x, y = np.random.default_rng(0).standard_normal((2, 1, 65536, 3), dtype=np.float32)
grad = jax.jit(jax.grad(lambda x, y: chamfer_distance(x, y)[0], (0, 1)))
jax.block_until_ready(grad(x, y))
# Not ru_maxrss, which a new process inherits from the one that started it.
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
def test_65536_points_take_less_than_2_gib():
    """All distances at once would be 16 GiB."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE], capture_output=True, text=True, timeout=600, check=True
    )
    assert int(done.stdout) * 1024 < 2 * 2**30
