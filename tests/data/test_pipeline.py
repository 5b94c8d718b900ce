"""The loader: deterministic, resumable, and true to what each sample shows."""

import logging

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest

from otuken_jax.data import pipeline, records
from otuken_jax.data.pipeline import Draws, Inputs, Source, draw_inputs, make_loader
from otuken_jax.data.text import ByteTokenizer
from otuken_jax.errors import UserError

COUNT, SIZE, POINTS = 10, 4, 24
LENGTHS = {"num_points": 16, "text_length": 48, "style_length": 32}
SHAPES = {
    **{name: ((SIZE,) * 3, np.int8) for name in records.VOLUMES},
    **{name: ((16, 3), np.float32) for name in records.SURFACE},
    "text_ids": ((48,), np.int32),
    "text_mask": ((48,), np.bool_),
    "style_ids": ((32,), np.int32),
    "style_mask": ((32,), np.bool_),
    **{f"has_{k}": ((), np.bool_) for k in ("chart", "colors", "text", "points", "style")},
}


def make_example(i):
    """An ornamented shape whose every entry tells its number."""
    rng = np.random.default_rng(i)
    volumes = rng.integers(1, 127, (5, SIZE, SIZE, SIZE)).astype(np.int8)
    return {
        **dict(zip(records.VOLUMES, volumes, strict=True)),
        **{k: rng.random((POINTS, 3), np.float32) for k in records.SURFACE},
        "captions": {
            "short": f"laleli {i}",
            "full": f"lale motifli uzun vazo {i}",
            "host": f"uzun vazo {i}",
            "motif": f"lale {i}",
        },
        "style_text": f"lale motifi {i}",
        "has_chart": True,
    }


def write_dataset(directory, examples):
    records.write_records(directory / "a.arrayrecord", map(records.encode, examples))
    split = {"count": len(examples), "files": {"a.arrayrecord": {}}}
    records.write_manifest(directory, {"schema": 1, "splits": {"train": split}})


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("pipeline")
    write_dataset(path, [make_example(i) for i in range(COUNT)])
    return path


def loader(directory, split="train", **more):
    usual = {"batch_size": 4, "seed": 0, "tokenizer": ByteTokenizer(), "draws": Draws()}
    return make_loader(directory, split, **(usual | LENGTHS | more))


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def numbers(batches):
    """Which example each row is, told by its u volume."""
    known = {make_example(i)["u"].tobytes(): i for i in range(COUNT)}
    return [known[row.tobytes()] for batch in batches for row in batch["u"]]


def decode(ids):
    return ByteTokenizer().decode(ids.tolist())


def test_batches_have_the_stated_arrays(directory):
    batch = next(iter(loader(directory)))
    assert {k: (v.shape, v.dtype) for k, v in batch.items()} == {
        k: ((4, *shape), np.dtype(dtype)) for k, (shape, dtype) in SHAPES.items()
    }


def test_every_epoch_is_another_order_of_the_same_examples(directory):
    data = loader(directory, batch_size=3)
    assert data.steps_per_epoch == 3
    assert data.num_examples == COUNT
    batches = take(iter(data), 9)
    epochs = [numbers(batches[i : i + 3]) for i in (0, 3, 6)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len({i for epoch in epochs for i in epoch}) == COUNT  # another one is left out each time
    assert numbers(take(iter(loader(directory, batch_size=3, seed=1)), 3)) != epochs[0]


def test_the_same_seed_gives_the_same_batches(directory):
    for first, second in zip(
        take(iter(loader(directory)), 6), take(iter(loader(directory)), 6), strict=True
    ):
        assert_same(first, second)


@pytest.mark.parametrize("position", [1, 2, 5])
def test_resume_is_exact(directory, tmp_path, position):
    whole = iter(loader(directory))
    take(whole, position)
    manager = ocp.CheckpointManager(tmp_path)
    manager.save(0, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(whole)))
    manager.wait_until_finished()
    state = whole.get_state()
    expected = take(whole, 4)
    resumed = iter(loader(directory))
    resumed.set_state(state)
    restored = iter(loader(directory))
    manager.restore(0, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(restored)))
    manager.close()
    for batch, other, third in zip(expected, take(resumed, 4), take(restored, 4), strict=True):
        assert_same(batch, other)
        assert_same(batch, third)


