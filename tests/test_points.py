"""Text and images to clouds, with tiny networks in a folder of converted weights."""

import functools
import re
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tiny_weights import NETWORKS, STAGES, make_network, write_weights

from otuken_jax import point_generation, points
from otuken_jax.errors import UserError, run_command
from otuken_jax.models.clip import preprocess_image


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def few_points(monkeypatch):
    monkeypatch.setattr("otuken_jax.compile_cache.enable_compile_cache", lambda: None)
    monkeypatch.setattr(point_generation, "TEXT_STAGES", STAGES)
    monkeypatch.setattr(point_generation, "IMAGE_STAGES", STAGES)


@pytest.fixture
def picture(tmp_path):
    rng = np.random.default_rng(3)
    path = tmp_path / "photo.png"
    Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(path)
    return path


def test_text_to_cloud_file(weights, tmp_path, capsys):
    out = tmp_path / "clouds" / "cloud.ply"
    arguments = ["--text", "a bad vazo", "--weights", str(weights), "--out", str(out)]
    assert run_command(functools.partial(points.main, arguments)) == 0
    assert capsys.readouterr().out.strip() == str(out)
    data = out.read_bytes()
    assert b"element vertex 16\n" in data
    assert len(data.split(b"end_header\n")[1]) == 16 * 15


@pytest.fixture
def sampled(monkeypatch):
    """What the sampler was given; it is not run."""
    seen = {}

    def make(models, stages):
        seen["configs"], seen["stages"] = [model.config for model in models], stages

        def sample(key, batch_size, embeddings):
            seen.update(key=key, embeddings=embeddings)
            return np.full((batch_size, 16, 6), 51, np.float32)

        return sample

    monkeypatch.setattr(point_generation, "PointCloudSampler", make)
    return seen


def unit(embedding):
    return embedding / jnp.linalg.norm(embedding, axis=-1, keepdims=True)


def test_text_reaches_the_base_network_as_a_unit_vector_and_the_upsampler_not(weights, sampled):
    point_generation.text_to_clouds(["a vazo", "bead"], weights, seed=4)
    # a, v, a, z, o</w> and b, e, a, d</w> between start (16) and end (17)
    ids = [[16, 8, 6, 0, 7, 13, 17], [16, 1, 4, 0, 11, 17, 17]]
    want = jax.jit(lambda clip, ids: clip.encode_text(ids))(make_network("clip"), jnp.array(ids))
    base, upsampler = sampled["embeddings"]
    np.testing.assert_allclose(base, unit(want), atol=1.5e-6)  # measured: 1.8e-7
    assert upsampler is None
    assert sampled["stages"] is STAGES
    assert [config.condition for config in sampled["configs"]] == ["vector", "grid"]
    assert sampled["configs"][1].low_res
    assert (jax.random.key_data(sampled["key"]) == jax.random.key_data(jax.random.key(4))).all()


@pytest.mark.parametrize(
    ("chosen", "model"),
    [([], "base40M"), (["--model", "base40M-imagevec"], "base40M-imagevec")],
)
def test_image_reaches_both_stages(weights, picture, tmp_path, sampled, chosen, model):
    out = tmp_path / "cloud.ply"
    arguments = ["--image", str(picture), "--weights", str(weights), "--out", str(out)]
    points.main([*arguments, *chosen, "--seed", "4"])
    pixels = jnp.asarray(preprocess_image(Image.open(picture), 28))[None]
    run = jax.jit(lambda clip, x: (clip.encode_image(x), clip.encode_grid(x)))
    vector, grid = run(make_network("clip"), pixels)
    base, upsampler = sampled["embeddings"]
    # Measured: equal. Two programs may add in another order, as those of the text above do.
    wanted = grid if model == "base40M" else unit(vector)
    np.testing.assert_allclose(base, wanted, atol=1.5e-6)
    np.testing.assert_allclose(upsampler, grid, atol=1.5e-6)
    assert sampled["configs"] == [NETWORKS[f"point-e/{n}"][1] for n in (model, "upsample")]
    assert (jax.random.key_data(sampled["key"]) == jax.random.key_data(jax.random.key(4))).all()
    body = out.read_bytes().split(b"end_header\n")[1]
    records = np.frombuffer(body, [("position", "<f4", 3), ("color", "u1", 3)])
    assert (records["position"] == 51).all()
    assert (records["color"] == 51).all()


