"""Triangle meshes as NumPy arrays, and what can be asked of them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class SurfaceMesh:
    """Triangles in domain units, z up, wound outward; colours are sRGB in 0..1."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    colors: Float[np.ndarray, "v 3"] | None = None


def is_closed(mesh: SurfaceMesh) -> bool:
    """Whether every edge has exactly two faces and these run along it in opposite directions."""
    directed, reverse = map(np.sort, _half_edges(mesh))
    distinct = bool((directed[1:] != directed[:-1]).all())
    return len(directed) > 0 and distinct and bool((directed == reverse).all())


def is_manifold(mesh: SurfaceMesh) -> bool:
    """Whether the mesh is closed and the faces around each vertex form one fan."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not is_closed(mesh):
        return False
    # Half-edge h leaves the corner h; turning around its vertex, the next corner is the start of
    # the twin of the half-edge that arrives there.
    directed, reverse = _half_edges(mesh)
    twin = np.empty(len(directed), np.int64)
    twin[np.argsort(reverse)] = np.argsort(directed)
    arriving = np.roll(np.arange(len(directed)).reshape(-1, 3), 1, axis=1).ravel()
    turns = (np.ones(len(directed), np.int8), (np.arange(len(directed)), twin[arriving]))
    fans, _ = connected_components(coo_array(turns, shape=(len(directed),) * 2), directed=False)
    return fans == len(np.unique(mesh.faces))


def _half_edges(mesh: SurfaceMesh) -> tuple[Int[np.ndarray, " h"], Int[np.ndarray, " h"]]:
    """A number for each directed edge, face by face, and that of its reverse."""
    start = mesh.faces.astype(np.int64)
    end = np.roll(start, -1, axis=1)
    count = len(mesh.vertices)
    return (start * count + end).ravel(), (end * count + start).ravel()


def signed_volumes(mesh: SurfaceMesh) -> Float[np.ndarray, " f"]:
    """Volume of the tetrahedron of each face and the origin; the sum is the mesh's volume."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(np.float64), 1, 0)
    return dot(a, np.cross(b, c)) / 6.0


def vertex_normals(mesh: SurfaceMesh) -> Float[np.ndarray, "v 3"]:
    """Unit normals, the area-weighted mean over the faces around each vertex."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(np.float64), 1, 0)
    face_normals = np.repeat(np.cross(b - a, c - a), 3, axis=0)  # length: twice the area
    corners = mesh.faces.ravel()
    sums = np.stack(
        [np.bincount(corners, face_normals[:, i], len(mesh.vertices)) for i in range(3)], axis=1
    )
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    up = np.array([0.0, 0.0, 1.0])
    return np.where(length > 0, sums / np.maximum(length, 1e-30), up).astype(np.float32)


def dot(a: Float[np.ndarray, "f 3"], b: Float[np.ndarray, "f 3"]) -> Float[np.ndarray, " f"]:
    return np.einsum("fi,fi->f", a, b)


def select_faces(mesh: SurfaceMesh, selected: Bool[np.ndarray, " f"]) -> SurfaceMesh:
    """The selected faces with the vertices that they use."""
    faces = mesh.faces[selected]
    used = np.zeros(len(mesh.vertices), bool)
    used[faces] = True
    renumbered = np.cumsum(used) - 1
    colors = None if mesh.colors is None else mesh.colors[used]
    return SurfaceMesh(mesh.vertices[used], renumbered[faces].astype(np.int32), colors)
