"""How PyTorch tensors become Flax parameters: tables of rules, strict both ways.

A rule sends every source tensor whose name matches a regular expression to one Flax path. `plan`
checks a whole table against the names and shapes of a file before a byte is read: each source
tensor is used exactly once, each parameter is written exactly once, no rule is idle, every shape
is equal. Otherwise one `PortError` lists every problem.

Registering a network. A module of this package (`t5`, `clip`, `point_e`, `pointnet2`, ...) defines
`NETWORKS: dict[str, Network]`, keyed by the name used on the command line; `porting.registry`
imports those modules and merges their tables. A `Network` bundles plain functions:

    NETWORKS = {
        "point-e/sdf": Network(
            name="point-e/sdf",
            make_model=lambda config: PointESDF(config, rngs=nnx.Rngs(0)),
            rules=lambda config: [Rule(r"encoder\\.(.*)\\.weight", r"encoder/\\1/kernel", LINEAR)],
            config_from_source=lambda config_json, shapes: PointESDFConfig(),
            make_torch=lambda config: torch_reference.point_e.SDF(config),
            make_inputs=lambda config, rng: {"points": rng.normal(...)},
            run_model=lambda model, inputs: {"sdf": model(inputs["points"])},
            run_torch=lambda module, inputs: {"sdf": module(inputs["points"])},
            tolerance=1e-5,
            configs={"sdf": PointESDFConfig()},
            published={"sdf": "https://..."},
        )
    }

Every state leaf of the Flax module is a target, buffers too. Paths are written with slashes,
`blocks/0/attention/query/kernel`: the attribute names and list indices of the NNX module.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

Shape = tuple[int, ...]


class PortError(ValueError):
    """A file and a table of rules do not fit; the message lists every problem."""


@dataclasses.dataclass(frozen=True)
class Transform:
    """A change of layout from PyTorch to Flax, and its inverse for the export."""

    apply: Callable[[np.ndarray], np.ndarray]
    invert: Callable[[np.ndarray], np.ndarray]


def permute(*axes: int) -> Transform:
    """Transposition: Flax axis i is PyTorch axis axes[i]."""
    inverse = tuple(int(i) for i in np.argsort(axes))
    return Transform(lambda w: w.transpose(axes), lambda w: w.transpose(inverse))


IDENTITY = Transform(lambda w: w, lambda w: w)
LINEAR = permute(1, 0)  # (out, in) -> (in, out)
CONV2D = permute(2, 3, 1, 0)  # (out, in, h, w) -> (h, w, in, out)
CONV3D = permute(2, 3, 4, 1, 0)  # (out, in, d, h, w) -> (d, h, w, in, out)


@dataclasses.dataclass(frozen=True)
class Rule:
    r"""Source names that fully match `torch` go to the Flax path `path` (`\1` is a group).

    path: None means deliberately unused; say why in a comment beside the rule.
    optional: the rule may match nothing (parts that only some published files carry).
    tied: several names may hold one and the same tensor; the copies must be bit-equal.
    """

    torch: str
    path: str | None
    transform: Transform = IDENTITY
    optional: bool = False
    tied: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where each source tensor goes: all that is known before any tensor is read."""

    sources: dict[str, tuple[str, ...]]  # Flax path -> source names (more than one: tied copies)
    transforms: dict[str, Transform]  # Flax path -> change of layout
    unused: tuple[str, ...]  # source names that a rule with path None takes

    def tensor(self, path: str, read: Callable[[str], np.ndarray]) -> np.ndarray:
        """The tensor of one Flax path in Flax's layout; `read` gives a source tensor by name."""
        first, *copies = self.sources[path]
        source = np.asarray(read(first))
        for name in copies:
            copy = np.asarray(read(name))
            if copy.dtype != source.dtype or not np.array_equal(_bits(copy), _bits(source)):
                raise PortError(f"{name} should be a copy of {first}, but their values differ")
        return np.ascontiguousarray(self.transforms[path].apply(source))


@dataclasses.dataclass(frozen=True)
class Network:
    """One network of the converter: what it is in Flax, in PyTorch, and how they correspond.

    config: any frozen dataclass of plain values; it is written to the card as a dict.
    config_from_dict: reads it from there, where fields are dataclasses themselves.
    settle: moves a PyTorch module's drawn weights off what float32 cannot resolve.
    """

    name: str
    make_model: Callable[[Any], nnx.Module]  # config -> Flax module; also called by nnx.eval_shape
    rules: Callable[[Any], list[Rule]]  # config -> table
    # (config.json beside the file or None, {source name: shape}) -> config; PortError if it is
    # some other network's file
    config_from_source: Callable[[Mapping[str, Any] | None, Mapping[str, Shape]], Any]
    make_torch: Callable[[Any], Any]  # config -> torch.nn.Module in eval mode, for --verify
    make_inputs: Callable[[Any, np.random.Generator], dict[str, np.ndarray]]
    # Both run on the dict of make_inputs (NumPy for Flax, tensors for PyTorch): named outputs
    run_model: Callable[[Any, dict[str, np.ndarray]], dict[str, Any]]
    run_torch: Callable[[Any, dict[str, Any]], dict[str, Any]]
    # Of --verify, relative to the largest output: ten times what README.md has measured, as other
    # CPUs add in another order, but never above 1e-5
    tolerance: float
    # Published sizes by name: `export` learns the config's class here, `table` measures them all
    configs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    config_from_dict: Callable[[Mapping[str, Any]], Any] | None = None
    settle: Callable[[Any], None] = lambda module: None
    hub: bool = False  # SOURCE may be a repository of the Hugging Face hub
    published: Mapping[str, str] = dataclasses.field(default_factory=dict)  # name -> URL
    state_dict_key: str | None = None  # where the state dict lies in a nested .pt file

    def read_config(self, values: Mapping[str, Any]) -> Any:
        """The config that a card holds as a dict."""
        make = self.config_from_dict or (lambda d: type(next(iter(self.configs.values())))(**d))
        return make(values)


