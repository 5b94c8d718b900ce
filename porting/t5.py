"""T5 family encoders: the table from the names of `transformers` to `otuken_jax.models.t5`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from otuken_jax.models.t5 import T5_CONFIGS, T5Config, T5Encoder
from porting.rules import LINEAR, Network, PortError, Rule, Shape, check_kind

_ATTENTION = r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention"
_MLP = r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense"


def t5_rules(config: T5Config) -> list[Rule]:
    """The table; files of whole encoder-decoder models fit too, their decoder is left out."""
    rules = [
        # One matrix under the names that different exporters kept of it.
        Rule(r"(?:shared|(?:encoder|decoder)\.embed_tokens)\.weight", "embedding", tied=True),
        # Shared tables are stored in block 0 alone.
        Rule(_ATTENTION + r"\.relative_attention_bias\.weight", r"relative_bias/\1/embedding"),
        Rule(_ATTENTION + r"\.q\.weight", r"blocks/\1/query/kernel", LINEAR),
        Rule(_ATTENTION + r"\.k\.weight", r"blocks/\1/key/kernel", LINEAR),
        Rule(_ATTENTION + r"\.v\.weight", r"blocks/\1/value/kernel", LINEAR),
        Rule(_ATTENTION + r"\.o\.weight", r"blocks/\1/out/kernel", LINEAR),
        Rule(
            r"encoder\.block\.(\d+)\.layer\.0\.layer_norm\.weight",
            r"blocks/\1/attention_norm/scale",
        ),
        Rule(r"encoder\.block\.(\d+)\.layer\.1\.layer_norm\.weight", r"blocks/\1/mlp_norm/scale"),
        Rule(_MLP + r"\.wo\.weight", r"blocks/\1/down/kernel", LINEAR),
        Rule(r"encoder\.final_layer_norm\.weight", "norm/scale"),
        # The decoder and its output layer have no part in encoding text.
        Rule(r"decoder\.(?!embed_tokens\.).*|lm_head\.weight", None, optional=True),
    ]
    if config.feed_forward == "gated-gelu":
        rules.append(Rule(_MLP + r"\.wi_0\.weight", r"blocks/\1/gate/kernel", LINEAR))
        rules.append(Rule(_MLP + r"\.wi_1\.weight", r"blocks/\1/up/kernel", LINEAR))
    else:
        rules.append(Rule(_MLP + r"\.wi\.weight", r"blocks/\1/up/kernel", LINEAR))
    return rules


def t5_config(config_json: Mapping[str, Any] | None, shapes: Mapping[str, Shape]) -> T5Config:
    """The config of a published model; the tensors alone do not tell heads from head width."""
    check_kind(shapes, "encoder.block.", "a T5 encoder")
    if config_json is None:
        raise PortError("a T5 file needs its config.json beside it (the number of heads is there)")
    if (family := config_json.get("model_type")) not in ("t5", "mt5", "umt5"):
        raise PortError(f"config.json describes a {family!r} model, not t5, mt5 or umt5")
    feed_forward = config_json.get("feed_forward_proj", "relu" if family == "t5" else "gated-gelu")
    if feed_forward not in ("relu", "gated-gelu"):
        raise PortError(f"feed_forward_proj {feed_forward!r} is neither relu nor gated-gelu")
    needed = ("d_model", "d_kv", "d_ff", "num_heads", "num_layers")
    if missing := [name for name in needed if not isinstance(config_json.get(name), int)]:
        raise PortError(f"config.json has no whole number for {', '.join(missing)}")
    embeddings = [shape for name in _EMBEDDING_NAMES if (shape := shapes.get(name))]
    sizes = {name: config_json[name] for name in needed}
    optional = ("relative_attention_num_buckets", "relative_attention_max_distance")
    return T5Config(
        # config.json of some published files gives fewer rows than they hold. A file without any
        # is refused by the table, along with what else it lacks.
        vocab_size=embeddings[0][0] if embeddings else 0,
        feed_forward=feed_forward,
        per_layer_bias=family == "umt5",
        layer_norm_epsilon=config_json.get("layer_norm_epsilon", 1e-6),
        **sizes,
        **{name: config_json[name] for name in optional if name in config_json},
    )


_EMBEDDING_NAMES = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


def make_torch(config: T5Config) -> Any:
    """The encoder of `transformers` with this config, in eval mode."""
    import transformers

    kind = "UMT5" if config.per_layer_bias else "T5"
    fields = dataclasses.asdict(config)
    fields["feed_forward_proj"] = fields.pop("feed_forward")
    del fields["per_layer_bias"]
    hf_config = getattr(transformers, f"{kind}Config")(**fields)
    return getattr(transformers, f"{kind}EncoderModel")(hf_config).eval()


def make_inputs(config: T5Config, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Two sequences of 64 tokens, the second one masked after 40."""
    mask = np.ones((2, 64), np.int32)
    mask[1, 40:] = 0
    return {"ids": rng.integers(0, config.vocab_size, (2, 64), dtype=np.int32), "mask": mask}


def run_model(model: T5Encoder, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    return {"features": model(jnp.asarray(inputs["ids"]), jnp.asarray(inputs["mask"]))}


def run_torch(module: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    return {"features": module(inputs["ids"], inputs["mask"]).last_hidden_state}


NETWORKS = {
    "t5": Network(
        name="t5",
        make_model=lambda config: T5Encoder(config, rngs=nnx.Rngs(0)),
        rules=t5_rules,
        config_from_source=t5_config,
        make_torch=make_torch,
        make_inputs=make_inputs,
        run_model=run_model,
        run_torch=run_torch,
        tolerance=1e-5,
        configs=T5_CONFIGS,
        hub=True,
    )
}
