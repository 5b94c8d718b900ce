"""Techniques, layouts, and the table of what goes together."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_fill_holes, binary_opening, center_of_mass
from skimage.measure import label

from otuken_jax.conventions import grid_points
from otuken_jax.data.motifs.applications import BOLDER, LAYOUTS, TECHNIQUES, lay_out
from otuken_jax.data.motifs.borders import BORDERS
from otuken_jax.data.motifs.captions import captions
from otuken_jax.data.motifs.fields import MOTIFS, motif_field
from otuken_jax.data.motifs.hosts import HOSTS
from otuken_jax.data.motifs.recipes import Recipe, hold_out, sample_recipes
from otuken_jax.data.motifs.shapes import (
    Shape,
    band_region,
    build_fields,
    relief_of,
    sample_surface,
)
from otuken_jax.data.motifs.styles import STYLES
from otuken_jax.data.motifs.table import (
    FINE,
    NEVER,
    PIERCED_HOSTS,
    STYLE_HOSTS,
    STYLE_MOTIFS,
    TEXTILES,
    allowed,
    is_pierceable,
    layouts_of,
    styles_of,
    techniques_of,
)
from otuken_jax.errors import UserError

TILE = Recipe("cini", "penc", "iznik", 0, (1, 0, 0), 0)
VASE = replace(TILE, host="vazo")


def test_the_table_is_about_the_library():
    assert set(STYLE_HOSTS) == set(STYLE_MOTIFS) == set(STYLES)
    assert len(STYLES) == 16
    assert {m for names in STYLE_MOTIFS.values() for m in names.split()} == set(MOTIFS)
    hosts = {host for names in STYLE_HOSTS.values() for host in names.split()}
    assert hosts == set(HOSTS)
    assert {t for style in STYLES.values() for t in style.techniques} == set(TECHNIQUES)
    assert not any(allowed("balbal", "lale", style) for style in STYLES)
    assert allowed("vazo", "lale", "iznik")
    for host, motif in (
        ("mihrap", "aslan"),
        ("kandil", "ciftkartal"),
        ("rahle", "balik"),
        ("migfer", "mukarnas"),
        ("kase", "turkucgen"),
        ("minare", "tugra"),
        ("migfer", "sebeke"),
    ):
        assert not styles_of(host, motif), (host, motif)
    assert allowed("tackapi", "ciftkartal", "selcuklu")  # as in Divriği
    used = [p for p in product(HOSTS, MOTIFS) if styles_of(*p)]
    assert [set(names) for names in zip(*used, strict=True)] == [set(HOSTS), set(MOTIFS)]
    for hosts, motifs, *reasons in NEVER:
        assert all(reasons)
        assert set(hosts.split()) <= set(HOSTS)
        assert set(motifs.split()) <= set(MOTIFS)


def test_a_bead_of_glass_is_blue_and_not_woven():
    assert {m for m in MOTIFS if styles_of("nazarboncuk", m)} == {"goz"}
    for style in (STYLES[name] for name in styles_of("nazarboncuk", "goz")):
        assert not style.steps
        for palette in style.palettes:
            assert any(c.rgb[2] > 1.5 * c.rgb[0] for c in (palette.ground, palette.motif))
    assert "erkenosmanli" not in styles_of("kase", "goz")  # glass alone
    assert styles_of("kilim", "goz") == ("kilim",)


def test_selections_follow_the_table_unless_they_are_free():
    splits = sample_recipes(3000, 0, hold_out(0), num_val=100, num_heldout_pairs=100)
    ornamented = [r for split in splits.values() for r in split if r.motif]
    assert all(allowed(r.host, r.motif, r.style) for r in ornamented)
    assert {r.layout for r in ornamented} == set(LAYOUTS)
    assert {r.technique for r in ornamented} == {None, *TECHNIQUES}
    assert {r.style for r in ornamented} == set(STYLES)
    coarse = sample_recipes(200, 0, hold_out(0), resolution=32)["train"]
    assert {r.layout for r in coarse} == {"row", "medallion"}
    assert not any(r.technique == "color" for r in splits["val"] + splits["heldout_pairs"])
    odd = {"hosts": ["bengutas"], "motifs": ["karanfil", "goz"], "styles": ["barok"]}
    with pytest.raises(UserError, match="nothing is left"):
        sample_recipes(10, 0, hold_out(0, **odd))
    part = {"hosts": ["vazo", "bengutas"], "motifs": ["nar", "im"], "styles": ["iznik", "gokturk"]}
    shown = sample_recipes(40, 0, hold_out(0, **part))["train"]
    assert {r.motif for r in shown if r.host == "bengutas"} == {"im", None}
    assert {r.motif for r in shown if r.host == "vazo"} == {"nar", None}
    free = sample_recipes(10, 0, hold_out(0, **odd, free=True))["train"]
    assert {r.motif for r in free} >= {"goz"}
    assert {(r.technique, r.layout) for r in free} == {(None, "row")}


def test_a_recipe_without_choices_reads_and_writes_as_before():
    old = {"host": "cini", "motif": "penc", "style": "iznik", "palette": 0, "form": [1, 0, 0]}
    assert TILE.to_dict() == {**old, "jitter_seed": 0}
    chosen = replace(TILE, technique="pierced", layout="border")
    assert Recipe.from_dict(chosen.to_dict()) == chosen


@pytest.mark.parametrize("technique", [None, "engraving", "color"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("plain", [TILE, VASE], ids=["tile", "vase"])
def test_the_relief_is_a_function_of_the_chart(plain, layout, technique):
    fields = build_fields(replace(plain, technique=technique, layout=layout), 32)
    near = (fields.band == 1) & (np.abs(fields.host_sdf) < 0.1)
    assert near.sum() > 20
    field = motif_field("penc", fields.u[near], fields.v[near]) - BOLDER[layout]
    ramp = np.clip(0.5 - field / 0.2, 0, 1)
    height = {None: 0.11, "engraving": -0.11, "color": 0.0}[technique]
    expected = height * ramp**2 * (3 - 2 * ramp)
    np.testing.assert_allclose((fields.host_sdf - fields.sdf)[near], expected, atol=2e-3)


def count_cells(layout):
    """Middles of chart cells on a tile and on a vase."""
    counts = []
    for plain in (TILE, VASE):
        f = build_fields(replace(plain, layout=layout), 48)
        middle = (np.maximum(np.abs(f.u), np.abs(f.v)) < 0.6) & (f.band > 0.9)
        counts.append(int(label(middle & (np.abs(f.host_sdf) < 0.08)).max()))
    return counts


@pytest.mark.parametrize(
    ("layout", "counts"),
    [("row", [1, 4]), ("border", [2, 8]), ("allover", [4, 16]), ("medallion", [1, 1])],
)
def test_each_layout_has_its_number_of_motifs(layout, counts):
    assert count_cells(layout) == counts


@pytest.mark.parametrize("host", HOSTS)
def test_every_layout_is_seen_on_every_host(host):
    """None lies where the host has no face, as on the door of a tent."""
    motif = next(m for m in MOTIFS if styles_of(host, m) and m not in BORDERS)
    for layout in LAYOUTS:
        recipe = Recipe(host, motif, styles_of(host, motif)[0], 0, (1, 1, 1), 0, None, layout)
        fields = build_fields(recipe, 32)
        assert (fields.band > 0.5).sum() > 60, layout


@pytest.mark.parametrize("form", [(0, 0, 0), (1, 1, 1), (2, 2, 2)], ids=str)
@pytest.mark.parametrize(("host", "motif"), [("kandil", "lale"), ("buhurdan", "hilal")])
def test_what_is_pierced_is_hollow(host, motif, form):
    """Measured: at most 0.23 of the core is filled over all motifs; of the plain host 0.9 is."""
    style = styles_of(host, motif)[0]
    pierced = build_fields(Recipe(host, motif, style, 0, form, 0, "pierced"), 40, coarsest=32)
    plain = build_fields(Recipe(host, motif, style, 0, form, 0), 40, coarsest=32)
    levels = np.flatnonzero((pierced.band > 0.5).any(axis=(0, 1)))
    level = round(levels.mean())
    axis = center_of_mass(binary_fill_holes(plain.sdf[:, :, level] < 0))
    core = np.hypot(*(np.indices((40, 40)) - np.reshape(axis, (2, 1, 1)))) < 3
    filled = [(f.sdf[:, :, level - 3 : level + 4] < 0)[core].mean() for f in (pierced, plain)]
    assert filled[0] < 0.3
    assert filled[0] < filled[1] / 2


def test_a_tent_turns_a_motif_to_the_front_and_its_door_aside():
    angles = np.radians([0, -72], dtype=np.float32)
    points = 0.75 * np.stack([np.cos(angles), np.sin(angles), 0 * angles - 0.2], axis=1)
    chart = Shape(Recipe("otag", None, None, 0, (1, 1, 1), 0), 32).host(points).chart
    for layout in ("row", "medallion"):
        laid = lay_out(chart, layout)
        np.testing.assert_allclose(laid.u[0], 0, atol=1e-5)
        assert laid.zone[0] == 1, layout
        assert laid.zone[1] == 0, layout


# Of half a medallion, the share in sight in the worst form, a little rounded down: legs, feet, a
# lamp's loops or the edge of the face take the rest.
IN_SIGHT = {
    "kandil": 0.68,
    "semaver": 0.55,
    "tug": 0.74,
    "ritonhitit": 0.4,
    "rahle": 0.6,
    "kemertokasi": 0.63,
    "kilim": 0.48,
}


@pytest.mark.parametrize("host", HOSTS)
def test_no_half_of_a_medallion_is_hidden(host):
    """In none of the extreme forms."""
    points = grid_points(32).reshape(-1, 3).astype(np.float32)
    for form in [(1, 1, 1), *product((0, 2), repeat=3)]:
        recipe = Recipe(host, "lale", "iznik", 0, form, 0, None, "medallion")
        chart = lay_out(Shape(recipe, 32).host(points).chart, "medallion")
        face = np.maximum(np.abs(chart.u), np.abs(chart.v)) < 0.8
        face &= np.abs(chart.height) < 0.06
        for half in (chart.u < 0, chart.u > 0, chart.v < 0, chart.v > 0):
            assert (chart.zone[face & half] > 0.5).mean() > IN_SIGHT.get(host, 0.9), form


@pytest.mark.parametrize("host", TEXTILES)
def test_nothing_is_carved_into_a_textile(host):
    """Neither felt nor a weave, though a style may carve whatever else it decorates."""
    for motif, style in product(MOTIFS, STYLES):
        assert "engraving" not in techniques_of(host, motif, style)
    recipe = Recipe(host, "tamga", "gokturk", 0, (1, 1, 1), 0)
    assert relief_of(recipe) > 0 > relief_of(replace(recipe, host="bengutas"))
    assert "kabartma" in captions(recipe)["full"]
    assert "oyma" in captions(replace(recipe, host="bengutas"))["full"]


def test_colour_alone_changes_no_shape_but_shows():
    recipe = replace(TILE, technique="color")
    fields = build_fields(recipe, 32)
    np.testing.assert_array_equal(fields.sdf, fields.host_sdf)
    assert not band_region(recipe, 32).any()
    colors = sample_surface(recipe, 2000, 0)["colors"]
    motif = np.asarray(STYLES["iznik"].palettes[0].motif.rgb, np.float32)
    assert 0.05 < (np.abs(colors - motif) < 1e-6).all(axis=1).mean() < 0.4


@pytest.mark.parametrize("motif", ["lale", "petek"])
def test_piercing_opens_the_wall_and_drops_nothing(motif):
    recipe = replace(TILE, motif=motif, technique="pierced")
    fields = build_fields(recipe, 48, coarsest=32)
    inside, wall = fields.sdf < 0, (fields.host_sdf < 0).any(axis=0)
    opened = wall & ~inside.any(axis=0)  # seen along x, the tile's thickness
    assert 0.08 < opened.sum() / wall.sum() < 0.6
    assert label(inside, connectivity=1).max() == 1
    assert band_region(recipe, 48, coarsest=32)[:, opened].any(axis=0).mean() > 0.9
    assert set(PIERCED_HOSTS) >= {"cini"}
    with pytest.raises(UserError, match="too thick to cut through"):
        Shape(replace(recipe, host="bengutas"), 32)


@pytest.mark.parametrize("motif", ["lale", "gul", "petek"])
def test_the_walls_of_an_opening_are_upright(motif):
    """A tile's layers are alike, so no edge of its openings runs out thinly."""
    recipe = replace(TILE, motif=motif, technique="pierced")
    inside = build_fields(recipe, 64, coarsest=32).sdf < 0
    layers = inside[inside.any(axis=(1, 2))]
    assert len(layers) > 4
    assert (layers == layers[0]).all()


