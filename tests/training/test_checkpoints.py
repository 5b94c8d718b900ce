"""Checkpoints that are damaged, of another model, or have no room."""

import dataclasses
import errno
import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import TINY

from otuken_jax.errors import UserError
from otuken_jax.training.checkpoints import Checkpoints, check_same_model, model_config

PARAMS = {"a.kernel": jnp.ones((8, 8)), "b.bias": jnp.zeros(3)}


def save(checkpoints: Checkpoints, step: int, loss: float) -> None:
    params = {name: p + step for name, p in PARAMS.items()}
    checkpoints.save(step, params, {"count": jnp.int32(step)}, {}, stage=0, loss=loss)


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


def test_no_good_one_left_is_an_error(three, tmp_path):
    shutil.copytree(three, tmp_path / "run")
    for step in "23":
        flip(tmp_path / "run" / step / "meta" / "metadata")
    with pytest.raises(UserError, match=r"every checkpoint .* is broken; restore one"):
        Checkpoints(tmp_path / "run").newest_good()


def test_a_full_disk_is_explained_and_leaves_the_old(three, tmp_path, monkeypatch):
    shutil.copytree(three, tmp_path / "run")
    checkpoints = Checkpoints(tmp_path / "run")

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints._manager, "save", refuse)
    with pytest.raises(UserError, match=r"step 4 could not be written .*No space left"):
        save(checkpoints, 4, 0.0)
    assert checkpoints.newest_good() == 3


def test_another_model_or_version_is_named():
    fields = json.loads(json.dumps(dataclasses.asdict(TINY)))
    check_same_model({"model": fields}, TINY)
    wider = dataclasses.replace(TINY, decoder=dataclasses.replace(TINY.decoder, num_heads=4))
    with pytest.raises(UserError, match=r"decoder\.num_heads is 2 there and 4 here; choose"):
        check_same_model({"model": fields}, wider)
    for changed in (fields | {"new_part": 1}, {}):
        with pytest.raises(UserError, match="another version of otuken_jax"):
            model_config({"model": changed})
