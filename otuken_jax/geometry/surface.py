"""A differentiable surface of a field: surface nets in buffers of fixed size."""

import functools
from dataclasses import dataclass
from typing import no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from otuken_jax.conventions import voxel_size
from otuken_jax.errors import UserError
from otuken_jax.geometry.meshes import Meshes

# Active cells / R^2: sphere 2.7, torus 2.0, full cube 6, a trained field about 3; noise up to 34.
CAPACITY = 12
# Crossings where the field changes by less than this share of its usual change along a crossing
# edge move towards the edge's middle: their gradient, 1 / change, would be without bound.
FLATTEST = 1e-2
ROW = 128  # of a running count
# The cell's corners, bits x y z of 0..7, and its twelve edges as pairs of corners.
CORNERS = np.stack([np.arange(8) >> 2 & 1, np.arange(8) >> 1 & 1, np.arange(8) & 1], -1)
EDGES = np.array([(c, c | bit) for bit in (4, 2, 1) for c in range(8) if not c & bit])


@no_type_check  # jax also builds it of shapes and shardings, which are no arrays
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Surface:
    """Meshes of a batch of fields, and how much room they need.

    A surface that does not fit its buffers is left out: its mesh is empty and `overflow` is set.
    """

    meshes: Meshes
    needed_verts: Int[Array, "*n"]
    needed_faces: Int[Array, "*n"]

    @property
    def overflow(self) -> Bool[Array, "*n"]:
        """True where the surface did not fit."""
        fits_verts = self.needed_verts <= self.meshes.verts.shape[-2]
        return ~(fits_verts & (self.needed_faces <= self.meshes.faces.shape[-2]))

    @property
    def usable(self) -> Bool[Array, "*n"]:
        """True where there is a surface, and it fitted."""
        return self.meshes.num_faces > 0

    def check(self) -> "Surface":
        """Returns the surface itself; not to be traced.

        Raises:
            UserError: a surface did not fit its buffers.
        """
        lost = np.flatnonzero(np.atleast_1d(np.asarray(self.overflow)))
        if len(lost):
            needed = int(np.atleast_1d(np.asarray(self.needed_verts))[lost].max())
            faces = int(np.atleast_1d(np.asarray(self.needed_faces))[lost].max())
            raise UserError(
                f"{len(lost)} surfaces do not fit, the first is number {lost[0]}: up to {needed} "
                f"vertices and {faces} faces, with room for {self.meshes.verts.shape[-2]} and "
                f"{self.meshes.faces.shape[-2]}; smooth the field or raise `capacity`"
            )
        return self


def surface_nets(field: Float[Array, "b r r r"], capacity: int = CAPACITY) -> Surface:
    """The surface {field = 0} in domain units, outward-oriented; differentiable by its vertices.

    Surface nets (Gibson 1998): every cell between eight voxels that do not all lie on one side
    gets a vertex, the mean of the crossings on its edges; every crossing edge gets two triangles
    that join the vertices of the four cells around it. The domain's border is outside: a shape
    that reaches it is closed there by a flat cap. Closed in the sense that every directed edge is
    balanced by its reverse; two sheets that touch in a cell share its vertex.

    Args:
        field: > 0 inside, as logits are. Computed in float32.
        capacity: room for vertices per r^2, and for twice as many faces.
    """
    extract = functools.partial(_surface_nets, room=capacity * field.shape[-1] ** 2)
    return jax.vmap(extract)(field.astype(jnp.float32))


def _surface_nets(field: Float[Array, "r r r"], room: int) -> Surface:
    points, cells = field.shape[0] + 2, field.shape[0] + 1  # along a side
    room, quad_room = min(room, cells**3), room
    # The mirrored border puts the cap at the border itself, half a voxel beyond the last centre.
    border = -jnp.abs(jnp.pad(field, 1, mode="edge"))
    field = border.at[1:-1, 1:-1, 1:-1].set(field)

    inside = field > 0
    some, every = inside, inside
    for axis in range(3):
        low, high = (functools.partial(_part, axis=axis, last=last) for last in (False, True))
        some, every = low(some) | high(some), low(every) & high(every)
    count, cell = _compact((some & ~every).ravel(), room)
    used = jnp.arange(room) < count[-1]
    x, y, z = jnp.unravel_index(cell, (cells,) * 3)

    strides = np.array([points**2, points, 1])
    lowest = x * points**2 + y * points + z
    values = _take(field.ravel(), lowest + (CORNERS @ strides)[:, None])
    within = values > 0
    crossing = (within[EDGES[:, 0]] != within[EDGES[:, 1]]) & used
    at = jnp.stack([x, y, z], -1) + _crossings(values, crossing).T
    verts = (at - 0.5) * voxel_size(cells - 1) - 1

    # A quad belongs to the cell whose lowest corner its edge starts from.
    quad_count, quad = _compact(crossing[::4].ravel(), quad_room)
    quad_used = jnp.arange(quad_room) < quad_count[-1]
    axis, slot = quad // room, quad % room
    faces = _quads(count, cell[slot], axis, within[0, slot], cells)

    needed_verts, needed_faces = count[-1], 2 * quad_count[-1]
    fits = (needed_verts <= room) & (needed_faces <= 2 * quad_room)
    used, quad_used = used & fits, quad_used & fits
    meshes = Meshes(
        verts=jnp.where(used[:, None], verts, 0),
        faces=jnp.where(quad_used[:, None, None], faces, -1).reshape(-1, 3),
        num_verts=jnp.where(fits, needed_verts, 0),
        num_faces=jnp.where(fits, needed_faces, 0),
    )
    return Surface(meshes, needed_verts, needed_faces)


