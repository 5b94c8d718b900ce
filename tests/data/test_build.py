"""The procedural data set on disk: complete or absent, the same however it is made."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from otuken_jax.data import build, records
from otuken_jax.data.motifs.captions import captions, object_words, unfamiliar_words
from otuken_jax.data.motifs.recipes import HOSTS, Recipe
from otuken_jax.data.motifs.shapes import build_fields
from otuken_jax.errors import UserError

ARGUMENTS = {
    "num_shapes": 6,
    "resolution": 16,
    "num_points": 64,
    "seed": 3,
    "coarsest": 16,
    "hosts": ["vazo", "kase"],
    "motifs": [],  # all
    "num_val": 3,
    "num_heldout": 2,
    "num_heldout_styles": 1,
    "num_heldout_phrasing": 2,
    "progress": False,
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("build") / "motifs"
    build.build_motif_dataset(path, **ARGUMENTS, num_workers=0)
    return path


def digests(directory):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in directory.iterdir()}


def test_the_splits_hold_what_the_manifest_says(directory):
    manifest = records.read_manifest(directory)
    assert {k: v["count"] for k, v in manifest["splits"].items()} == {
        "train": 6,
        "val": 3,
        "heldout_pairs": 2,
        "heldout_styles": 1,
        "heldout_phrasing": 2,
    }
    held = digests(directory)
    for split in manifest["splits"].values():
        for name, described in split["files"].items():
            assert held.pop(name) == described["sha256"]
        assert len(records.RecordSource([directory / n for n in split["files"]])) == split["count"]
    assert list(held) == ["dataset.json"]


def test_a_record_is_its_recipe(directory):
    source = records.RecordSource([directory / "train.arrayrecord"])
    examples = [source[i] for i in range(len(source))]
    assert len({e["captions"]["full"] for e in examples}) > 3
    example = next(e for e in examples if e["recipe"]["motif"])
    fields = build_fields(Recipe.from_dict(example["recipe"]), 16, coarsest=16)
    np.testing.assert_array_equal(example["sdf"], records.quantize_distance(fields.sdf))
    np.testing.assert_allclose(example["band"] / 127, fields.band, atol=0.51 / 127)
    np.testing.assert_allclose(example["u"] / 127, fields.u, atol=0.51 / 127)
    assert example["points"].shape == (64, 3)
    assert len({e["points"].tobytes() for e in examples}) == 6
    assert example["has_chart"]
    assert example["style_text"]


def test_the_manifest_says_what_training_does_not_show(directory):
    heldout = records.read_manifest(directory)["heldout"]
    shown = {
        split: [source[i] for i in range(len(source))]
        for split in ("train", "val", "heldout_pairs", "heldout_styles", "heldout_phrasing")
        for source in [records.RecordSource([directory / f"{split}.arrayrecord"])]
    }
    for split, examples in shown.items():
        for example in examples:
            recipe = example["recipe"]
            pair = [recipe["host"], recipe["motif"]]
            assert (pair in heldout["heldout_pairs"]) == (split == "heldout_pairs")
            assert (recipe["style"] in heldout["heldout_styles"]) == (split == "heldout_styles")
            words = captions(Recipe.from_dict(recipe), heldout=split == "heldout_phrasing")
            by_noun = example["captions"].pop("noun")
            unfamiliar = unfamiliar_words(
                Recipe.from_dict(recipe), heldout=split == "heldout_phrasing"
            )
            assert example["captions"] == words | unfamiliar
            # The right noun among another host's words for the form.
            others = {
                object_words(
                    Recipe.from_dict(recipe), form_of=host, heldout=split == "heldout_phrasing"
                )
                for host in ARGUMENTS["hosts"]
                if host != recipe["host"]
            }
            assert by_noun in others - {words["host"]}
            assert HOSTS[recipe["host"]].name in by_noun
    assert heldout["heldout_phrasing"]["host"] == ["{host}; {a}, {b} ve {c}"]


def test_a_shape_that_fails_ends_the_build(tmp_path, monkeypatch):
    """Whatever it raises: a StopIteration must not look like the end of the shapes."""
    monkeypatch.setattr(build, "make_record", lambda task: next(iter(())))
    with pytest.raises(RuntimeError):
        build.build_motif_dataset(tmp_path / "data", **ARGUMENTS, num_workers=0)
    assert not (tmp_path / "data" / "dataset.json").exists()


def test_processes_write_the_same_bytes(directory, tmp_path):
    build.build_motif_dataset(tmp_path, **ARGUMENTS, num_workers=2)
    assert digests(tmp_path) == digests(directory)


def test_a_complete_data_set_is_found_again(directory, monkeypatch):
    monkeypatch.setattr(build, "make_record", lambda task: pytest.fail("made again"))
    found = build.build_motif_dataset(directory, **ARGUMENTS, num_workers=0)
    assert found == records.read_manifest(directory)


@pytest.mark.parametrize("change", [{"seed": 4}, {"motifs": ["lale"]}, {"num_points": 65}])
def test_another_data_set_is_not_overwritten(directory, change):
    before = digests(directory)
    with pytest.raises(UserError, match=f"{next(iter(change))} is .* there and .* here"):
        build.build_motif_dataset(directory, **(ARGUMENTS | change), num_workers=0)
    assert digests(directory) == before


def test_a_changed_library_is_noticed(directory, monkeypatch):
    monkeypatch.setattr(build, "library_version", lambda meshes: "other")
    with pytest.raises(UserError, match="library"):
        build.build_motif_dataset(directory, **ARGUMENTS, num_workers=0)


def test_the_version_changes_with_what_decides_the_bytes(tmp_path, monkeypatch):
    package = tmp_path / "otuken_jax"
    shutil.copytree(build.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))

    def versions():
        return build.library_version(meshes=False), build.library_version(meshes=True)

    before = versions()
    assert len(set(before)) == 2
    monkeypatch.setattr(build, "PACKAGE", package)
    assert versions() == before
    for name in ("data/motifs/sheets.py", "data/pipeline.py", "errors.py"):
        (package / name).write_text("")
        assert versions() == before, name
    for name in ("geometry/marching_cubes.py", "geometry/mesh_formats.py"):
        (package / name).write_text("")
        after = versions()
        assert after[0] == before[0], name
        assert after[1] != before[1], name
        before = after
    for name in ("data/motifs/shapes.py", "data/text.py", "conventions.py", "data/build.py"):
        (package / name).write_text("")
        after = versions()
        assert all(now != then for now, then in zip(after, before, strict=True)), name
        before = after


def test_the_version_knows_every_module_that_a_build_imports():
    """One that decides no byte of a data set has to be named here."""
    code = (
        "import sys, otuken_jax.data.build; print(*(m for m in sys.modules if m[:6] == 'otuken'))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    paths = {
        build.PACKAGE.parent / f"{name.replace('.', '/')}.py" for name in loaded.stdout.split()
    }
    idle = {"errors.py", "json_files.py", "geometry/mesh_cleaning.py", "geometry/point_files.py"}
    idle = {build.PACKAGE / name for name in idle}
    sources = {path for path in build.sources(meshes=True) if path.name != "__init__.py"}
    assert {path for path in paths if path.is_file()} == sources | idle  # the rest are packages


def test_an_interrupted_build_is_no_data_set_and_can_be_repeated(directory, tmp_path, monkeypatch):
    made = []

    def failing(task):
        made.append(task)
        if len(made) == 8:  # train is written, val half done
            raise KeyboardInterrupt
        return build_record(task)

    build_record = build.make_record
    monkeypatch.setattr(build, "make_record", failing)
    with pytest.raises(KeyboardInterrupt):
        build.build_motif_dataset(tmp_path, **ARGUMENTS, num_workers=0)
    assert {p.name for p in tmp_path.iterdir()} == {build.PLAN, "train.arrayrecord"}
    with pytest.raises(UserError, match="no data set"):
        records.read_manifest(tmp_path)
    with pytest.raises(UserError, match="unfinished other data set"):
        build.build_motif_dataset(tmp_path, **(ARGUMENTS | {"seed": 4}), num_workers=0)
    monkeypatch.setattr(build, "make_record", lambda task: made.append(task) or build_record(task))
    made.clear()
    build.build_motif_dataset(tmp_path, **ARGUMENTS, num_workers=0)
    assert len(made) == 3 + 2 + 1 + 2  # train was finished
    assert digests(tmp_path) == digests(directory)


def test_small_files_hold_the_same_records(directory, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "SHARD", 4)
    manifest = build.build_motif_dataset(
        tmp_path, **ARGUMENTS, num_workers=0, meshes="stl"
    )  # fmt: skip
    names = list(manifest["splits"]["train"]["files"])
    assert names == ["train-00000.arrayrecord", "train-00001.arrayrecord"]
    split = records.RecordSource([tmp_path / name for name in names])
    whole = records.RecordSource([directory / "train.arrayrecord"])
    for i in range(6):
        assert split[i]["sdf"].tobytes() == whole[i]["sdf"].tobytes()
    meshes = {path: path.read_bytes() for path in (tmp_path / "meshes").iterdir()}
    assert len(meshes) == 6 + 3 + 2 + 1 + 2
    (tmp_path / "meshes" / "train-00005.stl").unlink()
    made = []
    build_record = build.make_record
    monkeypatch.setattr(build, "make_record", lambda task: made.append(task) or build_record(task))
    build.build_motif_dataset(tmp_path, **ARGUMENTS, num_workers=0, meshes="stl")
    assert len(made) == 2  # of the second file
    assert {path: path.read_bytes() for path in (tmp_path / "meshes").iterdir()} == meshes


def damage(path):
    data = bytearray(path.read_bytes())
    for i in range(len(data) // 2, len(data) // 2 + 64):
        data[i] ^= 255
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage, "val.arrayrecord is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "val.arrayrecord is damaged"),
        (Path.unlink, "val.arrayrecord is lost"),
    ],
)
def test_only_what_is_damaged_or_lost_is_made_again(
    directory, tmp_path, monkeypatch, caplog, harm, message
):
    target = shutil.copytree(directory, tmp_path / "motifs")
    harm(target / "val.arrayrecord")
    made = []
    build_record = build.make_record
    monkeypatch.setattr(build, "make_record", lambda task: made.append(task) or build_record(task))
    build.build_motif_dataset(target, **ARGUMENTS, num_workers=0, verify=True)
    assert [record.getMessage() for record in caplog.records] == [
        f"{target}: {message}; making that again"
    ]
    assert len(made) == 3
    assert digests(target) == digests(directory)
    build.build_motif_dataset(target, **ARGUMENTS, num_workers=0, verify=True)
    assert len(made) == 3
    assert len(caplog.records) == 1


def test_an_interrupted_repair_goes_on(directory, tmp_path, monkeypatch):
    target = shutil.copytree(directory, tmp_path / "motifs")
    damage(target / "train.arrayrecord")
    (target / "val.arrayrecord").unlink()
    build_record, made = build.make_record, []

    def failing(task):
        made.append(task)
        if len(made) == 8:  # train is written, val half done
            raise KeyboardInterrupt
        return build_record(task)

    monkeypatch.setattr(build, "make_record", failing)
    with pytest.raises(KeyboardInterrupt):
        build.build_motif_dataset(target, **ARGUMENTS, num_workers=0, verify=True)
    with pytest.raises(UserError, match="no data set"):
        records.read_manifest(target)
    monkeypatch.setattr(build, "make_record", lambda task: made.append(task) or build_record(task))
    build.build_motif_dataset(target, **ARGUMENTS, num_workers=0)
    assert len(made) == 8 + 3
    assert digests(target) == digests(directory)


def test_unless_told_to_verify_only_files_newer_than_the_manifest_are_read(
    directory, tmp_path, monkeypatch
):
    target = shutil.copytree(directory, tmp_path / "motifs")
    times = {
        path: 1_000_000_000 + 60 * (path.name == records.MANIFEST) for path in target.iterdir()
    }
    for path, time in times.items():
        os.utime(path, (time, time))
    read = []
    monkeypatch.setattr(
        build, "describe_file", lambda path: read.append(path.name) or records.describe_file(path)
    )
    build.build_motif_dataset(target, **ARGUMENTS, num_workers=0)
    assert read == []
    damage(target / "val.arrayrecord")
    build.build_motif_dataset(target, **ARGUMENTS, num_workers=0)
    assert read[0] == "val.arrayrecord"
    assert digests(target) == digests(directory)


def test_bad_arguments_write_nothing(tmp_path):
    target = tmp_path / "new"
    with pytest.raises(UserError, match="kupa"):
        build.build_motif_dataset(target, **(ARGUMENTS | {"hosts": ["kupa"]}), num_workers=0)
    assert not target.exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot make the folder"):
        build.build_motif_dataset(tmp_path / "file" / "x", **ARGUMENTS, num_workers=0)


def test_a_dead_process_is_one_clear_line(tmp_path, monkeypatch):
    class DeadPool:
        def __init__(self, *args, **kwargs):
            pass

        def map(self, *args, **kwargs):
            raise build.BrokenProcessPool

        def shutdown(self, **kwargs):
            pass

    monkeypatch.setattr(build.concurrent.futures, "ProcessPoolExecutor", DeadPool)
    with pytest.raises(UserError, match="__main__"):
        build.build_motif_dataset(tmp_path, **ARGUMENTS, num_workers=2)
    assert [p.name for p in tmp_path.iterdir()] == [build.PLAN]  # no records


def test_a_bad_manifest_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="no data set"):
        records.read_manifest(tmp_path)
    for text in ("{", "[]", "{}"):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(UserError, match="damaged"):
            records.read_manifest(tmp_path)
    (tmp_path / "dataset.json").write_text('{"schema": 99, "splits": {}}')
    with pytest.raises(UserError, match="version 99"):
        records.read_manifest(tmp_path)
