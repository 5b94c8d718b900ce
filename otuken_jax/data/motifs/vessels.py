"""Hosts for the table and the hand: each builder takes the form (a, b, c), every entry about -1, 0
or 1, and the least `thickness`; it returns a centred `Surface` with longest side 1.8.
"""

from dataclasses import replace

import numpy as np

from otuken_jax.data.motifs.charts import Parts, Surface, plane_chart
from otuken_jax.data.motifs.primitives import (
    polygonal_radius,
    revolved_distance,
    smooth_profile,
    smoothstep,
    tube_distance,
)
from otuken_jax.data.motifs.profiles import blend, closed, fit, hollow, revolved
from otuken_jax.data.motifs.styles import RELIEF_DEPTH

LOBE = np.float32(0.09)  # depth of a dish's lobes, relative to its radius


def vase(height: float, belly: float, neck: float, thickness: float) -> Surface:
    """Vazo: foot, belly, neck and lip."""
    radius = blend(height, 0.74, 0.61, 0.5)
    shoulder = blend(neck, 1.62, 1.42, 1.22)
    foot = max(radius * blend(belly, 0.9, 0.68, 0.46), thickness / 2)
    throat = max(radius * blend(belly, 0.78, 0.54, 0.4), thickness / 2)
    low, high = blend(belly, 0.97, 0.9, 0.74), blend(belly, 0.97, 0.86, 0.8)
    profile = fit(
        smooth_profile(
            [
                (foot, 0.0),
                (low * radius, 0.28 * shoulder),
                (radius, 0.55 * shoulder),
                (high * radius, 0.8 * shoulder),
                (throat, shoulder),
                (throat, (shoulder + 1.7) / 2),
                (throat + 0.12, 1.8),
            ]
        )
    )
    bottom = profile[0, 1]
    room = (bottom + 0.1 * shoulder, bottom + 0.88 * shoulder)
    return revolved(profile, room, 4, cavity=hollow(profile, thickness, room[1]))


def bottle(height: float, body: float, neck: float, thickness: float) -> Surface:
    """Sürahi: a globe with a long neck and a flared lip."""
    radius = blend(height, 0.76, 0.62, 0.49)
    throat = max(blend(neck, 0.15, 0.22, 0.31), thickness / 2)
    centre = blend(body, 0.4, 0.53, 0.68)
    profile = fit(
        smooth_profile(
            [
                (0.7 * radius, 0.0),
                (0.94 * radius, 0.5 * centre),
                (radius, centre),
                (0.86 * radius, 0.5 * centre + 0.46),
                (throat + 0.04, 1.02),
                (throat, 1.16),
                (throat, 1.55),
                (throat + 0.12, 1.8),
            ]
        )
    )
    bottom = profile[0, 1]
    room = (bottom + 0.06, bottom + 0.94)
    return revolved(profile, room, 3, cavity=hollow(profile, thickness, room[1]))


def bowl(depth: float, wall: float, foot: float, thickness: float) -> Surface:
    """Kâse: an open bowl on a foot ring, ornament outside."""
    height = blend(depth, 0.92, 1.08, 1.3)
    stand = blend(foot, 0.1, 0.22, 0.38)
    base = blend(wall, 0.38, 0.54, 0.72)
    middle = blend(wall, 0.58, 0.73, 0.78)
    ring = max(blend(wall, 0.36, 0.44, 0.52), thickness / 2)
    curve = smooth_profile(
        [(base, stand), (middle, stand + 0.45 * height), (0.78, stand + height - 0.2)]
    )
    rim = [(0.9, stand + height - 0.04), (0.9, stand + height)]  # outreaches the relief
    profile = fit([(ring + 0.06, 0.0), (ring, stand - 0.05), *curve, *rim])
    bottom, top = profile[0, 1], profile[-1, 1]
    room = (bottom + stand + 0.04, top - 0.18)
    return revolved(profile, room, 5, cavity=hollow(profile, thickness, room[1]))


