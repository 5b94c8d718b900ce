"""The procedural shapes: fields, charts, surface points."""

import numpy as np

from otuken_jax.data.motifs.recipes import Recipe
from otuken_jax.data.motifs.shapes import build_fields, sample_surface

VASE = Recipe("vazo", "lale", "iznik", 0, (1, 1, 1), 0)


def test_fields_and_points_agree():
    fields = build_fields(VASE, 32)
    assert fields.sdf.shape == (32, 32, 32)
    assert fields.sdf.dtype == np.float32
    assert (fields.sdf <= fields.host_sdf + 1e-6).all()
    surface = sample_surface(VASE, 500, 0)
    assert np.abs(np.linalg.norm(surface["normals"], axis=1) - 1).max() < 1e-4