def test_what_training_shows_pierced_is_in_one_piece():
    recipes = sample_recipes(9000, 0, hold_out(0), resolution=64)["train"]
    pierced = [recipe for recipe in recipes if recipe.technique == "pierced"]
    assert len(pierced) > 5
    assert {recipe.layout for recipe in pierced} <= {"row", "medallion"}
    for recipe in {(recipe.host, recipe.motif): recipe for recipe in pierced}.values():
        assert_in_one_piece(recipe)


def assert_in_one_piece(recipe):
    fields = build_fields(recipe, 64, coarsest=32)
    assert label(fields.sdf < 0, connectivity=1).max() == 1, recipe
    # Next to nothing was dropped for it.
    cut = Shape(recipe, 32).sdf(grid_points(64).reshape(-1, 3)) < 0
    assert cut.sum() - (fields.sdf < 0).sum() < 0.01 * cut.sum(), recipe


@pytest.mark.slow
@pytest.mark.parametrize("form", [(0, 0, 0), (1, 1, 1), (1, 1, 2), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("host", PIERCED_HOSTS)
def test_every_motif_that_is_pierced_leaves_one_piece(host, form):
    for motif in MOTIFS:
        for style in styles_of(host, motif):
            if "pierced" in techniques_of(host, motif, style):
                assert_in_one_piece(Recipe(host, motif, style, 0, form, 0, "pierced"))


def test_what_can_be_pierced():
    assert is_pierceable("lale")
    assert is_pierceable("sebeke")  # its ground is cut out
    assert not is_pierceable("goz")  # the ring's middle would fall out


def test_motifs_of_half_size_cells_survive_sixteen_voxels():
    def cell(size):
        c = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
        return np.meshgrid(c, c, indexing="ij")

    for name in set(MOTIFS) - set(FINE):
        fine, coarse = (motif_field(name, *cell(size)) < 0 for size in (240, 15))
        agreement = (np.kron(coarse, np.ones((16, 16), bool)) == fine).mean()
        assert agreement > 0.87, name


# Of an ornament's voxels, the share under two voxels in the worst motif, and the share of those
# that hang by no face on what is thicker: the others are crumbs of its outline.
THIN, THIN_PART = 0.1, 0.045
THIN_IN_ROWS = {"cini": 0.05, "vazo": 0.05, "sanduka": 0.105}  # the last: petek on its low side


@pytest.mark.slow
@pytest.mark.parametrize("host", HOSTS)
def test_strokes_are_two_voxels_wide(host):
    """In the middle form at 64^3: what of the ornament is in no 2x2x2 block of solid, or of cut."""
    points = grid_points(64).reshape(-1, 3)
    uses = [(motif, styles_of(host, motif)[0]) for motif in MOTIFS if styles_of(host, motif)]
    parts = Shape(Recipe(host, *uses[0], 0, (1, 1, 1), 0), 32).host(points)
    for motif, style in uses:
        for layout in ["row", *layouts_of(host, motif, 64)]:
            shape = Shape(Recipe(host, motif, style, 0, (1, 1, 1), 0, None, layout), 32)
            s = shape.ornament(parts)
            solid, bare = ((a < 0).reshape(64, 64, 64) for a in (s.sdf, s.host_sdf))
            if shape.relief < 0:
                solid, bare = ~solid, ~bare
            ornament = solid & ~bare
            thick = binary_opening(solid, np.ones((2, 2, 2)))
            thin = ornament & ~thick
            bound = THIN_IN_ROWS.get(host, THIN) if layout == "row" else THIN
            assert thin.sum() < bound * ornament.sum(), (motif, layout)
            part = thin & ~binary_dilation(thick)
            assert part.sum() < THIN_PART * ornament.sum(), (motif, layout)
