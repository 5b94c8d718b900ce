"""`generate --image`: a picture becomes the points that the model reads."""

import numpy as np
import pytest
from PIL import Image
from tiny_models import TINY, drawn, write_workdir
from tiny_weights import STAGES, write_weights

from otuken_jax import generate, generation, point_generation
from otuken_jax.conventions import CANONICAL_SIZE, grid_points
from otuken_jax.errors import run_command
from otuken_jax.models.weights import CARD_FILE
from otuken_jax.point_clouds import encode_cloud_ply, split_cloud

CLOUD = np.random.default_rng(2).normal(size=(40, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_workdir(tmp_path_factory.mktemp("trained"), drawn(TINY, 8))


@pytest.fixture
def weights(tmp_path):
    """Folders that look like the converted networks; nothing reads them here."""
    for name in ("clip", "point-e/base40M-imagevec", "point-e/upsample"):
        (tmp_path / "weights" / name).mkdir(parents=True)
        (tmp_path / "weights" / name / CARD_FILE).write_text("{}")
    return tmp_path / "weights"


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "kırmızı vazo.png")
    return tmp_path / "kırmızı vazo.png"


@pytest.fixture
def seen(monkeypatch):
    """What Point-E and the model were given; neither is run. The mesh is a ball."""
    seen = {}

    def images_to_clouds(images, weights, *, model, seed):
        seen.update(image=images[0], weights=weights, network=model, seed=seed)
        return CLOUD[None]

    def predict(modeldef, stage, params, inputs, strengths):
        seen.update(inputs)
        field = 0.6 - np.linalg.norm(grid_points(16), axis=-1)
        return field[None], np.full((1, 16, 16, 16, 3), 0.5, np.float32)

    monkeypatch.setattr(point_generation, "images_to_clouds", images_to_clouds)
    monkeypatch.setattr(generation, "predict", predict)
    return seen


@pytest.mark.parametrize(
    ("arguments", "has_text", "has_style", "stem"),
    [
        ([], False, False, "01-kirmizi-vazo"),
        (["--style", "İznik üslubu"], False, True, "01-kirmizi-vazo"),
        (["--text", "kapaklı vazo"], True, True, "01-kapakli-vazo"),
    ],
    ids=["alone", "style", "text"],
)
def test_a_picture_leads_the_shape(
    workdir, weights, picture, seen, tmp_path, arguments, has_text, has_style, stem
):
    out = tmp_path / "out"
    common = ["--checkpoint", str(workdir), "--weights", str(weights), "--image", str(picture)]
    common += ["--out", str(out), "--no-preview", "--seed", "7", "--image-model"]
    assert generate.main([*common, "base40M-imagevec", *arguments]) == 0
    assert [file.name for file in out.iterdir()] == [f"{stem}.glb"]
    assert (seen["network"], seen["seed"], seen["weights"]) == ("base40M-imagevec", 7, weights)
    assert seen["image"].getpixel((0, 0)) == (255, 0, 0)
    assert seen["has_points"].tolist() == [True]
    assert (seen["has_text"].tolist(), seen["has_style"].tolist()) == ([has_text], [has_style])
    # Every other one of 40 points, as large as the shapes that the model was trained on.
    xyz = CLOUD[:, :3]
    size = np.ptp(xyz, axis=0).max()
    want = (xyz - (xyz.max(0) + xyz.min(0)) / 2)[::2] * CANONICAL_SIZE / size
    np.testing.assert_allclose(seen["points"][0], want, atol=1e-6)


@pytest.mark.slow
def test_a_picture_and_its_cloud_give_the_same_mesh(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(point_generation, "IMAGE_STAGES", STAGES)
    weights = write_weights(tmp_path / "weights")
    image = Image.radial_gradient("L").convert("RGB")
    image.save(tmp_path / "photo.png")
    cloud = point_generation.images_to_clouds([image], weights, seed=3)[0]
    (tmp_path / "photo.ply").write_bytes(encode_cloud_ply(*split_cloud(cloud)))
    common = ["--checkpoint", str(workdir), "--format", "ply", "--no-preview"]
    of_image = ["--weights", str(weights), "--seed", "3"]
    for kind, name, more in (("--image", "photo.png", of_image), ("--points", "photo.ply", [])):
        out = ["--out", str(tmp_path / kind)]
        assert generate.main([*common, *out, kind, str(tmp_path / name), *more]) == 0
    files = [tmp_path / kind / "01-photo.ply" for kind in ("--image", "--points")]
    headers, meshes = zip(*(f.read_bytes().split(b"end_header\n", 1) for f in files), strict=True)
    assert meshes[0] == meshes[1]
    assert [b"seed" in header for header in headers] == [True, False]


def test_a_missing_weight_names_the_command_that_brings_it(tmp_path, picture, capsys):
    arguments = ["--checkpoint", "none", "--image", str(picture), "--out", str(tmp_path / "out")]
    arguments += ["--weights", str(tmp_path / "w")]
    assert run_command(lambda: generate.main(arguments)) == 2
    message = capsys.readouterr().err
    folder = tmp_path / "w" / "clip"
    assert f"`python -m porting clip openai/clip-vit-large-patch14 --out {folder}`" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image", "missing.png"], "cannot read the picture missing.png"),
        (["--image", "PICTURE", "--image-model", "base2B"], "no image model 'base2B'"),
        (["--image", "PICTURE", "--style2", "rumi"], "--style2 has nothing to be mixed with"),
    ],
)
def test_mistakes_are_one_line(tmp_path, picture, capsys, arguments, words):
    arguments = [str(picture) if a == "PICTURE" else a for a in arguments]
    common = ["--checkpoint", "none", "--out", str(tmp_path / "out"), "--weights", str(tmp_path)]
    assert run_command(lambda: generate.main([*common, *arguments])) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_help_says_that_turkish_reaches_clip_only_through_the_users_words(capsys):
    with pytest.raises(SystemExit):
        generate.parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Turkish reaches it only through your own words" in text
