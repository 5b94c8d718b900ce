"""Stones of graves and of the steppe, all facing +x; builders as in `vessels`."""

import numpy as np

from otuken_jax.data.motifs.charts import Parts, Surface, masked, plane_chart, row_chart
from otuken_jax.data.motifs.monuments import EDGE_MARGIN, TOP, half_thickness
from otuken_jax.data.motifs.primitives import (
    block_distance,
    box_distance,
    ellipsoid_distance,
    extruded_distance,
    polyline_distance,
    smooth_profile,
    smooth_union,
    smoothstep,
    tapered_tube_distance,
    tube_distance,
    turned,
)
from otuken_jax.data.motifs.profiles import blend

CLEAR = (0.02, 0.1)  # distance from other parts over which the ornament fades in
GROUND = np.float32(TOP)


def turbaned_stone(width: float, turban: float, body: float, thickness: float) -> Surface:
    """Kavuklu mezar taşı: a slab that widens upwards, a neck, a wound turban."""
    top_half = blend(width, 0.6, 0.52, 0.45)
    foot_half = top_half - 0.06
    half_x = half_thickness(body, thickness)
    rise = blend(turban, 0.19, 0.26, 0.35)
    shoulder = TOP - 2 * rise - 0.12
    outline = np.array(
        [
            (-foot_half, -TOP),
            (foot_half, -TOP),
            (top_half, shoulder - 0.1),
            (0.2, shoulder),
            (-0.2, shoulder),
            (-top_half, shoulder - 0.1),
        ]
    )
    radii = np.array([max(0.34, half_x + 0.08), max(0.4, half_x + 0.08), rise])
    middle = np.float32(TOP - rise - 0.07)
    cell = min(foot_half - 0.02, (shoulder + TOP - 0.1) / 2)
    centre = np.float32(shoulder - 0.12 - cell)

    def parts(x, y, z):
        face = polyline_distance(y, z, outline, closed=True)
        slab = extruded_distance(face, x, half_x)
        winding = np.cos(np.arctan2(y, x) + 26 * z).astype(x.dtype)
        cloth = ellipsoid_distance(x, y, z - middle, radii) + np.float32(0.016) * winding
        neck = np.maximum(
            np.hypot(x, y) - np.float32(0.22), np.abs(z - middle) - np.float32(rise + 0.07)
        )
        head = smooth_union(cloth, neck, 0.06)
        chart = plane_chart(y, z - centre, x - np.float32(half_x), cell)
        keep = smoothstep(0.0, EDGE_MARGIN, -face) * smoothstep(*CLEAR, head)
        return Parts(smooth_union(slab, head, 0.06), masked(chart, keep))

    return parts


def ram(length: float, horn: float, base: float, thickness: float) -> Surface:
    """Koçbaşlı mezar taşı: a ram along y, its head to -y, on a base; ornament on its flank."""
    half_z = blend(length, 0.48, 0.41, 0.34)
    plinth = blend(base, 0.14, 0.27, 0.42)
    curl = blend(horn, 0.17, 0.27, 0.38)
    half_x = max(0.3, thickness / 2)
    rise = 0.3
    tube = max(0.1, thickness / 2)
    tall = plinth + 2 * half_z
    low = min(-(tall + rise) / 2, 0.96 - (tall + curl + tube - 0.04))  # large horns stay inside
    centre = low + plinth + half_z
    head_z = centre + half_z + 0.02
    turns = np.linspace(0, 1.3, 11)
    spiral = curl * (1 - 0.62 * turns / 1.3)
    angle = np.pi * (0.6 + 2 * turns)  # from the top of the head back, down and forwards
    horns = np.stack(
        [0 * turns + 0.26, -0.56 - spiral * np.cos(angle), head_z - 0.06 + spiral * np.sin(angle)],
        axis=1,
    )
    head = np.array([(0, -0.3, centre), (0, -0.5, head_z), (0, -0.74, head_z - 0.12)])
    half_y = 0.68

    def parts(x, y, z):
        block = block_distance(
            x, y - np.float32(0.2), z - np.float32(centre), (half_x, half_y, half_z), 0.14
        )
        stand = block_distance(
            x,
            y - np.float32(0.1),
            z - np.float32(low + plinth / 2),
            (half_x + 0.08, 0.8, plinth / 2),
        )
        skull = tapered_tube_distance(x, y, z, head, np.array([0.3, 0.26, 0.16]))
        curls = tube_distance(np.abs(x), y, z, horns, tube)
        eye = np.hypot(y + np.float32(0.56), z - np.float32(head_z - 0.06))
        eye = extruded_distance(eye - np.float32(0.8 * curl), x, 0.26)
        curls = np.minimum(curls, eye)
        other = smooth_union(np.minimum(stand, skull), curls, 0.04)
        chart = row_chart(
            y - np.float32(0.2),
            z - np.float32(centre),
            x - np.float32(half_x),
            (0.62, half_z - 0.04),
            2,
        )
        return Parts(smooth_union(block, other, 0.08), masked(chart, smoothstep(0.02, 0.12, other)))

    return parts


