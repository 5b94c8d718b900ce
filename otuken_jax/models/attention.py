"""Attention as all networks here call it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def attention(
    query: Float[Array, "b q h d"],
    key: Float[Array, "b k h d"],
    value: Float[Array, "b k h d"],
    *,
    bias: Float[Array, "#b #h q k"] | None = None,
    mask: Bool[Array, "#b #h #q k"] | None = None,
    scale: float | None = None,
    is_causal: bool = False,
) -> Float[Array, "b q h d"]:
    """softmax(scale q k^T + bias) v of every head, the softmax in float32.

    Args:
        mask: True where a key takes part; a query without any key attends to all alike.
        scale: 1 / sqrt(d) if it is not given.
    """
    given = {"bias": bias, "mask": mask, "scale": scale, "is_causal": is_causal}
    # No `implementation` is named, for which JAX takes XLA's, on GPUs too. cuDNN's fused kernel
    # takes bfloat16 or float16 alone, is not trained with at odd lengths, such as CLIP's and
    # Point-E's, and looks for a GPU while it is traced, so that a step lowered for CUDA on another
    # machine cannot hold it. At T5's lengths it was slower on an H100: benchmarks/README.md.
    kernel = written_out if jax.default_backend() == "cpu" else jax.nn.dot_product_attention
    return kernel(query, key, value, **given)


def written_out(query, key, value, *, bias, mask, scale, is_causal):
    """`jax.nn.dot_product_attention` without its map over groups of heads, slow on a CPU."""
    query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))
    logits = jnp.matmul(query, key.swapaxes(2, 3), preferred_element_type=jnp.float32)
    logits = logits * (query.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        logits = logits + bias
    if is_causal:
        causal = jnp.tri(*logits.shape[2:], dtype=bool)
        mask = causal if mask is None else mask & causal
    if mask is not None:
        logits = jnp.where(mask, logits, 0.7 * jnp.finfo(logits.dtype).min)
    weights = jax.nn.softmax(logits).astype(value.dtype)
    return jnp.matmul(weights, value).swapaxes(1, 2)
