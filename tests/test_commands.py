"""What all command lines have in common: how they report a wrong one, and their help."""

import errno
import subprocess
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
    (generate.main, "--seed x", "argument --seed: 'x' is no whole number from 0, below 2^31"),
    (evaluate.main, "", "the following arguments are required: --checkpoint"),
    (evaluate.main, "--seed=-5", "argument --seed: '-5' is no whole number from 0, below 2^31"),
    (evaluate.main, "--seed 1e3", "argument --seed: '1e3' is no whole number from 0, below 2^31"),
    (
        evaluate.main,
        f"--seed {2**31}",
        f"argument --seed: '{2**31}' is no whole number from 0, below 2^31",
    ),
    (prepare.main, "--meshes x --captions y --out z --workers 0", "--workers must be at least 1"),
    (
        prepare.main,
        "--meshes x --captions y --out z --timeout -1",
        "--timeout is -1.0; give seconds above 0",
    ),
    (
        prepare.main,
        "--meshes x --captions y --out z --timeout nan",
        "--timeout is nan; give seconds above 0",
    ),
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


PRINTS = """
import sys
from otuken_jax.errors import run_command

def main():
    for number in range({lines}):
        print(number)
    {then}

raise SystemExit(run_command(main))
"""


@pytest.mark.parametrize("lines", [2, 100_000])  # all in the buffer until the end, and more
@pytest.mark.parametrize("then", ["pass", "sys.exit(0)"])
@pytest.mark.parametrize("buffered", [(), ("-u",)])
def test_a_reader_that_leaves_ends_the_command_without_a_word(monkeypatch, lines, then, buffered):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    command = [sys.executable, *buffered, "-c", PRINTS.format(lines=lines, then=then)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before it has started
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_another_broken_pipe_keeps_its_traceback():
    def main():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        run_command(main)
