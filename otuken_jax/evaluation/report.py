"""What an evaluation found, as JSON, as Markdown tables, and as pictures."""

import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from otuken_jax import metrics
from otuken_jax.errors import UserError
from otuken_jax.evaluation import responses
from otuken_jax.evaluation.baselines import true_volume
from otuken_jax.evaluation.examples import Example, Volume, Words, predict_prompts
from otuken_jax.evaluation.measures import SET_RESAMPLES, definitions
from otuken_jax.evaluation.run import (
    CEILING,
    FLOOR,
    MEAN,
    NEAREST,
    Evaluation,
    SplitResult,
    nearest_row,
)
from otuken_jax.metrics import Estimate

GEOMETRY = {
    "iou": "IoU",
    "chamfer_l1": "chamfer L1",
    "chamfer_l2_squared": "chamfer L2²",
    **{f"f_score_{t:g}": f"F at {t:g}" for t in metrics.THRESHOLDS},
    "normal_consistency": "normals",
    "watertight": "watertight",
    "p_fid": "P-FID",
    "p_is": "P-IS",
    "fd_d2": "FD-D2",
    "is_d2": "IS-D2",
    "color_error": "colour error",
}
ORNAMENT = {
    "host_accuracy": "host",
    "motif_accuracy": "motif",
    "chance": "chance",
    "band_iou_right": "band IoU right",
    "band_iou_wrong": "band IoU wrong",
    "repeat_error": "repeat error",
    "color_error_ornament": "ornament's colour error",
}
PICTURE_SIZE = 384
Responses = dict[str, dict[str, Estimate]]


def to_json(
    evaluation: Evaluation, results: Sequence[SplitResult], changes: dict[str, Responses]
) -> dict[str, Any]:
    """Everything as plain types; a figure is {value, low, high, count}, null if undefined."""
    library = evaluation.library
    return {
        "model": evaluation.generator.name,
        "step": evaluation.generator.step,
        "resolution": evaluation.resolution,
        "seed": evaluation.seed,
        "conditions": "from words alone: no points, no augmentation, canonical pose",
        "intervals": {
            "confidence": metrics.CONFIDENCE,
            "means": f"percentile bootstrap over shapes, {metrics.RESAMPLES} resamples",
            "sets": f"value +- 1.96 standard deviations of {SET_RESAMPLES} bootstrap resamples",
        },
        "definitions": definitions(evaluation.resolution, min(r.points for r in results)),
        "pointnet": evaluation.set_measure.weights,
        "library": dataclasses.asdict(library) if library else None,
        "methods": {
            NEAREST: "the training shape whose words, of the kind that the row names, are most "
            "similar (tf-idf)",
            MEAN: "the mean training shape of the true host, or of all without hosts",
            FLOOR: "floor: the true recipe with a motif drawn at random, among those of chance",
            CEILING: "ceiling: the record's own distance at this resolution, resampled onto a grid "
            "half a voxel off and back: what the grid holds of it",
        },
        "splits": {
            r.split: {
                "count": r.count,
                "rows": {name: _plain(row) for name, row in r.rows.items()},
                "confusion": r.confusion,
                "pictured": r.picks,
            }
            for r in results
        },
        "responses": {
            "definitions": responses.DEFINITIONS,
            "splits": {
                split: {name: _plain(row) for name, row in rows.items()}
                for split, rows in changes.items()
            },
        },
    }


