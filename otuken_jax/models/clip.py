"""CLIP: text and image embeddings, and the patch grid that Point-E's image models read.

Radford et al. 2021 (arXiv:2103.00020).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int
from PIL import Image

from otuken_jax.models.attention import attention

PIXEL_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
PIXEL_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


@dataclasses.dataclass(frozen=True)
class CLIPConfig:
    """Sizes; the defaults are `openai/clip-vit-large-patch14`."""

    projection_dim: int = 768
    vocab_size: int = 49408
    context_length: int = 77
    text_width: int = 768
    text_mlp_width: int = 3072
    text_layers: int = 12
    text_heads: int = 12
    image_size: int = 224
    patch_size: int = 14
    vision_width: int = 1024
    vision_mlp_width: int = 4096
    vision_layers: int = 24
    vision_heads: int = 16
    layer_norm_epsilon: float = 1e-5


CLIP_CONFIGS = {"openai/clip-vit-large-patch14": CLIPConfig()}


def preprocess_image(image: Image.Image, size: int = 224) -> Float[np.ndarray, "size size 3"]:
    """A picture as CLIP's vision model wants it: RGB, shortest side `size`, centre, normalised.

    Transparency is laid over white, as in the image processor of transformers.
    """
    if image.mode != "RGB":
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    short = min(image.size)
    # Both sides are cut down to whole pixels, as in the training pipeline.
    width, height = (int(size * side / short) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32)
    return (pixels / np.float32(255) - PIXEL_MEAN) / PIXEL_STD


def _norm(width: int, config: CLIPConfig, dtype: DTypeLike, rngs: nnx.Rngs) -> nnx.LayerNorm:
    epsilon = config.layer_norm_epsilon
    return nnx.LayerNorm(width, epsilon=epsilon, use_fast_variance=False, dtype=dtype, rngs=rngs)


class CLIPBlock(nnx.Module):
    """x += attention(norm(x)); x += mlp(norm(x)), with the quick GELU x * sigmoid(1.702 x)."""

    def __init__(
        self,
        width: int,
        mlp_width: int,
        num_heads: int,
        config: CLIPConfig,
        *,
        causal: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        def linear(size: int, out: int) -> nnx.Linear:
            return nnx.Linear(size, out, dtype=dtype, rngs=rngs)

        self.attention_norm = _norm(width, config, dtype, rngs)
        self.query, self.key, self.value, self.out = (linear(width, width) for _ in range(4))
        self.mlp_norm = _norm(width, config, dtype, rngs)
        self.up, self.down = linear(width, mlp_width), linear(mlp_width, width)
        self.num_heads = num_heads
        self.causal = causal

    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        y = self.attention_norm(x)
        q, k, v = (
            project(y).reshape(*y.shape[:2], self.num_heads, -1)
            for project in (self.query, self.key, self.value)
        )
        y = attention(q, k, v, is_causal=self.causal)
        x = x + self.out(y.reshape(*y.shape[:2], -1))
        y = self.up(self.mlp_norm(x))
        return x + self.down(y * jax.nn.sigmoid(1.702 * y))


class CLIPText(nnx.Module):
    """Causal transformer over tokens; the feature at the end token stands for the text."""

    def __init__(self, config: CLIPConfig, *, dtype: DTypeLike, rngs: nnx.Rngs):
        width, init = config.text_width, nnx.initializers.normal(0.02)
        self.embedding = nnx.Param(init(rngs.params(), (config.vocab_size, width), jnp.float32))
        self.positions = nnx.Param(init(rngs.params(), (config.context_length, width), jnp.float32))
        sizes = (width, config.text_mlp_width, config.text_heads, config)
        self.blocks = nnx.List(
            [
                CLIPBlock(*sizes, causal=True, dtype=dtype, rngs=rngs)
                for _ in range(config.text_layers)
            ]
        )
        self.norm = _norm(width, config, dtype, rngs)
        self.dtype = dtype

    def __call__(self, ids: Int[Array, "b l"]) -> Float[Array, "b d"]:
        x = self.embedding[...][ids] + self.positions[...][: ids.shape[1]]
        x = x.astype(self.dtype)
        for block in self.blocks:
            x = block(x)
        # The end token has the highest id; what follows its first occurrence is padding.
        end = jnp.argmax(ids, axis=-1)
        return self.norm(jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0])


class CLIPVision(nnx.Module):
    """Vision transformer: a class token and one token per patch, row by row."""

    def __init__(self, config: CLIPConfig, *, dtype: DTypeLike, rngs: nnx.Rngs):
        width, init = config.vision_width, nnx.initializers.normal(0.02)
        patch, num_patches = config.patch_size, (config.image_size // config.patch_size) ** 2
        self.class_embedding = nnx.Param(init(rngs.params(), (width,), jnp.float32))
        self.patches = nnx.Conv(
            3,
            width,
            (patch, patch),
            strides=patch,
            padding="VALID",
            use_bias=False,
            dtype=dtype,
            rngs=rngs,
        )
        self.positions = nnx.Param(init(rngs.params(), (num_patches + 1, width), jnp.float32))
        self.input_norm = _norm(width, config, dtype, rngs)
        sizes = (width, config.vision_mlp_width, config.vision_heads, config)
        self.blocks = nnx.List(
            [
                CLIPBlock(*sizes, causal=False, dtype=dtype, rngs=rngs)
                for _ in range(config.vision_layers)
            ]
        )
        self.output_norm = _norm(width, config, dtype, rngs)
        self.dtype = dtype

    def __call__(self, pixels: Float[Array, "b h w 3"]) -> Float[Array, "b tokens d"]:
        """All tokens after the last block, class token first, before the output norm."""
        x = self.patches(pixels.astype(self.dtype))
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        first = jnp.broadcast_to(self.class_embedding[...], (x.shape[0], 1, x.shape[-1]))
        x = jnp.concatenate([first.astype(self.dtype), x], axis=1)
        x = self.input_norm(x + self.positions[...].astype(self.dtype))
        for block in self.blocks:
            x = block(x)
        return x


class CLIP(nnx.Module):
    """Both towers; embeddings are not normalised, parameters stay float32."""

    def __init__(self, config: CLIPConfig, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs):
        self.text = CLIPText(config, dtype=dtype, rngs=rngs)
        self.vision = CLIPVision(config, dtype=dtype, rngs=rngs)
        self.text_projection, self.vision_projection = (
            nnx.Linear(width, config.projection_dim, use_bias=False, dtype=dtype, rngs=rngs)
            for width in (config.text_width, config.vision_width)
        )
        self.config = config

    def encode_text(self, ids: Int[Array, "b l"]) -> Float[Array, "b projection"]:
        """Joint embedding of token ids; each row needs the end token, at most 77 tokens."""
        return self.text_projection(self.text(ids))

    def encode_image(self, pixels: Float[Array, "b h w 3"]) -> Float[Array, "b projection"]:
        """Joint embedding of preprocessed images."""
        return self.vision_projection(self.vision.output_norm(self.vision(pixels)[:, 0]))

    def encode_grid(self, pixels: Float[Array, "b h w 3"]) -> Float[Array, "b patches d"]:
        """Patch features after the last block without the class token, row by row: Point-E's input.

        For ViT-L/14: [b, 256, 1024]. No output norm and no projection.
        """
        return self.vision(pixels)[:, 1:]
