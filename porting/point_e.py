"""Point-E: tables from the published PyTorch names to the Flax modules."""

from otuken_jax.models import point_e
from porting.rules import LINEAR, Rule

PUBLISHED = "https://openaipublic.azureedge.net/main/point-e"
ATTENTION = r"(attn)\.c_"


def linear(torch: str, path: str) -> list[Rule]:
    """Rules for the weight and bias of a linear layer."""
    return [
        Rule(torch + r"\.weight", path + "/kernel", LINEAR),
        Rule(torch + r"\.bias", path + "/bias"),
    ]


def norm(torch: str, path: str) -> list[Rule]:
    """Rules for the scale and bias of a layer norm."""
    return [Rule(torch + r"\.weight", path + "/scale"), Rule(torch + r"\.bias", path + "/bias")]


def _block(torch: str, path: str) -> list[Rule]:
    """Rules for all self-attention blocks below a prefix."""
    torch, path = torch + r"\.resblocks\.(\d+)", path + r"blocks/\1"
    return [
        *linear(torch + r"\.attn\.c_(qkv|proj)", path + r"/attention/\2"),
        *linear(torch + r"\.mlp\.c_(fc|proj)", path + r"/mlp/\2"),
        *norm(torch + r"\.ln_1", path + "/norm_attention"),
        *norm(torch + r"\.ln_2", path + "/norm_mlp"),
    ]


def sdf_rules(config: point_e.PointESDFConfig) -> list[Rule]:
    """The SDF model: encoder blocks and cross-attending decoder blocks."""
    torch, path = r"decoder\.resblocks\.(\d+)", r"blocks/\1"
    return [
        *linear(r"encoder_input_proj", "encoder/input_proj"),
        *_block(r"encoder", "encoder/"),
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
        *_block(r"backbone", ""),
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
