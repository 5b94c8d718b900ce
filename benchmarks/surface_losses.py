"""Goes on training a quickstart checkpoint for N steps with and without each surface term.

    python benchmarks/surface_losses.py --workdir runs/quickstart --out surface_losses.json \
        [--steps 80] [none chamfer=0.04 chamfer=0.04,normals=1 edge=0.3 ...]

Every variant starts from the run's best checkpoint with a fresh optimizer at a constant rate and
sees the same batches in the same poses; the run itself is only read. This is what a term does to
fields that have a surface already, not a comparison of whole quickstarts. The weights tried unless
others are named make each term's gradient about as large as the field's own (lengths in voxels).
Results go into the JSON file, which a later call adds to, and a table of all of them is printed.
From words alone (caption and style text), canonical pose, validation split; chamfer and normal
consistency between 8,192 points on each surface (chamfer: squared distances in domain units, both
ways added); band IoU and motif accuracy over the ornamented shapes: IoU inside the ornament's band,
and how often it is highest for the right motif among all.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from otuken_jax.config import load_config
from otuken_jax.data.augment import augment
from otuken_jax.data.motifs.recipes import Recipe
from otuken_jax.data.records import read_manifest
from otuken_jax.evaluation.examples import open_split
from otuken_jax.evaluation.library import Library
from otuken_jax.models.parameters import split_model, update_model
from otuken_jax.training.loading import load_model
from otuken_jax.training.run import build_trainer
from otuken_jax.training.trainer import Otuken3DTrainer

POINTS = 8192  # on each surface, in the loss and in validation
# Norms of the gradients to the parameters at the quickstart's end, at weight 1: chamfer 8, normals
# 0.35, edge 1.2, Laplacian 0.22, consistency 0.16; of the field's own terms 0.34.
VARIANTS = (
    "none",
    "chamfer=0.04",
    "chamfer=0.04,normals=1",
    "edge=0.3",
    "laplacian=1.5",
    "consistency=2",
)
COLUMNS = (
    f"surface_chamfer_l2_squared_{POINTS}",
    f"surface_normal_consistency_{POINTS}",
    "iou",
    "band_iou",
    "motif_accuracy",
    "seconds_per_step",
)


def variant_overrides(variant: str) -> list[str]:
    """`chamfer=1,edge=0.1` as overrides; `none` has none."""
    if variant == "none":
        return []
    return [f"--config.train.loss.surface.{setting}" for setting in variant.split(",")]


def make_trainer(workdir: Path, config_name: str, variant: str, rate: float) -> Otuken3DTrainer:
    """A trainer holding the run's best weights; writes nothing."""
    overrides = [f"optim.learning_rate={rate}", "optim.warmup_steps=5", "optim.cooldown=0.0"]
    overrides += ["train.fade_fraction=0.0", f"train.loss.surface.points={POINTS}"]
    seed = read_manifest(workdir / "data")["arguments"]["seed"]
    overrides += [f"train.seed={seed}", f"data.directory={workdir / 'data'}", "log.prompts=()"]
    overrides = [f"--config.{o}" for o in overrides] + variant_overrides(variant)
    config = load_config(config_name, overrides)
    config.train.loss.band = config.train.loss.band_final
    with tempfile.TemporaryDirectory() as nowhere:
        trainer = build_trainer(config, Path(nowhere))
    update_model(trainer.model, split_model(load_model(workdir).model)[1])
    return trainer


def train(trainer: Otuken3DTrainer, steps: int) -> float:
    """Median seconds of a step; the first ones compile."""
    times = []
    before_last = {}

    def batches():
        for step, batch in zip(range(steps), trainer.train_loader, strict=False):
            if step == steps - 1:
                before_last.update({n: np.array(x) for n, x in trainer.params().items()})
            times.append(time.perf_counter())
            yield batch

    trainer.train_epoch(batches())
    after = trainer.params()
    moved = [not np.array_equal(x, after[name]) for name, x in before_last.items()]
    assert any(moved), "the last step changed no parameter"
    return float(np.median(np.diff(times)[min(3, steps // 2) :]))


def ornament(trainer: Otuken3DTrainer, workdir: Path, limit: int) -> dict[str, float]:
    """Band IoU and motif accuracy on the first `limit` ornamented validation shapes."""
    library = Library.read(workdir / "data")
    source = open_split(workdir / "data", "val")
    recipes = [source[i]["recipe"] for i in range(len(source))]
    modeldef, params = split_model(trainer.model)
    resolution = trainer.model.voxel_size
    still = {"rotation_range": 0.0, "scale_range": (1.0, 1.0), "jitter_strength": 0.0}

    @jax.jit
    def occupancy(params, batch):
        grid = augment(batch, jax.random.key(0), resolution, **still)
        return modeldef.bind(params)(grid, stage=trainer.model.stage)[-1].field > 0

    made = np.concatenate([np.asarray(occupancy(params, b)) for b in trainer.val_loader])
    bands, hits = [], []
    for grid, stored in zip(made, recipes, strict=True):
        if stored["motif"] is None or len(bands) == limit:
            continue
        recipe = Recipe.from_dict(stored)
        ious = library.band(recipe, resolution).ious(grid)
        right = library.motifs.index(recipe.motif)
        bands.append(ious[right])
        hits.append(ious[right] > np.delete(ious, right).max())
    return {"band_iou": float(np.mean(bands)), "motif_accuracy": float(np.mean(hits))}


def table(results: dict[str, dict[str, float]]) -> str:
    """A Markdown table."""
    lines = [f"| terms | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, row in results.items():
        cells = " | ".join(f"{row[c]:.5f}" if c in row else "-" for c in COLUMNS)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--config", default="quickstart")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--shapes", type=int, default=96, help="for band IoU and motif accuracy")
    parser.add_argument("variants", nargs="*", default=VARIANTS)
    arguments = parser.parse_args()
    results = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    for variant in arguments.variants:
        trainer = make_trainer(
            arguments.workdir, arguments.config, variant, arguments.learning_rate
        )
        row = {}
        if arguments.steps:
            row["seconds_per_step"] = train(trainer, arguments.steps)
        row |= trainer.validate() | ornament(trainer, arguments.workdir, arguments.shapes)
        results[variant if arguments.steps else "checkpoint"] = row
        arguments.out.write_text(json.dumps(results, indent=2))
    print(table(results))


if __name__ == "__main__":
    main()
