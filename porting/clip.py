"""CLIP: the table from the names of `transformers` to `otuken_jax.models.clip`."""

import math
import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from otuken_jax.models.clip import CLIP, CLIP_CONFIGS, CLIPConfig
from porting.rules import CONV2D, LINEAR, Network, PortError, Rule, Shape, check_kind

# Target name -> name in the source, per block
_LINEARS = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.out_proj",
    "up": "mlp.fc1",
    "down": "mlp.fc2",
}
_NORMS = {"attention_norm": "layer_norm1", "mlp_norm": "layer_norm2"}
_TOKENS = "text_model.embeddings.token_embedding.weight"
_PATCHES = "vision_model.embeddings.patch_embedding.weight"
_POSITIONS = "vision_model.embeddings.position_embedding.weight"
# Field of the config -> axes of source tensors that have this length
_SIZES = {
    "projection_dim": [("text_projection.weight", 0), ("visual_projection.weight", 0)],
    "vocab_size": [(_TOKENS, 0)],
    "context_length": [("text_model.embeddings.position_embedding.weight", 0)],
    "text_width": [(_TOKENS, 1), ("text_projection.weight", 1)],
    "text_mlp_width": [
        ("text_model.encoder.layers.0.mlp.fc1.weight", 0),
        ("text_model.encoder.layers.0.mlp.fc2.weight", 1),
    ],
    "patch_size": [(_PATCHES, 2)],
    "vision_width": [(_PATCHES, 0), ("visual_projection.weight", 1)],
    "vision_mlp_width": [
        ("vision_model.encoder.layers.0.mlp.fc1.weight", 0),
        ("vision_model.encoder.layers.0.mlp.fc2.weight", 1),
    ],
}


def _norm(torch: str, path: str) -> list[Rule]:
    return [Rule(torch + r"\.weight", f"{path}/scale"), Rule(torch + r"\.bias", f"{path}/bias")]


def clip_rules(config: CLIPConfig) -> list[Rule]:
    """The table; both towers, both projections."""
    rules = [
        Rule(r"text_model\.embeddings\.token_embedding\.weight", "text/embedding"),
        Rule(r"text_model\.embeddings\.position_embedding\.weight", "text/positions"),
        *_norm(r"text_model\.final_layer_norm", "text/norm"),
        Rule(r"vision_model\.embeddings\.class_embedding", "vision/class_embedding"),
        Rule(r"vision_model\.embeddings\.patch_embedding\.weight", "vision/patches/kernel", CONV2D),
        Rule(r"vision_model\.embeddings\.position_embedding\.weight", "vision/positions"),
        *_norm(r"vision_model\.pre_layrnorm", "vision/input_norm"),  # the source's own spelling
        *_norm(r"vision_model\.post_layernorm", "vision/output_norm"),
        Rule(r"text_projection\.weight", "text_projection/kernel", LINEAR),
        Rule(r"visual_projection\.weight", "vision_projection/kernel", LINEAR),
        # The temperature of the contrastive loss has no part in the embeddings.
        Rule(r"logit_scale", None),
        # 0, 1, 2, ...: older files store them.
        Rule(r".*\.position_ids", None, optional=True),
    ]
    block = r"(text|vision)_model\.encoder\.layers\.(\d+)\."
    for name, torch in _LINEARS.items():
        torch = block + torch.replace(".", r"\.")
        rules.append(Rule(torch + r"\.weight", rf"\1/blocks/\2/{name}/kernel", LINEAR))
        rules.append(Rule(torch + r"\.bias", rf"\1/blocks/\2/{name}/bias"))
    for name, torch in _NORMS.items():
        rules += _norm(block + torch, rf"\1/blocks/\2/{name}")
    return rules


