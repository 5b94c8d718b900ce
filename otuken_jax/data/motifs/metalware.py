"""Hosts of metal and glass, turned about z, with spouts, handles and feet; builders as in
`vessels`.
"""

import numpy as np

from otuken_jax.data.motifs.charts import Surface
from otuken_jax.data.motifs.primitives import (
    Field,
    box_distance,
    ellipsoid_distance,
    extruded_distance,
    revolved_distance,
    sector_coordinates,
    smooth_profile,
    smooth_union,
    tapered_tube_distance,
    tube_distance,
    turned,
)
from otuken_jax.data.motifs.profiles import (
    blend,
    closed,
    fit,
    hollow,
    shifted,
    slender,
)

LOOP_THICKNESS = 0.25  # above it small handles are solid lugs: their eye would close
TIP = 0.02  # radius of a point on the axis


def _in_plane(path: list[tuple[float, float]], segments: int = 3) -> np.ndarray:
    """A smooth path [n, 3] in the plane y = 0 through (x, z) points."""
    curve = smooth_profile(path, segments)
    return np.stack([curve[:, 0], np.zeros(len(curve)), curve[:, 1]], axis=1)


def _loop(
    x: Field, y: Field, z: Field, foot: tuple[float, float], head: tuple[float, float],
    reach: float, thickness: float,
) -> Field:  # fmt: skip
    """A small handle in the plane y = 0 from `foot` out to x = `reach` and up to `head`.

    Both are (x, z). Where walls are too thick for an eye it is a solid lug of the same outline.
    """
    if thickness > LOOP_THICKNESS:
        low, high = min(foot[0], head[0]), (head[1] - foot[1]) / 2 + thickness / 2
        middle = np.float32((foot[1] + head[1]) / 2)
        radii = np.array([reach + thickness / 2 - low, thickness / 2 + 0.02, high])
        return ellipsoid_distance(x - np.float32(low), y, z - middle, radii)
    path = [foot, (reach, 0.7 * foot[1] + 0.3 * head[1]), (reach, 0.3 * foot[1] + 0.7 * head[1])]
    return tube_distance(x, y, z, _in_plane([*path, head]), max(0.07, thickness / 2))


def ewer(height: float, body: float, spout: float, thickness: float) -> Surface:
    """İbrik: a lidded pear on a foot, with a handle to +y and an S-shaped spout to -y."""
    radius = blend(height, 0.54, 0.47, 0.41)
    centre = blend(body, 0.42, 0.56, 0.74)
    throat = max(0.14, thickness / 2)
    profile = fit(
        np.concatenate(
            [
                [(0.72 * radius, 0.0), (0.72 * radius, 0.06)],
                smooth_profile(
                    [
                        (0.6 * radius, 0.14),
                        (0.92 * radius, 0.5 * centre + 0.06),
                        (radius, centre),
                        (0.88 * radius, 0.55 * centre + 0.36),
                        (throat + 0.05, 1.08),
                        (throat, 1.24),
                    ]
                ),
                [(throat + 0.08, 1.4), (throat + 0.08, 1.46), (0.9 * throat, 1.58), (0.08, 1.66)],
                [(0.09, 1.73), (TIP, 1.8)],
            ]
        )
    )
    tube = max(0.09, thickness / 2)
    reach = throat + tube + 0.32
    handle = _in_plane(
        [
            (throat, 0.38),
            (0.75 * reach, 0.46),
            (reach, 0.2),
            (0.95 * reach, -0.12),
            (0.8 * radius, -0.32),
        ]
    )
    tip = min(radius + blend(spout, 0.26, 0.36, 0.46), 1.74 - reach - 2 * tube)
    top = blend(spout, 0.0, 0.24, 0.48)
    pour = _in_plane(
        [
            (0.7 * radius, -0.52),
            (radius + 0.1, -0.42),
            (radius + 0.19, 0.5 * top - 0.18),
            (0.5 * radius + 0.5 * tip + 0.14, 0.85 * top - 0.02),
            (tip, top),
        ]
    )
    widths = np.maximum(np.linspace(0.15, 0.085, len(pour)), thickness / 2)

    def rest(x, y, z):
        spout = tapered_tube_distance(-y, x, z, pour, widths)
        return np.minimum(tube_distance(y, x, z, handle, tube), spout)

    room = (-0.74, 0.2)
    return shifted(slender(profile, room, 3, rest=rest), y=(tip - reach) / 2)


