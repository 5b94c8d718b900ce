"""The quickstart from data to meshes on a tiny model, and what its prompts say of themselves."""

import logging
import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
import trimesh

from configs.quickstart import HOSTS, MOTIFS, STYLES, get_config
from otuken_jax import generation, quickstart
from otuken_jax.conventions import grid_points
from otuken_jax.data.motifs.captions import parse_caption
from otuken_jax.data.motifs.recipes import hold_out
from otuken_jax.errors import UserError
from otuken_jax.geometry import render
from otuken_jax.geometry.mesh_io import field_to_mesh
from otuken_jax.training import loading
from otuken_jax.training.logging import MetricsLog

TINY = str(Path(__file__).parent / "configs" / "tiny.py")


@pytest.mark.parametrize(
    ("number", "pair", "words"),
    [
        (0, ("vazo", "lale"), ("vazo", "lale")),
        (1, ("kumbet", "yildiz8"), ("kümbet", "sekiz köşeli yıldız")),
    ],
)
def test_training_does_not_show_the_pairs_of_the_first_prompts(number, pair, words):
    prompt = " ".join(filter(None, quickstart.PROMPTS[number]))
    assert all(word in prompt for word in words)
    selection = {"hosts": HOSTS, "motifs": MOTIFS, "styles": STYLES, "free": True}
    unseen = get_config().data.heldout_styles
    assert pair in hold_out(0, **selection, unseen_styles=unseen).pairs


def test_the_prompts_are_words_of_the_library():
    for texts in quickstart.PROMPTS:
        for text in filter(None, texts):
            parse_caption(text)  # or it raises


def test_without_opengl_every_mesh_is_written_and_one_note(tmp_path, monkeypatch, capsys):
    def refuse(mesh, size):
        raise UserError(render.OPENGL_MISSING)

    ball = field_to_mesh((0.5 - np.linalg.norm(grid_points(8), axis=-1)).astype(np.float32))
    monkeypatch.setattr(loading, "load_model", lambda _: None)
    made = generation.Generated(ball, ())
    monkeypatch.setattr(generation, "Generator", lambda _: lambda prompt: made)
    monkeypatch.setattr(render, "render_mesh", refuse)
    paths = quickstart.generate_all(tmp_path, tmp_path / "meshes")
    assert [p.suffix for p in paths] == [".glb"] * len(quickstart.PROMPTS)
    assert sorted((tmp_path / "meshes").iterdir()) == paths
    assert capsys.readouterr().err == f"note: no pictures, {render.OPENGL_MISSING}\n"


@pytest.mark.slow
def test_interrupted_and_repeated_it_ends_with_everything(
    opengl, tmp_path, monkeypatch, capsys, caplog
):
    overrides = ("optim.learning_rate=0.01", "model.voxel_size=8", "train.stage_epochs=(4,)")
    arguments = ["--config", TINY, "--workdir", str(tmp_path)]
    arguments += [f"--config.{override}" for override in overrides]
    # Its programs compile longer than they run.
    jax.config.update("jax_disable_most_optimizations", True)
    write = MetricsLog.scalars

    def stop(log, step, values, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)
        write(log, step, values, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "scalars", stop)
        assert quickstart.main(arguments) == 0
    assert (tmp_path / "checkpoints").exists()
    assert not (tmp_path / "evaluation.json").exists()
    assert not capsys.readouterr().out

    caplog.set_level(logging.INFO, logger="otuken_jax")
    assert quickstart.main(arguments) == 0
    assert "resumed from step" in caplog.text
    said = capsys.readouterr().out
    assert "| split | words |" in said
    for split in ("val", "heldout_pairs", "heldout_styles", "heldout_phrasing"):
        assert f"| {split} | text+style |" in said
    meshes = sorted((tmp_path / "meshes").iterdir())
    assert [p.suffix for p in meshes] == [".glb"] * len(quickstart.PROMPTS) + [".png"]
    assert said.rstrip().endswith("\n".join(map(str, meshes)))
    for path in meshes[:-1]:
        assert trimesh.load(path, force="mesh").is_watertight
