"""Losses on the surface of the predicted field, on only once there is one."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from otuken_jax.geometry.meshes import Meshes
from otuken_jax.geometry.sampling import sample_points_from_meshes
from otuken_jax.geometry.surface import Surface, smooth_gradient, surface_nets
from otuken_jax.losses.chamfer import chamfer_distance
from otuken_jax.losses.mesh import (
    mesh_edge_loss,
    mesh_laplacian_smoothing,
    mesh_normal_consistency,
)

TERMS = ("chamfer", "normals", "edge", "laplacian", "consistency")


@dataclass(frozen=True)
class SurfaceWeights:
    """Weights of the terms, 0 for none of it; lengths are in voxels of the field's grid."""

    chamfer: float = 0.0  # squared distance, both ways
    normals: float = 0.0  # 1 - |cos| to the normal of the nearest point, both ways
    edge: float = 0.0  # squared length of edges
    laplacian: float = 0.0  # distance of a vertex from its neighbours' mean
    consistency: float = 0.0  # 1 - cos of the normals of neighbouring faces
    points: int = 8192  # drawn on each surface: relief is one or two voxels high
    min_iou: float = 0.5  # a sample whose field is worse has no surface yet
    smoothing: int = 3  # passes of blur of the field's gradient, see `smooth_gradient`

    @property
    def any(self) -> bool:
        """Whether a step needs surfaces at all."""
        return any(getattr(self, name) for name in TERMS)


class Comparison(NamedTuple):
    """Two batches of surfaces, by points drawn on each; without meaning where one is empty."""

    chamfer: Float[Array, " b"]  # mean squared distance to the nearest point, both ways added
    normals: Float[Array, " b"]  # mean 1 - |cos| of the normals there, both ways added
    made: Float[Array, "b p 3"]
    true: Float[Array, "b p 3"]


def compare(made: Surface, true: Surface, num_points: int, key: Array) -> Comparison:
    """Draws `num_points` on every surface and looks for their nearest neighbours."""
    made_key, true_key = jax.random.split(key)
    points, normals = sample_points_from_meshes(made.meshes, num_points, made_key)
    true_points, true_normals = sample_points_from_meshes(true.meshes, num_points, true_key)
    distance, cosine = chamfer_distance(
        points, true_points, x_normals=normals, y_normals=true_normals, batch_reduction=None
    )
    return Comparison(distance, cosine, points, true_points)


def surface_terms(
    logits: Float[Array, "b r r r"],
    sdf: Float[Array, "b r r r"],
    iou: Float[Array, " b"],
    weights: SurfaceWeights,
    key: Array,
) -> dict[str, Float[Array, ""]]:
    """Unweighted means over the samples with a usable surface, and the share of those.

    Nothing is computed while no sample's `iou` is above `weights.min_iou`; all terms are 0 then.
    `overflow` is the share of samples whose predicted or true surface did not fit its buffers.
    """
    ready = iou > weights.min_iou

    def terms(logits: Array) -> dict[str, Array]:
        made = surface_nets(smooth_gradient(logits, weights.smoothing))
        true = surface_nets(-sdf)
        use = ready & made.usable & true.usable
        share = jnp.mean(use.astype(jnp.float32))
        mean = lambda x: jnp.sum(jnp.where(use, x, 0)) / jnp.maximum(jnp.sum(use), 1)  # noqa: E731
        overflow = ready & (made.overflow | true.overflow)
        values = {"share": share, "overflow": jnp.mean(overflow)}
        voxels = logits.shape[-1] / 2  # in a domain unit
        if weights.chamfer or weights.normals:
            comparison = compare(made, true, weights.points, key)
            values["chamfer"] = mean(comparison.chamfer) * voxels**2
            values["normals"] = mean(comparison.normals)
        meshes = _only(made.meshes, use, voxels)
        # The mesh losses divide by the whole batch; empty meshes add nothing.
        scale = 1 / jnp.maximum(share, 1 / len(use))
        if weights.edge:
            values["edge"] = scale * mesh_edge_loss(meshes)
        if weights.laplacian:
            values["laplacian"] = scale * mesh_laplacian_smoothing(meshes)
        if weights.consistency:
            values["consistency"] = scale * mesh_normal_consistency(meshes)
        return values

    def nothing(logits: Array) -> dict[str, Array]:
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(terms, logits))

    return jax.lax.cond(jnp.any(ready), terms, nothing, logits)


def _only(meshes: Meshes, use: Bool[Array, " b"], scale: float) -> Meshes:
    """The used meshes, scaled, and empty ones in place of the others."""
    return Meshes(
        verts=jnp.where(use[:, None, None], scale * meshes.verts, 0),
        faces=jnp.where(use[:, None, None], meshes.faces, -1),
        num_verts=jnp.where(use, meshes.num_verts, 0),
        num_faces=jnp.where(use, meshes.num_faces, 0),
    )


def weighted(terms: dict[str, Float[Array, ""]], weights: SurfaceWeights) -> Float[Array, ""]:
    """The sum that joins the loss."""
    return sum(getattr(weights, n) * terms[n] for n in TERMS if getattr(weights, n))
