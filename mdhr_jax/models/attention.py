"""Self-attention inside windows, with its gradient written out."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdhr_jax.models.operations import stored


@jax.custom_vjp
def attend(
    qkv: Float[Array, "B W S three h d"],
    bias: Float[Array, "h S S"],
    mask: Float[Array, "W S S"] | None,
) -> Float[Array, "B W S h d"]:
    """Multi-head attention among the S tokens of each window; softmax in the bias's number format.

    The gradient is that of the definition, written out for the sake of CPUs: queries, keys, values and
    weights are kept in the order of its products, the gradients of the three are put side by side instead
    of padded and added, and that of the bias is summed over windows as a product. Where no gradient is
    asked for, the exponentials are divided by their sum behind the product, which is narrower.

    Args:
        qkv: queries, keys and values of each head.
        bias: added to the scores of each pair of tokens; its number format is that of the statistics.
        mask: added to the scores too, window by window; no gradient flows into it.

    Returns:
        Values mixed by the weights, softmax(query . key / sqrt d + bias + mask).
    """
    query, key, value = _parts(qkv)
    scores = _scores(query, key, bias, mask)
    exponentials = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    mixed = jnp.einsum(
        "bwhqk,bwhkd->bwhqd", exponentials.astype(qkv.dtype), value, preferred_element_type=bias.dtype
    )
    mixed = mixed / jnp.sum(exponentials, axis=-1, keepdims=True)
    return mixed.astype(qkv.dtype).transpose(0, 1, 3, 2, 4)


def _parts(qkv: Float[Array, "B W S three h d"]) -> tuple[Array, Array, Array]:
    """Queries, keys and values, [B W h S d]."""
    query, key, value = (part.transpose(0, 1, 3, 2, 4) for part in jnp.unstack(qkv, axis=3))
    return query, key, value


def _scores(query: Array, key: Array, bias: Array, mask: Array | None) -> Float[Array, "B W h S S"]:
    scores = jnp.einsum("bwhqd,bwhkd->bwhqk", query, key, preferred_element_type=bias.dtype)
    scores = scores * _scale(query, bias.dtype) + bias
    return scores if mask is None else scores + mask[:, None]


def _forward(qkv: Array, bias: Array, mask: Array | None) -> tuple[Array, Any]:
    query, key, value = _parts(qkv)
    weights = jax.nn.softmax(_scores(query, key, bias, mask), axis=-1).astype(qkv.dtype)
    mixed = jnp.einsum("bwhqk,bwhkd->bwhqd", weights, value)
    return mixed.transpose(0, 1, 3, 2, 4), (query, key, value, weights, bias)


def _backward(kept: Any, gradient: Array) -> tuple[Array, Array, None]:
    query, key, value, weights, bias = kept
    gradient = stored(gradient.transpose(0, 1, 3, 2, 4))
    of_weights = jnp.einsum("bwhqd,bwhkd->bwhqk", gradient, value, preferred_element_type=bias.dtype)
    wide = weights.astype(bias.dtype)
    of_scores = wide * (of_weights - jnp.sum(wide * of_weights, -1, keepdims=True))
    of_bias = _summed(of_scores)
    of_products = (of_scores * _scale(query, bias.dtype)).astype(query.dtype)
    of_query = jnp.einsum("bwhqk,bwhkd->bwhqd", of_products, key)
    of_key = jnp.einsum("bwhkq,bwhqd->bwhkd", _turned(of_products), query)
    of_value = jnp.einsum("bwhkq,bwhqd->bwhkd", _turned(weights), gradient)
    of_qkv = stored(jnp.stack([of_query, of_key, of_value], axis=2)).transpose(0, 1, 4, 2, 3, 5)
    return of_qkv, of_bias, None


attend.defvjp(_forward, _backward)


def _scale(query: Array, dtype: Any) -> Array:
    return jnp.asarray(query.shape[-1] ** -0.5, dtype)


def _turned(weights: Float[Array, "B W h q k"]) -> Float[Array, "B W h k q"]:
    """Transposed, in memory on CPUs, whose products are slow along the other axis."""
    return stored(jnp.swapaxes(weights, -1, -2))


def _summed(scores: Float[Array, "B W h S S"]) -> Float[Array, "h S S"]:
    """Sum over windows, as a product in full precision."""
    rows = scores.reshape(-1, scores[0, 0].size)
    total = jnp.matmul(jnp.ones((1, rows.shape[0]), rows.dtype), rows, precision=jax.lax.Precision.HIGHEST)
    return total.reshape(scores.shape[2:])