def test_a_missing_weight_names_the_command_that_brings_it(weights, tmp_path, picture, capsys):
    out = ["--out", str(tmp_path / "cloud.ply")]
    empty = ["--weights", str(tmp_path / "none"), *out]
    assert run_command(lambda: points.main(["--text", "a vase", *empty])) == 2
    message = capsys.readouterr().err
    folder = tmp_path / "none" / "clip"
    assert f"`python -m porting clip openai/clip-vit-large-patch14 --out {folder}`" in message
    assert message.count("\n") == 1
    image = ["--image", str(picture), "--model", "base300M", "--weights", str(weights), *out]
    assert run_command(lambda: points.main(image)) == 2
    folder = weights / "point-e" / "base300M"
    assert (
        f"`python -m porting point-e/base300M base300M --out {folder}`" in capsys.readouterr().err
    )


def test_the_named_command_is_one_for_a_shell(tmp_path):
    folder = tmp_path / "my weights"
    with pytest.raises(UserError) as error:
        point_generation.check_weights(folder, ["clip"])
    command = re.search("`(.*)`", str(error.value))[1]
    assert shlex.split(command)[-2:] == ["--out", str(folder / "clip")]


@pytest.mark.parametrize("out", ["file/cloud.ply", "folder.ply"])
def test_a_file_that_cannot_be_written_is_known_before_sampling(
    weights, tmp_path, sampled, monkeypatch, out
):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.ply").mkdir()
    arguments = ["--text", "a", "--weights", str(weights), "--out", str(tmp_path / out)]
    with pytest.raises(UserError, match="cannot write"):
        points.main(arguments)
    assert not sampled


def test_clip_is_traced_once_per_shape(weights, sampled, picture):
    """Another call makes another CLIP, whose program is the same."""
    image = point_generation.read_image(picture)
    traced = []
    for seed in range(2):
        point_generation.text_to_clouds(["a vazo"], weights, seed=seed)
        point_generation.images_to_clouds([image], weights, seed=seed)
        traced.append(point_generation._encode._cache_size())
    assert traced[0] == traced[1]


def test_the_named_commands_exist():
    from porting.registry import NETWORKS

    for name in [point_generation.TEXT_MODEL, *point_generation.IMAGE_MODELS, "upsample"]:
        assert name in NETWORKS[f"point-e/{name}"].published
    assert NETWORKS["clip"].hub


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "  "], "empty"),
        (["--text", "a " * 15], "has 17 CLIP tokens, 16 can be read"),
        (["--image", "nothing.png"], "cannot read the picture nothing.png"),
        (["--image", "PICTURE", "--model", "base2B"], "no image model 'base2B'"),
        (["--text", "a", "--out", "cloud.obj"], "must end in .ply"),
        (["--text", "a", "--model", "base40M-imagevec"], "leave it out with --text"),
    ],
)
def test_what_the_user_can_mend_is_one_line(weights, tmp_path, picture, arguments, message):
    arguments = [str(picture) if a == "PICTURE" else a for a in arguments]
    common = ["--weights", str(weights), "--out", str(tmp_path / "cloud.ply")]
    with pytest.raises(UserError, match=message):
        points.main([*common, *arguments])
    assert not (tmp_path / "cloud.ply").exists()


def test_transparent_pictures_get_a_white_background(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.all(np.asarray(point_generation.read_image(tmp_path / "clear.png")) == 255)


def test_help_says_that_turkish_reaches_clip_only_through_the_users_words(capsys):
    with pytest.raises(SystemExit):
        points.parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Turkish reaches it only through your own words" in text