def sprinkler(neck: float, body: float, foot: float, thickness: float) -> Surface:
    """Gülabdan: a globe on a foot, and a very thin neck that ends in a bud."""
    stand = blend(foot, 0.1, 0.22, 0.38)
    ball = blend(neck, 0.98, 0.82, 0.68)  # height of the globe
    radius = blend(body, 0.56, 0.48, 0.42)
    thin = max(0.06, thickness / 2)
    throat = stand + ball
    profile = fit(
        np.concatenate(
            [
                [(0.62 * radius + 0.06, 0.0), (max(0.42 * radius, thin), stand - 0.03)],
                smooth_profile(
                    [
                        (0.5 * radius, stand),
                        (0.9 * radius, stand + 0.2 * ball),
                        (radius, stand + 0.42 * ball),
                        (0.78 * radius, stand + 0.72 * ball),
                        (0.24 * radius + 0.6 * thin, throat - 0.03),
                        (thin + 0.01, throat + 0.07),
                    ]
                ),
                [(thin, 1.56), (thin + 0.045, 1.64), (thin + 0.03, 1.72), (0.04, 1.8)],
            ]
        )
    )
    bottom = profile[0, 1]
    room = (bottom + stand + 0.04, bottom + stand + 0.86 * ball)
    return slender(profile, room, 3)


def mosque_lamp(height: float, body: float, mouth: float, thickness: float) -> Surface:
    """Kandil: a bulb between a foot and a flaring neck, hung from three loops."""
    radius = blend(height, 0.66, 0.56, 0.47)
    widest = blend(body, 0.48, 0.6, 0.74)
    waist = max(0.58 * radius, thickness / 2 + 0.06)
    lip = radius * blend(mouth, 0.92, 1.12, 1.34)
    profile = fit(
        np.concatenate(
            [
                [(0.66 * radius, 0.0), (max(0.44 * radius, thickness / 2), 0.16)],
                smooth_profile(
                    [
                        (0.5 * radius, 0.22),
                        (0.94 * radius, 0.55 * widest + 0.06),
                        (radius, widest),
                        (0.84 * radius, 0.55 * widest + 0.5),
                        (waist, 1.12),
                        (0.5 * waist + 0.5 * lip, 1.44),
                        (lip, 1.8),
                    ]
                ),
            ]
        )
    )
    bottom = profile[0, 1]
    shoulder = bottom + 0.55 * widest + 0.5

    def rest(x, y, z):
        x, y = sector_coordinates(-x, y, 3)  # between the front cell and its neighbours
        foot, head = (0.66 * radius, shoulder + 0.06), (0.9 * waist, shoulder + 0.34)
        return _loop(x, y, z, foot, head, radius + 0.1, thickness)

    room = (bottom + 0.5 * widest + 0.06, bottom + 1.06)
    return slender(
        profile,
        room,
        3,
        cavity=hollow(profile, thickness, room[1]),
        rest=rest,
    )


