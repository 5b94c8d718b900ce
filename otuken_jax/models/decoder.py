"""The progressive voxel decoder: latent, tokens and style to a field, its chart and its colours."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from otuken_jax.conventions import TAU_VOXELS, voxel_size
from otuken_jax.models.fusion import Tokens
from otuken_jax.models.layers import (
    NUM_FOURIER,
    AdaIN,
    CrossAttention,
    depth_to_space,
    fourier_positions,
    resize_volume,
)
from otuken_jax.models.ornament import OrnamentHead, top_voxels
from otuken_jax.models.style import Style

NUM_OUTPUTS = 8  # host logit, band logit, chart (3), colour logits (3)
# Most voxels are outside the shape and outside the band: start there.
OUTPUT_BIAS = (-2.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
# A readout sums latent_dim x NUM_FOURIER products: at full scale one Adam step moves the output by
# more than the chart's whole range (chart error after 200 steps 0.19; scaled, 0.13).
READOUT_SCALE = 0.1


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the decoder. Each stage's resolution is twice one of the trunk's."""

    trunk_resolutions: tuple[int, ...] = (4, 8, 16, 24, 32)
    trunk_widths: tuple[int, ...] = (512, 512, 256, 128, 128)
    stage_resolutions: tuple[int, ...] = (32, 48, 64)
    attention_resolutions: tuple[int, ...] = (8, 16)
    num_heads: int = 8
    norm_groups: int | None = None  # None: instance norm; a number: group norm
    ornament_width: int = 128
    ornament_layers: int = 3
    ornament_fraction: float = 0.12  # share of voxels on which the ornament head is evaluated

    def __post_init__(self) -> None:
        missing = [r for r in self.stage_resolutions if r // 2 not in self.trunk_resolutions]
        if missing or any(r % 2 for r in self.stage_resolutions):
            raise ValueError(f"stages {missing} need a trunk resolution of half their size")
        if len(self.trunk_widths) != len(self.trunk_resolutions):
            raise ValueError("trunk_widths and trunk_resolutions differ in length")

    @property
    def num_style_layers(self) -> int:
        """AdaIN layers: two a block, none in the last block."""
        return 2 * (len(self.trunk_resolutions) - 1)

    def block_stage(self, block: int) -> int:
        """The stage in which trunk block number `block` is first used."""
        resolution = self.trunk_resolutions[block]
        return next(i for i, r in enumerate(self.stage_resolutions) if r // 2 >= resolution)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StageOutput:
    """What the heads up to one stage's say, on its own grid. Logits are > 0 inside."""

    field: Float[Array, "b r r r"]  # the shape with its ornament
    host: Float[Array, "b r r r"]  # the shape without it
    band: Float[Array, "b r r r"]  # logit: is the ornament's chart valid here
    chart: Float[Array, "b r r r 3"]  # sin(pi u), cos(pi u), v
    color: Float[Array, "b r r r 3"]  # sRGB, 0..1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KnownChart:
    """True chart and band (0..1) of one resolution, used in place of the predicted ones.

    The ornament head then learns the motif before the trunk has learned the charts.
    """

    chart: Float[Array, "b r r r 3"]
    band: Float[Array, "b r r r"]
    use: Bool[Array, " b"]


class DecoderBlock(nnx.Module):
    """Projection and resize to the block's grid, positions, then a residual of two convolutions."""

    def __init__(
        self,
        in_width: int,
        width: int,
        cond_dim: int,
        *,
        adain: bool,
        norm_groups: int | None,
        dtype,
        rngs: nnx.Rngs,
    ) -> None:
        self.dtype = dtype
        self.project = nnx.Linear(in_width, width, dtype=dtype, rngs=rngs)
        self.positions = nnx.Linear(NUM_FOURIER, width, use_bias=False, dtype=dtype, rngs=rngs)
        self.conv1 = nnx.Conv(width, width, (3, 3, 3), dtype=dtype, rngs=rngs)
        self.conv2 = nnx.Conv(width, width, (3, 3, 3), dtype=dtype, rngs=rngs)
        self.adain = nnx.List(
            AdaIN(width, cond_dim, num_groups=norm_groups, dtype=dtype, rngs=rngs)
            for _ in range(2 * adain)
        )

    def __call__(
        self,
        x: Float[Array, "b q q q i"],
        fourier: Float[Array, "b r r r f"],
        cond: Float[Array, "b 2 s"] | None,
    ) -> Float[Array, "b r r r o"]:
        x = resize_volume(self.project(x), fourier.shape[1]) + self.positions(fourier)
        h = self.conv1(x)
        h = jax.nn.silu(self.adain[0](h, cond[:, 0]) if self.adain else h)
        h = self.conv2(h)
        h = jax.nn.silu(self.adain[1](h, cond[:, 1]) if self.adain else h)
        return x + h


class VoxelAttention(nnx.Module):
    """Voxels attend to the text and point tokens through a gate that starts closed."""

    def __init__(
        self, width: int, latent_dim: int, num_heads: int, *, dtype, rngs: nnx.Rngs
    ) -> None:
        self.norm = nnx.LayerNorm(width, epsilon=1e-5, dtype=dtype, rngs=rngs)
        self.attention = CrossAttention(width, latent_dim, num_heads, dtype=dtype, rngs=rngs)
        self.gate = nnx.Param(jnp.zeros((width,)))

    def __call__(self, x: Float[Array, "b r r r c"], tokens: Tokens) -> Float[Array, "b r r r c"]:
        flat = x.reshape(x.shape[0], -1, x.shape[-1])
        y = self.attention(self.norm(flat), tokens.values, tokens.mask)
        return x + (self.gate[...].astype(y.dtype) * y).reshape(x.shape)


class Head(nnx.Module):
    """Features at r^3 to outputs at (2r)^3: depth-to-space plus a global readout of positions.

    The readout's coefficients come from the latent: a chart that repeats k times around an object
    is one coefficient on sin(k theta), exact at every sub-voxel. The style's last vector sets the
    ground colour directly. The first stage's kernel starts equal for the eight sub-voxels, so that
    the first output is a nearest-neighbour upsampling without checkerboard. Later ones start at
    zero: they add to what the head before them says.
    """

    def __init__(
        self, width: int, latent_dim: int, style_dim: int, *, first: bool, dtype, rngs: nnx.Rngs
    ) -> None:
        draw = nnx.initializers.lecun_normal() if first else nnx.initializers.zeros

        def nearest(key, shape, param_dtype):
            return jnp.tile(draw(key, (shape[0], NUM_OUTPUTS), param_dtype), (1, 8))

        self.dtype = dtype
        self.local = nnx.Linear(width, 8 * NUM_OUTPUTS, kernel_init=nearest, dtype=dtype, rngs=rngs)
        if first:
            self.local.bias[...] = jnp.tile(jnp.asarray(OUTPUT_BIAS), 8)
        self.readout = nnx.Linear(
            latent_dim,
            NUM_FOURIER * NUM_OUTPUTS,
            kernel_init=nnx.initializers.zeros,
            dtype=dtype,
            rngs=rngs,
        )
        self.palette = nnx.Linear(
            style_dim, 3, kernel_init=nnx.initializers.zeros, dtype=dtype, rngs=rngs
        )

    def __call__(
        self,
        x: Float[Array, "b r r r c"],
        latent: Float[Array, "b d"],
        style: Float[Array, "b s"],
        fourier: Float[Array, "b r2 r2 r2 f"],
    ) -> Float[Array, "b r2 r2 r2 8"]:
        coefficients = READOUT_SCALE * self.readout(latent)
        coefficients = coefficients.reshape(-1, NUM_FOURIER, NUM_OUTPUTS)
        readout = jnp.einsum("bxyzf,bfo->bxyzo", fourier.astype(self.dtype), coefficients)
        ground = jnp.pad(self.palette(style), ((0, 0), (NUM_OUTPUTS - 3, 0)))  # colour alone
        output = depth_to_space(self.local(x)) + readout + ground[:, None, None, None]
        return output.astype(jnp.float32)


def upsample_raw(raw: Float[Array, "b q q q 8"], resolution: int) -> Float[Array, "b r r r 8"]:
    """The heads' sum on a finer grid; the host's logit is a distance counted in voxels."""
    fine = resize_volume(raw, resolution)
    return fine.at[..., 0].multiply(resolution / raw.shape[1])


class VoxelDecoder(nnx.Module):
    """Learned 4^3 seed -> trunk of blocks -> one head per stage -> ornament in chart coordinates.

    Progressive growing (Karras et al. 2018, arXiv:1710.10196): while a new stage fades in, its
    output is (1 - alpha) * upsampled old + alpha * new; at alpha = 0 exactly the old output,
    upsampled. Raw outputs are summed over the heads (the skips of StyleGAN2, Karras et al. 2020,
    arXiv:1912.04958): a new stage refines the chart and the host that the last one found.
    """

    def __init__(
        self,
        config: DecoderConfig,
        latent_dim: int,
        style_dim: int,
        ornament_dim: int,
        *,
        dtype,
        remat: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        self.config = config
        self.dtype = dtype
        self.remat = remat
        widths = config.trunk_widths
        cond_dim = style_dim + latent_dim + 3
        side = config.trunk_resolutions[0]
        init = nnx.initializers.normal(1.0)
        self.seed = nnx.Param(init(rngs.params(), (side, side, side, widths[0])))
        self.seed_affine = nnx.Linear(latent_dim, 2 * widths[0], dtype=dtype, rngs=rngs)
        last = len(widths) - 1
        self.blocks = nnx.List(
            DecoderBlock(
                widths[max(i - 1, 0)],
                width,
                cond_dim,
                adain=i < last,
                norm_groups=config.norm_groups,
                dtype=dtype,
                rngs=rngs,
            )
            for i, width in enumerate(widths)
        )
        self.attention = nnx.Dict(
            {
                str(r): VoxelAttention(w, latent_dim, config.num_heads, dtype=dtype, rngs=rngs)
                for r, w in zip(config.trunk_resolutions, widths, strict=True)
                if r in config.attention_resolutions
            }
        )
        width_of = dict(zip(config.trunk_resolutions, widths, strict=True))
        self.heads = nnx.List(
            Head(width_of[r // 2], latent_dim, style_dim, first=i == 0, dtype=dtype, rngs=rngs)
            for i, r in enumerate(config.stage_resolutions)
        )
        self.ornament = OrnamentHead(
            ornament_dim,
            style_dim,
            config.ornament_width,
            config.ornament_layers,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(
        self,
        latent: Float[Array, "b d"],
        tokens: Tokens,
        style: Style,
        pose: Float[Array, "b 2"],
        *,
        stage: int,
        alpha: float | Array = 1.0,
        known: dict[int, KnownChart] | None = None,
        ornament_strength: float | Array = 1.0,
        ornament_mask: Float[Array, "b r r r"] | None = None,
    ) -> list[StageOutput]:
        """Outputs of stages 0..stage, the last one faded in by `alpha`.

        `pose` is (angle about z in radians, log scale), zero for the canonical shape. `known` gives
        true charts by resolution. `ornament_mask` (0..1, on the stage's grid) confines the
        ornament.
        """
        latent = latent.astype(self.dtype)
        features = self._trunk(latent, tokens, style, pose, stage)
        outputs: list[StageOutput] = []
        raw = None
        for i, resolution in enumerate(self.config.stage_resolutions[: stage + 1]):
            fourier = fourier_positions(pose, resolution)
            fine = style.layers[:, -1].astype(self.dtype)
            own = self._call(self.heads[i], features[resolution // 2], latent, fine, fourier)
            raw = own if raw is None else upsample_raw(raw, resolution) + own
            mask = None if ornament_mask is None else resize_volume(ornament_mask, resolution)
            chart = None if known is None else known.get(resolution)
            outputs.append(self._compose(raw, style, resolution, chart, ornament_strength, mask))
        if stage > 0:
            outputs[-1] = jax.tree.map(
                lambda old, new: (1 - alpha) * resize_volume(old, new.shape[1]) + alpha * new,
                outputs[-2],
                outputs[-1],
            )
        return outputs

    def _call(self, module: nnx.Module, *args):
        """Runs a block, recomputing it in the backward pass if remat is on."""
        return (nnx.remat(type(module).__call__) if self.remat else type(module).__call__)(
            module, *args
        )

    def _trunk(
        self, latent: Array, tokens: Tokens, style: Style, pose: Array, stage: int
    ) -> dict[int, Array]:
        """Features [b, r, r, r, c] by trunk resolution, as far as `stage` needs them."""
        b = latent.shape[0]
        gain, bias = jnp.split(self.seed_affine(latent)[:, None, None, None], 2, axis=-1)
        x = self.seed[...].astype(self.dtype) * (1 + gain) + bias
        pose_features = jnp.stack([jnp.sin(pose[:, 0]), jnp.cos(pose[:, 0]), pose[:, 1]], -1)
        shared = jnp.concatenate([latent, pose_features.astype(self.dtype)], -1)
        shared = jnp.broadcast_to(shared[:, None], (b, style.layers.shape[1], shared.shape[-1]))
        cond = jnp.concatenate([style.layers.astype(self.dtype), shared], axis=-1)
        features = {}
        for i, block in enumerate(self.blocks):
            if self.config.block_stage(i) > stage:
                break
            resolution = self.config.trunk_resolutions[i]
            fourier = fourier_positions(pose, resolution).astype(self.dtype)
            x = self._call(block, x, fourier, cond[:, 2 * i : 2 * i + 2] if block.adain else None)
            if str(resolution) in self.attention:
                x = self._call(self.attention[str(resolution)], x, tokens)
            features[resolution] = x
        return features

    def _compose(
        self,
        raw: Float[Array, "b r r r 8"],
        style: Style,
        resolution: int,
        known: KnownChart | None,
        strength: float | Array,
        mask: Float[Array, "b r r r"] | None,
    ) -> StageOutput:
        """Adds the ornament: field = host + sigmoid(band) * relief, and its paint on the ground."""
        host, band, chart = raw[..., 0], raw[..., 1], raw[..., 2:5]
        ground = jax.nn.sigmoid(raw[..., 5:])
        used_chart, gain = chart, jax.nn.sigmoid(band)
        if known is not None:
            use = known.use[:, None, None, None]
            used_chart = jnp.where(use[..., None], known.chart, chart)
            gain = jnp.where(use, known.band, gain)
        if mask is not None:
            gain = gain * mask
        # In the band and near the plain surface: elsewhere a relief changes nothing.
        score = jax.lax.stop_gradient(gain * jnp.exp(-jnp.abs(host) / 4))
        index = top_voxels(score, self.config.ornament_fraction)
        batch = np.arange(raw.shape[0])[:, None]
        flat = lambda x: x.reshape(x.shape[0], -1, *x.shape[4:])  # noqa: E731
        relief, paint, color = self.ornament(
            flat(used_chart)[batch, index], style.ornament, style.layers[:, -1]
        )
        gain = strength * flat(gain)[batch, index]
        cover = jnp.clip(gain * paint, 0.0, 1.0)[..., None]
        # Relief is in domain units, so one head serves every resolution's logits.
        logit = relief / (TAU_VOXELS * voxel_size(resolution))
        add = lambda x, y: (  # noqa: E731
            flat(x).at[batch, index].add(y, unique_indices=True).reshape(x.shape)
        )
        return StageOutput(
            field=add(host, gain * logit),
            host=host,
            band=band,
            chart=chart,
            color=add(ground, cover * (color[:, None] - flat(ground)[batch, index])),
        )
