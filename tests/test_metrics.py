"""Metrics against answers known by hand: counts, shifted planes, spheres, identical clouds."""

import numpy as np
import pytest

from otuken_jax import metrics, metrics_frechet
from otuken_jax.metrics import Cloud


def grid(*filled: int) -> np.ndarray:
    cells = np.zeros(8, bool)
    cells[list(filled)] = True
    return cells.reshape(2, 2, 2)


def plane(height: float, tilt_degrees: float = 0.0) -> Cloud:
    """A 20 x 20 lattice of spacing 0.1 at a height; its normals lean by an angle."""
    x, y = np.meshgrid(np.arange(20) / 10, np.arange(20) / 10)
    points = np.stack([x, y, np.full_like(x, height)], -1).reshape(-1, 3)
    tilt = np.deg2rad(tilt_degrees)
    return Cloud(points, np.tile([np.sin(tilt), 0.0, np.cos(tilt)], (len(points), 1)))


def sphere(radius: float, count: int, seed: int) -> Cloud:
    normals = np.random.default_rng(seed).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return Cloud(radius * normals, normals)


def test_iou():
    assert metrics.iou(grid(0, 1), grid(1, 2)) == 1 / 3
    assert metrics.iou(grid(), grid()) == 1.0
    many = np.stack([grid(0, 1), grid(2), grid(0)])
    np.testing.assert_array_equal(metrics.ious(grid(0, 1), many), [1.0, 0.0, 0.5])


def test_confusion():
    table = metrics.confusion([(0, 0), (0, 1), (1, 1)], 2)
    np.testing.assert_array_equal(table, [[1, 1], [0, 1]])


def test_a_cloud_is_no_distance_from_itself():
    figures = metrics.surface_distances(plane(0.3), plane(0.3))
    assert figures.pop("chamfer_l1") == figures.pop("chamfer_l2_squared") == 0.0
    assert set(figures.values()) == {1.0}


@pytest.mark.parametrize(
    ("shift", "f_scores"), [(0.04, (1.0, 1.0)), (0.08, (0.0, 1.0)), (0.2, (0.0, 0.0))]
)
def test_shifted_planes(shift, f_scores):
    figures = metrics.surface_distances(plane(shift), plane(0.0))
    np.testing.assert_allclose(figures["chamfer_l1"], shift)
    np.testing.assert_allclose(figures["chamfer_l2_squared"], 2 * shift**2)
    assert (figures["f_score_0.05"], figures["f_score_0.1"]) == f_scores


def test_one_sided_distances_are_averaged():
    """A half of the points lies on the other cloud, the other half 1.0 away from it."""
    points = np.concatenate([plane(0.0).points, plane(1.0).points])
    both = Cloud(points, np.tile([0.0, 0.0, 1.0], (len(points), 1)))
    figures = metrics.surface_distances(both, plane(0.0))
    np.testing.assert_allclose(figures["chamfer_l1"], (0.5 + 0.0) / 2)
    np.testing.assert_allclose(figures["chamfer_l2_squared"], 0.5)
    np.testing.assert_allclose(figures["f_score_0.1"], 2 * 0.5 / 1.5)  # precision 0.5, recall 1


@pytest.mark.parametrize(("tilt", "cosine"), [(60.0, 0.5), (90.0, 0.0), (180.0, 1.0)])
def test_normal_consistency_is_the_cosine_without_its_sign(tilt, cosine):
    figures = metrics.surface_distances(plane(0.0, tilt), plane(0.01))
    np.testing.assert_allclose(figures["normal_consistency"], cosine, atol=1e-12)


def test_concentric_spheres():
    """Dense clouds of radii 0.8 and 0.9 are 0.1 apart, with equal normals."""
    figures = metrics.surface_distances(sphere(0.8, 20_000, 0), sphere(0.9, 20_000, 1))
    # Measured 0.1013 and 0.9996: a nearest point of a finite cloud lies a little aside.
    np.testing.assert_allclose(figures["chamfer_l1"], 0.1, rtol=0.02)
    assert figures["normal_consistency"] > 0.999


def test_bootstrap_interval():
    same = metrics.bootstrap_mean([0.25] * 10, 0)
    assert same == (0.25, 0.25, 0.25, 10)
    values = np.tile([0.0, 1.0], 200)
    mean = metrics.bootstrap_mean(values, 0)
    assert mean == metrics.bootstrap_mean(values, 0) != metrics.bootstrap_mean(values, 1)
    # Of a mean of 400 fair coins: 0.5 +- 1.96 x 0.025; 1,000 resamples find it to 0.005.
    np.testing.assert_allclose([mean.low, mean.high], [0.451, 0.549], atol=0.008)


def test_bootstrap_leaves_out_what_does_not_apply():
    assert metrics.bootstrap_mean([1.0, float("nan"), 1.0], 0) == (1.0, 1.0, 1.0, 2)
    assert metrics.bootstrap_mean([float("nan")], 0).count == 0


def test_d2_histogram_of_a_sphere():
    """Distances between points of a unit sphere have the density d / 2 on [0, 2]."""
    cloud = np.float32([2.0, 5.0, -1.0]) + 3 * sphere(1.0, 20_000, 0).points
    (histogram,) = metrics_frechet.d2_histograms(cloud[None])
    edges = np.linspace(0.0, 2.0, metrics_frechet.D2_BINS + 1)
    expected = 100 * (edges[1:] ** 2 - edges[:-1] ** 2) / 4
    # 20,000 pairs: a standard deviation of 0.17 in the largest bin.
    np.testing.assert_allclose(histogram, expected, atol=0.6)


def test_a_cloud_of_one_repeated_point_is_finite():
    """An empty field counts as points at the origin, and still has features."""
    clouds = np.stack([np.full((10, 3), 0.5), np.eye(10, 3)])
    got = metrics_frechet.normalize_clouds(clouds)
    np.testing.assert_array_equal(got[0], 0)
    np.testing.assert_allclose(np.linalg.norm(got[1], axis=-1).max(), 1, rtol=1e-12)
    assert metrics_frechet.d2_histograms(clouds).sum(axis=1) == pytest.approx([100, 100])


def test_cluster_score_counts_clusters():
    """Four tight clusters, equally many of each: a score of 4; one of them alone: 1."""
    centres = 10 * np.eye(4)
    probs = metrics_frechet.cluster_probs(np.repeat(centres, 8, axis=0), centres)
    np.testing.assert_allclose(metrics_frechet.inception_score(probs), 4.0, rtol=1e-6)
    probs = metrics_frechet.cluster_probs(np.repeat(centres[:1], 8, axis=0), centres)
    np.testing.assert_allclose(metrics_frechet.inception_score(probs), 1.0, rtol=1e-6)


def test_cluster_membership_is_soft():
    """Centres -10 and 10, s^2 = 1: at 0.1 the squared distances differ by 4, the logits by 2."""
    reference = np.array([[-11.0], [-9.0], [9.0], [11.0]])
    probs = metrics_frechet.cluster_probs(np.array([[0.1]]), reference, clusters=2)
    np.testing.assert_allclose(probs.max(), 1 / (1 + np.exp(-2.0)), rtol=1e-9)
