"""The solid that a triangle mesh means, however broken: signed distance and surface points.

The inside is where the generalised winding number (Jacobson et al. 2013; Barill et al. 2018) is
above one half, so holes, self-intersections and triangle soup do no harm. Winding numbers and
distances are computed only near the surface and where they are not implied by it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from otuken_jax.conventions import TRUNCATION_VOXELS, grid_points, voxel_size
from otuken_jax.geometry import repair

LEVELS = (4, 2, 1)  # cells of the distance's grids, in voxels, from coarse to fine
SURE = (0.35, 0.65)  # winding numbers between which a coarse cell is looked into
PROBES = 1000


class Solid(NamedTuple):
    """A mesh as a solid."""

    sdf: Float[np.ndarray, "r r r"]  # domain units, negative inside
    mesh: repair.CleanMesh  # its faces turned outward
    bounding: float  # share of the surface that has the inside on one side and not on the other
    num_turned: int  # faces that were turned
    closed: bool  # no edge is open, so winding numbers are integers


class SurfacePoints(NamedTuple):
    """Points on a solid's surface, and where on the mesh each one lies or lies nearest to."""

    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]  # outward
    face: Int[np.ndarray, " n"]  # of the mesh as given
    weights: Float[np.ndarray, "n 3"]  # barycentric


def solidify(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], resolution: int
) -> Solid:
    """The solid that triangles within [-1, 1]^3 mean, on a grid.

    Distances are exact up to two voxels from the surface. Beyond they are too large by 0.05 voxel
    on average and by one at most, where two parts of the surface are equally near; farther than 8
    voxels they only say "far".

    Args:
        resolution: a multiple of 4.

    Raises:
        ValueError: no triangle has an area, or the resolution does not fit.
    """
    if resolution % LEVELS[0]:
        raise ValueError(f"the resolution {resolution} is no multiple of {LEVELS[0]}")
    mesh = repair.clean(vertices, faces)
    if not len(mesh.faces):
        raise ValueError("no triangle has an area")
    distance = unsigned_distance(mesh.vertices, mesh.faces, resolution)
    turned, closed = 0, mesh.closed
    if not closed or (repair.patch_volumes(mesh.vertices, mesh.faces) < 0).any():
        oriented, turned = repair.orient(mesh.vertices, mesh.faces, distance)
        mesh = repair.CleanMesh(mesh.vertices, oriented, mesh.source, mesh.defects)
        closed = mesh.closed
    if closed:
        sdf = np.where(_inside_closed(mesh, distance), -distance, distance)
    else:
        sdf = _open_distance(mesh, distance)
    bounding = _bounding_share(mesh, resolution)
    return Solid(sdf.astype(np.float32), mesh, bounding, turned, closed)


