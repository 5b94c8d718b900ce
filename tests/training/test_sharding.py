"""Which tensors are split over the devices, and along which axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from otuken_jax.training.sharding import make_mesh, parameter_sharding, put_parameters


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((12, 16), (None, "fsdp")),  # the largest axis
        ((16, 12), ("fsdp", None)),
        ((8, 26), ("fsdp", None)),  # the largest that four devices divide
        ((2, 3, 8, 5), (None, None, "fsdp", None)),
        ((8, 12), (None, "fsdp")),  # just large enough
        ((4, 23), ()),  # just too small
        ((9, 26), ()),  # nothing to divide
        ((), ()),
    ],
)
def test_large_tensors_are_split_along_their_largest_divisible_axis(shape, spec):
    tensor = jax.ShapeDtypeStruct(shape, jnp.float32)
    sharding = parameter_sharding(make_mesh(2, 4), tensor, 96)
    assert tuple(sharding.spec) == spec
    assert parameter_sharding(make_mesh(8, 1), tensor, 96).is_fully_replicated


def test_every_device_holds_its_share_alone():
    values = np.arange(192, dtype=np.float32).reshape(12, 16)
    tree = {"large": values, "small": values[:1]}
    placed = put_parameters(make_mesh(2, 4), tree, 96)
    for name, shape in (("large", (12, 4)), ("small", (1, 16))):
        assert [x.data.shape for x in placed[name].addressable_shards] == [shape] * 8
        np.testing.assert_array_equal(placed[name], tree[name])
