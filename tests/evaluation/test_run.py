"""The whole evaluation: on motif data, on prepared meshes without recipes, and as a command."""

import dataclasses
import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file
from tiny_models import TINY, drawn, write_workdir

from otuken_jax import evaluate, metrics
from otuken_jax.config import load_config
from otuken_jax.conventions import grid_points
from otuken_jax.data import records
from otuken_jax.data.build import build_motif_dataset
from otuken_jax.errors import UserError, run_command
from otuken_jax.evaluation import report, responses, run
from otuken_jax.evaluation.baselines import true_volume
from otuken_jax.evaluation.examples import ALL_WORDS, FULL_WORDS, Example, Volume
from otuken_jax.evaluation.measures import Measured, SetMeasure
from otuken_jax.evaluation.responses import OTHERS
from otuken_jax.evaluation.run import CEILING, FLOOR, Evaluation
from otuken_jax.generation import Generator
from otuken_jax.models.pointnet2 import PointNet2, PointNet2Config
from otuken_jax.models.weights import Card
from otuken_jax.training.run import build_trainer

R = 16


class Loaded(Generator):
    """A generator without a model: `predict_prompts` is replaced where it is asked."""

    def __init__(self) -> None:
        self.resolution, self.step, self.name = R, 7, "tiny"


GENERATOR = Loaded()


def build_set(directory, **selection):
    """A small motif data set at the resolution of these tests."""
    build_motif_dataset(
        directory,
        resolution=R,
        num_points=512,
        seed=0,
        coarsest=16,
        num_workers=0,
        progress=False,
        **selection,
    )
    return directory


@pytest.fixture(scope="module")
def motif_data(tmp_path_factory):
    return build_set(
        tmp_path_factory.mktemp("motifs"),
        num_shapes=24,
        hosts=("vazo", "kase"),
        motifs=("lale", "yildiz8", "hilal"),
        styles=("iznik", "selcuklu"),
        free=True,
        num_val=9,
        num_heldout=4,
        num_heldout_phrasing=1,
    )


@pytest.fixture(scope="module")
def bound_data(tmp_path_factory):
    """A set that follows the table: in these styles a tile takes two motifs or one, a bead one."""
    return build_set(
        tmp_path_factory.mktemp("bound"),
        num_shapes=8,
        hosts=("cini", "nazarboncuk"),
        motifs=("lale", "penc", "goz"),
        styles=("iznik", "erkenosmanli"),
        num_val=6,
        num_heldout=0,
    )


