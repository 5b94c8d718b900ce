"""Augmentation: exact at identity, one transform for fields and points, inside the domain."""

import functools
import math

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy.ndimage import map_coordinates

from otuken_jax.conventions import grid_points, voxel_size
from otuken_jax.data.augment import augment, ornament_points
from otuken_jax.data.records import distance_step, quantize_distance

SIZE = 12
IDENTITY = {"rotation_range": 0.0, "scale_range": (1.0, 1.0), "jitter_strength": 0.0}
USUAL = {"rotation_range": 30.0, "scale_range": (0.9, 1.05), "jitter_strength": 0.1}


@functools.cache
def jitted(resolution, rotation_range, scale_range, jitter_strength):
    return jax.jit(
        lambda batch, key: augment(
            batch,
            key,
            resolution,
            rotation_range=rotation_range,
            scale_range=scale_range,
            jitter_strength=jitter_strength,
        )
    )


def run(batch, resolution, seed=0, **ranges):
    return jax.device_get(jitted(resolution, **ranges)(batch, jax.random.key(seed)))


def make_batch(sdf, seed=0, num_points=50):
    """A batch of the given distances [B, R, R, R] with random other volumes and points."""
    rng = np.random.default_rng(seed)
    sdf = np.stack([quantize_distance(s) for s in sdf])
    others = {k: rng.integers(-127, 128, sdf.shape).astype(np.int8) for k in ("host_sdf", "u", "v")}
    normals = rng.normal(size=(len(sdf), num_points, 3)).astype(np.float32)
    return {
        "sdf": sdf,
        **others,
        "band": rng.integers(0, 128, sdf.shape).astype(np.int8),
        "points": rng.uniform(-0.9, 0.9, normals.shape).astype(np.float32),
        "normals": normals / np.linalg.norm(normals, axis=-1, keepdims=True),
        "colors": rng.random(normals.shape, np.float32),
        "has_text": np.ones(len(sdf), bool),
    }


def sphere(center, radius, resolution):
    return np.linalg.norm(grid_points(resolution) - np.float32(center), axis=-1) - radius


def rotation(angle):
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def box(half, resolution):
    return np.max(np.abs(grid_points(resolution)) - np.float32(half), axis=-1)


def test_identity_gives_the_stored_values_exactly():
    # 12 is no power of two: rounding in the coordinates would show. The first shape fills the
    # domain, so a cap that is not exact would shrink it.
    batch = make_batch([box((1.0, 1.0, 1.0), 12), sphere((0.2, 0, 0), 0.5, 12)])
    out = run(batch, 12, **IDENTITY)
    step = np.float32(distance_step(12))
    np.testing.assert_array_equal(out["sdf"], batch["sdf"].astype(np.float32) * step)
    np.testing.assert_array_equal(out["host_sdf"], batch["host_sdf"].astype(np.float32) * step)
    np.testing.assert_array_equal(
        out["band"], batch["band"].astype(np.float32) * np.float32(1 / 127)
    )
    angle = np.pi * batch["u"].astype(np.float32) / 127
    expected = np.stack([np.sin(angle), np.cos(angle), batch["v"] / 127], -1)
    np.testing.assert_allclose(out["chart"], expected, atol=1e-6)
    for name in ("points", "normals", "colors", "has_text"):
        np.testing.assert_array_equal(out[name], batch[name])
    np.testing.assert_array_equal(out["pose"], 0)
    assert set(out) == set(batch) - {"u", "v"} | {"chart", "pose"}


@pytest.mark.parametrize("resolution", [6, 12])
def test_resampling_is_trilinear_at_the_turned_cells(resolution):
    batch = make_batch([sphere((0, 0, 0), 0.6, SIZE)] * 4)
    out = run(batch, resolution, **USUAL)
    assert len(np.unique(out["pose"])) == 8
    for i, (angle, log_scale) in enumerate(out["pose"].astype(np.float64)):
        scale = math.exp(log_scale)
        source = grid_points(resolution).astype(np.float64) @ rotation(angle) / scale
        index = np.moveaxis((source + 1) / voxel_size(SIZE) - 0.5, -1, 0)

        def sample(volume, index=index):
            return map_coordinates(volume, index, output=float, order=1, mode="nearest")

        unit = distance_step(SIZE) * scale
        beyond = np.linalg.norm(index - np.clip(index, 0, SIZE - 1), axis=0)
        beyond *= scale * voxel_size(SIZE)  # beyond the source grid the distance grows
        for name in ("sdf", "host_sdf"):
            expected = sample(batch[name][i]) * unit + beyond
            np.testing.assert_allclose(out[name][i], expected, atol=1e-4)
        np.testing.assert_allclose(out["band"][i], sample(batch["band"][i]) / 127, atol=1e-4)
        theta = np.pi * batch["u"][i] / 127
        sin, cos = sample(np.sin(theta)), sample(np.cos(theta))
        radius = np.hypot(sin, cos)
        expected = np.stack([sin / radius, cos / radius, sample(batch["v"][i] / 127)], -1)
        clear = radius > 0.05  # elsewhere the direction is noise
        np.testing.assert_allclose(out["chart"][i][clear], expected[clear], atol=1e-3)