def burner(lid: float, handle: float, feet: float, thickness: float) -> Surface:
    """Buhurdan: a bowl on three feet under a domed lid, with a bar for a handle to +y."""
    stand = blend(feet, 0.22, 0.34, 0.48)
    dome = blend(lid, 0.8, 0.94, 1.06)
    rim = 1.8 - dome
    radius = 0.62
    base, knob = rim - stand, max(0.1, 0.3 * thickness)
    profile = np.concatenate(
        [
            smooth_profile(
                [(0.3, stand), (0.86 * radius, stand + 0.35 * base), (radius, rim - 0.05)]
            ),
            [(radius + 0.05, rim - 0.05), (radius + 0.05, rim + 0.03)],
            smooth_profile(
                [
                    (radius - 0.02, rim + 0.06),
                    (0.97 * radius, rim + 0.3 * dome),
                    (0.85 * radius, rim + 0.58 * dome),
                    (0.46 * radius, rim + 0.76 * dome),
                    (knob, rim + 0.82 * dome),
                ]
            ),
            [(knob + 0.03, rim + 0.9 * dome), (TIP, 1.8)],
        ]
    ) - [0.0, 0.9]
    tube = max(0.09, thickness / 2)
    foot = np.array([(0.3, 0, stand - 0.66), (0.4, 0, stand - 0.8), (0.48, 0, tube - 0.9)])
    level = rim - 0.9 - 0.4 * base
    reach = radius + blend(handle, 0.08, 0.19, 0.32)
    bar = np.array([(0.8 * radius, 0, level), (reach, 0, level + 0.04)])

    def rest(x, y, z):
        legs = tube_distance(*sector_coordinates(-x, y, 3), z, foot, tube)
        return np.minimum(legs, tube_distance(y, x, z, bar, tube))

    room = (rim - 0.9 + 0.08, rim - 0.9 + 0.77 * dome)
    off_centre = (reach + tube - radius) / 2
    return shifted(slender(profile, room, 3, rest=rest), y=-off_centre)


def samovar(height: float, body: float, base: float, thickness: float) -> Surface:
    """Semaver: an urn on a square base, a tap to +x, two handles, a chimney with its crown."""
    radius = blend(height, 0.58, 0.5, 0.42)
    low = blend(body, 0.98, 0.74, 0.62)
    high = blend(body, 0.98, 1.0, 0.9)
    stand = blend(base, 0.22, 0.36, 0.52)
    stem = max(0.24, thickness / 2)
    chimney = max(0.16, thickness / 2)
    profile = fit(
        np.concatenate(
            [
                [(stem + 0.08, 0.0), (stem, stand - 0.02)],
                smooth_profile(
                    [
                        (stem + 0.1, stand + 0.02),
                        (low * radius, stand + 0.16),
                        (radius, 0.5 * stand + 0.68),
                        (high * radius, 1.24),
                    ]
                ),
                [(high * radius + 0.05, 1.27), (high * radius + 0.05, 1.33)],
                [(chimney + 0.06, 1.46)],
                [(chimney, 1.52), (chimney + 0.1, 1.66), (chimney + 0.1, 1.8)],
            ]
        )
    )  # fmt: skip
    tube = max(0.07, thickness / 2)
    plinth = stem + 0.14
    tap_level = stand - 0.9 + 0.12
    out = radius + 0.28
    tap = np.array([(0.3, 0, tap_level), (out, 0, tap_level), (out + 0.02, 0, tap_level - 0.1)])
    key = np.array([(out - 0.06, 0, tap_level), (out - 0.06, 0, tap_level + 0.15)])

    def rest(x, y, z):
        block = box_distance(x, y, plinth, plinth)
        block = extruded_distance(block, z + np.float32(0.81), 0.09)
        pour = np.minimum(
            tube_distance(x, y, z, tap, tube), tube_distance(x, y, z, key, 0.7 * tube)
        )
        foot, head = (0.9 * radius, 0.02), (0.9 * high * radius, 0.34)
        ears = _loop(np.abs(y), x, z, foot, head, radius + 0.24, thickness)
        return np.minimum(np.minimum(block, pour), ears)

    room = (stand - 0.9 + 0.1, 0.32)
    return shifted(slender(profile, room, 3, rest=rest), x=-0.12)


