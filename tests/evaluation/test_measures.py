"""Figures of made shapes whose answers are known: spheres, swapped recipes, nothing at all."""

import dataclasses

import numpy as np
import pytest

from otuken_jax.conventions import grid_points
from otuken_jax.data.motifs.recipes import (
    HOSTS,
    MOTIFS,
    STYLES,
    Recipe,
    hold_out,
    sample_recipes,
)
from otuken_jax.data.motifs.shapes import build_fields, sample_surface
from otuken_jax.data.records import quantize_distance
from otuken_jax.evaluation.baselines import CaptionIndex, resampled, spread_colors
from otuken_jax.evaluation.examples import FULL_WORDS, Example, Volume, Words, at_resolution
from otuken_jax.evaluation.library import Library
from otuken_jax.evaluation.measures import SetMeasure, definitions, measure, surface_cloud
from otuken_jax.generation import Prompt
from otuken_jax.metrics import Cloud

R = 32
LIBRARY = Library(("vazo", "kase"), ("lale", "yildiz8", "hilal"), ("iznik", "selcuklu"), 16)
RECIPE = Recipe("vazo", "lale", "iznik", 0, (1, 1, 1), 3)
RED = np.float32([1.0, 0.0, 0.0])


def ball(radius: float) -> Volume:
    field = radius - np.linalg.norm(grid_points(R), axis=-1)
    return Volume(field, np.broadcast_to(RED, (R, R, R, 3)))


