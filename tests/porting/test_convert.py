import dataclasses
import hashlib
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from converter import (
    INDEX_FILE,
    TOKENS,
    clip_tensors,
    listing,
    make_t5,
    run,
    shard,
    t5_tensors,
    write_clip,
    write_t5,
)
from flax import nnx
from safetensors import safe_open
from safetensors.torch import save_file

from otuken_jax.errors import UserError
from otuken_jax.models.t5 import T5Config, T5Encoder
from otuken_jax.models.weights import load_weights, read_card
from porting import sources
from porting.convert import convert
from porting.registry import NETWORKS
from porting.rules import build

T5 = NETWORKS["t5"]


def load(folder):
    card = read_card(folder, "t5")
    model = nnx.eval_shape(lambda: T5Encoder(T5Config(**card.config), rngs=nnx.Rngs(0)))
    load_weights(model, folder, network="t5")
    return model


def flat(model):
    return {
        "/".join(map(str, p)): np.asarray(v.get_value())
        for p, v in nnx.to_flat_state(nnx.state(model))
    }


def expected(dtype=torch.float32):
    """The parameters by way of the table alone, from weights rounded to `dtype`."""
    tensors = {name: w.float().numpy() for name, w in t5_tensors(dtype).items()}
    return flat(build(T5, make_t5()[2], tensors))


def assert_equal(got, want):
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)


def test_folder_to_model(tmp_path, capsys):
    source, out = write_t5(tmp_path / "source"), tmp_path / "out"
    assert run("t5", source, "--out", out) == 0
    assert "5,584 numbers" in capsys.readouterr().out
    assert_equal(flat(load(out)), expected())
    assert listing(out) == [
        "card.json",
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
    ]
    card = read_card(out)
    assert T5Config(**card.config) == make_t5()[2]
    assert card.converter_version == 1
    assert (card.network, card.source, card.dtype, card.unused) == ("t5", "source", "float32", [])
    for name, digest in (
        (out / "model.safetensors", card.sha256),
        (source / "model.safetensors", card.source_sha256["model.safetensors"]),
    ):
        assert hashlib.sha256(name.read_bytes()).hexdigest() == digest
    assert card.num_parameters == sum(p.numel() for p in make_t5()[0].parameters())


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "weights.pt"])
def test_single_files(tmp_path, name):
    convert(T5, str(write_t5(tmp_path / "source", name=name) / name), tmp_path / "out")
    assert_equal(flat(load(tmp_path / "out")), expected())


def test_the_format_before_torch_1_6(tmp_path):
    folder = write_t5(tmp_path / "source")
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    torch.save(t5_tensors(), file, _use_new_zipfile_serialization=False)
    convert(T5, str(folder), tmp_path / "out")
    assert_equal(flat(load(tmp_path / "out")), expected())


def test_shards(tmp_path):
    folder = write_t5(tmp_path / "source")
    index = shard(folder)
    for i, source in enumerate((folder, index)):
        card, _ = convert(T5, str(source), tmp_path / f"out{i}")
        assert_equal(flat(load(tmp_path / f"out{i}")), expected())
    assert len(card.source_sha256) == 5  # with the index, config.json and the tokenizer
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="names shards that are not beside it: model-00002"):
        convert(T5, str(folder), tmp_path / "out")


