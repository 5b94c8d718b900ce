"""How well the library's motifs can be told apart at a resolution: the ceiling of motif accuracy.

    python benchmarks/motif_ceiling.py --shapes 24 --resolution 64

Of each validation recipe of the whole library, the nearest motif by IoU in the ornament band among
the same recipe with every motif; a tie is wrong. A true shape equals its own candidate, so it is
right unless two motifs fall together. The ceiling of an evaluation is the true shape resampled onto
a grid half a voxel off and back; the blurred shape (the distance smoothed by 1.5 voxels) says how
much room there is beyond. About 1 s a shape at 64^3.
"""

import argparse

import numpy as np
from scipy.ndimage import gaussian_filter

from otuken_jax.data.motifs.recipes import HOSTS, MOTIFS, STYLES, hold_out, sample_recipes
from otuken_jax.data.motifs.shapes import build_fields
from otuken_jax.data.records import quantize_distance
from otuken_jax.evaluation.baselines import resampled
from otuken_jax.evaluation.examples import at_resolution
from otuken_jax.evaluation.library import Library

BLUR = 1.5  # voxels
LIBRARY = Library(tuple(HOSTS), tuple(MOTIFS), tuple(STYLES), coarsest=32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=24)
    parser.add_argument("--resolution", type=int, default=64)
    arguments = parser.parse_args()
    recipes = sample_recipes(1, 7, hold_out(7), num_val=arguments.shapes)["val"]
    right, wrong = [], []
    for recipe in recipes:
        sdf = build_fields(recipe, arguments.resolution, coarsest=LIBRARY.coarsest).sdf
        true = -at_resolution(quantize_distance(sdf), arguments.resolution)  # as records hold it
        band = LIBRARY.band(recipe, arguments.resolution)
        own = LIBRARY.motifs.index(recipe.motif)
        shapes = {"true": true, "ceiling": resampled(true), "blurred": gaussian_filter(true, BLUR)}
        hits = []
        for name, field in shapes.items():
            ious = band.ious(field > 0)
            others = np.delete(ious, own)
            hits.append(ious[own] > others.max())  # as the evaluation counts: a tie is wrong
            if not hits[-1]:
                nearest = np.delete(LIBRARY.motifs, own)[others.argmax()]
                print(f"{recipe}: {name} is nearest to {nearest}", flush=True)
            if name == "true":
                wrong.append(others.max())
        right.append(hits)
    shares = zip(shapes, np.mean(right, axis=0), strict=True)
    print(f"{len(recipes)} shapes at {arguments.resolution}^3, {len(LIBRARY.motifs)} motifs each")
    print("motif accuracy: " + ", ".join(f"{name} {share:.3f}" for name, share in shares))
    print(f"nearest wrong motif's band IoU: mean {np.mean(wrong):.2f}, highest {max(wrong):.2f}")


if __name__ == "__main__":
    main()
