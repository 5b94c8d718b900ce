"""PointNet++ (Point-E's evaluation classifier): table from the published PyTorch names."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from otuken_jax.metrics_frechet import normalize_clouds
from otuken_jax.models.pointnet2 import PointNet2, PointNet2Config
from porting.point_e import PUBLISHED, linear
from porting.rules import Network, Rule, Shape, Transform, check_kind

# A 1x1 convolution is a linear layer: (out, in, 1, 1) -> (in, out)
POINTWISE = Transform(lambda w: w.squeeze((2, 3)).T, lambda w: w.T[:, :, None, None])


def _batch_norm(torch: str, path: str) -> list[Rule]:
    return [
        Rule(torch + r"\.weight", path + "/scale"),
        Rule(torch + r"\.bias", path + "/bias"),
        Rule(torch + r"\.running_mean", path + "/mean"),
        Rule(torch + r"\.running_var", path + "/var"),
    ]


def pointnet2_rules(config: PointNet2Config) -> list[Rule]:
    """The table: three set abstractions and the head."""
    return [
        Rule(r"(sa\d)\.mlp_convs\.(\d)\.weight", r"\1/layers/\2/kernel", POINTWISE),
        Rule(r"(sa\d)\.mlp_convs\.(\d)\.bias", r"\1/layers/\2/bias"),
        *_batch_norm(r"(sa\d)\.mlp_bns\.(\d)", r"\1/norms/\2"),
        *linear(r"(fc[123])", r"\1"),
        *_batch_norm(r"bn([12])", r"norm\1"),
        # A counter of training batches; inference does not read it.
        Rule(r".*\.num_batches_tracked", None, optional=True),
    ]


def pointnet2_config(
    config_json: Mapping[str, Any] | None, shapes: Mapping[str, Shape]
) -> PointNet2Config:
    """The published config, whatever lies beside the file."""
    check_kind(shapes, "sa1.", "the PointNet++ classifier")
    return PointNet2Config()


def make_torch(config: PointNet2Config) -> Any:
    from porting.torch_reference import pointnet2 as reference

    return reference.PointNet2(config).eval()


def make_inputs(config: PointNet2Config, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Two clouds of 600 points."""
    return {"points": normalize_clouds(rng.normal(size=(2, 600, 3))).astype(np.float32)}


def run_model(model: PointNet2, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    features, log_probs = model(jnp.asarray(inputs["points"]))
    return {"features": features, "log_probs": log_probs}


def run_torch(module: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    features, log_probs = module(inputs["points"])
    return {"features": features, "log_probs": log_probs}


NETWORKS = {
    "point-e/pointnet": Network(
        name="point-e/pointnet",
        make_model=lambda config: PointNet2(config, rngs=nnx.Rngs(0)),
        rules=pointnet2_rules,
        config_from_source=pointnet2_config,
        make_torch=make_torch,
        make_inputs=make_inputs,
        run_model=run_model,
        run_torch=run_torch,
        tolerance=3e-6,
        configs={"pointnet": PointNet2Config()},
        published={"pointnet": f"{PUBLISHED}/pointnet.pt"},
        state_dict_key="model_state_dict",
    )
}
