"""Ötüken3D in JAX: Turkish text to closed 3D meshes of Turkish art."""

import importlib

_PUBLIC = {
    "Otuken3DModel": "otuken_jax.models.otuken3d",
    "Otuken3DTrainer": "otuken_jax.training.trainer",
}
__all__ = ["Otuken3DModel", "Otuken3DTrainer"]


def __getattr__(name: str):
    # On first use: the command lines should not load the trainer to print their help.
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
