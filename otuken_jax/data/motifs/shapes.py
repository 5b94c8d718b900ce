"""Shapes from recipes: distance fields, ornament charts, and surface points with colours."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import label
from skimage.measure import marching_cubes

from otuken_jax.conventions import grid_points, voxel_size
from otuken_jax.data.motifs.applications import BOLDER, PIERCED_WALL, lay_out
from otuken_jax.data.motifs.charts import Chart, Parts
from otuken_jax.data.motifs.fields import MOTIFS, motif_field
from otuken_jax.data.motifs.hosts import HOSTS
from otuken_jax.data.motifs.primitives import smooth_union, smoothstep
from otuken_jax.data.motifs.recipes import Recipe, form_values, plain_color
from otuken_jax.data.motifs.styles import STYLES
from otuken_jax.data.motifs.table import PIERCED_HOSTS, own_technique
from otuken_jax.errors import UserError
from otuken_jax.geometry.marching_cubes import field_to_mesh
from otuken_jax.geometry.surface_mesh import SurfaceMesh

SMALLEST_SCALE = 0.9  # of the augmentation
THINNEST_VOXELS = 2.5  # of the coarsest grid trained on
CELL_HALF = 0.4  # of the cells of what is pierced, domain units, about
RIM = 0.16  # of the colour round an opening, in chart units
SHELL = (0.22, 0.14)  # distance from the face over which the band rises from 0 to 1
FILLET = 0.08
SAMPLING_RESOLUTION = 32


@dataclass(frozen=True)
class ShapeFields:
    """Fields [R, R, R] of one shape, float32; distances in domain units."""

    sdf: Float[np.ndarray, "r r r"]  # with ornament, negative inside
    host_sdf: Float[np.ndarray, "r r r"]  # the same without ornament
    band: Float[np.ndarray, "r r r"]  # 0..1: where the chart is valid, near the zone's surface
    u: Float[np.ndarray, "r r r"]  # [-1, 1], one repeat, u = -1 equals u = 1
    v: Float[np.ndarray, "r r r"]  # [-1, 1]


@dataclass(frozen=True)
class Samples:
    """A shape at some points [n]: distances, chart, and the relief's profile 0..1."""

    sdf: np.ndarray
    host_sdf: np.ndarray
    body: np.ndarray  # distance to the ornamented part alone, without ornament
    chart: Chart
    profile: np.ndarray
    painted: np.ndarray  # whether a surface here has the motif's colour


def relief_of(recipe: Recipe) -> float:
    """Height of the ornament in domain units: raised > 0, engraved < 0, 0 where it is colour."""
    if not recipe.style:
        return 0.0
    height = abs(STYLES[recipe.style].relief)
    technique = recipe.technique or own_technique(recipe.host, recipe.style)
    return {"relief": height, "engraving": -height}.get(technique, 0.0)


