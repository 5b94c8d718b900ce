"""Measures of a generated shape against the shape that its words describe.

Every function states its definition; occupancies are boolean grids of the same resolution, clouds
are in domain units (the longest side of a canonical shape is 1.8).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

THRESHOLDS = (0.05, 0.1)  # of the F-score, domain units: 2.8 % and 5.6 % of the longest side
RESAMPLES = 1000
CONFIDENCE = 0.95


class Cloud(NamedTuple):
    """Points on a surface with outward unit normals."""

    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]


class Estimate(NamedTuple):
    """A value over `count` shapes with the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float
    count: int


def iou(a: Bool[np.ndarray, "*s"], b: Bool[np.ndarray, "*s"]) -> float:
    """Voxels in both over voxels in either; 1 for two empty grids."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def ious(
    predicted: Bool[np.ndarray, "*s"], candidates: Bool[np.ndarray, " m *s"]
) -> Float[np.ndarray, " m"]:
    """`iou` of one grid with each of many, over the same voxels."""
    return np.array([iou(predicted, candidate) for candidate in candidates])


def surface_distances(predicted: Cloud, true: Cloud) -> dict[str, float]:
    """Distances of two clouds by nearest points: a of each predicted point, b of each true one.

    chamfer_l1: (mean a + mean b) / 2, of Euclidean distances (Occupancy Networks).
    chamfer_l2_squared: mean a^2 + mean b^2 (PyTorch3D's default).
    f_score_T: 2 P R / (P + R) with P, R the shares of a, b below T (Tatarchenko et al., 2019).
    normal_consistency: mean |cos| of the angle to the nearest point's normal, both ways halved.
    """
    a, near_true = cKDTree(true.points).query(predicted.points)
    b, near_predicted = cKDTree(predicted.points).query(true.points)
    cosines = [
        np.abs((predicted.normals * true.normals[near_true]).sum(-1)).mean(),
        np.abs((true.normals * predicted.normals[near_predicted]).sum(-1)).mean(),
    ]
    figures = {
        "chamfer_l1": (a.mean() + b.mean()) / 2,
        "chamfer_l2_squared": (a**2).mean() + (b**2).mean(),
        "normal_consistency": np.mean(cosines),
    }
    for threshold in THRESHOLDS:
        precision, recall = (a < threshold).mean(), (b < threshold).mean()
        both = precision + recall
        figures[f"f_score_{threshold:g}"] = 2 * precision * recall / both if both else 0.0
    return {name: float(value) for name, value in figures.items()}


def bootstrap_mean(values: Sequence[float] | Float[np.ndarray, " n"], seed: int) -> Estimate:
    """Mean over shapes, with the percentile interval of 1,000 resamples of the shapes.

    NaN marks a shape that a measure does not apply to; it is left out of mean and count.
    """
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    rows = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values[rows].mean(axis=1), [tail, 100 - tail])
    return Estimate(float(values.mean()), float(low), float(high), len(values))


def confusion(pairs: Sequence[tuple[int, int]], classes: int) -> Int[np.ndarray, "k k"]:
    """Counts [true, predicted] of (true, predicted) pairs."""
    table = np.zeros((classes, classes), int)
    for true, predicted in pairs:
        table[true, predicted] += 1
    return table
