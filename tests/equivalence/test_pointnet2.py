"""PointNet++, P-FID and P-IS against the reference.

Measured: features 1.0e-7, log-probabilities 2.4e-7 (both start rules), all indices equal; Frechet
distances 1e-15 relative, rank-deficient 7e-9.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from golden_files import jit, load, manifest, probe, state_dict
from parity import assert_same

from otuken_jax import metrics_frechet as metrics
from otuken_jax.models import pointnet2
from otuken_jax.models.pointnet2 import (
    PointNet2,
    PointNet2Config,
    ball_neighbours,
    farthest_points,
)
from porting.pointnet2 import NETWORKS, pointnet2_rules
from porting.rules import Rule, Transform, build, plan, port, target_shapes

MANIFEST = manifest("pointe_evals/pointnet2_manifest.json")
NETWORK = NETWORKS["point-e/pointnet"]
CONFIG = PointNet2Config()


@pytest.fixture(scope="module")
def weights():
    return state_dict(MANIFEST["state_dict"])


@pytest.fixture(scope="module")
def model(weights):
    return build(NETWORK, CONFIG, weights)


@pytest.fixture(scope="module")
def mirror(weights):
    module = NETWORK.make_torch(CONFIG)
    module.load_state_dict({name: torch.tensor(w) for name, w in weights.items()}, strict=True)
    return module


def test_weights_are_made_as_the_golden_files_say(weights):
    for key, wanted in MANIFEST["weight_probes"].items():
        got = probe(weights[key])
        np.testing.assert_array_equal(got["first"], wanted["first"])
        # Measured: equal. NumPy's sums may run in another order on another machine.
        np.testing.assert_allclose(
            [got["mean"], got["std"]], [wanted["mean"], wanted["std"]], rtol=1e-12
        )


def test_parameter_count_is_the_published_one(weights):
    shapes = target_shapes(nnx.eval_shape(lambda: NETWORK.make_model(CONFIG)))
    counters = sum(w.size for name, w in weights.items() if name.endswith("tracked"))
    total = sum(int(np.prod(shape)) for shape in shapes.values())
    assert total + counters == MANIFEST["num_params_and_buffers"]


@jit
def all_stages(model, points, start):
    """Everything that the golden file holds of one start rule."""
    index1 = farthest_points(points, 512, start)
    centres1, features1 = model.sa1(points, None, start)
    index2 = farthest_points(centres1, 128, start)
    centres2, features2 = model.sa2(centres1, features1, start)
    _, features3 = model.sa3(centres2, features2, start)
    features, log_probs = model(points, start)
    return {
        "fps_idx_sa1": index1,
        "fps_idx_sa2": index2,
        "ball_idx_sa1": ball_neighbours(points, centres1, 0.2, 32),
        "ball_idx_sa2": ball_neighbours(centres1, centres2, 0.4, 64),
        "sa1_features_channel_mean": features1.mean(1),
        "sa1_features_first4points": features1[:, :4].swapaxes(1, 2),
        "sa2_features_channel_mean": features2.mean(1),
        "sa3_features": features3[:, 0],
        "features": features,
        "log_probs": log_probs,
    }


@pytest.mark.parametrize("rule", ["start0", "eval"])
def test_classifier(rule, model, mirror):
    g = load("pointe_evals/pointnet2.npz")
    points = g["clouds_normalized"]
    normalized = metrics.normalize_clouds(g["clouds_raw"])
    np.testing.assert_allclose(normalized, points, rtol=0, atol=1e-7)  # a float32 step; equal here
    start = np.zeros(2, np.int32) if rule == "start0" else np.arange(2, dtype=np.int32)
    got = all_stages(model, jnp.asarray(points), jnp.asarray(start))
    wanted = {k.removeprefix(f"{rule}__"): v for k, v in g.items() if k.startswith(f"{rule}__")}
    assert got.keys() == wanted.keys()
    for key, want in wanted.items():
        if "idx" in key:
            np.testing.assert_array_equal(got[key], want, err_msg=key)
        else:
            atol = 2e-6 if key == "log_probs" else 1e-6  # measured: 2.4e-7, 1.1e-7
            np.testing.assert_allclose(got[key], want, rtol=0, atol=atol, err_msg=key)
    with torch.inference_mode():
        features, log_probs = mirror(torch.tensor(points), torch.tensor(start).long())
    np.testing.assert_allclose(features, wanted["features"], rtol=0, atol=8e-7)
    np.testing.assert_allclose(log_probs, wanted["log_probs"], atol=2e-6)


def test_the_default_start_is_the_published_evaluation(model):
    """And it differs from the other rule, so the two golden sets are two tests."""
    g = load("pointe_evals/pointnet2.npz")
    features, _ = jit(lambda model, points: model(points))(model, g["clouds_normalized"])
    np.testing.assert_allclose(features, g["eval__features"], rtol=0, atol=8e-7)
    assert np.abs(g["start0__features"] - g["eval__features"]).max() > 1e-3


def test_grouping_on_a_small_cloud():
    g = load("pointe_evals/pointnet2_grouping_small.npz")
    points = jnp.asarray(g["points"])
    index = jit(farthest_points, static_argnums=1)(points, 12, jnp.arange(2))
    np.testing.assert_array_equal(index, g["fps_idx_start_arange"])
    centres = jnp.asarray(g["centroids"])
    for key in ("ball_r0.05_k8", "ball_r0.3_k8", "ball_r0.9_k16"):
        radius, count = key.removeprefix("ball_r").split("_k")
        sizes = (float(radius), int(count))
        got = jit(ball_neighbours, static_argnums=(2, 3))(points, centres, *sizes)
        np.testing.assert_array_equal(got, g[key], err_msg=key)


def test_export_is_the_inverse(weights, mirror):
    shapes = target_shapes(nnx.eval_shape(lambda: NETWORK.make_model(CONFIG)))
    arrays = port(weights, pointnet2_rules(CONFIG), shapes)
    steps = plan({k: w.shape for k, w in weights.items()}, pointnet2_rules(CONFIG), shapes)
    assert all(name.endswith("num_batches_tracked") for name in steps.unused)
    back = {
        source: np.ascontiguousarray(steps.transforms[path].invert(arrays[path]))
        for path, (source,) in steps.sources.items()
    }
    for name, w in back.items():
        np.testing.assert_array_equal(w, weights[name])
    # PyTorch makes the missing counters itself.
    NETWORK.make_torch(CONFIG).load_state_dict(
        {name: torch.tensor(w) for name, w in back.items()}, strict=True
    )
    assert port(back, pointnet2_rules(CONFIG), shapes).keys() == arrays.keys()


def test_value_tests_catch_a_wrong_table_and_epsilon(weights, mirror, monkeypatch):
    points = NETWORK.make_inputs(CONFIG, np.random.default_rng(0))
    with torch.inference_mode():
        want = NETWORK.run_torch(mirror, {k: torch.tensor(v) for k, v in points.items()})

    def difference(network):
        got = jit(lambda m: network.run_model(m, points))(build(network, CONFIG, weights))
        return np.abs(got["features"] - want["features"].numpy()).max()

    assert difference(NETWORK) < 8e-7  # measured: 8.2e-8
    # The second layer of sa1 is square, so no shape tells that its transpose is missing.
    square = r"sa1\.mlp_convs\.1\.weight"
    rules = [
        dataclasses.replace(rule, torch=f"(?!{square}){rule.torch}")
        for rule in pointnet2_rules(CONFIG)
    ]
    untransposed = Transform(lambda w: w.squeeze((2, 3)), None)
    rules.append(Rule(square, "sa1/layers/1/kernel", untransposed))
    assert difference(dataclasses.replace(NETWORK, rules=lambda config: rules)) > 1e-3
    monkeypatch.setattr(pointnet2, "EPSILON", 1e-2)
    assert difference(NETWORK) > 1e-3


def test_bfloat16_stays_near_float32(weights, mirror):
    """Measured: at most 0.54 % of the largest feature and log-probability."""
    make_half = lambda config: PointNet2(config, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))  # noqa: E731
    half = build(dataclasses.replace(NETWORK, make_model=make_half), CONFIG, weights)
    assert all(w.dtype == jnp.float32 for w in jax.tree.leaves(nnx.state(half)))
    inputs = NETWORK.make_inputs(CONFIG, np.random.default_rng(0))
    got = jit(lambda m: NETWORK.run_model(m, inputs))(half)
    assert got["features"].dtype == jnp.bfloat16
    with torch.inference_mode():  # PyTorch's float32 is a thousand times nearer to ours
        want = NETWORK.run_torch(mirror, {k: torch.tensor(v) for k, v in inputs.items()})
    for name, w in want.items():
        assert_same(np.asarray(got[name], np.float32), w.numpy(), tolerance=0.03)


@pytest.mark.parametrize("case", ["fid_a", "fid_b", "fid_rankdef"])
def test_frechet_distance(case):
    g = load("pointe_evals/fid_is.npz")
    a, b = (metrics.feature_statistics(g[f"{case}__feats{i}"]) for i in (1, 2))
    if case != "fid_rankdef":
        np.testing.assert_array_equal(a.mean, g[f"{case}__mu1"])
        # Measured: equal, the distances to 1e-15. Another machine's BLAS and LAPACK add and rotate
        # in another order, which leaves a few of float64's 16 digits unsure.
        np.testing.assert_allclose(a.cov, g[f"{case}__sigma1"], rtol=1e-12)
        assert abs(metrics.frechet_distance(a, a)) < 1.5e-12  # measured: 1.6e-13
    else:
        assert not g["fid_rankdef__raised"]  # nor may ours
    rtol = 5e-8 if case == "fid_rankdef" else 1e-12
    want = float(g[f"{case}__frechet"])
    assert metrics.frechet_distance(a, b) == pytest.approx(want, rel=rtol)
    assert metrics.p_fid(g[f"{case}__feats1"], g[f"{case}__feats2"]) == pytest.approx(
        want, rel=rtol
    )


@pytest.mark.parametrize("case", ["is_a", "is_b"])
def test_inception_score(case):
    g = load("pointe_evals/fid_is.npz")
    probs, size = g[f"{case}__probs"], int(g[f"{case}__split_size"])
    # Measured: both equal. Logarithms differ by a step or two between builds of NumPy.
    assert metrics.inception_score(probs, size) == pytest.approx(g[f"{case}__score"], rel=5e-7)
    exact = metrics.inception_score(probs.astype(np.float64), size)
    assert exact == pytest.approx(g[f"{case}__score_float64_input"], rel=1e-12)


def test_inception_score_of_certain_classes_is_their_number():
    assert metrics.inception_score(np.eye(7)[np.arange(700) % 7]) == pytest.approx(7, rel=1e-14)


def test_features_do_not_depend_on_units_or_batch_filling(model):
    rng = np.random.default_rng(0)
    clouds = rng.normal(size=(3, 520, 3))
    before = metrics._apply._cache_size()
    features, probs = metrics.features_and_probs(model, clouds, batch_size=2)
    assert features.shape == (3, 512)
    np.testing.assert_allclose(probs.sum(1), 1, rtol=0, atol=2e-6)  # measured: 2.4e-7
    larger, _ = metrics.features_and_probs(model, 4 * clouds, batch_size=2)
    np.testing.assert_array_equal(larger, features)  # a power of two
    last, _ = metrics.features_and_probs(model, clouds[2:], batch_size=2)
    np.testing.assert_array_equal(last, features[2:])
    assert metrics._apply._cache_size() == before + 1  # one program for all of one shape
