"""Metrics against hand counts."""

import numpy as np

from otuken_jax import metrics


def grid(*filled: int) -> np.ndarray:
    cells = np.zeros(8, bool)
    cells[list(filled)] = True
    return cells.reshape(2, 2, 2)


def test_iou():
    assert metrics.iou(grid(0, 1), grid(1, 2)) == 1 / 3
    assert metrics.iou(grid(), grid()) == 1.0


def test_band_iou_looks_at_the_band_alone():
    region = grid(0, 1, 2, 3)
    ious = metrics.band_ious(grid(0, 1, 7), [grid(0, 1, 4), grid(2, 3, 7)], region)
    np.testing.assert_array_equal(ious, [1.0, 0.0])


def test_nearest_and_confusion():
    candidates = {"a": grid(0, 1), "b": grid(4, 5, 6)}
    assert metrics.nearest(grid(4, 5), candidates) == "b"
    table = metrics.confusion([("a", "a"), ("a", "b"), ("b", "b")], ["a", "b"])
    np.testing.assert_array_equal(table, [[1, 1], [0, 1]])


def test_mean_shape_is_the_majority():
    means = metrics.mean_shapes({"a": [grid(0, 1), grid(1), grid(1, 2)]})
    np.testing.assert_array_equal(means["a"], grid(1))
