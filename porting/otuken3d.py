"""Ötüken3D: the table between our Flax modules and `torch_reference.otuken3d`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from otuken_jax.config import load_config, model_config
from otuken_jax.models.decoder import NUM_OUTPUTS, DecoderConfig
from otuken_jax.models.layers import NUM_FOURIER
from otuken_jax.models.otuken3d import TEXT_ENCODERS, ModelConfig, Otuken3DModel
from otuken_jax.training.loading import CONFIG_FILE, NETWORK
from porting.point_e import encoder_rules, linear, norm
from porting.rules import CONV3D, LINEAR, Network, PortError, Rule, Shape, check_kind
from porting.t5 import t5_rules

# Of a vase and a jug; the lengths differ, so that there is padding.
TEXTS = (
    "ince uzun, oval gövdeli, orta uzunlukta boyunlu bir vazo",
    "orta boylu, geniş omuzlu, küçük kulplu bir testi",
)
STYLE_TEXTS = (
    "İznik üslubunda, lacivert zemin üzerine beyaz kabartma lale motifi",
    "Göktürk üslubunda, granit grisi zemin üzerine siyah oyma koçboynuzu motifi",
)


def otuken3d_rules(config: ModelConfig) -> list[Rule]:
    """The table of the whole model."""
    text = t5_rules(TEXT_ENCODERS[config.text_encoder_name])
    return [
        *_below("text_encoder", [rule for rule in text if rule.path is not None]),
        *_below("point_encoder", encoder_rules()),
        *_fusion_rules(),
        *_style_rules(),
        *_decoder_rules(config.decoder),
    ]


def _below(part: str, rules: list[Rule]) -> list[Rule]:
    """The rules of a network that is one part of the model."""
    return [
        dataclasses.replace(r, torch=rf"{part}\.(?:{r.torch})", path=f"{part}/{r.path}")
        for r in rules
    ]


def _attention(torch: str, path: str) -> list[Rule]:
    return [
        rule
        for name in ("query", "key", "value", "out")
        for rule in linear(rf"{torch}\.{name}", f"{path}/{name}")
    ]


def _mlp(torch: str, path: str) -> list[Rule]:
    return [*linear(torch + r"\.fc1", path + "/fc1"), *linear(torch + r"\.fc2", path + "/fc2")]


def _fusion_rules() -> list[Rule]:
    torch, path = r"fusion\.blocks\.(\d+)", r"fusion/blocks/\1"
    return [
        *linear(r"fusion\.(text_proj|point_proj|out)", r"fusion/\1"),
        *norm(r"fusion\.(text_norm|point_norm|out_norm)", r"fusion/\1"),
        Rule(r"fusion\.(modality|null_token|queries)", r"fusion/\1"),
        *norm(torch + r"\.(norm1|norm2)", path + r"/\2"),
        *_attention(torch + r"\.attention", path + "/attention"),
        *_mlp(torch + r"\.mlp", path + "/mlp"),
    ]


def _style_rules() -> list[Rule]:
    torch, path = r"style_encoder\.", "style_encoder/"
    return [
        *linear(torch + r"(text_proj|layer_affine|null_proj)", path + r"\1"),
        *linear(torch + r"mapping_network\.(\d+)", path + r"mapping_network/\1"),
        *norm(torch + r"text_norm", path + "text_norm"),
        *_attention(torch + r"attention", path + "attention"),
        *_mlp(torch + r"ornament_mlp", path + "ornament_mlp"),
        Rule(torch + r"(queries|null_z|null_ornament)", path + r"\1"),
    ]


def _decoder_rules(config: DecoderConfig) -> list[Rule]:
    torch, path = r"decoder\.blocks\.(\d+)", r"decoder/blocks/\1"
    rules = [
        Rule(r"decoder\.seed", "decoder/seed"),
        *linear(r"decoder\.seed_affine", "decoder/seed_affine"),
        *linear(torch + r"\.project", path + "/project"),
        Rule(torch + r"\.positions\.weight", path + "/positions/kernel", LINEAR),
        Rule(torch + r"\.(conv1|conv2)\.weight", path + r"/\2/kernel", CONV3D),
        Rule(torch + r"\.(conv1|conv2)\.bias", path + r"/\2/bias"),
        *linear(torch + r"\.adain\.(\d+)\.affine", path + r"/adain/\2/affine"),
        *linear(r"decoder\.heads\.(\d+)\.(local|readout|palette)", r"decoder/heads/\1/\2"),
        *linear(r"decoder\.ornament\.layers\.(\d+)", r"decoder/ornament/layers/\1"),
        *linear(r"decoder\.ornament\.(film|coefficients|out|palette)", r"decoder/ornament/\1"),
    ]
    if set(config.attention_resolutions) & set(config.trunk_resolutions):
        torch, path = r"decoder\.attention\.(\d+)", r"decoder/attention/\1"
        rules += norm(torch + r"\.norm", path + "/norm")
        rules += _attention(torch + r"\.attention", path + "/attention")
        rules.append(Rule(torch + r"\.gate", path + "/gate"))
    return rules


def otuken3d_config(
    config_json: Mapping[str, Any] | None, shapes: Mapping[str, Shape]
) -> ModelConfig:
    """The sizes that `export` wrote beside the file."""
    check_kind(shapes, "decoder.blocks.", "a model of Ötüken3D")
    if config_json is None or config_json.get("model_type") != NETWORK:
        raise PortError(f"it needs the {CONFIG_FILE} that `python -m porting export` wrote")
    try:
        return ModelConfig.from_dict(config_json["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise PortError(f"{CONFIG_FILE} is not of this version: {error!r}") from error


def make_model(config: ModelConfig) -> Otuken3DModel:
    """The Flax model at its last stage, computing in float32."""
    config = dataclasses.replace(config, dtype="float32")
    return Otuken3DModel(voxel_size=config.decoder.stage_resolutions[-1], config=config)


def make_torch(config: ModelConfig) -> Any:
    from porting.torch_reference.otuken3d import Otuken3D

    return Otuken3D(config).eval()


def _as_bytes(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask [b, length of the longest] of ByT5's bytes, which every vocabulary holds."""
    encoded = [text.encode() for text in texts]
    length = max(map(len, encoded))
    ids = [[byte + 3 for byte in text] + [0] * (length - len(text)) for text in encoded]
    return np.array(ids, np.int32), np.arange(length) < np.array([[len(x)] for x in encoded])