def clip_config(config_json: Mapping[str, Any] | None, shapes: Mapping[str, Shape]) -> CLIPConfig:
    """Sizes from the tensors; heads from config.json, or 64 wide as in every published CLIP."""
    check_kind(shapes, "text_model.", "a CLIP model")
    published = next(iter(CLIP_CONFIGS.values()))

    def length(axes: list[tuple[str, int]], otherwise: int) -> int:
        """Of the first axis that is there. What is not is for `plan` to list, with all else."""
        there = (shapes[name][i] for name, i in axes if i < len(shapes.get(name, ())))
        return next(there, otherwise)

    sizes = {field: length(axes, getattr(published, field)) for field, axes in _SIZES.items()}
    side = published.image_size // published.patch_size
    rows = length([(_POSITIONS, 0)], side**2 + 1)
    text, vision = (
        found if isinstance(found := (config_json or {}).get(f"{tower}_config"), dict) else {}
        for tower in ("text", "vision")
    )
    end = text.get("eos_token_id", 2)  # 2 is written for "the highest id"
    if _TOKENS in shapes and end not in (2, sizes["vocab_size"] - 1):
        raise PortError(f"eos_token_id {end} is not the highest id")
    for tower, fields in (("text", text), ("vision", vision)):
        if (activation := fields.get("hidden_act", "quick_gelu")) != "quick_gelu":
            raise PortError(f"hidden_act {activation!r} is not the quick_gelu of OpenAI's CLIP")
        width = sizes[f"{tower}_width"]
        heads = fields.get("num_attention_heads", width // 64)
        if not isinstance(heads, int) or heads < 1 or width % heads:
            raise PortError(
                f"{heads} attention heads cannot share the {width} features of the {tower} tower; "
                "its config.json has the number"
            )
        layer = re.compile(rf"{tower}_model\.encoder\.layers\.(\d+)\.")
        sizes[f"{tower}_heads"] = heads
        sizes[f"{tower}_layers"] = len({m[1] for name in shapes if (m := layer.match(name))})
    return CLIPConfig(
        image_size=math.isqrt(max(rows - 1, 0)) * sizes["patch_size"],
        layer_norm_epsilon=text.get("layer_norm_eps", published.layer_norm_epsilon),
        **sizes,
    )


def make_torch(config: CLIPConfig) -> Any:
    """The CLIP of `transformers` with this config, in eval mode."""
    import transformers

    text = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.text_width,
        "intermediate_size": config.text_mlp_width,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_heads,
        "max_position_embeddings": config.context_length,
        "eos_token_id": config.vocab_size - 1,
        "bos_token_id": config.vocab_size - 2,
        "pad_token_id": config.vocab_size - 1,
    }
    vision = {
        "hidden_size": config.vision_width,
        "intermediate_size": config.vision_mlp_width,
        "num_hidden_layers": config.vision_layers,
        "num_attention_heads": config.vision_heads,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
    }
    common = {"layer_norm_eps": config.layer_norm_epsilon, "projection_dim": config.projection_dim}
    hf_config = transformers.CLIPConfig(
        text_config=text | common,
        vision_config=vision | common,
        projection_dim=config.projection_dim,
    )
    return transformers.CLIPModel(hf_config).eval()


def make_inputs(config: CLIPConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Two texts, the second one padded by end tokens, and two images."""
    end = config.vocab_size - 1
    ids = rng.integers(0, end - 1, (2, config.context_length), dtype=np.int32)
    ids[0, -1] = end
    ids[1, config.context_length // 3 :] = end
    pixels = rng.normal(size=(2, config.image_size, config.image_size, 3)).astype(np.float32)
    return {"ids": ids, "pixels": pixels}


def run_model(model: CLIP, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    ids, pixels = jnp.asarray(inputs["ids"]), jnp.asarray(inputs["pixels"])
    return {
        "text embedding": model.encode_text(ids),
        "image embedding": model.encode_image(pixels),
        "patch grid": model.encode_grid(pixels),
    }


def run_torch(module: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    text = module.text_model(input_ids=inputs["ids"].long())
    vision = module.vision_model(inputs["pixels"].permute(0, 3, 1, 2).contiguous())
    return {
        "text embedding": module.text_projection(text.pooler_output),
        "image embedding": module.visual_projection(vision.pooler_output),
        "patch grid": vision.last_hidden_state[:, 1:],
    }


NETWORKS = {
    "clip": Network(
        name="clip",
        make_model=lambda config: CLIP(config, rngs=nnx.Rngs(0)),
        rules=clip_rules,
        config_from_source=clip_config,
        make_torch=make_torch,
        make_inputs=make_inputs,
        run_model=run_model,
        run_torch=run_torch,
        tolerance=8e-6,
        configs=CLIP_CONFIGS,
        hub=True,
    )
}