def _plain(row: dict[str, Estimate]) -> dict[str, dict[str, float | int | None]]:
    return {
        name: {k: None if math.isnan(v) else v for k, v in estimate._asdict().items()}
        for name, estimate in row.items()
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def summary_table(evaluation: Evaluation, results: Sequence[SplitResult]) -> str:
    """The few figures that say most, one line for each split and words, with definitions below."""
    head = "split, words, shapes, IoU, mean shape, nearest caption, host, motif"
    head += ", nearest caption's motif, chance, ceiling, colour error, repeat error"
    rows = []
    for result in results:
        for words in evaluation.words:
            if words.name not in result.rows:
                continue
            row, truth = result.rows[words.name], result.rows[CEILING]
            nearest, mean = (result.rows.get(name, {}) for name in (nearest_row(words), MEAN))
            line = [result.split, words.name, str(row["iou"].count)]
            line += [_number(r.get("iou"), 3) for r in (row, mean, nearest)]
            line += [_number(row.get("host_accuracy"), 2)]
            line += [_number(r.get("motif_accuracy"), 2) for r in (row, nearest)]
            line += [_number(row.get("chance"), 2), _number(truth.get("motif_accuracy"), 2)]
            rows.append([*line, *(_number(row.get(n), 2) for n in ("color_error", "repeat_error"))])
    lines = _table(head.split(", "), rows)
    lines += [
        "",
        "From words alone, canonical pose. IoU: with the true shape; mean shape: the same of the "
        "host's mean training shape; nearest caption: of the training shape whose words, of the "
        "row's kind, are most similar; host: nearest by IoU among the same recipe on every host; "
        "motif: the right motif's band IoU above every wrong one's, then the same of the nearest "
        "caption, of a guess that knows host and style (chance: the mean of 1 / number of the "
        "motifs that the table allows there, of all where the data combine them freely) and of "
        "the true shape resampled onto a grid half a voxel off and back (ceiling); colour error: "
        "mean of the sRGB channels, 0..1; repeat error: of the number of repeats round the host.",
    ]
    return "\n".join(lines)


def full_tables(
    evaluation: Evaluation, results: Sequence[SplitResult], changes: dict[str, Responses]
) -> str:
    """Every figure with its interval, and every definition, as Markdown."""
    lines = [f"# Evaluation of step {evaluation.generator.step}", ""]
    lines += [summary_table(evaluation, results), ""]
    for result in results:
        lines += [f"## {result.split}: {result.count} shapes", ""]
        for names in (GEOMETRY, ORNAMENT):
            present = [n for n in names if any(n in row for row in result.rows.values())]
            if present:
                head = ["", *(names[n] for n in present)]
                body = [
                    [method, *(_interval(row.get(n)) for n in present)]
                    for method, row in result.rows.items()
                ]
                lines += [*_table(head, body), ""]
        for name, row in changes.get(result.split, {}).items():
            what = "Asking for no ornament" if name == "plain" else f"Changing the {name}"
            lines += [f"{what} ({next(iter(row.values())).count} shapes):", ""]
            lines += [*_table(list(row), [[_interval(e) for e in row.values()]]), ""]
    sets = f"value +- 1.96 standard deviations of {SET_RESAMPLES} resamples"
    words = f"In brackets: 95 % bootstrap intervals over shapes; of figures of the set, {sets}."
    lines += ["## Definitions", "", words]
    if weights := evaluation.set_measure.weights:
        lines += ["", f"PointNet++: {weights['source']}, sha256 {weights['sha256']}."]
    lines.append("")
    used = {name for r in results for row in r.rows.values() for name in row}
    points = min(r.points for r in results)
    for name, parts in definitions(evaluation.resolution, points).items():
        if name in used:
            more = f"; {parts['points']} points" if "points" in parts else ""
            lines.append(
                f"- {name}: {parts['what']}. Scale: {parts['scale']}{more}; {parts['reduction']}."
            )
    if changes:
        lines += [f"- {name}: {text}." for name, text in responses.DEFINITIONS.items()]
    return "\n".join(lines) + "\n"


def _number(estimate: Estimate | None, digits: int) -> str:
    if estimate is None or math.isnan(estimate.value):
        return "-"
    return f"{estimate.value:.{digits}f}"


def _interval(estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.value):
        return "-"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def response_lines(changes: Responses) -> str:
    """The responses in a few lines for the console."""
    lines = []
    names = {"host": "host's noun", "object": "object's caption", "color": "colours"}
    for name in responses.OTHERS:
        row = changes.get(f"{name} word", {})
        if row and row["follows"].count:
            lines.append(
                f"Changing only the {names.get(name, name)}: follows {row['follows'].value:.0%}, "
                f"keeps the host {row['keeps_host'].value:.0%}, the motif "
                f"{row['keeps_motif'].value:.0%}; changes "
                f"{row['inside'].value:.0%} inside the band (true shapes "
                f"{row['inside_true'].value:.0%}), {row['outside'].value:.0%} outside "
                f"({row['outside_true'].value:.0%})."
            )
    row = changes.get("style text")
    if row:
        pairs = ("palette", "style", "host", "motif")
        moved = ", ".join(
            f"{p} {row[f'{p}_before'].value:.0%} -> {row[f'{p}_after'].value:.0%}" for p in pairs
        )
        lines.append(
            f"Exchanging the style text, accuracy before -> after (against the new style): {moved}."
        )
    row = changes.get("blend")
    if row:
        lines.append(
            f"Blending two styles 0 -> 1 is monotone in colour for "
            f"{row['color_monotone'].value:.0%} of the shapes, in relief for "
            f"{row['relief_monotone'].value:.0%}."
        )
    row = changes.get("plain")
    if row:
        lines.append(
            f"Asked for no ornament: IoU {row['plain_iou'].value:.3f} with the plain shape (true "
            f"ornamented shapes {row['ornamented_iou'].value:.3f}), the ornament band as bare in "
            f"{row['plain_band'].value:.0%} of its voxels ({row['ornamented_band'].value:.0%})."
        )
    return "\n".join(lines)


def format_confusion(evaluation: Evaluation, result: SplitResult) -> str:
    """The host confusion matrix of the first words, true hosts in rows."""
    hosts = evaluation.library.hosts
    width = max(map(len, hosts)) + 1
    head = " " * width + " ".join(f"{h[:4]:>4}" for h in hosts)
    rows = [
        f"{host:<{width}}" + " ".join(f"{n or '.':>4}" for n in row)
        for host, row in zip(hosts, result.confusion, strict=True)
    ]
    title = f"hosts on {result.split}, {evaluation.words[0].name} (rows: true)"
    return "\n".join([title, head, *rows])


def write_pictures(evaluation: Evaluation, result: SplitResult, out: Path) -> list[Path]:
    """The best, median and worst shape of a split beside truth and nearest caption, as PNGs.

    Without OpenGL there are none: that is said on stderr.
    """
    from otuken_jax.geometry.render import contact_sheet, save_png

    paths = []
    words = next(words for words in evaluation.words if words.name in result.rows)
    for name, number in result.picks.items():
        (example,) = evaluation.examples(result.split, [number])
        try:
            images, captions = _pictures_of(evaluation, example, words)
        except UserError as error:
            print(f"note: no pictures, {error}", file=sys.stderr)
            return paths
        path = out.with_name(f"{out.stem}-{result.split}-{name}.png")
        save_png(contact_sheet(images, [f"{name}: {captions[0]}", *captions[1:]], 3), path)
        paths.append(path)
    return paths


def _pictures_of(
    evaluation: Evaluation, example: Example, words: Words
) -> tuple[list[np.ndarray], list[str]]:
    prompt = words.prompt(example)
    (made,) = predict_prompts(evaluation.generator, [prompt])
    fit = metrics.iou(made.occupancy, example.field > 0)
    texts = [prompt.text, prompt.style] if prompt.style else [prompt.text]
    volumes = [made, true_volume(example)]
    captions = ["\n".join([f"IoU {fit:.3f}", *texts]), "true shape"]
    if evaluation.training is not None:
        nearest = evaluation.training.nearest_by_caption(example, words)
        if nearest is not None:
            volumes.append(nearest)
            captions.append("nearest caption in the training set")
    return [_picture(volume) for volume in volumes], captions


def _picture(volume: Volume) -> np.ndarray:
    from otuken_jax.geometry.mesh_io import field_to_mesh, remove_specks
    from otuken_jax.geometry.render import BACKGROUND, render_mesh

    if not volume.occupancy.any():
        blank = np.rint(BACKGROUND * 255).astype(np.uint8)
        return np.broadcast_to(blank, (PICTURE_SIZE, PICTURE_SIZE, 3)).copy()
    mesh, _ = remove_specks(field_to_mesh(volume.field, volume.colors))
    return render_mesh(mesh, PICTURE_SIZE)
