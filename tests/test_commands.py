"""What all command lines have in common: how they report a wrong one, and their help."""

import sys

import pytest

from otuken_jax import evaluate, generate, motifs, points, prepare, quickstart, train
from otuken_jax.data import vocabulary
from otuken_jax.errors import run_command
from porting.__main__ import main as port

WRONG = [  # (command, arguments, what is said of them)
    (train.main, "--config x", "the following arguments are required: --workdir"),
    (quickstart.main, "--workdir", "argument --workdir: expected one argument"),
    (generate.main, "--checkpoint x --out y --mix z", "argument --mix: invalid float value: 'z'"),
    (evaluate.main, "", "the following arguments are required: --checkpoint"),
    (prepare.main, "--meshes x --captions y --out z --workers 0", "--workers must be at least 1"),
    (motifs.main, "", "the following arguments are required: command"),
    (motifs.main, "render lale --palette x", "argument --palette: invalid int value: 'x'"),
    (points.main, "--weights x --out y.ply", "one of the arguments --text --image is required"),
    (vocabulary.main, "report x", "the following arguments are required: --tokenizer"),
    (port, "t5 x", "the following arguments are required: --out"),
    (port, "export x", "the following arguments are required: --out"),
    (port, "table --config", "argument --config: expected at least one argument"),
]


@pytest.mark.parametrize(
    ("main", "arguments", "words"), WRONG, ids=lambda x: getattr(x, "__module__", x)
)
def test_a_wrong_command_line_is_one_line(capsys, main, arguments, words):
    assert run_command(lambda: main(arguments.split())) == 2
    said = capsys.readouterr()
    assert said.err == f"error: {words}; --help shows all options\n"
    assert not said.out


@pytest.mark.parametrize(
    "main",
    sorted({main for main, _, _ in WRONG}, key=lambda m: m.__module__),
    ids=lambda m: m.__module__,
)
def test_help_keeps_the_lines_of_its_examples(capsys, main):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m ")
    assert sys.modules[main.__module__].__doc__.strip() in text
