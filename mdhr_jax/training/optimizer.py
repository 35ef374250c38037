"""AdamW with a cosine schedule per step, as the reference trains."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float


def make_schedule(learning_rate: float, total_steps: int, *, warmup_steps: int = 0) -> optax.Schedule:
    """Learning rate as a function of the step, for the optimiser and for logging.

    ``lr(s) = lr0 (1 + cos(pi s / total)) / 2``, s = 0 for the first step and the cosine per step, not
    per epoch. With warm-up the rate first rises linearly, ``lr0 (s + 1) / warmup``, and the cosine
    spans the steps that remain.

    Args:
        learning_rate: lr0, the highest rate.
        total_steps: steps of the whole run; from there on the rate is 0.
        warmup_steps: steps of linear warm-up; 0 in the reference.

    Returns:
        Function of the step (an int or an integer scalar array, traced or not).

    Raises:
        ValueError: a number is out of range.
    """
    if not learning_rate >= 0:
        raise ValueError(f"learning_rate is {learning_rate}; expected 0 or more")
    if total_steps < 1:
        raise ValueError(f"total_steps is {total_steps}; expected at least 1")
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(
            f"warmup_steps is {warmup_steps}; expected 0 up to {total_steps - 1} (total_steps - 1)"
        )

    def schedule(step: ArrayLike) -> Float[Array, ""]:
        # Division of int32 gives float32 even where 64-bit types are on; this float is of the mode's width.
        step = jnp.asarray(step).astype(float)
        done = jnp.clip((step - warmup_steps) / (total_steps - warmup_steps), 0, 1)
        rate = learning_rate * (1 + jnp.cos(jnp.pi * done)) / 2
        if warmup_steps:
            rate = jnp.where(step < warmup_steps, learning_rate * (step + 1) / warmup_steps, rate)
        return rate

    return schedule


def make_optimizer(
    learning_rate: float,
    total_steps: int,
    *,
    weight_decay: float = 5e-4,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    clip_norm: float | None = None,
    warmup_steps: int = 0,
) -> optax.GradientTransformation:
    """AdamW exactly as PyTorch defines it, with `make_schedule`.

    Decoupled decay ``lr(s) * weight_decay`` on every parameter (biases and norms too), `eps` outside
    the square root, bias correction of both moments.

    Args:
        learning_rate, total_steps, warmup_steps: see `make_schedule`.
        weight_decay: decay per unit of learning rate.
        b1, b2, eps: of Adam.
        clip_norm: scale gradients down to this global L2 norm where they exceed it; None: do not.

    Returns:
        The transformation; its state counts the steps.

    Raises:
        ValueError: a number is out of range.
    """
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm is {clip_norm}; expected a positive norm, or None for no clipping")
    adamw = optax.adamw(
        make_schedule(learning_rate, total_steps, warmup_steps=warmup_steps),
        b1=b1,
        b2=b2,
        eps=eps,
        weight_decay=weight_decay,
    )
    return adamw if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), adamw)
