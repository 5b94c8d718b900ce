"""The progressive voxel decoder in PyTorch; mirrors `otuken_jax.models.decoder`."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from otuken_jax.conventions import TAU_VOXELS, voxel_size
from otuken_jax.models.decoder import NUM_OUTPUTS, READOUT_SCALE, DecoderConfig
from otuken_jax.models.layers import NUM_FOURIER
from porting.torch_reference.fusion import Tokens
from porting.torch_reference.layers import (
    AdaIN,
    CrossAttention,
    channels_first,
    channels_last,
    depth_to_space,
    fourier_positions,
    resize_volume,
)
from porting.torch_reference.ornament import OrnamentHead, top_voxels
from porting.torch_reference.style import Style


class StageOutput(NamedTuple):
    """What the heads up to one stage's say on its grid; fields as in the Flax StageOutput."""

    field: Tensor
    host: Tensor
    band: Tensor
    chart: Tensor
    color: Tensor


class KnownChart(NamedTuple):
    """True chart [b, r, r, r, 3] and band [b, r, r, r], used where `use` [b] is true."""

    chart: Tensor
    band: Tensor
    use: Tensor


class DecoderBlock(nn.Module):
    """Projection and resize to the block's grid, positions, then a residual of two convolutions."""

    def __init__(
        self, in_width: int, width: int, cond_dim: int, *, adain: bool, norm_groups: int | None
    ):
        super().__init__()
        self.project = nn.Linear(in_width, width)
        self.positions = nn.Linear(NUM_FOURIER, width, bias=False)
        self.conv1 = nn.Conv3d(width, width, 3, padding=1)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1)
        self.adain = nn.ModuleList(AdaIN(width, cond_dim, norm_groups) for _ in range(2 * adain))

    def forward(self, x: Tensor, fourier: Tensor, cond: Tensor) -> Tensor:
        """`cond` [b, 2, s] is not read by the last block, which has no AdaIN."""
        x = resize_volume(self.project(x), fourier.shape[1]) + self.positions(fourier)
        h = x
        for i, conv in enumerate((self.conv1, self.conv2)):
            h = channels_last(conv(channels_first(h)))
            h = F.silu(self.adain[i](h, cond[:, i]) if self.adain else h)
        return x + h


class VoxelAttention(nn.Module):
    """Voxels attend to the text and point tokens through a gate."""

    def __init__(self, width: int, latent_dim: int, num_heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = CrossAttention(width, latent_dim, num_heads)
        self.gate = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, tokens: Tokens) -> Tensor:
        y = self.attention(self.norm(x.flatten(1, 3)), *tokens)
        return x + (self.gate * y).view_as(x)


class Head(nn.Module):
    """Depth-to-space of the features, a readout of positions by the latent, and a ground colour."""

    def __init__(self, width: int, latent_dim: int, style_dim: int):
        super().__init__()
        self.local = nn.Linear(width, 8 * NUM_OUTPUTS)
        self.readout = nn.Linear(latent_dim, NUM_FOURIER * NUM_OUTPUTS)
        self.palette = nn.Linear(style_dim, 3)

    def forward(self, x: Tensor, latent: Tensor, style: Tensor, fourier: Tensor) -> Tensor:
        coefficients = READOUT_SCALE * self.readout(latent).unflatten(-1, (NUM_FOURIER, -1))
        readout = torch.einsum("bxyzf,bfo->bxyzo", fourier, coefficients)
        ground = F.pad(self.palette(style), (NUM_OUTPUTS - 3, 0))
        return depth_to_space(self.local(x)) + readout + ground[:, None, None, None]


def upsample_raw(raw: Tensor, resolution: int) -> Tensor:
    """The heads' sum on a finer grid; the host's logit is a distance counted in voxels."""
    fine = resize_volume(raw, resolution)
    return torch.cat([fine[..., :1] * (resolution / raw.shape[1]), fine[..., 1:]], dim=-1)