def test_points_and_field_move_together():
    center, radius = np.array([0.4, -0.3, 0.1]), 0.4
    direction = np.random.default_rng(0).normal(size=(4, 50, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    batch = make_batch([sphere(center, radius, SIZE)] * 4)
    batch["points"] = (center + radius * direction).astype(np.float32)
    batch["normals"] = direction.astype(np.float32)
    out = run(batch, SIZE, **USUAL)
    assert np.abs(out["pose"][:, 0]).max() > 0.2
    for i, (angle, log_scale) in enumerate(out["pose"]):
        turn, scale = rotation(angle), math.exp(log_scale)
        moved = scale * turn @ center
        expected = moved + scale * radius * direction[i] @ turn.T
        noise = out["points"][i] - expected
        assert noise.std() == pytest.approx(0.1 * 2 / 32, rel=0.2)  # jitter, and nothing else
        np.testing.assert_allclose(out["normals"][i], direction[i] @ turn.T, atol=1e-5)
        field = sphere(moved, scale * radius, SIZE)
        near = np.abs(field) < 0.3
        # The sphere is 5 voxels wide; the largest move is of a whole voxel.
        np.testing.assert_allclose(out["sdf"][i][near], field[near], atol=0.3 * voxel_size(SIZE))


def test_shapes_stay_inside_the_domain():
    halves = [(0.9, 0.9, 0.3), (0.3, 0.3, 0.95), (0.9, 0.9, 0.3), (0.3, 0.3, 0.95)]
    batch = make_batch([box(half, SIZE) for half in halves])
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    batch["points"] = np.stack([corners * half for half in halves]).astype(np.float32)
    batch["normals"] = batch["points"]
    ranges = {"rotation_range": 60.0, "scale_range": (0.9, 1.4), "jitter_strength": 0.0}
    poses = []
    for seed in range(10):
        out = run(batch, SIZE, seed, **ranges)
        assert np.abs(out["points"]).max() <= 1 + 1e-6
        poses.append(out["pose"])
    angle, log_scale = np.stack(poses, axis=1).astype(np.float64).T.reshape(2, 10, 4)
    assert log_scale.min() >= math.log(0.9) - 1e-6
    # The tile's corners allow 15.9 degrees at scale 0.9; the column turns freely.
    assert 8 < np.degrees(np.abs(angle[:, ::2])).max() < 16
    assert np.degrees(np.abs(angle[:, 1::2])).max() > 40
    assert np.exp(log_scale[:, 1::2]).max() <= 1 / 0.95 + 1e-6


def test_a_sample_depends_on_its_own_key_alone():
    batch = make_batch([sphere((0.1, 0, 0), 0.5, SIZE)] * 4)
    other = make_batch([sphere((0, 0.2, 0), 0.7, SIZE)] * 4, seed=1)
    mixed = {k: np.concatenate([batch[k][:3], other[k][3:]]) for k in batch}
    first, second = run(batch, SIZE, **USUAL), run(mixed, SIZE, **USUAL)
    for name in ("pose", "points", "sdf", "chart"):
        np.testing.assert_array_equal(first[name][:3], second[name][:3])
    assert not np.array_equal(first["sdf"][3], second["sdf"][3])
    assert not np.array_equal(run(batch, SIZE, seed=1, **USUAL)["pose"], first["pose"])


def test_a_sharded_batch_needs_no_communication():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    batch = make_batch([sphere((0.1, 0, 0), 0.5, SIZE)] * 4)
    rows = NamedSharding(mesh, PartitionSpec("data"))
    function = jax.jit(jitted(6, **USUAL), out_shardings=rows)
    compiled = function.lower(jax.device_put(batch, rows), jax.random.key(0)).compile()
    for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert word not in compiled.as_text()
    sharded = jax.device_get(compiled(jax.device_put(batch, rows), jax.random.key(0)))
    for name, value in run(batch, 6, **USUAL).items():
        np.testing.assert_allclose(sharded[name], value, atol=1e-4)


def test_points_of_the_ornament_are_stored_voxels_near_the_surface_of_the_band():
    batch = make_batch([sphere((0, 0, 0), 0.6, SIZE)] * 3)
    batch["host_sdf"] = batch["sdf"].copy()
    batch["sdf"] = (batch["host_sdf"] - 3 * (batch["band"] > 60)).clip(-127).astype(np.int8)
    batch["band"][:, : SIZE // 2] = 0
    batch["band"][2] = 0
    batch["has_chart"] = np.array([True, False, True])
    drawn = jax.device_get(
        jax.jit(ornament_points, static_argnums=2)(batch, jax.random.key(0), 400)
    )
    assert drawn.known.tolist() == [True, False, False]  # no chart, no band
    rows = {
        (*np.float32([math.sin(a), math.cos(a), v / 127]).round(5), h - s)
        for u, v, h, s, b in zip(
            *(batch[k][0].ravel().astype(int) for k in ("u", "v", "host_sdf", "sdf", "band")),
            strict=True,
        )
        for a in [math.pi * u / 127]
        if b > 0
    }
    codes = np.rint(drawn.height[0] / distance_step(SIZE)).astype(int)
    np.testing.assert_allclose(drawn.height[0], codes * distance_step(SIZE), rtol=1e-6)
    got = {(*c.round(5), h) for c, h in zip(drawn.chart[0], codes.tolist(), strict=True)}
    assert got <= rows
    assert len(got) > 100  # of 864 voxels
    near = np.mean(codes != 0), np.mean((batch["sdf"] != batch["host_sdf"])[0, SIZE // 2 :])
    assert near[0] > near[1]  # drawn by weight: where the band is strong
