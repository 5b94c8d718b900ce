"""Hosts for the house and the belt, and the animal vessel; builders as in `vessels`."""

import numpy as np

from otuken_jax.data.motifs.charts import Parts, Surface, masked, plane_chart
from otuken_jax.data.motifs.monuments import EDGE_MARGIN, TOP, half_thickness
from otuken_jax.data.motifs.primitives import (
    block_distance,
    box_distance,
    extruded_distance,
    polyline_distance,
    revolved_distance,
    smooth_union,
    smoothstep,
    tapered_tube_distance,
    tube_distance,
    turned,
)
from otuken_jax.data.motifs.profiles import blend
from otuken_jax.data.motifs.styles import RELIEF_DEPTH

CLEAR = (0.02, 0.1)  # distance from other parts over which the ornament fades in


def rhyton(horn: float, mouth: float, legs: float, thickness: float) -> Surface:
    """Riton: a bull that looks to -y, with a cup on its back; ornament on its flank."""
    stand = blend(legs, 0.16, 0.27, 0.4)
    rim = blend(mouth, 0.24, 0.33, 0.43)
    curl = blend(horn, 0.08, 0.18, 0.3)
    half = (0.36, 0.6, 0.4)
    tube = max(0.075, thickness / 2)
    low = -(stand + 2 * half[2] + max(0.34, 0.14 + curl + tube)) / 2
    centre = np.float32(low + stand + half[2])
    back = low + stand + 2 * half[2]
    middle = np.float32(0.26)  # of the trunk along y
    leg = max(0.1, thickness / 2)
    apart = max(0.22, leg + 0.13)
    reach = np.float32((stand + half[2]) / 2)  # half of a leg, up to the trunk's middle
    shin = np.float32(low) + reach
    head_z = back - 0.02
    head = np.array([(0, -0.2, back - 0.3), (0, -0.5, head_z), (0, -0.78, head_z - 0.16)])
    horns = np.array(
        [
            (0.1, -0.5, head_z + 0.1),
            (0.16 + tube, -0.54, head_z + 0.16),
            (0.2 + tube, -0.6, head_z + 0.16 + curl),
        ]
    )
    cup = np.array(
        [
            (0, back - 0.2),
            (0.17, back - 0.1),
            (0.17, back + 0.04),
            (rim, back + 0.34 - max(0.12, 0.65 * thickness)),
            (rim, back + 0.34),
            (0, back + 0.34),
        ]
    )
    # A shallow mouth, so that the wall of the cup stays thick below it.
    lip, inner = back + 0.34, rim - max(0.05, 0.35 * thickness)
    hole = np.array([(0, lip - 0.4 * inner), (inner, lip), (inner, lip + 0.3), (0, lip + 0.3)])

    def parts(x, y, z):
        side, along = np.abs(x), y - middle
        trunk = block_distance(x, along, z - centre, half, 0.3)
        limbs = np.hypot(side - np.float32(apart), np.abs(along) - np.float32(0.36))
        limbs = np.maximum(limbs - np.float32(leg), np.abs(z - shin) - reach)
        skull = tapered_tube_distance(x, y, z, head, np.array([0.28, 0.22, 0.14]))
        skull = smooth_union(skull, tube_distance(side, y, z, horns, tube), 0.05)
        r = np.hypot(x, along - np.float32(0.1))
        other = np.minimum(np.minimum(limbs, skull), revolved_distance(r, z, cup))
        body = np.maximum(smooth_union(trunk, other, 0.08), -revolved_distance(r, z, hole))
        chart = plane_chart(along, z - centre, trunk, 0.37)
        keep = smoothstep(0.05, 0.14, other) * smoothstep(0.06, 0.14, x)
        return Parts(body, masked(chart, keep))

    return parts


def book_stand(angle: float, feet: float, width: float, thickness: float) -> Surface:
    """Rahle: two boards that cross along y, on arched feet; ornament on the front one's foot."""
    tilt = np.radians(blend(angle, 17.0, 23.0, 30.0))
    half_y = blend(width, 0.56, 0.656, 0.813)
    notch = blend(feet, 0.08, 0.24, 0.4)
    half = (thickness + RELIEF_DEPTH) / 2
    cross = 0.22
    opening = half_y - max(0.2, thickness)
    low = -(TOP + cross) / np.cos(tilt)
    cell = 0.42
    centre = np.float32(max(-half * np.tan(tilt) - 0.1 - cell, low + notch + cell))

    def board(x, y, z):
        """Distance, height above the outer face, and the place along the board."""
        height, along = turned(x, z - np.float32(cross), tilt)
        slab = np.maximum(np.abs(y) - np.float32(half_y), np.abs(height) - np.float32(half))
        arch = np.hypot(y / np.float32(opening), (along - np.float32(low)) / np.float32(notch)) - 1
        arch = arch * np.float32(min(opening, notch))
        return np.maximum(slab, -arch), height - np.float32(half), along

    def parts(x, y, z):
        front, height, along = board(x, y, z)
        rear, _, _ = board(-x, y, z)
        stand = np.maximum(np.minimum(front, rear), np.abs(z) - np.float32(TOP))
        chart = plane_chart(y, along - centre, height, cell)
        keep = smoothstep(0.0, EDGE_MARGIN, -(np.abs(y) - np.float32(half_y)))
        keep = keep * smoothstep(*CLEAR, rear) * smoothstep(0.0, 0.06, z + np.float32(TOP - 0.02))
        notched = np.hypot(y / np.float32(opening), (along - np.float32(low)) / np.float32(notch))
        return Parts(stand, masked(chart, keep * smoothstep(1.0, 1.25, notched)))

    return parts


