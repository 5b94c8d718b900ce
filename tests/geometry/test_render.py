import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from otuken_jax.conventions import grid_points
from otuken_jax.errors import UserError
from otuken_jax.geometry import render
from otuken_jax.geometry.mesh_io import SurfaceMesh, field_to_mesh
from otuken_jax.geometry.render import caption_font, contact_sheet, render_mesh, save_png

PAPER = np.rint(render.BACKGROUND * 255)


@pytest.fixture(scope="module")
def pawn():
    """A ball on a broad foot: red toward +x, where the front is, else blue."""
    x, y, z = np.moveaxis(grid_points(24), -1, 0)
    head = 0.4 - np.sqrt(x**2 + y**2 + (z - 0.4) ** 2)
    foot = np.minimum(0.6 - np.hypot(x, y), 0.2 - np.abs(z + 0.7))
    field = np.maximum(np.maximum(head, foot), np.minimum(0.2 - np.hypot(x, y), 0.5 - np.abs(z)))
    red = (x > 0)[..., None]
    colors = np.where(red, [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]).astype(np.float32)
    return field_to_mesh(field.astype(np.float32), colors)


@pytest.fixture(scope="module")
def picture(opengl, pawn):
    return render_mesh(pawn, size=128)


def is_shape(picture):
    """Pixels with a strong colour: neither paper nor shadow."""
    return np.ptp(picture.astype(int), axis=-1) > 40


def test_the_shape_fills_the_picture_and_stands_upright(picture):
    assert picture.shape == (128, 128, 3)
    assert picture.dtype == np.uint8
    rows, columns = np.nonzero(is_shape(picture))
    assert np.ptp(rows) / 128 == pytest.approx(render.FILL, abs=0.03)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(63.5, abs=3)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(63.5, abs=3)
    widths = is_shape(picture).sum(axis=1)
    assert widths[90:].max() > 1.3 * widths[:50].max()  # the foot is below


def test_the_front_is_seen_in_its_colors(picture):
    seen = picture[is_shape(picture)].astype(int)
    red = (seen[:, 0] > seen[:, 2]).mean()
    assert 0.6 < red < 0.98


def test_the_ground_has_a_shadow_and_the_corners_do_not(picture):
    corners = picture[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corners, np.tile(PAPER, (4, 1)), atol=2)
    gray = np.ptp(picture.astype(int), axis=-1) < 15
    darkness = np.where(gray, PAPER.mean() - picture.mean(axis=-1), 0.0)
    assert (darkness > 25).sum() > 50
    assert darkness[:, 64:].sum() > 1.5 * darkness[:, :64].sum()  # the light comes from the left


def test_the_shadow_ends_softly_before_the_ground_does(pawn):
    wide = (pawn.vertices - pawn.vertices.min(axis=0)) * 2.0 - np.array([1.2, 1.2, 0.0])
    shadow = render._ground_shadow(wide.astype(np.float32), pawn.faces)
    assert 0.3 < shadow.max() < 0.7
    rim = np.concatenate([shadow[0], shadow[-1], shadow[:, 0], shadow[:, -1]])
    assert rim.max() < 0.01  # a texel from the edge
    assert np.abs(np.diff(shadow, axis=1)).max() < 0.1


def test_size_and_place_of_the_mesh_do_not_matter(pawn, picture):
    moved = SurfaceMesh(
        pawn.vertices + np.array([0.3, -0.2, 0.1], np.float32), pawn.faces, pawn.colors
    )
    difference = np.abs(render_mesh(moved, size=128).astype(int) - picture)
    assert difference.mean() < 1.0


def test_the_same_mesh_gives_the_same_bytes(pawn, picture, tmp_path):
    plain = render_mesh(SurfaceMesh(pawn.vertices, pawn.faces), size=128)
    assert not np.array_equal(plain, picture)
    again = render_mesh(pawn, size=128)
    save_png(picture, tmp_path / "a.png")
    save_png(again, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)


def test_a_machine_without_opengl_is_told_what_to_install(pawn, monkeypatch):
    monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")
    monkeypatch.setattr(render, "_has_osmesa", lambda: False)
    with pytest.raises(UserError, match="apt-get install libegl1"):
        render_mesh(pawn, size=64)


def test_importing_the_module_does_not_load_vtk():
    code = "import sys, otuken_jax.geometry.render; print('vtkmodules' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def glyph(letter):
    image = Image.new("L", (40, 40))
    ImageDraw.Draw(image).text((5, 5), letter, font=caption_font(24), fill=255)
    return np.asarray(image)


def test_the_caption_font_has_every_turkish_letter():
    missing = glyph("\ue000")  # private use: drawn as the font's box
    letters = "çğıöşüÇĞİÖŞÜâîûÂÎÛ’“”–×"
    glyphs = [glyph(letter) for letter in letters]
    for letter, drawn in zip(letters, glyphs, strict=True):
        assert not np.array_equal(drawn, missing), letter
    assert len({drawn.tobytes() for drawn in glyphs}) == len(letters)


def test_a_contact_sheet_has_captions_under_its_pictures():
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    images = [np.full((100, 120, 3), color, np.uint8) for color in colors]
    captions = ["lale", "sekiz kollu Selçuklu yıldızı motifli çini vazo", ""]
    sheet = np.asarray(contact_sheet(images, captions, columns=2))
    assert sheet.shape[1] == 240
    np.testing.assert_array_equal(sheet[50, [60, 180]], colors[:2])
    second_row = np.nonzero((sheet == colors[2]).all(axis=-1))[0]
    assert len(second_row) == 100 * 120
    below = sheet[100 : second_row.min()].min(axis=-1) < 100  # dark ink
    assert below[:, :120].any()
    ink_rows = np.nonzero(below[:, 120:].any(axis=1))[0]
    assert np.ptp(ink_rows) > 25  # the long caption takes several lines
    assert not below[:, [0, 119, 120, 239]].any()  # and stays in its cell


def test_a_contact_sheet_needs_pictures_of_one_size_with_captions():
    image = np.zeros((8, 8, 3), np.uint8)
    for images, captions in (([], []), ([image], []), ([image, image[:4]], ["a", "b"])):
        with pytest.raises(ValueError, match="all of one shape"):
            contact_sheet(images, captions, columns=2)


def test_a_sheet_is_saved_whole(tmp_path):
    sheet = contact_sheet([np.zeros((64, 64, 3), np.uint8)], ["İznik"], columns=3)
    save_png(sheet, tmp_path / "new" / "sheet.png")
    data = (tmp_path / "new" / "sheet.png").read_bytes()
    assert Image.open(io.BytesIO(data)).size == sheet.size
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["sheet.png"]
