"""Hosts: the objects that carry ornament, as signed distances with a chart.

A builder takes the form (a, b, c), each about -1, 0 or 1 plus jitter, and `thickness`, the least
thickness allowed, and returns a `Surface` that is centred with longest side 1.8.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from otuken_jax.conventions import CANONICAL_SIZE
from otuken_jax.data.motifs.charts import Parts, Surface, girth, plane_chart, radius_at, ring_chart
from otuken_jax.data.motifs.primitives import (
    box_distance,
    extruded_distance,
    revolved_distance,
    smooth_profile,
)
from otuken_jax.data.motifs.styles import RELIEF_DEPTH

Builder = Callable[[float, float, float, float], Surface]
Profile = Float[np.ndarray, "_ 2"]


@dataclass(frozen=True)
class Host:
    """Turkish noun, the words of its three form attributes by level, and its builder."""

    name: str
    form: tuple[tuple[str, str, str], ...]
    build: Builder


def blend(t: float, low: float, middle: float, high: float) -> float:
    """Quadratic through (-1, low), (0, middle), (1, high); smooth, so jitter may go beyond."""
    return middle + t * (high - low) / 2 + t * t * ((low + high) / 2 - middle)


def fit(profile: Profile) -> Profile:
    """Scales and centres an (r, z) profile so that its longest side is the canonical one."""
    low, high = profile[:, 1].min(), profile[:, 1].max()
    scale = CANONICAL_SIZE / max(high - low, 2 * profile[:, 0].max())
    return (profile - [0.0, (low + high) / 2]) * scale


def hollow(profile: Profile, thickness: float) -> Profile:
    """The cavity of a vessel: as wide and deep as walls allow, at least a shallow mouth."""
    top_radius, top = profile[profile[:, 1] >= profile[:, 1].max() - 1e-6].max(axis=0)
    wall = thickness + RELIEF_DEPTH  # engraving takes its depth from the wall
    z = np.linspace(profile[:, 1].min() + wall, top, 24)
    outer = radius_at(profile, z)
    slope = np.gradient(outer, z)
    inner = outer - wall * np.sqrt(1 + slope**2)
    inner = np.minimum.accumulate(inner[::-1])[::-1]  # never wider below than above
    open_ = inner > thickness / 2
    if open_.sum() < 4:
        return np.array(
            [(0, top - 0.16), (top_radius - 0.06, top), (top_radius, top + 0.3), (0, top + 0.3)]
        )
    inner, z = inner[open_], z[open_]
    rim = [(inner[-1], top + 0.3), (0, top + 0.3)]
    return np.array([(0, z[0]), *zip(inner, z, strict=True), *rim])


def _revolved(profile: Profile, zone: tuple[float, float], cavity: Profile | None) -> Surface:
    closed = np.concatenate([[(0, profile[0, 1])], profile, [(0, profile[-1, 1])]])

    def parts(x, y, z, repeats):
        r = np.hypot(x, y)
        return Parts(
            revolved_distance(r, z, closed),
            None,
            None if cavity is None else revolved_distance(r, z, cavity),
            *ring_chart(x, y, z, profile, zone, repeats),
        )

    return Surface(parts, girth(profile, zone))


def _vazo(height: float, body: float, neck: float, thickness: float) -> Surface:
    radius = blend(height, 0.74, 0.58, 0.45)
    shoulder = blend(neck, 1.55, 1.32, 1.12)
    foot = radius * blend(body, 0.9, 0.66, 0.45)
    throat = max(radius * blend(body, 0.8, 0.56, 0.42), thickness / 2)
    profile = smooth_profile(
        [
            (foot, 0.0),
            (0.93 * radius, 0.3 * shoulder),
            (radius, 0.55 * shoulder),
            (0.5 * (radius + throat), 0.9 * shoulder),
            (throat, 0.5 * (shoulder + 1.75)),
            (throat * 1.2 + 0.04, 1.8),
        ]
    )
    profile = fit(profile)
    low = profile[0, 1]
    zone = (low + 0.12 * shoulder, low + 0.86 * shoulder)
    return _revolved(profile, zone, hollow(profile, thickness))


def polygonal_radius(x, y, sides: int):
    """Distance from the axis to the polygon through a point (its apothem); round for sides = 0."""
    if sides == 0:
        return np.hypot(x, y)
    step = 2 * np.pi / sides
    angle = np.mod(np.arctan2(y, x) + step / 2, step) - step / 2
    return np.hypot(x, y) * np.cos(angle)


def _kumbet(height: float, roof: float, plan: float, thickness: float) -> Surface:
    radius = blend(height, 0.68, 0.55, 0.44)
    sides = (4, 8, 0)[round(plan) + 1]
    eave = 1.8 - blend(roof, 0.35, 0.55, 0.78)
    eave_radius = radius + 0.5 * RELIEF_DEPTH
    profile = np.array(
        [
            (radius, 0.0),
            (radius, eave - 0.04),
            (eave_radius, eave - 0.03),
            (eave_radius, eave),
            (0.03, 1.8),
        ]
    ) - [0.0, 0.9]
    base_radius = radius + 0.14
    base = np.array([(base_radius, -0.9), (base_radius, -0.68)])
    closed = np.concatenate([[(0, profile[0, 1])], profile, [(0, profile[-1, 1])]])
    base = np.concatenate([[(0, -0.9)], base, [(0, -0.68)]])
    zone = (-0.66, eave - 0.95)

    def parts(x, y, z, repeats):
        return Parts(
            revolved_distance(polygonal_radius(x, y, sides), z, closed),
            revolved_distance(polygonal_radius(x, y, 4), z, base),
            None,
            *ring_chart(x, y, z, profile, zone, 4 if sides == 4 else repeats),
        )

    return Surface(parts, 2 * np.pi * radius)


def _cini(height: float, body: float, corner: float, thickness: float) -> Surface:
    half_z, half_y = blend(height, 0.62, 0.9, 0.9), blend(height, 0.9, 0.9, 0.62)
    half_x = max(blend(body, 0.23, 0.32, 0.43), (thickness + RELIEF_DEPTH) / 2)
    cell = min(half_y, half_z) - 0.1
    cut = blend(corner, 0.0, 0.18, 0.36)

    def parts(x, y, z, repeats):
        face = box_distance(y, z, half_y, half_z)
        face = np.maximum(face, (np.abs(y) + np.abs(z) - half_y - half_z + cut) / np.sqrt(2))
        body_sdf = extruded_distance(face, x, half_x)
        return Parts(body_sdf, None, None, *plane_chart(y, z, x, (cell, cell)))

    return Surface(parts, 0.0)


HOSTS: dict[str, Host] = {
    "vazo": Host(
        "vazo",
        (
            ("bodur", "orta boylu", "ince uzun"),
            ("düz gövdeli", "şişkin gövdeli", "geniş karınlı"),
            ("kısa boyunlu", "orta boyunlu", "uzun boyunlu"),
        ),
        _vazo,
    ),
    "kumbet": Host(
        "kümbet",
        (
            ("alçak", "orta yükseklikte", "yüksek"),
            ("basık külahlı", "orta külahlı", "sivri külahlı"),
            ("kare planlı", "sekizgen planlı", "yuvarlak planlı"),
        ),
        _kumbet,
    ),
    "cini": Host(
        "karo çini",
        (
            ("enine dikdörtgen", "kare", "boyuna dikdörtgen"),
            ("ince", "orta kalınlıkta", "kalın"),
            ("köşeli", "hafif pahlı", "geniş pahlı"),
        ),
        _cini,
    ),
}
