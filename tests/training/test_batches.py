"""What a user's loader may yield, and what is refused before it is trained on."""

import jax
import numpy as np
import pytest
from tiny_training import sphere_loader, tetrahedra

from otuken_jax.errors import UserError
from otuken_jax.geometry.meshes import Meshes
from otuken_jax.training.batches import BatchPreparer
from otuken_jax.training.sharding import make_mesh, put_batch

NAN = np.float32("nan")


def preparer() -> BatchPreparer:
    return BatchPreparer("bytes", resolution=16, num_points=16, text_length=24, style_length=24)


def batch(**changed) -> dict:
    return sphere_loader(1, size=4)[0] | changed


def changed_at(values, index, value):
    values = np.array(values)
    values[index] = value
    return values


BATCH = batch()
CLOUDS = list(BATCH["points"])
LOST, POINT = (
    Meshes.from_lists([*[np.eye(3)] * 3, np.full((3, 3), x)], [[[0, 1, 2]]] * 4) for x in (NAN, 0)
)
FLAT = Meshes.from_lists([np.eye(3)] * 3, [[[0, 1, 2]]] * 3)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"text": None}, "needs `text`"),
        ({"text": []}, "needs `text`"),
        ({"text": ["küre", "", "küre", "küre"]}, "text 1 of a batch is empty"),
        ({"text": ["küre", "küre", None, "küre"]}, "text 2 of a batch is empty"),
        ({"field": None}, "needs `mesh`"),
        ({"field": BATCH["field"][:3]}, r"differ in length \(text 4, .*field 3\)"),
        ({"field": None, "mesh": FLAT}, r"differ in length \(text 4, .*mesh 3\)"),
        ({"field": None, "mesh": LOST}, "mesh 3 of a batch holds NaN"),
        ({"field": None, "mesh": POINT}, "a mesh of a batch has no inside"),
        ({"style_text": ["İznik"] * 5}, "style_text 5"),
        ({"style_text": []}, "style_text 0"),
        ({"points": CLOUDS[:2]}, "points 2"),
        ({"field": changed_at(BATCH["field"], (1, 2, 3, 4), NAN)}, "field 1 of a batch holds NaN"),
        ({"field": BATCH["field"][:, 0]}, r"give \[batch, r, r, r\]"),
        ({"field": BATCH["field"][..., :8]}, r"give \[batch, r, r, r\]"),
        ({"points": [*CLOUDS[:3], np.zeros((0, 3))]}, r"points 3 .* shape \(0, 3\); give"),
        ({"points": [*CLOUDS[:3], []]}, r"points 3 .* give \[n, 3\]"),
        ({"points": [*CLOUDS[:3], np.zeros((5, 2))]}, r"points 3 .* give \[n, 3\]"),
        ({"points": changed_at(BATCH["points"], (2, 0), np.inf)}, "points 2 of a batch holds NaN"),
    ],
)
def test_a_bad_batch_is_refused(changed, words):
    with pytest.raises(UserError, match=words):
        preparer()(batch(**changed))


def test_an_absent_style_is_no_style():
    prepared = preparer()(batch(style_text=["İznik", None, "", " \u200b"]))
    assert prepared["has_style"].tolist() == [True, False, False, False]
    assert prepared["style_mask"].any(axis=1).tolist() == [True, False, False, False]
    assert not prepared["style_ids"][1:].any()
    assert prepared["has_text"].all()
    none = preparer()(batch(style_text=[None] * 4))
    assert not none["has_style"].any()
    assert none["style_ids"].shape == (4, 24)


def test_without_style_texts_the_prompt_is_the_style():
    prepared = preparer()(batch(style_text=None))
    np.testing.assert_array_equal(prepared["style_ids"], prepared["text_ids"])
    assert prepared["has_style"].all()


def test_a_batch_that_the_devices_do_not_divide_is_refused():
    mesh = make_mesh()
    assert mesh.size == 8
    with pytest.raises(UserError, match=r"batch_size=6 is not divided by 8 devices; use 8$"):
        put_batch(mesh, preparer()(sphere_loader(1, size=6)[0]))
    put = put_batch(mesh, preparer()(sphere_loader(1, size=8)[0]))
    assert isinstance(put["sdf"], jax.Array)


def test_meshes_become_fields():
    prepared = preparer()(tetrahedra())
    assert (prepared["sdf"] < 0).mean() == pytest.approx(1 / 6 / 8, rel=0.1)  # a sixth, in 2^3
    with pytest.raises(UserError, match="mesh"):
        preparer()({"text": ["?"]})


def test_a_text_that_is_cut_is_said_once(caplog):
    short = BatchPreparer("bytes", resolution=4, num_points=4, text_length=12, style_length=8)
    field = np.ones((2, 4, 4, 4), np.float32)
    short({"text": ["lale", "vazo"], "style_text": ["iznik", "rumi"], "field": field})
    assert not caplog.messages
    for _ in range(2):
        short({"text": ["lale", "karanfil motifli vazo"], "field": field})
    assert caplog.messages == ["texts longer than 12 tokens are cut: karanfil motifli vazo..."]
