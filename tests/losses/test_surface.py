"""Losses on the predicted surface: the gate, known values, the direction of the gradient."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from otuken_jax.conventions import grid_points, voxel_size
from otuken_jax.losses import surface
from otuken_jax.losses.mesh import mesh_normal_consistency
from otuken_jax.losses.surface import SurfaceWeights, surface_terms, weighted

# Edge and Laplacian terms shrink the surface: let chamfer decide which way it goes.
ALL = SurfaceWeights(
    chamfer=1.0, normals=1e-3, edge=1e-3, laplacian=1e-3, consistency=1e-3, points=2048
)
RESOLUTION = 16


def spheres(*radii: float) -> np.ndarray:
    """Signed distances."""
    distance = np.linalg.norm(grid_points(RESOLUTION), axis=-1)
    return np.stack([distance - radius for radius in radii]).astype(np.float32)


@jax.jit
def terms_and_gradient(logits, sdf, iou):
    def loss(logits):
        terms = surface_terms(logits, sdf, iou, ALL, jax.random.key(0))
        return weighted(terms, ALL), terms

    (_, terms), gradient = jax.value_and_grad(loss, has_aux=True)(logits)
    return terms, gradient


@pytest.mark.slow
def test_spheres_differ_by_the_gap_between_them():
    noise = np.random.default_rng(0).normal(size=(1, *[RESOLUTION] * 3))
    logits = np.concatenate([-spheres(0.6, 0.6, 0.6), noise, -spheres(-1.0, 0.6)])
    sdf = np.concatenate([spheres(0.7, 0.7, 0.7, 0.7, 0.7), noise])
    # One not ready, one that overflows, one empty, one whose true surface overflows.
    iou = np.array([0.7, 0.4, 0.7, 0.7, 0.7, 0.7])
    terms, gradient = terms_and_gradient(logits, sdf, iou)
    assert float(terms["share"]) == pytest.approx(2 / 6)
    assert float(terms["overflow"]) == pytest.approx(2 / 6)
    gap = 0.1 / voxel_size(RESOLUTION)
    # 2 gap^2 and what the points' own spacing adds; measured 1.38 for 1.28.
    assert float(terms["chamfer"]) == pytest.approx(2 * gap**2, rel=0.12)
    assert float(terms["normals"]) < 0.05
    assert 0.5 < float(terms["edge"]) < 3.0  # squared voxels
    assert 0 < float(terms["laplacian"]) < 0.5
    sphere = surface.surface_nets(jnp.asarray(-spheres(0.6))).meshes
    one = float(mesh_normal_consistency(sphere))
    assert 0 < one < 0.1
    assert float(terms["consistency"]) == pytest.approx(one, rel=1e-5)
    moved = np.abs(gradient).max(axis=(1, 2, 3)) > 0
    np.testing.assert_array_equal(moved, [True, False, True, False, False, False])
    # A descent step raises the logits, so the small sphere grows.
    assert (gradient[0] < 0).sum() > 20 * (gradient[0] > 0).sum()


def test_only_weighted_terms_are_built():
    one = dataclasses.replace(ALL, normals=0.0, edge=0.0, chamfer=0.0, consistency=0.0)
    sdf, key = jnp.asarray(spheres(0.5)), jax.random.key(0)
    shapes = jax.eval_shape(lambda: surface_terms(-sdf, sdf, jnp.ones(1), one, key))
    assert set(shapes) == {"share", "overflow", "laplacian"}
    assert not SurfaceWeights().any
    assert one.any


def test_nothing_runs_before_there_is_a_surface(monkeypatch):
    calls = []
    original = surface.surface_nets

    def counted(field):
        jax.debug.callback(lambda: calls.append(1))
        return original(field)

    monkeypatch.setattr(surface, "surface_nets", counted)
    weights = SurfaceWeights(edge=1.0)
    sdf = jnp.asarray(spheres(0.6))
    edge = jax.jit(lambda iou: surface_terms(-sdf, sdf, iou, weights, jax.random.key(0))["edge"])
    assert edge(jnp.array([0.5])) == 0
    jax.effects_barrier()
    assert calls == []
    assert edge(jnp.array([0.6])) > 0
    jax.effects_barrier()
    assert len(calls) == 2