class Shape:
    """A recipe ready to be evaluated at any points."""

    def __init__(self, recipe: Recipe, coarsest: int):
        build = HOSTS[recipe.host].build
        thickness = THINNEST_VOXELS * voxel_size(coarsest) / SMALLEST_SCALE
        self.surface = build(*form_values(recipe), thickness)
        self.wall = np.float32(max(PIERCED_WALL, 1.15 * thickness))
        self.recipe = recipe
        self.style = STYLES[recipe.style] if recipe.style else None
        self.relief = relief_of(recipe)
        self.pierced = bool(recipe.motif) and recipe.technique == "pierced"
        self.opens_ground = self.pierced and MOTIFS[recipe.motif].lattice
        if self.pierced and recipe.host not in PIERCED_HOSTS:
            raise UserError(
                f"a {recipe.host} is too thick to cut through: pierce {', '.join(PIERCED_HOSTS)}"
            )

    def __call__(self, points: Float[np.ndarray, "n 3"]) -> Samples:
        """Evaluates the shape at points [n, 3] of the domain."""
        return self.ornament(self.host(points))

    def host(self, points: Float[np.ndarray, "n 3"]) -> Parts:
        """The plain host at points [n, 3]: the same for every motif, style and layout."""
        return self.surface(*np.ascontiguousarray(points.T))

    def ornament(self, p: Parts) -> Samples:
        """The shape where its host was evaluated."""
        chart = lay_out(p.chart, self.recipe.layout)
        profile, field = np.zeros_like(p.body), np.ones_like(p.body)
        host_sdf = self._join(p.body, p)
        if self.pierced:  # hollow, so that there is something to see through
            host_sdf = np.maximum(host_sdf, -host_sdf - self.wall)
        if not self.recipe.motif:
            return Samples(host_sdf, host_sdf, p.body, chart, profile, field < 0)
        zone = chart.through if self.pierced else chart.zone
        chosen = zone > 0
        field[chosen] = self._motif(chart.u[chosen], chart.v[chosen])
        sign = -1 if self.opens_ground else 1
        half = self.style.edge / 2
        profile[chosen] = smoothstep(half, -half, sign * field[chosen])
        if self.pierced:
            opening = np.maximum(sign * field, 0.5 - zone) * np.float32(CELL_HALF)
            sdf = np.maximum(host_sdf, -opening)  # with upright walls, whatever the depth
            painted = field < RIM
        else:
            sdf = self._join(p.body - self.relief * chart.zone * profile, p)
            painted = profile > 0.5
        painted &= chart.zone > 0.5
        return Samples(sdf, host_sdf, p.body, chart, profile, painted)

    def _motif(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The motif's distance at chart points, as the style draws it."""
        style = self.style
        if style.steps:
            u, v = ((np.floor(x * style.steps) + np.float32(0.5)) / style.steps for x in (u, v))
        if style.sway:
            u = u - np.float32(style.sway) * (1 - np.square(v))
        # What is cut out leaves bridges between openings, which must stay as wide as they are.
        bolder = 0.0 if self.pierced else BOLDER[self.recipe.layout]
        return motif_field(self.recipe.motif, u, v) - np.float32(style.stroke + bolder)

    @staticmethod
    def _join(body, p):
        if p.rest is not None:
            body = smooth_union(body, p.rest, FILLET)
        return body if p.cavity is None else np.maximum(body, -p.cavity)

    def sdf(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Signed distance of the full shape at points [n, 3]."""
        return self(points).sdf

    def gradient(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Gradient of the signed distance, by four evaluations at a tetrahedron's corners."""
        corners = np.array([(1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)], np.float32)
        step = 4e-3
        values = self.sdf((points[None] + step * corners[:, None]).reshape(-1, 3))
        return values.reshape(4, -1).T @ corners / (4 * step)


def build_fields(recipe: Recipe, resolution: int, *, coarsest: int = 16) -> ShapeFields:
    """Distance and chart fields of a recipe at cell centres of a resolution^3 grid.

    `coarsest` is the coarsest grid trained on: nothing is thinner than 2.5 of its voxels, also
    after the smallest augmentation scale.
    """
    shape = Shape(recipe, coarsest)
    s = shape(grid_points(resolution).reshape(-1, 3))
    if shape.pierced:  # the whole wall
        band = s.chart.through * smoothstep(*SHELL, np.maximum(s.host_sdf, 0))
    else:
        band = s.chart.zone * smoothstep(*SHELL, np.abs(s.chart.height))
    fields = (s.sdf, s.host_sdf, band, s.chart.u, s.chart.v)
    fields = [a.reshape((resolution,) * 3).astype(np.float32, copy=False) for a in fields]
    if shape.pierced:
        fields[0] = _in_one_piece(fields[0])
    return ShapeFields(*fields)


def _in_one_piece(sdf: Float[np.ndarray, "r r r"]) -> Float[np.ndarray, "r r r"]:
    """The largest part alone, without sealed hollows.

    Where cuts run out thinly, voxels of the wall stand by themselves, and of the hollow.
    """
    part, _ = label(sdf < 0)
    largest = np.bincount(part[part > 0]).argmax()
    sdf = np.where((part > 0) & (part != largest), np.abs(sdf), sdf)
    free, _ = label(sdf >= 0)
    return np.where((free > 0) & (free != free[0, 0, 0]), -np.abs(sdf), sdf)


def band_region(
    recipe: Recipe, resolution: int, *, coarsest: int = 16
) -> Bool[np.ndarray, "r r r"]:
    """The voxels whose occupancy some motif of the recipe's style would change.

    They lie in the ornament zone between the plain surface and the full relief, so "band IoU" is
    IoU over these voxels. Empty for a plain recipe, and for an ornament in colour alone.
    """
    shape = Shape(recipe, coarsest)
    s = shape(grid_points(resolution).reshape(-1, 3))
    if shape.pierced:
        region = (s.host_sdf < 0) & (s.chart.through > 0.5)
        return region.reshape((resolution,) * 3)
    full = s.body - shape.relief * s.chart.zone
    region = ((full < 0) != (s.body < 0)) & (s.chart.zone > 0.5)
    return region.reshape((resolution,) * 3)


def sample_surface(
    recipe: Recipe, num_points: int, seed: int, *, coarsest: int = 16
) -> dict[str, Float[np.ndarray, "n 3"]]:
    """Points spread evenly over the surface, outward unit normals, colours in 0..1, float32."""
    shape = Shape(recipe, coarsest)
    resolution = SAMPLING_RESOLUTION
    volume = shape.sdf(grid_points(resolution).reshape(-1, 3)).reshape((resolution,) * 3)
    vertices, faces, _, _ = marching_cubes(volume, 0.0)
    vertices = ((vertices + 0.5) * voxel_size(resolution) - 1.0).astype(np.float32)
    rng = np.random.default_rng(seed)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    drawn = num_points + num_points // 8 + 8
    chosen = rng.choice(len(faces), drawn, p=areas / areas.sum())
    s, t = rng.random((2, drawn, 1), dtype=np.float32)
    s, t = np.where(s + t > 1, 1 - s, s), np.where(s + t > 1, 1 - t, t)
    points = a[chosen] + s * (b - a)[chosen] + t * (c - a)[chosen]
    for _ in range(2):  # Newton steps from the triangles onto the true surface
        gradient = shape.gradient(points)
        squared = np.maximum((gradient**2).sum(-1, keepdims=True), 0.25)
        points = points - shape.sdf(points)[:, None] * gradient / squared
    missed = np.abs(shape.sdf(points)) > 0.01  # at creases; the spare points take their place
    points = points[np.argsort(missed, stable=True)[:num_points]]
    gradient = shape.gradient(points)
    normals = gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-6)
    return {
        "points": points.astype(np.float32),
        "normals": normals.astype(np.float32),
        "colors": surface_colors(shape, points),
    }


def solid_mesh(recipe: Recipe, resolution: int, coarsest: int) -> SurfaceMesh:
    """The closed mesh of a recipe at a resolution, with its colours."""
    sdf = build_fields(recipe, resolution, coarsest=coarsest).sdf
    bare = field_to_mesh(-sdf)
    colors = surface_colors(Shape(recipe, coarsest), bare.vertices)
    return SurfaceMesh(bare.vertices, bare.faces, colors)


def surface_colors(shape: Shape, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """sRGB in 0..1 at surface points: the motif's colour where the relief is more than half."""
    recipe = shape.recipe
    if shape.style is None:
        color = np.asarray(plain_color(recipe).rgb, np.float32)
        return np.broadcast_to(color, points.shape).copy()
    palette = shape.style.palettes[recipe.palette]
    pair = np.asarray([palette.ground.rgb, palette.motif.rgb], np.float32)
    return pair[shape(points).painted.astype(int)]
