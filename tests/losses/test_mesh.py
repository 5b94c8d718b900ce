"""Mesh regularisers where the answer is known without the golden files."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from otuken_jax.geometry.meshes import Meshes
from otuken_jax.losses.mesh import (
    mesh_edge_loss,
    mesh_laplacian_smoothing,
    mesh_normal_consistency,
)

SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
HALVES = np.array([[0, 1, 2], [0, 2, 3]])
FOLDED = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]], np.float32)


def folded_square(height: float) -> Meshes:
    """A square and an empty mesh; one corner is `height` above the plane."""
    verts = SQUARE + np.array([[0], [0], [0], [height]]) * [0, 0, 1]
    none = np.zeros((0, 3))
    return Meshes.from_lists([verts, none], [HALVES, none])


@jax.jit
def losses(meshes):
    return {
        "edge": mesh_edge_loss(meshes),
        "edge of length 1": mesh_edge_loss(meshes, 1.0),
        "uniform": mesh_laplacian_smoothing(meshes),
        "cotcurv": mesh_laplacian_smoothing(meshes, "cotcurv"),
        "normals": mesh_normal_consistency(meshes),
    }


def test_values_on_a_square_by_hand():
    """Two meshes, of which one is empty and counts: every value is half the square's."""
    got = losses(folded_square(0.0))
    np.testing.assert_allclose(got["edge"], (4 * 1 + 2) / 5 / 2, rtol=4e-7)
    np.testing.assert_allclose(got["edge of length 1"], (np.sqrt(2) - 1) ** 2 / 5 / 2, rtol=1e-6)
    # Corners 0 and 2 have three neighbours, whose mean is 2/3 (1, 1) away; 1 and 3 have two.
    uniform = (2 * np.sqrt(2) * 2 / 3 + 2 * np.sqrt(0.5)) / 4 / 2
    np.testing.assert_allclose(got["uniform"], uniform, rtol=5e-7)
    np.testing.assert_allclose(got["normals"], 0, atol=2e-7)  # equal; a step of 1 is 1.2e-7
    over = losses(Meshes.from_lists([FOLDED, FOLDED[:0]], [HALVES, HALVES[:0]]))
    np.testing.assert_allclose(over["normals"], 2 / 2, rtol=2e-7)


def test_four_faces_at_an_edge_are_six_pairs():
    angles = np.array([0.0, 0.5, 1.7, 4.0])
    fins = np.stack([np.cos(angles), np.sin(angles), 0.3 * angles], axis=1)
    verts = np.concatenate([[[0, 0, 0], [0, 0, 1]], fins])
    faces = [[0, 1, k + 2] if k % 2 else [1, 0, k + 2] for k in range(4)]
    terms = [1 + np.cos(a - b) for i, a in enumerate(angles) for b in angles[:i]]
    got = jax.jit(mesh_normal_consistency)(Meshes.from_lists([verts], [faces]))
    np.testing.assert_allclose(got, np.mean(terms), rtol=4e-7)


@pytest.mark.parametrize("loss", [mesh_edge_loss, mesh_normal_consistency])
def test_gradients_by_finite_differences(loss):
    meshes = folded_square(0.4)
    of = jax.jit(lambda verts: loss(dataclasses.replace(meshes, verts=verts)))
    grad = jax.jit(jax.grad(of))(meshes.verts)
    step = 1e-2
    for vertex in range(4):
        for axis in range(3):
            shift = np.zeros(meshes.verts.shape, np.float32)
            shift[0, vertex, axis] = step
            slope = (of(meshes.verts + shift) - of(meshes.verts - shift)) / (2 * step)
            np.testing.assert_allclose(grad[0, vertex, axis], slope, atol=2e-4)
    assert not grad[1].any()


@pytest.mark.parametrize("method", ["uniform", "cot", "cotcurv"])
def test_laplacian_without_gradient_through_its_weights(method):
    meshes = folded_square(0.4)

    def of(verts):
        return mesh_laplacian_smoothing(dataclasses.replace(meshes, verts=verts), method)

    value, grad = jax.jit(jax.value_and_grad(of))(meshes.verts)
    # Weights that sum to 1 or cancel: a common shift of all vertices changes nothing.
    np.testing.assert_allclose(grad.sum(axis=1), 0, atol=7e-8)
    # Of degree 1 in the vertices for fixed weights: by Euler's theorem gradient . verts = value.
    np.testing.assert_allclose(jnp.sum(grad * meshes.verts), value, rtol=7e-7)


@pytest.mark.parametrize("verts", [[SQUARE[:0]] * 2, [SQUARE, SQUARE[:1]]])
def test_no_faces_at_all(verts):
    got = losses(Meshes.from_lists(verts, [HALVES[:0]] * 2))
    far = sum(np.linalg.norm(v, axis=1).mean() for v in verts if len(v)) / 2
    np.testing.assert_allclose(got.pop("uniform"), far, rtol=2e-7)
    assert not any(got.values())


def test_an_unknown_method_raises():
    with pytest.raises(ValueError, match="uniform"):
        mesh_laplacian_smoothing(folded_square(0.0), "cotan")
