"""What a made shape is told apart from: the same recipe with every motif, host, style, count."""

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from otuken_jax import metrics
from otuken_jax.conventions import grid_points
from otuken_jax.data.motifs.charts import Parts
from otuken_jax.data.motifs.recipes import HOSTS, MOTIFS, STYLES, Recipe
from otuken_jax.data.motifs.shapes import (
    Shape,
    band_region,
    build_fields,
    sample_surface,
    surface_colors,
)
from otuken_jax.data.motifs.table import (
    PIERCED_HOSTS,
    SMALL_CELLS,
    allowed,
    layouts_of,
    techniques_of,
)
from otuken_jax.data.records import read_manifest
from otuken_jax.evaluation.baselines import spread_colors
from otuken_jax.evaluation.examples import Volume

HOST_SAMPLES = 32  # hosts are told apart on a grid of at most so many cells a side
MAX_REPEATS = 8
RING_SHARE = 0.02  # of a ring's points lie in at least six eighths of the circle; a door may gape
RING_CONCENTRATION = 0.8  # of the phase between chart and azimuth: 1 on an exact ring chart
RING_AXES = np.linspace(-0.4, 0.4, 17)  # where an axis may stand; handles move it off the centre
RING_POINTS = 200
COLOR_POINTS = 512


@dataclass(frozen=True)
class Band:
    """The ornament band of a recipe, and in it the recipe with every motif."""

    region: Bool[np.ndarray, "r r r"]  # see `band_region`
    motifs: Bool[np.ndarray, "m v"]  # occupancy over the voxels of the region

    def ious(self, occupancy: Bool[np.ndarray, "r r r"]) -> Float[np.ndarray, " m"]:
        """IoU with every motif over the band alone."""
        return metrics.ious(occupancy[self.region], self.motifs)

    def nearest_motif(self, occupancy: Bool[np.ndarray, "r r r"]) -> int:
        """Number of the motif with the highest band IoU."""
        return int(np.argmax(self.ious(occupancy)))


@dataclass(frozen=True)
class EveryHost:
    """The same recipe on every host: occupancy on every `step`-th voxel along each axis."""

    shapes: Bool[np.ndarray, "h s s s"]
    step: int

    def nearest(self, occupancy: Bool[np.ndarray, "r r r"]) -> int:
        """Number of the host with the highest IoU."""
        step = self.step
        return int(np.argmax(metrics.ious(occupancy[::step, ::step, ::step], self.shapes)))


@dataclass(frozen=True)
class Candidates:
    """What a made shape of one ornamented recipe may be nearest to."""

    band: Band
    hosts: EveryHost
    repeats: Bool[np.ndarray, "k v"] | None  # 1 to MAX_REPEATS round a ring; None off rings
    right_motif: int
    right_host: int
    right_repeats: int | None
    chance: float  # of the right motif, for who knows host and style

    def nearest_repeats(self, occupancy: Bool[np.ndarray, "r r r"]) -> int | None:
        """The number of repeats with the highest band IoU; None off rings."""
        if self.repeats is None:
            return None
        return 1 + int(np.argmax(metrics.ious(occupancy[self.band.region], self.repeats)))


def on_host(recipe: Recipe, host: str) -> Recipe:
    """The recipe on a host; what that is too thick to pierce for is done the style's own way."""
    pierced = recipe.technique == "pierced" and host not in PIERCED_HOSTS
    technique = None if pierced else recipe.technique
    return dataclasses.replace(recipe, host=host, technique=technique)


