"""Time of the differentiable surface and its losses beside the decoder's own, forward and backward.

    python benchmarks/surface.py [--config v64] [--resolutions 32 48 64 96] [--batch-size 1]

"decoder" is the decoder of the configuration alone, all its heads up to that resolution, from
latent, tokens and style to fields and back to its parameters, without the gradient checkpointing
that some configurations ask for, which takes longer; at 96^3 with one more trunk block (48^3, as
wide as the last) and stage. "surface" is `surface_nets` and back to the field; "terms" all of
`surface_terms` (8,192 points, chamfer, normals, edges, Laplacian) and back to the field. The fields
are balls and tori with noise of a fifth of a voxel. Each time is the least of --repeats.
"""

import argparse
import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from otuken_jax.config import load_config, model_config
from otuken_jax.conventions import grid_points, voxel_size
from otuken_jax.geometry.surface import surface_nets
from otuken_jax.losses.surface import SurfaceWeights, surface_terms, weighted
from otuken_jax.models.decoder import DecoderConfig, VoxelDecoder
from otuken_jax.models.fusion import Tokens
from otuken_jax.models.otuken3d import ModelConfig
from otuken_jax.models.parameters import split_model
from otuken_jax.models.style import Style

TOKENS = 160


def shapes(resolution: int, batch_size: int) -> np.ndarray:
    """Signed distances of balls and tori [b, r, r, r]."""
    x, y, z = np.moveaxis(grid_points(resolution), -1, 0)
    ball = np.sqrt(x**2 + y**2 + z**2) - 0.8
    torus = np.hypot(np.hypot(x, y) - 0.6, z) - 0.25
    return np.stack([ball, torus] * batch_size)[:batch_size].astype(np.float32)


def least(repeats: int, function, *arguments) -> float:
    """Seconds of the fastest run after the first, which compiles."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return min(times)


def time_surface(resolution: int, batch_size: int, repeats: int) -> tuple[float, float]:
    sdf = jnp.asarray(shapes(resolution, batch_size))
    noise = np.random.default_rng(0).normal(0, 0.2 * voxel_size(resolution), sdf.shape)
    logits = (noise - sdf) / voxel_size(resolution)
    weights = SurfaceWeights(chamfer=1.0, normals=1.0, edge=1.0, laplacian=1.0, consistency=1.0)

    @jax.jit
    @jax.grad
    def surface(logits):
        return jnp.sum(surface_nets(logits).meshes.verts ** 2)

    @jax.jit
    @jax.grad
    def terms(logits):
        ready = jnp.ones(batch_size)
        return weighted(surface_terms(logits, sdf, ready, weights, jax.random.key(0)), weights)

    return least(repeats, surface, logits), least(repeats, terms, logits)


def with_stage(config: DecoderConfig, resolution: int) -> DecoderConfig:
    """The decoder with a further block and stage where it has none of that resolution."""
    if resolution in config.stage_resolutions:
        return config
    return dataclasses.replace(
        config,
        trunk_resolutions=(*config.trunk_resolutions, resolution // 2),
        trunk_widths=(*config.trunk_widths, config.trunk_widths[-1]),
        stage_resolutions=(*config.stage_resolutions, resolution),
    )


def time_decoder(config: ModelConfig, resolution: int, batch_size: int, repeats: int) -> float:
    sizes = with_stage(config.decoder, resolution)
    decoder = VoxelDecoder(
        sizes,
        config.latent_dim,
        config.style_dim,
        config.ornament_dim,
        dtype=jnp.dtype(config.dtype),
        rngs=nnx.Rngs(0),
    )
    modeldef, params = split_model(decoder)
    draw = lambda *shape: jax.random.normal(jax.random.key(0), (batch_size, *shape))  # noqa: E731
    style = Style(draw(sizes.num_style_layers, config.style_dim), draw(config.ornament_dim))
    tokens = Tokens(draw(TOKENS, config.latent_dim), jnp.ones((batch_size, TOKENS), bool))
    stage = sizes.stage_resolutions.index(resolution)

    @jax.jit
    @jax.grad
    def step(params):
        outputs = modeldef.bind(params)(
            draw(config.latent_dim), tokens, style, jnp.zeros((batch_size, 2)), stage=stage
        )
        return sum(jnp.mean(o.field**2) + jnp.mean(o.color**2) for o in outputs)

    return least(repeats, step, params)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="v64")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[32, 48, 64, 96])
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    overrides = [f"--config.model.{o}" for o in ("pretrained=False", f"dtype={arguments.dtype}")]
    config = model_config(load_config(arguments.config, overrides))
    print(f"{arguments.config}, batch {arguments.batch_size}, seconds, {jax.default_backend()}")
    print("| resolution | surface | terms | decoder |\n|---|---|---|---|")
    for resolution in arguments.resolutions:
        surface, terms = time_surface(resolution, arguments.batch_size, arguments.repeats)
        decoder = time_decoder(config, resolution, arguments.batch_size, arguments.repeats)
        print(f"| {resolution} | {surface:.3f} | {terms:.3f} | {decoder:.2f} |", flush=True)


if __name__ == "__main__":
    main()
