"""Charts (u, v) of the ornament zone on a host, and what a host is made of."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from otuken_jax.data.motifs.primitives import smoothstep

Field = Float[np.ndarray, "*shape"]
CELL_WIDTH = 0.95  # domain units: about 15 voxels of a 32^3 grid
ZONE_FADE = 0.88  # |v| (and |u| of a single cell) where the ornament zone begins to fade out


@dataclass(frozen=True)
class Parts:
    """A host at some points: host_sdf = max(smooth_union(body, rest), -cavity)."""

    body: Field  # signed distance to the ornamented part alone
    rest: Field | None
    cavity: Field | None
    u: Field
    v: Field
    zone: Field  # 0..1: how far the chart is valid along the surface


@dataclass(frozen=True)
class Surface:
    """A host of fixed form: `parts(x, y, z, repeats)`, and the zone's length around it."""

    parts: Callable[[Field, Field, Field, int], Parts]
    girth: float


def ring_chart(
    x: Field,
    y: Field,
    z: Field,
    profile: Float[np.ndarray, "n 2"],
    zone: tuple[float, float],
    repeats: int,
) -> tuple[Field, Field, Field]:
    """Chart round a revolved body: u counts whole repeats round z, v is arc length along `profile`.

    u = 0 looks to +x and grows anticlockwise, to the right as seen from outside.
    """
    turns = np.arctan2(y, x) * (repeats / np.pi)
    u = np.mod(turns + 1.0, 2.0) - 1.0
    heights = np.linspace(*zone, 33)
    radii = radius_at(profile, heights)
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(radii), np.diff(heights)))])
    v = np.interp(z, heights, 2 * length / length[-1] - 1).astype(z.dtype)
    return u, v, smoothstep(1.0, ZONE_FADE, np.abs(v))


def plane_chart(
    across: Field, up: Field, front: Field, half: tuple[float, float]
) -> tuple[Field, Field, Field]:
    """Chart of one cell on a flat face; `front` > 0 on the ornamented side."""
    u = np.clip(across / half[0], -1.0, 1.0)
    v = np.clip(up / half[1], -1.0, 1.0)
    edge = np.maximum(np.abs(u), np.abs(v))
    return u, v, smoothstep(1.0, ZONE_FADE, edge) * smoothstep(-0.05, 0.05, front)


def radius_at(profile: Float[np.ndarray, "n 2"], z: Float[np.ndarray, " m"]) -> Field:
    """Outer radius of a profile at heights `z`; heights must not fall along the profile."""
    return np.interp(z, profile[:, 1], profile[:, 0])


def girth(profile: Float[np.ndarray, "n 2"], zone: tuple[float, float]) -> float:
    """Mean length round the zone."""
    return float(2 * np.pi * radius_at(profile, np.linspace(*zone, 9)).mean())
