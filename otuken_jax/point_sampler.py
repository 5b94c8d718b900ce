"""Point-E's two stages: CLIP embeddings to 1024 coloured points, then to 4096."""

import dataclasses
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from otuken_jax.diffusion import (
    GaussianDiffusion,
    KarrasConfig,
    Noise,
    Samples,
    is_guided,
    sample_karras,
)
from otuken_jax.models.point_e import CHANNELS


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """One stage of Point-E: how many new points, and how they are sampled."""

    num_points: int = 1024
    schedule: str = "cosine"
    sampler: KarrasConfig = dataclasses.field(default_factory=KarrasConfig)


BASE_STAGE = StageConfig()
UPSAMPLE_STAGE = StageConfig(3072, "linear", KarrasConfig(sigma_max=160.0, s_churn=0.0))
# Point-E's text example does not guide its upsampler.
UNGUIDED_UPSAMPLE_STAGE = dataclasses.replace(
    UPSAMPLE_STAGE, sampler=dataclasses.replace(UPSAMPLE_STAGE.sampler, guidance_scale=0.0)
)


def sample_stage(
    model: nnx.Module,
    config: StageConfig,
    initial_noise: Float[Array, "b n 6"],
    noise: Noise | None,
    embedding: Float[Array, "b ..."] | None = None,
    low_res: Float[Array, "b m 6"] | None = None,
    *,
    return_steps: bool = False,
) -> Samples:
    """One stage in raw units; points of `low_res` come first in the result.

    Without condition everything is zero, `low_res` included: raw zeros, as published.
    """
    diffusion = GaussianDiffusion.create(config.schedule)
    conditioning = (embedding, low_res)
    if is_guided(config.sampler.guidance_scale):
        conditioning = jax.tree.map(lambda c: jnp.concatenate([c, jnp.zeros_like(c)]), conditioning)

    def join(scaled: Array) -> Array:
        """Raw units; puts the coarse points in front, along the point axis."""
        raw = diffusion.unscale(scaled)
        if low_res is None:
            return raw
        coarse = jnp.broadcast_to(low_res, (*raw.shape[:-2], *low_res.shape[1:]))
        return jnp.concatenate([coarse, raw], axis=-2)

    samples = sample_karras(
        diffusion,
        lambda x, t: model(x, t, *conditioning),
        config.sampler,
        initial_noise,
        noise,
        return_steps=return_steps,
    )
    return jax.tree.map(join, samples)


class PointCloudSampler:
    """Point-E from CLIP embeddings to coloured clouds: 1024 points, then 4096.

    Each sample draws from its own key, so a result does not depend on the rest of the batch.
    """

    def __init__(self, models: Sequence[nnx.Module], stages: Sequence[StageConfig]):
        self._states, self._stages = [], []
        for model, stage in zip(models, stages, strict=True):
            graphdef, state = nnx.split(model)
            self._states.append(state)
            self._stages.append(partial(_sample_stage_from_keys, graphdef, stage))

    def __call__(
        self, key: Array, batch_size: int, embeddings: Sequence[Array | None]
    ) -> Float[Array, "b n 6"]:
        """Clouds in raw units: x, y, z about [-0.5, 0.5], then red, green, blue about 0 to 255.

        embeddings: one per stage, each [batch, ...] or None for no condition.
        """
        cloud = None
        for i, (stage, state) in enumerate(zip(self._stages, self._states, strict=True)):
            keys = jax.vmap(jax.random.fold_in, (None, 0))(
                jax.random.fold_in(key, i), jnp.arange(batch_size)
            )
            cloud = stage(state, keys, embeddings[i], cloud)
        return cloud


@partial(jax.jit, static_argnums=(0, 1))
def _sample_stage_from_keys(
    graphdef,
    config: StageConfig,
    state,
    keys: Array,
    embedding: Array | None,
    low_res: Array | None,
) -> Float[Array, "b n 6"]:
    def draw(step: Array | int) -> Array:
        shape = (config.num_points, CHANNELS)
        return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, step), shape))(keys)

    # Churn noise is drawn at steps 0 to num_steps - 1, so this number is free.
    initial_noise = draw(config.sampler.num_steps)
    model = nnx.merge(graphdef, state)
    return sample_stage(model, config, initial_noise, draw, embedding, low_res).pred_x0
