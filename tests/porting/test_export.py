"""Converted weights under their PyTorch names again, and damaged ones."""

import dataclasses
import json

import pytest
import torch
from converter import TINY_CLIP, clip_tensors, listing, make_t5, run, write_clip, write_t5
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from otuken_jax.models.point_e import PointDiffusionConfig
from otuken_jax.models.weights import CARD_FILE, WEIGHTS_FILE, read_card
from porting.registry import NETWORKS
from porting.verify import draw_weights


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_export_and_back_is_bit_identical(tmp_path, dtype):
    assert run("t5", write_t5(tmp_path / "source"), "--out", tmp_path / "a", "--dtype", dtype) == 0
    assert run("export", tmp_path / "a", "--out", tmp_path / "torch") == 0
    with safe_open(tmp_path / "torch" / "model.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    module = type(make_t5()[0])(make_t5()[0].config)
    module.load_state_dict(tensors, strict=True)
    if dtype == "float32":
        for name, w in make_t5()[0].state_dict().items():
            assert torch.equal(tensors[name], w)
    assert run("t5", tmp_path / "torch", "--out", tmp_path / "b", "--dtype", dtype) == 0
    assert read_card(tmp_path / "a").sha256 == read_card(tmp_path / "b").sha256


def test_export_of_clip_brings_its_temperature_and_ports_back(tmp_path):
    assert run("clip", write_clip(tmp_path / "clip.pt"), "--out", tmp_path / "a") == 0
    assert run("export", tmp_path / "a", "--out", tmp_path / "torch") == 0
    with safe_open(tmp_path / "torch" / "model.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    NETWORKS["clip"].make_torch(TINY_CLIP).load_state_dict(tensors, strict=True)
    for name, w in clip_tensors().items():
        if name != "logit_scale":
            assert torch.equal(tensors[name], w)
    assert run("clip", tmp_path / "torch", "--out", tmp_path / "b") == 0
    assert read_card(tmp_path / "a").sha256 == read_card(tmp_path / "b").sha256


VECTOR = PointDiffusionConfig(16, 1, 2, condition="vector", condition_dim=12)
GRID = dataclasses.replace(VECTOR, condition="grid", grid_tokens=4)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("base40M-textvec", VECTOR),
        ("base40M", GRID),
        ("upsample", dataclasses.replace(GRID, low_res=True)),  # with buffers
    ],
)
def test_export_of_point_e_and_back_is_bit_identical(tmp_path, monkeypatch, name, config):
    name = f"point-e/{name}"
    network = dataclasses.replace(NETWORKS[name], config_from_source=lambda *_: config)
    monkeypatch.setitem(NETWORKS, name, network)
    module = network.make_torch(config)
    draw_weights(module)
    for buffer in module.buffers():
        buffer.uniform_()
    want = module.state_dict()
    torch.save(want, tmp_path / "w.pt")
    assert run(name, tmp_path / "w.pt", "--out", tmp_path / "a") == 0
    assert run("export", tmp_path / "a", "--out", tmp_path / "torch") == 0
    with safe_open(tmp_path / "torch" / "model.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    network.make_torch(config).load_state_dict(tensors, strict=True)
    assert all(torch.equal(tensors[name], w) for name, w in want.items())
    assert run(name, tmp_path / "torch", "--out", tmp_path / "b") == 0
    assert read_card(tmp_path / "a").sha256 == read_card(tmp_path / "b").sha256


def cut(folder):
    file = folder / WEIGHTS_FILE
    file.write_bytes(file.read_bytes()[:-9])


def without(folder):
    (folder / WEIGHTS_FILE).unlink()


def tensors(change):
    def damage(folder):
        arrays = load_file(folder / WEIGHTS_FILE)
        change(arrays)
        save_file(arrays, folder / WEIGHTS_FILE)

    return damage


def card(**changes):
    def damage(folder):
        fields = json.loads((folder / CARD_FILE).read_text())
        (folder / CARD_FILE).write_text(json.dumps(fields | changes))

    return damage


SIZES = dataclasses.asdict(make_t5()[2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "model.safetensors cannot be read (Error while deserializing"),
        (without, "model.safetensors cannot be read (No such file"),
        (tensors(lambda w: w.pop("norm/scale")), "norm/scale); convert again"),
        (
            tensors(lambda w: w.update({"norm/scale": w["norm/scale"][:7].copy()})),
            "is [7], by the card it should be [16]; convert again",
        ),
        (card(network="t6"), "card.json is not of this version (KeyError('t6')); convert again"),
        (card(dtype="float64"), "card.json is not of this version ('dtype float64')"),
        (card(config=SIZES | {"width": 3}), "unexpected keyword argument 'width'"),
        (card(config=SIZES | {"d_model": -16}), "card.json is not of this version (TypeError"),
    ],
    ids=["cut", "no file", "no tensor", "shape", "network", "dtype", "fields", "sizes"],
)
def test_damaged_weights_are_one_line_and_leave_nothing(tmp_path, capsys, damage, message):
    folder = tmp_path / "a"
    assert run("t5", write_t5(tmp_path / "source"), "--out", folder) == 0
    damage(folder)
    before = listing(tmp_path)
    capsys.readouterr()
    assert run("export", folder, "--out", tmp_path / "torch") == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(folder) in error
    assert error.count("\n") == 1
    assert listing(tmp_path) == before
