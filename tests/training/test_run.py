"""A whole run: the data that it trains on, and the pictures that it logs."""

import functools
import io
import itertools
import json
import struct
import subprocess
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import trimesh
from PIL import Image
from tensorboardX.proto.event_pb2 import Event
from tiny_training import copied, sphere_loader, sphere_trainer

from otuken_jax import generation
from otuken_jax.config import load_config
from otuken_jax.conventions import grid_points
from otuken_jax.data import prepare
from otuken_jax.data.mesh_records import prepare_mesh
from otuken_jax.data.motifs.captions import LONGEST
from otuken_jax.data.pipeline import Source
from otuken_jax.errors import UserError
from otuken_jax.geometry import render
from otuken_jax.models.otuken3d import PARTS
from otuken_jax.training import run
from otuken_jax.training.loading import load_model

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


@pytest.mark.parametrize("name", ["quickstart", "v32", "v32_cpu", "v48", "v64", "v64_short"])
def test_every_configuration_reads_the_longest_words_of_the_library(name):
    data = load_config(name, ["--config.model.pretrained=False"]).data
    assert min(data.text_length, data.style_length) >= LONGEST + 1  # bytes, and the end token


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


@pytest.mark.slow
def test_meshes_alone_or_mixed_feed_the_loaders(meshes, tmp_path, monkeypatch):
    here = functools.partial(run.build_motif_dataset, num_workers=0, progress=False)
    monkeypatch.setattr(run, "build_motif_dataset", here)
    config = settings(str(meshes), tmp_path)
    preparer = run.build_preparer(config)
    sources = run.build_data(config, tmp_path)
    assert sources == [Source(meshes, 1.0)]
    assert not (tmp_path / "motifs").exists()
    train, val = run.build_loaders(config, sources, preparer)
    assert train.num_examples + val.num_examples == 12
    assert not next(iter(train))["has_chart"].any()

    config = settings(f"motifs:1,{meshes}:3", tmp_path)
    train, val = run.build_loaders(config, run.build_data(config, tmp_path), preparer)
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


def test_without_opengl_meshes_are_logged_and_one_note(tiny_model, monkeypatch, caplog):
    def refuse(mesh, size):
        raise UserError(render.OPENGL_MISSING)

    def predict(*_):
        field = 0.5 - np.linalg.norm(grid_points(16), axis=-1)
        return field[None].astype(np.float32), np.full((1, 16, 16, 16, 3), 0.5, np.float32)

    monkeypatch.setattr(render, "render_mesh", refuse)
    monkeypatch.setattr(generation, "predict", predict)
    lengths = {"text_length": 16, "style_length": 16, "num_points": 16}
    trainer = Mock(spec=run.Otuken3DTrainer, model=tiny_model, step=3)
    trainer.meta = {"data": {"tokenizer": "bytes"} | lengths}
    log = Mock(spec=run.MetricsLog)
    pictures = run.PromptPictures(("bir vazo", "bir kâse"))
    for _ in range(2):
        pictures(trainer, log)
    log.image.assert_not_called()
    assert [c.args[1] for c in log.mesh.call_args_list] == ["prompt_1", "prompt_2"] * 2
    assert caplog.messages == [f"no pictures, {render.OPENGL_MISSING}"]


def test_a_trainer_without_a_workdir_warns_and_with_one_can_generate(
    tiny_model, tmp_path, quick_step, caplog
):
    """Its checkpoint says how texts and points were read, without a word of the user's."""
    for workdir in (None, tmp_path):
        trainer = sphere_trainer(copied(tiny_model, 8), val_loader=None, workdir=workdir)
        trainer.train(num_epochs=2, save_every=5)
    assert trainer.step == 4
    (warning,) = [r for r in caplog.records if r.levelname == "WARNING"]
    wanted = "nothing is saved: save_every=5 needs a folder, Otuken3DTrainer(workdir=...)"
    assert warning.getMessage() == wanted
    generator = generation.Generator(load_model(tmp_path))
    inputs, _ = generator.inputs(generation.Prompt("küre 0", style="İznik üslubu"))
    prepared = trainer.preparer(sphere_loader(1, size=1)[0])
    for name in ("text_ids", "text_mask", "style_ids", "style_mask"):
        np.testing.assert_array_equal(inputs[name], prepared[name])
    assert inputs["points"].shape == prepared["points"].shape


