"""Hosts of architecture: domes, portals, niches, fountains; builders as in `vessels`."""

from dataclasses import replace

import numpy as np

from otuken_jax.data.motifs.charts import Parts, Surface, masked, ring_chart, row_chart
from otuken_jax.data.motifs.monuments import EDGE_MARGIN, TOP
from otuken_jax.data.motifs.primitives import (
    block_distance,
    box_distance,
    extruded_distance,
    polygonal_radius,
    polyline_distance,
    revolved_distance,
    sector_coordinates,
    smoothstep,
    tube_distance,
)
from otuken_jax.data.motifs.profiles import blend, closed, slender
from otuken_jax.data.motifs.styles import RELIEF_DEPTH

TIP = 0.02  # radius of a point on the axis
LOZENGE = np.float32(0.16)  # height of those at a capital's corners
ROUND, POINTED, STEPPED, OGEE = range(4)


def arch(half: float, bottom: float, top: float, rise: float, kind: int) -> np.ndarray:
    """Outline [n, 2] of an opening of half width `half` with an arch of height `rise`."""
    s = np.linspace(0, 1, 9)
    if kind == STEPPED:  # the tiers of a mukarnas hood
        tiers = np.arange(1, 5)
        width = half * np.repeat(1 - (tiers - 1) / 4.3, 2)
        up = np.sort(np.concatenate([(tiers - 1) / 4, tiers / 4]))
    else:
        width, up = (
            (half * np.cos(np.pi / 2 * s), np.sin(np.pi / 2 * s)),
            (half * (1 - s**1.7), s),
            None,
            (half * (0.5 + 0.5 * np.cos(np.pi * s)), s),
        )[kind]
    right = np.stack([width, top - rise + rise * up], axis=1)
    left = right[::-1] * [-1, 1]
    return np.concatenate([[(-half, bottom), (half, bottom)], right, left])


def dome(curve: float, drum: float, ribs: float, thickness: float) -> Surface:
    """Kubbe: a dome on a drum with windows, and its finial; ornament on the dome."""
    tall = blend(drum, 0.24, 0.38, 0.56)
    rise = blend(curve, 0.65, 0.76, 0.94)
    knob = max(0.08, thickness / 2)
    low = -(tall + rise + 0.26) / 2
    spring = low + tall
    t = np.linspace(0, 0.47 * np.pi, 10)
    power = blend(curve, 0.92, 1.0, 1.15)
    shell = np.stack(
        [np.maximum(0.85 * np.cos(t) ** power, knob), spring + 0.04 + rise * np.sin(t)], axis=1
    )
    profile = np.concatenate(
        [
            [(0.82, low), (0.82, spring - 0.1), (0.9, spring - 0.05), (0.9, spring + 0.02)],
            shell,
            [(knob, spring + rise + 0.06), (knob + 0.04, spring + rise + 0.14)],
            [(TIP, spring + rise + 0.26)],
        ]
    )
    lobes = np.float32(blend(ribs, 0.0, 0.025, 0.05))
    window = arch(0.13, low - 0.1, spring - 0.13, 0.12, POINTED)

    def ribbed(x, y):
        return np.hypot(x, y) / (1 - lobes + lobes * np.cos(15 * np.arctan2(y, x)))

    room = (spring + 0.12, spring + 0.04 + 0.8 * rise)
    standing = slender(profile, room, 4, radius=ribbed)

    def parts(x, y, z):
        out, across = sector_coordinates(x, y, 10)
        hole = polyline_distance(across, z, window, closed=True)
        hole = extruded_distance(hole, out - np.float32(1.0), 0.3)
        return replace(standing(x, y, z), cavity=hole)

    return parts


def minaret(shaft: float, balcony: float, roof: float, thickness: float) -> Surface:
    """Minare: a square foot, a slim shaft, a balcony on corbels, a cone with its finial."""
    radius = blend(shaft, 0.272, 0.29, 0.325)  # no slimmer: engraving keeps off the axis
    out = radius + blend(balcony, 0.05, 0.1, 0.16)
    cone = blend(roof, 0.3, 0.4, 0.52)
    neck = max(0.7 * radius, thickness / 2)
    eave = TOP - cone
    floor = eave - 0.2
    third = (out - radius) / 3
    profile = np.array(
        [
            (radius, -TOP + 0.1),
            (radius, floor - 0.13),
            (radius + third, floor - 0.12),
            (radius + third, floor - 0.08),
            (radius + 2 * third, floor - 0.07),
            (radius + 2 * third, floor - 0.03),
            (out, floor - 0.02),
            (out, floor + 0.09),
            (neck, floor + 0.1),
            (neck, eave - 0.02),
            (neck + 0.05, eave),
            (0.09, TOP - 0.12),
            (0.09, TOP - 0.07),
            (TIP, TOP),
        ]
    )
    foot = closed(
        np.array(
            [(radius + 0.05, -TOP), (radius + 0.05, -TOP + 0.16), (radius - 0.02, -TOP + 0.26)]
        )
    )

    def rest(x, y, z):
        return revolved_distance(polygonal_radius(x, y, 4), z, foot)

    return slender(profile, (-TOP + 0.28, floor - 0.15), 2, rest=rest)


