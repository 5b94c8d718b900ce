"""The motif library's command line."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from otuken_jax import motifs
from otuken_jax.data.motifs import sheets
from otuken_jax.data.motifs.captions import COLORS
from otuken_jax.data.motifs.english import without_articles
from otuken_jax.data.motifs.fields import MOTIFS
from otuken_jax.data.motifs.hosts import HOSTS
from otuken_jax.data.motifs.phrases import ASCII, CAPTIONS, STYLE_TEXT, TECHNIQUES
from otuken_jax.data.motifs.styles import STYLES
from otuken_jax.data.records import read_manifest
from otuken_jax.data.text import FOLDING
from otuken_jax.errors import UserError, run_command
from otuken_jax.geometry.mesh_io import FORMATS

DOCS = Path(__file__).parents[1] / "docs" / "motifs"


def test_list_names_everything(capsys):
    assert motifs.main(["list"]) == 0
    shown = capsys.readouterr().out
    lines = {tuple(re.split(r"  +", line.strip())) for line in shown.splitlines()}
    for registry in (MOTIFS, HOSTS, STYLES):
        assert {(name, noun.name, noun.english) for name, noun in registry.items()} <= lines


def test_render_draws_a_flat_motif(tmp_path):
    out = tmp_path / "lale.png"
    motifs.main(["render", "lale", "--out", str(out)])
    dark = sum(Image.open(out).convert("1").histogram()[:1]) / 512**2
    assert 0.3 < dark < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["lale", "--host", "cini"], ["cini"]])
def test_render_draws_a_shape(opengl, tmp_path, arguments):
    out = tmp_path / "shape.png"
    motifs.main(["render", *arguments, "--resolution", "24", "--out", str(out)])
    shades = Image.open(out).convert("L").getextrema()
    assert shades[1] - shades[0] > 100


def test_build_writes_a_data_set(tmp_path, capsys):
    chosen = "--hosts vazo,surahi,bengutas --motifs lale,nar,penc,im --styles gokturk,iznik"
    build = f"build --count 8 --resolution 16 --workers 0 {chosen} --out"
    motifs.main(f"{build} {tmp_path}".split())
    assert "train: 8 shapes" in capsys.readouterr().out
    assert (tmp_path / "train.arrayrecord").stat().st_size > 0


def test_build_reads_the_files_that_it_finds(tmp_path, capsys):
    out = tmp_path / "data"
    command = f"build --count 4 --resolution 16 --workers 0 --hosts vazo,surahi --out {out}".split()
    motifs.main(command)
    path = out / "train.arrayrecord"
    sound = path.read_bytes()
    path.write_bytes(bytes(64) + sound[64:])
    os.utime(path, (0, 0))  # long before dataset.json
    motifs.main(command)
    assert path.read_bytes() == sound


def test_a_selection_too_small_for_a_split_can_leave_it_out(tmp_path):
    out = tmp_path / "data"
    few = f"build --count 4 --resolution 16 --workers 0 --motifs goz --out {out}".split()
    advice = "heldout_pairs, heldout_styles: .* set the number of shapes there to 0"
    with pytest.raises(UserError, match=advice):
        motifs.main([*few, "--hosts", "nazarboncuk"])
    with pytest.raises(UserError, match="left for heldout_styles: "):
        motifs.main(few)
    with pytest.raises(
        UserError, match=r"left for train, .*: choose more hosts, motifs or styles$"
    ):
        motifs.main([*few, "--motifs", "lale", "--hosts", "vazo"])
    assert not out.exists()
    none = ["--num-heldout-pairs", "0", "--num-heldout-styles", "0"]
    motifs.main([*few, "--hosts", "nazarboncuk", *none])
    splits = read_manifest(out)["splits"]
    assert {name: split["count"] for name, split in splits.items()} == {
        "train": 4,
        "val": 1,
        "heldout_pairs": 0,
        "heldout_styles": 0,
        "heldout_phrasing": 1,
    }


def test_help_names_every_mesh_format(capsys):
    with pytest.raises(SystemExit):
        motifs.main(["build", "--help"])
    shown = capsys.readouterr().out
    said = re.search(r"every shape as (.*?)\n +--", shown, re.DOTALL).group(1)
    assert re.findall(r"\w+", said.replace(" or", "")) == list(FORMATS)


@pytest.mark.slow
def test_an_interrupted_build_is_one_line(tmp_path, ctrl_c):
    """A terminal sends Ctrl-C to its worker processes too."""
    command = [sys.executable, "-m", "otuken_jax.motifs", "build", "--count", "4000"]
    command += ["--resolution", "16", "--workers", "2", "--out", str(tmp_path)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        said = ""
        while not re.search(r" [1-9]\d*/\d", said):
            assert process.poll() is None, said
            said += process.stderr.read(1)
        os.killpg(process.pid, signal.SIGINT)
        said += process.stderr.read()
    assert process.returncode == 130
    assert said.endswith("\ninterrupted\n")
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == [".building.json"]


MISTAKES = {
    "render papatya": "no motif or object 'papatya'; `list` shows all",
    "render lalee": "no motif or object 'lalee'; did you mean lale?",
    "render vazo --host vazo": "render MOTIF --host vazo",
    "render vazo --layout border": "render MOTIF --host vazo",
    "render lale --style iznik": "add --host",
    "render lale --palette 1": "add --host",
    "render lale --resolution 64": "add --host",
    "render lale --resolution 5": "--resolution: give 16 to 256, not 5",
    "render lale --host kupa": "no host 'kupa'",
    "render lale --host vazoo": "did you mean vazo?",
    "render lale --host vazo --style iznikk": "no style 'iznikk'; did you mean iznik?",
    "render lale --host vazo --palette 9": "palettes 0 to 2",
    "render lale --out x.jpg": "x.jpg: pictures are PNG files; give a name that ends in .png",
    "render lale --out folder": "folder: pictures are PNG files; give a name that ends in .png",
    "render lale --out file/x.png": "cannot write file/",
    "build --count 2 --motifs lale,papatya --out x": "no motif 'papatya'; `list` shows all",
    "build --count 2 --motifs lale,karanfıl --out x": "did you mean karanfil?",
    "build --count 2 --hosts vaz --out x": "no host 'vaz'; did you mean vazo?",
    "build --count 2 --styles iznk --out x": "no style 'iznk'; did you mean iznik?",
    "build --count 2 --meshes fbx --out x": "unknown mesh format 'fbx'; choose from glb",
    "build --count 0 --out x": "--count: give 1 to 1000000, not 0",
    "build --count 99999999999999999999 --out x": "--count: give 1 to 1000000, not 9999",
    "build --count 2.5 --out x": "--count: invalid integer value: '2.5'",
    "build --count 2 --num-val -1 --out x": "--num-val: give 0 to",
    "build --count 2 --resolution 8 --out x": "--resolution: give 16 to 256, not 8",
    "build --count 2 --resolution -5 --out x": "--resolution: give 16 to 256, not -5",
    "build --count 2 --resolution 100000 --out x": "--resolution: give 16 to 256, not 100000",
    "build --count 2 --seed -1 --out x": "--seed: give 0 to 4294967295, not -1",
    "build --count 2 --workers -1 --out x": "--workers: give 0 to 1024, not -1",
    "build --count 2 --out file": "cannot make the folder file: file exists; choose another",
    "build --count 2 --out file/x": "the folder file/x: not a directory; choose another",
    f"build --count 2 --out {'x' * 300}": "file name too long; choose another",
    "captions --count -3": "--count: give 1 to 1000000, not -3",
    "captions --count 5 --seed -1": "--seed: give 0 to 4294967295, not -1",
    "captions --out folder": "folder is a folder; give the name of a file",
    "captions --count 5 --out file/x": "cannot write file/",
    "sheets --out file": "cannot write file/motifs.md",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_mistakes_are_said_in_one_line(command, tmp_path, monkeypatch, capsys):
    blank = np.zeros((sheets.PICTURE, sheets.PICTURE, 3), np.uint8)
    monkeypatch.setattr(sheets, "host_picture", lambda name: blank)
    monkeypatch.setattr(sheets, "flat_picture", lambda name, size: blank)
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder").mkdir()
    status = run_command(lambda: motifs.main(command.split()))
    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert MISTAKES[command] in said.err
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "folder"}  # nothing is left


def test_the_page_of_motifs_is_up_to_date():
    docs = DOCS.parent
    page = (docs / "motifs.md").read_text(encoding="utf-8")
    assert page == sheets.motifs_page()
    assert all(motif.meaning in page and motif.meaning_english in page for motif in MOTIFS.values())
    pictures = re.findall(r"\((motifs/\w+\.png)\)", page)
    assert len(pictures) == 8
    assert all((docs / picture).stat().st_size < 300_000 for picture in pictures)


def test_the_sheets_show_every_motif_and_host(tmp_path, monkeypatch):
    drawn = []
    blank = np.zeros((sheets.PICTURE, sheets.PICTURE, 3), np.uint8)
    monkeypatch.setattr(sheets, "host_picture", lambda name: drawn.append(name) or blank)
    motifs.main(["sheets", "--out", str(tmp_path)])
    assert drawn == list(HOSTS)
    assert (tmp_path / "motifs.md").read_text(encoding="utf-8") == sheets.motifs_page()
    drawings = sorted((tmp_path / "motifs").glob("*.png"))
    assert len(drawings) == 8
    for path in drawings:
        if path.stem != "objeler":  # whose pictures are blank here
            now, kept = (
                np.asarray(Image.open(p).convert("L"), int) for p in (path, DOCS / path.name)
            )
            assert now.shape == kept.shape
            assert np.abs(now - kept).mean() < 1.5, path.name  # of 255; another font differs less


def test_the_page_of_captions_is_up_to_date(tmp_path):
    out = tmp_path / "captions.md"
    motifs.main(["captions", "--count", "300", "--seed", "1", "--out", str(out)])
    page = out.read_text(encoding="utf-8")
    assert sum(line.startswith("- ") for line in page.splitlines()) == 300 + 75
    assert page.count("## ") == 11  # eight kinds, the style text, a sample, other texts
    for noun in (*MOTIFS.values(), *HOSTS.values(), *STYLES.values()):
        assert noun.name in page
    words = [word for host in HOSTS.values() for levels in host.form for word in levels]
    words += [*COLORS, *(turkish for turkish, _ in TECHNIQUES.values()), "bordür", "madalyon"]
    assert [word for word in words if word not in page] == []
    lines = [without_articles(line.removeprefix("- ")) for line in page.splitlines()]
    for kind, phrasings in {**CAPTIONS, "style_text": STYLE_TEXT}.items():
        for template in (*phrasings.usual, *phrasings.heldout):
            said = re.escape(re.sub(r"\{plain:(\w+)\}", r"\1", template))
            shape = re.sub(r"\\\{.*?\\\}", ".+", said)
            shape = shape.translate(str.maketrans(FOLDING)) if kind == ASCII else shape
            assert any(re.fullmatch(shape, line) for line in lines), template
    docs = Path(__file__).parents[1] / "docs" / "captions.md"
    assert page == docs.read_text(encoding="utf-8")
