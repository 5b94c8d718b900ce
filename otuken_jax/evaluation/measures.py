"""The figures of one made shape, and of a set of them, with their definitions."""

from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Bool, Float

from otuken_jax import metrics, metrics_frechet
from otuken_jax.conventions import CANONICAL_SIZE
from otuken_jax.data.motifs.styles import STYLES
from otuken_jax.errors import UserError
from otuken_jax.evaluation.examples import Example, Volume
from otuken_jax.evaluation.library import MAX_REPEATS, Candidates
from otuken_jax.geometry.mesh_io import field_to_mesh, is_closed, remove_specks
from otuken_jax.metrics import Cloud, Estimate
from otuken_jax.models.pointnet2 import PointNet2
from otuken_jax.models.weights import read_card

NAN = float("nan")
SET_RESAMPLES = 200
PUBLISHED_POINTS = 4096  # of a cloud for P-FID and P-IS


@dataclass(frozen=True)
class Measured:
    """Figures of one made shape; NaN where a measure does not apply."""

    figures: dict[str, float]
    cloud: Float[np.ndarray, "n 3"]  # on its surface, as many points as the record has
    host: int | None  # number of the nearest host; None: no candidates, or nothing was made


def measure(made: Volume, example: Example, candidates: Candidates | None, seed: int) -> Measured:
    """All figures of a made shape against the record that its words come from."""
    figures = {"iou": metrics.iou(made.occupancy, example.field > 0)}
    cloud, closed = surface_cloud(made, len(example.surface.points), seed)
    figures |= metrics.surface_distances(cloud, example.surface)
    figures["watertight"] = float(closed)
    figures["color_error"] = NAN
    if example.has_colors:
        errors = np.abs(made.colors_at(example.surface.points) - example.colors)
        figures["color_error"] = float(errors.mean())
        painted = is_painted(example)
        if painted.any():
            figures["color_error_ornament"] = float(errors[painted].mean())
    if candidates is None:
        return Measured(figures, cloud.points, None)
    host = candidates.hosts.nearest(made.occupancy) if made.occupancy.any() else None
    figures["host_accuracy"] = float(host == candidates.right_host)
    names = ("motif_accuracy", "chance", "band_iou_right", "band_iou_wrong")
    ornament = dict.fromkeys(names, NAN)
    if candidates.band.region.any():
        bands, right = candidates.band.ious(made.occupancy), candidates.right_motif
        wrong = np.delete(bands, right)
        ornament = {
            "motif_accuracy": float(bands[right] > wrong.max(initial=-1.0)),
            "chance": candidates.chance,
            "band_iou_right": float(bands[right]),
            "band_iou_wrong": float(wrong.mean()) if len(wrong) else NAN,
        }
    repeats = candidates.nearest_repeats(made.occupancy)
    error = NAN if repeats is None else float(abs(repeats - candidates.right_repeats))
    return Measured(figures | ornament | {"repeat_error": error}, cloud.points, host)


def is_painted(example: Example) -> Bool[np.ndarray, " n"]:
    """Which of a record's points have the colour of the ornament, not of the ground."""
    recipe = example.recipe
    if recipe is None or recipe.motif is None:
        return np.zeros(len(example.colors), bool)
    palette = STYLES[recipe.style].palettes[recipe.palette]
    ground, motif = (
        np.abs(example.colors - np.float32(color.rgb)).sum(axis=1)
        for color in (palette.ground, palette.motif)
    )
    return motif < ground


def surface_cloud(made: Volume, count: int, seed: int) -> tuple[Cloud, bool]:
    """Points on the mesh that `generate` would write, and whether that is closed.

    Of an empty field, which has no mesh: all points at the origin, with zero normals.
    """
    try:
        mesh, _ = remove_specks(field_to_mesh(made.field))
    except UserError:
        return Cloud(np.zeros((count, 3)), np.zeros((count, 3))), False
    surface = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    points, faces = trimesh.sample.sample_surface(surface, count, seed=seed)
    return Cloud(np.asarray(points), surface.face_normals[faces]), is_closed(mesh)