def _part(x: Array, *, axis: int, last: bool) -> Array:
    """All but the first or the last slice."""
    return jax.lax.slice_in_dim(x, int(last), x.shape[axis] - 1 + last, axis=axis)


def _take(x: Array, index: Array) -> Array:
    return x.at[index].get(mode="promise_in_bounds")


def _compact(flags: Bool[Array, " n"], room: int) -> tuple[Int[Array, " n"], Int[Array, " m"]]:
    """Running count of the flags, and the positions of the first `room` set ones (else 0).

    The count goes by rows, on a CPU five times faster than one cumulative sum.
    """
    rows = jnp.pad(flags, (0, -flags.size % ROW)).reshape(-1, ROW)
    count = jnp.cumsum(rows, axis=1, dtype=jnp.int32)
    before = jnp.cumsum(count[:, -1]) - count[:, -1]
    count = (count + before[:, None]).ravel()[: flags.size]
    slot = jnp.where(flags, count - 1, room)
    number = jnp.arange(flags.size, dtype=jnp.int32)
    return count, jnp.zeros(room, jnp.int32).at[slot].set(number, mode="drop")


def _crossings(values: Float[Array, "8 v"], crossing: Bool[Array, "12 v"]) -> Float[Array, "3 v"]:
    """Mean of the points where the field crosses zero on a cell's edges, in cells of its corner."""
    ends = [(values[i], values[j]) for i, j in EDGES]
    change = [jnp.where(c, jnp.abs(a - b), 0) for c, (a, b) in zip(crossing, ends, strict=True)]
    number = jnp.sum(crossing, axis=0)
    usual = jnp.sum(sum(change)) / jnp.maximum(jnp.sum(number), 1)
    floor = jnp.maximum(FLATTEST * jax.lax.stop_gradient(usual), jnp.finfo(jnp.float32).tiny)
    total = [jnp.zeros_like(values[0])] * 3
    for edge, (a, b) in enumerate(ends):
        # a / (a - b), written about the middle; masked before dividing, for the gradient's sake.
        steep = jnp.where(crossing[edge], jnp.maximum(change[edge], floor), 1)
        offset = 0.5 * jnp.where(crossing[edge], jnp.sign(a - b) * (a + b), 0) / steep
        for axis, (start, end) in enumerate(CORNERS[EDGES[edge]].T):
            at = 0.5 + offset if start < end else float(start)
            total[axis] += jnp.where(crossing[edge], at, 0)
    return jnp.stack(total) / jnp.maximum(number, 1)


def _quads(
    count: Int[Array, " n"],
    cell: Int[Array, " q"],
    axis: Int[Array, " q"],
    leaving: Bool[Array, " q"],
    cells: int,
) -> Int[Array, "q 2 3"]:
    """Two triangles of vertex numbers around each crossing edge that starts at `cell`.

    `leaving`: the edge leaves the shape, so the outward normal points along the axis.
    """
    strides = jnp.array([cells**2, cells, 1])
    second, third = strides[(axis + 1) % 3], strides[(axis + 2) % 3]
    # Counter-clockwise as seen from the axis' positive end.
    around = jnp.stack([-second - third, -third, jnp.zeros_like(cell), -second], -1)
    around = jnp.where(leaving[:, None], around, around[:, ::-1])
    corners = _take(count, jnp.maximum(cell[:, None] + around, 0)) - 1
    return corners[:, np.array([[0, 1, 2], [0, 2, 3]])]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def smooth_gradient(field: Float[Array, "b r r r"], passes: int) -> Float[Array, "b r r r"]:
    """The field itself; its gradient is blurred by `passes` of (1, 2, 1) / 4 along every axis.

    A surface loss moves only the voxels beside the surface; blurred, it moves what lies around,
    so the surface can travel without tearing the field.
    """
    return field


def _smooth_backward(passes: int, _: None, gradient: Float[Array, "b r r r"]) -> tuple[Array]:
    for axis in range(1, 4):
        for _ in range(passes):
            pad = [(1, 1) if a == axis else (0, 0) for a in range(4)]
            padded = jnp.pad(gradient, pad)
            low, high = (
                jax.lax.slice_in_dim(padded, at, at + gradient.shape[axis], axis=axis)
                for at in (0, 2)
            )
            gradient = (low + high) / 4 + gradient / 2
    return (gradient,)


smooth_gradient.defvjp(lambda field, passes: (field, None), _smooth_backward)
