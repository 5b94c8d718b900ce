"""Revolved outlines (r, z) of hosts: fitting, hollowing, and the surface they make."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from otuken_jax.conventions import CANONICAL_SIZE
from otuken_jax.data.motifs.charts import (
    Field,
    Parts,
    Profile,
    Range,
    Surface,
    fit_zone,
    masked,
    radius_at,
    ring_chart,
)
from otuken_jax.data.motifs.primitives import revolved_distance, smoothstep
from otuken_jax.data.motifs.styles import RELIEF_DEPTH

HANDLE_MARGIN = (0.03, 0.13)  # distance from other parts over which the ornament fades in
FILLET_MARGIN = (0.08, 0.19)  # the same, beyond the reach of the fillet between the parts
REACH = (0.3, 0.22)  # from the face, where a steep chart's `height` tells too little
CORE_PER_REPEAT, CORE_FADE = 0.035, 0.08  # about the axis a voxel would span half a repeat


def blend(t: float, low: float, middle: float, high: float) -> float:
    """Quadratic through (-1, low), (0, middle), (1, high); smooth, so jitter may go beyond."""
    return middle + t * (high - low) / 2 + t * t * ((low + high) / 2 - middle)


def fit(profile: Sequence | Profile) -> Profile:
    """Scales and centres (r, z) points to the canonical longest side (height or width)."""
    profile = np.asarray(profile, np.float64)
    low, high = profile[:, 1].min(), profile[:, 1].max()
    scale = CANONICAL_SIZE / max(high - low, 2 * profile[:, 0].max())
    return (profile - [0.0, (low + high) / 2]) * scale


def closed(profile: Profile) -> Profile:
    """The profile with its ends joined to the axis."""
    return np.concatenate([[(0, profile[0, 1])], profile, [(0, profile[-1, 1])]])


def mouth(profile: Profile) -> Profile:
    """A shallow cone cut into the top of a profile, which shows that the vessel is open.

    It stays inside the neck below the lip: a ring that overhangs would break on a coarse grid.
    """
    top = profile[-1, 1]
    rim = profile[profile[:, 1] > top - 0.25, 0].min() - 0.03
    return np.array([(0, top - 0.4 * rim), (rim, top), (rim, top + 0.3), (0, top + 0.3)])


def hollow(profile: Profile, thickness: float, ornament_top: float) -> Profile:
    """The cavity of a vessel, as wide and deep as its walls allow; at least a shallow mouth.

    Up to the height `ornament_top` the wall is thicker, as engraving takes its depth from it.
    """
    top_radius, top = profile[-1]
    wall = thickness + RELIEF_DEPTH
    outline = np.array([(0, profile[0, 1]), *profile, (top_radius, top + 1), (0, top + 1)])
    z, r = np.linspace(profile[0, 1] + wall, top, 16), np.linspace(0, top_radius, 40)
    depth = revolved_distance(*np.meshgrid(r, z), outline)
    walls = np.where(z < ornament_top, wall, thickness)[:, None]
    inner = np.where(depth <= -walls, r, 0.0).max(axis=1)
    inner = np.minimum.accumulate(inner[::-1])[::-1]  # never wider below than above
    wide = inner > thickness / 2
    if wide.sum() < 4:
        return mouth(profile)
    inner, z = inner[wide], z[wide]
    ends = [(inner[-1], top + 0.3), (0, top + 0.3)]
    return np.array([(0, z[0]), *zip(inner, z, strict=True), *ends])


def shifted(surface: Surface, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Surface:
    """The surface moved by (x, y, z)."""
    dx, dy, dz = np.float32(x), np.float32(y), np.float32(z)

    def parts(x: Field, y: Field, z: Field) -> Parts:
        return surface(x - dx, y - dy, z - dz)

    return parts


def revolved(
    profile: Profile,
    room: Range,
    repeats: int,
    *,
    cavity: Profile | None = None,
    rest: Callable[[Field, Field, Field], Field] | None = None,
    radius: Callable[[Field, Field], Field] = np.hypot,
    margin: Range = HANDLE_MARGIN,
) -> Surface:
    """The surface of a profile turned about z, with its ornament in the heights `room`.

    `repeats` is one number a host, whatever its form: no caption counts the repeats, so the chart
    must follow from the host's name.
    `rest` is the distance to parts that carry no ornament; `radius` maps (x, y) to the profile's
    r, round by default; over the distances `margin` from `rest` the ornament fades in.
    """
    outline = closed(profile)
    zone = fit_zone(profile, room)

    def parts(x: Field, y: Field, z: Field) -> Parts:
        r = radius(x, y)
        chart = ring_chart(x, y, z, r, profile, zone, repeats)
        other = None
        if rest is not None:
            other = rest(x, y, z)
            chart = masked(chart, smoothstep(*margin, other))
        hole = None if cavity is None else revolved_distance(r, z, cavity)
        return Parts(revolved_distance(r, z, outline), chart, other, hole)

    return parts


def slender(profile: Profile, room: Range, repeats: int, **parts) -> Surface:
    """`revolved` for thin bodies: the ornament keeps off the axis and off fillets with `rest`.

    `room` is cut where the body is too narrow for engraving that keeps off the axis.
    """
    core = CORE_PER_REPEAT * repeats
    heights = np.linspace(*room, 65)
    narrow = radius_at(profile, heights) < core + CORE_FADE + RELIEF_DEPTH
    narrow[[0, -1]] = True
    low, high = np.flatnonzero(narrow[:33])[-1], 32 + np.flatnonzero(narrow[32:])[0]
    room = float(heights[low]), float(heights[high])
    standing = revolved(profile, room, repeats, margin=FILLET_MARGIN, **parts)

    def kept(x: Field, y: Field, z: Field) -> Parts:
        p = standing(x, y, z)
        zone = p.chart.zone * smoothstep(core, core + CORE_FADE, np.hypot(x, y))
        zone = zone * smoothstep(*REACH, np.abs(p.body))
        return replace(p, chart=replace(p.chart, zone=zone))

    return kept