def ball_example(radius: float) -> Example:
    normals = np.random.default_rng(0).normal(size=(4096, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    colors = np.broadcast_to(RED, normals.shape)
    surface = Cloud(radius * normals, normals)
    return Example(ball(radius).field, surface, colors, {"full": "kırmızı bir top"}, "", None)


def motif_example(recipe: Recipe) -> tuple[Example, Volume]:
    field = -build_fields(recipe, R, coarsest=16).sdf
    s = sample_surface(recipe, 2048, 0, coarsest=16)
    example = Example(field, Cloud(s["points"], s["normals"]), s["colors"], {}, "", recipe)
    return example, Volume(field, spread_colors(field, s["points"], s["colors"]))


def test_a_ball_against_a_larger_ball():
    figures = measure(ball(0.6), ball_example(0.8), None, 0).figures
    # Measured IoU 0.4214 (0.4219 by volume), chamfer 0.2012: the lattice and 4,096 points.
    np.testing.assert_allclose(figures["iou"], (0.6 / 0.8) ** 3, rtol=0.02)
    np.testing.assert_allclose(figures["chamfer_l1"], 0.2, rtol=0.02)
    assert figures["normal_consistency"] > 0.98
    assert (figures["f_score_0.1"], figures["watertight"], figures["color_error"]) == (0, 1, 0)


def test_a_ball_against_itself():
    figures = measure(ball(0.8), ball_example(0.8), None, 0).figures
    assert figures["iou"] == 1.0
    assert figures["f_score_0.1"] > 0.999
    assert figures["chamfer_l1"] < 0.03  # 4,096 points on it lie 0.02 from their nearest


def test_color_error_is_the_mean_over_channels():
    green = Volume(ball(0.8).field, np.broadcast_to(np.float32([0.0, 0.5, 0.0]), (R, R, R, 3)))
    figures = measure(green, ball_example(0.8), None, 0).figures
    np.testing.assert_allclose(figures["color_error"], 0.5, rtol=1e-6)
    colorless = dataclasses.replace(ball_example(0.8), has_colors=False)
    assert np.isnan(measure(green, colorless, None, 0).figures["color_error"])


def test_the_color_error_of_the_ornament_is_apart():
    """All in the ground's colour: no error there, and the palette's whole contrast on the motif."""
    example, truth = motif_example(RECIPE)
    palette = STYLES["iznik"].palettes[0]
    plain = Volume(truth.field, np.broadcast_to(np.float32(palette.ground.rgb), (R, R, R, 3)))
    figures = measure(plain, example, None, 0).figures
    contrast = np.abs(np.subtract(palette.ground.rgb, palette.motif.rgb)).mean()
    np.testing.assert_allclose(figures["color_error_ornament"], contrast, rtol=1e-5)
    assert figures["color_error"] < 0.5 * contrast
    assert "color_error_ornament" not in measure(plain, ball_example(0.8), None, 0).figures


def test_nothing_made_is_the_worst_and_finite():
    empty = Volume(np.full((R, R, R), -1.0, np.float32), ball(0.8).colors)
    figures = measure(empty, ball_example(0.8), None, 0).figures
    zero = ("iou", "f_score_0.05", "f_score_0.1", "normal_consistency", "watertight")
    assert [figures[name] for name in zero] == [0.0] * 5
    np.testing.assert_allclose(figures["chamfer_l1"], 0.8, rtol=1e-5)  # from the origin


def test_points_of_a_mesh_are_seeded():
    one, closed = surface_cloud(ball(0.8), 100, 0)
    same, _ = surface_cloud(ball(0.8), 100, 0)
    other, _ = surface_cloud(ball(0.8), 100, 1)
    assert closed
    np.testing.assert_array_equal(one.points, same.points)
    assert not np.array_equal(one.points, other.points)


def test_the_truth_scores_full_marks_and_a_swapped_motif_does_not():
    example, truth = motif_example(RECIPE)
    _, swapped = motif_example(dataclasses.replace(RECIPE, motif="yildiz8"))
    candidates = LIBRARY.candidates(RECIPE, R)
    right = measure(truth, example, candidates, 0).figures
    wrong = measure(swapped, example, candidates, 0).figures
    for name in ("iou", "host_accuracy", "motif_accuracy", "band_iou_right"):
        assert right[name] == 1.0
    assert right["repeat_error"] == 0.0
    assert (wrong["host_accuracy"], wrong["motif_accuracy"]) == (1.0, 0.0)
    assert wrong["band_iou_right"] < 0.6 < wrong["iou"] < 1.0
    assert right["color_error"] < 0.05


def test_nothing_made_is_neither_the_first_host_nor_the_first_motif():
    """All its IoUs are 0, and the recipe is the first of everything."""
    assert (LIBRARY.hosts[0], LIBRARY.motifs[0]) == (RECIPE.host, RECIPE.motif)
    example, truth = motif_example(RECIPE)
    empty = Volume(np.full((R, R, R), -1.0, np.float32), truth.colors)
    measured = measure(empty, example, LIBRARY.candidates(RECIPE, R), 0)
    assert measured.host is None
    assert (measured.figures["host_accuracy"], measured.figures["motif_accuracy"]) == (0.0, 0.0)


def test_every_figure_is_defined():
    example, truth = motif_example(RECIPE)
    measured = measure(truth, example, LIBRARY.candidates(RECIPE, R), 0)
    sets = SetMeasure()(np.stack([measured.cloud] * 3), np.stack([measured.cloud] * 3), 0)
    assert set(sets) == {"fd_d2", "is_d2"}
    known = definitions(R, 2048)
    for name in (*measured.figures, *sets):
        assert {"what", "scale", "reduction"} <= set(known[name])
        clouds = ("chamfer", "f_score", "normal", "fd_", "is_")
        assert ("points" in known[name]) == name.startswith((*clouds, "color"))


def test_equal_sets_are_no_distance_apart():
    rng = np.random.default_rng(0)
    clouds = rng.normal(size=(12, 512, 3)) * rng.uniform(0.2, 1.0, (12, 1, 3))
    same = SetMeasure()(clouds, clouds, 0)["fd_d2"]
    flat = SetMeasure()(clouds * [1, 1, 0.01], clouds, 0)["fd_d2"]
    assert same.low == 0.0 <= same.value < 1e-5  # rounding; the other measured 63
    assert flat.value > 20
    assert flat.low < flat.value < flat.high
    assert SetMeasure()(clouds[:1], clouds[:1], 0) == {}


def test_nearest_caption():
    texts = ["İznik üslubunda lale motifli vazo", "lale motifli bir tabak", "Selçuklu yıldızı", ""]
    index = CaptionIndex(dict(enumerate(texts)))
    assert [index.nearest(text) for text in texts[:3]] == [0, 1, 2]
    assert index.nearest("IZNIK") == 0  # nothing known: the first
    assert index.nearest("YILDIZI olan bir vazo; selçuklu") == 2


def test_captions_weigh_rare_words_more():
    index = CaptionIndex({2: "bir vazo", 4: "bir tabak", 5: "bir çini", 7: "bir bir kâse"})
    assert index.nearest("bir bir kâse") == 7
    assert index.nearest("bir bir bir bir tabak") == 4


def test_words_of_a_record():
    example = ball_example(0.5)
    assert Words("full", False).fits(example)
    assert not Words("short", False).fits(example)
    assert not Words("host", True).fits(example)  # no style text
    one = dataclasses.replace(example, captions={"any": "bir top"}, style_text="sade")
    assert Words("host", True).prompt(one) == Prompt("bir top", style="sade")
    named = dataclasses.replace(one, captions={"full": "benekli bir top", "host": "bir top"})
    assert [words.name for words in FULL_WORDS] == ["text+style", "sentence"]
    told = [words.prompt(named) for words in FULL_WORDS]
    assert told == [Prompt("bir top", style="sade"), Prompt("benekli bir top")]
    assert not Words("full", False).fits(dataclasses.replace(one, captions={}))


def test_colors_are_read_where_the_points_are():
    """A volume that holds its own coordinates gives them back."""
    volume = Volume(ball(0.5).field, grid_points(R))
    points = np.random.default_rng(0).uniform(-0.9, 0.9, (50, 3)).astype(np.float32)
    np.testing.assert_allclose(volume.colors_at(points), points, atol=1e-6)


def test_spread_colors_reach_the_surface():
    example = ball_example(0.7)
    colors = (example.surface.normals > 0).astype(np.float32)
    volume = Volume(example.field, spread_colors(example.field, example.surface.points, colors))
    inner = np.abs(example.surface.normals).min(axis=1) > 0.2  # away from where colours change
    found = volume.colors_at(example.surface.points[inner])
    np.testing.assert_allclose(found, colors[inner], atol=1e-6)


@pytest.mark.parametrize(("thickness", "kept"), [(0.8, 0), (2.4, 2)])
def test_the_ceiling_loses_what_is_thinner_than_its_grid(thickness, kept):
    """A plate of 0.8 cells about a cell's centre is gone, of one of 2.4 both whole cells stay."""
    middle = 7.5 if kept else 8.0
    x = np.arange(16) - middle
    plate = np.broadcast_to((thickness / 2 - np.abs(x))[:, None, None], (16, 16, 16))
    assert (plate[:, 0, 0] > 0).sum() == max(kept, 1)
    assert (resampled(plate)[:, 0, 0] > 0).sum() == kept


@pytest.mark.slow
def test_motifs_can_be_told_apart_at_the_full_resolution():
    """Of the whole library, 19 shapes in 20; `benchmarks/motif_ceiling.py` measures more."""
    library = Library(tuple(HOSTS), tuple(MOTIFS), tuple(STYLES), 32)
    recipes = sample_recipes(1, 7, hold_out(7), num_val=20)["val"]
    right = []
    for recipe in recipes:
        stored = quantize_distance(build_fields(recipe, 64, coarsest=32).sdf)
        seen = resampled(-at_resolution(stored, 64)) > 0
        nearest = library.band(recipe, 64).nearest_motif(seen)
        right.append(library.motifs[nearest] == recipe.motif)
    assert np.mean(right) >= 0.95


@pytest.mark.parametrize("resolution", [16, 32, 64])
def test_distances_at_another_resolution(resolution):
    """A plane's distance is linear, so any grid finds it but for the truncated far cells."""
    stored = quantize_distance(0.3 - grid_points(32)[..., 0])
    distance = at_resolution(stored, resolution)
    expected = 0.3 - grid_points(resolution)[..., 0]
    near = np.abs(expected) < 0.4
    np.testing.assert_allclose(distance[near], expected[near], atol=0.003)  # half an int8 step
