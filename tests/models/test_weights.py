import dataclasses
import json

import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from otuken_jax.errors import UserError
from otuken_jax.models.weights import Card, load_weights, read_card


class Pair(nnx.Module):
    """Two linear layers, one of them inside a list."""

    def __init__(self, rngs):
        self.encoder = nnx.List([nnx.Linear(2, 3, rngs=rngs)])
        self.head = nnx.Linear(3, 1, rngs=rngs)


TENSORS = {
    "encoder/0/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "encoder/0/bias": np.arange(3, dtype=np.float32),
    "head/kernel": np.ones((3, 1), np.float32),
    "head/bias": np.zeros(1, np.float32),
}


def make_folder(folder, tensors=TENSORS, **card):
    folder.mkdir()
    fields = Card("pair", {}, "file", {}, "", "float32", 13, [], 1)
    fields = dataclasses.asdict(dataclasses.replace(fields, **card))
    (folder / "card.json").write_text(json.dumps(fields))
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("abstract", [True, False])
def test_fills_a_module(tmp_path, abstract):
    make = lambda: Pair(nnx.Rngs(0))  # noqa: E731
    model = nnx.eval_shape(make) if abstract else make()
    card = load_weights(model, make_folder(tmp_path / "w"), network="pair")
    assert card.num_parameters == 13
    np.testing.assert_array_equal(model.encoder[0].kernel[...], TENSORS["encoder/0/kernel"])
    np.testing.assert_array_equal(model.head.bias[...], [0.0])


def test_types_follow_the_module(tmp_path):
    half = {name: w.astype(np.float16) for name, w in TENSORS.items()}
    model = Pair(nnx.Rngs(0))
    load_weights(model, make_folder(tmp_path / "w", half, dtype="float16"), network="pair")
    assert model.head.kernel[...].dtype == np.float32


def test_one_part_alone(tmp_path):
    encoder = nnx.eval_shape(lambda: Pair(nnx.Rngs(0)).encoder)
    load_weights(encoder, make_folder(tmp_path / "w"), network="pair", part="encoder")
    np.testing.assert_array_equal(encoder[0].bias[...], TENSORS["encoder/0/bias"])


def load_error(folder, network="pair", **kwargs):
    model = Pair(nnx.Rngs(0))
    before = np.asarray(model.encoder[0].kernel[...])
    with pytest.raises(UserError) as error:
        load_weights(model, folder, network=network, **kwargs)
    np.testing.assert_array_equal(model.encoder[0].kernel[...], before)  # nothing was changed
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing_weights_name_the_command(tmp_path):
    message = load_error(tmp_path / "none", network="point-e/sdf")
    command = f"`python -m porting point-e/sdf SOURCE --out {tmp_path / 'none'}`"
    assert message == f"no point-e/sdf weights at {tmp_path / 'none'}; {command} makes them"


def test_weights_that_do_not_fit(tmp_path):
    tensors = {**TENSORS, "head/bias": np.zeros(2, np.float32), "extra": np.zeros(1, np.float32)}
    del tensors["encoder/0/bias"]
    message = load_error(make_folder(tmp_path / "w", tensors))
    assert "encoder/0/bias is not in the file" in message
    assert "extra is not in the model" in message
    assert "head/bias is [2], the model has [1]" in message


def test_another_network_or_card(tmp_path):
    folder = make_folder(tmp_path / "w")
    assert "holds weights of pair, not of t5" in load_error(folder, network="t5")
    (folder / "card.json").write_text('{"network": "pair"}')
    assert "is not a card of this version" in load_error(folder)
    (folder / "card.json").write_text("{")
    with pytest.raises(UserError, match="is not a card of this version"):
        read_card(folder)


@pytest.mark.parametrize("keep", [0, 50, -1])
def test_damaged_files(tmp_path, keep):
    folder = make_folder(tmp_path / "w")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert "cannot be read" in load_error(folder)
    file.unlink()
    assert "cannot be read" in load_error(folder)
