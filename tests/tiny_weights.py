"""CLIP and Point-E in miniature, as folders of converted weights."""

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from otuken_jax.diffusion import KarrasConfig
from otuken_jax.models.clip import CLIP, CLIPConfig
from otuken_jax.models.point_e import PointDiffusionConfig, PointDiffusionTransformer
from otuken_jax.models.weights import CARD_FILE, WEIGHTS_FILE, Card
from otuken_jax.point_sampler import StageConfig

# Part of our model: the network that it comes from, and where it lies in that one's tensors.
ENCODERS = {"text_encoder": ("t5", ""), "point_encoder": ("point-e/sdf", "encoder/")}

CLIP_TINY = CLIPConfig(
    projection_dim=12,
    vocab_size=30,
    context_length=16,
    text_width=16,
    text_mlp_width=32,
    text_layers=1,
    text_heads=2,
    image_size=28,
    patch_size=14,
    vision_width=16,
    vision_mlp_width=32,
    vision_layers=1,
    vision_heads=2,
)
VECTOR = PointDiffusionConfig(16, 1, 2, condition="vector", condition_dim=12)
GRID = dataclasses.replace(VECTOR, condition="grid", condition_dim=16, grid_tokens=4)
NETWORKS = {
    "clip": (CLIP, CLIP_TINY),
    "point-e/base40M-textvec": (PointDiffusionTransformer, VECTOR),
    "point-e/base40M-imagevec": (PointDiffusionTransformer, VECTOR),
    "point-e/base40M": (PointDiffusionTransformer, GRID),
    "point-e/upsample": (PointDiffusionTransformer, dataclasses.replace(GRID, low_res=True)),
}
STAGES = (
    StageConfig(6, "cosine", KarrasConfig(3, sigma_max=2.0)),
    StageConfig(10, "linear", KarrasConfig(3, sigma_max=2.0, s_churn=0.0)),
)


def make_network(name):
    make, config = NETWORKS[name]
    model = nnx.eval_shape(lambda: make(config, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    state = nnx.state(model)
    for path, leaf in nnx.to_flat_state(state):
        leaf.set_value(jnp.asarray(0.2 * rng.normal(size=leaf.get_value().shape), jnp.float32))
        if path[-1] == "scale":
            leaf.set_value(1 + leaf.get_value())
    nnx.update(model, state)
    return model


def write_weights(root: Path) -> Path:
    """Every network of NETWORKS below `root`, with a tokenizer of a few letters for CLIP."""
    from transformers import CLIPTokenizer

    for name, (_, config) in NETWORKS.items():
        folder = root / name
        folder.mkdir(parents=True)
        flat = nnx.to_flat_state(nnx.state(make_network(name)))
        arrays = {"/".join(map(str, p)): np.asarray(leaf.get_value()) for p, leaf in flat}
        save_file(arrays, folder / WEIGHTS_FILE)
        card = Card(name, dataclasses.asdict(config), "test", {}, "", "float32", 0, [], 1)
        (folder / CARD_FILE).write_text(json.dumps(dataclasses.asdict(card)))
    letters = [*"abcdeovz", *(f"{c}</w>" for c in "abcdeovz")]
    names = [*letters, "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: i for i, name in enumerate(names)}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(root / "clip")
    return root


def write_encoders(root: Path, model: nnx.Module) -> None:
    """Both encoders of a model as the converter writes them, in folders named for the part."""
    for part, (network, prefix) in ENCODERS.items():
        (root / part).mkdir()
        flat = nnx.to_flat_state(nnx.state(getattr(model, part)))
        arrays = {prefix + "/".join(map(str, p)): np.asarray(x.get_value()) for p, x in flat}
        save_file(arrays, root / part / WEIGHTS_FILE)
        card = Card(network, {}, "made up", {}, f"sha of {part}", "float32", 0, [], 1)
        (root / part / CARD_FILE).write_text(json.dumps(dataclasses.asdict(card)))
