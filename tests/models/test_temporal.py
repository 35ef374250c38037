import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mdhr_jax.models.layers import Precision
from mdhr_jax.models.temporal import SimilarityClassifier, TemporalConv, normalize


def rngs():
    return nnx.Rngs(params=jax.random.key(0))


def test_each_au_and_channel_has_a_filter_over_five_frames():
    layer = TemporalConv(2, 3, precision=Precision(), rngs=rngs())
    layer.eval()
    x = np.random.default_rng(0).normal(size=(2, 7, 2, 3))
    kernel, bias = np.asarray(layer.kernel[...], float), np.asarray(layer.bias[...])
    expected = np.zeros_like(x)
    for t in range(7):
        for i in range(5):
            if 0 <= t + i - 2 < 7:
                expected[:, t] += kernel[i] * x[:, t + i - 2]
    expected = np.maximum((expected + bias) / np.sqrt(1 + 1e-5), 0)
    np.testing.assert_allclose(layer(jnp.asarray(x)), expected, atol=1e-5)


def test_normalisation_has_one_statistic_an_au():
    layer = TemporalConv(4, 3, precision=Precision(), rngs=rngs())
    layer(jnp.ones((2, 7, 4, 3)))
    assert layer.norm.mean[...].shape == (4,)


def test_scores_are_cosines_with_the_positive_part_of_the_prototypes():
    layer = SimilarityClassifier(2, 3, precision=Precision(), rngs=rngs())
    layer.prototypes[...] = jnp.array([[1.0, -5.0, 1.0], [0.0, 2.0, 0.0]])
    x = jnp.array([[[[1.0, 0.0, 0.0], [3.0, 4.0, 0.0]]]])
    np.testing.assert_allclose(layer(x)[0, 0], [np.sqrt(0.5), 0.8], atol=1e-6)


def test_zero_vectors_score_zero_with_finite_gradients():
    layer = SimilarityClassifier(2, 3, precision=Precision(), rngs=rngs())
    zeros = jnp.zeros((1, 1, 2, 3))
    assert (layer(zeros) == 0).all()
    assert np.isfinite(jax.grad(lambda x: layer(x).sum())(zeros)).all()
    assert np.isfinite(jax.grad(lambda x: normalize(x).sum())(jnp.zeros(3))).all()