def belt_plaque(width: float, corner: float, body: float, thickness: float) -> Surface:
    """Kemer tokası: a plate with four rivets and a loop to -y for the strap."""
    half_y, half_z = 0.6, blend(width, 0.44, 0.54, 0.66)
    half_x = half_thickness(body, thickness)
    radius = blend(corner, 0.03, 0.22, 0.39)
    tube = max(0.09, thickness / 2)
    reach = max(0.3, half_z - tube)
    loop = np.array(
        [
            (0, -0.1, reach),
            (0, 0.1 + tube - TOP, reach),
            (0, tube - TOP, 0.8 * reach),
            (0, tube - TOP, -0.8 * reach),
            (0, 0.1 + tube - TOP, -reach),
            (0, -0.1, -reach),
        ]
    )
    middle = np.float32(TOP - half_y)
    cell = min(half_y, half_z) - 0.025

    def parts(x, y, z):
        along = y - middle
        face = box_distance(along, z, half_y, half_z, radius)
        plate = extruded_distance(face, x, half_x)
        away_y = np.abs(along) - np.float32(half_y - 0.13 - 0.3 * radius)
        away_z = np.abs(z) - np.float32(half_z - 0.13 - 0.3 * radius)
        rivets = np.sqrt((x - np.float32(half_x)) ** 2 + away_y**2 + away_z**2) - np.float32(0.09)
        ring = tube_distance(x, y, z, loop, tube)
        other = np.minimum(rivets, ring)
        chart = plane_chart(along, z, x - np.float32(half_x), cell)
        keep = smoothstep(0.0, EDGE_MARGIN, -face) * smoothstep(*CLEAR, other)
        return Parts(np.minimum(plate, other), masked(chart, keep))

    return parts


def kilim(shape: float, fringe: float, wave: float, thickness: float) -> Surface:
    """Kilim panosu: a hanging that faces +x, flat or in waves, on a rod, fringed below."""
    # 0.306 puts the short side halfway between the centres of a 64^3 grid.
    half_y, half_z = TOP * min(1.0, 1 - 0.306 * shape), TOP * min(1.0, 1 + 0.306 * shape)
    half_x = (thickness + RELIEF_DEPTH) / 2
    length = blend(fringe, 0.08, 0.25, 0.44)
    rod = half_x + 0.05
    middle = np.float32(length / 2 - rod / 2)  # of the woven part
    woven = half_z - length / 2 - rod / 2
    rest = np.float32(half_z / 2)  # the strands hang from the middle
    depth = np.float32(blend(wave, 0.0, 0.08, 0.17))
    strand = max(0.1, thickness)
    count = int((2 * half_y + strand) / (2 * strand))
    pitch = np.float32((2 * half_y - strand) / (count - 1))
    cell = min(half_y, woven) - 0.04

    def parts(x, y, z):
        bent = x - depth * np.sin(np.float32(3.4) * y)
        cloth = box_distance(y, z - middle, half_y, woven)
        nearest = np.clip(np.rint((y + np.float32(half_y - strand / 2)) / pitch), 0, count - 1)
        off = y + np.float32(half_y - strand / 2) - nearest * pitch
        threads = np.maximum(np.abs(off) - np.float32(strand / 2), np.abs(z + rest) - half_z + rest)
        face = np.minimum(cloth, threads)
        slope = np.float32(1 / np.hypot(1, 2 * depth))
        panel = extruded_distance(face, bent * slope, half_x)
        pole = np.hypot(x, z - np.float32(half_z - rod)) - np.float32(rod)
        pole = np.maximum(pole, np.abs(y) - np.float32(half_y))
        chart = plane_chart(y, z - middle, bent * slope - np.float32(half_x), cell)
        keep = smoothstep(0.0, EDGE_MARGIN, -cloth) * smoothstep(*CLEAR, pole)
        return Parts(np.minimum(panel, pole), masked(chart, keep))

    return parts


def bead(body: float, shape: float, hole: float, thickness: float) -> Surface:
    """Nazar boncuğu: a flat glass drop with a raised rim and a hole for the thread."""
    half_x = half_thickness(body, thickness)
    radius = blend(hole, 0.13, 0.21, 0.3)
    half_y = blend(shape, 0.9, 0.72, 0.8)
    t = np.linspace(0, 2 * np.pi, 33)[:-1]
    drop = max(0.0, shape)  # the upper half narrows to a drop
    narrow = 1 - 0.5 * drop * np.clip(np.sin(t), 0, 1) ** 2
    outline = np.stack([(half_y - 0.05) * np.cos(t) * narrow, (TOP - 0.05) * np.sin(t)], axis=1)
    high = np.float32(TOP - max(0.14, thickness) - radius)
    cell = min(0.5, half_y - 0.2)
    centre = np.float32(min(-TOP + 0.14 + cell, -0.2))

    def parts(x, y, z):
        face = polyline_distance(y, z, outline, closed=True)
        glass = extruded_distance(face, x, half_x - 0.05) - np.float32(0.05)
        rim = np.maximum(face, -face - np.float32(0.1))
        glass = np.minimum(glass, extruded_distance(rim, x, half_x + 0.05))
        thread = np.hypot(y, z - high) - np.float32(radius)
        chart = plane_chart(y, z - centre, x - np.float32(half_x), cell)
        keep = smoothstep(0.1, 0.1 + EDGE_MARGIN, -face) * smoothstep(*CLEAR, thread)
        return Parts(np.maximum(glass, -thread), masked(chart, keep))

    return parts
