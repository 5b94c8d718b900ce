"""Makes a coloured point cloud from a text or a picture, with Point-E in JAX.

    python -m otuken_jax.points --text "a blue vase" --weights weights --out vase.ply
    python -m otuken_jax.points --image photo.png --weights weights --out cloud.ply

The weights are converted ones, see `python -m porting --help`; a missing one is named with the
command that brings it. CLIP, which reads the text, was trained on English: Turkish reaches it only
through your own words. Nothing is translated, so "vazo" works as far as CLIP knows the word.

Two CPU cores need about 45 minutes for a text and 90 for a picture: this is meant for a GPU.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from otuken_jax.errors import Parser, UserError, run_command


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m otuken_jax.points", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", help="what to make; English works best")
    source.add_argument("--image", type=Path, help="a picture of one object, plain background")
    add = parser.add_argument
    add("--weights", type=Path, required=True, help="folder of converted networks")
    add("--out", type=Path, required=True, help="the PLY file to write: 4,096 coloured points")
    add("--seed", type=int, default=0, help="the same seed gives the same cloud (default 0)")
    add(
        "--model",
        help="network for --image: base40M (default), base300M, base1B or base40M-imagevec",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(sys.argv[1:] if argv is None else argv)
    if arguments.out.suffix.lower() != ".ply":
        raise UserError(f"--out {arguments.out} must end in .ply")
    if arguments.text is not None and arguments.model:
        raise UserError("--model chooses a network for --image; leave it out with --text")
    # Slow imports come after the arguments are known to be readable.
    from otuken_jax.compile_cache import enable_compile_cache
    from otuken_jax.geometry.mesh_io import check_writable, write_atomic
    from otuken_jax.point_clouds import encode_cloud_ply, split_cloud
    from otuken_jax.point_generation import (
        IMAGE_MODELS,
        images_to_clouds,
        read_image,
        text_to_clouds,
    )

    check_writable(arguments.out)
    enable_compile_cache()
    if arguments.text is not None:
        clouds = text_to_clouds([arguments.text], arguments.weights, seed=arguments.seed)
    else:
        clouds = images_to_clouds(
            [read_image(arguments.image)],
            arguments.weights,
            model=arguments.model or IMAGE_MODELS[0],
            seed=arguments.seed,
        )
    write_atomic(arguments.out, encode_cloud_ply(*split_cloud(clouds[0])))
    print(arguments.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
