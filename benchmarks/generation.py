"""Time of one prompt: warm inside a process, and of the whole command with a filled cache.

    python benchmarks/generation.py --checkpoint runs/quickstart

Warm: the median of several prompts, from words to a closed mesh, after one that compiled. Cold:
the `generate` command from start to end with a GLB and its preview, the compile cache filled.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

from otuken_jax.compile_cache import enable_compile_cache
from otuken_jax.generation import Generator, Prompt
from otuken_jax.training.loading import load_model

STYLE = "İznik üslubu, lale motifi, lacivert üzerine beyaz"
TEXTS = ("uzun boylu bir vazo", "derin bir kâse", "bodur bir testi", "karo çini", "yüksek bir otağ")


def warm_seconds(checkpoint: str) -> list[float]:
    """Seconds of each of `TEXTS`, in one process."""
    generator = Generator(load_model(checkpoint))
    generator(Prompt("vazo", style=STYLE))
    seconds = []
    for text in TEXTS:
        start = time.perf_counter()
        generator(Prompt(text, style=STYLE))
        seconds.append(time.perf_counter() - start)
    return seconds


def cold_seconds(checkpoint: str, runs: int) -> list[float]:
    """Seconds of the whole command, the first run left out."""
    seconds = []
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "otuken_jax.generate", "--checkpoint", checkpoint]
        command += ["--text", TEXTS[0], "--style", STYLE, "--out", out]
        for _ in range(runs + 1):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - start)
    return seconds[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="runs/quickstart")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    enable_compile_cache()
    for name, seconds in (
        ("warm, one prompt", warm_seconds(arguments.checkpoint)),
        ("cold, whole command", cold_seconds(arguments.checkpoint, arguments.runs)),
    ):
        print(f"{name}: {statistics.median(seconds):.2f} s (worst {max(seconds):.2f} s)")


if __name__ == "__main__":
    main()