def ball_record(radius: float, captions: dict[str, str] | None = None, style: str = "") -> bytes:
    normals = np.random.default_rng(0).normal(size=(512, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    distance = np.linalg.norm(grid_points(2 * R), axis=-1) - radius
    return records.encode(
        {
            "sdf": records.quantize_distance(distance),
            "points": radius * normals,
            "normals": normals,
            "colors": np.abs(normals),
            "captions": captions or {"full": f"yarıçapı {radius} olan top"},
            "style_text": style,
            "has_chart": False,
        }
    )


@pytest.fixture(scope="module")
def mesh_data(tmp_path_factory):
    """Balls, as `prepare` would write them: no recipe, no style text, twice the resolution."""
    directory = tmp_path_factory.mktemp("meshes")
    splits = {"train": (0.5, 0.6, 0.7), "val": (0.5, 0.65, 0.8)}
    write_splits(directory, {name: map(ball_record, radii) for name, radii in splits.items()})
    return directory


def write_splits(directory: Path, splits: dict[str, Iterable[bytes]]) -> None:
    manifest = {"schema": 1, "arguments": {}, "splits": {}}
    for name, encoded in splits.items():
        encoded = list(encoded)
        records.write_records(directory / f"{name}.arrayrecord", encoded)
        files = {f"{name}.arrayrecord": {}}
        manifest["splits"][name] = {"count": len(encoded), "files": files}
    records.write_manifest(directory, manifest)


def obedient(directory: Path, split: str):
    """A model that makes the true shape for `FULL_WORDS` of a record, and a ball for any other."""
    source = run.open_split(directory, split)
    known = {}
    for i in range(len(source)):
        example = Example.from_record(source[i], R)
        for words in FULL_WORDS:
            prompt = words.prompt(example)
            known[prompt.text, prompt.style] = true_volume(example)
    ball = 0.5 - np.linalg.norm(grid_points(R), axis=-1)
    other = Volume(ball, np.full((R, R, R, 3), 0.5, np.float32))
    return lambda _, prompts, mix=0.0: [known.get((p.text, p.style), other) for p in prompts]


def evaluated(monkeypatch, directory, words=ALL_WORDS, limit=None):
    for module in (run, report, responses):
        monkeypatch.setattr(module, "predict_prompts", obedient(directory, "val"))
    return Evaluation(
        GENERATOR, directory, words=words, set_measure=SetMeasure(), limit=limit, seed=0
    )


def test_motif_data(monkeypatch, motif_data, tmp_path):
    evaluation = evaluated(monkeypatch, motif_data)
    result = evaluation.split("val")
    assert result.count == 9
    rows = result.rows
    assert list(rows) == [
        *("text+style", "sentence", "text+style, short", "sentence, short"),
        *(f"nearest caption, {words.name}" for words in ALL_WORDS),
        *("mean shape", "random motif", "truth"),
    ]
    # Words that name all are obeyed; short ones give a ball. The ceiling is of a blurred truth.
    for name in ("iou", "host_accuracy", "motif_accuracy"):
        assert rows["text+style"][name].value == 1.0
        assert rows["text+style"][name].count == 9
    assert rows["text+style"]["repeat_error"].value == 0.0
    assert rows["text+style"]["chance"].value == pytest.approx(1 / 3)  # any motif goes anywhere
    assert 0.8 < rows[CEILING]["iou"].value < 1.0 == rows[CEILING]["host_accuracy"].value
    assert rows["sentence, short"]["iou"].value < 0.7
    assert rows[FLOOR]["host_accuracy"].value == 1.0
    assert rows[FLOOR]["motif_accuracy"].value < rows[CEILING]["motif_accuracy"].value
    assert rows["mean shape"]["iou"].value < 0.95
    assert np.trace(result.confusion) == np.sum(result.confusion) == 9

    changes = {"val": evaluation.responses("val", 4, full=True)}
    assert changes["val"]["motif word"]["inside"].value > 0.2  # from the truth to the ball
    swaps = [name for name in changes["val"] if "word" in name]
    assert [name for name in swaps if "," not in name] == [f"{name} word" for name in OTHERS]
    kinds = ("sentence", "text+style, short", "sentence, short")
    assert {f"motif word, {kind}" for kind in kinds} <= set(swaps)
    assert "host word, sentence" not in swaps
    assert 0.0 < changes["val"]["plain"]["plain_iou"].value < 1.0  # of the ball
    # These short captions name no colours, and what no word names does not change.
    assert np.isnan(changes["val"]["color word, sentence, short"]["follows"].value)
    figures = report.to_json(evaluation, [result], changes)
    text = json.dumps(figures, allow_nan=False)
    assert "domain units" in text
    used = {name for row in rows.values() for name in row}
    assert used <= set(figures["definitions"])
    tables = report.full_tables(evaluation, [result], changes)
    assert "| val | text+style | 9 | 1.000 |" in tables
    assert all(f"- {name}: " in tables for name in (*used, *responses.DEFINITIONS))
    assert "Asking for no ornament (4 shapes):" in tables
    assert "follows" in report.response_lines(changes["val"])
    assert "Asked for no ornament: IoU" in report.response_lines(changes["val"])
    assert "vazo" in report.format_confusion(evaluation, result)


def test_the_nearest_caption_is_found_by_the_words_of_the_row(monkeypatch, tmp_path):
    """Each kind of words leads to another ball; words of another kind would lead astray."""
    kinds = ("host", "full", "short")
    told = [
        (("küre", "x", "x"), "benek"),  # text+style
        (("x", "benekli küre", "x"), "x"),  # sentence
        (("x", "benek küre benek küre", "top"), "x"),  # sentence, short: the first of equals
        (("x", "x", "top"), "benek"),  # text+style, short
    ]
    train = [
        ball_record(0.4 + 0.1 * i, dict(zip(kinds, texts, strict=True)), style)
        for i, (texts, style) in enumerate(told)
    ]
    captions = dict(zip(kinds, ("küre", "benekli küre", "top"), strict=True))
    write_splits(tmp_path, {"train": train, "val": [ball_record(0.8, captions, "benek")]})
    evaluation = evaluated(monkeypatch, tmp_path)
    result = evaluation.split("val")
    lines = report.summary_table(evaluation, [result]).splitlines()[2:]
    inside = [Example.from_record(records.decode(r), R).field > 0 for r in train]
    (true,) = (example.field > 0 for example in evaluation.examples("val", [0]))
    for words, number, line in zip(ALL_WORDS, (0, 1, 3, 2), lines, strict=False):
        expected = metrics.iou(inside[number], true)
        assert result.rows[f"nearest caption, {words.name}"]["iou"].value == expected
        assert line.startswith(f"| val | {words.name} | 1 |")
        assert line.split(" | ")[5] == f"{expected:.3f}"


def test_chance_knows_what_the_table_allows(monkeypatch, bound_data):
    evaluation = evaluated(monkeypatch, bound_data, FULL_WORDS)
    result = evaluation.split("val")
    possible = {("cini", "iznik"): 2, ("cini", "erkenosmanli"): 1, ("nazarboncuk", None): 1}
    recipes = [example.recipe for example in evaluation.examples("val", range(6))]
    assert {recipe.host for recipe in recipes} == set(evaluation.library.hosts)
    shown = [r for r in recipes if evaluation.library.band(r, R).region.any()]  # on so few voxels
    chances = [1 / possible[r.host, r.style if r.host == "cini" else None] for r in shown]
    expected = np.mean(chances)
    assert 1 / 3 < expected < 1
    assert result.rows["sentence"]["chance"].value == pytest.approx(expected)
    summary = report.summary_table(evaluation, [result])
    header, line = (summary.splitlines()[i].split(" | ") for i in (0, 2))
    assert line[header.index("chance")] == f"{expected:.2f}"
    assert "the motifs that the table allows" in summary
    # The floor draws among the same motifs: a bead keeps its eye.
    bead = next(i for i, recipe in enumerate(recipes) if recipe.host == "nazarboncuk")
    (example,) = evaluation.examples("val", [bead])
    for seed in range(8):
        drawn_motif = evaluation._random_motif(example, seed)
        assert metrics.iou(drawn_motif.occupancy, example.field > 0) > 0.99


def test_held_out_phrasings_are_what_is_changed_in_their_split(monkeypatch, motif_data):
    evaluation = evaluated(monkeypatch, motif_data, FULL_WORDS)
    asked, ball = [], obedient(motif_data, "val")
    answer = lambda model, prompts, mix=0.0: asked.extend(prompts) or ball(model, prompts)  # noqa: E731
    monkeypatch.setattr(responses, "predict_prompts", answer)
    evaluation.responses("heldout_phrasing", 1, full=False)
    assert len({(p.text, p.style) for p in asked}) == 2 + len(OTHERS)
    for prompt in asked:  # in no phrasing of training
        assert "; " in prompt.text
        assert " zeminli, " in prompt.style or prompt.style.startswith("bezemesiz, ")


def test_prepared_meshes_have_geometry_alone(monkeypatch, mesh_data):
    evaluation = evaluated(monkeypatch, mesh_data)
    assert evaluation.library is None
    result = evaluation.split("val")
    assert list(result.rows) == ["sentence", "nearest caption, sentence", "mean shape", "truth"]
    assert result.confusion is None
    assert evaluation.responses("val", 4, full=True) == {}
    assert result.rows["sentence"]["iou"].value == 1.0
    # The training set has a ball of 0.5, and for 0.65 and 0.8 only smaller ones.
    nearest = result.rows["nearest caption, sentence"]["iou"]
    assert nearest.value < 1.0 == nearest.high
    assert "motif_accuracy" not in result.rows["sentence"]
    tables = report.full_tables(evaluation, [result], {"val": {}})
    assert "| val | sentence | 3 | 1.000 |" in tables
    assert "motif_accuracy" not in tables
    # The mean of balls of 0.5, 0.6 and 0.7 is the one of 0.6.
    mean = evaluation.training.means[None].occupancy
    np.testing.assert_array_equal(mean, np.linalg.norm(grid_points(R), axis=-1) < 0.6)


def test_limit_and_pictures(opengl, monkeypatch, mesh_data, tmp_path):
    evaluation = evaluated(monkeypatch, mesh_data, FULL_WORDS, limit=2)
    result = evaluation.split("val")
    assert result.count == 2
    assert set(result.picks) == {"best", "median", "worst"}
    monkeypatch.setattr(report, "PICTURE_SIZE", 64)
    asked, known = [], report.predict_prompts
    answer = lambda model, prompts: asked.extend(prompts) or known(model, prompts)  # noqa: E731
    monkeypatch.setattr(report, "predict_prompts", answer)
    paths = report.write_pictures(evaluation, result, tmp_path / "m.json")
    assert [p.name for p in paths] == [f"m-val-{n}.png" for n in ("best", "median", "worst")]
    assert all(p.stat().st_size > 3_000 for p in paths)
    assert [p.style for p in asked] == [None] * 3  # the meshes have no style text


def test_picks_are_best_median_and_worst():
    figures = [0.2, 0.9, 0.5, 0.7, 0.1]
    measured = [Measured({"iou": f}, np.zeros((0, 3)), None) for f in figures]
    row = run.Row(measured, [10, 11, 12, 13, 14])
    assert run._picks(row) == {"best": 11, "median": 12, "worst": 14}


def test_without_captions_there_is_nothing_to_make(monkeypatch, mesh_data, tmp_path):
    source = run.open_split(mesh_data, "val")
    silent = [records.encode({**source[0], "captions": {}})]
    records.write_records(tmp_path / "a.arrayrecord", silent)
    split = {"count": 1, "files": {"a.arrayrecord": {}}}
    records.write_manifest(tmp_path, {"schema": 1, "arguments": {}, "splits": {"val": split}})
    monkeypatch.setattr(run, "predict_prompts", lambda *_: [])
    evaluation = Evaluation(
        GENERATOR, tmp_path, words=FULL_WORDS, set_measure=SetMeasure(), limit=None, seed=0
    )
    assert evaluation.training is None
    with pytest.raises(UserError, match="has a caption"):
        evaluation.split("val")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split", "test"], "choose among train, val"),
        (["--limit", "0"], "at least 1"),
        (["--pointnet", "missing"], "no point-e/pointnet weights at missing"),
        (["--checkpoint", "nowhere"], "no checkpoint in nowhere"),
        (["--out", "figures.md"], "--out figures.md must end in .json"),
        (["--out", "/dev/null/figures.json"], "cannot write /dev/null/"),
        (["--out", "folder.json"], "cannot write folder.json: it is a folder"),
    ],
)
def test_mistakes_are_one_line(mesh_data, tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.json").mkdir()
    common = ["--checkpoint", str(tmp_path), "--data", str(mesh_data)]
    assert run_command(lambda: evaluate.main([*common, *arguments])) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert words in error
    assert "\n" not in error


def test_the_data_of_a_run(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json"):
        evaluate.data_of(tmp_path)
    for source, directory, found in (("motifs", "", tmp_path / "data"), ("motifs", "d", Path("d"))):
        data = {"data": {"source": source, "directory": directory}}
        (tmp_path / "config.json").write_text(json.dumps(data))
        assert evaluate.data_of(tmp_path) == found
    (tmp_path / "config.json").write_text(json.dumps({"data": data["data"] | {"source": "meshes"}}))
    with pytest.raises(UserError, match="learned from meshes; give --data"):
        evaluate.data_of(tmp_path)


def test_a_data_set_of_training_shapes_alone(mesh_data, tmp_path):
    split = {"count": 3, "files": {}}
    records.write_manifest(tmp_path, {"schema": 1, "splits": {"train": split}})
    with pytest.raises(UserError, match="--split train"):
        evaluate.splits_of(tmp_path)
    assert evaluate.splits_of(mesh_data) == ["val"]


@pytest.fixture
def pointnet(tmp_path):
    """Random weights in a converter's folder; the values are checked in tests/equivalence."""
    folder = tmp_path / "pointnet"
    folder.mkdir()
    config = PointNet2Config(num_classes=5, width_multiplier=1)
    model = PointNet2(config, rngs=nnx.Rngs(0))
    tensors = {
        "/".join(map(str, path)): np.asarray(leaf.get_value())
        for path, leaf in nnx.to_flat_state(nnx.state(model))
    }
    save_file(tensors, folder / "model.safetensors")
    words = ("point-e/pointnet", dataclasses.asdict(config), "made up", {}, "abc", "float32")
    (folder / "card.json").write_text(json.dumps(dataclasses.asdict(Card(*words, 0, [], 1))))
    return folder


@pytest.mark.slow
def test_a_pointnet_gives_the_published_names(pointnet):
    measure = SetMeasure.read(str(pointnet))
    clouds = np.random.default_rng(0).normal(size=(6, 600, 3))
    sets = measure(clouds * [1, 1, 0.2], clouds, 0)
    assert set(sets) == {"p_fid", "p_is"}
    assert sets["p_fid"].value > 10 * measure(clouds, clouds, 0)["p_fid"].value
    assert 1 <= sets["p_is"].value <= 5


@pytest.mark.slow
@pytest.mark.parametrize("given", [True, False], ids=["pointnet", "substitute"])
def test_the_command_says_which_distance_of_sets_it_is(mesh_data, pointnet, tmp_path, given):
    write_workdir(tmp_path / "run", drawn(TINY, 8))
    out = tmp_path / "metrics.json"
    arguments = ["--checkpoint", str(tmp_path / "run"), "--data", str(mesh_data), "--quick"]
    arguments += ["--pointnet", str(pointnet)] if given else []
    assert evaluate.main([*arguments, "--out", str(out)]) == 0
    figures, tables = json.loads(out.read_text()), out.with_suffix(".md").read_text()
    names = ("p_fid", "p_is") if given else ("fd_d2", "is_d2")
    other = ("fd_d2", "is_d2") if given else ("p_fid", "p_is")
    rows = figures["splits"]["val"]["rows"]
    assert list(rows) == ["sentence", "nearest caption, sentence", "mean shape", "truth"]
    for row in rows.values():
        assert not set(other) & set(row)
        for name in names:
            assert row[name]["low"] <= row[name]["value"] <= row[name]["high"]
            assert row[name]["count"] == 3
    assert rows["sentence"][names[0]]["value"] > rows["truth"][names[0]]["value"]
    for name in names:
        definition = figures["definitions"][name]
        assert (definition["scale"], definition["points"]) == ("centred, largest radius 1", 512)
        assert definition["what"].startswith("substitute for P-") != given
        assert f"- {name}: {definition['what']}. Scale: " in tables
    assert not any(f"- {name}: " in tables for name in other)
    made_up = {"source": "made up", "sha256": "abc"}
    assert figures["pointnet"] == (made_up if given else None)
    assert ("PointNet++: made up, sha256 abc." in tables) == given


@pytest.mark.slow
def test_the_command_twice_the_same(opengl, tmp_path, capsys):
    config = load_config(str(Path(__file__).parent.parent / "configs" / "tiny.py"), [])
    build_trainer(config, tmp_path).train(save_every=1)
    (tmp_path / "config.json").write_text(
        json.dumps({"data": {"directory": "", "source": "motifs"}})
    )
    for name in ("one", "two"):
        out = ["--out", str(tmp_path / name / "metrics.json"), "--split", "heldout_pairs"]
        assert evaluate.main(["--checkpoint", str(tmp_path), *out]) == 0
    texts = [(tmp_path / name / "metrics.json").read_text() for name in ("one", "two")]
    assert texts[0] == texts[1]
    (split,) = json.loads(texts[0])["splits"].values()
    assert split["count"] == 8
    value = split["rows"]["text+style"]["iou"]["value"]
    assert 0 < value < 1
    assert not math.isnan(value)
    assert len(list((tmp_path / "one").glob("metrics-heldout_pairs-*.png"))) == 3
    assert (tmp_path / "one" / "metrics.md").read_text().startswith("# Evaluation of step")
    assert "| heldout_pairs | text+style | 8 |" in capsys.readouterr().out
