"""Signed distances of simple solids in NumPy, negative inside, and how they are joined."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

Field = Float[np.ndarray, "*shape"]


def smoothstep(edge0: float, edge1: float, x: Field) -> Field:
    """0 at `edge0`, 1 at `edge1`, cubic between; the edges may come in either order."""
    t = np.clip((x - edge0) / (edge1 - edge0), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def smooth_union(a: Field, b: Field, radius: float) -> Field:
    """Union of two fields with a fillet of about `radius` (quadratic smooth minimum)."""
    h = np.maximum(radius - np.abs(a - b), 0.0) / radius
    return np.minimum(a, b) - (0.25 * radius) * h * h


def polyline_distance(
    x: Field, y: Field, vertices: Float[np.ndarray, "n 2"], *, closed: bool
) -> Field:
    """Signed distance to the polygon of `vertices`.

    With `closed=False` the edge from the last vertex to the first bounds the inside but counts as
    no surface: so a revolved profile that starts and ends on the axis has no wall along the axis.
    """
    vertices = np.asarray(vertices, x.dtype)
    squared = np.full(x.shape, np.inf, x.dtype)
    inside = np.zeros(x.shape, bool)
    count = len(vertices)
    for i in range(count):
        (ax, ay), (bx, by) = vertices[i], vertices[(i + 1) % count]
        ex, ey = bx - ax, by - ay
        wx, wy = x - ax, y - ay
        if ey != 0:  # even-odd rule along +x
            inside ^= ((y >= ay) != (y >= by)) & (wx < wy * (ex / ey))
        if i == count - 1 and not closed:
            break
        length = ex * ex + ey * ey
        if length == 0:
            continue
        t = np.clip((wx * ex + wy * ey) / length, 0.0, 1.0)
        dx, dy = wx - t * ex, wy - t * ey
        np.minimum(squared, dx * dx + dy * dy, out=squared)
    distance = np.sqrt(squared)
    return np.where(inside, -distance, distance)


def revolved_distance(r: Field, z: Field, profile: Float[np.ndarray, "n 2"]) -> Field:
    """Signed distance to the solid whose (r, z) outline runs from the axis to the axis."""
    return polyline_distance(r, z, profile, closed=False)


def polygonal_radius(x: Field, y: Field, sides: int) -> Field:
    """Apothem of the regular polygon through a point, a flat side towards +x; round for sides 0."""
    if sides == 0:
        return np.hypot(x, y)
    step = 2 * np.pi / sides
    angle = np.mod(np.arctan2(y, x) + step / 2, step) - step / 2
    return (np.hypot(x, y) * np.cos(angle)).astype(x.dtype)


def extruded_distance(flat: Field, height: Field, half: float) -> Field:
    """Signed distance to a prism: `flat` in its plane, |height| <= half across it."""
    across = np.abs(height) - half
    outside = np.hypot(np.maximum(flat, 0.0), np.maximum(across, 0.0))
    return np.minimum(np.maximum(flat, across), 0.0) + outside


def box_distance(x: Field, y: Field, half_x: float, half_y: float, radius: float = 0.0) -> Field:
    """Signed distance to a rectangle with rounded corners."""
    dx, dy = np.abs(x) - (half_x - radius), np.abs(y) - (half_y - radius)
    outside = np.hypot(np.maximum(dx, 0.0), np.maximum(dy, 0.0))
    return np.minimum(np.maximum(dx, dy), 0.0) + outside - radius


def block_distance(
    x: Field, y: Field, z: Field, half: tuple[float, float, float], radius: float = 0.0
) -> Field:
    """Signed distance to a box with rounded edges and corners."""
    dx, dy, dz = (np.abs(c) - np.float32(h - radius) for c, h in zip((x, y, z), half, strict=True))
    outside = np.sqrt(np.maximum(dx, 0) ** 2 + np.maximum(dy, 0) ** 2 + np.maximum(dz, 0) ** 2)
    return np.minimum(np.maximum(np.maximum(dx, dy), dz), 0) + outside - np.float32(radius)


def tube_distance(
    x: Field, y: Field, z: Field, path: Float[np.ndarray, "n 3"], radius: float
) -> Field:
    """Signed distance to a round tube swept along a polyline."""
    squared = np.full(x.shape, np.inf, x.dtype)
    path = np.asarray(path, x.dtype)
    for a, b in pairwise(path):
        e = b - a
        wx, wy, wz = x - a[0], y - a[1], z - a[2]
        t = np.clip((wx * e[0] + wy * e[1] + wz * e[2]) / (e @ e), 0.0, 1.0)
        dx, dy, dz = wx - t * e[0], wy - t * e[1], wz - t * e[2]
        np.minimum(squared, dx * dx + dy * dy + dz * dz, out=squared)
    return np.sqrt(squared) - radius


def tapered_tube_distance(
    x: Field, y: Field, z: Field, path: Float[np.ndarray, "n 3"], radii: Float[np.ndarray, " n"]
) -> Field:
    """Signed distance to a tube whose radius changes along a polyline, to first order."""
    distance = np.full(x.shape, np.inf, x.dtype)
    path, radii = np.asarray(path, x.dtype), np.asarray(radii, x.dtype)
    for (a, b), (start, end) in zip(pairwise(path), pairwise(radii), strict=True):
        e = b - a
        wx, wy, wz = x - a[0], y - a[1], z - a[2]
        t = np.clip((wx * e[0] + wy * e[1] + wz * e[2]) / (e @ e), 0.0, 1.0)
        dx, dy, dz = wx - t * e[0], wy - t * e[1], wz - t * e[2]
        away = np.sqrt(dx * dx + dy * dy + dz * dz) - (start + t * (end - start))
        np.minimum(distance, away, out=distance)
    return distance


def ellipsoid_distance(x: Field, y: Field, z: Field, radii: Float[np.ndarray, "3"]) -> Field:
    """Signed distance to an ellipsoid, to first order (exact on its surface)."""
    a, b, c = np.asarray(radii, x.dtype)
    level = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
    slope = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2 + (z / c**2) ** 2)
    return level * (level - 1) / np.maximum(slope, 1e-6)


def sector_coordinates(x: Field, y: Field, count: int) -> tuple[Field, Field]:
    """Folds the plane onto one of `count` equal sectors, the one that looks to +x."""
    step = 2 * np.pi / count
    angle = (np.mod(np.arctan2(y, x) + step / 2, step) - step / 2).astype(x.dtype)
    r = np.hypot(x, y)
    return r * np.cos(angle), r * np.sin(angle)


def turned(x: Field, y: Field, angle: float) -> tuple[Field, Field]:
    """Coordinates in axes turned anticlockwise by `angle` radians."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def smooth_profile(points: Sequence, segments: int = 3) -> Float[np.ndarray, "_ 2"]:
    """Catmull-Rom curve through (r, z) points, `segments` chords between neighbours."""
    p = np.asarray(points, np.float64)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.arange(segments)[:, None] / segments
    pieces = []
    for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True):
        slope = (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
        pieces.append(b + 0.5 * slope)
    return np.concatenate([*pieces, p[-2:-1]])