class VoxelDecoder(nn.Module):
    """Learned seed -> trunk of blocks -> heads, summed -> ornament in chart coordinates."""

    def __init__(self, config: DecoderConfig, latent_dim: int, style_dim: int, ornament_dim: int):
        super().__init__()
        self.config = config
        widths, last = config.trunk_widths, len(config.trunk_widths) - 1
        self.seed = nn.Parameter(torch.randn(*[config.trunk_resolutions[0]] * 3, widths[0]))
        self.seed_affine = nn.Linear(latent_dim, 2 * widths[0])
        self.blocks = nn.ModuleList(
            DecoderBlock(
                widths[max(i - 1, 0)],
                width,
                style_dim + latent_dim + 3,
                adain=i < last,
                norm_groups=config.norm_groups,
            )
            for i, width in enumerate(widths)
        )
        width_of = dict(zip(config.trunk_resolutions, widths, strict=True))
        self.attention = nn.ModuleDict(
            {
                str(r): VoxelAttention(w, latent_dim, config.num_heads)
                for r, w in width_of.items()
                if r in config.attention_resolutions
            }
        )
        self.heads = nn.ModuleList(
            Head(width_of[r // 2], latent_dim, style_dim) for r in config.stage_resolutions
        )
        self.ornament = OrnamentHead(
            ornament_dim, style_dim, config.ornament_width, config.ornament_layers
        )

    def forward(
        self,
        latent: Tensor,
        tokens: Tokens,
        style: Style,
        pose: Tensor,
        *,
        stage: int,
        alpha: float | Tensor = 1.0,
        known: dict[int, KnownChart] | None = None,
        ornament_strength: float | Tensor = 1.0,
        ornament_mask: Tensor | None = None,
    ) -> list[StageOutput]:
        """Outputs of stages 0..stage, the last one faded in by `alpha`."""
        features = self._trunk(latent, tokens, style, pose, stage)
        outputs: list[StageOutput] = []
        raw = None
        for i, resolution in enumerate(self.config.stage_resolutions[: stage + 1]):
            fourier = fourier_positions(pose, resolution)
            own = self.heads[i](features[resolution // 2], latent, style.layers[:, -1], fourier)
            raw = own if raw is None else upsample_raw(raw, resolution) + own
            mask = None if ornament_mask is None else resize_volume(ornament_mask, resolution)
            chart = None if known is None else known.get(resolution)
            outputs.append(self._compose(raw, style, resolution, chart, ornament_strength, mask))
        if stage > 0:
            size = self.config.stage_resolutions[stage]
            pairs = zip(*outputs[-2:], strict=True)
            outputs[-1] = StageOutput(
                *((1 - alpha) * resize_volume(old, size) + alpha * new for old, new in pairs)
            )
        return outputs

    def _trunk(
        self, latent: Tensor, tokens: Tokens, style: Style, pose: Tensor, stage: int
    ) -> dict[int, Tensor]:
        """Features [b, r, r, r, c] by trunk resolution, as far as `stage` needs them."""
        gain, bias = self.seed_affine(latent)[:, None, None, None].chunk(2, dim=-1)
        x = self.seed * (1 + gain) + bias
        angle, log_scale = pose[:, :1], pose[:, 1:]
        shared = torch.cat([latent, angle.sin(), angle.cos(), log_scale], dim=-1)
        shared = shared[:, None].expand(-1, style.layers.shape[1], -1)
        cond = torch.cat([style.layers, shared], dim=-1)
        features = {}
        for i, block in enumerate(self.blocks):
            if self.config.block_stage(i) > stage:
                break
            resolution = self.config.trunk_resolutions[i]
            x = block(x, fourier_positions(pose, resolution), cond[:, 2 * i : 2 * i + 2])
            if str(resolution) in self.attention:
                x = self.attention[str(resolution)](x, tokens)
            features[resolution] = x
        return features

    def _compose(
        self,
        raw: Tensor,
        style: Style,
        resolution: int,
        known: KnownChart | None,
        strength: float | Tensor,
        mask: Tensor | None,
    ) -> StageOutput:
        """Adds the ornament: field = host + sigmoid(band) * relief, and its paint on the ground."""
        host, band, chart = raw[..., 0], raw[..., 1], raw[..., 2:5]
        ground = raw[..., 5:].sigmoid()
        used_chart, gain = chart, band.sigmoid()
        if known is not None:
            use = known.use[:, None, None, None]
            used_chart = torch.where(use[..., None], known.chart, chart)
            gain = torch.where(use, known.band, gain)
        if mask is not None:
            gain = gain * mask
        score = (gain * (-host.abs() / 4).exp()).detach()
        index = top_voxels(score, self.config.ornament_fraction)

        def take(volume: Tensor) -> Tensor:  # [b, r, r, r, *c] -> [b, k, *c]
            return volume.flatten(1, 3)[torch.arange(len(volume))[:, None], index]

        def put(volume: Tensor, values: Tensor) -> Tensor:
            rows = torch.arange(len(volume))[:, None].expand_as(index)
            added = volume.flatten(1, 3).index_put((rows, index), values, accumulate=True)
            return added.view_as(volume)

        relief, paint, color = self.ornament(take(used_chart), style.ornament, style.layers[:, -1])
        gain = strength * take(gain)
        cover = (gain * paint).clamp(0.0, 1.0)[..., None]
        logit = relief / (TAU_VOXELS * voxel_size(resolution))
        return StageOutput(
            field=put(host, gain * logit),
            host=host,
            band=band,
            chart=chart,
            color=put(ground, cover * (color[:, None] - take(ground))),
        )
