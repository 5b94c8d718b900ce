"""A batch of triangle meshes of different sizes, as padded arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int


@no_type_check  # jax also builds it of shapes and shardings, which are no arrays
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Meshes:
    """Padded meshes: vertices with zeros, faces with -1. Without the batch axis, one mesh."""

    verts: Float[Array, "*n v 3"]
    faces: Int[Array, "*n f 3"]
    num_verts: Int[Array, "*n"]
    num_faces: Int[Array, "*n"]

    @classmethod
    def from_lists(cls, verts: Sequence[ArrayLike], faces: Sequence[ArrayLike]) -> "Meshes":
        """Pads lists of [v, 3] vertices and [f, 3] faces; each mesh keeps its own vertex count.

        Raises:
            ValueError: the lists differ in length, or a mesh has a wrong shape or vertex index.
        """
        verts = [np.asarray(v, np.float32) for v in verts]
        faces = [np.asarray(f, np.int32) for f in faces]
        if len(verts) != len(faces):
            raise ValueError(f"{len(verts)} vertex arrays but {len(faces)} face arrays")
        for i, (v, f) in enumerate(zip(verts, faces, strict=True)):
            if v.ndim != 2 or f.ndim != 2 or v.shape[1] != 3 or f.shape[1] != 3:
                raise ValueError(f"mesh {i}: shapes {v.shape} and {f.shape} are not [v, 3], [f, 3]")
            if f.size and not (f.min() >= 0 and f.max() < len(v)):
                raise ValueError(
                    f"mesh {i}: face indices {f.min()}..{f.max()} do not fit {len(v)} vertices"
                )
        num_verts = np.array([len(v) for v in verts], np.int32)
        num_faces = np.array([len(f) for f in faces], np.int32)
        padded_verts = np.zeros((len(verts), num_verts.max(initial=0), 3), np.float32)
        padded_faces = np.full((len(faces), num_faces.max(initial=0), 3), -1, np.int32)
        for i, (v, f) in enumerate(zip(verts, faces, strict=True)):
            padded_verts[i, : len(v)] = v
            padded_faces[i, : len(f)] = f
        return cls(*map(jnp.asarray, (padded_verts, padded_faces, num_verts, num_faces)))

    @classmethod
    def from_padded(cls, verts: Float[Array, "*n v 3"], faces: Int[Array, "*n f 3"]) -> "Meshes":
        """Of padded arrays: faces that hold a -1 are dropped, but every vertex row counts.

        As in PyTorch3D, a padding vertex is then an isolated vertex of its mesh, which Laplacian
        losses see; `from_lists` has no such vertices.
        """
        verts, faces = jnp.asarray(verts, jnp.float32), jnp.asarray(faces, jnp.int32)
        valid = (faces >= 0).all(axis=-1)
        faces = jnp.where(valid[..., None], faces, -1)
        num_verts = jnp.full(verts.shape[:-2], verts.shape[-2], jnp.int32)
        return cls(verts, faces, num_verts, valid.sum(axis=-1, dtype=jnp.int32))

    def to_lists(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Vertices [v, 3] and faces [f, 3] of each mesh of a batch, without padding."""
        vertex_rows = zip(np.asarray(self.verts), np.asarray(self.verts_mask), strict=True)
        face_rows = zip(np.asarray(self.faces), np.asarray(self.faces_mask), strict=True)
        return [v[mask] for v, mask in vertex_rows], [f[mask] for f, mask in face_rows]

    @property
    def verts_mask(self) -> Bool[Array, "*n v"]:
        """True for vertices, False for padding."""
        return jnp.arange(self.verts.shape[-2]) < self.num_verts[..., None]

    @property
    def faces_mask(self) -> Bool[Array, "*n f"]:
        """True for faces, False for padding."""
        return (self.faces >= 0).all(axis=-1)

    @property
    def triangles(self) -> Float[Array, "*n f 3 3"]:
        """Corners of the faces, [corner, xyz]; zeros for padding."""
        gather = jnp.vectorize(lambda v, f: v[f], signature="(v,d),(f,c)->(f,c,d)")
        corners = gather(self.verts, jnp.maximum(self.faces, 0))
        return jnp.where(self.faces_mask[..., None, None], corners, 0.0)
