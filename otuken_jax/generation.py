"""From prompts to closed meshes, with a trained model."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from otuken_jax.data.text import Tokenizer, load_tokenizer
from otuken_jax.errors import UserError
from otuken_jax.geometry.mesh_io import (
    SurfaceMesh,
    decimate,
    field_to_mesh,
    remove_specks,
    smooth,
)
from otuken_jax.models.otuken3d import Conditioning
from otuken_jax.models.parameters import ModelDef, Params, split_model
from otuken_jax.models.style import mix_styles, scale_global
from otuken_jax.training.loading import LoadedModel

# Of the numbers of a prompt. Beyond them the field overflows, and the weights would be blamed.
LIMITS = {"mix": (0, 1), "style_strength": (-10, 10), "ornament_strength": (-10, 10)}


@dataclass(frozen=True)
class Prompt:
    """What to make: a text, points, or both.

    `text` without `style` goes to both encoders: one sentence is enough. Points without either
    give a plain object.

    Raises:
        UserError: a number is out of its `LIMITS`, or a point is not finite.
    """

    text: str | None = None
    style: str | None = None
    style2: str | None = None  # mixed with the style that text or `style` gives
    mix: float = 0.5  # 0: style, 1: style2
    style_strength: float = 1.0  # of palette, stroke, relief: 0 is the plain object's
    ornament_strength: float = 1.0  # of the ornament's relief and colour
    points: Float[np.ndarray, "n 3"] | None = None  # domain units, see `normalize_points`

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            number = getattr(self, name)
            if not low <= number <= high:
                option = name.replace("_", "-")
                raise UserError(f"the {option} is {number}; give a number from {low} to {high}")
        if self.points is not None and not np.isfinite(self.points).all():
            raise UserError("the point cloud holds NaN or infinity; remove those points")


@dataclass(frozen=True)
class Generated:
    """A mesh, and what the user should know about how it came about."""

    mesh: SurfaceMesh
    notes: tuple[str, ...]


@partial(jax.jit, static_argnums=(0, 1))
def predict(
    modeldef: ModelDef,
    stage: int,
    params: Params,
    inputs: dict[str, Array],
    strengths: dict[str, Array],
) -> tuple[Float[Array, "b r r r"], Float[Array, "b r r r 3"]]:
    """Field (logits) and colours (0..1) of a batch.

    `inputs` as `Otuken3DModel.encode` takes them, with style2_ids and style2_mask; `strengths`:
    mix, style and ornament, one number each.
    """
    model = modeldef.bind(params)
    conditioning = model.encode(inputs)
    other = model.encode_style(inputs["style2_ids"], inputs["style2_mask"], inputs["has_style"])
    null = model.encode_style(
        inputs["style2_ids"], inputs["style2_mask"], jnp.zeros_like(inputs["has_style"])
    )
    style = mix_styles(conditioning.style, other, weight=strengths["mix"])
    style = scale_global(style, null, strengths["style"])
    conditioning = Conditioning(conditioning.latent, conditioning.tokens, style)
    pose = jnp.zeros((len(inputs["has_text"]), 2))
    output = model.decode(conditioning, pose, stage=stage, ornament_strength=strengths["ornament"])[
        -1
    ]
    return output.field, output.color


class Generator:
    """Makes meshes one prompt at a time, so that no prompt's mesh depends on its neighbours."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.modeldef, self.params = split_model(loaded.model)
        self.stage = loaded.model.stage
        self.resolution = loaded.model.voxel_size
        self.step = loaded.step
        self.name = f"otuken_jax {loaded.model.voxel_size}^3, step {loaded.step}"
        if "data" not in loaded.meta:
            raise UserError(
                "the checkpoint does not say how its texts were read: an older version wrote it; "
                "train on with this one"
            )
        data = loaded.meta["data"]
        self.tokenizer: Tokenizer = load_tokenizer(data["tokenizer"])
        self.text_length = data["text_length"]
        self.style_length = data["style_length"]
        self.num_points = data["num_points"]

    def __call__(self, prompt: Prompt) -> Generated:
        """Generates one mesh.

        Raises:
            UserError: an empty prompt, neither text nor points, or the model sees nothing in it
                (an empty field).
        """
        inputs, notes = self.inputs(prompt)
        strengths = {
            "mix": prompt.mix if prompt.style2 is not None else 0.0,
            "style": prompt.style_strength,
            "ornament": prompt.ornament_strength,
        }
        strengths = {k: np.float32(v) for k, v in strengths.items()}
        field, colors = jax.device_get(
            predict(self.modeldef, self.stage, self.params, inputs, strengths)
        )
        mesh, specks = remove_specks(field_to_mesh(field[0], colors[0]))
        if specks:
            notes.append(f"{specks} loose specks under 0.5 % of the volume removed")
        return Generated(mesh, tuple(notes))

    @cached_property
    def model_name(self) -> str:
        """Resolution, step and the sha256 of the parameters."""
        digest = hashlib.sha256()
        for name in sorted(self.params):
            digest.update(name.encode() + np.asarray(self.params[name]).tobytes())
        return f"{self.name}, sha256 {digest.hexdigest()}"

    def describe(self, prompt: Prompt) -> dict[str, str | float]:
        """What a file says about its mesh: the fields of the prompt, and the model."""
        fields = dataclasses.asdict(dataclasses.replace(prompt, points=None))
        told = {k: v for k, v in fields.items() if v is not None}
        return {"prompt": told.pop("text", "")} | told | {"model": self.model_name}

    def inputs(self, prompt: Prompt) -> tuple[dict[str, np.ndarray], list[str]]:
        """Arrays of one prompt for `predict`, and notes on what was cut."""
        if prompt.text is None and prompt.points is None:
            raise UserError("nothing to make; give a text, an image or points")
        style = prompt.style if prompt.style is not None else prompt.text
        style2 = prompt.style2 if prompt.style2 is not None else style
        inputs: dict[str, np.ndarray] = {}
        notes, cut = [], set()
        for name, text, length in (
            ("text", prompt.text, self.text_length),
            ("style", style, self.style_length),
            ("style2", style2, self.style_length),
        ):
            if text is None:
                blank = np.zeros((1, length), np.int32)
                inputs |= {f"{name}_ids": blank, f"{name}_mask": blank.astype(bool)}
                continue
            tokens = self.tokenizer.tokenize([text], length)
            inputs |= {f"{name}_ids": tokens.ids, f"{name}_mask": tokens.mask}
            if tokens.truncated and (text, length) not in cut:
                cut.add((text, length))
                notes.append(
                    f"the {name} is longer than {length} tokens and was cut: {text[:40]!r}..."
                )
        points = np.zeros((self.num_points, 3), np.float32)
        if prompt.points is not None:
            if not len(prompt.points):
                raise UserError("the point cloud is empty; give one with points")
            points = prompt.points[_spread(len(prompt.points), self.num_points)]
        inputs |= {
            "points": points[None].astype(np.float32),
            "has_text": np.array([prompt.text is not None]),
            "has_points": np.array([prompt.points is not None]),
            "has_style": np.array([style is not None]),
        }
        return inputs, notes


def refine(generated: Generated, smooth_steps: int, target: int | float | None) -> Generated:
    """The mesh smoothed and then decimated.

    Args:
        smooth_steps: see `smooth`; 0 leaves it as it is.
        target: a number of faces, or the share of them to keep; None keeps all.
    """
    mesh, notes = smooth(generated.mesh, smooth_steps), list(generated.notes)
    if target is not None:
        faces = target if isinstance(target, int) else max(4, int(target * len(mesh.faces)))
        mesh = decimate(mesh, faces)
        if len(mesh.faces) > faces:
            notes.append(f"{len(mesh.faces)} faces stay: with {faces} the shape would be lost")
    return Generated(mesh, tuple(notes))


def _spread(available: int, wanted: int) -> np.ndarray:
    """`wanted` indices spread evenly over `available` points, repeated if there are too few."""
    return (
        (np.arange(wanted) * available // wanted)
        if available >= wanted
        else (np.arange(wanted) % available)
    )


def read_prompts(lines: Sequence[str]) -> list[str]:
    """Prompts of a file, one a line; empty lines and lines starting with # are left out."""
    return [s for line in lines if (s := line.strip()) and not s.startswith("#")]