def ahlat_stele(width: float, crest: float, body: float, thickness: float) -> Surface:
    """Ahlat şahidesi: a tall framed slab on a plinth; its top flat, corbelled or with dragons."""
    half_y = blend(width, 0.625, 0.56, 0.5)  # halfway between the centres of a 64^3 grid
    half_x = half_thickness(body, thickness)
    kind = round(crest)
    frame = 0.09
    top = TOP - (0.0, 0.28, 0.3)[kind + 1]
    cell = half_y - frame - 0.02
    centre = np.float32(top - 0.14 - cell)
    tube = max(0.09, thickness / 2)
    t = np.linspace(0, 1, 12)
    coil = 0.19 * (1 - 0.55 * t)
    dragon = np.stack(
        [0 * t, half_y - 0.2 + coil * np.cos(np.pi * (2.6 * t - 0.5)),
         TOP - tube - 0.19 + coil * np.sin(np.pi * (2.6 * t - 0.5))], axis=1,
    )  # fmt: skip

    def parts(x, y, z):
        face = box_distance(y, z, half_y, TOP)
        face = np.maximum(face, z - np.float32(top))
        slab = extruded_distance(face, x, half_x)
        rim = np.maximum(face, -face - np.float32(frame))
        slab = np.minimum(slab, extruded_distance(rim, x, half_x + 0.07))
        plinth = block_distance(
            x, y, z + np.float32(TOP - 0.1), (half_x + 0.14, half_y + 0.12, 0.1)
        )
        slab = np.minimum(slab, plinth)
        if kind == 0:
            for step in range(3):
                out = 0.07 * (step + 1)
                tier = block_distance(  # forward and back more than to the sides
                    x, y, z - np.float32(top + 0.28 * (step + 0.5) / 3),
                    (half_x + out, half_y + 0.3 * out, 0.14 / 3 + 0.01),
                )  # fmt: skip
                slab = np.minimum(slab, tier)
        elif kind == 1:
            slab = smooth_union(slab, tube_distance(x, np.abs(y), z, dragon, tube), 0.06)
        chart = plane_chart(y, z - centre, x - np.float32(half_x), cell)
        keep = smoothstep(frame, frame + EDGE_MARGIN, -face)
        return Parts(slab, masked(chart, keep))

    return parts


def _crest(half: float, kind: int) -> np.ndarray:
    """Points (y, z) of a stone's top from right to left, highest at z = 0."""
    t = np.linspace(0, np.pi, 9)
    curve = (0 * t, 0.8 * np.sin(t), 1.1 * (1 - np.abs(np.cos(t))))[kind + 1]
    return np.stack([half * np.cos(t), half * (curve - curve.max())], axis=1)


def balbal(width: float, crest: float, lean: float, thickness: float) -> Surface:
    """Balbal: a rough standing stone, upright or leaning to its left (-y)."""
    half_y = blend(width, 0.54, 0.45, 0.37)
    half_x = max(0.28, (thickness + 0.12) / 2 + 0.05)
    angle = np.radians(blend(lean, 0.0, 7.0, 15.0))
    rounding = 0.08
    top = _crest(half_y - rounding, round(crest))
    raised = top[:, 1] * np.cos(angle) + np.abs(top[:, 0]) * np.sin(angle)
    high = (TOP - rounding - raised.max()) / np.cos(angle)
    sides = np.array([(-half_y + rounding + 0.06, -1.4), (half_y - rounding - 0.06, -1.4)])
    outline = np.concatenate([top + np.array([0, high]), sides])
    cell = half_y - 0.04
    centre = np.float32(0.1)
    shift = np.float32(0.45 * np.sin(angle))

    def parts(x, y, z):
        y, z0 = y - shift, z
        y, z = turned(y, z, angle)
        face = polyline_distance(y, z, outline, closed=True)
        rough = 0.03 * np.sin(5 * y + 3 * x + 1) * np.sin(4 * z) + 0.02 * np.sin(7 * z + 2 * x)
        rough = rough.astype(x.dtype)
        stone = extruded_distance(face, x, half_x - rounding) - np.float32(rounding) + rough
        chart = plane_chart(y, z - centre, x - np.float32(half_x) + rough, cell)
        keep = smoothstep(0.0, EDGE_MARGIN, -face)
        return Parts(np.maximum(stone, -z0 - GROUND), masked(chart, keep))

    return parts


