"""Ötüken3D: Turkish text, style and points to a field on a voxel grid."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from otuken_jax.conventions import POINT_E_SCALE
from otuken_jax.errors import UserError
from otuken_jax.models.decoder import DecoderConfig, KnownChart, StageOutput, VoxelDecoder
from otuken_jax.models.fusion import LatentFusion, Tokens
from otuken_jax.models.point_e import PointEEncoder, PointEEncoderConfig
from otuken_jax.models.style import Style, StyleEncoder
from otuken_jax.models.t5 import T5_CONFIGS, T5Config, T5Encoder, look_at_neighbours
from otuken_jax.models.weights import load_weights

# Rises when the same weights would come to mean another function. 2: heads summed over the stages.
ARCHITECTURE = 2
PARTS = ("text_encoder", "point_encoder", "fusion", "style_encoder", "decoder")

# Ours, for training from scratch on UTF-8 bytes (the ids of ByT5), beside the published ones.
TEXT_ENCODERS: dict[str, T5Config] = T5_CONFIGS | {
    "bytes-tiny": T5Config(384, 128, 32, 256, 2, 4),
    "bytes-small": T5Config(384, 512, 64, 1024, 6, 8),
}


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of every part. `text_encoder_name` also chooses the tokenizer."""

    text_encoder_name: str = "google/t5-v1_1-base"
    point_encoder: PointEEncoderConfig = field(default_factory=PointEEncoderConfig)
    latent_dim: int = 512
    style_dim: int = 256
    ornament_dim: int = 256
    num_queries: int = 8
    fusion_layers: int = 2
    num_heads: int = 8
    mapping_layers: int = 4
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    dtype: str = "float32"  # of the computation; parameters are float32
    remat: bool = False
    architecture: int = field(default=ARCHITECTURE, init=False)

    def __post_init__(self) -> None:
        if self.text_encoder_name not in TEXT_ENCODERS:
            raise ValueError(
                f"unknown text encoder {self.text_encoder_name!r}; "
                f"one of {', '.join(TEXT_ENCODERS)}"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """The inverse of `dataclasses.asdict`, also after a trip through JSON.

        Raises:
            KeyError, TypeError, ValueError: fields of another version.
        """
        values = dict(values)
        found = values.pop("architecture", 1)
        if found != ARCHITECTURE:
            raise ValueError(f"architecture {found}, where this one has {ARCHITECTURE}")
        decoder = {k: tuple(v) if isinstance(v, list) else v for k, v in values["decoder"].items()}
        return cls(
            **values
            | {
                "point_encoder": PointEEncoderConfig(**values["point_encoder"]),
                "decoder": DecoderConfig(**decoder),
            }
        )


class Pretrained(NamedTuple):
    """A part whose weights were ported; checkpoints name it instead of holding it."""

    part: str
    folder: str
    sha256: str


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Conditioning:
    """What the decoder reads: the latent, the tokens behind it, and the style."""

    latent: Float[Array, "b d"]
    tokens: Tokens
    style: Style


class Otuken3DModel(nnx.Module):
    """T5 and Point-E encoders -> latent fusion, style -> progressive voxel decoder.

    Args:
        text_encoder_name: a name of `TEXT_ENCODERS`. Weights are never downloaded here.
        voxel_size: resolution of the active stage, one of the decoder's stage resolutions.
        latent_dim: width of the latent and of the tokens.
        weights: folders that `python -m porting` wrote, by part: "text_encoder", "point_encoder".
            A part that is not named starts at random; `from_pretrained` loads a whole model.
        config: all sizes; overrides `text_encoder_name` and `latent_dim`.
        seed: of the initial weights.

    Raises:
        ValueError: an unknown text encoder, a voxel size that is no stage, or weights of a part
            that has none.
        UserError: a folder of `weights` is missing or does not fit.
    """

    def __init__(
        self,
        text_encoder_name: str = "google/t5-v1_1-base",
        voxel_size: int = 64,
        latent_dim: int = 512,
        *,
        weights: Mapping[str, str] | None = None,
        config: ModelConfig | None = None,
        seed: int = 0,
    ) -> None:
        config = config or ModelConfig(text_encoder_name=text_encoder_name, latent_dim=latent_dim)
        rngs = nnx.Rngs(params=seed)
        dtype = jnp.dtype(config.dtype)
        self.config = config
        self.frozen: tuple[str, ...] = ()
        self.pretrained: tuple[Pretrained, ...] = ()
        self.set_voxel_size(voxel_size)
        text_config = TEXT_ENCODERS[config.text_encoder_name]
        self.text_encoder = T5Encoder(text_config, dtype=dtype, remat=config.remat, rngs=rngs)
        if config.text_encoder_name not in T5_CONFIGS:
            look_at_neighbours(self.text_encoder)
        self.point_encoder = PointEEncoder(config.point_encoder, dtype=dtype, rngs=rngs)
        self.fusion = LatentFusion(
            text_config.d_model,
            config.point_encoder.width,
            config.latent_dim,
            num_queries=config.num_queries,
            num_layers=config.fusion_layers,
            num_heads=config.num_heads,
            dtype=dtype,
            rngs=rngs,
        )
        self.style_encoder = StyleEncoder(
            text_config.d_model,
            config.style_dim,
            config.ornament_dim,
            config.decoder.num_style_layers,
            mapping_layers=config.mapping_layers,
            num_heads=config.num_heads,
            dtype=dtype,
            rngs=rngs,
        )
        self.decoder = VoxelDecoder(
            config.decoder,
            config.latent_dim,
            config.style_dim,
            config.ornament_dim,
            dtype=dtype,
            remat=config.remat,
            rngs=rngs,
        )
        for part, folder in (weights or {}).items():
            self.load_pretrained(part, folder)

    @classmethod
    def from_pretrained(cls, directory: str) -> "Otuken3DModel":
        """Loads the best checkpoint of a training run's directory.

        Raises:
            UserError: there is no readable checkpoint.
        """
        # A local import: training builds on the models, only this convenience looks back.
        from otuken_jax.training.loading import load_model

        return load_model(directory).model

    def set_voxel_size(self, size: int) -> None:
        """Makes the stage of that resolution the active one; ValueError if there is none."""
        stages = self.config.decoder.stage_resolutions
        if size not in stages:
            raise ValueError(f"voxel size {size} is no stage; one of {', '.join(map(str, stages))}")
        self.stage = stages.index(size)

    @property
    def voxel_size(self) -> int:
        return self.config.decoder.stage_resolutions[self.stage]

    def gradient_checkpointing_enable(self) -> None:
        """Recomputes the blocks of text encoder and decoder in the backward pass.

        Less memory, more time, equal gradients. The point encoder and the fusion keep theirs.
        """
        self.config = dataclasses.replace(self.config, remat=True)
        self.text_encoder.remat = True
        self.decoder.remat = True

    def freeze(self, part: str) -> None:
        """Excludes a part (one of `PARTS`) from training; ValueError if there is no such part."""
        if part not in PARTS:
            raise ValueError(f"no part {part!r}; one of {', '.join(PARTS)}")
        self.frozen = tuple(sorted({*self.frozen, part}))

    def unfreeze(self, part: str) -> None:
        """Undoes `freeze`."""
        if part not in PARTS:
            raise ValueError(f"no part {part!r}; one of {', '.join(PARTS)}")
        self.frozen = tuple(p for p in self.frozen if p != part)

    def load_pretrained(self, part: str, folder: str, sha256: str | None = None) -> None:
        """Loads "text_encoder" or "point_encoder" from a folder that `porting` wrote.

        Raises:
            UserError: the folder is missing, does not fit, or is not the one of that `sha256`.
        """
        if part == "text_encoder":
            card = load_weights(self.text_encoder, folder, network="t5")
        elif part == "point_encoder":
            card = load_weights(self.point_encoder, folder, network="point-e/sdf", part="encoder")
        else:
            raise ValueError(f"no pretrained {part!r}; text_encoder or point_encoder")
        if sha256 is not None and card.sha256 != sha256:
            raise UserError(
                f"{folder} holds other weights than the checkpoint was trained with; "
                f"bring back those of sha256 {sha256}"
            )
        others = [p for p in self.pretrained if p.part != part]
        self.pretrained = (*others, Pretrained(part, folder, card.sha256))

    def pretrained_parts(self) -> tuple[str, ...]:
        """Names of the parts with ported weights."""
        return tuple(p.part for p in self.pretrained)

    def encode(self, inputs: dict[str, ArrayLike]) -> Conditioning:
        """Encodes a batch.

        `inputs`: text_ids, text_mask [b, l]; style_ids, style_mask [b, m]; points [b, n, 3] in
        domain units; has_text, has_points, has_style [b]. An absent modality's values are ignored.
        """
        inputs = {name: jnp.asarray(value) for name, value in inputs.items()}
        points = inputs["points"]
        text_mask = inputs["text_mask"].astype(bool) & inputs["has_text"][:, None]
        # The encoder must attend to something; the fusion ignores what it says then.
        safe_mask = inputs["text_mask"].astype(bool) | ~inputs["has_text"][:, None]
        text = self.text_encoder(inputs["text_ids"], safe_mask)
        point = self.point_encoder(points * POINT_E_SCALE)
        latent, tokens = self.fusion(text, text_mask, point, points, inputs["has_points"])
        style = self.encode_style(inputs["style_ids"], inputs["style_mask"], inputs["has_style"])
        return Conditioning(latent, tokens, style)

    def encode_style(self, ids: Array, mask: Array, has_style: Array) -> Style:
        """Style of a batch of style texts; the learned null style where `has_style` is False."""
        ids, has_style = jnp.asarray(ids), jnp.asarray(has_style)
        safe_mask = jnp.asarray(mask, bool) | ~has_style[:, None]
        return self.style_encoder(self.text_encoder(ids, safe_mask), safe_mask, has_style)

    def decode(
        self,
        conditioning: Conditioning,
        pose: Float[Array, "b 2"],
        *,
        stage: int | None = None,
        alpha: float | Array = 1.0,
        known: dict[int, KnownChart] | None = None,
        ornament_strength: float | Array = 1.0,
        ornament_mask: Float[Array, "b r r r"] | None = None,
    ) -> list[StageOutput]:
        """Outputs of all heads up to `stage` (the active one); see `VoxelDecoder`."""
        return self.decoder(
            conditioning.latent,
            conditioning.tokens,
            conditioning.style,
            pose,
            stage=self.stage if stage is None else stage,
            alpha=alpha,
            known=known,
            ornament_strength=ornament_strength,
            ornament_mask=ornament_mask,
        )

    def __call__(self, inputs: dict[str, ArrayLike], **kwargs) -> list[StageOutput]:
        """`encode`, then `decode` at the pose in `inputs["pose"]` or the canonical one."""
        conditioning = self.encode(inputs)
        b = conditioning.latent.shape[0]
        return self.decode(conditioning, inputs.get("pose", jnp.zeros((b, 2))), **kwargs)
