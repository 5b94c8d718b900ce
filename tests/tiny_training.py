"""Training in miniature: a configuration, spheres, steps without a network, no room to write."""

import contextlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh
from ml_collections import ConfigDict

from otuken_jax import Otuken3DModel, Otuken3DTrainer
from otuken_jax.config import load_config
from otuken_jax.conventions import grid_points
from otuken_jax.geometry.meshes import Meshes
from otuken_jax.models.parameters import split_model
from otuken_jax.training.batches import BatchPreparer
from otuken_jax.training.optimizer import OptimizerConfig
from otuken_jax.training.step import TrainState

TINY = str(Path(__file__).parent / "configs" / "tiny.py")


def run_config(data: Path, *overrides: str) -> ConfigDict:
    """The tiny configuration of a whole run, its data set in the folder `data`."""
    fields = (f"data.directory={data}", *overrides)
    return load_config(TINY, [f"--config.{field}" for field in fields])


def sphere_loader(batches: int = 2, size: int = 8) -> list[dict]:
    """Batches of spheres as a user gives them: text and a field, or a mesh."""
    sdf = np.linalg.norm(grid_points(16), axis=-1) - 0.6
    batch = {
        "text": [f"küre {i}" for i in range(size)],
        "style_text": ["İznik üslubu"] * size,
        "points": np.random.default_rng(0).normal(size=(size, 20, 3)).astype(np.float32) * 0.3,
        "field": np.stack([sdf] * size),
    }
    return [batch] * batches


def tetrahedra(size: int = 8) -> dict:
    """A batch of meshes."""
    vertices = np.array([[-1, -1, -1], [1, -1, -1], [0, 1, -1], [0, 0, 1]], np.float32) * 0.5
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    meshes = Meshes.from_lists([vertices] * size, [faces] * size)
    return {"text": ["dörtyüzlü"] * size, "mesh": meshes}


def copied(model: Otuken3DModel, voxel_size: int) -> Otuken3DModel:
    """A model of its own with the same weights; making one anew takes longer."""
    definition, params = split_model(model)
    copy = definition.bind(params)
    copy.set_voxel_size(voxel_size)
    return copy


def one_device_mesh() -> Mesh:
    """The first device alone, of the eight that tests have."""
    return jax.make_mesh((1, 1), ("data", "fsdp"), (AxisType.Auto,) * 2, devices=jax.devices()[:1])


def num_split(tree) -> int:
    """How many of the tree's arrays, or their shapes, are split over the mesh's "fsdp" axis."""
    return sum("fsdp" in x.sharding.spec for x in jax.tree.leaves(tree))


def sphere_trainer(model: Otuken3DModel, **kwargs) -> Otuken3DTrainer:
    preparer = BatchPreparer("bytes", resolution=16, num_points=16, text_length=24, style_length=24)
    settings = {
        "train_loader": sphere_loader(),
        "val_loader": sphere_loader(1),
        "learning_rate": 1e-3,
        "optimizer": OptimizerConfig(warmup_steps=1),
        "preparer": preparer,
        "mesh": one_device_mesh(),  # eight take longer to fill than the tiny model to train
    }
    return Otuken3DTrainer(model=model, **settings | kwargs)


def make_quick_step(modeldef, tx, stage, config, mesh, state, ornament_alone=False):
    """In place of `make_train_step`: nothing to compile, every trained parameter grows by one."""

    def step(state, frozen, batch, key, knobs):
        grown = {n: jax.device_put(np.asarray(x) + 1, x.sharding) for n, x in state.params.items()}
        metrics = {"loss": jnp.float32(1), "iou": jnp.float32(0)}
        return TrainState(grown, state.opt_state, state.step), metrics

    return step


def trained_parts(before: dict, after: dict) -> set[str]:
    """The parts of the model with a parameter that differs."""
    return {n.partition(".")[0] for n in before if not np.array_equal(before[n], after[n])}


@contextlib.contextmanager
def full_disk(size: int = 20_000) -> Iterator[None]:
    """No file grows beyond a size: the system refuses to write more, as it does on a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
