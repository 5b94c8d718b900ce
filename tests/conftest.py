"""Eight simulated devices for every test, and the tiny model that many of them share."""

import jax

jax.config.update("jax_num_cpu_devices", 8)

import jax.numpy as jnp
import numpy as np
import pytest

from otuken_jax.models.decoder import DecoderConfig
from otuken_jax.models.otuken3d import ModelConfig, Otuken3DModel
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


@pytest.fixture(autouse=True)
def quick_compile(request):
    """Compiles the tiny models' programs with few optimisations.

    They take longer to compile than to run; this halves it.
    """
    quick = request.path.parent.name in ("models", "training", "losses")
    jax.config.update("jax_disable_most_optimizations", quick)


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return TINY


def randomized(model: Otuken3DModel, seed: int = 0) -> Otuken3DModel:
    """The model with every parameter redrawn, so that nothing is hidden behind a zero start."""
    from otuken_jax.models.parameters import split_model, update_model

    rng = np.random.default_rng(seed)
    params = split_model(model)[1]
    update_model(
        model,
        {n: p + jnp.asarray(rng.normal(0, 0.1, p.shape), p.dtype) for n, p in params.items()},
    )
    return model


@pytest.fixture(scope="session")
def tiny_model() -> Otuken3DModel:
    """A tiny model with random weights everywhere; do not change it."""
    return randomized(Otuken3DModel(voxel_size=16, config=TINY))


@pytest.fixture
def tiny_inputs() -> dict[str, np.ndarray]:
    """Three samples: words only, points only, both."""
    rng = np.random.default_rng(1)
    return {
        "text_ids": rng.integers(3, 259, (3, 12)).astype(np.int32),
        "text_mask": np.arange(12) < np.array([[12], [7], [9]]),
        "style_ids": rng.integers(3, 259, (3, 8)).astype(np.int32),
        "style_mask": np.arange(8) < np.array([[8], [5], [3]]),
        "points": rng.uniform(-0.9, 0.9, (3, 20, 3)).astype(np.float32),
        "has_text": np.array([True, False, True]),
        "has_points": np.array([False, True, True]),
        "has_style": np.array([True, True, False]),
    }