def test_processes_share_out_the_very_same_batches(directory):
    whole = take(iter(loader(directory)), 5)
    shares = [take(iter(loader(directory, process_index=i, process_count=2)), 5) for i in range(2)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert_same(batch, {k: np.concatenate([first[k], second[k]]) for k in batch})


@pytest.mark.slow
def test_worker_processes_change_nothing_and_resume(directory):
    expected = take(iter(loader(directory)), 6)
    iterator = iter(loader(directory, num_workers=2))
    try:
        got = take(iterator, 3)
        state = iterator.get_state()
    finally:
        iterator.close()
    resumed = iter(loader(directory, num_workers=2))
    try:
        resumed.set_state(state)
        got += take(resumed, 3)
    finally:
        resumed.close()
    for batch, other in zip(expected, got, strict=True):
        assert_same(batch, other)


def test_rows_agree_with_their_record(directory):
    kinds = set()
    batches = take(iter(loader(directory, draws=Draws(style_dropout=0.4))), 40)
    for batch, i in zip(
        [{k: v[row] for k, v in b.items()} for b in batches for row in range(4)],
        numbers(batches),
        strict=True,
    ):
        example = records.decode(records.encode(make_example(i)))
        text = decode(batch["text_ids"]) if batch["has_text"] else None
        style = decode(batch["style_ids"]) if batch["has_style"] else None
        kinds.add((text is not None, bool(batch["has_points"]), style is not None))
        assert batch["text_mask"].any() == (text is not None)
        assert batch["style_mask"].any() == (style is not None)
        if style is None:
            np.testing.assert_array_equal(batch["sdf"], example["host_sdf"])
            assert not batch["band"].any()
            assert not batch["has_points"]
            assert not batch["has_colors"]
            assert text == f"uzun vazo {i}"
        else:
            np.testing.assert_array_equal(batch["sdf"], example["sdf"])
            np.testing.assert_array_equal(batch["band"], example["band"])
            assert batch["has_colors"]
            assert text in (None, f"laleli {i}", f"lale motifli uzun vazo {i}", f"uzun vazo {i}")
            assert style == f"lale motifi {i}" or (style == text and "lale" in style)
        np.testing.assert_array_equal(batch["host_sdf"], example["host_sdf"])
        rows = [np.flatnonzero((example["points"] == p).all(1))[0] for p in batch["points"]]
        assert len(set(rows)) == 16
        for name in records.SURFACE:
            np.testing.assert_array_equal(batch[name], example[name][rows])
    assert kinds == {
        (True, False, True),
        (True, True, True),
        (False, True, True),
        (True, False, False),
    }


def test_draws_have_the_stated_frequencies():
    example, rng = make_example(0), np.random.default_rng(0)
    drawn = [draw_inputs(example, Draws(), rng) for _ in range(10_000)]

    def share(condition, among=drawn):
        return sum(bool(condition(d)) for d in among) / len(among)

    assert share(lambda d: d.plain) == pytest.approx(0.1, abs=0.01)
    styled = [d for d in drawn if not d.plain]
    assert share(lambda d: d.text and not d.points, styled) == pytest.approx(0.6, abs=0.015)
    assert share(lambda d: d.text and d.points, styled) == pytest.approx(0.2, abs=0.015)
    assert share(lambda d: not d.text and d.points, styled) == pytest.approx(0.2, abs=0.015)
    told = [d for d in styled if d.text]
    assert share(lambda d: d.text == d.style, told) == pytest.approx(0.3, abs=0.015)
    apart = [d for d in told if d.text != d.style]
    assert share(lambda d: "lale" in d.text, apart) == pytest.approx(0.5, abs=0.02)
    for kind, expected in (("short", 0.25), ("full", 0.25), ("host", 0.5), ("motif", 0.0)):
        text = example["captions"][kind]
        assert share(lambda d, text=text: d.text == text, apart) == pytest.approx(
            expected, abs=0.02
        )
    example["captions"]["noun"] = "derin vazo"
    drawn = [draw_inputs(example, Draws(other_form=0.4), rng) for _ in range(10_000)]
    assert not any(d.text == "derin vazo" and (d.plain or d.text == d.style) for d in drawn)
    bare = [d for d in drawn if d.text in ("derin vazo", "uzun vazo 0") and not d.plain]
    assert share(lambda d: d.text == "derin vazo", bare) == pytest.approx(0.4, abs=0.03)
    example["captions"] |= {"unfamiliar": "Zumal vazo", "unfamiliar_style": "Zumal üslubu"}
    drawn = [draw_inputs(example, Draws(unfamiliar=0.2), rng) for _ in range(5_000)]
    assert not any("Zumal" in (d.text or "") + (d.style or "") for d in drawn if d.plain)
    assert all(d.style in ("Zumal vazo", "Zumal üslubu") for d in drawn if d.text == "Zumal vazo")
    styled = [d for d in drawn if not d.plain]
    assert share(lambda d: "Zumal" in d.style, styled) == pytest.approx(0.2, abs=0.02)
    assert all(d.tells_colors == ("Zumal" not in d.style) for d in styled)
    drawn = [draw_inputs(example, Draws(full_caption=0.6), rng) for _ in range(5_000)]
    full = share(lambda d: "lale motifli" in d.text, [d for d in drawn if d.text == d.style])
    assert full == pytest.approx(0.6 + 0.4 / 2, abs=0.03)


def test_made_up_names_teach_no_colours(tmp_path):
    example = make_example(0)
    example["captions"] |= {"unfamiliar": "Zumal vazo", "unfamiliar_style": "Zumal üslubu"}
    write_dataset(tmp_path, [example] * 4)
    draws = Draws(style_dropout=0.0, unfamiliar=0.5)
    seen = set()
    for batch in take(iter(loader(tmp_path, draws=draws)), 20):
        for ids, taught in zip(batch["style_ids"], batch["has_colors"], strict=True):
            seen.add(("zumal" in decode(ids), bool(taught)))
    assert seen == {(True, False), (False, True)}


def test_a_user_mesh_keeps_its_style_and_has_no_chart(tmp_path):
    example = make_example(0)
    for name in ("host_sdf", "band", "u", "v"):
        del example[name]
    example |= {"captions": {"any": "eski ibrik", "text_2": "ibrik"}, "has_chart": False}
    write_dataset(tmp_path, [example] * 4)
    for batch in take(iter(loader(tmp_path, draws=Draws(style_dropout=1.0))), 5):
        assert batch["has_style"].all()
        assert batch["has_colors"].all()
        assert not batch["has_chart"].any()
        assert not batch["host_sdf"].any()
        for row in batch["text_ids"][batch["has_text"]]:
            assert decode(row) in ("eski ibrik", "ibrik")
    rng = np.random.default_rng(0)
    wordless = example | {"captions": {}, "style_text": ""}
    assert draw_inputs(wordless, Draws(), rng) == Inputs(None, None, points=True)


def test_validation_draws_nothing(directory):
    data = loader(directory, draws=None)
    assert data.steps_per_epoch == 3
    batches = list(data)
    assert numbers(batches) == list(range(COUNT))
    assert [len(batch["sdf"]) for batch in batches] == [4, 4, 2]
    for i, row in enumerate(row for batch in batches for row in batch["text_ids"]):
        assert decode(row) == f"lale motifli uzun vazo {i}"
    for batch, other in zip(batches, loader(directory, draws=None, seed=1), strict=True):
        assert batch["has_text"].all()
        assert batch["has_style"].all()
        assert not batch["has_points"].any()
        assert_same(batch, other)


def test_few_points_are_repeated_and_long_captions_cut(directory, caplog):
    pipeline._warn_truncated.cache_clear()
    with caplog.at_level(logging.WARNING):
        batch = next(iter(loader(directory, draws=None, num_points=30, text_length=12)))
        next(iter(loader(directory, draws=None, text_length=12)))
    np.testing.assert_array_equal(batch["points"][:, 24:], batch["points"][:, :6])
    assert decode(batch["text_ids"][0]) == "lale motifl"
    assert [r.getMessage() for r in caplog.records if "truncated" in r.getMessage()] == [
        "some captions are longer than 12 tokens and are truncated"
    ]


def test_bad_requests_are_one_clear_line(directory, tmp_path):
    with pytest.raises(UserError, match="no data set"):
        loader(tmp_path)
    with pytest.raises(UserError, match="'test'"):
        loader(directory, split="test")
    with pytest.raises(UserError, match="fewer than one batch of 11"):
        loader(directory, batch_size=11)
    with pytest.raises(UserError, match="3 processes do not divide"):
        loader(directory, process_count=3)
    with pytest.raises(UserError, match="whole batches"):
        loader(directory, draws=None, process_count=2)
    write_dataset(tmp_path, [make_example(0)] * 4)
    (tmp_path / "a.arrayrecord").write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.arrayrecord"):
        loader(tmp_path)


@pytest.fixture
def mixed(directory, tmp_path):
    """The usual ten examples, and three meshes without chart, style or colours."""
    meshes = []
    for i in range(COUNT, COUNT + 3):
        example = make_example(i)
        for name in ("host_sdf", "band", "v", "style_text", "captions"):
            del example[name]
        meshes.append(
            example
            | {"captions": {"full": f"top {i}"}, "style_text": ""}
            | {"has_chart": False, "has_colors": False}
        )
    write_dataset(tmp_path, meshes)
    return [Source(directory, 3.0), Source(tmp_path, 1.0)]


def mixed_numbers(batches):
    known = {make_example(i)["u"].tobytes(): i for i in range(COUNT + 3)}
    return [known[row.tobytes()] for batch in batches for row in batch["u"]]


def test_sources_are_mixed_by_weight(mixed):
    data = loader(mixed)
    assert (data.num_examples, data.steps_per_epoch) == (13, 3)
    drawn = mixed_numbers(take(iter(data), 40))
    shapes = [i for i in drawn if i < COUNT]
    meshes = [i for i in drawn if i >= COUNT]
    assert len(meshes) == 40
    # Each source goes through all of its examples before it repeats one, in a new order each time.
    passes = [shapes[i : i + COUNT] for i in range(0, 120, COUNT)]
    assert all(sorted(p) == list(range(COUNT)) for p in passes)
    assert len({tuple(p) for p in passes}) > 10
    assert len({tuple(meshes[i : i + 3]) for i in range(0, 39, 3)}) > 2
    assert mixed_numbers(take(iter(loader(mixed, seed=1)), 40)) != drawn


def test_a_mix_resumes_exactly_and_processes_share_it(mixed):
    whole = iter(loader(mixed))
    take(whole, 5)
    state, expected = whole.get_state(), take(whole, 4)
    resumed = iter(loader(mixed))
    resumed.set_state(state)
    shares = [iter(loader(mixed, process_index=i, process_count=2)) for i in range(2)]
    for share in shares:
        take(share, 5)
    for batch, again in zip(expected, take(resumed, 4), strict=True):
        assert_same(batch, again)
        first, second = (next(share) for share in shares)
        assert_same(batch, {k: np.concatenate([first[k], second[k]]) for k in batch})


def test_a_mesh_without_style_or_colours_says_so(mixed):
    batches = list(loader(mixed, draws=None))
    assert mixed_numbers(batches) == list(range(COUNT + 3))
    rows = [{k: v[i] for k, v in b.items()} for b in batches for i in range(len(b["u"]))]
    for i, row in enumerate(rows):
        assert bool(row["has_colors"]) == bool(row["has_chart"]) == (i < COUNT)
        if i >= COUNT:  # one sentence serves as both
            assert decode(row["text_ids"]) == decode(row["style_ids"]) == f"top {i}"
            assert row["has_style"]
    for batch in take(iter(loader(mixed[1:], batch_size=3)), 10):
        for i in np.flatnonzero(batch["has_text"]):
            assert decode(batch["style_ids"][i]) == decode(batch["text_ids"][i])
            assert batch["has_style"][i]
        assert not batch["has_style"][~batch["has_text"]].any()