def portal(width: float, niche: float, hood: float, thickness: float) -> Surface:
    """Taçkapı: a tall framed block, a deep niche between colonnettes, bosses; ornament above it."""
    half_y = blend(width, 0.6, 0.67, 0.76)
    half_x = (0.58 + thickness) / 2
    middle = np.float32(0.38 - half_x)  # the front stands at 0.38
    top = TOP * blend(niche, -0.08, 0.1, 0.28)  # the highest niche takes 0.64 of the height
    kind = round(hood) + 1
    rise = (0.38, 0.74, 0.8)[kind]
    half = half_y - max(0.21, 0.8 * thickness)
    outline = arch(half, -TOP - 0.2, top, rise, kind)
    floor = half_x - 0.52
    low, high = top, TOP - 0.06  # all that the niche and the frame leave for the ornament
    half_z = (high - low) / 2
    cell = (min(half_y - 0.08, 1.55 * half_z), half_z)
    centre = np.float32((low + high) / 2)
    boss_y, boss_z = half_y - 0.2, top - 0.12
    spring = max(top - rise, -0.5)
    column = np.array([(half_x, half + 0.06, -TOP), (half_x, half + 0.06, spring)])
    hood_depth = np.float32(0.48 if kind == STEPPED else 0.0)  # how far the hood comes forward

    def parts(x, y, z):
        x = x - middle
        face = box_distance(y, z, half_y, TOP)
        block = extruded_distance(face, x, half_x)
        frame = np.maximum(face, -face - np.float32(0.06))
        block = np.minimum(block, extruded_distance(frame, x, half_x + 0.06))
        edge = polyline_distance(y, z, outline, closed=True)
        bosses = np.sqrt(
            (x - np.float32(half_x)) ** 2
            + (np.abs(y) - np.float32(boss_y)) ** 2
            + (z - np.float32(boss_z)) ** 2
        ) - np.float32(0.1)
        ledge = np.clip((z - np.float32(top - rise)) / np.float32(rise), 0, 1)
        opening = np.maximum(edge, np.float32(floor) + hood_depth * ledge - x)
        columns = np.maximum(tube_distance(x, np.abs(y), z, column, 0.07), -z - np.float32(TOP))
        block = np.minimum(np.maximum(np.minimum(block, bosses), -opening), columns)
        door = extruded_distance(
            box_distance(y, z + np.float32(TOP), 0.2, 0.56), x - np.float32(floor), 0.06
        )
        block = np.maximum(block, -door)
        chart = row_chart(y, z - centre, x - np.float32(half_x), cell, 1)
        return Parts(block, chart)

    return parts


def prayer_niche(width: float, depth: float, crest: float, thickness: float) -> Surface:
    """Mihrap: a slab with a corbelled niche between two colonnettes, ornament inside it."""
    half_y = blend(width, 0.66, 0.75, 0.84)
    hollow = blend(depth, 0.14, 0.23, 0.34)
    half_x = max(0.32, (0.42 + thickness + RELIEF_DEPTH) / 2)
    kind = round(crest)
    t = np.linspace(0, np.pi, 9)
    curve = (0 * t, np.sin(t), 1 - np.abs(np.cos(t)))[kind + 1]
    ridge = np.stack([half_y * np.cos(t), TOP + 0.36 * (curve - curve.max())], axis=1)
    shape = np.concatenate([ridge, [(-half_y, -TOP), (half_y, -TOP)]])
    half = 0.5
    outline = arch(half, -TOP + 0.06, 0.6, 0.5, STEPPED)
    back = np.float32(half_x - hollow)
    cell = (half, 0.65)  # as tall as the niche: its strokes stay two voxels wide
    centre = np.float32(-TOP + 0.1 + cell[1])
    column = np.array([(half_x, half + 0.07, -TOP + 0.1), (half_x, half + 0.07, -0.06)])

    def parts(x, y, z):
        face = polyline_distance(y, z, shape, closed=True)
        slab = extruded_distance(face, x, half_x)
        frame = np.maximum(face, -face - np.float32(0.08))
        slab = np.minimum(slab, extruded_distance(frame, x, half_x + 0.06))
        columns = np.maximum(tube_distance(x, np.abs(y), z, column, 0.07), -z - np.float32(TOP))
        slab = np.minimum(slab, columns)
        edge = polyline_distance(y, z, outline, closed=True)
        slab = np.maximum(slab, -np.maximum(edge, back - x))
        chart = row_chart(y, z - centre, x - back, cell, 1)
        return Parts(slab, masked(chart, smoothstep(0.0, EDGE_MARGIN, -edge)))

    return parts