def test_a_state_dict_inside_a_checkpoint(tmp_path):
    """Beside NumPy's numbers, as the training of the published PointNet++ may have left them."""
    folder = write_t5(tmp_path / "source", name="checkpoint.pt")
    file = folder / "checkpoint.pt"
    beside = {"epoch": np.int64(3), "class_acc": np.float64(0.9), "instance_acc": np.float32(0.8)}
    torch.save(beside | {"model_state_dict": t5_tensors()}, file)
    nested = dataclasses.replace(T5, state_dict_key="model_state_dict")
    convert(nested, str(file), tmp_path / "out")
    assert_equal(flat(load(tmp_path / "out")), expected())
    # NumPy 1 named the function that makes its numbers otherwise.
    torch.save(
        beside | {"model_state_dict": t5_tensors()}, file, _use_new_zipfile_serialization=False
    )
    content = file.read_bytes()
    assert content.count(b"cnumpy._core.multiarray\n") == 1
    file.write_bytes(content.replace(b"cnumpy._core.", b"cnumpy.core."))
    convert(nested, str(file), tmp_path / "of NumPy 1")
    assert_equal(flat(load(tmp_path / "of NumPy 1")), expected())
    with pytest.raises(UserError, match="no plain state dict"):
        convert(T5, str(file), tmp_path / "out2")


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_half_precision(tmp_path, stored, name):
    source = str(write_t5(tmp_path / "source", t5_tensors(stored), name=name))
    convert(T5, source, tmp_path / "full")
    assert_equal(flat(load(tmp_path / "full")), expected(stored))
    convert(T5, source, tmp_path / "half", dtype="bfloat16")
    rounded = {
        n: torch.from_numpy(w.copy()).bfloat16().float().numpy()
        for n, w in expected(stored).items()
    }
    got = load(tmp_path / "half")
    assert_equal(flat(got), rounded)
    assert all(w.dtype == np.float32 for w in flat(got).values())
    with safe_open(tmp_path / "half" / "model.safetensors", framework="pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.bfloat16}  # noqa: SIM118


class Malicious:
    """Creates the file `proof` when it is unpickled carelessly."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_nothing_runs(tmp_path, capsys, zipped):
    folder, proof = write_t5(tmp_path / "source"), tmp_path / "proof"
    content = t5_tensors() | {"x": Malicious(proof)}
    file = folder / "evil.bin"
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    assert run("t5", file, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "is refused" in error
    assert "posix.system" in error
    (folder / "raw.bin").write_bytes(pickle.dumps(Malicious(proof), protocol=2))
    assert run("t5", folder / "raw.bin", "--out", tmp_path / "out") == 2
    assert not proof.exists()
    assert listing(tmp_path) == sorted(["source", *(f"source/{n}" for n in listing(folder))])
    pickle.loads((folder / "raw.bin").read_bytes())  # the bait works
    assert proof.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "legacy.bin"])
@pytest.mark.parametrize("keep", [0, 100, 4000, -1])
def test_truncated_files(tmp_path, capsys, name, keep):
    folder = write_t5(tmp_path / "source", name=name)
    file = folder / name
    if name == "legacy.bin":
        torch.save(t5_tensors(), file, _use_new_zipfile_serialization=False)
    file.write_bytes(file.read_bytes()[:keep])
    assert run("t5", file, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert str(file) in error
    assert "truncated" in error
    assert "Traceback" not in error
    assert listing(tmp_path) == sorted(["source", *(f"source/{n}" for n in listing(folder))])


def mutated(**changes):
    tensors = t5_tensors()
    for name, change in changes.items():
        if change is None:
            del tensors[name]
        else:
            tensors[name] = change
    return tensors


NORM = "encoder.final_layer_norm.weight"
LAYER_NORM = "encoder.block.1.layer.0.layer_norm.weight"


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"encoder.extra.weight": torch.zeros(3)}, ["encoder.extra.weight [3]: no rule takes it"]),
        (
            {LAYER_NORM: None, "encoder.block.0.layer.1.DenseReluDense.wo.weight": None},
            [
                "2 problems",
                "blocks/1/attention_norm/scale: nothing",
                "blocks/0/down/kernel: nothing",
            ],
        ),
        ({LAYER_NORM: torch.ones(7)}, ["blocks/1/attention_norm/scale is [16] but this gives [7]"]),
        (
            {"shared.weight": None, NORM: None},
            ["parameter embedding: nothing", "parameter norm/scale: nothing"],
        ),
        (
            {"encoder.embed_tokens.weight": torch.zeros(50, 16)},
            ["should be a copy of", "their values differ"],
        ),
    ],
    ids=["extra", "missing", "shape", "no embedding", "untied"],
)
def test_files_that_do_not_fit(tmp_path, capsys, changes, messages):
    folder = write_t5(
        tmp_path / "source", {k: v.contiguous() for k, v in mutated(**changes).items()}
    )
    assert run("t5", folder, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    for message in messages:
        assert message in error
    assert listing(tmp_path) == sorted(["source", *(f"source/{n}" for n in listing(folder))])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "{", "is not valid JSON"),
        ("config.json", "[1]", "config.json holds no JSON object"),
        ("config.json", '{"model_type": "t5", "d_kv": "6"}', "no whole number for d_model, d_kv"),
        (INDEX_FILE, "[1]", "index.json holds no JSON object"),
        (INDEX_FILE, '{"weight_map": ["a"]}', "has no weight_map"),
        (INDEX_FILE, '{"weight_map": {"a": "b", "c": 1}}', "gives no file for c"),
    ],
)
def test_damaged_json(tmp_path, capsys, name, text, message):
    folder = write_t5(tmp_path / "source")
    shard(folder)
    (folder / name).write_text(text)
    assert run("t5", folder, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


PATCHES = "vision_model.embeddings.patch_embedding.weight"
CLIP_NORM = "text_model.final_layer_norm.weight"
FC1 = "text_model.encoder.layers.0.mlp.fc1.weight"


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        (
            {PATCHES: None, "text_projection.bias": torch.zeros(8), CLIP_NORM: None},
            [
                "5 problems",  # with two rules that match nothing
                "source text_projection.bias [8]: no rule takes it",
                "parameter vision/patches/kernel: nothing",
                "parameter text/norm/scale: nothing",
            ],
        ),
        (
            {FC1: None, TOKENS: None},
            [
                "3 problems",
                "parameter text/embedding: nothing",
                "parameter text/blocks/0/up/kernel: nothing",
            ],
        ),
        ({PATCHES: torch.zeros(64, 48)}, ["2 problems", f"{PATCHES}: vision", "on [64, 48]"]),
        ({FC1: torch.tensor(1.0)}, ["2 problems", f"{FC1}: text", "fails on []"]),
    ],
    ids=["of all kinds", "sizes", "flat patches", "scalar"],
)
def test_clip_files_that_do_not_fit(tmp_path, capsys, changes, messages):
    """A tensor that a size is read from is reported along with everything else."""
    tensors = {name: w for name, w in (clip_tensors() | changes).items() if w is not None}
    torch.save(tensors, tmp_path / "clip.pt")
    assert run("clip", tmp_path / "clip.pt", "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    for message in messages:
        assert message in error
    assert not (tmp_path / "out").exists()


def test_a_clip_config_that_does_not_fit(tmp_path, capsys):
    write_clip(tmp_path / "clip.pt")
    (tmp_path / "config.json").write_text('{"text_config": {"num_attention_heads": 5}}')
    assert run("clip", tmp_path / "clip.pt", "--out", tmp_path / "out") == 2
    assert "5 attention heads cannot share the 64 features" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_wrong_network(tmp_path, capsys):
    folder = write_t5(tmp_path / "source")
    for network in ("clip", "point-e/sdf", "point-e/base40M"):
        assert run(network, folder, "--out", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert f"does not convert to {network}: not a" in error
        assert not (tmp_path / "out").exists()
    assert run("t6", folder, "--out", tmp_path / "out") == 2
    assert "no network 't6'; there are t5, clip" in capsys.readouterr().err


def test_sources_that_are_not_there(tmp_path, capsys):
    assert run("t5", tmp_path / "nothing", "--out", tmp_path / "out") == 2
    assert "is no file, folder or published name of t5" in capsys.readouterr().err
    assert run("t5", tmp_path, "--out", tmp_path / "out") == 2
    assert "holds no weights" in capsys.readouterr().err
    folder = write_t5(tmp_path / "source", name="a.pt")
    write_t5(folder, name="b.pt")
    assert run("t5", folder, "--out", tmp_path / "out") == 2
    assert "several weight files (a.pt, b.pt)" in capsys.readouterr().err
    (folder / "config.json").unlink()
    assert run("t5", folder / "a.pt", "--out", tmp_path / "out") == 2
    assert "needs its config.json" in capsys.readouterr().err
    assert run("t5", folder / "config.ini", "--out", tmp_path / "out") == 2
    (folder / "notes.txt").write_text("x")
    capsys.readouterr()
    assert run("t5", folder / "notes.txt", "--out", tmp_path / "out") == 2
    assert "is none of .safetensors" in capsys.readouterr().err


def test_only_earlier_conversions_are_replaced(tmp_path, capsys):
    source, out = write_t5(tmp_path / "source"), tmp_path / "out"
    out.mkdir()
    assert run("t5", source, "--out", out) == 0  # an empty folder is as good as none
    assert run("t5", source, "--out", out, "--dtype", "bfloat16") == 0
    assert read_card(out).dtype == "bfloat16"
    capsys.readouterr()
    assert run("t5", source, "--out", source) == 2
    assert "holds no converted weights" in capsys.readouterr().err
    (tmp_path / "file").write_text("x")
    assert run("t5", source, "--out", tmp_path / "file") == 2
    assert run("t5", source, "--out", tmp_path / "file" / "out") == 2
    assert "cannot be written" in capsys.readouterr().err
    save_file(mutated(**{LAYER_NORM: None}), source / "model.safetensors")
    assert run("t5", source, "--out", out) == 2
    assert read_card(out).dtype == "bfloat16"  # a failure leaves what was there
    assert [name for name in listing(tmp_path) if "tmp" in name or "old" in name] == []
    write_t5(source)
    (out / "notes.txt").write_text("mine")
    (out / ".hidden").write_text("mine too")
    (out / "sub").mkdir()
    before = listing(out)
    capsys.readouterr()
    assert run("t5", source, "--out", out) == 2
    assert "would be lost: .hidden, notes.txt, sub" in capsys.readouterr().err
    assert listing(out) == before


def test_an_earlier_conversion_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path, capsys, monkeypatch
):
    source, out = write_t5(tmp_path / "source"), tmp_path / "out"
    assert run("t5", source, "--out", out) == 0
    rename = Path.rename

    def failing(path, target):
        if path.suffix == ".tmp" and target == out:
            raise OSError("no space left")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert run("t5", source, "--out", out, "--dtype", "bfloat16") == 2
    assert "no space left" in capsys.readouterr().err
    assert read_card(out).dtype == "float32"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_without_pytorch(tmp_path, capsys, monkeypatch):
    """As installed without extras: said before anything is fetched; safetensors convert anyway."""

    def fetch(name):
        raise AssertionError(f"{name} is fetched")

    source, pickled = write_t5(tmp_path / "source"), write_t5(tmp_path / "pickled", name="w.bin")
    monkeypatch.setattr(sources, "download", fetch)
    monkeypatch.setattr(sources, "download_snapshot", fetch)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run("t5", source, "--out", tmp_path / "out") == 0
    before = listing(tmp_path)
    for what, command in [
        ("reading sdf.pt", ("point-e/sdf", "sdf", "--out", tmp_path / "no")),
        ("reading w.bin", ("t5", pickled, "--out", tmp_path / "no")),
        ("--verify", ("t5", "someone/tiny-t5", "--out", tmp_path / "no", "--verify")),
        ("the table", ("table", "t5")),
        ("the export", ("export", tmp_path / "out", "--out", tmp_path / "no")),
    ]:
        capsys.readouterr()
        assert run(*command) == 2
        shown = capsys.readouterr()
        wanted = f"error: {what} needs PyTorch: pip install 'otuken_jax[port]'\n"
        assert (shown.out, shown.err) == ("", wanted)
    assert listing(tmp_path) == before


def test_all_networks_are_registered():
    sizes = ("-textvec", "-imagevec", "-uncond", "")
    names = ["t5", "clip", "otuken3d", "point-e/sdf", *(f"point-e/base40M{size}" for size in sizes)]
    names += [f"point-e/{name}" for name in ("base300M", "base1B", "upsample", "pointnet")]
    assert sorted(NETWORKS) == sorted(names)
    assert all(network.name == name and network.configs for name, network in NETWORKS.items())