def ancestor(shoulders: float, head: float, body: float, thickness: float) -> Surface:
    """Taşbaba: a stone man with brows, nose and moustache, who holds a cup above his belt."""
    half_y = blend(shoulders, 0.46, 0.54, 0.64)
    skull = blend(head, 0.24, 0.3, 0.37)
    half_x = half_thickness(body, thickness)
    shoulder = TOP - 2 * skull + 0.1
    outline = np.concatenate(
        [
            [(-0.49, -TOP - 0.3), (0.49, -TOP - 0.3)],
            smooth_profile([(0.5, -0.3), (half_y, shoulder - 0.3), (0.8 * half_y, shoulder)]),
            smooth_profile([(-0.8 * half_y, shoulder), (-half_y, shoulder - 0.3), (-0.5, -0.3)]),
        ]
    )
    front = np.float32(half_x)
    face_x = half_x + 0.02
    middle = TOP - skull
    wide = max(0.8 * skull, thickness / 2)
    brow = np.array(
        [(0.7 * face_x, 0.62 * wide, middle + 0.12), (face_x + 0.02, 0.0, middle + 0.1)]
    )
    nose = np.array([(face_x, 0.0, middle + 0.1), (face_x + 0.05, 0.0, middle - 0.06)])
    whisker = np.array([(face_x, 0.0, middle - 0.11), (0.7 * face_x, 0.5 * wide, middle - 0.17)])
    cup_z = 0.08
    arm = np.array(
        [(0.3 * half_x, half_y - 0.06, shoulder - 0.24), (half_x, half_y - 0.1, cup_z - 0.02),
         (half_x + 0.06, 0.14, cup_z)]
    )  # fmt: skip
    cell = 0.42
    centre = np.float32(-0.5)

    def parts(x, y, z):
        face = polyline_distance(y, z, outline, closed=True)
        trunk = extruded_distance(face, x, half_x - 0.06) - np.float32(0.06)
        radii = np.array([face_x, wide, skull])
        man = smooth_union(trunk, ellipsoid_distance(x, y, z - np.float32(middle), radii), 0.1)
        side = np.abs(y)
        marks = np.minimum(
            tube_distance(x, side, z, brow, 0.05), tube_distance(x, side, z, whisker, 0.05)
        )
        marks = np.minimum(marks, tube_distance(x, y, z, nose, 0.055))
        limbs = tube_distance(x, side, z, arm, 0.085)
        cup = (
            np.hypot(x - front - np.float32(0.06), y)
            - np.float32(0.12)
            - 0.2 * (z - np.float32(cup_z))
        )
        cup = np.maximum(cup, np.abs(z - np.float32(cup_z + 0.04)) - np.float32(0.15))
        belt = box_distance(x, z + np.float32(0.07), half_x + 0.05, 0.045)
        belt = np.maximum(belt, face - np.float32(0.04))
        man = smooth_union(man, np.minimum(np.minimum(limbs, cup), np.minimum(marks, belt)), 0.03)
        chart = plane_chart(y, z - centre, x - front, cell)
        keep = smoothstep(-0.02, EDGE_MARGIN - 0.02, -face) * smoothstep(0.0, 0.06, belt)
        return Parts(np.maximum(man, -z - GROUND), masked(chart, keep))

    return parts


def cenotaph(height: float, roof: float, base: float, thickness: float) -> Surface:
    """Sanduka: a long prism on a step, flat or gabled above, ornament on its long side."""
    half_x = 0.4375  # sizes in whole 32nds: a face halfway between centres of a 64^3 grid
    wall = blend(height, 0.75, 0.875, 1.0)
    rise = max(0.0, blend(roof, 0.0, 0.1875, 0.4375))
    step = max(0.0, blend(base, 0.0, 0.125, 0.25))
    low = -(wall + rise + step) / 2
    foot = low + step
    eave = foot + wall
    section = np.array(
        [(-half_x, low), (half_x, low), (half_x, eave - 0.06), (half_x + 0.05, eave - 0.02),
         (half_x + 0.05, eave), (0.06, eave + rise), (-0.06, eave + rise), (-half_x - 0.05, eave),
         (-half_x - 0.05, eave - 0.02), (-half_x, eave - 0.06)]
    )  # fmt: skip
    half_z = (wall - 0.06) / 2
    centre = np.float32(foot + half_z + 0.02)

    def parts(x, y, z):
        prism = extruded_distance(polyline_distance(x, z, section, closed=True), y, TOP - 0.06)
        plinth = block_distance(
            x, y, z - np.float32(low + step / 2), (half_x + 0.125, TOP, max(step, 0.1) / 2)
        )
        plinth = np.maximum(plinth, -z + np.float32(low)) if step > 0.05 else plinth + 1
        chart = row_chart(y, z - centre, x - np.float32(half_x), (TOP - 0.06, half_z), 2)
        keep = smoothstep(*CLEAR, plinth)
        return Parts(np.minimum(prism, plinth), masked(chart, keep))

    return parts
