"""Lengths, areas and angles of vectors whose gradients stay finite at the zero vector."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def length(x: Float[Array, "*s d"]) -> Float[Array, "*s"]:
    """Euclidean norm over the last axis; its gradient at the zero vector is 0, as in PyTorch."""
    squares = jnp.sum(jnp.square(x), axis=-1)
    # The root's slope is infinite at 0, and infinity times 0 is no number.
    zero = squares == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squares)))


def unit(x: Float[Array, "*s d"], floor: float) -> Float[Array, "*s d"]:
    """x / max(|x|, floor)."""
    return x / jnp.maximum(length(x), floor)[..., None]


def triangle_normals(corners: Float[Array, "*f 3 3"]) -> Float[Array, "*f 3"]:
    """Normals of triangles [corner, xyz] by the right-hand rule, twice their areas long."""
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    return jnp.cross(b - a, c - b)
