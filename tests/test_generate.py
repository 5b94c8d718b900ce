"""From a checkpoint to files: closed meshes, equal bytes, one clear line for every mistake."""

import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from tiny_models import TINY as TINY_MODEL
from tiny_models import drawn, write_workdir

from otuken_jax import generate, generation
from otuken_jax.conventions import grid_points
from otuken_jax.errors import UserError, run_command
from otuken_jax.geometry import render
from otuken_jax.training import loading


@pytest.fixture(scope="module")
def drawn_model(tmp_path_factory):
    """The workdir of a model with random weights, and the model: its fields have a surface."""
    workdir = write_workdir(tmp_path_factory.mktemp("drawn"), drawn(TINY_MODEL, 12))
    return workdir, loading.load_model(workdir)


@pytest.fixture
def workdir(drawn_model) -> Path:
    return drawn_model[0]


def error_line(capsys) -> str:
    """All that was said on stderr, which must be one line."""
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error.strip()


def call(workdir: Path, out: Path, *arguments: str) -> int:
    common = ["--checkpoint", str(workdir), "--out", str(out), "--no-preview"]
    return run_command(lambda: generate.main([*common, *arguments]))


@pytest.mark.slow
def test_every_format_is_closed_and_twice_the_same(workdir, tmp_path):
    arguments = ["--text", "İznik üslubunda lale motifli vazo", "--format", "glb,obj,stl,ply,3mf"]
    for name in ("one", "two"):
        assert call(workdir, tmp_path / name, *arguments) == 0
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    stem = "01-iznik-uslubunda-lale-motifli-vazo"
    assert files == [f"{stem}.{x}" for x in ("3mf", "glb", "obj", "ply", "stl")]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        if name.endswith("3mf"):  # trimesh needs lxml for it; tests/geometry reads it with lib3mf
            continue
        mesh = trimesh.load(tmp_path / "one" / name, force="mesh", merge_primitives=True)
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        assert mesh.is_watertight, name
        assert mesh.is_winding_consistent, name
        assert mesh.volume > 0, name


@pytest.mark.slow
def test_style_mix_and_strengths_change_the_mesh(workdir, tmp_path):
    text = ["--text", "vazo", "--format", "ply", "--style", "İznik üslubu, lale motifi"]
    variants = {
        "plain": [],
        "mix": ["--style2", "Göktürk tarzı oyma hilal", "--mix", "1"],
        "weak": ["--ornament-strength", "0"],
    }
    data = {}
    for name, more in variants.items():
        assert call(workdir, tmp_path / name, *text, *more) == 0
        data[name] = next((tmp_path / name).glob("*.ply")).read_bytes()
    assert len(set(data.values())) == 3


@pytest.mark.slow
def test_points_lead_the_shape(workdir, tmp_path):
    cloud = trimesh.PointCloud(np.random.default_rng(0).normal(size=(50, 3)))
    cloud.export(tmp_path / "cloud.ply")
    assert call(workdir, tmp_path / "a", "--text", "vazo", "--format", "ply") == 0
    arguments = ["--text", "vazo", "--format", "ply", "--points", str(tmp_path / "cloud.ply")]
    assert call(workdir, tmp_path / "b", *arguments) == 0
    assert (tmp_path / "a/01-vazo.ply").read_bytes() != (tmp_path / "b/01-vazo.ply").read_bytes()


@pytest.mark.slow
def test_prompts_come_from_a_file_too(workdir, tmp_path):
    (tmp_path / "prompts.txt").write_text("vazo\n\n# yorum\nkaro çini\n", encoding="utf-8")
    assert call(workdir, tmp_path / "out", "--prompts", str(tmp_path / "prompts.txt")) == 0
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["01-vazo.glb", "02-karo-cini.glb"]


