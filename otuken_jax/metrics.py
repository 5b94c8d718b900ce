"""Measures of a generated shape against the shape that its words describe.

Every function states its definition; occupancies are boolean grids of the same resolution.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float


def iou(a: Bool[np.ndarray, "*s"], b: Bool[np.ndarray, "*s"]) -> float:
    """Voxels in both over voxels in either; 1 for two empty grids."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def band_ious(
    predicted: Bool[np.ndarray, "r r r"],
    candidates: Sequence[Bool[np.ndarray, "r r r"]],
    region: Bool[np.ndarray, "r r r"],
) -> Float[np.ndarray, " m"]:
    """IoU of a prediction with each candidate, over the voxels of the ornament band alone."""
    inside = predicted[region]
    return np.array([iou(inside, candidate[region]) for candidate in candidates])


def nearest(
    predicted: Bool[np.ndarray, "r r r"], candidates: Mapping[str, Bool[np.ndarray, "r r r"]]
) -> str:
    """Name of the candidate with the highest IoU."""
    return max(candidates, key=lambda name: iou(predicted, candidates[name]))


def mean_shapes(
    shapes: Mapping[str, Sequence[Bool[np.ndarray, "r r r"]]],
) -> dict[str, Bool[np.ndarray, "r r r"]]:
    """The per-host mean shape: voxels that more than half of a host's training shapes fill."""
    return {host: np.mean(list(grids), axis=0) > 0.5 for host, grids in shapes.items()}


def confusion(pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> np.ndarray:
    """Counts [true, predicted] of (true, predicted) pairs."""
    index = {name: i for i, name in enumerate(names)}
    table = np.zeros((len(names), len(names)), int)
    for true, predicted in pairs:
        table[index[true], index[predicted]] += 1
    return table
