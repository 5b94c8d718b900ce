"""Text or an image to coloured point clouds, with CLIP and Point-E's converted weights.

The folder of weights holds one converted network per name: `clip`, `point-e/base40M-textvec`,
`point-e/base40M`, `point-e/upsample`, ...
"""

import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float
from PIL import Image, ImageOps

from otuken_jax.errors import UserError
from otuken_jax.models.clip import CLIP, CLIPConfig, preprocess_image
from otuken_jax.models.point_e import PointDiffusionConfig, PointDiffusionTransformer
from otuken_jax.models.weights import CARD_FILE, load_weights, read_card
from otuken_jax.point_sampler import (
    BASE_STAGE,
    UNGUIDED_UPSAMPLE_STAGE,
    UPSAMPLE_STAGE,
    PointCloudSampler,
)

CLIP_SOURCE = "openai/clip-vit-large-patch14"
TEXT_MODEL = "base40M-textvec"
IMAGE_MODELS = ("base40M", "base300M", "base1B", "base40M-imagevec")
UPSAMPLER = "upsample"
TEXT_STAGES = (BASE_STAGE, UNGUIDED_UPSAMPLE_STAGE)
IMAGE_STAGES = (BASE_STAGE, UPSAMPLE_STAGE)


def text_to_clouds(
    texts: Sequence[str], weights: Path, *, seed: int = 0
) -> Float[np.ndarray, "b n 6"]:
    """4,096 points per text, raw units; CLIP reads English, Turkish only through shared words.

    Raises:
        UserError: weights are missing, or a text is empty or longer than CLIP reads.
    """
    check_weights(weights, ["clip", f"point-e/{TEXT_MODEL}", f"point-e/{UPSAMPLER}"])
    ids = _tokenize(texts, weights / "clip")
    embedding = _run_clip(weights, CLIP.encode_text, ids)
    sampler = PointCloudSampler(
        [load_point_diffusion(weights, name) for name in (TEXT_MODEL, UPSAMPLER)], TEXT_STAGES
    )
    return np.asarray(sampler(jax.random.key(seed), len(texts), [_unit(embedding), None]))


def images_to_clouds(
    images: Sequence[Image.Image], weights: Path, *, model: str = IMAGE_MODELS[0], seed: int = 0
) -> Float[np.ndarray, "b n 6"]:
    """4,096 points per image, raw units; objects on a plain background work best.

    Raises:
        UserError: weights are missing, or `model` is none of IMAGE_MODELS.
    """
    check_image_weights(weights, model)
    networks = [load_point_diffusion(weights, name) for name in (model, UPSAMPLER)]
    size = CLIPConfig(**read_card(weights / "clip", "clip").config).image_size
    pixels = jnp.asarray(np.stack([preprocess_image(image, size) for image in images]))
    vector, grid = _run_clip(weights, _encode_image, pixels)
    base = _unit(vector) if networks[0].config.condition == "vector" else grid
    sampler = PointCloudSampler(networks, IMAGE_STAGES)
    return np.asarray(sampler(jax.random.key(seed), len(images), [base, grid]))


def read_image(path: Path) -> Image.Image:
    """A picture, upright and in RGB; what is transparent becomes white.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read the picture {path}: {error}") from error
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def check_weights(weights: Path, networks: Sequence[str]) -> None:
    """Names, for the first converted network that is not there, the command that brings it."""
    for network in networks:
        folder = weights / network
        if not (folder / CARD_FILE).is_file():
            source = CLIP_SOURCE if network == "clip" else network.removeprefix("point-e/")
            raise UserError(
                f"no weights of {network} at {folder}; bring them with "
                f"`{_port_command(network, source, folder)}`"
            )


def _port_command(network: str, source: str, folder: Path) -> str:
    """The line for a shell that converts published weights."""
    return f"python -m porting {network} {source} --out {shlex.quote(str(folder))}"


def check_image_weights(weights: Path, model: str) -> None:
    """UserError unless all that `images_to_clouds` needs is there."""
    if model not in IMAGE_MODELS:
        raise UserError(f"no image model {model!r}; choose from {', '.join(IMAGE_MODELS)}")
    check_weights(weights, ["clip", f"point-e/{model}", f"point-e/{UPSAMPLER}"])


def load_point_diffusion(weights: Path, name: str) -> PointDiffusionTransformer:
    """A converted diffusion network of Point-E.

    Raises:
        UserError: the folder does not hold it.
    """
    folder, network = weights / "point-e" / name, f"point-e/{name}"
    config = PointDiffusionConfig(**read_card(folder, network).config)
    model = nnx.eval_shape(lambda: PointDiffusionTransformer(config, rngs=nnx.Rngs(0)))
    load_weights(model, folder, network=network)
    return model


def _run_clip(weights: Path, encode: Callable[..., Array | tuple[Array, ...]], inputs: Array):
    """Loads CLIP, runs one of its encoders and lets it go."""
    config = CLIPConfig(**read_card(weights / "clip", "clip").config)
    clip = nnx.eval_shape(lambda: CLIP(config, rngs=nnx.Rngs(0)))
    load_weights(clip, weights / "clip", network="clip")
    return _encode(encode, *nnx.split(clip), inputs)


@partial(jax.jit, static_argnums=(0, 1))
def _encode(encode, graphdef, state, inputs: Array):
    return encode(nnx.merge(graphdef, state), inputs)


def _encode_image(clip: CLIP, pixels: Array) -> tuple[Array, Array]:
    return clip.encode_image(pixels), clip.encode_grid(pixels)


def _unit(embedding: Float[Array, "b d"]) -> Float[Array, "b d"]:
    return embedding / jnp.linalg.norm(embedding, axis=-1, keepdims=True)


def _tokenize(texts: Sequence[str], folder: Path) -> Array:
    """CLIP's ids [b, 77], with the tokenizer that was converted along with the weights."""
    from transformers import CLIPTokenizer

    length = CLIPConfig(**read_card(folder, "clip").config).context_length
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # damaged files raise anything
        raise UserError(
            f"no CLIP tokenizer in {folder}; `{_port_command('clip', CLIP_SOURCE, folder)}` "
            "brings it along"
        ) from error
    for text in texts:
        if not text.strip():
            raise UserError("the text is empty; say what to make")
        if (count := len(tokenizer(text).input_ids)) > length:
            raise UserError(f"the text has {count} CLIP tokens, {length} can be read; shorten it")
    ids = tokenizer(list(texts), padding="max_length", max_length=length).input_ids
    return jnp.asarray(ids, jnp.int32)