@pytest.mark.slow
def test_long_prompt_is_cut_and_said(workdir, tmp_path, capsys):
    assert call(workdir, tmp_path, "--text", "lale motifli vazo " * 20) == 0
    assert "was cut" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--text", "  "], "the text is empty"),
        (["--text", "vazo", "--text", "\x01\u200b"], "the text is empty"),
        (["--text", "vazo", "--text", "\udcff"], r"'\udcff' is not valid UTF-8"),
        (["--text", "vazo", "--style", ""], "the style is empty"),
        (["--text", "vazo", "--style2", " "], "the style2 is empty"),
        ([], "nothing to make"),
        (["--text", "vazo", "--format", "glb,fbx"], "unknown format 'glb,fbx'; choose from glb"),
        (["--text", "vazo", "--points", "missing.ply"], "missing.ply"),
        (["--text", "vazo", "--points", ""], "cannot read points from"),
        (["--text", "vazo", "--style2", "rumi", "--mix", "2"], "mix is 2.0; give a number from 0"),
        (["--text", "vazo", "--mix", "0.5"], "--mix does nothing without --style2; give both"),
        (["--text", "vazo", "--seed", "3"], "--seed does nothing without --image; give both"),
        (["--text", "vazo", "--weights", "w"], "--weights does nothing without --image"),
        (["--text", "vazo", "--image-model", "base40M"], "--image-model does nothing without"),
        (
            ["--text", "vazo", "--style-strength", "nan"],
            "style-strength is nan; give a number",
        ),
        (["--text", "vazo", "--style-strength", "inf"], "style-strength is inf"),
        (["--text", "vazo", "--ornament-strength", "nan"], "ornament-strength is nan"),
        (["--text", "vazo", "--ornament-strength", "1e30"], "give a number from -10 to 10"),
        (["--text", "vazo", "--smooth", "-1"], "--smooth is -1; give 1 to 20 steps"),
        (["--text", "vazo", "--smooth", "21"], "--smooth is 21; give 1 to 20 steps"),
        (
            ["--text", "vazo", "--size-mm", "0"],
            "a size of 0.0 mm is out of range; give 0.1",
        ),
        (["--text", "vazo", "--size-mm", "-5"], "a size of -5.0 mm"),
        (["--text", "vazo", "--size-mm", "nan"], "a size of nan mm"),
        (["--text", "vazo", "--size-mm", "inf"], "a size of inf mm"),
        (["--text", "vazo", "--size-mm", "1e300"], "a size of 1e+300 mm"),
        (["--text", "vazo", "--size-mm", "1e-300"], "a size of 1e-300 mm"),
        (["--text", "vazo", "--decimate", "0"], "--decimate is '0'; give a number of faces"),
        (["--text", "vazo", "--decimate", "3"], "--decimate is '3'"),
        (["--text", "vazo", "--decimate", "-0.5"], "--decimate is '-0.5'"),
        (["--text", "vazo", "--decimate", "1.5"], "--decimate is '1.5'"),
        (["--text", "vazo", "--decimate", "half"], "--decimate is 'half'"),
        (["--text", "vazo", "--decimate", "nan"], "--decimate is 'nan'"),
        (["--text", "vazo", "--mix", "half"], "argument --mix: invalid float value: 'half'"),
        (["--text", "vazo", "--sytle", "İznik"], "unrecognized arguments: --sytle"),
        (["--prompts", "missing.txt"], "missing.txt"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, arguments, words):
    assert call(tmp_path, tmp_path / "out", *arguments) == 2
    assert words in error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_prompts_without_one_are_refused_beside_points(tmp_path, capsys):
    (tmp_path / "prompts.txt").write_text("\n# yorum\n")
    np.save(tmp_path / "cloud.npy", np.eye(3))
    arguments = ["--prompts", str(tmp_path / "prompts.txt")]
    for more in ([], ["--points", str(tmp_path / "cloud.npy")]):
        assert call(tmp_path, tmp_path / "out", *arguments, *more) == 2
        assert "prompts.txt holds no prompt; write one a line" in error_line(capsys)


