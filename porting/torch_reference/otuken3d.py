"""The whole of Ötüken3D in PyTorch; mirrors `otuken_jax.models.otuken3d`.

    config = ModelConfig.from_dict(json.load(open("exported/config.json"))["model"])
    model = Otuken3D(config).eval()
    model.load_state_dict(safetensors.torch.load_file("exported/model.safetensors"), strict=True)
    outputs = model(inputs)  # the last one's `field` and `color` are the finest

The folder is what `python -m porting export` writes. It computes in the type of its parameters.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from otuken_jax.conventions import POINT_E_SCALE
from otuken_jax.models.otuken3d import TEXT_ENCODERS, ModelConfig
from porting.t5 import make_torch as make_t5
from porting.torch_reference.decoder import StageOutput, VoxelDecoder
from porting.torch_reference.fusion import LatentFusion, Tokens
from porting.torch_reference.point_e import PointEEncoder
from porting.torch_reference.style import Style, StyleEncoder


class Conditioning(NamedTuple):
    """What the decoder reads: the latent, the tokens behind it, and the style."""

    latent: Tensor
    tokens: Tokens
    style: Style


class Otuken3D(nn.Module):
    """T5 and Point-E encoders -> latent fusion, style -> progressive voxel decoder."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        text_config = TEXT_ENCODERS[config.text_encoder_name]
        self.text_encoder = make_t5(text_config)
        self.point_encoder = PointEEncoder(config.point_encoder)
        self.fusion = LatentFusion(
            text_config.d_model,
            config.point_encoder.width,
            config.latent_dim,
            num_queries=config.num_queries,
            num_layers=config.fusion_layers,
            num_heads=config.num_heads,
        )
        self.style_encoder = StyleEncoder(
            text_config.d_model,
            config.style_dim,
            config.ornament_dim,
            config.decoder.num_style_layers,
            mapping_layers=config.mapping_layers,
            num_heads=config.num_heads,
        )
        self.decoder = VoxelDecoder(
            config.decoder, config.latent_dim, config.style_dim, config.ornament_dim
        )

    def encode_text(self, ids: Tensor, mask: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Text tokens [b, l, e] and the mask that they were encoded with, never all false."""
        mask = mask.bool() | ~present[:, None]
        return self.text_encoder(ids, mask.int()).last_hidden_state, mask

    def encode_style(self, ids: Tensor, mask: Tensor, has_style: Tensor) -> Style:
        """Style of a batch of style texts; the learned null style where `has_style` is false."""
        return self.style_encoder(*self.encode_text(ids, mask, has_style), has_style)

    def encode(self, inputs: dict[str, Tensor]) -> Conditioning:
        """Encodes a batch; `inputs` as the Flax module's `encode` takes them."""
        points, has_text = inputs["points"], inputs["has_text"]
        text, _ = self.encode_text(inputs["text_ids"], inputs["text_mask"], has_text)
        text_mask = inputs["text_mask"].bool() & has_text[:, None]
        point = self.point_encoder(points * POINT_E_SCALE)
        latent, tokens = self.fusion(text, text_mask, point, points, inputs["has_points"])
        style = self.encode_style(inputs["style_ids"], inputs["style_mask"], inputs["has_style"])
        return Conditioning(latent, tokens, style)

    def forward(
        self, inputs: dict[str, Tensor], *, stage: int | None = None, **kwargs
    ) -> list[StageOutput]:
        """Outputs of all heads up to `stage` (None: the last) at `inputs["pose"]`, if it is there.

        Further arguments go to `VoxelDecoder`.
        """
        conditioning = self.encode(inputs)
        pose = inputs.get("pose", torch.zeros_like(conditioning.latent[:, :2]))
        stage = len(self.config.decoder.stage_resolutions) - 1 if stage is None else stage
        return self.decoder(*conditioning, pose, stage=stage, **kwargs)
