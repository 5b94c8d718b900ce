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
from otuken_jax.data.text import FOLDING
from otuken_jax.errors import UserError

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["render", "papatya"], "no motif or object 'papatya'"),
        (["render", "vazo", "--host", "vazo"], "render MOTIF --host vazo"),
        (["render", "vazo", "--layout", "border"], "render MOTIF --host vazo"),
        (["render", "lale", "--style", "iznik"], "add --host"),
        (["render", "lale", "--palette", "1"], "add --host"),
        (["render", "lale", "--host", "kupa"], "no host 'kupa'"),
        (["build", "--count", "2", "--motifs", "lale,papatya", "--out", "x"], "motif papatya"),
        (["render", "lale", "--host", "vazo", "--palette", "9"], "palettes 0 to 2"),
        (["build", "--count", "0", "--out", "x"], "at least 1"),
        (["build", "--count", "2", "--resolution", "8", "--out", "x"], "--resolution is 8"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments, message):
    with pytest.raises(UserError, match=message):
        motifs.main(arguments)


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
    assert page.count("## ") == 11  # eight kinds, the style text, a sample, the noun
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
    with pytest.raises(UserError, match="--count is 0"):
        motifs.main(["captions", "--count", "0"])
