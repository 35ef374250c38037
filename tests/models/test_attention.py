import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdhr_jax.models.attention import attend

WINDOWS, TOKENS, HEADS, WIDTH = 4, 9, 2, 5


def inputs(dtype, statistics):
    """Queries, keys and values of two images, biases, and a mask that lets no window be alike."""
    draw = np.random.default_rng(0).standard_normal
    qkv = jnp.asarray(2 * draw((2, WINDOWS, TOKENS, 3, HEADS, WIDTH)), dtype)
    bias = jnp.asarray(draw((HEADS, TOKENS, TOKENS)), statistics)
    mask = jnp.asarray(np.where(draw((WINDOWS, TOKENS, TOKENS)) > 1.0, -100.0, 0.0), statistics)
    return qkv, bias, mask


def plain(qkv, bias, mask):
    """The definition, head by head and window by window."""
    query, key, value = jnp.moveaxis(qkv, 3, 0)
    images = []
    for image in range(qkv.shape[0]):
        windows = []
        for window in range(WINDOWS):
            heads = []
            for head in range(HEADS):
                q, k, v = (part[image, window, :, head] for part in (query, key, value))
                scores = q @ k.T / np.sqrt(WIDTH) + bias[head]
                if mask is not None:
                    scores = scores + mask[window]
                weights = jnp.exp(scores)
                heads.append(weights / weights.sum(-1, keepdims=True) @ v)
            windows.append(jnp.stack(heads, 1))
        images.append(jnp.stack(windows))
    return jnp.stack(images)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_and_its_gradient_are_those_of_the_definition(float64, masked):
    qkv, bias, mask = inputs(jnp.float64, jnp.float64)
    mask = mask if masked else None
    found, pull = jax.vjp(lambda qkv, bias: attend(qkv, bias, mask), qkv, bias)
    expected, expected_pull = jax.vjp(lambda qkv, bias: plain(qkv, bias, mask), qkv, bias)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    without_gradient = attend(qkv, bias, mask)
    np.testing.assert_allclose(without_gradient, expected, rtol=1e-12, atol=1e-13)
    gradient = jnp.asarray(np.random.default_rng(1).standard_normal(found.shape))
    for ours, theirs in zip(pull(gradient), expected_pull(gradient), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)


def test_large_scores_do_not_overflow():
    qkv, bias, mask = inputs(jnp.float32, jnp.float32)
    found = attend(qkv, 200.0 + bias, mask)
    np.testing.assert_allclose(found, attend(qkv, bias, mask), rtol=1e-3, atol=1e-4)


def test_what_the_mask_forbids_gets_nothing_and_gives_no_gradient():
    qkv, bias, _ = inputs(jnp.float32, jnp.float32)
    mask = jnp.zeros((WINDOWS, TOKENS, TOKENS)).at[:, :, 3].set(-100.0)
    found, pull = jax.vjp(lambda qkv: attend(qkv, bias, mask), qkv)
    other = qkv.at[:, :, 3, 1:].add(1.0)
    np.testing.assert_array_equal(attend(other, bias, mask), attend(qkv, bias, mask))
    assert not pull(found)[0][:, :, 3, 1:].any()


def test_attention_keeps_the_formats():
    qkv, bias, mask = inputs(jnp.bfloat16, jnp.float32)
    found, pull = jax.vjp(lambda qkv, bias: attend(qkv, bias, mask), qkv, bias)
    without_gradient = attend(qkv, bias, mask)
    assert found.dtype == without_gradient.dtype == jnp.bfloat16
    assert [gradient.dtype for gradient in pull(found)] == [jnp.bfloat16, jnp.float32]
    wide = qkv.astype(jnp.float32)
    exact, exact_pull = jax.vjp(lambda *given: attend(*given, mask), wide, bias)
    np.testing.assert_allclose(found.astype(jnp.float32), exact, atol=0.06)
    np.testing.assert_allclose(without_gradient.astype(jnp.float32), exact, atol=0.06)
    for ours, theirs in zip(pull(found), exact_pull(found.astype(jnp.float32)), strict=True):
        apart = jnp.linalg.norm(ours.astype(jnp.float32) - theirs) / jnp.linalg.norm(theirs)
        assert apart < 0.01


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from mdhr_jax.models import operations
from mdhr_jax.models.attention import attend

draw = np.random.default_rng(0).standard_normal
mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
norm = lambda *given: operations.layer_norm(*given, 1e-5)
for function, *sizes in (
    (lambda qkv, bias: attend(qkv, bias, None), (8, 2, 9, 3, 2, 4), (2, 9, 9)),
    (norm, (8, 5, 6), (6,), (6,)),
    (operations.gelu, (8, 5, 6)),
    (operations.product, (8, 5, 6), (6, 3), (3,)),
):
    given = [jnp.asarray(draw(size), jnp.float32) for size in sizes]
    def both(*given):
        found, pull = jax.vjp(function, *given)
        return found, *pull(jnp.cos(found))
    placed = [jax.device_put(x, split if i == 0 else whole) for i, x in enumerate(given)]
    found, expected = jax.jit(both)(*placed), jax.jit(both)(*given)
    for ours, one in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, one, rtol=1e-5, atol=1e-5)
    for of_batch in found[:2]:
        assert of_batch.sharding.is_equivalent_to(split, of_batch.ndim), of_batch.sharding
print("alike")
"""


def test_operations_over_several_devices_give_the_same_and_stay_split(run_python, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    done = run_python("-c", SHARDED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "alike"