def capital(height: float, flare: float, abacus: float, thickness: float) -> Surface:
    """Sütun başlığı: a piece of shaft, its ring, a bell that turns from round to square between
    lozenges at its corners, a square abacus."""
    tall = blend(height, 1.3, 1.56, 1.8)
    plate = blend(abacus, 0.14, 0.24, 0.38)
    low = -tall / 2
    foot, shoulder = low + 0.3, tall / 2 - plate
    s = np.linspace(0, 1, 9)
    radii = 0.49 + 0.32 * (s + blend(flare, -0.32, 0.0, 0.32) * np.sin(np.pi * s))
    profile = np.stack([radii, foot + (shoulder - foot) * s], axis=1)
    ring = closed(
        np.array(
            [
                (0.48, low),
                (0.48, foot - 0.14),
                (0.57, foot - 0.11),
                (0.57, foot - 0.04),
                (0.5, foot),
            ]
        )
    )
    middle, half = np.float32((foot + shoulder) / 2), np.float32((shoulder - foot) / 2)
    slope = np.float32(1 / np.hypot(1, 0.32 / (shoulder - foot)))
    zone = (foot + 0.02, shoulder - 0.01)

    def parts(x, y, z):
        square = smoothstep(foot, shoulder, z)
        r = np.hypot(x, y)
        r = r + square * (np.maximum(np.abs(x), np.abs(y)) - r)
        face = (r - np.interp(z, profile[:, 1], profile[:, 0]).astype(x.dtype)) * slope
        side = np.abs(np.abs(x) - np.abs(y)) / np.float32(np.sqrt(2))  # off the corner
        lozenge = 1 - side / np.float32(0.34) - np.abs(z - middle) / half
        face = (face - LOZENGE * np.maximum(lozenge, 0)).astype(x.dtype)
        bell = np.maximum(face, np.abs(z - middle) - half - np.float32(0.02))
        slab = block_distance(x, y, z - np.float32(tall / 2 - plate / 2), (TOP, TOP, plate / 2))
        base = revolved_distance(np.hypot(x, y), z, ring)
        other = np.minimum(slab, base)
        chart = replace(ring_chart(x, y, z, r, profile, zone, 4), height=face)
        keep = smoothstep(0.0, 0.06, other) * smoothstep(0.3, 0.22, np.abs(bell))
        keep = keep * smoothstep(0.14, 0.22, np.hypot(x, y))
        return Parts(bell.astype(x.dtype), masked(chart, keep), other)

    return parts


def fountain(width: float, eaves: float, basin: float, thickness: float) -> Surface:
    """Çeşme: a wall with an ogee niche, a tap over a basin, eaves; ornament in the niche."""
    half_y = blend(width, 0.625, 0.72, 0.844)
    half_x = max(0.28125, (0.16 + thickness + RELIEF_DEPTH) / 2)
    hood = max(0.0, blend(eaves, 0.0, 0.12, 0.42))
    reach = blend(basin, 0.25, 0.375, 0.5625)
    outline = arch(0.53, -TOP + 0.1, 0.58, 0.34, OGEE)
    back = np.float32(half_x - 0.16)
    cell = (0.5, 0.54)
    centre = np.float32(0.09)
    bowl_z, bowl_h = -TOP + 0.22, 0.22
    side = np.array(
        [
            (-half_x, 0.6),
            (half_x, 0.6),
            (half_x + hood, 0.6 + 0.5 * hood),
            (half_x + hood, 0.84),
            (half_x, TOP),
            (-half_x, TOP),
        ]
    )
    spout = np.array([(half_x - 0.2, 0, -0.5), (half_x + 0.1, 0, -0.52)])
    middle = np.float32(-reach / 2)

    def parts(x, y, z):
        x = x - middle
        wall = block_distance(x, y, z, (half_x, half_y, TOP))
        roof = extruded_distance(
            polyline_distance(x, z, side, closed=True), y, half_y + min(hood, 0.9 - half_y)
        )
        edge = polyline_distance(y, z, outline, closed=True)
        wall = np.maximum(np.minimum(wall, roof), -np.maximum(edge, back - x))
        trough_x = x - np.float32(half_x + reach / 2 - 0.1)
        trough = block_distance(
            trough_x, y, z - np.float32(bowl_z), (reach / 2 + 0.1, 0.56, bowl_h), 0.03
        )
        water = block_distance(
            trough_x, y, z - np.float32(bowl_z + bowl_h), (max(reach / 2 - 0.06, 0.06), 0.42, 0.12)
        )
        tap = tube_distance(x, y, z, spout, 0.07)
        other = np.minimum(np.maximum(trough, -water), tap)
        chart = row_chart(y, z - centre, x - back, cell, 1)
        keep = smoothstep(0.0, EDGE_MARGIN, -edge) * smoothstep(0.02, 0.1, other)
        return Parts(np.minimum(wall, other), masked(chart, keep))

    return parts