def test_a_folder_in_place_of_a_file_is_found_before_anything_is_written(field, tmp_path, capsys):
    (tmp_path / "out" / "02-kase.glb").mkdir(parents=True)
    arguments = ["--text", "vazo", "--text", "kase"]
    assert call(tmp_path, tmp_path / "out", *arguments) == 2
    assert error_line(capsys).endswith("02-kase.glb: it is a folder; choose another --out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["02-kase.glb"]


def test_a_name_too_long_is_one_line(tmp_path, capsys):
    assert call(tmp_path, tmp_path / ("x" * 300), "--text", "vazo") == 2
    assert error_line(capsys).endswith("(File name too long); choose another --out")


@pytest.mark.parametrize("scale", [1e-44, 3e38])
def test_a_cloud_of_any_width_leads_the_shape(drawn_model, field, tmp_path, monkeypatch, scale):
    seen = []
    predicted = generation.predict
    monkeypatch.setattr(generation, "predict", lambda *a: seen.append(a[3]) or predicted(*a))
    np.save(tmp_path / "cloud.npy", (np.array([[-1, -1, -1], [1, 1, 1]]) * scale))
    make(tmp_path, "--points", str(tmp_path / "cloud.npy"))
    assert np.abs(seen[0]["points"]).max() == pytest.approx(0.9, rel=0.3)


def test_a_point_that_is_no_number_is_not_blamed_on_the_weights():
    with pytest.raises(UserError, match="the point cloud holds NaN"):
        generation.Prompt(points=np.full((3, 3), np.nan))


def test_a_prompt_without_letters_has_a_number_for_a_name():
    assert generate.file_stem(1, "🏺") == "01"
    assert generate.file_stem(2, "Çini & 🏺") == "02-cini"


@pytest.mark.slow
def test_two_processes_write_the_same_bytes_and_picture(opengl, workdir, tmp_path):
    """The second of them reads the programs that the first one compiled."""
    command = [sys.executable, "-m", "otuken_jax.generate", "--checkpoint", str(workdir)]
    command += ["--text", "lale motifli vazo", "--format", "glb,3mf", "--out"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR")  # that of the tests
    for name in ("one", "two"):
        subprocess.run([*command, str(tmp_path / name)], check=True, env=environment)
    assert any((tmp_path / "cache").rglob("*-cache"))
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert files == [f"01-lale-motifli-vazo.{x}" for x in ("3mf", "glb", "png")]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def ball_field(center=(0.0, 0.0, 0.0), radius=0.7):
    return (radius - np.linalg.norm(grid_points(16) - center, axis=-1)).astype(np.float32)


@pytest.fixture
def field(drawn_model, monkeypatch):
    """The field that the model is made to predict: a ball, to be changed by a test."""
    field = ball_field()
    output = field[None], np.full((1, 16, 16, 16, 3), 0.4, np.float32)
    monkeypatch.setattr(loading, "load_model", lambda workdir: drawn_model[1])
    monkeypatch.setattr(generation, "predict", lambda *arguments: output)
    return field


def make(tmp_path, *arguments):
    """The GLB of the command as a mesh, and what its asset says of itself."""
    assert call(tmp_path, tmp_path / "out", "--text", "vazo", *arguments) == 0
    path = tmp_path / "out" / "01-vazo.glb"
    data = path.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    return trimesh.load(path, force="mesh"), json.loads(data[20 : 20 + length])["asset"]["extras"]


def test_the_mesh_is_smoothed_decimated_and_sized(field, tmp_path, capsys):
    plain, _ = make(tmp_path)
    assert plain.extents.max() == pytest.approx(1.4, rel=0.02)
    smoothed, _ = make(tmp_path, "--smooth")
    assert len(smoothed.faces) == len(plain.faces)
    assert not np.array_equal(smoothed.vertices, plain.vertices)
    for number in (str(len(plain.faces) // 2), "0.5"):
        small, _ = make(tmp_path, "--decimate", number, "--size-mm", "120")
        assert len(plain.faces) / 4 < len(small.faces) <= len(plain.faces) / 2
        assert small.is_watertight
        assert small.extents.max() == pytest.approx(0.12, rel=1e-5)
    assert "note" not in capsys.readouterr().err


def test_a_target_out_of_reach_is_said(field, tmp_path, capsys):
    small, _ = make(tmp_path, "--decimate", "4")
    words = f"note: {len(small.faces)} faces stay: with 4 the shape would be lost"
    assert words in capsys.readouterr().err


def test_the_file_says_how_it_was_made(field, tmp_path):
    _, info = make(tmp_path, "--style", "İznik üslubu")
    assert (info["prompt"], info["style"], info["mix"]) == ("vazo", "İznik üslubu", 0.5)
    assert "seed" not in info  # nothing was drawn
    assert re.fullmatch(r"otuken_jax 12\^3, step 1, sha256 [0-9a-f]{64}", info["model"])
    assert make(tmp_path, "--style", "İznik üslubu")[1] == info


def test_specks_go_and_are_counted(field, tmp_path, capsys):
    np.maximum(field, ball_field((-0.9, -0.9, -0.9), 0.1), out=field)
    mesh, _ = make(tmp_path)
    assert "note: 1 loose specks under 0.5 % of the volume removed" in capsys.readouterr().err
    assert mesh.body_count == 1


def test_a_shape_at_the_border_is_closed(field, tmp_path):
    field[:] = ball_field((0.9, 0, 1.0), 0.6)
    mesh, _ = make(tmp_path)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    assert mesh.bounds[1].max() == pytest.approx(1.0)


def test_an_empty_field_is_one_line_and_no_file(field, tmp_path, capsys):
    field -= 10
    assert call(tmp_path, tmp_path / "out", "--text", "vazo") == 2
    assert error_line(capsys).startswith("error: the predicted shape is empty")
    assert not (tmp_path / "out").exists()


def test_what_is_cut_is_said_once(field, tmp_path, capsys):
    make(tmp_path, "--style", "İznik\n" * 30)
    start = ("İznik\n" * 30)[:40]
    wanted = f"note: the style is longer than 16 tokens and was cut: {start!r}..."
    assert capsys.readouterr().err.splitlines() == [wanted]


def test_every_prompt_has_its_files_and_a_picture(field, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(render, "render_mesh", lambda mesh, size: np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "prompts.txt").write_text("# yorum\n\nkaro çini\n", encoding="utf-8")
    arguments = ["--text", "vazo", "--text", "Selçuklu kümbet", "--format", "STL, 3mf"]
    arguments += ["--prompts", str(tmp_path / "prompts.txt"), "--out", str(tmp_path / "out")]
    assert run_command(lambda: generate.main(["--checkpoint", str(tmp_path), *arguments])) == 0
    stems = ["01-vazo", "02-selcuklu-kumbet", "03-karo-cini"]
    wanted = [str(tmp_path / "out" / f"{s}.{x}") for s in stems for x in ("stl", "3mf", "png")]
    assert capsys.readouterr().out.split() == wanted
    assert sorted(map(str, (tmp_path / "out").iterdir())) == sorted(wanted)


def test_without_opengl_every_mesh_is_written_and_one_note(field, tmp_path, capsys, monkeypatch):
    def refuse(mesh, size):
        raise UserError(render.OPENGL_MISSING)

    monkeypatch.setattr(render, "render_mesh", refuse)
    arguments = ["--text", "vazo", "--text", "kümbet", "--out", str(tmp_path / "out")]
    assert run_command(lambda: generate.main(["--checkpoint", str(tmp_path), *arguments])) == 0
    said = capsys.readouterr()
    wanted = [str(tmp_path / "out" / f"{stem}.glb") for stem in ("01-vazo", "02-kumbet")]
    assert said.out.split() == wanted
    assert sorted(map(str, (tmp_path / "out").iterdir())) == wanted
    assert said.err == f"note: no pictures, {render.OPENGL_MISSING}\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "no space left on device; free some space"),
        (errno.EACCES, "permission denied; choose a folder"),
    ],
)
def test_unwritable_output_leaves_nothing(field, tmp_path, capsys, monkeypatch, code, words):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", refuse)
    assert call(tmp_path, tmp_path / "out", "--text", "vazo") == 2
    wanted = f"error: cannot write {tmp_path / 'out' / '01-vazo.glb'}: {words}"
    assert error_line(capsys).startswith(wanted)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_leaves_nothing(field, tmp_path, capsys):
    """Files may not grow over a limit: as near to a full disk as can be had without root."""
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old_limit[1]))
    try:
        status = call(tmp_path, tmp_path / "out", "--text", "vazo")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert status == 2
    assert error_line(capsys).startswith(f"error: cannot write {tmp_path / 'out' / '01-vazo.glb'}:")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_where_the_folder_should_be_is_one_line(tmp_path, capsys):
    (tmp_path / "out").write_text("")
    assert call(tmp_path, tmp_path / "out", "--text", "vazo") == 2
    assert error_line(capsys).endswith("choose another --out")


def test_a_broken_checkpoint_is_one_error(workdir, tmp_path, capsys):
    shutil.copytree(workdir, tmp_path / "run")
    largest = max((tmp_path / "run").rglob("d/*"), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    assert call(tmp_path / "run", tmp_path / "out", "--text", "vazo") == 2
    assert error_line(capsys).startswith("error: every checkpoint in ")
    assert not (tmp_path / "out").exists()


def test_broken_ply_is_one_line(tmp_path, capsys):
    (tmp_path / "broken.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 3\n")
    points = str(tmp_path / "broken.ply")
    assert call(tmp_path, tmp_path / "out", "--text", "vazo", "--points", points) == 2
    assert points in error_line(capsys)
    assert not list((tmp_path / "out").glob("*"))


def test_no_checkpoint_is_one_line(tmp_path, capsys):
    assert call(tmp_path, tmp_path / "out", "--text", "vazo") == 2
    assert error_line(capsys).startswith(f"error: no checkpoint in {tmp_path}; train one")


@pytest.mark.slow
def test_corrupt_newest_checkpoint_falls_back_with_a_warning(drawn_model, tmp_path, caplog):
    from otuken_jax.training.checkpoints import Checkpoints
    from otuken_jax.training.loading import load_model

    copy = tmp_path / "copy"
    shutil.copytree(drawn_model[0], copy)
    write_workdir(copy, drawn_model[1].model, step=2)
    steps = Checkpoints(copy / "checkpoints").steps()
    assert (steps, load_model(copy).step) == ([1, 2], 2)
    data = [p for p in (copy / "checkpoints/2/model").rglob("*") if p.is_file()]
    largest = max(data, key=lambda p: p.stat().st_size)
    broken = bytearray(largest.read_bytes())
    broken[len(broken) // 2] ^= 1
    largest.write_bytes(broken)
    assert load_model(copy).step == 1
    assert "has changed since it was written" in caplog.text
    for step in steps:
        shutil.rmtree(copy / "checkpoints" / str(step) / "model")
    with pytest.raises(UserError, match="every checkpoint"):
        load_model(copy)
