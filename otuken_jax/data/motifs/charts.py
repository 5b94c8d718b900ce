"""What a host is made of, and the charts (u, v) of its ornament zone."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from otuken_jax.data.motifs.primitives import smoothstep

Field = Float[np.ndarray, "*shape"]
Profile = Float[np.ndarray, "_ 2"]
Range = tuple[float, float]
CELL_LENGTH = 1.0  # longest chart cell along v, domain units: 16 voxels of a 32^3 grid
ZONE_FADE = 0.9  # |v| (and |u| of a single cell) where the ornament zone begins to fade out
ABOVE, BELOW = (0.34, 0.24), (-0.24, -0.16)  # heights between which the zone fades in


@dataclass(frozen=True)
class Chart:
    """Coordinates of the ornament at some points."""

    u: Field
    v: Field
    height: Field  # above the ornamented face, about in domain units
    zone: Field  # 0..1: how far an ornament belongs here, without the shell of `band`
    across: Field | None = None  # u not wrapped: -1..1 in the middle cell, or the one to +x
    through: Field | None = None  # the zone at any depth below the face; None: no piercing


@dataclass(frozen=True)
class Parts:
    """A host at some points: host_sdf = max(smooth_union(body, rest), -cavity)."""

    body: Field  # signed distance to the ornamented part alone
    chart: Chart
    rest: Field | None = None
    cavity: Field | None = None


Surface = Callable[[Field, Field, Field], Parts]  # a host of fixed form at points x, y, z


def ring_chart(
    x: Field, y: Field, z: Field, r: Field, profile: Profile, zone: Range, repeats: int
) -> Chart:
    """Chart round a revolved body: u counts whole repeats round z, v is arc length along `profile`.

    u = 0 looks to +x and grows anticlockwise, to the right as seen from outside.
    """
    turns = np.arctan2(y, x) * np.float32(repeats / np.pi)
    u = np.mod(turns + 1, 2) - 1
    levels, length = _arc_length(profile, zone)
    radii = radius_at(profile, levels)
    cosine = 1 / np.hypot(1, np.gradient(radii, levels))
    v, radius, cosine = (
        np.interp(z, levels, values).astype(z.dtype)
        for values in (2 * length / length[-1] - 1, radii, cosine)
    )
    height = (r - radius) * cosine
    zone, through = _fade(np.abs(v), height)
    return Chart(u, v, height, zone, turns, through)


def plane_chart(across: Field, up: Field, height: Field, half: float) -> Chart:
    """Chart of one square cell of side 2 half on a face; `height` above the face."""
    u = np.clip(across / np.float32(half), -1, 1)
    v = np.clip(up / np.float32(half), -1, 1)
    zone, through = _fade(np.maximum(np.abs(u), np.abs(v)), height)
    return Chart(u, v, height, zone, u, through)


def row_chart(
    across: Field, up: Field, height: Field, half: tuple[float, float], repeats: int
) -> Chart:
    """Chart of `repeats` cells side by side on a face of half sizes (across, up)."""
    along = across / np.float32(half[0])
    u = np.mod(along * repeats + repeats, 2) - 1
    v = np.clip(up / np.float32(half[1]), -1, 1)
    zone, through = _fade(np.maximum(np.abs(along), np.abs(v)), height)
    return Chart(u, v, height, zone, along * repeats, through)


def masked(chart: Chart, keep: Field) -> Chart:
    """The chart with its zone scaled by `keep`."""
    through = None if chart.through is None else chart.through * keep
    return replace(chart, zone=chart.zone * keep, through=through)


def _fade(edge: Field, height: Field) -> tuple[Field, Field]:
    """The zone, and the same at any depth."""
    near = smoothstep(*ABOVE, height) * smoothstep(*BELOW, height)
    within = smoothstep(1.0, ZONE_FADE, edge)
    return within * near, within


def radius_at(profile: Profile, z: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Outer radius of a profile at heights `z`; heights must not fall along the profile."""
    return np.interp(z, profile[:, 1], profile[:, 0])


def _arc_length(profile: Profile, zone: Range) -> tuple[np.ndarray, np.ndarray]:
    heights = np.linspace(*zone, 33)
    steps = np.hypot(np.diff(radius_at(profile, heights)), np.diff(heights))
    return heights, np.concatenate([[0], np.cumsum(steps)])


def fit_zone(profile: Profile, room: Range) -> Range:
    """The zone inside `room`, at most one widest cell long, about the middle of the room."""
    heights, length = _arc_length(profile, room)
    spare = max(0.0, length[-1] - CELL_LENGTH) / 2
    low, high = np.interp([spare, length[-1] - spare], length, heights)
    return float(low), float(high)
