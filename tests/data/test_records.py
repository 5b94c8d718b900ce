"""Records: what goes in comes out, and nothing bad comes in."""

import pickle
import resource
import signal

import msgpack
import numpy as np
import pytest

from otuken_jax.data import records
from otuken_jax.errors import UserError


def make_example(seed=0, resolution=6, num_points=20):
    rng = np.random.default_rng(seed)
    volumes = rng.integers(-127, 128, (5, *(resolution,) * 3)).astype(np.int8)
    normals = rng.normal(size=(num_points, 3))
    return {
        **dict(zip(records.VOLUMES, volumes, strict=True)),
        "points": rng.uniform(-1, 1, (num_points, 3)).astype(np.float32),
        "normals": (normals / np.linalg.norm(normals, axis=1)[:, None]).astype(np.float32),
        "colors": rng.random((num_points, 3), np.float32),
        "captions": {"full": "İznik üslubunda, lale motifli vazo"},
        "style_text": "lale motifi, kırmızı",
        "recipe": {"host": "vazo", "motif": None, "form": [0, 1, 2]},
        "has_chart": True,
    }


def test_an_example_survives_a_record():
    example = make_example()
    decoded = records.decode(records.encode(example))
    assert set(decoded) == set(example)
    for name in records.VOLUMES:
        assert decoded[name].dtype == np.int8
        np.testing.assert_array_equal(decoded[name], example[name])
    for name, step in (("points", 1 / 32767), ("normals", 1 / 32767), ("colors", 1 / 255)):
        assert decoded[name].dtype == np.float32
        np.testing.assert_allclose(decoded[name], example[name], atol=0.51 * step)
    for name in ("captions", "style_text", "recipe", "has_chart"):
        assert decoded[name] == example[name]


def test_a_user_mesh_has_neither_chart_nor_recipe():
    example = make_example()
    for name in (*records.VOLUMES[1:], "recipe"):
        del example[name]
    assert set(records.decode(records.encode(example))) == set(example)


def test_distance_is_quantised_in_steps_of_8_voxels_over_127():
    step = 8 * (2 / 4) / 127
    sdf = np.linspace(-1.2, 1.2, 64, dtype=np.float32).reshape(4, 4, 4)
    stored = records.quantize_distance(sdf)
    np.testing.assert_allclose(stored * step, sdf, atol=0.501 * step)
    assert records.distance_step(4) == pytest.approx(step)
    assert records.quantize_distance(sdf * 10).tolist()[0][0][0] == -127
    near = sdf * 1e-3
    np.testing.assert_array_equal(records.quantize_distance(near), np.where(near < 0, -1, 0))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"sdf": np.zeros((4, 4, 5), np.int8)}, "sdf"),
        ({"band": np.zeros((6, 6, 6), np.float32)}, "band"),
        ({"points": np.full((20, 3), 1.5, np.float32)}, "points"),
        ({"points": np.full((20, 3), np.nan, np.float32)}, "points"),
        ({"normals": np.zeros((19, 3), np.float32)}, "normals"),
        ({"wind": 1}, "wind"),
    ],
)
def test_a_bad_example_is_refused(change, match):
    with pytest.raises(ValueError, match=match):
        records.encode(make_example() | change)


def test_a_bad_record_is_one_clear_line():
    data = records.encode(make_example())
    newer = msgpack.packb(msgpack.unpackb(data) | {"schema": records.SCHEMA_VERSION + 1})
    with pytest.raises(UserError, match="version 2"):
        records.decode(newer)
    blob = msgpack.unpackb(data)["sdf"]["zstd"]
    flipped = bytearray(data)
    flipped[data.index(blob) + len(blob) - 1] ^= 1  # the checksum catches a single bit
    for bad in (b"", b"junk", data[:-9], bytes(flipped), pickle.dumps(1), msgpack.packb({})):
        with pytest.raises(UserError, match="build the data again"):
            records.decode(bad)


def test_source_reads_what_was_written(tmp_path):
    path = tmp_path / "train.arrayrecord"
    examples = [make_example(seed) for seed in range(3)]
    assert records.write_records(path, map(records.encode, examples)) == 3
    source = pickle.loads(pickle.dumps(records.RecordSource([path])))  # grain's workers need that
    assert len(source) == 3
    for i, example in enumerate(examples):
        np.testing.assert_array_equal(source[i]["sdf"], example["sdf"])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "train.arrayrecord"
    records.write_records(path, [b"old"])
    before = path.read_bytes()

    def failing():
        yield b"new"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        records.write_records(path, failing())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(UserError, match="cannot write"):
        records.write_records(tmp_path / "none" / "train.arrayrecord", [b""])


def test_a_full_disk_is_one_clear_line(tmp_path):
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old_limit[1]))
    try:
        with pytest.raises(UserError, match="cannot write"):
            records.write_records(tmp_path / "x.arrayrecord", [bytes(50_000)] * 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert list(tmp_path.iterdir()) == []


def read_all(path):
    source = records.RecordSource([path])
    return [source[i] for i in range(len(source))]


@pytest.mark.parametrize("damage", ["missing", "short", "start", "middle", "index"])
def test_a_damaged_file_is_one_clear_line(tmp_path, damage):
    path = tmp_path / "train.arrayrecord"
    if damage != "missing":
        records.write_records(path, [records.encode(make_example(i)) for i in range(20)])
        assert len(read_all(path)) == 20
        data = bytearray(path.read_bytes())
        if damage == "short":
            data = data[: len(data) // 2]
        else:
            data[{"start": 1000, "middle": 20_000, "index": len(data) - 65_506}[damage]] ^= 0xFF
        path.write_bytes(data)
    with pytest.raises(UserError, match=r"train\.arrayrecord"):
        read_all(path)
