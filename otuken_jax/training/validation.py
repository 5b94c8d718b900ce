"""A pass over the validation set: means over shapes, and the Frechet distance of the set."""

from collections.abc import Iterable

import jax
import numpy as np
from jax.sharding import Mesh

from otuken_jax import metrics_frechet
from otuken_jax.errors import UserError
from otuken_jax.models.otuken3d import Otuken3DModel
from otuken_jax.models.parameters import split_model
from otuken_jax.models.pointnet2 import PointNet2
from otuken_jax.training import sharding
from otuken_jax.training.batches import pad_batch
from otuken_jax.training.step import EvalSums, StepConfig, make_eval_step

FRECHET_POINTS = 4096  # of the published P-FID


class Validator:
    """Passes over the validation set; the compiled step of the last stage is kept.

    Args:
        pointnet: see `Validation`.
    """

    def __init__(self, config: StepConfig, pointnet: PointNet2 | None) -> None:
        self.config = config
        self.pointnet = pointnet
        self._steps: dict = {}

    def __call__(
        self, model: Otuken3DModel, batches: Iterable[dict[str, np.ndarray]], mesh: Mesh
    ) -> dict[str, float]:
        """The metrics of `Validation` at the model's active stage: alpha 1, canonical pose.

        Raises:
            UserError: there is no batch.
        """
        modeldef, params = split_model(model)
        if modeldef not in self._steps:
            # One compilation per stage; older stages' are not needed again.
            self._steps = {modeldef: make_eval_step(modeldef, model.stage, self.config, mesh)}
        sums = Validation(self.pointnet)
        devices = mesh.size // jax.process_count()  # of this process
        size = None
        for batch in batches:
            # Every device needs as many samples, also of a set smaller than a batch.
            size = size or -(-len(batch["has_text"]) // devices) * devices
            batch, valid = pad_batch(batch, size)
            put = sharding.put_batch(mesh, batch | {"valid": valid})
            valid = put.pop("valid")
            sums.add(self._steps[modeldef](params, put, valid))
        if size is None:
            raise UserError(
                "the validation loader gave no batch; give one that starts anew with every "
                "validation, such as a list, or None"
            )
        return sums.metrics()


class Validation:
    """Collects the sums of batches.

    Args:
        pointnet: gives P-FID, `p_fid_N`; None its substitute `fd_d2_N`, the Frechet distance of
            D2 histograms, which is not comparable with it.
    """

    def __init__(self, pointnet: PointNet2 | None) -> None:
        self.pointnet = pointnet
        self.fields: dict[str, float] = {}
        self.surfaces: dict[str, float] = {}
        self.made: list[np.ndarray] = []
        self.true: list[np.ndarray] = []

    def add(self, batch: EvalSums) -> None:
        """Adds one batch."""
        batch = jax.device_get(batch)
        for total, values in ((self.fields, batch.fields), (self.surfaces, batch.surfaces)):
            total.update({k: total.get(k, 0.0) + float(v) for k, v in values.items()})
        for clouds, values in ((self.made, batch.made), (self.true, batch.true)):
            clouds.append(values[batch.usable, :FRECHET_POINTS])

    def metrics(self) -> dict[str, float]:
        """Means over all shapes; over shapes with a surface the chamfer distance (domain units,
        squared, both ways added), the normal consistency and the Frechet distance.

        Surfaces are those of both grids; `surface_..._N`, and `fd_d2_N` or `p_fid_N`, are between
        N points drawn on each.
        `surface_share` says how many have surfaces that fit their buffers, `surface_overflow` how
        many have one that does not; the rest have none. What needs surfaces is
        left out where there is none, the Frechet distance where there are fewer than two.
        """
        count, with_surface = self.fields["count"], self.surfaces["count"]
        means = {k: v / count for k, v in self.fields.items() if k != "count"}
        means["surface_share"] = with_surface / count
        if with_surface:
            means |= {k: v / with_surface for k, v in self.surfaces.items() if k != "count"}
        if with_surface >= 2:
            means |= self._frechet()
        return means

    def _frechet(self) -> dict[str, float]:
        made, true = np.concatenate(self.made), np.concatenate(self.true)
        if self.pointnet is None:
            name, features = "fd_d2", map(metrics_frechet.d2_histograms, (made, true))
        else:
            name = "p_fid"
            features = (
                metrics_frechet.features_and_probs(self.pointnet, c)[0] for c in (made, true)
            )
        return {f"{name}_{made.shape[1]}": max(metrics_frechet.p_fid(*features), 0.0)}
