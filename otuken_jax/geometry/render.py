"""Pictures of meshes, rendered off screen, and sheets of pictures with Turkish captions."""

import ctypes
import importlib.util
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from otuken_jax.errors import UserError
from otuken_jax.geometry.mesh_io import SurfaceMesh, vertex_normals, write_atomic

BACKGROUND = np.array([0.89, 0.88, 0.862])
CLAY = (0.80, 0.74, 0.66)  # of meshes without colours
CAPTION_COLOR = (45, 42, 38)

AZIMUTH, ELEVATION, VIEW_ANGLE = -32.0, 27.0, 26.0  # degrees; the front of a shape faces +x
FILL = 0.82  # share of the picture that the shape takes
SUPERSAMPLING = 2

GROUND_SIZE, GROUND_TEXELS = 3.2, 256  # side of the square under the shape, domain units
SHADOW_SLANT = 0.5  # of the key light's slant: a short shadow stays in the picture

OPENGL_MISSING = (
    "cannot render: no OpenGL driver was found; install Mesa's software renderer "
    "(Debian, Ubuntu: apt-get install libegl1 libgl1-mesa-dri), or ask for no pictures"
)


def _view_basis() -> Float[np.ndarray, "3 3"]:
    """Rows: right, up and toward the viewer."""
    azimuth, elevation = np.deg2rad([AZIMUTH, ELEVATION])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    flat = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    toward = np.cos(elevation) * flat + np.sin(elevation) * np.array([0.0, 0.0, 1.0])
    return np.stack([right, np.cross(toward, right), toward])


def _light(right: float, toward: float, up: float) -> Float[np.ndarray, "3"]:
    """Direction to a light given level with the ground: right of and toward the viewer, and up."""
    azimuth = np.deg2rad(AZIMUTH)
    flat = right * np.array([-np.sin(azimuth), np.cos(azimuth)])
    flat += toward * np.array([np.cos(azimuth), np.sin(azimuth)])
    return np.array([*flat, up])


KEY_LIGHT = _light(-0.75, 0.65, 1.2)
LIGHTS = ((KEY_LIGHT, 0.88), (_light(1.0, 0.6, 0.3), 0.42), (_light(0.5, -1.0, 0.9), 0.25))


def render_mesh(mesh: SurfaceMesh, size: int = 512) -> UInt8[np.ndarray, "h w 3"]:
    """A picture [size, size, 3] from three quarters and slightly above, standing on the ground.

    The same mesh gives the same bytes on the same machine. The first picture of a process also
    loads VTK and starts OpenGL.

    Raises:
        UserError: the machine has no OpenGL driver, not even a software one.
    """
    plotter = _new_plotter(size * SUPERSAMPLING)
    try:
        _add_shape(plotter, mesh)
        _add_ground(plotter, mesh)
        _aim_camera(plotter, mesh)
        # Ambient occlusion gives relief its depth: the lights alone leave its grooves flat.
        plotter.enable_ssao(radius=0.3, bias=0.012, kernel_size=16, blur=True)
        large = Image.fromarray(plotter.screenshot(return_img=True))
    finally:
        plotter.close()
    return np.asarray(large.resize((size, size), Image.Resampling.BOX))


class Painter:
    """`render_mesh` until the machine turns out to have no OpenGL: said once, then None instead."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self.can_draw = True
        self._say = say

    def __call__(self, mesh: SurfaceMesh, size: int = 512) -> UInt8[np.ndarray, "h w 3"] | None:
        if self.can_draw:
            try:
                return render_mesh(mesh, size)
            except UserError as error:
                self.can_draw = False
                self._say(f"no pictures, {error}")
        return None


def _new_plotter(size: int):
    """An empty scene with the lights on, or a UserError where it could not be drawn."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        # Else VTK tries an X server first and warns that there is none.
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    import pyvista  # 0.4 s

    with pyvista.vtk_verbosity("off"):
        plotter = pyvista.Plotter(off_screen=True, window_size=(size, size), lighting="none")
    # VTK falls back to this window when nothing else works, and dies drawing without its library.
    if plotter.render_window.GetClassName() == "vtkOSOpenGLRenderWindow" and not _has_osmesa():
        raise UserError(OPENGL_MISSING)
    plotter.set_background(BACKGROUND)
    for direction, intensity in LIGHTS:
        plotter.add_light(
            pyvista.Light(position=5 * direction, intensity=intensity, light_type="scene light")
        )
    return plotter


def _has_osmesa() -> bool:
    for name in ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"):  # as VTK looks for it
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def _add_shape(plotter, mesh: SurfaceMesh) -> None:
    import pyvista

    colors = mesh.colors if mesh.colors is not None else np.tile(CLAY, (len(mesh.vertices), 1))
    surface = pyvista.PolyData.from_regular_faces(mesh.vertices, mesh.faces)
    surface.point_data["rgb"] = np.rint(np.clip(colors, 0.0, 1.0) * 255).astype(np.uint8)
    surface.point_data.active_normals = vertex_normals(mesh)
    plotter.add_mesh(
        surface,
        scalars="rgb",
        rgb=True,
        smooth_shading=True,
        ambient=0.43,
        diffuse=0.60,
        specular=0.22,  # a touch of glaze
        specular_power=30,
        render=False,
    )


