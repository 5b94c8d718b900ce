"""Closed surface meshes from voxel fields."""

import numpy as np
from jaxtyping import Float

from otuken_jax.conventions import voxel_size
from otuken_jax.errors import UserError
from otuken_jax.geometry.surface_mesh import SurfaceMesh, is_manifold

TIE_FRACTION = 1e-3  # |f| below this share of max|f| is moved off zero: no degenerate triangles


def field_to_mesh(
    logits: Float[np.ndarray, "r r r"],
    colors: Float[np.ndarray, "r r r 3"] | None = None,
    *,
    level: float = 0.0,
) -> SurfaceMesh:
    """The closed surface `logits == level`, by marching cubes (Lorensen and Cline, 1987).

    A shape that touches the border of the domain is cut by the domain's face.

    Args:
        logits: field at the cell centres of [-1, 1]^3, indexed [x, y, z], inside where > level.
        colors: colour volume in 0..1, sampled trilinearly at the vertices.

    Returns:
        A mesh for which `is_manifold` holds, wound outward (its signed volume is positive).

    Raises:
        UserError: no voxel is inside, or the field is not finite.
    """
    from skimage.measure import marching_cubes

    field = np.asarray(logits, np.float32) - np.float32(level)
    if not np.isfinite(field).all():
        raise UserError(
            "the predicted field holds NaN or infinity, so it has no surface: the weights are "
            "damaged or training diverged; use an earlier checkpoint"
        )
    if not (field > 0).any():
        raise UserError(
            f"the predicted shape is empty (the highest logit, {field.max() + level:.2f}, is not "
            f"above {level:g}): train for longer, use a later checkpoint or try another prompt"
        )
    field /= np.abs(field).max()  # skimage's interpolation adds an absolute 1e-7
    ties = np.abs(field) < TIE_FRACTION
    field[ties] = np.where(field[ties] > 0, TIE_FRACTION, -TIE_FRACTION)
    # One outside cell all around, the mirror of its neighbour, puts the cut exactly on the
    # domain's face, half a cell beyond the last centre.
    padded = -np.abs(np.pad(field, 1, mode="edge"))
    padded[1:-1, 1:-1, 1:-1] = field
    # Lewiner's tables, skimage's default, leave holes on tied values; Lorensen's do not. A vertex
    # lies alone inside a grid edge, and the surface passes it once in each of the four cells
    # around that edge: its faces are one fan.
    indices, faces, _, _ = marching_cubes(
        padded, level=0.0, method="lorensen", gradient_direction="ascent"
    )
    indices = indices.astype(np.float64) - 1.0  # of the unpadded grid
    vertices = ((indices + 0.5) * voxel_size(field.shape[0]) - 1.0).astype(np.float32)
    mesh = SurfaceMesh(
        vertices,
        faces.astype(np.int32),
        None if colors is None else _sample_trilinear(colors, indices),
    )
    if not is_manifold(mesh):
        raise RuntimeError("marching cubes gave an open or pinched mesh; please report this field")
    return mesh


def _sample_trilinear(
    volume: Float[np.ndarray, "r r r c"], indices: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n c"]:
    """Trilinear samples at fractional voxel indices; beyond the last centre the value stays."""
    top = volume.shape[0] - 1
    indices = np.clip(indices, 0.0, top)
    low = np.minimum(indices.astype(np.int64), max(top - 1, 0))
    high = np.minimum(low + 1, top)
    t = (indices - low)[..., None]
    (x0, y0, z0), (x1, y1, z1) = low.T, high.T
    tx, ty, tz = t[:, 0], t[:, 1], t[:, 2]

    def along_z(x, y):
        return volume[x, y, z0] * (1 - tz) + volume[x, y, z1] * tz

    near = along_z(x0, y0) * (1 - ty) + along_z(x0, y1) * ty
    far = along_z(x1, y0) * (1 - ty) + along_z(x1, y1) * ty
    return (near * (1 - tx) + far * tx).astype(np.float32)