def helmet(crown: float, flutes: float, cheeks: float, thickness: float) -> Surface:
    """Miğfer: an onion crown with a spike, a peak with its nasal to +x, two cheek plates."""
    drop = blend(cheeks, 0.2, 0.36, 0.54)
    radius = 0.7
    high = 1.8 - drop
    spike = blend(crown, 0.5, 0.34, 0.2)
    neck = high - spike
    profile = np.concatenate(
        [
            [(radius + 0.05, 0.0), (radius + 0.05, 0.1), (radius, 0.14)],
            smooth_profile(
                [
                    (radius, 0.18),
                    (radius * 0.96, 0.38 * neck),
                    (radius * 0.76, 0.64 * neck),
                    (radius * 0.4, 0.88 * neck),
                    (0.13, neck + 0.04),
                ]
            ),
            [(TIP, high)],
        ]
    ) - [0.0, 0.9 - drop]  # fmt: skip
    brim = profile[0, 1]
    lobes = np.float32(blend(flutes, 0.0, 0.03, 0.06))
    wall = thickness + 0.12
    inner = max(radius - wall, 0.2)
    roof = brim + max(0.1, 0.42 * neck - 0.5 * thickness)
    cavity = np.array([(0, -2.0), (inner, -2.0), (inner, brim + 0.05), (0.0, roof)])
    half = max(0.06, thickness / 2)
    nasal = np.array(
        [(radius + 0.1, 0, brim + 0.1), (radius + 0.12, 0, max(brim - 0.24, half - 0.9))]
    )

    def fluted(x, y):
        return np.hypot(x, y) / (1 - lobes + lobes * np.cos(12 * np.arctan2(y, x)))

    def rest(x, y, z):
        plate = box_distance(
            x, z - np.float32(brim - 0.5 * drop + 0.05), 0.26, 0.5 * drop + 0.05, 0.12
        )
        plate = extruded_distance(plate, np.abs(y) - np.float32(radius + 0.06 - half), half)
        r = np.hypot(x, y)
        away, up = turned(r - np.float32(radius), z - np.float32(brim + 0.05), -0.3)
        peak = np.maximum(np.abs(away) - np.float32(0.26), np.abs(y) - np.float32(0.42))
        peak = extruded_distance(np.maximum(peak, -x), up, half)
        bar = tube_distance(x, y, z, nasal, half)
        return smooth_union(np.minimum(plate, bar), peak, 0.05)

    room = (brim + 0.2, brim + 0.88 * neck)
    standing = slender(profile, room, 4, cavity=cavity, rest=rest, radius=fluted)
    return shifted(standing, x=-0.13)


def standard(tail: float, globe: float, pole: float, thickness: float) -> Surface:
    """Tuğ: a gilt globe on a pole, with horse hair that hangs from under it."""
    shaft = max(0.07, thickness / 2) * blend(pole, 1.0, 1.3, 1.7)
    radius = blend(globe, 0.345, 0.395, 0.45)
    centre = 1.58 - radius
    neck = max(0.1, thickness / 2)
    profile = fit(
        np.concatenate(
            [
                [(shaft, 0.0), (shaft, centre - radius - 0.02)],
                smooth_profile(
                    [
                        (0.6 * radius, centre - 0.82 * radius),
                        (0.92 * radius, centre - 0.45 * radius),
                        (radius, centre),
                        (0.92 * radius, centre + 0.45 * radius),
                        (max(0.5 * radius, neck), centre + 0.86 * radius),
                    ]
                ),
                [(neck, 1.6), (TIP, 1.8)],
            ]
        )
    )
    length = blend(tail, 0.48, 0.67, 0.85)
    top = centre - 0.66 * radius - 0.9
    hair = closed(
        np.array(
            [(shaft + 0.22, top - length), (shaft + 0.16, top - 0.5 * length), (shaft + 0.1, top)]
        )
    )

    def rest(x, y, z):
        strands = np.hypot(x, y) / (1 + 0.1 * np.cos(9 * np.arctan2(y, x)))
        return revolved_distance(strands.astype(x.dtype), z, hair)

    room = (centre - 0.9 - 0.78 * radius, centre - 0.9 + 0.8 * radius)
    return slender(profile, room, 2, rest=rest)