def unsigned_distance(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], resolution: int
) -> Float[np.ndarray, "r r r"]:
    """Distance from every voxel centre to the mesh; see `solidify` for its accuracy.

    Each grid starts from the nearest surface point of the coarser grid's cell, and looks anew
    where the surface is near.
    """
    import igl

    reach = TRUNCATION_VOXELS * voxel_size(resolution)
    nearest = None
    for cell in LEVELS:
        size = resolution // cell
        centers = grid_points(size).reshape(-1, 3).astype(np.float64)
        if nearest is None:
            chosen = np.ones(len(centers), bool)
            nearest = np.zeros_like(centers)
        else:
            coarse = nearest.reshape(*[size // 2] * 3, 3)
            nearest = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2).reshape(-1, 3)
            guess = np.linalg.norm(centers - nearest, axis=1)
            # On the finest grid only where a voxel matters, before that wherever one will be.
            limit = 2.25 if cell == 1 else TRUNCATION_VOXELS + 2
            chosen = guess < limit * voxel_size(resolution)
        _, _, nearest[chosen] = igl.point_mesh_squared_distance(centers[chosen], vertices, faces)
    distance = np.linalg.norm(centers - nearest, axis=1)
    return np.minimum(distance, 1.01 * reach).reshape((resolution,) * 3)


def _winding(mesh: repair.CleanMesh, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    import igl

    return igl.fast_winding_number(mesh.vertices, mesh.faces, points.astype(np.float64))


def _inside_closed(
    mesh: repair.CleanMesh, distance: Float[np.ndarray, "r r r"]
) -> Bool[np.ndarray, "r r r"]:
    """Inside of a closed mesh, whose winding number is constant between its surfaces.

    No surface passes between two neighbours that are both more than half a voxel from it, so one
    winding number serves each connected set of those.
    """
    size = distance.shape[0]
    points = grid_points(size)
    far = distance > 0.55 * voxel_size(size)
    label, count = ndimage.label(far)
    _, first = np.unique(label, return_index=True)
    first = first[-count:] if count else first[:0]  # without label 0, the near voxels
    probes = np.concatenate([points[~far], points.reshape(-1, 3)[first]])
    inside = _winding(mesh, probes) > 0.5
    result = np.zeros_like(far)
    near = int((~far).sum())
    result[~far] = inside[:near]
    result[far] = inside[near:][label[far] - 1]
    return result


def _open_distance(
    mesh: repair.CleanMesh, distance: Float[np.ndarray, "r r r"]
) -> Float[np.ndarray, "r r r"]:
    """Signed distance of a mesh with holes: to its surface, or to the caps over its holes.

    Away from the surface the winding number is harmonic, so it is computed on half the grid
    first and then on the whole only near the surface or the level one half. A hole's cap is that
    level, and the distance to it about |w - 1/2| / |grad w|.
    """
    size, h = distance.shape[0], voxel_size(distance.shape[0])
    points = grid_points(size)
    coarse = _winding(mesh, grid_points(size // 2).reshape(-1, 3)).reshape([size // 2] * 3)
    winding = ndimage.zoom(coarse, 2, order=1, mode="nearest", grid_mode=True)
    low = ndimage.minimum_filter(coarse, 3).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    high = ndimage.maximum_filter(coarse, 3).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    unsure = (distance < 2 * h) | ((low < SURE[1]) & (high > SURE[0]))
    winding[unsure] = _winding(mesh, points[unsure])
    slope = np.sqrt(sum(g**2 for g in np.gradient(winding, h)))
    cap = np.abs(winding - 0.5) / np.maximum(slope, 1e-6)
    # Next to the surface the winding number jumps, and its slope means nothing.
    magnitude = np.where(distance > 1.5 * h, np.minimum(distance, cap), distance)
    return np.where(winding > 0.5, -magnitude, magnitude)


def _bounding_share(mesh: repair.CleanMesh, resolution: int) -> float:
    """Share of the mesh's area at which the inside begins or ends, from a sample of faces."""
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1)
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(area), PROBES, p=area / area.sum())
    at = np.einsum("fk,fki->fi", rng.dirichlet(np.ones(3), PROBES), corners[drawn])
    step = 0.25 * voxel_size(resolution) * normals[drawn] / area[drawn, None]
    inside = _winding(mesh, np.concatenate([at + step, at - step])) > 0.5
    return float(np.mean(inside[:PROBES] != inside[PROBES:]))


def sample_solid(solid: Solid, count: int, seed: int) -> SurfacePoints:
    """Points spread evenly over the solid's surface.

    They are drawn on the field's own level set, so holes are covered and inner walls are not, and
    moved onto the mesh where that is within a voxel.

    Raises:
        ValueError: no voxel is inside.
    """
    import igl
    from skimage.measure import marching_cubes

    h = voxel_size(solid.sdf.shape[0])
    if not (solid.sdf < 0).any():
        raise ValueError("no voxel is inside")
    level = np.pad(solid.sdf, 1, constant_values=h)
    vertices, faces, _, _ = marching_cubes(level, 0.0)
    vertices = (vertices - 0.5) * h - 1.0
    rng = np.random.default_rng(seed)
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    area = np.cross(b - a, c - a)
    length = np.linalg.norm(area, axis=1)
    drawn = rng.choice(len(faces), count, p=length / length.sum())
    s, t = rng.random((2, count, 1))
    s, t = np.where(s + t > 1, 1 - s, s), np.where(s + t > 1, 1 - t, t)
    points = a[drawn] + s * (b - a)[drawn] + t * (c - a)[drawn]
    normals = area[drawn] / length[drawn, None]

    mesh = solid.mesh
    squared, face, closest = igl.point_mesh_squared_distance(points, mesh.vertices, mesh.faces)
    corners = mesh.vertices[mesh.faces[face]]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    agree = np.einsum("ni,ni->n", flat, normals)
    on_mesh = squared < h**2
    points = np.where(on_mesh[:, None], closest, points)
    # At an edge the nearest face may look elsewhere; then the field's own normal is better.
    trusted = (on_mesh & (np.abs(agree) > 0.3))[:, None]
    normals = np.where(trusted, np.sign(agree)[:, None] * flat, normals)
    weights = _barycentric(closest, corners)
    return SurfacePoints(
        points.astype(np.float32), normals.astype(np.float32), mesh.source[face], weights
    )


def _barycentric(
    points: Float[np.ndarray, "n 3"], corners: Float[np.ndarray, "n 3 3"]
) -> Float[np.ndarray, "n 3"]:
    """Weights of the three corners at points of their triangles."""
    opposite = np.stack(
        [
            np.cross(corners[:, (i + 1) % 3] - points, corners[:, (i + 2) % 3] - points)
            for i in range(3)
        ],
        axis=1,
    )
    area = np.linalg.norm(opposite, axis=2)
    return area / np.maximum(area.sum(axis=1, keepdims=True), 1e-300)
