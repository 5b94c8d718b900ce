"""The tiny model that many tests share."""

import jax.numpy as jnp
import numpy as np

from otuken_jax.models.decoder import DecoderConfig
from otuken_jax.models.otuken3d import ModelConfig, Otuken3DModel
from otuken_jax.models.parameters import split_model, update_model
from otuken_jax.models.point_e import PointEEncoderConfig

TINY = ModelConfig(
    text_encoder_name="bytes-tiny",
    point_encoder=PointEEncoderConfig(width=16, layers=1, heads=2),
    latent_dim=24,
    style_dim=16,
    ornament_dim=16,
    num_queries=2,
    fusion_layers=1,
    num_heads=2,
    mapping_layers=2,
    decoder=DecoderConfig(
        trunk_resolutions=(4, 6, 8),
        trunk_widths=(16, 16, 8),
        stage_resolutions=(8, 12, 16),
        attention_resolutions=(6,),
        num_heads=2,
        ornament_width=16,
        ornament_layers=2,
    ),
)


def randomized(model: Otuken3DModel, seed: int = 0) -> Otuken3DModel:
    """The model with every parameter redrawn, so that nothing is hidden behind a zero start."""
    rng = np.random.default_rng(seed)
    params = split_model(model)[1]
    update_model(
        model,
        {n: p + jnp.asarray(rng.normal(0, 0.1, p.shape), p.dtype) for n, p in params.items()},
    )
    return model
