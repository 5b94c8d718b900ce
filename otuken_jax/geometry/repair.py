"""Triangles from anywhere made fit for a winding number: merged, deduplicated, turned outward.

Nothing is filled or remeshed: holes and self-intersections are left to the winding number.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from otuken_jax.conventions import voxel_size

MERGE_DIGITS = 6  # vertices nearer than about 1e-6 of the domain are one
SEALED = 0.75  # voxels: a wall of this half thickness lets no face-adjacent path through
MARGIN = 2  # voxels around the domain, all outside: a shape may nearly touch its border
PROBE = 1.6  # voxels from a face at which its two sides are looked at


@dataclass(frozen=True)
class CleanMesh:
    """Merged triangles; `source` is each one's index among those given."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    source: Int[np.ndarray, " f"]
    defects: tuple[str, ...]  # in words; empty for a closed and oriented surface

    @property
    def closed(self) -> bool:
        """Every directed edge is balanced by its reverse, so winding numbers are integers."""
        return is_balanced(self.faces)


def is_balanced(faces: Int[np.ndarray, "f 3"]) -> bool:
    """Whether every directed edge occurs as often as its reverse."""
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    base = int(faces.max(initial=0)) + 1
    return bool(np.array_equal(np.sort(start * base + end), np.sort(end * base + start)))


def clean(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> CleanMesh:
    """Merges equal vertices, drops degenerate and repeated faces, and lists what is wrong.

    Of faces on the same three vertices one stays; an inner wall, two faces back to back, goes,
    unless most of the mesh is such (a shell modelled from both sides).
    """
    from trimesh.grouping import unique_rows

    kept, merged = unique_rows(vertices, digits=MERGE_DIGITS)
    vertices, faces = vertices[kept], merged[faces].astype(np.int64)
    defects = []
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    # An exactly flat triangle has no direction; it adds nothing to any winding number.
    source = np.flatnonzero(area > 1e-14)
    if len(source) < len(faces):
        defects.append(f"{len(faces) - len(source)} degenerate faces dropped")
    single = _single_faces(faces[source])
    if len(single) < len(source):
        defects.append(f"{len(source) - len(single)} duplicate faces dropped")
    source = source[single]
    faces = faces[source]
    return CleanMesh(vertices, faces, source, (*defects, *_edge_defects(faces)))


def _single_faces(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, " k"]:
    """Indices of the faces that stay when faces on the same vertices are made one or none."""
    order = np.sort(faces, axis=1)
    base = int(faces.max(initial=0)) + 1
    if base < 2**21:
        key = (order[:, 0] * base + order[:, 1]) * base + order[:, 2]
        _, first, group = np.unique(key, return_index=True, return_inverse=True)
    else:
        _, first, group = np.unique(order, axis=0, return_index=True, return_inverse=True)
        group = group.ravel()
    if len(first) == len(faces):
        return np.arange(len(faces))
    lowest = np.argmin(faces, axis=1)
    following = faces[np.arange(len(faces)), (lowest + 1) % 3]
    turn = np.where(following == order[:, 1], 1, -1)  # of the face, along its sorted vertices
    net = np.bincount(group, turn)
    paired = net == 0  # back to back
    both_sides = 2 * paired.sum() > len(first)
    stays = np.ones(len(first), bool) if both_sides else ~paired
    # The first of each group stays; where the others outvote it, one of theirs does.
    chosen = first.copy()
    outvoted = (turn[first] * net < 0)[group] & (turn * net[group] > 0)
    chosen[group[outvoted]] = np.flatnonzero(outvoted)
    return np.sort(chosen[stays])


def _edge_defects(faces: Int[np.ndarray, "f 3"]) -> list[str]:
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    base = int(faces.max(initial=0)) + 1
    low, high = np.minimum(start, end), np.maximum(start, end)
    _, edge = np.unique(low * base + high, return_inverse=True)
    count = np.bincount(edge)
    net = np.bincount(edge, np.where(start < end, 1, -1))
    numbers = {
        "open edges": (count == 1).sum(),
        "edges between faces of opposite direction": ((count == 2) & (net != 0)).sum(),
        "edges with more than two faces": (count > 2).sum(),
    }
    return [f"{number} {name}" for name, number in numbers.items() if number]


def orient(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    distance: Float[np.ndarray, "r r r"],
) -> tuple[Int[np.ndarray, "f 3"], int]:
    """Faces turned outward, and how many were turned; the others keep their corners' order.

    Faces joined by edges are made consistent first. Such a patch then faces the side from which
    the domain's border is reached. A patch that nothing reaches (a cavity's wall) keeps the
    direction of most of its faces; an open one, reached from both sides, bulges outward.

    Args:
        distance: unsigned, from every voxel centre to the surface.
    """
    import igl

    consistent, patch = igl.bfs_orient(faces)
    corners = vertices[consistent]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1)
    turned = (consistent != faces).any(axis=1)
    total = np.bincount(patch, area)
    backward = np.bincount(patch, area * turned) > total / 2

    outside = _outside(distance)
    center = corners.mean(axis=1)
    size = distance.shape[0]
    step = PROBE * voxel_size(size) * normals / area[:, None]
    front, back = _look_up(outside, center + step, size), _look_up(outside, center - step, size)
    vote = np.bincount(patch, area * (front.astype(float) - back)) / total
    exposed = np.bincount(patch, area * (front & back)) / total
    middle = (
        np.stack([np.bincount(patch, area * center[:, i]) for i in range(3)], 1) / total[:, None]
    )
    volume = np.bincount(patch, np.einsum("fi,fi->f", center - middle[patch], normals)) / 6
    bulge = volume / total**1.5

    flip = backward.copy()
    decided = np.abs(vote) > 0.1
    flip[decided] = vote[decided] < 0
    open_patch = ~decided & (exposed > 0.5) & (np.abs(bulge) > 5e-4)  # a ball: 0.033
    flip[open_patch] = bulge[open_patch] < 0
    moved = turned ^ flip[patch]
    return np.where(moved[:, None], faces[:, ::-1], faces), int(moved.sum())


def patch_volumes(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, " p"]:
    """Signed volume under each set of faces that are joined by edges."""
    import igl

    _, patch = igl.bfs_orient(faces)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.bincount(patch, np.einsum("fi,fi->f", a, np.cross(b, c))) / 6


def _outside(distance: Float[np.ndarray, "r r r"]) -> Bool[np.ndarray, "p p p"]:
    """The voxels, and a margin around the domain, that are reached away from the surface."""
    free = np.pad(distance > SEALED * voxel_size(distance.shape[0]), MARGIN, constant_values=True)
    label, _ = ndimage.label(free)
    return label == label[0, 0, 0]


def _look_up(
    outside: Bool[np.ndarray, "p p p"], points: Float[np.ndarray, "n 3"], size: int
) -> Bool[np.ndarray, " n"]:
    index = np.floor((points + 1) / voxel_size(size)).astype(np.int64) + MARGIN
    return outside[tuple(np.clip(index, 0, size + 2 * MARGIN - 1).T)]