def events(folder: Path):
    """What TensorBoard reads: records of a length, its checksum, an event and its checksum."""
    (path,) = folder.glob("events.out.*")
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]


def test_the_revision_is_the_commit_of_a_clone(tmp_path):
    def git(*arguments):
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert run.revision(tmp_path) is None
    git("init")
    assert run.revision(tmp_path) is None  # nothing is committed
    (tmp_path / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-m", "first")
    git("tag", "-a", "v1", "-m", "a tag")
    commit = git("rev-parse", "HEAD")
    assert run.revision(tmp_path) == commit
    (tmp_path / "a.py").write_text("2")
    assert run.revision(tmp_path) == f"{commit}-dirty"
    inside = tmp_path / "site-packages"
    inside.mkdir()
    assert run.revision(inside) is None


@pytest.mark.slow
def test_every_evaluation_logs_a_picture_and_a_mesh_of_each_prompt(
    opengl, meshes, tmp_path, monkeypatch
):
    radii = iter([0.4, 0.5, 0.6, 0.7])  # of balls in place of the field, one for each prompt

    def predict(modeldef, stage, params, inputs, strengths):
        field = next(radii) - np.linalg.norm(grid_points(8), axis=-1)
        return field[None].astype(np.float32), np.full((1, 8, 8, 8, 3), 0.5, np.float32)

    monkeypatch.setattr(generation, "predict", predict)
    config = settings(str(meshes), tmp_path, batch_size=8)
    config.model.voxel_size = 8
    config.train.stage_epochs = (2,)
    config.log.prompts = ("bir vazo", "bir kâse")
    trainer = run.train(config, tmp_path / "run")
    pictures, surfaces, scalars = {}, {}, {}
    for event in events(tmp_path / "run" / "tensorboard"):
        for value in event.summary.value:
            if value.HasField("image"):
                encoded = io.BytesIO(value.image.encoded_image_string)
                pictures[event.step, value.tag] = np.asarray(Image.open(encoded))
            elif value.metadata.plugin_data.plugin_name == "mesh" and value.tag.endswith("_1"):
                vertices = np.array(value.tensor.float_val).reshape(-1, 3)  # 2: faces, 3: colours
                surfaces[event.step, value.tag.removesuffix("_1")] = vertices
            elif value.HasField("simple_value"):
                scalars[event.step, value.tag] = value.simple_value
    steps = [trainer.train_loader.steps_per_epoch * epoch for epoch in (1, 2)]
    assert list(pictures) == [(s, f"prompt_{n}") for s in steps for n in (1, 2)]
    assert list(surfaces) == list(pictures)
    for vertices, radius in zip(surfaces.values(), (0.4, 0.5, 0.6, 0.7), strict=True):
        np.testing.assert_allclose(np.linalg.norm(vertices, axis=1).max(), radius, atol=0.03)
    for picture in pictures.values():
        assert picture.shape == (256, 256, 3)
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20  # something shaded is on it

    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    written = {
        (line["step"], f"{line['split']}/{name}"): np.float32(value)
        for line in lines
        for name, value in line.items()
        if name not in ("step", "split", "time")
    }
    assert scalars == written
    names = {name for _, name in scalars}
    parts = [f"train/grad_norm/{part}" for part in PARTS]
    assert {"train/learning_rate", "train/grad_norm", "train/loss/field", *parts} <= names
    assert {"train/iou", "val/iou"} <= names


def test_a_run_that_has_ended_says_so(tiny_model, tmp_path, monkeypatch, quick_step, capsys):
    def build(config, workdir):
        settings = {"workdir": workdir, "val_loader": None, "stage_epochs": (1, 0)}
        return sphere_trainer(copied(tiny_model, 12), **settings)

    monkeypatch.setattr(run, "build_trainer", build)
    said = (
        "step 2: validation loss 1.0000, IoU 0.000; ",
        "nothing left to train: the run ended at",
    )
    for words in said:
        run.train(load_config(str(TINY)), tmp_path)
        assert capsys.readouterr().err.splitlines()[-1].startswith(words)