def _add_ground(plotter, mesh: SurfaceMesh) -> None:
    """A square of the background's colour under the shape, visible only by the shadow on it."""
    import pyvista

    bottom = mesh.vertices[:, 2].min()
    center = np.append((mesh.vertices[:, :2].min(0) + mesh.vertices[:, :2].max(0)) / 2, bottom)
    ground = pyvista.Plane(
        center=center, i_size=GROUND_SIZE, j_size=GROUND_SIZE, i_resolution=1, j_resolution=1
    )
    uv = (ground.points - center)[:, :2] / GROUND_SIZE + 0.5
    ground.active_texture_coordinates = uv.astype(np.float32)
    shadow = _ground_shadow(mesh.vertices - center.astype(np.float32), mesh.faces)
    color = np.rint(BACKGROUND * (1.0 - shadow[..., None]) * 255).astype(np.uint8)
    texture = pyvista.Texture(color[::-1])  # pictures run downward, texture coordinates upward
    plotter.add_mesh(ground, texture=texture, lighting=False, render=False)


def _ground_shadow(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "t t"]:
    """Darkness 0..1 of the ground, rows along y: a soft cast shadow and a tight contact shadow."""
    height = vertices[:, 2:]
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lit = normals @ KEY_LIGHT > 0
    slant = SHADOW_SLANT * KEY_LIGHT[:2] / KEY_LIGHT[2]
    cast = _filled(vertices[:, :2] - height * slant, faces[lit], blur=0.13)
    low = (height[faces] < 0.12).all(axis=(1, 2))
    contact = _filled(vertices[:, :2], faces[low], blur=0.05)
    y, x = ((np.mgrid[:GROUND_TEXELS, :GROUND_TEXELS] + 0.5) / GROUND_TEXELS - 0.5) * GROUND_SIZE
    fade = np.clip((GROUND_SIZE / 2 - np.hypot(x, y)) / 0.6, 0.0, 1.0)  # to the ground's rim
    return (1.0 - (1.0 - 0.28 * cast) * (1.0 - 0.40 * contact)) * fade


def _filled(
    points: Float[np.ndarray, "v 2"], faces: Int[np.ndarray, "f 3"], *, blur: float
) -> Float[np.ndarray, "t t"]:
    """Where flat triangles cover the ground, 0..1, blurred by `blur` domain units."""
    texels = (points / GROUND_SIZE + 0.5) * GROUND_TEXELS
    image = Image.new("L", (GROUND_TEXELS, GROUND_TEXELS))
    draw = ImageDraw.Draw(image)
    for triangle in texels[faces].reshape(-1, 6).tolist():
        draw.polygon(triangle, fill=255)
    image = image.filter(ImageFilter.GaussianBlur(blur / GROUND_SIZE * GROUND_TEXELS))
    return np.asarray(image) / 255.0


def _aim_camera(plotter, mesh: SurfaceMesh) -> None:
    """Looks at the middle of what is seen, from the distance at which it fills the picture."""
    basis = _view_basis()
    seen = mesh.vertices @ basis.T  # right, up, toward the viewer
    reach = np.tan(np.deg2rad(VIEW_ANGLE / 2)) * FILL
    focus = (seen.min(axis=0) + seen.max(axis=0)) / 2
    for _ in range(4):  # perspective moves the middle: converges in a few steps
        offset = seen - focus
        distance = (offset[:, 2] + np.abs(offset[:, :2]).max(axis=1) / reach).max()
        shown = offset[:, :2] / (distance - offset[:, 2:])
        focus[:2] += (shown.min(axis=0) + shown.max(axis=0)) / 2 * distance
    focus = focus @ basis
    plotter.camera.focal_point = focus
    plotter.camera.position = focus + basis[2] * distance
    plotter.camera.up = (0.0, 0.0, 1.0)
    plotter.camera.view_angle = VIEW_ANGLE
    plotter.renderer.reset_camera_clipping_range()


def contact_sheet(
    images: Sequence[UInt8[np.ndarray, "h w 3"]], captions: Sequence[str], columns: int
) -> Image.Image:
    """Pictures of one size in rows of `columns`, each with its caption under it.

    Raises:
        ValueError: there is no image, their sizes differ, or a caption is missing.
    """
    shapes = {image.shape for image in images}
    if len(shapes) != 1 or len(images) != len(captions):
        raise ValueError(
            f"{len(images)} images of shapes {sorted(shapes)} for {len(captions)} captions: "
            "give at least one image, all of one shape, and as many captions"
        )
    height, width, _ = shapes.pop()
    font_size = max(10, round(width * 0.046))
    font = caption_font(font_size)
    line, margin = round(font_size * 1.35), font_size
    wrapped = [_wrap(caption, font, width - 2 * margin) for caption in captions]
    starts = range(0, len(images), columns)
    row_lines = [max(len(text) for text in wrapped[i : i + columns]) for i in starts]
    row_heights = [height + line * lines + 2 * margin for lines in row_lines]
    paper = tuple(np.rint(BACKGROUND * 255).astype(int).tolist())
    sheet = Image.new("RGB", (width * min(columns, len(images)), sum(row_heights)), paper)
    draw = ImageDraw.Draw(sheet)
    for i, (image, text) in enumerate(zip(images, wrapped, strict=True)):
        row, column = divmod(i, columns)
        left, top = column * width, sum(row_heights[:row])
        sheet.paste(Image.fromarray(image), (left, top))
        for j, words in enumerate(text):
            at = (left + width / 2, top + height + margin / 2 + j * line)
            draw.text(at, words, font=font, fill=CAPTION_COLOR, anchor="ma")
    return sheet


def caption_font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which has every Turkish letter (Pillow's own font lacks ç ğ ı İ ö ş ü)."""
    # It comes with matplotlib, which pyvista needs; a system font may not be there.
    package = Path(importlib.util.find_spec("matplotlib").origin).parent
    path = package / "mpl-data/fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Lines no wider than `width` pixels where words allow it; a newline always breaks."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def save_png(image: UInt8[np.ndarray, "h w 3"] | Image.Image, path: str | Path) -> None:
    """Writes a picture as a whole file or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())
