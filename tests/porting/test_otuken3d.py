"""A trained checkpoint to PyTorch names and back."""

import json

import jax
import numpy as np
import pytest
import torch
from converter import listing, run
from flax import nnx
from safetensors.torch import load_file
from tiny_models import TINY, drawn, write_workdir
from tiny_weights import ENCODERS, write_encoders

from otuken_jax.errors import UserError
from otuken_jax.models.otuken3d import ModelConfig
from otuken_jax.models.parameters import split_model
from otuken_jax.models.weights import WEIGHTS_FILE
from otuken_jax.training.loading import load_model
from porting.otuken3d import make_inputs, make_torch
from porting.registry import NETWORKS
from porting.rules import PortError, plan, target_shapes


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A training with frozen encoders, whose checkpoint names them and holds the rest."""
    root, model = tmp_path_factory.mktemp("trained"), drawn(TINY, 8)
    write_encoders(root, model)
    for part in ENCODERS:
        model.load_pretrained(part, str(root / part))
    return write_workdir(root, model)


@pytest.fixture(scope="module")
def exported(workdir, tmp_path_factory):
    out = tmp_path_factory.mktemp("torch") / "exported"
    assert run("export", workdir, "--out", out) == 0
    return out


def test_pytorch_loads_the_export_and_gives_the_same_field(workdir, exported):
    meta = json.loads((exported / "config.json").read_text(encoding="utf-8"))
    module = make_torch(ModelConfig.from_dict(meta["model"]))
    module.load_state_dict(load_file(exported / "model.safetensors"), strict=True)
    inputs = make_inputs(TINY, np.random.default_rng(0))
    del inputs["alpha"]
    with torch.inference_mode():
        want = module({k: torch.from_numpy(v) for k, v in inputs.items()}, stage=0)[-1]
    graphdef, state = nnx.split(load_model(workdir).model)
    with jax.default_matmul_precision("highest"):
        run = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x, stage=0)[-1])
        got = run(state, inputs)
    # The same voxels carry ornament: none of the scores is near the cut.
    np.testing.assert_array_equal(got.field != got.host, (want.field != want.host).numpy())
    for name in ("field", "color"):
        w = getattr(want, name).numpy()
        # Measured: 1.6e-6 of the largest, colours 9.5e-7.
        np.testing.assert_allclose(getattr(got, name), w, rtol=0, atol=1e-5 * np.abs(w).max())


def test_porting_back_is_bit_identical_and_reads_as_a_checkpoint(workdir, exported, tmp_path):
    assert run("otuken3d", exported, "--out", tmp_path / "back") == 0
    assert listing(tmp_path / "back") == ["card.json", "config.json", "model.safetensors"]
    first, second = load_model(workdir), load_model(tmp_path / "back")
    want, got = split_model(first.model)[1], split_model(second.model)[1]
    assert got.keys() == want.keys()
    for name in want:
        assert np.asarray(got[name]).tobytes() == np.asarray(want[name]).tobytes(), name
    assert second.meta["data"] == first.meta["data"]
    assert (second.step, second.model.voxel_size) == (first.step, first.model.voxel_size)
    assert second.model.config == first.model.config
    assert run("export", tmp_path / "back", "--out", tmp_path / "again") == 0
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (exported / name).read_bytes()


def test_the_export_holds_the_frozen_encoders(workdir, exported):
    """Two of the tensors that the checkpoint only names; the test above compares all."""
    saved = (workdir / "checkpoints" / "1" / "model" / "_METADATA").read_text()
    assert "decoder." in saved
    assert "text_encoder." not in saved
    assert "point_encoder." not in saved
    tensors = load_file(exported / "model.safetensors")
    text, point = (
        load_file(workdir / part / WEIGHTS_FILE) for part in ("text_encoder", "point_encoder")
    )
    assert torch.equal(tensors["text_encoder.shared.weight"], text["embedding"])
    projection = tensors["point_encoder.encoder_input_proj.weight"].T
    assert torch.equal(projection, point["encoder/input_proj/kernel"])


def test_an_export_without_its_config_is_refused(exported, tmp_path, capsys):
    file = tmp_path / "model.safetensors"
    file.write_bytes((exported / file.name).read_bytes())
    assert run("otuken3d", file, "--out", tmp_path / "back") == 2
    assert "needs the config.json that `python -m porting export` wrote" in capsys.readouterr().err
    assert not (tmp_path / "back").exists()


def test_a_folder_without_weights_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run("export", tmp_path / "empty", "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "empty" / "checkpoints").mkdir()
    assert run("export", tmp_path / "empty", "--out", tmp_path / "out") == 2
    assert "no checkpoint in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["quickstart", "v64"])
def test_the_table_fits_the_published_sizes(name):
    """By names and shapes; one tensor more or less is an error that names it."""
    network = NETWORKS["otuken3d"]
    config = network.configs[name]
    with torch.device("meta"):
        shapes = {n: tuple(w.shape) for n, w in make_torch(config).state_dict().items()}
    target = target_shapes(nnx.eval_shape(lambda: network.make_model(config)))
    steps = plan(shapes, network.rules(config), target)
    assert steps.unused == ()
    del shapes["decoder.heads.0.palette.bias"]
    shapes["decoder.heads.9.bias"] = (3,)
    with pytest.raises(PortError, match="2 problems") as error:
        plan(shapes, network.rules(config), target)
    assert "source decoder.heads.9.bias [3]: no rule takes it" in str(error.value)
    assert "parameter decoder/heads/0/palette/bias: nothing writes it" in str(error.value)


def test_a_damaged_folder_says_so(exported, tmp_path):
    assert run("otuken3d", exported, "--out", tmp_path / "back") == 0
    (tmp_path / "back" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="convert again"):
        load_model(tmp_path / "back")
