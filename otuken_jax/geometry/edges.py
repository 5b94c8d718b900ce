"""Edges of a batch of meshes, of any number of faces each, in arrays of fixed size."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from otuken_jax.geometry.meshes import Meshes


class Edges(NamedTuple):
    """The three sides of every face, those along the same edge next to each other.

    low, high: the edge's vertices, low <= high; opposite: the face's third vertex; 0 at padding.
    side: 3 f + corner, where the corner of face f is the opposite one. first: True once per edge.
    number: of the edge within its mesh, ascending.
    """

    low: Int[Array, "n s"]
    high: Int[Array, "n s"]
    opposite: Int[Array, "n s"]
    side: Int[Array, "n s"]
    first: Bool[Array, "n s"]
    number: Int[Array, "n s"]
    mask: Bool[Array, "n s"]


def find_edges(meshes: Meshes) -> Edges:
    """Undirected edges, whether a border's, two faces' or those of more."""
    corners = meshes.faces.reshape(len(meshes.faces), -1)
    start, end = (meshes.faces[..., k].reshape(corners.shape) for k in ([1, 2, 0], [2, 0, 1]))
    after_all = meshes.verts.shape[-2]
    low = jnp.where(jnp.repeat(meshes.faces_mask, 3, axis=-1), jnp.minimum(start, end), after_all)
    side = jnp.broadcast_to(jnp.arange(corners.shape[1], dtype=jnp.int32), corners.shape)
    sides = (low, jnp.maximum(start, end), side)
    low, high, side = jax.lax.sort(sides, num_keys=3, is_stable=False)  # no two are equal
    opposite = jnp.take_along_axis(corners, side, axis=1)
    mask = low < after_all
    changed = (low[:, 1:] != low[:, :-1]) | (high[:, 1:] != high[:, :-1])
    first = jnp.concatenate([jnp.ones_like(mask[:, :1]), changed], axis=1) & mask
    number = jnp.maximum(jnp.cumsum(first, axis=1) - 1, 0)
    low, high, opposite = (jnp.where(mask, x, 0) for x in (low, high, opposite))
    return Edges(low, high, opposite, side, first, number, mask)
