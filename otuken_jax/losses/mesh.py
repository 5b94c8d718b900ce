"""Regularisers of surface meshes: edge lengths, Laplacian smoothness, consistent normals.

Values and gradients as in PyTorch3D 0.7.9. Each is a mean per mesh, then over the meshes of the
batch; an empty mesh adds 0 but counts. A batch with nothing to measure gives a scalar 0, where
PyTorch3D gives [0].
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from otuken_jax.geometry.edges import Edges, find_edges
from otuken_jax.geometry.meshes import Meshes
from otuken_jax.geometry.vectors import length, triangle_normals, unit

MIN_AREA = 1e-6  # smaller faces count as this large, so that cotangents stay finite
MIN_NORMAL = 1e-8

_gather = jax.vmap(lambda rows, index: rows[index])


def mesh_edge_loss(meshes: Meshes, target_length: float = 0.0) -> Float[Array, ""]:
    """Mean of (|edge| - target_length)^2 over the edges."""
    edges = find_edges(meshes)
    lengths = length(_gather(meshes.verts, edges.low) - _gather(meshes.verts, edges.high))
    return _mean(jnp.square(lengths - target_length), edges.first)


def mesh_laplacian_smoothing(meshes: Meshes, method: str = "uniform") -> Float[Array, ""]:
    """Mean over the vertices of |L v|, L constant for the gradient.

    "uniform": the mean of the neighbours, minus the vertex. "cot": the same with cotangent weights
    (a vertex whose weights sum to r <= 0 is scaled by r instead of 1 / r). "cotcurv": the mean
    curvature's integral over the area of the vertex's faces. In the first two a vertex without
    faces is drawn to the origin; Desbrun et al., "Implicit Fairing of Irregular Meshes" (1999).

    Raises:
        ValueError: another method.
    """
    if method not in ("uniform", "cot", "cotcurv"):
        raise ValueError(f'method is "uniform", "cot" or "cotcurv", not {method!r}')
    edges = find_edges(meshes)
    weight = edges.first.astype(meshes.verts.dtype)
    if method != "uniform":
        areas, cotangents = _areas_and_cotangents(meshes)
        # An edge's weight is the sum of the cotangents opposite, of however many faces it has.
        opposite = jnp.take_along_axis(cotangents, edges.side, axis=1)
        weight *= jnp.take_along_axis(_sum_by_edge(opposite, edges), edges.number, axis=1)
    verts = meshes.verts
    both_ways = jnp.concatenate([edges.low, edges.high], axis=1)
    pull = weight[..., None] * (_gather(verts, edges.high) - _gather(verts, edges.low))
    pull = _sum_at_vertices(jnp.concatenate([pull, -pull], axis=1), both_ways, meshes)
    if method == "cotcurv":
        area = _sum_at_vertices(areas, jnp.maximum(meshes.faces, 0).reshape(areas.shape), meshes)
        laplacian = pull * (0.25 / jnp.maximum(area, MIN_AREA))[..., None]
    else:
        total = _sum_at_vertices(jnp.concatenate([weight, weight], axis=1), both_ways, meshes)
        factor = jnp.where(total > 0, 1 / jnp.where(total > 0, total, 1.0), total)
        # sum(w v_j) f - v_i by differences, which does not lose a small step in large coordinates.
        kept = jnp.where(total > 0, 0.0, factor * total - 1)
        laplacian = factor[..., None] * pull + kept[..., None] * verts
    return _mean(length(laplacian), meshes.verts_mask)


def mesh_normal_consistency(meshes: Meshes) -> Float[Array, ""]:
    """Mean of 1 - cos of the normals over all pairs of faces that share an edge.

    0 where the faces go on flat, 2 where they fold back, however they are wound: normals are taken
    with the edge's direction. An edge of k faces has k (k - 1) / 2 pairs.
    """
    edges = find_edges(meshes)
    low, high, opposite = (
        _gather(meshes.verts, index) for index in (edges.low, edges.high, edges.opposite)
    )
    normals = unit(jnp.cross(high - low, opposite - low), MIN_NORMAL)
    normals = jnp.where(edges.mask[..., None], normals, 0.0)
    total = _sum_by_edge(normals, edges)
    squares = _sum_by_edge(jnp.sum(jnp.square(normals), axis=-1), edges)
    faces = _sum_by_edge(edges.mask.astype(jnp.int32), edges)
    # Of a flat edge the two normals cancel: a pair's term is 1 + n_a n_b. The sum over all pairs
    # follows from the square of the sum, so no list of pairs is needed.
    pairs = faces * (faces - 1) // 2
    terms = pairs + (jnp.sum(jnp.square(total), axis=-1) - squares) / 2
    pairs_of_mesh = jnp.maximum(jnp.sum(pairs, axis=1), 1)
    return jnp.sum(jnp.sum(jnp.where(pairs > 0, terms, 0.0), axis=1) / pairs_of_mesh) / max(
        len(pairs), 1
    )


def _areas_and_cotangents(meshes: Meshes) -> tuple[Float[Array, "n c"], Float[Array, "n c"]]:
    """Of each corner of each face, its face's area and its cotangent; 0 at padding."""
    corners = jax.lax.stop_gradient(meshes.triangles)
    area = jnp.maximum(length(triangle_normals(corners)) / 2, MIN_AREA)[..., None]
    to_next = jnp.roll(corners, -1, axis=-2) - corners
    to_previous = jnp.roll(corners, 1, axis=-2) - corners
    cotangent = jnp.sum(to_next * to_previous, axis=-1) / (2 * area)
    areas = jnp.broadcast_to(area, cotangent.shape)
    masked = (jnp.where(meshes.faces_mask[..., None], x, 0.0) for x in (areas, cotangent))
    return tuple(x.reshape(len(x), -1) for x in masked)


def _sum_by_edge(values: Shaped[Array, "n s *d"], edges: Edges) -> Shaped[Array, "n s *d"]:
    """Sums over the sides of each edge, at its number."""
    add = lambda x, i: jax.ops.segment_sum(x, i, len(i), indices_are_sorted=True)  # noqa: E731
    return jax.vmap(add)(values, edges.number)


def _sum_at_vertices(
    values: Float[Array, "n k *d"], index: Int[Array, "n k"], meshes: Meshes
) -> Float[Array, "n v *d"]:
    count = meshes.verts.shape[1]
    return jax.vmap(lambda x, i: jax.ops.segment_sum(x, i, count))(values, index)


def _mean(values: Float[Array, "n k"], mask: Bool[Array, "n k"]) -> Float[Array, ""]:
    """Mean over the masked values of each mesh (0 if there are none), then over the meshes."""
    totals = jnp.sum(jnp.where(mask, values, 0.0), axis=1)
    return jnp.sum(totals / jnp.maximum(jnp.sum(mask, axis=1), 1)) / max(len(values), 1)
