"""The device mesh and what lies where on it."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from otuken_jax.errors import UserError


def make_mesh(data: int = -1, fsdp: int = 1) -> Mesh:
    """A (data, fsdp) mesh over all devices; -1 for `data` takes what `fsdp` leaves.

    Raises:
        UserError: the devices cannot be arranged so.
    """
    devices = jax.device_count()
    if data == -1 and devices % fsdp == 0:
        data = devices // fsdp
    if data * fsdp != devices:
        raise UserError(
            f"mesh.data={data} x mesh.fsdp={fsdp} does not make the {devices} devices present; "
            "set them so that their product is the number of devices"
        )
    return jax.make_mesh((data, fsdp), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)


def check_batch_size(mesh: Mesh, batch_size: int) -> None:
    """UserError unless the devices divide the batch."""
    if batch_size % mesh.size:
        lower = batch_size // mesh.size * mesh.size
        fitting = " or ".join(str(n) for n in (lower, lower + mesh.size) if n)
        raise UserError(
            f"batch_size={batch_size} is not divided by {mesh.size} devices; use {fitting}"
        )


def parameter_sharding(mesh: Mesh, x, min_size: int) -> NamedSharding:
    """Splits the largest axis that "fsdp" divides, of tensors from `min_size` elements on.

    The rest is replicated: splitting what is small costs more than it saves.
    """
    size = mesh.shape["fsdp"]
    if size > 1 and x.size >= min_size:
        for axis in np.argsort(x.shape)[::-1]:
            if x.shape[axis] % size == 0:
                spec = [None] * x.ndim
                spec[axis] = "fsdp"
                return NamedSharding(mesh, PartitionSpec(*spec))
    return replicated(mesh)


def put_parameters(mesh: Mesh, tree: Any, min_size: int) -> Any:
    """Every array of the tree to where `parameter_sharding` says."""
    return jax.tree.map(lambda x: put(x, parameter_sharding(mesh, x, min_size)), tree)


def put(x: ArrayLike, sharding: NamedSharding) -> jax.Array:
    """`x`, the same in every process, to the devices of all of them."""
    # JAX 0.10 makes an array without readable shards of a jax.Array that one process holds.
    if jax.process_count() > 1 and getattr(x, "is_fully_addressable", False):
        x = np.asarray(x)
    return jax.device_put(x, sharding)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def put_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """This process's share of the batch to its devices, as global arrays.

    Raises:
        UserError: the devices do not divide the batch.
    """
    check_batch_size(mesh, jax.process_count() * len(next(iter(batch.values()))))
    sharding = batch_sharding(mesh)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}
