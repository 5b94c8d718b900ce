"""Point-E: tables from the published PyTorch names to the Flax modules."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from otuken_jax.models import point_e
from porting.rules import LINEAR, Network, Rule, Shape, check_kind

PUBLISHED = "https://openaipublic.azureedge.net/main/point-e"


def linear(torch: str, path: str) -> list[Rule]:
    """Rules for the weight and bias of a linear layer."""
    return [
        Rule(torch + r"\.weight", path + "/kernel", LINEAR),
        Rule(torch + r"\.bias", path + "/bias"),
    ]


def norm(torch: str, path: str) -> list[Rule]:
    """Rules for the scale and bias of a layer norm."""
    return [Rule(torch + r"\.weight", path + "/scale"), Rule(torch + r"\.bias", path + "/bias")]


def _blocks(torch: str, path: str) -> list[Rule]:
    """Rules for all self-attention blocks below a prefix."""
    torch, path = torch + r"\.resblocks\.(\d+)", path + r"blocks/\1"
    return [
        *linear(torch + r"\.attn\.c_(qkv|proj)", path + r"/attention/\2"),
        *linear(torch + r"\.mlp\.c_(fc|proj)", path + r"/mlp/\2"),
        *norm(torch + r"\.ln_1", path + "/norm_attention"),
        *norm(torch + r"\.ln_2", path + "/norm_mlp"),
    ]


def encoder_rules(path: str = "") -> list[Rule]:
    """The point cloud encoder, at a path that ends with a slash."""
    return [*linear(r"encoder_input_proj", f"{path}input_proj"), *_blocks(r"encoder", path)]


def sdf_rules(config: point_e.PointESDFConfig) -> list[Rule]:
    """The SDF model: encoder blocks and cross-attending decoder blocks."""
    torch, path = r"decoder\.resblocks\.(\d+)", r"blocks/\1"
    return [
        *encoder_rules("encoder/"),
        *linear(r"decoder_input_proj", "query_proj"),
        *linear(torch + r"\.attn\.c_(q|kv|proj)", path + r"/attention/\2"),
        *linear(torch + r"\.mlp\.c_(fc|proj)", path + r"/mlp/\2"),
        *norm(torch + r"\.ln_1", path + "/norm_query"),
        *norm(torch + r"\.ln_2", path + "/norm_data"),
        *norm(torch + r"\.ln_3", path + "/norm_mlp"),
        *norm(r"ln_post", "norm_post"),
        *linear(r"output_proj", "output_proj"),
    ]


def diffusion_rules(config: point_e.PointDiffusionConfig) -> list[Rule]:
    """A point diffusion transformer with its conditioning."""
    rules = [
        *linear(r"time_embed\.c_(fc|proj)", r"time_embed/\1"),
        *_blocks(r"backbone", ""),
        *norm(r"ln_(pre|post)", r"norm_\1"),
        *linear(r"(input|output)_proj", r"\1_proj"),
    ]
    if config.condition == "vector":
        rules += linear(r"clip_embed", "condition_proj")
    if config.condition == "grid":
        rules += norm(r"clip_embed\.0", "norm_condition")
        rules += linear(r"clip_embed\.1", "condition_proj")
    if config.low_res:
        rules += linear(r"cond_point_proj", "low_res_proj")
        rules += [Rule(r"channel_(scales|biases)", r"channel_\1")]
    return rules


def _published(config: Any, kind: str):
    """Returns the function that gives `config` for a file of this kind, whatever its config."""

    def config_from_source(config_json: Mapping[str, Any] | None, shapes: Mapping[str, Shape]):
        blocks = "encoder" if kind == "sdf" else "backbone"
        check_kind(shapes, f"{blocks}.resblocks.", f"a {kind} model of Point-E")
        return config

    return config_from_source


def sdf_inputs(config: point_e.PointESDFConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Two clouds of 256 points and 64 queries, in raw units."""
    return {
        "points": rng.uniform(-0.5, 0.5, (2, 256, 3)).astype(np.float32),
        "queries": rng.uniform(-0.5, 0.5, (2, 64, 3)).astype(np.float32),
    }


def run_sdf(model: point_e.PointESDF, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    latents = model.encoder(jnp.asarray(inputs["points"]))
    return {"latents": latents, "sdf": model.decode(latents, jnp.asarray(inputs["queries"]))}


def run_torch_sdf(module: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    latents = module.encode(inputs["points"])
    return {"latents": latents, "sdf": module.decode(latents, inputs["queries"])}


def diffusion_inputs(
    config: point_e.PointDiffusionConfig, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Two noisy clouds of 128 points at two steps, with the conditioning that the config asks."""
    inputs = {
        "x": rng.normal(size=(2, 128, point_e.CHANNELS)).astype(np.float32),
        "t": np.array([700, 3], np.int32),
    }
    if config.condition != "none":
        embedding = rng.normal(size=(2, *config.embedding_shape))
        if config.condition == "vector":
            embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
        inputs["embedding"] = embedding.astype(np.float32)
    if config.low_res:
        xyz, rgb = rng.uniform(-0.5, 0.5, (2, 64, 3)), rng.uniform(0, 255, (2, 64, 3))
        inputs["low_res"] = np.concatenate([xyz, rgb], axis=-1).astype(np.float32)
    return inputs


def run_diffusion(
    model: point_e.PointDiffusionTransformer, inputs: dict[str, np.ndarray]
) -> dict[str, Any]:
    return {"out": model(**{name: jnp.asarray(value) for name, value in inputs.items()})}


def _make_torch(kind: str):
    def make_torch(config: Any) -> Any:
        from porting.torch_reference import point_e as reference

        return getattr(reference, kind)(config).eval()

    return make_torch


_FILES = {
    "base40M-uncond": "base_40m_uncond.pt",
    "base40M-textvec": "base_40m_textvec.pt",
    "base40M-imagevec": "base_40m_imagevec.pt",
    "base40M": "base_40m.pt",
    "base300M": "base_300m.pt",
    "base1B": "base_1b.pt",
    "upsample": "upsample_40m.pt",
}


def _diffusion_network(name: str) -> Network:
    return Network(
        name=f"point-e/{name}",
        make_model=lambda config: point_e.PointDiffusionTransformer(config, rngs=nnx.Rngs(0)),
        rules=diffusion_rules,
        config_from_source=_published(point_e.POINT_DIFFUSION_CONFIGS[name], "diffusion"),
        make_torch=_make_torch("PointDiffusionTransformer"),
        make_inputs=diffusion_inputs,
        run_model=run_diffusion,
        run_torch=lambda module, inputs: {"out": module(**inputs)},
        tolerance=7e-6,
        configs={name: point_e.POINT_DIFFUSION_CONFIGS[name]},
        published={name: f"{PUBLISHED}/{_FILES[name]}"},
    )


_SDF = Network(
    name="point-e/sdf",
    make_model=lambda config: point_e.PointESDF(config, rngs=nnx.Rngs(0)),
    rules=sdf_rules,
    config_from_source=_published(point_e.PointESDFConfig(), "sdf"),
    make_torch=_make_torch("PointESDF"),
    make_inputs=sdf_inputs,
    run_model=run_sdf,
    run_torch=run_torch_sdf,
    tolerance=1e-5,
    configs={"sdf": point_e.PointESDFConfig()},
    published={"sdf": f"{PUBLISHED}/sdf.pt"},
)

NETWORKS = {_SDF.name: _SDF} | {
    network.name: network for network in map(_diffusion_network, point_e.POINT_DIFFUSION_CONFIGS)
}
