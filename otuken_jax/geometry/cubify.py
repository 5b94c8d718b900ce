"""Occupied voxels as a mesh of their outer faces."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from otuken_jax.geometry.meshes import Meshes

# Corner k of a cube lies at (x, y, z) = bits 2, 1, 0 of k. Sides in the order in which their faces
# come: step to the neighbour in (x, y, z), and two triangles that wind outward.
SIDES = (
    ((-1, 0, 0), ((0, 1, 2), (1, 3, 2))),
    ((0, 1, 0), ((2, 3, 6), (3, 7, 6))),
    ((0, 0, -1), ((0, 2, 6), (0, 6, 4))),
    ((0, -1, 0), ((0, 5, 1), (0, 4, 5))),
    ((1, 0, 0), ((6, 7, 5), (6, 5, 4))),
    ((0, 0, 1), ((1, 7, 3), (1, 5, 7))),
)


def cubify(voxels: Float[Array, "n d h w"], threshold: float, align: str = "topleft") -> Meshes:
    """A cube for each voxel (axes z, y, x) that is at least `threshold`, without the inner faces.

    As PyTorch3D's `cubify`: neighbouring cubes share vertices, also where only edges or corners
    touch. It has no gradient. The buffers have room for any voxels of this size, so it runs under
    jit; `Meshes.to_lists` drops the rest. Along an axis of s voxels, "topleft" puts the first
    voxel's lower side at -1 and the last one's at 1, "center" their centres, and "corner" the outer
    sides of both at -1 and 1.

    Raises:
        ValueError: another `align`, or an axis of one voxel, which has no such scale but "corner".
    """
    if align not in ("topleft", "corner", "center"):
        raise ValueError(f'align is "topleft", "corner" or "center", not {align!r}')
    sizes = np.array(voxels.shape)[[3, 2, 1]]
    if align != "corner" and sizes.min() < 2:
        raise ValueError(f"align {align!r} needs two voxels along each axis, not {sizes.min()}")
    shift = 0.5 if align == "center" else 0.0
    span = sizes if align == "corner" else sizes - 1
    return Meshes(*_cubes(voxels >= threshold, shift, span))


@jax.jit
@partial(jax.vmap, in_axes=(0, None, None))
def _cubes(
    voxels: Bool[Array, "d h w"], shift: float | Array, span: Int[Array, "3"]
) -> tuple[Float[Array, "v 3"], Int[Array, "f 3"], Int[Array, ""], Int[Array, ""]]:
    occupied = voxels.transpose(2, 1, 0)
    x, y, z = occupied.shape
    padded = jnp.pad(occupied, 1)
    steps = [step for step, _ in SIDES]
    neighbours = [
        padded[1 + i : 1 + i + x, 1 + j : 1 + j + y, 1 + k : 1 + k + z] for i, j, k in steps
    ]
    exposed = jnp.stack([occupied & ~n for n in neighbours], axis=-1).transpose(1, 0, 2, 3)
    room = (x + 1) * y * z + x * (y + 1) * z + x * y * (z + 1)  # every square of the lattice
    chosen = jnp.flatnonzero(exposed, size=room, fill_value=0)
    j, i, k, side = jnp.unravel_index(chosen, exposed.shape)
    numbers = np.array([triangles for _, triangles in SIDES])[..., None]
    offsets = jnp.asarray(numbers >> np.array([2, 1, 0]) & 1)[side]  # square, triangle, corner, xyz
    i, j, k = jnp.moveaxis(jnp.stack([i, j, k], axis=-1)[:, None, None] + offsets, -1, 0)
    corner = (j * (x + 1) + i) * (z + 1) + k
    squares = jnp.sum(exposed)
    valid = (jnp.arange(room) < squares)[:, None, None]
    lattice = (y + 1, x + 1, z + 1)
    used = (
        jnp.zeros(int(np.prod(lattice)), bool).at[corner].max(jnp.broadcast_to(valid, corner.shape))
    )
    faces = jnp.where(valid, (jnp.cumsum(used) - 1)[corner], -1).reshape(-1, 3)
    count = jnp.sum(used, dtype=jnp.int32)
    j, i, k = jnp.unravel_index(jnp.flatnonzero(used, size=used.size, fill_value=0), lattice)
    verts = (jnp.stack([i, j, k], axis=-1) - shift) * 2 / span - 1
    verts = jnp.where((jnp.arange(used.size) < count)[:, None], verts, 0.0)
    faces, num_faces = faces.astype(jnp.int32), 2 * squares.astype(jnp.int32)
    return verts.astype(jnp.float32), faces, count, num_faces