def dish(depth: float, base: float, rim: float, thickness: float) -> Surface:
    """Tabak: a shallow dish with a round, octagonal or lobed rim, ornament on its upper face."""
    well = blend(depth, 0.1, 0.2, 0.32)
    top = max(0.3, thickness + RELIEF_DEPTH) + well
    bottom = blend(base, 0.4, 0.6, 0.82)
    inner = 0.9 - max(0.2, thickness)
    curve = [(inner * t, top - well * (1 - t * t)) for t in np.linspace(1, 0.1, 7)]
    profile = fit([(bottom, 0.0), (0.9, top - 0.14), (0.9, top), *curve])
    outline, rim_height = closed(profile), np.float32(profile[2, 1])
    plan = round(rim)
    bend = np.float32(well / inner**2)

    def parts(x, y, z):
        round_r = np.hypot(x, y)
        r = polygonal_radius(x, y, 8) if plan == 0 else round_r
        if plan == 1:
            r = r * np.float32(1 + LOBE) / (1 + LOBE * np.cos(6 * np.arctan2(y, x)))
        well_depth = np.maximum(np.float32(well) - bend * round_r**2, 0)
        height = (z - rim_height + well_depth) / np.hypot(1, 2 * bend * round_r)
        chart = plane_chart(y, -x, height, 0.52)
        chart = replace(chart, zone=chart.zone * smoothstep(0.85, 0.75, r))  # off the thin edge
        return Parts(revolved_distance(r, z, outline), chart)

    return parts


def candlestick(height: float, base: float, tray: float, thickness: float) -> Surface:
    """Şamdan: a wide bell or cone for a base, a neck with a tray, a socket."""
    radius = blend(height, 0.78, 0.65, 0.54)
    shoulder = radius * blend(base, 0.5, 0.7, 0.92)
    stem = max(0.16, thickness / 2)
    disc = stem + blend(tray, 0.03, 0.16, 0.34)
    socket = stem + 0.08
    profile = fit(
        [
            (radius + 0.1, 0.0),
            (radius + 0.1, 0.06),
            (radius, 0.1),
            (shoulder, 1.0),
            (0.7 * shoulder + 0.3 * stem, 1.08),
            (stem, 1.14),
            (disc, 1.28),
            (disc, 1.38),
            (stem, 1.5),
            (socket, 1.62),
            (socket, 1.8),
        ]
    )
    bottom = profile[0, 1]
    room = (bottom + 0.12, bottom + 0.99)
    return revolved(profile, room, 3, cavity=hollow(profile, thickness, room[1]))


def jug(height: float, body: float, handle: float, thickness: float) -> Surface:
    """Testi: a jug with one ear-shaped handle on its right (+y)."""
    radius = blend(height, 0.62, 0.53, 0.44)
    centre = blend(body, 0.4, 0.58, 0.82)
    throat = max(0.22, thickness / 2)
    profile = fit(
        smooth_profile(
            [
                (0.7 * radius, 0.0),
                (0.93 * radius, 0.5 * centre),
                (radius, centre),
                (0.88 * radius, 0.55 * centre + 0.5),
                (throat + 0.04, 1.26),
                (throat, 1.45),
                (throat + 0.1, 1.8),
            ]
        )
    )
    tube = max(0.11, thickness / 2)
    reach = throat + tube + 0.3 + blend(handle, 0.0, 0.1, 0.2)  # leaves a loop to look through
    path = smooth_profile(
        [
            (throat, 0.62),
            (0.7 * reach, 0.72),
            (reach, 0.46),
            (0.96 * reach, 0.16),
            (0.75 * radius, -0.1),
        ]
    )
    path = np.stack([np.zeros(len(path)), path[:, 0], path[:, 1]], axis=1)

    def rest(x, y, z):
        return tube_distance(x, y, z, path, tube)

    bottom = profile[0, 1]
    room = (bottom + 0.06, bottom + 1.1)
    standing = revolved(profile, room, 3, cavity=hollow(profile, thickness, room[1]), rest=rest)
    off_centre = np.float32((path[:, 1].max() + tube - profile[:, 0].max()) / 2)

    def parts(x, y, z):
        return standing(x, y + off_centre, z)

    return parts
