"""Which data a run trains on: procedural shapes, prepared meshes, or both."""

import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
import trimesh

from otuken_jax.config import load_config
from otuken_jax.data import prepare
from otuken_jax.data.mesh_records import prepare_mesh
from otuken_jax.data.pipeline import Source
from otuken_jax.errors import UserError
from otuken_jax.training import run

TINY = Path(__file__).parents[1] / "configs" / "tiny.py"


def in_process(run, paths, *_):
    for path in paths:
        yield path, prepare_mesh(run.tasks[path]), True


@pytest.fixture(scope="module")
def meshes(tmp_path_factory):
    """Twelve captioned cylinders, prepared at the tiny model's resolution."""
    folder = tmp_path_factory.mktemp("meshes")
    lines = ["path,text,style_text"]
    for number in range(12):
        trimesh.creation.cylinder(0.3 + 0.05 * number, 1.0).export(folder / f"{number}.stl")
        lines.append(f"{number}.stl,sütun {number},taş")
    (folder / "captions.csv").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "_work", in_process)
        for name, size in (("data", 12), ("coarse", 8)):
            prepare.prepare_meshes(
                folder, folder / "captions.csv", folder / name, resolution=size, progress=False
            )
    return folder / "data"


def settings(source, tmp_path, batch_size=4):
    words = (f"source={source}", f"directory={tmp_path / 'motifs'}", f"batch_size={batch_size}")
    return load_config(str(TINY), [f"--config.data.{word}" for word in words])


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("motifs", [("motifs", 1.0)]),
        ("a/b", [("a/b", 1.0)]),
        ("motifs:0.7, c:\\data:0.3", [("motifs", 0.7), ("c:\\data", 0.3)]),
        ("c:\\data", [("c:\\data", 1.0)]),
        ("a,b:2", [("a", 1.0), ("b", 2.0)]),
    ],
)
def test_sources_are_parsed(text, parsed):
    assert run.parse_sources(text) == parsed


@pytest.mark.parametrize("text", ["", "a:0", "a:-1,b", "a:nan", "a:inf", "a,a:2", ":1", "a,"])
def test_bad_sources_are_one_line(text):
    with pytest.raises(UserError, match=r"motifs:0\.7,FOLDER:0\.3"):
        run.parse_sources(text)


def test_meshes_alone_or_mixed_feed_the_loaders(meshes, tmp_path, monkeypatch):
    here = functools.partial(run.build_motif_dataset, num_workers=0, progress=False)
    monkeypatch.setattr(run, "build_motif_dataset", here)
    tokenizer = run.load_tokenizer("bytes")
    config = settings(str(meshes), tmp_path)
    sources = run.build_data(config, tmp_path)
    assert sources == [Source(meshes, 1.0)]
    assert not (tmp_path / "motifs").exists()
    train, val = run.build_loaders(config, sources, tokenizer)
    assert train.num_examples + val.num_examples == 12
    assert not next(iter(train))["has_chart"].any()

    config = settings(f"motifs:1,{meshes}:3", tmp_path)
    train, val = run.build_loaders(config, run.build_data(config, tmp_path), tokenizer)
    batches = list(itertools.islice(train, 16))
    assert np.mean([batch["has_chart"] for batch in batches]) == 0.25
    assert np.concatenate([b["has_chart"] for b in val]).sum() == 8


def test_data_that_does_not_fit_is_one_line(meshes, tmp_path):
    coarse = meshes.parent / "coarse"
    for source, words in (
        (str(coarse), "at least the model's 12"),
        (f"{meshes},{coarse}", "of one resolution"),
        (str(tmp_path / "none"), "no data set"),
    ):
        with pytest.raises(UserError, match=words):
            run.build_data(settings(source, tmp_path), tmp_path)


@pytest.mark.slow
def test_a_run_on_meshes_and_motifs_trains(meshes, tmp_path):
    config = settings(f"motifs:0.5,{meshes.parent / 'coarse'}:0.5", tmp_path, batch_size=8)
    config.model.voxel_size = 8  # the first stage alone
    config.train.stage_epochs = (1,)
    trainer = run.build_trainer(config, tmp_path / "run")
    metrics = trainer.train_epoch()
    assert trainer.step == trainer.train_loader.steps_per_epoch
    assert np.isfinite(list(metrics.values())).all()
