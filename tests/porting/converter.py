"""Tiny networks and their files, as the converter's tests need them."""

import dataclasses
import functools
import json

import torch
import transformers
from safetensors.torch import save_file

from otuken_jax.errors import run_command
from otuken_jax.models.clip import CLIPConfig
from porting.__main__ import main
from porting.clip import make_torch as make_torch_clip
from porting.t5 import t5_config
from porting.verify import draw_weights

TOKENS = "text_model.embeddings.token_embedding.weight"  # of CLIP
INDEX_FILE = "model.safetensors.index.json"
# Head widths of 64, so that a CLIP file needs no config.json.
TINY_CLIP = CLIPConfig(
    projection_dim=8,
    vocab_size=20,
    context_length=6,
    text_width=64,
    text_mlp_width=16,
    text_layers=1,
    text_heads=1,
    image_size=8,
    patch_size=4,
    vision_width=64,
    vision_mlp_width=16,
    vision_layers=1,
    vision_heads=1,
)


def run(*argv):
    """The command line in process: its exit status."""
    return run_command(lambda: main([str(arg) for arg in argv]))


@functools.cache
def make_t5():
    """transformers' encoder with random weights, its config.json and our config."""
    fields = {"vocab_size": 50, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2}
    hf_config = transformers.T5Config(**fields, num_heads=3, feed_forward_proj="gated-gelu")
    module = transformers.T5EncoderModel(hf_config).eval()
    draw_weights(module)
    shapes = {name: tuple(w.shape) for name, w in module.state_dict().items()}
    return module, hf_config.to_dict(), t5_config(hf_config.to_dict(), shapes)


def t5_tensors(dtype=torch.float32):
    """The state dict without its tied copy, cloned."""
    tensors = {name: w.to(dtype).clone() for name, w in make_t5()[0].state_dict().items()}
    del tensors["encoder.embed_tokens.weight"]
    return tensors


def write_t5(folder, tensors=None, *, name="model.safetensors"):
    """A folder as the hub has it; `name` chooses the format. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = t5_tensors() if tensors is None else tensors
    (folder / "config.json").write_text(json.dumps(make_t5()[1]))
    (folder / "tokenizer_config.json").write_text("{}")
    if name.endswith(".safetensors"):
        save_file(tensors, folder / name)
    else:
        torch.save(tensors, folder / name)
    return folder


def shard(folder):
    """Splits a folder's file in two with an index, as the hub stores large models."""
    tensors = t5_tensors()
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for i, names in enumerate((list(tensors)[::2], list(tensors)[1::2])):
        file = f"model-{i + 1:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in names}, folder / file)
        weight_map |= dict.fromkeys(names, file)
    index = folder / INDEX_FILE
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


@functools.cache
def clip_tensors():
    module = make_torch_clip(TINY_CLIP)
    draw_weights(module)
    return {name: w.clone() for name, w in module.state_dict().items()}


def write_clip(file):
    torch.save(clip_tensors(), file)
    return file


def listing(folder):
    """Everything below a folder, hidden files too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def with_transform(network, path_part, transform):
    """A copy of a network whose rules for some paths have another transform."""

    def rules(config):
        return [
            dataclasses.replace(rule, transform=transform)
            if path_part in (rule.path or "")
            else rule
            for rule in network.rules(config)
        ]

    return dataclasses.replace(network, rules=rules)