@dataclass(frozen=True)
class Library:
    """What a data set was made of: which names, and the coarsest grid of its shapes."""

    hosts: tuple[str, ...]
    motifs: tuple[str, ...]
    styles: tuple[str, ...]
    coarsest: int
    unseen_styles: tuple[str, ...] = ()  # of `styles`, those that training does not show
    free: bool = True  # whether any motif may go on any host in any style

    @classmethod
    def read(cls, directory: str | Path) -> "Library | None":
        """From a data set's manifest; None if it was not made from recipes."""
        manifest = read_manifest(directory)
        held = manifest.get("arguments", {})
        if "coarsest" not in held:
            return None
        return cls(
            tuple(held["hosts"] or HOSTS),
            tuple(held["motifs"] or MOTIFS),
            tuple(held["styles"] or STYLES),
            held["coarsest"],
            tuple(manifest.get("heldout", {}).get("heldout_styles", ())),
            held.get("free", False),
        )

    def shows(self, recipe: Recipe) -> bool:
        """Whether the data may show the recipe: the table has it, if they follow the table."""
        host, motif, style = recipe.host, recipe.motif, recipe.style
        return self.free or (
            allowed(host, motif, style)
            and recipe.technique in (None, *techniques_of(host, motif, style))
            and recipe.layout in ("row", *layouts_of(host, motif, SMALL_CELLS))
        )

    def motifs_for(self, recipe: Recipe) -> tuple[str, ...]:
        """The motifs that may be on the recipe's host in its style, its own among them."""
        host, style = recipe.host, recipe.style
        return tuple(
            motif
            for motif in self.motifs
            if self.free or motif == recipe.motif or allowed(host, motif, style)
        )

    def occupancy_at(
        self, recipe: Recipe, points: Float[np.ndarray, "v 3"]
    ) -> Bool[np.ndarray, " v"]:
        return Shape(recipe, self.coarsest).sdf(points) < 0

    def on_every_host(self, recipe: Recipe, resolution: int) -> EveryHost:
        """The same recipe on every host, at every n-th cell of a fine grid."""
        step = max(1, resolution // HOST_SAMPLES)
        points = grid_points(resolution)[::step, ::step, ::step]
        flat = points.reshape(-1, 3)
        variants = (on_host(recipe, host) for host in self.hosts)
        occupancies = [self.occupancy_at(variant, flat) for variant in variants]
        return EveryHost(np.stack(occupancies).reshape(-1, *points.shape[:3]), step)

    def band(self, recipe: Recipe, resolution: int) -> Band:
        """The band of an ornamented recipe, with every motif."""
        region = band_region(recipe, resolution, coarsest=self.coarsest)
        points = grid_points(resolution)[region]
        host = Shape(recipe, self.coarsest).host(points)
        variants = (dataclasses.replace(recipe, motif=motif) for motif in self.motifs)
        shapes = [Shape(variant, self.coarsest).ornament(host) for variant in variants]
        return Band(region, np.stack([shape.sdf < 0 for shape in shapes]))

    def candidates(self, recipe: Recipe, resolution: int) -> Candidates:
        """Everything that shapes made for an ornamented recipe are compared with."""
        band = self.band(recipe, resolution)
        repeats, count = self._with_every_count(recipe, grid_points(resolution)[band.region])
        return Candidates(
            band,
            self.on_every_host(recipe, resolution),
            repeats,
            self.motifs.index(recipe.motif),
            self.hosts.index(recipe.host),
            count,
            1 / len(self.motifs_for(recipe)),
        )

    def _with_every_count(
        self, recipe: Recipe, points: Float[np.ndarray, "v 3"]
    ) -> tuple[Bool[np.ndarray, "k v"] | None, int | None]:
        """The recipe with 1 to MAX_REPEATS repeats round its ring, and its own number."""
        shape = Shape(recipe, self.coarsest)
        ring = find_ring(shape, points)
        if ring is None:
            return None, None
        host = shape.host(points)
        occupancies = [
            shape.ornament(_repeated(host, points, ring, wanted)).sdf < 0
            for wanted in range(1, MAX_REPEATS + 1)
        ]
        if all((occupancy == occupancies[0]).all() for occupancy in occupancies):
            return None, None  # a layout that does not repeat
        return np.stack(occupancies), ring.count

    def colors_of_palettes(
        self, points: Float[np.ndarray, "n 3"], recipe: Recipe
    ) -> dict[tuple[str, int], Float[np.ndarray, "n 3"]]:
        """Colours at surface points in every palette of every style."""
        return {
            (style, palette): surface_colors(
                Shape(dataclasses.replace(recipe, style=style, palette=palette), self.coarsest),
                points,
            )
            for style in self.styles
            for palette in range(len(STYLES[style].palettes))
        }

    def surface(self, recipe: Recipe) -> dict[str, Float[np.ndarray, "n 3"]]:
        """Points, normals and colours of a recipe that no record holds."""
        return sample_surface(recipe, COLOR_POINTS, 0, coarsest=self.coarsest)

    def volume(self, recipe: Recipe, resolution: int) -> Volume:
        """The true shape of a recipe that no record holds, with its colours."""
        field = -build_fields(recipe, resolution, coarsest=self.coarsest).sdf
        surface = self.surface(recipe)
        return Volume(field, spread_colors(field, surface["points"], surface["colors"]))


@dataclass(frozen=True)
class StyleCandidates:
    """A recipe in every style of a library: colours at its surface, relief near it."""

    names: tuple[tuple[str, int], ...]  # style, palette
    points: Float[np.ndarray, "n 3"]
    colors: Float[np.ndarray, "p n 3"]
    region: Bool[np.ndarray, "r r r"]  # the bands of all styles together
    reliefs: dict[str, Bool[np.ndarray, " v"]]
    right: tuple[str, int]

    @classmethod
    def of(cls, library: Library, recipe: Recipe, resolution: int) -> "StyleCandidates":
        styled = {s: dataclasses.replace(recipe, style=s, palette=0) for s in library.styles}
        bands = [band_region(r, resolution, coarsest=library.coarsest) for r in styled.values()]
        region = np.any(bands, axis=0)
        cells = grid_points(resolution)[region]
        points = library.surface(recipe)["points"]
        colors = library.colors_of_palettes(points, recipe)
        return cls(
            tuple(colors),
            points,
            np.stack(list(colors.values())),
            region,
            {s: library.occupancy_at(r, cells) for s, r in styled.items()},
            (recipe.style, recipe.palette),
        )

    def palette_errors(self, made: Volume) -> dict[tuple[str, int], float]:
        """Mean absolute sRGB error at the true surface for every palette."""
        errors = np.abs(made.colors_at(self.points) - self.colors).mean(axis=(1, 2))
        return dict(zip(self.names, errors.tolist(), strict=True))

    def is_palette_right(self, made: Volume) -> bool:
        """Whether no palette is nearer to the colours than the right one."""
        errors = self.palette_errors(made)
        return errors[self.right] <= min(errors.values())

    def is_style_right(self, made: Volume) -> bool:
        """Whether the right style is nearest: its best palette's error plus its relief's.

        The relief's error is the share of the voxels of all bands whose occupancy differs.
        """
        errors = self.palette_errors(made)
        inside = made.occupancy[self.region]
        total = {
            style: min(e for (s, _), e in errors.items() if s == style)
            + float((inside != relief).sum() / max(1, inside.size))
            for style, relief in self.reliefs.items()
        }
        return min(total, key=total.get) == self.right[0]


@dataclass(frozen=True)
class Ring:
    """A ring chart: how many repeats it counts round which upright axis, u being 0 at `phase`."""

    count: int
    center: tuple[float, float]
    phase: float

    def azimuth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.arctan2(y - self.center[1], x - self.center[0])


def find_ring(shape: Shape, points: Float[np.ndarray, "v 3"]) -> Ring | None:
    """The ring chart of a shape at points of its band; None if it is no ring.

    A ring has points all round its axis; there its number n leaves n azimuth - pi u the same
    everywhere. Few axes and numbers are possible, so all of them are tried.
    """
    if not len(points):
        return None
    some = points[:: max(1, len(points) // RING_POINTS)]
    turns = np.pi * shape.host(some).chart.u
    counts = np.arange(1, MAX_REPEATS + 1)[:, None]
    best, sharpest = None, RING_CONCENTRATION
    for center in itertools.product(RING_AXES, repeat=2):
        azimuth = Ring(1, center, 0.0).azimuth(some[:, 0], some[:, 1])
        mean = np.exp(1j * (counts * azimuth - turns)).mean(axis=1)
        number = int(np.argmax(np.abs(mean)))
        if np.abs(mean[number]) > sharpest:
            sharpest = np.abs(mean[number])
            best = Ring(number + 1, center, float(np.angle(mean[number])))
    if best is None:
        return None
    round_it, _ = np.histogram(best.azimuth(some[:, 0], some[:, 1]), 8, (-np.pi, np.pi))
    return best if (round_it > RING_SHARE * len(some)).sum() >= 6 else None


def _repeated(host: Parts, points: Float[np.ndarray, "v 3"], ring: Ring, wanted: int) -> Parts:
    """A host at points, its ring chart counting another number of repeats."""
    turn = np.pi * host.chart.u
    azimuth = ring.azimuth(points[:, 0], points[:, 1])
    # Which repeat: the whole turns between the azimuth, which may be off a little, and u.
    whole = np.round((ring.count * azimuth - turn - ring.phase) / (2 * np.pi))
    angle = (turn + 2 * np.pi * whole) / ring.count
    u = np.mod(wanted * angle / np.pi + 1, 2) - 1
    chart = dataclasses.replace(host.chart, u=u.astype(host.chart.u.dtype))
    return dataclasses.replace(host, chart=chart)
