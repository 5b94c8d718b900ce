"""How well the library's motifs can be told apart at a resolution: the ceiling of motif accuracy.

    python benchmarks/motif_ceiling.py --shapes 24 --resolution 64

Of each validation recipe of the whole library, the true shape is compared with the same recipe
under every motif, by IoU over the voxels that the ornament could change. A true shape equals its
own candidate, so its accuracy is below one only where two motifs fall together; the blurred shape
(the distance smoothed by 1.5 voxels) says how much room there is. About 6 s a shape at 64^3.
"""

import argparse
import dataclasses

import numpy as np
from scipy.ndimage import gaussian_filter

from otuken_jax.data.motifs.recipes import MOTIFS, Recipe, hold_out, sample_recipes
from otuken_jax.data.motifs.shapes import band_region, build_fields
from otuken_jax.metrics import iou

BLUR = 1.5  # voxels


def band_ious(recipe: Recipe, resolution: int) -> np.ndarray:
    """IoU in the band of the true and of the blurred shape with every motif, [2, motifs]."""
    fields = [
        build_fields(dataclasses.replace(recipe, motif=motif), resolution, coarsest=32).sdf
        for motif in MOTIFS
    ]
    region = band_region(recipe, resolution, coarsest=32)
    true = fields[list(MOTIFS).index(recipe.motif)]
    candidates = [field[region] < 0 for field in fields]
    shapes = (true < 0, gaussian_filter(true, BLUR) < 0)
    return np.array([[iou(shape[region], c) for c in candidates] for shape in shapes])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=24)
    parser.add_argument("--resolution", type=int, default=64)
    arguments = parser.parse_args()
    recipes = sample_recipes(1, 7, hold_out(7), num_val=arguments.shapes)["val"]
    right, wrong = [], []
    for recipe in recipes:
        ious = band_ious(recipe, arguments.resolution)
        own = list(MOTIFS).index(recipe.motif)
        right.append(ious.argmax(axis=1) == own)
        wrong.append(np.delete(ious[0], own).max())
    true, blurred = np.mean(right, axis=0)
    print(f"{len(recipes)} shapes at {arguments.resolution}^3, {len(MOTIFS)} motifs each")
    print(f"motif accuracy: true shape {true:.3f}, blurred {blurred:.3f}")
    print(f"nearest wrong motif's band IoU: mean {np.mean(wrong):.2f}, highest {max(wrong):.2f}")


if __name__ == "__main__":
    main()
