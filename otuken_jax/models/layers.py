"""Layers shared by the trainable networks: attention, AdaIN, resampling, positional features."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from otuken_jax.conventions import voxel_centers
from otuken_jax.models.attention import attention

EPSILON = 1e-5
ANGULAR_HARMONICS = 8  # ornaments repeat 3 to 8 times around a host
OCTAVES = 3
NUM_FOURIER = 4 + 8 * OCTAVES + 2 * ANGULAR_HARMONICS


class MLP(nnx.Module):
    """Linear -> GELU -> Linear."""

    def __init__(
        self, in_features: int, hidden: int, out_features: int, *, dtype, rngs: nnx.Rngs
    ) -> None:
        self.fc1 = nnx.Linear(in_features, hidden, dtype=dtype, rngs=rngs)
        self.fc2 = nnx.Linear(hidden, out_features, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
        return self.fc2(jax.nn.gelu(self.fc1(x), approximate=False))


class CrossAttention(nnx.Module):
    """softmax(q k^T / sqrt(d)) v with a key mask; queries and keys may differ in width."""

    def __init__(
        self, width: int, context_width: int, num_heads: int, *, dtype, rngs: nnx.Rngs
    ) -> None:
        self.num_heads = num_heads
        self.query = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.key = nnx.Linear(context_width, width, dtype=dtype, rngs=rngs)
        self.value = nnx.Linear(context_width, width, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "b q d"], context: Float[Array, "b k c"], mask: Bool[Array, "b k"]
    ) -> Float[Array, "b q d"]:
        split = lambda y: y.reshape(*y.shape[:2], self.num_heads, -1)  # noqa: E731
        y = attention(
            split(self.query(x)),
            split(self.key(context)),
            split(self.value(context)),
            mask=mask[:, None, None, :],
        )
        return self.out(y.reshape(x.shape))


class AdaIN(nnx.Module):
    """Adaptive instance normalisation: (1 + gamma(w)) * (x - mean) / std + beta(w).

    Huang and Belongie 2017 (arXiv:1703.06868). Statistics over the voxels of each channel (or, with
    `num_groups`, of each group of channels) in float32; gamma and beta start at zero.
    """

    def __init__(
        self, channels: int, style_dim: int, *, num_groups: int | None = None, dtype, rngs: nnx.Rngs
    ) -> None:
        self.num_groups = num_groups or channels
        self.dtype = dtype
        self.affine = nnx.Linear(
            style_dim, 2 * channels, kernel_init=nnx.initializers.zeros, dtype=dtype, rngs=rngs
        )

    def __call__(
        self, x: Float[Array, "b x y z c"], w: Float[Array, "b s"]
    ) -> Float[Array, "b x y z c"]:
        b, channels = x.shape[0], x.shape[-1]
        grouped = x.astype(jnp.float32).reshape(b, -1, self.num_groups, channels // self.num_groups)
        mean = grouped.mean(axis=(1, 3), keepdims=True)
        var = jnp.square(grouped - mean).mean(axis=(1, 3), keepdims=True)
        normed = ((grouped - mean) * jax.lax.rsqrt(var + EPSILON)).reshape(x.shape)
        gamma, beta = jnp.split(self.affine(w)[:, None, None, None, :], 2, axis=-1)
        return (1 + gamma) * normed.astype(self.dtype) + beta


def resize_volume(x: Float[Array, "b x y z *c"], resolution: int) -> Float[Array, "b r r r *c"]:
    """Trilinear resampling that keeps cell centres (PyTorch's align_corners=False)."""
    shape = (x.shape[0], resolution, resolution, resolution, *x.shape[4:])
    return jax.image.resize(x, shape, "linear", antialias=False)


def depth_to_space(x: Float[Array, "b x y z c8"]) -> Float[Array, "b x2 y2 z2 c"]:
    """Each voxel's 8c channels become its 2^3 sub-voxels; sub-voxel (i, j, k) is slowest."""
    b, nx, ny, nz, c = x.shape
    x = x.reshape(b, nx, ny, nz, 2, 2, 2, c // 8)
    return x.transpose(0, 1, 4, 2, 5, 3, 6, 7).reshape(b, 2 * nx, 2 * ny, 2 * nz, c // 8)


def fourier_positions(pose: Float[Array, "b 2"], resolution: int) -> Float[Array, "b r r r f"]:
    """Positional features of each voxel centre in the object's own frame.

    The pose (angle about z in radians, log scale) is undone first, so that the features of a turned
    object turn with it. x, y, z, r; sines and cosines of OCTAVES octaves of each; harmonics of
    theta, faded out at the axis where theta is undefined.
    """
    c = jnp.asarray(voxel_centers(resolution))
    gx, gy, gz = jnp.meshgrid(c, c, c, indexing="ij")
    angle, scale = pose[:, 0, None, None, None], jnp.exp(pose[:, 1, None, None, None])
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y, z = (cos * gx + sin * gy) / scale, (cos * gy - sin * gx) / scale, gz / scale
    r = jnp.sqrt(x**2 + y**2 + 1e-6)
    base = jnp.stack([x, y, jnp.broadcast_to(z, x.shape), r], axis=-1)
    # Angle sums in place of sines: a tenth of the time on a CPU.
    octaves = [(jnp.sin(np.pi * base), jnp.cos(np.pi * base))]
    for _ in range(OCTAVES - 1):
        s, c = octaves[-1]
        octaves.append((2 * s * c, 1 - 2 * s * s))
    sin_theta, cos_theta = y / r, x / r
    angular = [(sin_theta, cos_theta)]
    for _ in range(ANGULAR_HARMONICS - 1):
        s, c = angular[-1]
        angular.append((s * cos_theta + c * sin_theta, c * cos_theta - s * sin_theta))
    fade = jnp.tanh(8.0 * r)[..., None]
    harmonics = fade * jnp.stack([f for pair in angular for f in pair], axis=-1)
    return jnp.concatenate([base, *(f for pair in octaves for f in pair), harmonics], axis=-1)
