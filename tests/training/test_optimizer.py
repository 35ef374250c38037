"""The optimiser against AdamW written out in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdhr_jax.training.optimizer import make_optimizer, make_schedule


def adamw_by_hand(params, gradients, total, lr0, decay, b1, b2, eps, clip=None):
    """The update of PyTorch's AdamW, in the order of its documentation."""
    params = {name: value.copy() for name, value in params.items()}
    m = {name: np.zeros_like(value) for name, value in params.items()}
    v = {name: np.zeros_like(value) for name, value in params.items()}
    for s, gradient in enumerate(gradients):
        lr = lr0 * (1 + np.cos(np.pi * s / total)) / 2
        norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
        scale = min(1.0, clip / norm) if clip else 1.0
        for name, p in params.items():
            g = scale * gradient[name]
            p -= lr * decay * p
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            denominator = np.sqrt(v[name]) / np.sqrt(1 - b2 ** (s + 1)) + eps
            p -= lr / (1 - b1 ** (s + 1)) * m[name] / denominator
    return params


@pytest.mark.parametrize("clip", [None, 0.5])
def test_updates_are_those_of_adamw(clip):
    rng = np.random.default_rng(0)
    params = {"kernel": rng.normal(size=(3, 4)), "bias": rng.normal(size=4), "scale": np.ones(2)}
    gradients = [
        {n: rng.normal(size=p.shape) * 10.0 ** -(3 * s) for n, p in params.items()} for s in range(6)
    ]
    with jax.enable_x64(True):
        optimizer = make_optimizer(1e-2, 8, weight_decay=0.1, b1=0.8, b2=0.99, eps=1e-3, clip_norm=clip)
        found = jax.tree.map(jnp.asarray, params)
        state = optimizer.init(found)
        step = jax.jit(optimizer.update)
        for gradient in gradients:
            updates, state = step(gradient, state, found)
            found = optax.apply_updates(found, updates)
        expected = adamw_by_hand(params, gradients, 8, 1e-2, 0.1, 0.8, 0.99, 1e-3, clip)
        for name in params:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-13, atol=1e-15)


def test_defaults_are_the_reference_recipe():
    rng = np.random.default_rng(1)
    params = {"bias": rng.normal(size=5)}
    gradients = [{"bias": rng.normal(size=5) * 1e-7} for _ in range(3)]
    with jax.enable_x64(True):
        optimizer = make_optimizer(1e-4, 10)
        found, state = params, optimizer.init(params)
        for gradient in gradients:
            updates, state = optimizer.update(gradient, state, found)
            found = optax.apply_updates(found, updates)
    expected = adamw_by_hand(params, gradients, 10, 1e-4, 5e-4, 0.9, 0.999, 1e-8)
    np.testing.assert_allclose(found["bias"], expected["bias"], rtol=1e-13)


def test_the_schedule_is_a_cosine_per_step():
    schedule = make_schedule(2e-4, 100)
    found = [float(schedule(s)) for s in (0, 25, 50, 100, 130)]
    np.testing.assert_allclose(found, [2e-4, 1e-4 * (1 + np.sqrt(0.5)), 1e-4, 0, 0], rtol=1e-6, atol=1e-18)
    assert float(jax.jit(schedule)(jnp.int32(25))) == pytest.approx(found[1])


def test_warm_up_rises_linearly_and_the_cosine_takes_the_rest():
    schedule = make_schedule(1.0, 12, warmup_steps=4)
    np.testing.assert_allclose([float(schedule(s)) for s in range(5)], [0.25, 0.5, 0.75, 1, 1], rtol=1e-6)
    assert float(schedule(8)) == pytest.approx(0.5)


def test_numbers_out_of_range_are_refused():
    for arguments, message in (
        ((-1.0, 5), "learning_rate is -1.0"),
        ((float("nan"), 5), "learning_rate is nan"),
        ((1.0, 0), "total_steps is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make_optimizer(*arguments)
    with pytest.raises(ValueError, match="warmup_steps is 5; expected 0 up to 4"):
        make_optimizer(1.0, 5, warmup_steps=5)
    with pytest.raises(ValueError, match="clip_norm is 0"):
        make_optimizer(1.0, 5, clip_norm=0.0)
