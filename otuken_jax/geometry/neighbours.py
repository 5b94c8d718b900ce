"""Nearest neighbours between point sets, block by block: never all distances at once."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

BLOCK = 32  # candidates compared per step; 64 are a tenth faster and compile half as fast


@partial(jax.jit, static_argnames="norm")  # so that calls outside `jax.jit` compile only once
def nearest_index(
    x: Float[Array, "b n d"],
    y: Float[Array, "b m d"],
    y_mask: Bool[Array, "b m"],
    norm: int = 2,
) -> Int[Array, "b n"]:
    """Index of the nearest valid point of y for each x; the lowest index wins a tie.

    Distances are sums of squares (norm 2) or of absolute values (norm 1) of differences, not
    |x|^2 - 2xy + |y|^2, which loses near points to rounding. Memory is O(b (n + m)); the index is a
    constant for the gradient. Where y has no valid point the index is 0.
    """
    # Infinitely far is never nearer, whatever the rest of the batch.
    x, y = jax.lax.stop_gradient((x, jnp.where(y_mask[..., None], y, jnp.inf)))
    b, m, d = y.shape
    y = jnp.pad(y, ((0, 0), (0, -m % BLOCK), (0, 0)), constant_values=jnp.inf)
    blocks = y.reshape(b, -1, BLOCK, d)

    # Elementwise in x, so that each lane of a vector unit keeps the minimum of a point of its own
    # in a register; a reduction over y is three times slower, an argmin five times more.
    def step(carry: tuple[Array, Array], block: tuple[Array, Array]):
        (smallest, winner), (number, points) = carry, block
        before = smallest
        for i in range(BLOCK):
            distance = _distance(x, points[:, i, None], norm)
            smallest = jnp.where(distance < smallest, distance, smallest)
        return (smallest, jnp.where(smallest < before, number, winner)), None

    first = (jnp.full(x.shape[:2], jnp.inf, x.dtype), jnp.zeros(x.shape[:2], jnp.int32))
    numbers = jnp.arange(blocks.shape[1], dtype=jnp.int32)
    (_, winner), _ = jax.lax.scan(step, first, (numbers, jnp.moveaxis(blocks, 1, 0)))
    points = jax.vmap(lambda rows, i: rows[i])(blocks, winner)
    return winner * BLOCK + jnp.argmin(_distance(x[:, :, None], points, norm), axis=2)


def _distance(x: Float[Array, "*#s d"], y: Float[Array, "*#s d"], norm: int) -> Float[Array, "*s"]:
    total = jnp.zeros((), x.dtype)
    for axis in range(x.shape[-1]):  # a sum over an axis would not stay in registers
        difference = x[..., axis] - y[..., axis]
        total += jnp.square(difference) if norm == 2 else jnp.abs(difference)
    return total
