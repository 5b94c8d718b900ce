"""What tells motifs, hosts, repeats and styles apart, on shapes whose recipe is known."""

import dataclasses

import numpy as np
import pytest

from otuken_jax.conventions import grid_points
from otuken_jax.data.motifs.recipes import Recipe
from otuken_jax.data.motifs.shapes import Shape, band_region, build_fields
from otuken_jax.evaluation.baselines import spread_colors
from otuken_jax.evaluation.examples import Volume
from otuken_jax.evaluation.library import Library, StyleCandidates, find_ring, on_host

R = 32
LIBRARY = Library(
    hosts=("vazo", "kase", "cini"),
    motifs=("lale", "yildiz8", "hilal"),
    styles=("iznik", "selcuklu", "gokturk"),
    coarsest=16,
)
VASE = Recipe("vazo", "lale", "iznik", 0, (1, 1, 1), 3)


def volume(recipe: Recipe) -> Volume:
    field = -build_fields(recipe, R, coarsest=16).sdf
    surface = LIBRARY.surface(recipe)
    return Volume(field, spread_colors(field, surface["points"], surface["colors"]))


@pytest.fixture(scope="module")
def candidates():
    return LIBRARY.candidates(VASE, R)


@pytest.mark.parametrize("number", range(3))
def test_a_swapped_motif_is_found(candidates, number):
    made = volume(dataclasses.replace(VASE, motif=LIBRARY.motifs[number]))
    assert candidates.band.nearest_motif(made.occupancy) == number
    assert candidates.band.ious(made.occupancy)[number] == 1.0
    assert candidates.hosts.nearest(made.occupancy) == candidates.right_host


@pytest.mark.parametrize("number", range(3))
def test_a_swapped_host_is_found(candidates, number):
    made = volume(dataclasses.replace(VASE, host=LIBRARY.hosts[number]))
    assert candidates.hosts.nearest(made.occupancy) == number


def test_another_host_takes_the_ornament_unless_it_is_too_thick_to_pierce():
    recipe = dataclasses.replace(VASE, technique="pierced", layout="border")
    assert on_host(recipe, "cini") == dataclasses.replace(recipe, host="cini")
    usual = dataclasses.replace(recipe, host="kase", technique=None)
    assert on_host(recipe, "kase") == usual


def test_motifs_that_the_table_allows_on_a_host_in_a_style():
    names = Library(("cini", "nazarboncuk"), ("lale", "penc", "goz"), ("iznik", "erkenosmanli"), 16)
    bound = dataclasses.replace(names, free=False)
    tile = Recipe("cini", "penc", "iznik", 0, (1, 1, 1), 3)
    assert bound.motifs_for(tile) == ("lale", "penc")
    assert bound.motifs_for(dataclasses.replace(tile, style="erkenosmanli")) == ("penc",)
    assert names.motifs_for(tile) == ("lale", "penc", "goz")
    assert bound.candidates(tile, R).chance == 1 / 2
    assert names.candidates(tile, R).chance == 1 / 3
    # One that the table has no more is possible all the same: the data set has it.
    assert bound.motifs_for(dataclasses.replace(tile, motif="goz")) == ("lale", "penc", "goz")


def test_hosts_are_told_apart_on_every_other_voxel_of_fine_grids():
    hosts = LIBRARY.on_every_host(VASE, 64)
    assert hosts.step == 2
    occupancy = build_fields(VASE, 64, coarsest=16).sdf < 0
    np.testing.assert_array_equal(hosts.shapes[0], occupancy[::2, ::2, ::2])


def test_repeats_are_counted_round_rings_alone(candidates):
    assert candidates.right_repeats == 4  # of every vase, as its builder says
    points = grid_points(R)[candidates.band.region]
    right = candidates.repeats[candidates.right_repeats - 1]
    np.testing.assert_array_equal(right, Shape(VASE, 16).sdf(points) < 0)
    tile = dataclasses.replace(VASE, host="cini")
    assert LIBRARY.candidates(tile, R).repeats is None


def test_another_number_of_repeats_is_found(candidates):
    made = np.zeros((R, R, R), bool)
    for wanted in range(1, len(candidates.repeats) + 1):
        made[candidates.band.region] = candidates.repeats[wanted - 1]
        assert candidates.nearest_repeats(made) == wanted


def test_a_ring_turned_and_off_centre_is_still_counted():
    shape = Shape(VASE, 16)
    points = grid_points(R)[band_region(VASE, R, coarsest=16)]
    standing, shift = shape.surface, np.float32(0.08)
    cosine, sine = np.float32(np.cos(0.7)), np.float32(np.sin(0.7))
    shape.surface = lambda x, y, z: standing(
        cosine * x + sine * y, cosine * y - sine * x + shift, z
    )
    ring = find_ring(shape, points)
    assert ring.count == 4
    np.testing.assert_allclose(ring.phase, 4 * 0.7, atol=0.1)
    np.testing.assert_allclose(ring.center, (0.08 * sine, -0.08 * cosine), atol=0.04)


@pytest.mark.parametrize(
    ("host", "count"),
    [
        *(("kase", 5), ("samdan", 3), ("kumbet", 4), ("testi", 3), ("otag", 5)),
        *(("tabak", None), ("bengutas", None)),
    ],
)
def test_rings_of_the_hosts(host, count):
    recipe = dataclasses.replace(VASE, host=host)
    points = grid_points(R)[band_region(recipe, R, coarsest=16)]
    ring = find_ring(Shape(recipe, 16), points)
    assert (ring and ring.count) == count


@pytest.mark.parametrize("style", LIBRARY.styles)
def test_style_and_palette_are_told_apart(style):
    styles = StyleCandidates.of(LIBRARY, VASE, R)
    right = style == VASE.style
    made = volume(dataclasses.replace(VASE, style=style, palette=0))
    assert styles.is_style_right(made) == right
    assert styles.is_palette_right(made) == right


def test_relief_tells_styles_of_equal_colours_apart():
    styles = StyleCandidates.of(LIBRARY, VASE, R)
    colors = volume(VASE).colors
    engraved = volume(dataclasses.replace(VASE, style="gokturk")).field
    assert styles.is_palette_right(Volume(engraved, colors))
    same_errors = dataclasses.replace(styles, colors=np.zeros_like(styles.colors))
    assert not same_errors.is_style_right(Volume(engraved, colors))
    assert same_errors.is_style_right(volume(VASE))
