"""Motifs as 2D signed fields."""

import numpy as np
import pytest

from otuken_jax.data.motifs.fields import MOTIFS, motif_field


def cell(size):
    c = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    return np.meshgrid(c, c, indexing="ij")


@pytest.mark.parametrize("name", MOTIFS)
def test_a_motif_is_a_distance_that_wraps(name):
    u, v = cell(64)
    field = motif_field(name, u, v)
    assert field.dtype == np.float32
    slope = np.hypot(*np.gradient(field, 2 / 64))
    assert np.median(slope) == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(motif_field(name, u + 2, v), field, atol=1e-5)
    assert 0.25 < (field < 0).mean() < 0.65


@pytest.mark.parametrize("name", MOTIFS)
def test_a_motif_survives_a_cell_of_fifteen_voxels(name):
    fine, coarse = (motif_field(name, *cell(size)) < 0 for size in (240, 15))
    assert (np.kron(coarse, np.ones((16, 16), bool)) == fine).mean() > 0.88


def test_motifs_differ():
    inside = {name: motif_field(name, *cell(15)) < 0 for name in MOTIFS}
    iou = np.array(
        [[(a & b).sum() / (a | b).sum() for a in inside.values()] for b in inside.values()]
    )
    others = iou[~np.eye(len(MOTIFS), dtype=bool)]
    assert others.max() < 0.7
    assert others.mean() < 0.45
