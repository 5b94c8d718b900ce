"""Hosts that stand in buildings or on the steppe; builders as in `vessels`."""

from dataclasses import replace

import numpy as np

from otuken_jax.conventions import CANONICAL_SIZE
from otuken_jax.data.motifs.charts import Parts, Surface, masked, plane_chart
from otuken_jax.data.motifs.primitives import (
    box_distance,
    ellipsoid_distance,
    extruded_distance,
    polygonal_radius,
    polyline_distance,
    revolved_distance,
    smooth_profile,
    smooth_union,
    smoothstep,
)
from otuken_jax.data.motifs.profiles import HANDLE_MARGIN, blend, closed, fit, mouth, revolved
from otuken_jax.data.motifs.styles import RELIEF_DEPTH

TOP = CANONICAL_SIZE / 2
FRAME = 0.1  # round a tile that is cut through
EDGE_MARGIN = 0.08  # inside the outline of a face, over which the ornament fades in
TENT_REPEATS = 5  # one of them is the door's
DOOR_ANGLE = np.float32(-2 * np.pi / TENT_REPEATS)  # one cell clockwise of the motif that faces +x


def half_thickness(body: float, thickness: float) -> float:
    """Half of a slab's thickness by its form; an engraved slab keeps `thickness` too."""
    least = (thickness + RELIEF_DEPTH) / 2
    return least * max(1.0, blend(body, 1.0, 1.35, 1.75))


def tile(shape: float, corner: float, body: float, thickness: float) -> Surface:
    """Karo çini: an upright slab that looks to +x, ornament on its face."""
    half_y, half_z = TOP * min(1.0, 1 - 0.29 * shape), TOP * min(1.0, 1 + 0.29 * shape)
    half_x = half_thickness(body, thickness)
    bevel = max(0.0, 0.33 * (1 + corner)) * min(half_y, half_z)
    cell = min(half_y, half_z) - 0.06

    def parts(x, y, z):
        face = box_distance(y, z, half_y, half_z)
        face = np.maximum(face, (np.abs(y) + np.abs(z) - half_y - half_z + bevel) / np.sqrt(2))
        slab = extruded_distance(face, x, half_x)
        chart = plane_chart(y, z, x - np.float32(half_x), cell)
        chart = masked(chart, smoothstep(0.0, EDGE_MARGIN, -face))
        frame = smoothstep(FRAME, FRAME + EDGE_MARGIN, -face)
        return Parts(slab, replace(chart, through=chart.through * frame))

    return parts


def tomb_tower(height: float, roof: float, plan: float, thickness: float) -> Surface:
    """Kümbet: a square base, a drum of square, octagonal or round plan, a pointed roof."""
    radius = blend(height, 0.64, 0.56, 0.48)
    sides = (4, 8, 0)[round(plan) + 1]
    inner = 1 / np.cos(np.pi / 8) if sides == 8 else 1.0  # an octagon within the round drum
    eave = TOP - blend(roof, 0.26, 0.44, 0.64)
    rim = radius + 0.1
    profile = np.array(
        [(radius, -TOP + 0.1), (radius, eave - 0.12), (rim, eave - 0.04), (rim, eave), (0.02, TOP)]
    )
    base = closed(np.array([(radius + 0.16, -TOP), (radius + 0.16, -TOP + 0.2)]))

    def rest(x, y, z):
        return revolved_distance(polygonal_radius(x, y, 4), z, base)

    return revolved(
        profile,
        (-TOP + 0.22, eave - 0.14),
        4,
        rest=rest,
        radius=lambda x, y: polygonal_radius(x, y, sides) * np.float32(inner),
    )


def tent(height: float, roof: float, crown: float, thickness: float) -> Surface:
    """Otağ: a round felt tent: wall, roof, ring of the smoke hole, and a door in a plain cell."""
    wall = blend(height, 0.82, 1.02, 1.32)
    rise = blend(roof, 0.14, 0.36, 0.66)
    swell = blend(roof, 0.1, 0.13, -0.04)
    ring = blend(crown, 0.2, 0.32, 0.46)
    top = wall + 0.06 + rise
    slope = smooth_profile(
        [(0.9, wall), (0.5 * (0.9 + ring), wall + 0.03 + 0.5 * rise + swell), (ring - 0.02, top)]
    )
    profile = fit(
        [(0.78, 0.0), (0.78, wall - 0.08), *slope, (ring, top + 0.16), (ring - 0.1, top + 0.22)]
    )
    wall_radius, bottom = profile[0]
    half_y = 0.22

    def rest(x, y, z):
        door = box_distance(y, z - np.float32(bottom + 0.34), half_y, 0.28)
        return extruded_distance(door, x - np.float32(wall_radius / 2), wall_radius / 2 + 0.1)

    room = (bottom + 0.02, bottom + wall - 0.12)
    standing = revolved(profile, room, TENT_REPEATS, cavity=mouth(profile), rest=rest)
    cos, sin = np.cos(DOOR_ANGLE), np.sin(DOOR_ANGLE)

    def parts(x, y, z):
        x, y = x * cos + y * sin, y * cos - x * sin
        p = standing(x, y, z)
        cell = np.abs(np.arctan2(y, x)) * np.float32(
            TENT_REPEATS / np.pi
        )  # 0..1 in the door's cell
        zone = p.chart.zone * smoothstep(1.0, 1.1, cell)
        beside = p.chart.across - 2  # the cell that faces +x: a medallion on the door would hide
        return replace(p, chart=replace(p.chart, zone=zone, across=beside))

    return parts


def stele(height: float, crest: float, body: float, thickness: float) -> Surface:
    """Bengü taş: an inscribed slab facing +x on a tortoise, its top flat, round or gabled."""
    half_y = blend(height, 0.74, 0.61, 0.5)
    half_x = half_thickness(body, thickness)
    t = np.linspace(0, np.pi, 13)
    kind = round(crest)
    rise = half_y * (0.85 + 0.5 * (crest - kind))
    curve = (np.zeros(13), np.sin(t), 1 - np.abs(np.cos(t)))[kind + 1]
    crest_line = np.stack([half_y * np.cos(t), TOP + rise * (curve - curve.max())], axis=1)
    outline = np.concatenate([crest_line, [(-half_y, -TOP + 0.1), (half_y, -TOP + 0.1)]])
    cell = half_y - 0.04
    centre = np.float32(min(TOP - 0.35 * rise * curve.max() - cell, 0.2))
    shell = np.array([half_x + 0.34, half_y + 0.12, 0.42])

    def parts(x, y, z):
        face = polyline_distance(y, z, outline, closed=True)
        slab = extruded_distance(face, x, half_x)
        tortoise = ellipsoid_distance(x, y, z + np.float32(TOP), shell)
        head = np.sqrt((x - np.float32(shell[0])) ** 2 + y**2 + (z + np.float32(TOP - 0.18)) ** 2)
        foot = smooth_union(tortoise, head - np.float32(0.2), 0.1)
        foot = np.maximum(foot, -z - np.float32(TOP))
        chart = plane_chart(y, z - centre, x - np.float32(half_x), cell)
        inside = smoothstep(0.0, EDGE_MARGIN, -face) * smoothstep(*HANDLE_MARGIN, foot)
        return Parts(slab, replace(chart, zone=chart.zone * inside), foot)

    return parts