def make_inputs(config: ModelConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Two samples, turned and scaled: words alone, and words with 64 points, fading in at 0.3.

    True captions, as bytes: on random ones the quickstart's trained chart passed through zero near
    a surface, and there PyTorch's own float32 colours are 4.5e-5 away from its float64.
    """
    (text_ids, text_mask), (style_ids, style_mask) = map(_as_bytes, (TEXTS, STYLE_TEXTS))
    return {
        "text_ids": text_ids,
        "text_mask": text_mask,
        "style_ids": style_ids,
        "style_mask": style_mask,
        "points": rng.uniform(-0.9, 0.9, (2, 64, 3)).astype(np.float32),
        "has_text": np.array([True, True]),
        "has_points": np.array([False, True]),
        "has_style": np.array([True, True]),
        "pose": np.array([[0.3, 0.05], [-0.4, -0.1]], np.float32),
        "alpha": np.array(0.3, np.float32),
    }


def _outputs(output: Any, latent: Any) -> dict[str, Any]:
    return {"latent": latent, "field": output.field, "color": output.color}


def run_model(model: Otuken3DModel, inputs: Mapping[str, ArrayLike]) -> dict[str, Any]:
    inputs = {name: jnp.asarray(value) for name, value in inputs.items()}
    model.decoder.config = everywhere(model.decoder.config)
    conditioning = model.encode(inputs)
    outputs = model.decode(conditioning, inputs["pose"], alpha=inputs["alpha"])
    return _outputs(outputs[-1], conditioning.latent)


def run_torch(module: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    module.decoder.config = everywhere(module.decoder.config)
    stage = len(module.decoder.config.stage_resolutions) - 1
    conditioning = module.encode(inputs)
    outputs = module.decoder(*conditioning, inputs["pose"], stage=stage, alpha=inputs["alpha"])
    return _outputs(outputs[-1], conditioning.latent)


def settle(module: Any) -> None:
    """Makes drawn charts like trained ones: sine and cosine of length 1, v within -1..1.

    Where a chart passes through zero its angle turns arbitrarily fast, and where v is large so
    does the sine of its multiples: there float32 itself, in PyTorch as in Flax, is 2e-5 of the
    largest relief away from float64. Training keeps its charts off both: --verify found 2.9e-6 on
    the quickstart's trained model.
    """
    for number, head in enumerate(module.decoder.heads):
        local, readout = head.local, head.readout
        if number == 0:  # the heads are summed
            local.bias.data.view(8, -1)[:, 2:4] += 6
        for layer, groups in ((local, 8), (readout, NUM_FOURIER)):
            for p in (layer.weight, layer.bias):
                p.data.unflatten(0, (groups, NUM_OUTPUTS))[:, 2:5] /= 6


def everywhere(config: DecoderConfig) -> DecoderConfig:
    """The config with the ornament on every voxel: then the outputs are continuous.

    Which voxels are above the cut of `ornament_fraction` hangs on the last bit of their score.
    """
    return dataclasses.replace(config, ornament_fraction=1.0)


NETWORKS = {
    NETWORK: Network(
        name=NETWORK,
        make_model=make_model,
        rules=otuken3d_rules,
        config_from_source=otuken3d_config,
        make_torch=make_torch,
        make_inputs=make_inputs,
        run_model=run_model,
        run_torch=run_torch,
        tolerance=1e-5,
        configs={name: model_config(load_config(name)) for name in ("quickstart", "v64")},
        config_from_dict=ModelConfig.from_dict,
        settle=settle,
    )
}
