"""What CPUs run is what accelerators run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from otuken_jax.models.attention import written_out

RNG = np.random.default_rng(0)
BIAS = RNG.normal(size=(1, 3, 5, 7)).astype(np.float32)
MASK = np.arange(7) < np.array([7, 2, 0])[:, None, None, None]  # the last: no key at all


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"scale": 1.0, "bias": BIAS, "mask": MASK},
        {"mask": MASK},
        {"is_causal": True},
        {"is_causal": True, "mask": MASK},
    ],
    ids=["plain", "t5", "mask", "causal", "causal-mask"],
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_written_out_is_the_kernel_of_jax(given, dtype):
    """Values and gradients; measured: equal. Other CPUs may add in another order."""
    q, out = (jnp.asarray(RNG.normal(size=(3, 5, 3, 4)), dtype) for _ in range(2))
    k, v = (jnp.asarray(RNG.normal(size=(3, 7, 3, 4)), dtype) for _ in range(2))
    given = {"bias": None, "mask": None, "scale": None, "is_causal": False} | given

    def run(kernel):
        y, vjp = jax.vjp(lambda q, k, v: kernel(q, k, v, **given), q, k, v)
        return y, *vjp(out)

    for got, want in zip(run(written_out), run(jax.nn.dot_product_attention), strict=True):
        assert got.dtype == dtype
        got, want = (np.asarray(x, np.float32) for x in (got, want))
        bound = 1e-6 if dtype == jnp.float32 else 2**-8
        np.testing.assert_allclose(got, want, rtol=0, atol=bound * np.abs(want).max())
