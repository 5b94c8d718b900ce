"""`make` with a Python that does not fit leaves no environment behind."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("version", "fits"),
    [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False), (None, False)],
)
def test_the_version_is_looked_at_before_an_environment_is_made(tmp_path, version, fits):
    python = tmp_path / "python"
    if version is not None:  # `-c` runs as if in that version, `-m venv` only makes the folder
        python.write_text(
            f'#!/bin/sh\n[ "$1" = -m ] && exec mkdir -p "$3"\n'
            f'exec {sys.executable} -c "import sys; sys.version_info = {(*version, 0)}; $2"\n'
        )
        python.chmod(0o755)
    target = tmp_path / "venv" / "bin" / "python"
    command = ["make", "-f", str(MAKEFILE), f"VENV={tmp_path / 'venv'}", f"PYTHON={python}"]
    done = subprocess.run([*command, str(target)], cwd=tmp_path, capture_output=True, text=True)
    assert (tmp_path / "venv").exists() == fits
    assert (done.returncode == 0) == fits
    wanted = f"error: {python} is no Python 3.11 to 3.13; give one, as in make PYTHON=python3.12"
    assert (done.stderr.splitlines()[:1] == [wanted]) != fits