@dataclass(frozen=True)
class SetMeasure:
    """P-FID and P-IS by a PointNet++, or without one their stated substitutes.

    `weights` says which PointNet++ it is: source and sha256 of the converted file.
    """

    pointnet: PointNet2 | None = None
    weights: dict[str, str] | None = None

    @classmethod
    def read(cls, folder: str | None) -> "SetMeasure":
        """With the converted PointNet++ of a folder, if one is given.

        Raises:
            UserError: the folder holds no such weights, or not intact.
        """
        if folder is None:
            return cls()
        card = read_card(folder, "point-e/pointnet")
        pointnet = metrics_frechet.load_pointnet(folder)
        return cls(pointnet, {"source": card.source, "sha256": card.sha256})

    def __call__(
        self, made: Float[np.ndarray, "b n 3"], true: Float[np.ndarray, "b n 3"], seed: int
    ) -> dict[str, Estimate]:
        """The distance to the true clouds, each made one's own, and the score of the made ones.

        Resampling repeats shapes, which raises the distance; so the interval is the value
        +- 1.96 standard deviations of 200 resamples of pairs (Efron and Tibshirani 1993, 6.4: 50
        to 200 do). Empty for fewer than two shapes.
        """
        if len(made) < 2:
            return {}
        if self.pointnet is None:
            a, b = metrics_frechet.d2_histograms(made), metrics_frechet.d2_histograms(true)
            probs = metrics_frechet.cluster_probs(a, b)
            names = ("fd_d2", "is_d2")
        else:
            a, probs = metrics_frechet.features_and_probs(self.pointnet, made[:, :PUBLISHED_POINTS])
            b, _ = metrics_frechet.features_and_probs(self.pointnet, true[:, :PUBLISHED_POINTS])
            names = ("p_fid", "p_is")
        rng = np.random.default_rng(seed)
        distances, scores = [], []
        for _ in range(SET_RESAMPLES):
            i = rng.integers(len(a), size=len(a))
            distances.append(metrics_frechet.p_fid(a[i], b[i]))
            scores.append(metrics_frechet.inception_score(probs[i]))
        values = (metrics_frechet.p_fid(a, b), metrics_frechet.inception_score(probs))
        reaches = (1.96 * float(np.std(resampled)) for resampled in (distances, scores))
        lowest = (0.0, 1.0)  # a distance, a score
        return {
            name: Estimate(max(value, least), max(value - reach, least), value + reach, len(a))
            for name, value, reach, least in zip(names, values, reaches, lowest, strict=True)
        }


def definitions(resolution: int, points: int) -> dict[str, dict[str, str | int]]:
    """What each figure is: its scale, the points or voxels it looks at, and its reduction."""
    domain = f"domain units: the longest side of a canonical shape is {CANONICAL_SIZE:g}"
    grid = f"{resolution}^3 voxels of the domain [-1, 1]^3"
    cloud = {"scale": domain, "points": points, "reduction": "mean over shapes"}
    voxels = {"scale": grid, "reduction": "mean over shapes"}
    color = cloud | {"scale": "sRGB in 0..1"}
    sets = {"scale": "centred, largest radius 1", "reduction": "over the set of shapes"}
    band = voxels | {"scale": f"{grid}, in the ornament band alone"}
    sampled = "between points drawn on the mesh and the record's own points; an empty field counts "
    sampled += "as points at the origin"
    return {
        "iou": voxels | {"what": "voxels in both over voxels in either"},
        "chamfer_l1": cloud
        | {"what": f"(mean a + mean b) / 2 of nearest Euclidean distances, {sampled}"},
        "chamfer_l2_squared": cloud
        | {"what": f"mean a^2 + mean b^2 of nearest distances, {sampled}"},
        **{
            f"f_score_{t:g}": cloud
            | {"what": f"harmonic mean of precision and recall at distance {t:g}, {sampled}"}
            for t in metrics.THRESHOLDS
        },
        "normal_consistency": cloud
        | {"what": f"mean |cos| to the nearest point's normal, both ways halved, {sampled}"},
        "watertight": {
            "what": "the mesh that would be written is closed (every edge in two opposite faces); "
            "0 only for a field that is empty or not finite, of which none is written",
            "scale": "0 or 1",
            "reduction": "mean over shapes",
        },
        "color_error": color
        | {
            "what": "mean absolute error of the three sRGB channels at the record's points; shapes "
            "that have colours"
        },
        "color_error_ornament": color
        | {"what": "the same at the points that have the ornament's colour; ornamented recipes"},
        "host_accuracy": voxels
        | {"what": "nearest by IoU among the same recipe on every host; of an empty field none"},
        "motif_accuracy": band
        | {"what": "band IoU with the right motif above that with every wrong one; ties are wrong"},
        "chance": {
            "what": "motif accuracy of a guess that knows host and style: 1 / number of the motifs "
            "of the data set that the table allows there, or of all where it combines them freely",
            "scale": "0..1",
            "reduction": "mean over shapes",
        },
        "band_iou_right": band | {"what": "band IoU with the right motif"},
        "band_iou_wrong": band | {"what": "mean band IoU with the wrong motifs"},
        "repeat_error": band
        | {
            "what": f"|n - true n|, n the nearest by band IoU among the recipe with 1 to "
            f"{MAX_REPEATS} repeats round the host; hosts with a ring of ornament alone"
        },
        "p_fid": sets
        | {
            "what": "Frechet distance of PointNet++ features (Point-E) to those of the true "
            f"clouds; published figures are of {PUBLISHED_POINTS} points",
            "points": min(points, PUBLISHED_POINTS),
        },
        "p_is": sets
        | {
            "what": "inception score of PointNet++ class probabilities (Point-E); published "
            f"figures are of {PUBLISHED_POINTS} points",
            "points": min(points, PUBLISHED_POINTS),
        },
        "fd_d2": sets
        | {
            "what": "substitute for P-FID, not comparable with it: Frechet distance of D2 "
            f"histograms ({metrics_frechet.D2_PAIRS} pairs, {metrics_frechet.D2_BINS} bins, in %)",
            "points": points,
        },
        "is_d2": sets
        | {
            "what": "substitute for P-IS, not comparable with it: inception score of soft "
            f"membership in {metrics_frechet.D2_CLUSTERS} clusters of the true D2 histograms",
            "points": points,
        },
    }
