"""Runs a network in PyTorch and in Flax side by side and measures how far apart they are."""

import contextlib
import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
from flax import nnx

from otuken_jax.models.weights import load_weights
from porting.rules import Network, build, plan, target_shapes
from porting.sources import Source, require_torch


@dataclasses.dataclass(frozen=True)
class Difference:
    """The largest difference of one output; `relative` is to the largest output."""

    output: str
    absolute: float
    relative: float
    tolerance: float

    @property
    def within_tolerance(self) -> bool:
        return self.relative <= self.tolerance  # false for NaN too

    def __str__(self) -> str:
        return (
            f"{self.output}: largest difference {self.absolute:.2e} absolute, "
            f"{self.relative:.2e} relative to the largest value (tolerance {self.tolerance:.0e})"
        )


def on_cpu() -> contextlib.AbstractContextManager:
    """What JAX makes and runs within is on the CPU, as PyTorch is, whatever else there is."""
    return jax.default_device(jax.devices("cpu")[0])


def compare(network: Network, config: Any, model: nnx.Module, module: Any) -> list[Difference]:
    """The differences of all outputs on the network's random inputs, in full float32 on the CPU."""
    import torch

    inputs = network.make_inputs(config, np.random.default_rng(0))
    graphdef, state = nnx.split(model)
    with on_cpu(), jax.default_matmul_precision("highest"):
        run = jax.jit(lambda state, x: network.run_model(nnx.merge(graphdef, state), x))
        outputs = jax.device_get(run(state, inputs))
    with torch.inference_mode():
        tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
        wanted = {name: w.numpy() for name, w in network.run_torch(module, tensors).items()}
    if outputs.keys() != wanted.keys():
        raise ValueError(f"outputs {sorted(outputs)} and {sorted(wanted)} do not correspond")
    differences = []
    for name, want in wanted.items():
        if outputs[name].shape != want.shape:
            raise ValueError(f"{name}: shapes {outputs[name].shape} and {want.shape}")
        absolute = float(np.abs(outputs[name] - want).max())
        relative = absolute / max(float(np.abs(want).max()), 1e-30)
        differences.append(Difference(name, absolute, relative, network.tolerance))
    return differences


def compare_files(network: Network, config: Any, source: Source, folder: Path) -> list[Difference]:
    """The converted folder against PyTorch with the source's own tensors.

    PyTorch gets them by name, untouched by the table's changes of layout, but rounded as stored.
    """
    import torch

    model = nnx.eval_shape(lambda: network.make_model(config))
    target, rules = target_shapes(model), network.rules(config)
    with on_cpu():
        card = load_weights(model, folder, network=network.name)
    names = plan(source.shapes, rules, target).sources

    def tensor(path: str) -> torch.Tensor:
        w = np.asarray(source.read(names[path][0]))
        if card.dtype == "bfloat16":
            w = w.astype(ml_dtypes.bfloat16)
        return torch.from_numpy(w.astype(np.float32))

    module = network.make_torch(config)
    state_dict = module.state_dict()
    own = plan({n: tuple(w.shape) for n, w in state_dict.items()}, rules, target).sources
    state_dict.update({name: tensor(path) for path, copies in own.items() for name in copies})
    module.load_state_dict(state_dict, strict=True)
    return compare(network, config, model, module)


def compare_random(network: Network, config: Any) -> list[Difference]:
    """The differences with every weight drawn at random."""
    module = network.make_torch(config)
    draw_weights(module)
    network.settle(module)
    state_dict = {name: w.numpy() for name, w in module.state_dict().items()}
    with on_cpu():
        model = build(network, config, state_dict)
    return compare(network, config, model, module)


def print_table(networks: list[Network], configs: list[str] | None = None) -> None:
    """Prints a Markdown table of the differences with every weight drawn at random.

    configs: published sizes to measure; None means all below a billion parameters.

    Raises:
        UserError: PyTorch is not installed.
    """
    require_torch("the table")
    print("| network | size | parameters | output | largest difference | relative to output |")
    print("|---|---|---|---|---|---|")
    for network in networks:
        for name, config in network.configs.items():
            if (name not in configs) if configs else (count_parameters(network, config) > 1e9):
                continue
            count = f"{count_parameters(network, config) / 1e6:,.1f} M"
            for d in compare_random(network, config):
                row = [
                    network.name,
                    name,
                    count,
                    d.output,
                    f"{d.absolute:.1e}",
                    f"{d.relative:.1e}",
                ]
                print("| " + " | ".join(row) + " |", flush=True)


def count_parameters(network: Network, config: Any) -> int:
    """Numbers that a network holds, buffers too."""
    shapes = target_shapes(nnx.eval_shape(lambda: network.make_model(config)))
    return sum(math.prod(shape) for shape in shapes.values())


def draw_weights(module: Any, seed: int = 0) -> None:
    """Draws every weight of a PyTorch module, norms and biases too, at its own initial scale.

    What starts as a constant (norms at one, biases and last layers at zero) is moved off it.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            spread = p.std().item() if p.numel() > 1 else 0.0
            if spread == 0.0:
                spread = 0.2 if p.ndim < 2 else p[0].numel() ** -0.5
            p.copy_(p.mean() + spread * torch.randn(p.shape, generator=generator))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.2, generator=generator)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5, generator=generator)
