"""Checkpoints and logs: damage, another model, no room."""

import contextlib
import dataclasses
import errno
import gc
import json
import logging
import os
import shutil
import struct
import sys

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tiny_models import TINY
from tiny_training import full_disk

from otuken_jax.errors import UserError
from otuken_jax.training import checkpoints as checkpoints_module
from otuken_jax.training.checkpoints import Checkpoints, CorruptCheckpoint
from otuken_jax.training.loading import check_same_model, model_config
from otuken_jax.training.logging import MetricsLog
from otuken_jax.training.workdir import Workdir

PARAMS = {"a.kernel": jnp.ones((8, 8)), "b.bias": jnp.zeros(3)}


def save(checkpoints: Checkpoints, step: int, loss: float) -> None:
    params = {name: p + step for name, p in PARAMS.items()}
    position = iter(grain.MapDataset.range(9).to_iter_dataset())
    checkpoints.save(
        step,
        params,
        {"count": jnp.int32(step)},
        {},
        stage=0,
        loss=loss,
        data_iterator=position,
    )


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Checkpoints of steps 2 and 3 (1 is neither new nor the best); the newest is the best."""
    directory = tmp_path_factory.mktemp("run") / "checkpoints"
    checkpoints = Checkpoints(directory)
    for step, loss in ((1, 0.5), (2, 0.4), (3, 0.1)):
        save(checkpoints, step, loss)
    assert checkpoints.steps() == [2, 3]
    checkpoints.close()
    return directory


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, cut, lambda path: path.unlink()])
@pytest.mark.parametrize(
    "pattern",
    ["3/model/ocdbt.process_0/d/*", "3/opt/manifest.ocdbt", "3/meta/metadata", "3/metrics/metrics"],
)
def test_any_damage_falls_back_with_a_warning(three, tmp_path, caplog, pattern, damage):
    shutil.copytree(three, tmp_path / "run")
    damage(sorted((tmp_path / "run").glob(pattern))[0])
    checkpoints = Checkpoints(tmp_path / "run")
    assert checkpoints.newest_good() == 2
    assert checkpoints.best_good() == 2
    assert "checkpoint 3 is broken" in caplog.text
    save(checkpoints, 3, 0.1)  # as a run that went on from step 2 does
    assert checkpoints.newest_good() == 3
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = {
        name: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=sharding)
        for name, p in PARAMS.items()
    }
    np.testing.assert_array_equal(checkpoints.restore(2, target).params["b.bias"], [2, 2, 2])
    checkpoints.close()


def test_a_damaged_list_of_checksums_counts_as_damage(three, tmp_path):
    shutil.copytree(three, tmp_path / "run")
    cut(tmp_path / "run" / "checksums" / "3.json")
    assert Checkpoints(tmp_path / "run").newest_good() == 2


@pytest.mark.parametrize("pattern", ["3/model/**/d/*", "3/model/manifest.ocdbt", "3/opt/_METADATA"])
def test_damage_shows_without_checksums(three, tmp_path, caplog, pattern):
    """A save that was killed before it wrote them, and a file cut short."""
    shutil.copytree(three, tmp_path / "run")
    (tmp_path / "run" / "checksums" / "3.json").unlink()
    checkpoints = Checkpoints(tmp_path / "run")
    assert checkpoints.newest_good() == checkpoints.best_good() == 3
    for path in (tmp_path / "run").glob(pattern):  # not every one is read
        cut(path)
    assert checkpoints.newest_good() == checkpoints.best_good() == 2
    assert caplog.text.count("checkpoint 3 is broken") == 2


def unlisted(pattern: str, contents: bytes | None = None):
    """A copy that was broken off before the list of checksums; `contents` None: it lacks a part."""

    def damage(run):
        (run / "checksums" / "3.json").unlink()
        for path in sorted(run.glob(f"3/{pattern}")):
            if contents is not None:
                path.write_bytes(contents)
            else:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: (run / "4").mkdir(),
        lambda run: (run / "checksums" / "3.json").write_text("[]"),
        *(unlisted(item) for item in ("meta", "metrics", "data", "data/*", "model", "*")),
        *(unlisted("meta/metadata", text) for text in (b"\xff\xfe\0", b"[]")),
        *(unlisted("metrics/metrics", text) for text in (b"{}", b"[]", b'{"loss": null}')),
        unlisted("_CHECKPOINT_METADATA", b""),
        unlisted("data/*.json", b"{"),
    ],
)
def test_a_checkpoint_copied_in_part_falls_back(three, tmp_path, caplog, damage):
    run = tmp_path / "run"
    shutil.copytree(three, run)
    damage(run)
    checkpoints = Checkpoints(run)
    good = 3 if (run / "4").exists() else 2
    assert checkpoints.newest_good() == checkpoints.best_good() == good
    assert f"checkpoint {good + 1} is broken" in caplog.text
    save(checkpoints, good + 1, 0.0)
    assert checkpoints.newest_good() == checkpoints.best_good() == good + 1
    checkpoints.close()
    for listing in (run / "checksums").iterdir():
        listing.write_text("[]")
    with pytest.raises(UserError, match="every checkpoint"):
        Checkpoints(run).newest_good()


def test_a_file_with_a_checkpoints_name_makes_way(three, tmp_path, caplog):
    shutil.copytree(three, tmp_path / "run")
    (tmp_path / "run" / "4").write_text("")
    checkpoints = Checkpoints(tmp_path / "run")
    assert "4 is damaged and now called 4.broken" in caplog.text
    assert checkpoints.newest_good() == 3
    save(checkpoints, 4, 0.0)
    assert checkpoints.newest_good() == 4


def test_a_file_that_cannot_be_read_counts_as_damage(three, monkeypatch, caplog):
    read = checkpoints_module._sha256

    def refuse(path):
        if "3" in path.parts:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read(path)

    monkeypatch.setattr(checkpoints_module, "_sha256", refuse)
    assert Checkpoints(three).newest_good() == 2
    assert "Input/output error" in caplog.text


def test_no_good_one_left_is_an_error(three, tmp_path):
    shutil.copytree(three, tmp_path / "run")
    for step in "23":
        flip(tmp_path / "run" / step / "meta" / "metadata")
    with pytest.raises(UserError, match=r"every checkpoint .* is broken; restore one"):
        Checkpoints(tmp_path / "run").newest_good()


def test_a_full_disk_is_one_line_and_leaves_the_old(three, tmp_path, monkeypatch, caplog, capfd):
    """TensorStore reports it as a ValueError, from several threads at once."""
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", lambda seen: unraisable.append(seen.exc_value))
    shutil.copytree(three, tmp_path / "run")
    checkpoints = Checkpoints(tmp_path / "run")
    before = sorted((tmp_path / "run").rglob("*"))
    draw = np.random.default_rng(0).normal
    large = {str(i): jnp.asarray(draw(size=(100, 100)), jnp.float32) for i in range(40)}
    words = (
        r"^the checkpoint of step 4 could not be written to \S+ \(File too large\); free space or"
    )
    with full_disk(), pytest.raises(UserError, match=words):
        checkpoints.save(4, large, {"mu": large}, {}, stage=0, loss=0.0)
    gc.collect()  # asyncio tells what nobody awaited
    told = logging.getLogger("asyncio").error
    told("never retrieved", exc_info=OSError(errno.ENOSPC, "late"))
    assert capfd.readouterr().err == ""
    assert not caplog.records
    assert not unraisable
    told("never retrieved", exc_info=ValueError("a mistake"))
    assert len(caplog.records) == 1
    assert sorted((tmp_path / "run").rglob("*")) == before
    assert checkpoints.newest_good() == 3
    save(checkpoints, 5, 0.0)
    assert checkpoints.newest_good() == 5


def test_other_errors_of_a_save_keep_their_traceback(three, tmp_path):
    shutil.copytree(three, tmp_path / "run")
    checkpoints = Checkpoints(tmp_path / "run")
    with pytest.raises(ValueError, match="empty item"):
        checkpoints.save(4, PARAMS, {}, {}, stage=0, loss=0.0)


def test_what_a_killed_save_left_goes_when_the_training_goes_on(three, tmp_path):
    shutil.copytree(three, tmp_path / "checkpoints")
    left = tmp_path / "checkpoints" / "4.orbax-checkpoint-tmp"
    (left / "model").mkdir(parents=True)
    Checkpoints(tmp_path / "checkpoints").close()
    assert left.exists()  # a training may be writing while others read
    Workdir(tmp_path).close()
    assert not left.exists()


def test_a_full_disk_ends_the_log_where_it_is_written(tmp_path):
    """Not in a thread of its own, which would leave the training waiting at a full queue."""
    log = MetricsLog(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    with full_disk(), pytest.raises(OSError, match="File too large"):
        log.image(1, "prompt", noise)


def test_a_resumed_log_hides_what_came_after(tmp_path):
    log = MetricsLog(tmp_path, resume_step=4)
    log.scalars(5, {"loss": 0.5, "iou": 0.25}, split="val")
    (path,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    data, events, start = path.read_bytes(), [], 0  # at once: nothing waits to be written
    while start < len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        events.append(Event.FromString(data[start + 12 : start + 12 + length]))
        start += length + 16
    assert [e.step for e in events] == [0, 5, 5]
    assert events[1].session_log.status == SessionLog.START
    assert {v.tag: v.simple_value for v in events[2].summary.value} == {
        "val/loss": 0.5,
        "val/iou": 0.25,
    }
    log.close()


RECORD = b'{"step": 1}\n'


@pytest.mark.parametrize(
    ("held", "left"),
    [
        (RECORD + b'{"step": 9}\n', RECORD),
        (RECORD + b'{"st', RECORD),  # cut off as the process was killed
        (RECORD[:-1], RECORD),
        (b"", b""),
        (RECORD + b"[]\n", "line 2 of"),
        (b"{}\n" + RECORD, "line 1 of"),
        (b'{"st\n' + RECORD, "line 1 of"),
        (b"\xff\xfe\0", "line 1 of"),
    ],
)
def test_records_of_another_kind_are_one_line_and_kept(tmp_path, held, left):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(held)
    if isinstance(left, bytes):
        MetricsLog(tmp_path, resume_step=4).close()
        assert path.read_bytes() == left
    else:
        with pytest.raises(UserError, match=f"^{left} .*metrics.jsonl is no record of a training"):
            MetricsLog(tmp_path, resume_step=4)
        assert path.read_bytes() == held


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard"])
def test_a_file_in_place_of_a_folder_is_one_line_before_training(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(UserError, match=rf"^the folder \S+{name} cannot be made \(file exists\)"):
        Workdir(tmp_path)


def test_a_folder_in_place_of_the_records_is_one_line_before_training(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"^cannot write \S+metrics.jsonl: is a directory; "):
        Workdir(tmp_path)


def test_another_model_or_version_is_named():
    fields = json.loads(json.dumps(dataclasses.asdict(TINY)))
    check_same_model({"model": fields}, TINY)
    wider = dataclasses.replace(TINY, decoder=dataclasses.replace(TINY.decoder, num_heads=4))
    with pytest.raises(UserError, match=r"decoder\.num_heads is 2 there and 4 here; choose"):
        check_same_model({"model": fields}, wider)
    older = {name: value for name, value in fields.items() if name != "architecture"}
    for changed in (fields | {"new_part": 1}, older, {}):
        with pytest.raises(UserError, match="another version of otuken_jax"):
            model_config({"model": changed})


@pytest.mark.parametrize("shapes", [{"a.kernel": (8, 9), "b.bias": (3,)}, {"a.kernel": (8, 8)}])
def test_arrays_of_another_versions_model_are_one_clear_line(three, shapes):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = {
        name: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)
        for name, shape in shapes.items()
    }
    message = r"^checkpoint 3 in .* does not fit this .* again$"
    with (
        contextlib.closing(Checkpoints(three)) as checkpoints,
        pytest.raises(UserError, match=message),
    ):
        checkpoints.restore(3, target)


def test_a_disk_that_fails_while_arrays_are_read_is_no_other_version(three, monkeypatch):
    """TensorStore reports it as a ValueError too."""
    with contextlib.closing(Checkpoints(three)) as checkpoints:
        read = checkpoints._manager.restore

        def restore(step, args):
            if "model" in dict(args.items()):
                raise ValueError("Error reading: [os_error_code='5']")
            return read(step, args=args)

        monkeypatch.setattr(checkpoints._manager, "restore", restore)
        with pytest.raises(CorruptCheckpoint, match="Error reading"):
            checkpoints.restore(3, PARAMS)