def plan(shapes: Mapping[str, Shape], rules: list[Rule], target: Mapping[str, Shape]) -> Plan:
    """Matches source names and shapes against a table and the Flax shapes; PortError if unfit."""
    problems: list[str] = []
    sources: dict[str, list[str]] = {}
    transforms: dict[str, Transform] = {}
    unused: list[str] = []
    busy: set[Rule] = set()
    for name, shape in shapes.items():
        hits = [(rule, m) for rule in rules if (m := re.fullmatch(rule.torch, name))]
        busy.update(rule for rule, _ in hits)
        if len(hits) != 1:
            what = "no rule takes it" if not hits else f"{len(hits)} rules take it"
            problems.append(f"source {name} {list(shape)}: {what}")
            continue
        rule, match = hits[0]
        if rule.path is None:
            unused.append(name)
            continue
        path = match.expand(rule.path)
        if path not in target:
            problems.append(f"source {name}: the model has no parameter {path}")
        elif path in sources and not rule.tied:
            problems.append(f"source {name}: {path} is already written by {sources[path][0]}")
        elif (new := _shape_after(rule.transform, shape)) != tuple(target[path]):
            shown = list(new) if new is not None else f"a layout change that fails on {list(shape)}"
            problems.append(f"source {name}: {path} is {list(target[path])} but this gives {shown}")
        else:
            sources.setdefault(path, []).append(name)
            transforms[path] = rule.transform
    problems += [f"parameter {path}: nothing writes it" for path in target if path not in sources]
    idle = [rule for rule in rules if rule not in busy and not rule.optional]
    problems += [f"rule {rule.torch!r}: matches nothing" for rule in idle]
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise PortError("\n  ".join([f"the tensors do not fit the network ({count}):", *problems]))
    return Plan({path: tuple(names) for path, names in sources.items()}, transforms, tuple(unused))


def _bits(w: np.ndarray) -> np.ndarray:
    """The same memory as whole numbers, in which a NaN equals itself and bfloat16 needs no care."""
    return w.view(f"u{w.dtype.itemsize}")


def check_kind(shapes: Mapping[str, Shape], prefix: str, what: str) -> None:
    """PortError if no tensor's name begins with `prefix`: then it is another network's file.

    Single tensors that are missing or too many are for `plan` to list, all at once.
    """
    if not any(name.startswith(prefix) for name in shapes):
        raise PortError(f"not {what}: there is no tensor {prefix}*")


def _shape_after(transform: Transform, shape: Shape) -> Shape | None:
    """The shape that a transform gives, found without memory; None if it cannot be applied."""
    try:
        return transform.apply(np.broadcast_to(np.float32(0), shape)).shape
    except (ValueError, IndexError):
        return None


def target_shapes(model: nnx.Module) -> dict[str, Shape]:
    """{path: shape} of every state leaf of a module, concrete or made by `nnx.eval_shape`."""
    flat = nnx.to_flat_state(nnx.state(model))
    return {"/".join(map(str, path)): tuple(leaf.get_value().shape) for path, leaf in flat}


def port(
    state_dict: Mapping[str, np.ndarray], rules: list[Rule], target: Mapping[str, Shape]
) -> dict[str, np.ndarray]:
    """Every tensor of a state dict in Flax's layout by path, in its own dtype; PortError if unfit.

    For whole files use `porting.convert`, which holds one tensor at a time.
    """
    shapes = {name: tuple(w.shape) for name, w in state_dict.items()}
    steps = plan(shapes, rules, target)
    return {path: steps.tensor(path, state_dict.__getitem__) for path in target}


def build(network: Network, config: Any, state_dict: Mapping[str, np.ndarray]) -> nnx.Module:
    """The Flax module of `network` holding a PyTorch state dict, in the module's own dtypes."""
    model = nnx.eval_shape(lambda: network.make_model(config))
    shapes = {name: tuple(w.shape) for name, w in state_dict.items()}
    steps = plan(shapes, network.rules(config), target_shapes(model))
    graphdef, state = nnx.split(model)
    for path, leaf in nnx.to_flat_state(state):
        array = steps.tensor("/".join(map(str, path)), state_dict.__getitem__)
        leaf.set_value(jnp.asarray(array, dtype=leaf.get_value().dtype))
    return nnx.merge(graphdef, state)
