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
import dataclasses
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from otuken_jax.errors import Parser, UserError, natural, run_command

# Options that mean nothing without another: which one, and what they are if they are not given.
DEPENDENT = {
    "mix": ("style2", 0.5),
    "weights": ("image", "weights"),
    "image_model": ("image", "base40M"),
    "seed": ("image", 0),
}
TRANSLITERATION = str.maketrans("çğıöşüâîû", "cgiosuaiu")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m otuken_jax.generate", description=__doc__)
    add = parser.add_argument
    add("--checkpoint", required=True, help="the workdir of a training run")
    add("--text", action="append", default=[], help="what to make; repeat for several")
    add("--prompts", help="a UTF-8 file with one prompt a line")
    add("--style", help="style and motif; without it the text says that too")
    add("--style2", help="a second style, mixed with --style by --mix")
    add("--mix", type=float, help="0: all --style, 1: all --style2 (default 0.5)")
    add("--style-strength", type=float, default=1.0, help="of palette and stroke (default 1)")
    add("--ornament-strength", type=float, default=1.0, help="of the relief (default 1)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--points", help="a PLY point cloud that the shape should follow")
    source.add_argument("--image", help="a picture of one object, plain background")
    add("--weights", help="converted CLIP and Point-E (default weights)")
    add("--image-model", help="Point-E network for --image (default base40M)")
    add("--seed", type=natural, help="of the cloud for --image (default 0)")
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
    return f"{number:02d}-{'-'.join(words)[:60]}".rstrip("-")  # no words are left of an emoji


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


def check_options(arguments: argparse.Namespace) -> None:
    """Fills in what was not given; UserError for a useless option or a number out of its range."""
    from otuken_jax.geometry.mesh_io import check_size

    for name, (other, default) in DEPENDENT.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
        elif getattr(arguments, other) is None:
            option = name.replace("_", "-")
            raise UserError(f"--{option} does nothing without --{other}; give both or neither")
    if not 0 <= arguments.smooth <= 20:
        raise UserError(f"--smooth is {arguments.smooth}; give 1 to 20 steps")
    if arguments.size_mm is not None:
        check_size(arguments.size_mm)


def check_targets(out: Path, names: Sequence[str]) -> None:
    """UserError unless files of these names can be written to the folder; it need not exist."""
    try:
        found = next(path for path in (out, *out.parents) if path.exists())
        writable = found.is_dir() and os.access(found, os.W_OK)
        folders = [name for name in names if (out / name).is_dir()]
    except OSError as error:
        raise UserError(
            f"cannot write to {out} ({error.strerror}); choose another --out"
        ) from error
    if not writable:
        reason = "may not be written" if found.is_dir() else "is a file"
        raise UserError(f"cannot write to {out}: {found} {reason}; choose another --out")
    if folders:
        raise UserError(f"cannot write {out / folders[0]}: it is a folder; choose another --out")


def collect_prompts(arguments: argparse.Namespace) -> list[str | None]:
    """The prompts of --text and --prompts, [None] for a picture or points alone.

    Raises:
        UserError: there is nothing to make, the file cannot be read or has no prompt, or a text is
            empty or no UTF-8.
    """
    from otuken_jax.data.text import normalize
    from otuken_jax.generation import read_prompts

    texts: list[str | None] = list(arguments.text)
    if arguments.prompts is not None:
        try:
            lines = Path(arguments.prompts).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the prompts in {arguments.prompts}: {error}") from error
        prompts = read_prompts(lines)
        if not prompts:
            raise UserError(f"{arguments.prompts} holds no prompt; write one a line")
        texts += prompts
    if not texts and arguments.image is None and arguments.points is None:
        raise UserError("nothing to make; give --text, --prompts, --image or --points")
    if not texts and arguments.style2 is not None and arguments.style is None:
        raise UserError("--style2 has nothing to be mixed with; give --style or --text too")
    given = [("text", text) for text in texts]
    given += [(name, getattr(arguments, name)) for name in ("style", "style2")]
    for name, text in given:
        if text is not None and not normalize(text):
            raise UserError(f"the {name} is empty; give words such as 'lale motifli vazo'")
    return texts or [None]


def read_points(arguments: argparse.Namespace) -> Callable[[], Float[np.ndarray, "n 3"] | None]:
    """Reads --points or --image; the function returned makes the points of domain units.

    A picture takes minutes to become a cloud: what can be wrong with it is found here already.
    """
    from otuken_jax.geometry.mesh_io import normalize_points, read_point_cloud

    if arguments.points is not None:
        points = normalize_points(read_point_cloud(arguments.points)[0])
        return lambda: points
    if arguments.image is None:
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
    from otuken_jax.generation import Generator, Prompt, refine
    from otuken_jax.geometry.mesh_io import export

    # All that can be wrong is looked at before the model is loaded; the first file makes --out.
    formats = parse_formats(arguments.format)
    check_options(arguments)
    prompts = [
        Prompt(
            text,
            style=arguments.style,
            style2=arguments.style2,
            mix=arguments.mix,
            style_strength=arguments.style_strength,
            ornament_strength=arguments.ornament_strength,
        )
        for text in collect_prompts(arguments)
    ]
    target = parse_target(arguments.decimate)
    out, source = Path(arguments.out), Path(arguments.image or arguments.points or "")
    stems = [file_stem(i, p.text or source.stem) for i, p in enumerate(prompts, start=1)]
    suffixes = formats if arguments.no_preview else [*formats, "png"]
    check_targets(out, [f"{stem}.{suffix}" for stem in stems for suffix in suffixes])
    make_points = read_points(arguments)

    from otuken_jax.compile_cache import enable_compile_cache
    from otuken_jax.geometry.render import Painter, save_png
    from otuken_jax.training.loading import load_model

    enable_compile_cache()
    generator = Generator(load_model(arguments.checkpoint))
    points = make_points()
    paint = Painter(lambda words: print(f"note: {words}", file=sys.stderr))
    for stem, wanted in zip(stems, prompts, strict=True):
        prompt = dataclasses.replace(wanted, points=points)
        generated = refine(generator(prompt), arguments.smooth, target)
        for note in generated.notes:
            print(f"note: {note}", file=sys.stderr)
        info = generator.describe(prompt)
        if arguments.image is not None:
            info["seed"] = arguments.seed
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
