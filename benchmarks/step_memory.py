"""Memory of the compiled training step, from the compiler's own analysis; nothing is run.

    python benchmarks/step_memory.py --config v64 --batch-size 32

Temporary memory is what XLA plans for activations and gradients on the present backend; arguments
are parameters, optimizer state and the batch. Every part is trained, as in a run's last epochs.
"""

import argparse

import jax

from otuken_jax.config import load_config
from otuken_jax.training.dry_run import dry_step
from otuken_jax.training.sharding import make_mesh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="v64")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--text-encoder", default="google/t5-v1_1-base", help="or bytes-small")
    arguments = parser.parse_args()
    encoder = arguments.text_encoder
    batch = f"batch {arguments.batch_size}"
    print(f"{arguments.config}, {batch}, text encoder {encoder}, {jax.default_backend()}")
    print("| dtype | remat | temporary | arguments |\n|---|---|---|---|")
    for dtype in ("float32", "bfloat16"):
        for remat in (False, True):
            overrides = ["pretrained=False", f"text_encoder.scratch_name={encoder}"]
            overrides += [f"dtype={dtype}", f"remat={remat}"]
            config = load_config(arguments.config, [f"--config.model.{o}" for o in overrides])
            stage = len(config.train.stage_epochs) - 1
            dry = dry_step(config, stage, arguments.batch_size, make_mesh())
            memory = dry.step.lower(*dry.arguments).compile().memory_analysis()
            sizes = (memory.temp_size_in_bytes, memory.argument_size_in_bytes)
            cells = " | ".join(f"{size / 2**30:.1f} GiB" for size in sizes)
            print(f"| {dtype} | {'yes' if remat else 'no'} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
