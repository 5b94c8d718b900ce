"""Losses and geometry against PyTorch3D 0.7.9's values and gradients (`golden/README.md`).

Not compared, for want of a counterpart or because another array says more: the dense Laplacians
and inverse areas (`dbg_*`; losses and gradients hold them), `ico_sphere.npz` (inputs of the cases),
`mesh_losses_summary.json` (of the same losses), and the moments of the reference's own samples
(`ref_*`; the exact ones are known).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_files import GOLDEN, load, manifest

from otuken_jax.geometry.cubify import cubify
from otuken_jax.geometry.edges import find_edges
from otuken_jax.geometry.meshes import Meshes
from otuken_jax.geometry.neighbours import nearest_index
from otuken_jax.geometry.sampling import (
    face_areas,
    points_on_faces,
    sample_points_from_meshes,
)
from otuken_jax.losses.chamfer import chamfer_distance
from otuken_jax.losses.mesh import (
    mesh_edge_loss,
    mesh_laplacian_smoothing,
    mesh_normal_consistency,
)

MESH_LOSSES = {
    "edge_t0": mesh_edge_loss,
    "edge_t0.1": functools.partial(mesh_edge_loss, target_length=0.1),
    "lap_uniform": mesh_laplacian_smoothing,
    "lap_cot": functools.partial(mesh_laplacian_smoothing, method="cot"),
    "lap_cotcurv": functools.partial(mesh_laplacian_smoothing, method="cotcurv"),
    "normal_consistency": mesh_normal_consistency,
}
# Of faces without area the goldens themselves are rounding.
UNCOMPARED = {"degenerate": {"lap_cotcurv"}}
NO_GRADIENT = {"degenerate": {"lap_cot", "lap_cotcurv", "normal_consistency"}}
# With their edges, face areas and normals.
EXPLAINED = ("degenerate", "ico0", "isolated_verts", "nonmanifold_fan", "obtuse")
MESH_CASES = sorted(path.stem[5:] for path in (GOLDEN / "pytorch3d").glob("mesh_*.npz"))
CUBIFY_CASES = manifest("pytorch3d/cubify_cases.json")
CHAMFER_CASES = manifest("pytorch3d/chamfer_cases.json")
# Measured: one float32 step, 1.2e-7 of the value; gradients 2.3e-7 of the largest.
CLOSE = {"rtol": 2e-6, "atol": 1e-7}


@pytest.fixture(autouse=True)
def quick_small_programs(quick_compile):
    """Compiling costs far more here than running."""
    jax.config.update("jax_disable_most_optimizations", True)


def chamfer_arguments(g: dict, case: dict) -> tuple[dict, dict]:
    """Differentiable and other arguments of a case, under their names."""
    x, y = case["inputs"].split(",")
    inputs = {"x": g[x], "y": g[y]}
    if case["normals"]:
        inputs |= {"x_normals": g["x_normals"], "y_normals": g["y_normals"]}
    other = dict(case["kwargs"])
    if case["lengths"] != "none":
        lengths = case["lengths"].split(",")
        other |= {f"{c}_lengths": jnp.asarray(g[k]) for c, k in zip("xy", lengths, strict=True)}
    if case["weights"] != "none":
        other["weights"] = jnp.asarray(g.get(case["weights"], np.zeros(3, np.float32)))
    return jax.tree.map(jnp.asarray, inputs), other


@pytest.mark.parametrize("name", CHAMFER_CASES)
def test_chamfer(name):
    g, case = load("pytorch3d/chamfer.npz"), CHAMFER_CASES[name]
    inputs, other = chamfer_arguments(g, case)

    def objective(inputs):
        loss, normals = chamfer_distance(**inputs, **other)
        total = sum(jnp.sum(part) for part in jax.tree.leaves(loss))
        return total + 0.5 * sum(jnp.sum(n) for n in jax.tree.leaves(normals)), (loss, normals)

    (_, (loss, normals)), grads = jax.value_and_grad(objective, has_aux=True)(inputs)
    assert (normals is not None) == case["normals"]
    for key, parts in (("loss", loss), ("loss_normals", normals)):
        suffixes = ("_x", "_y") if f"{name}__{key}_x" in g else ("",)
        parts = jax.tree.leaves(parts)
        for suffix, part in zip(suffixes, parts, strict=True) if parts else ():
            want = g[f"{name}__{key}{suffix}"]
            assert part.shape == want.shape
            np.testing.assert_allclose(part, want, **CLOSE)
    for argument, grad in grads.items():
        np.testing.assert_allclose(grad, g[f"{name}__grad_{argument}"], **CLOSE)


def test_chamfer_of_several_blocks_inside_jit():
    g = load("pytorch3d/chamfer_mid.npz")
    mean = lambda x, y: chamfer_distance(x, y)[0]  # noqa: E731
    loss, grads = jax.jit(jax.value_and_grad(mean, (0, 1)))(g["x"], g["y"])
    np.testing.assert_allclose(loss, g["loss"], rtol=1e-6)
    for grad, key in zip(grads, ("grad_x", "grad_y"), strict=True):
        np.testing.assert_allclose(grad, g[key], rtol=1e-6, atol=1e-9)  # measured: 1.2e-10


@pytest.mark.parametrize("norm", [1, 2])
def test_chamfer_at_ties_and_equal_points(norm):
    g = load("pytorch3d/chamfer_ties.npz")
    x, y = jnp.asarray(g["x"]), jnp.asarray(g["y"])
    mask = jnp.ones(y.shape[:2], bool)
    np.testing.assert_array_equal(nearest_index(x, y, mask, norm), g[f"norm{norm}__nn_idx_x_to_y"])
    each = {"norm": norm, "point_reduction": None, "batch_reduction": None}
    distance, _ = chamfer_distance(x, y, single_directional=True, **each)
    np.testing.assert_array_equal(distance, g[f"norm{norm}__nn_dist_x_to_y"])
    mean = lambda x, y: chamfer_distance(x, y, norm=norm)[0]  # noqa: E731
    loss, grads = jax.value_and_grad(mean, (0, 1))(x, y)
    # Measured: equal. A sum in another order is a few float32 steps off.
    np.testing.assert_allclose(loss, g[f"norm{norm}__loss"], rtol=5e-7)
    for grad, key in zip(grads, "xy", strict=True):
        np.testing.assert_allclose(grad, g[f"norm{norm}__grad_{key}"], rtol=5e-7, atol=1e-8)


def sampled_meshes(g: dict) -> Meshes:
    return Meshes(*(jnp.asarray(g[k]) for k in ("verts", "faces", "num_verts", "num_faces")))


def test_points_of_given_draws():
    g = load("pytorch3d/sample_points.npz")
    meshes = jax.tree.map(lambda leaf: leaf[g["det_mesh_ids"]], sampled_meshes(g))
    draws = (jnp.asarray(g[f"det_{k}"]) for k in ("face_idx_local", "u", "v"))
    points, normals = points_on_faces(meshes, *draws)
    np.testing.assert_allclose(points, g["det_samples"], **CLOSE)
    np.testing.assert_allclose(normals, g["det_normals"], **CLOSE)


def test_sampling_is_uniform_by_area():
    g = load("pytorch3d/sample_points.npz")
    meshes = sampled_meshes(g)
    np.testing.assert_allclose(face_areas(meshes), g["face_areas"], rtol=3e-7, atol=1e-8)
    count = int(g["ref_num_samples"])
    points, normals = sample_points_from_meshes(meshes, count, jax.random.key(0))
    full = g["num_faces"] > 0
    bound = 4 * np.sqrt(np.diagonal(g["exact_cov"], axis1=1, axis2=2) / count)
    assert (np.abs(points.mean(axis=1) - g["exact_mean"]) <= bound).all()
    assert (np.abs(normals.mean(axis=1) - g["exact_normal_mean"]) <= 4 / np.sqrt(count)).all()
    for got, want in zip(points[full], g["exact_cov"][full], strict=True):
        np.testing.assert_allclose(np.cov(got.T), want, atol=0.03 * want.max())
    assert not points[~full].any()
    assert not normals[~full].any()


@jax.jit
def mesh_losses(meshes: Meshes) -> dict:
    """Value and gradient of every loss."""

    def both(loss):
        of = lambda verts: loss(dataclasses.replace(meshes, verts=verts))  # noqa: E731
        return jax.value_and_grad(of)(meshes.verts)

    return {name: both(loss) for name, loss in MESH_LOSSES.items()}


def with_room(meshes: Meshes) -> Meshes:
    """Padded to one shape, with empty meshes up to three, so that one program serves all cases."""
    rows = [(0, 3 - len(meshes.verts))]
    v, f = 170 - meshes.verts.shape[1], 330 - meshes.faces.shape[1]
    verts = jnp.pad(meshes.verts, [*rows, (0, v), (0, 0)])
    faces = jnp.pad(meshes.faces, [*rows, (0, f), (0, 0)], constant_values=-1)
    counts = (jnp.pad(n, rows).astype(jnp.int32) for n in (meshes.num_verts, meshes.num_faces))
    return Meshes(verts, faces.astype(jnp.int32), *counts)


@pytest.mark.parametrize("name", EXPLAINED)
def test_edges_and_faces(name):
    g = load(f"pytorch3d/mesh_{name}.npz")
    meshes = with_room(sampled_meshes(g))
    edges = find_edges(meshes)
    before = np.cumsum(meshes.num_verts) - meshes.num_verts  # vertices of earlier meshes
    pairs = np.stack([edges.low, edges.high], axis=-1) + before[:, None, None]
    np.testing.assert_array_equal(pairs[np.asarray(edges.first)], g["dbg_edges_packed"])
    mask = np.asarray(meshes.faces_mask)
    areas = np.asarray(face_areas(meshes))[mask]
    np.testing.assert_allclose(areas, g["dbg_face_areas"], rtol=1e-6)
    half = jnp.full(mask.shape, 0.5)
    each = jnp.broadcast_to(jnp.arange(mask.shape[1]), mask.shape)
    normals = np.asarray(points_on_faces(meshes, each, half, half)[1])[mask]
    np.testing.assert_allclose(normals, g["dbg_face_normals"], atol=1e-6)


@pytest.mark.parametrize("name", MESH_CASES)
def test_mesh_losses(name):
    g = load(f"pytorch3d/mesh_{name}.npz")
    meshes = sampled_meshes(g)
    variants = {"": meshes}
    if "padded_tensor__edge_t0__loss" in g:
        variants["padded_tensor__"] = Meshes.from_padded(meshes.verts, meshes.faces)
    b, v = g["verts"].shape[:2]
    for variant, given in variants.items():
        for loss, (value, grad) in mesh_losses(with_room(given)).items():
            assert np.isfinite(value), loss
            assert np.isfinite(grad).all(), loss
            if loss in UNCOMPARED.get(name, ()):
                continue
            conditioned = (name, loss) == ("obtuse", "lap_cotcurv")
            want = g[f"{variant}{loss}__loss"].reshape(())
            rtol = 1e-4 if conditioned else 1e-5
            np.testing.assert_allclose(value * 3 / b, want, rtol=rtol, atol=1e-7, err_msg=loss)
            if loss in NO_GRADIENT.get(name, ()):
                continue
            want = np.zeros(grad.shape, np.float32)
            want[:b, :v] = g[f"{variant}{loss}__grad_verts"]
            # Of a gradient up to 72, the golden is 1.6e-3 from float64's there and this 9e-5.
            atol = 5e-4 if conditioned else 1e-5
            np.testing.assert_allclose(grad * 3 / b, want, rtol=1e-3, atol=atol, err_msg=loss)


@pytest.mark.parametrize("name", CUBIFY_CASES)
def test_cubify(name):
    g, counts = load("pytorch3d/cubify.npz"), CUBIFY_CASES[name]
    grid, threshold, align = name.split("__")
    voxels = jnp.asarray(g[f"{grid}__voxels"])
    meshes = cubify(voxels, float(threshold.removeprefix("th")), align)
    np.testing.assert_array_equal(meshes.num_verts, counts["num_verts"])
    np.testing.assert_array_equal(meshes.num_faces, counts["num_faces"])
    want_faces = g[f"{grid}__{threshold}__faces"]
    for i, (verts, faces) in enumerate(zip(*meshes.to_lists(), strict=True)):
        np.testing.assert_allclose(verts, g[f"{name}__verts"][i, : len(verts)], atol=1e-6)
        np.testing.assert_array_equal(faces, want_faces[i, : len(faces)])
