"""A model as a static definition and a flat dictionary of named arrays.

Names are the attribute path, "decoder.blocks.0.conv1.kernel". Freezing, optimizer groups, sharding
and checkpoints are then plain functions of names and shapes.
"""

from dataclasses import dataclass

import jax
from flax import nnx
from jaxtyping import Array

Params = dict[str, Array | jax.ShapeDtypeStruct]


@dataclass(frozen=True)
class ModelDef:
    """Everything of a module but its arrays; hashable, so that jit may close over it."""

    graphdef: nnx.GraphDef
    treedef: jax.tree_util.PyTreeDef
    names: tuple[str, ...]

    def bind(self, params: Params) -> nnx.Module:
        """The module holding `params`; KeyError names a parameter that is missing."""
        state = jax.tree.unflatten(self.treedef, [params[name] for name in self.names])
        return nnx.merge(self.graphdef, state)


def _name(path) -> str:
    return ".".join(str(k.key) for k in path if isinstance(k, jax.tree_util.DictKey))


def split_model(model: nnx.Module) -> tuple[ModelDef, Params]:
    """Splits a module into its definition and its parameters by name (no copy is made)."""
    graphdef, state = nnx.split(model)
    leaves, treedef = jax.tree_util.tree_flatten_with_path(state)
    names = tuple(_name(path) for path, _ in leaves)
    return ModelDef(graphdef, treedef, names), {
        n: x for n, (_, x) in zip(names, leaves, strict=True)
    }


def update_model(model: nnx.Module, params: Params) -> None:
    """Writes `params` (any subset of the names) into the module in place."""
    definition, current = split_model(model)
    state = jax.tree.unflatten(
        definition.treedef, [params.get(name, current[name]) for name in definition.names]
    )
    nnx.update(model, state)


def count(params: Params) -> int:
    """Number of scalars."""
    return sum(x.size for x in params.values())
