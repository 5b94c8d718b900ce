"""Motifs as 2D signed fields."""

import hashlib

import numpy as np
import pytest

from configs import quickstart
from otuken_jax.data.motifs.drawing import GROUPS
from otuken_jax.data.motifs.fields import FIRST, MOTIFS, motif_field


def cell(size):
    c = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    return np.meshgrid(c, c, indexing="ij")


@pytest.mark.parametrize("name", MOTIFS)
def test_a_motif_is_a_distance_that_wraps(name):
    u, v = cell(64)
    field = motif_field(name, u, v)
    assert field.dtype == np.float32
    fine = motif_field(name, *cell(128))
    slope = np.hypot(*np.gradient(fine, 2 / 128))
    near = np.abs(fine) < 0.06  # farther in, strokes have middle lines
    assert np.median(slope[near]) == pytest.approx(1, abs=0.05)
    hairlines = (np.abs(fine) < 0.01) & (slope < 0.4)  # the field barely comes up to the outline
    assert hairlines.sum() < 12
    np.testing.assert_allclose(motif_field(name, u + 2, v), field, atol=1e-5)
    assert 0.25 < (field < 0).mean() < 0.65


@pytest.mark.parametrize(("size", "agreement"), [(15, 0.8), (30, 0.89)])
@pytest.mark.parametrize("name", MOTIFS)
def test_a_motif_survives_a_coarse_cell(name, size, agreement):
    """A cell has 15 voxels on a 32^3 grid and about 30 on one of 64^3."""
    agreement = 0.88 if name in FIRST else agreement
    fine, coarse = (motif_field(name, *cell(s)) < 0 for s in (240, size))
    scale = 240 // size
    assert (np.kron(coarse, np.ones((scale, scale), bool)) == fine).mean() > agreement


@pytest.mark.parametrize("size", [15, 30])
def test_motifs_differ(size):
    inside = {name: motif_field(name, *cell(size)) < 0 for name in MOTIFS}
    iou = np.array(
        [[(a & b).sum() / (a | b).sum() for a in inside.values()] for b in inside.values()]
    )
    others = iou[~np.eye(len(MOTIFS), dtype=bool)]
    assert others.max() < 0.7
    assert others.mean() < 0.45


def test_every_entry_is_complete():
    assert len(MOTIFS) == 70
    for motif in MOTIFS.values():
        assert motif.group in GROUPS
        assert all((motif.name, motif.english, motif.meaning, motif.meaning_english))
    assert len({m.name for m in MOTIFS.values()}) == len(MOTIFS)
    assert {m.group for m in MOTIFS.values()} == set(GROUPS)


def test_the_motifs_of_the_quickstart_have_not_moved():
    """Its measured table is about these outlines, in this order."""
    bits = [motif_field(name, *cell(48)) < 0 for name in quickstart.MOTIFS]
    digest = hashlib.sha256(np.packbits(bits).tobytes()).hexdigest()
    assert digest == "10a2802f8721a753102ab40332b037baa1aebcfeeda02a35e612680d26250cb1"
