"""Makes closed 3D meshes from Turkish prompts, pictures or points with a trained model.

    python -m otuken_jax.generate --checkpoint runs/v64 --out meshes --text "lale motifli vazo"
    python -m otuken_jax.generate --checkpoint runs/v64 --out meshes --image photo.png

A picture becomes a Point-E cloud that the shape follows, alone or with --text and --style. For that
--weights holds CLIP and Point-E, converted by `python -m porting`; a missing one is named with the
command that brings it. CLIP sees the picture alone: your Turkish words go to the text encoder of
the checkpoint. Where CLIP reads a text (`python -m otuken_jax.points --text`), Turkish reaches it
only through your own words: it was trained on English and nothing is translated.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from otuken_jax.errors import Parser, UserError, natural, run_command

TRANSLITERATION = str.maketrans("çğıöşüâîû", "cgiosuaiu")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m otuken_jax.generate", description=__doc__)
    add = parser.add_argument
    add("--checkpoint", required=True, help="the workdir of a training run")
    add("--text", action="append", default=[], help="what to make; repeat for several")
    add("--prompts", help="a UTF-8 file with one prompt a line")
    add("--style", help="style and motif; without it the text says that too")
    add("--style2", help="a second style, mixed with --style by --mix")
    add("--mix", type=float, default=0.5, help="0: all --style, 1: all --style2 (default 0.5)")
    add("--style-strength", type=float, default=1.0, help="of palette and stroke (default 1)")
    add("--ornament-strength", type=float, default=1.0, help="of the relief (default 1)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--points", help="a PLY point cloud that the shape should follow")
    source.add_argument("--image", help="a picture of one object, plain background")
    add("--weights", default="weights", help="converted CLIP and Point-E (default weights)")
    add("--image-model", default="base40M", help="Point-E network for --image (default base40M)")
    add("--seed", type=natural, default=0, help="of the cloud for --image (default 0)")
    add("--out", required=True, help="folder for the meshes and pictures")
    add("--format", default="glb", help="of glb, obj, stl, ply, 3mf; commas between (default glb)")
    add(
        "--smooth",
        type=int,
        nargs="?",
        const=10,
        default=0,
        metavar="STEPS",
        help="take off the steps of the voxels, 1 to 20 times (10 without a number); keeps volume",
    )
    add("--decimate", metavar="N", help="at most N faces, or a share of them such as 0.25")
    add(
        "--size-mm",
        type=float,
        metavar="MM",
        help="longest side, standing on the ground: millimetres and z up in stl, 3mf, obj and ply; "
        "metres and y up in glb. Without it 3mf takes 100 mm, the others a cube of 2 units",
    )
    add("--no-preview", action="store_true", help="write no PNG beside the meshes")
    return parser.parse_args(argv)


def file_stem(number: int, text: str) -> str:
    """'01-iznik-uslubunda-lale': a name that every file system takes."""
    from otuken_jax.data.text import normalize

    words = re.findall(r"[a-z0-9]+", normalize(text).lower().translate(TRANSLITERATION))
    return f"{number:02d}-" + "-".join(words)[:60].strip("-")


def parse_formats(names: str) -> list[str]:
    """Names separated by commas; UserError for one that cannot be written."""
    from otuken_jax.geometry.mesh_io import FORMATS

    formats = [name.strip().lower() for name in names.split(",") if name.strip()]
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise UserError(f"unknown format {names!r}; choose from {', '.join(FORMATS)}")
    return formats


def parse_target(text: str | None) -> int | float | None:
    """--decimate: a number of faces, or a share between 0 and 1."""
    if text is None:
        return None
    try:
        target = int(text) if text.strip().isdecimal() else float(text)
    except ValueError:
        target = 0
    if (isinstance(target, int) and target >= 4) or 0 < target < 1:
        return target
    raise UserError(f"--decimate is {text!r}; give a number of faces from 4, or a share like 0.25")


def check_numbers(arguments: argparse.Namespace) -> None:
    """UserError for the first option that is out of its range."""
    if not 0 <= arguments.mix <= 1:
        raise UserError(f"--mix is {arguments.mix}; give a number from 0 to 1")
    if not 0 <= arguments.smooth <= 20:
        raise UserError(f"--smooth is {arguments.smooth}; give 1 to 20 steps")
    if arguments.size_mm is not None and not 0 < arguments.size_mm < float("inf"):
        raise UserError(f"--size-mm is {arguments.size_mm}; give a size above 0 mm, such as 120")


def collect_prompts(arguments: argparse.Namespace) -> list[str | None]:
    """The prompts of --text and --prompts, [None] for a picture or points alone.

    Raises:
        UserError: there is nothing to make, or a prompt is empty.
    """
    from otuken_jax.generation import read_prompts

    texts: list[str | None] = list(arguments.text)
    if any(not text.strip() for text in texts):
        raise UserError("a --text is empty; say what to make, such as 'lale motifli vazo'")
    if arguments.prompts:
        try:
            texts += read_prompts(Path(arguments.prompts).read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the prompts in {arguments.prompts}: {error}") from error
    if not texts and not (arguments.image or arguments.points):
        raise UserError("nothing to make; give --text, --prompts, --image or --points")
    if not texts and arguments.style2 and not arguments.style:
        raise UserError("--style2 has nothing to be mixed with; give --style or --text too")
    return texts or [None]


def read_points(arguments: argparse.Namespace) -> Callable[[], Float[np.ndarray, "n 3"] | None]:
    """Reads --points or --image; the function returned makes the points of domain units.

    A picture takes minutes to become a cloud: what can be wrong with it is found here already.
    """
    from otuken_jax.geometry.mesh_io import normalize_points, read_point_cloud

    if arguments.points:
        points = normalize_points(read_point_cloud(arguments.points)[0])
        return lambda: points
    if not arguments.image:
        return lambda: None
    from otuken_jax.point_generation import check_image_weights, images_to_clouds, read_image

    weights, model = Path(arguments.weights), arguments.image_model
    image = read_image(Path(arguments.image))
    check_image_weights(weights, model)

    def sample() -> Float[np.ndarray, "n 3"]:
        cloud = images_to_clouds([image], weights, model=model, seed=arguments.seed)[0]
        return normalize_points(cloud[:, :3])

    return sample


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(sys.argv[1:] if argv is None else argv)
    from otuken_jax.geometry.mesh_io import export

    # All that can be wrong is looked at before the model is loaded.
    formats = parse_formats(arguments.format)
    texts = collect_prompts(arguments)
    check_numbers(arguments)
    target = parse_target(arguments.decimate)
    make_points = read_points(arguments)
    out = Path(arguments.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {out} ({error.strerror}); choose another --out") from error

    from otuken_jax.compile_cache import enable_compile_cache
    from otuken_jax.generation import Generator, Prompt, refine
    from otuken_jax.geometry.render import Painter, save_png
    from otuken_jax.training.checkpoints import load_model

    enable_compile_cache()
    generator = Generator(load_model(arguments.checkpoint))
    points = make_points()
    paint = Painter(lambda words: print(f"note: {words}", file=sys.stderr))
    for number, text in enumerate(texts, start=1):
        prompt = Prompt(
            text,
            style=arguments.style,
            style2=arguments.style2,
            mix=arguments.mix,
            style_strength=arguments.style_strength,
            ornament_strength=arguments.ornament_strength,
            points=points,
        )
        generated = refine(generator(prompt), arguments.smooth, target)
        for note in generated.notes:
            print(f"note: {note}", file=sys.stderr)
        info = generator.describe(prompt) | {"seed": arguments.seed}
        stem = file_stem(number, text or Path(arguments.image or arguments.points).stem)
        for name in formats:
            path = out / f"{stem}.{name}"
            export(generated.mesh, path, name, size_mm=arguments.size_mm, info=info)
            print(path)
        picture = None if arguments.no_preview else paint(generated.mesh)
        if picture is not None:
            save_png(picture, out / f"{stem}.png")
            print(out / f"{stem}.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
