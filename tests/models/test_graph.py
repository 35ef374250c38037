import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mdhr_jax import facs
from mdhr_jax.models.graph import GraphAttention, edge_mask
from mdhr_jax.models.layers import Precision

FRAMES, WIDTH = 6, 16


def make(edges, *, dense=False, residual=True, au_set=facs.BP4D):
    layer = GraphAttention(
        au_set,
        WIDTH,
        edges=edges,
        residual=residual,
        dense=dense,
        precision=Precision(),
        rngs=nnx.Rngs(params=jax.random.key(0)),
    )
    if layer.bias is not None:
        layer.bias[...] = jnp.linspace(-1, 1, WIDTH)
    return layer


def inputs(au_set=facs.BP4D):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(FRAMES, au_set.num_aus, WIDTH)).astype(np.float32)
    active = rng.random((FRAMES, au_set.num_aus)) < 0.5
    active[0], active[1] = False, True
    return jnp.asarray(vectors), jnp.asarray(active)


def by_hand(layer, vectors, active, mask):
    """Equation 9 written as loops over frames and receivers."""
    weight = np.asarray(layer.linear.kernel[...], float)
    out = np.zeros(vectors.shape)
    for t, frame in enumerate(np.asarray(vectors, float)):
        h = frame @ weight
        for n in range(len(h)):
            senders = [m for m in range(len(h)) if m == n or (mask[n, m] and active[t, m])]
            raw = [layer.receiver_vector[...] @ h[n] + layer.sender_vector[...] @ h[m] for m in senders]
            e = np.exp([r if r > 0 else 0.2 * r for r in map(float, raw)])
            out[t, n] = sum(a * h[m] for a, m in zip(e / e.sum(), senders, strict=True))
        if layer.bias is not None:
            out[t] += frame + np.asarray(layer.bias[...])
    return np.where(out > 0, out, np.expm1(out))


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("edges", ["full", "local", "cross", "cross_activated"])
def test_jraph_and_dense_equal_the_equation(edges, residual):
    vectors, active = inputs()
    listens_to = active if edges == "cross_activated" else np.ones_like(active)
    sparse, dense = make(edges, residual=residual), make(edges, dense=True, residual=residual)
    expected = by_hand(sparse, vectors, listens_to, edge_mask(facs.BP4D, edges))
    np.testing.assert_allclose(sparse(vectors, active), expected, atol=2e-5)
    np.testing.assert_allclose(dense(vectors, active), expected, atol=2e-5)


def test_gradients_of_both_paths_agree_and_are_finite():
    vectors, active = inputs()

    def grads(layer):
        return jax.grad(lambda v: jnp.sum(jnp.sin(layer(v, active))))(vectors)

    sparse, dense = grads(make("cross_activated")), grads(make("cross_activated", dense=True))
    assert np.isfinite(sparse).all()
    np.testing.assert_allclose(sparse, dense, atol=2e-5)


def test_an_au_hears_active_aus_of_other_groups_only():
    vectors, _ = inputs()
    layer = make("cross_activated")
    sender, receiver_far, receiver_near = (facs.BP4D.aus.index(au) for au in (12, 10, 14))
    active = np.zeros(vectors.shape[:2], bool)
    active[:, sender] = True

    def change(active):
        moved = vectors.at[:, sender].add(1.0)
        difference = layer(moved, jnp.asarray(active)) - layer(vectors, jnp.asarray(active))
        return np.abs(difference).max((0, 2)) > 0

    # AU 12 and AU 10 share the lower face but lie in different groups; AU 12 and AU 14 share a group.
    heard = change(active)
    assert heard[receiver_far]
    assert not heard[receiver_near]
    assert np.flatnonzero(change(np.zeros_like(active))).tolist() == [sender]


def test_masks_of_the_edge_strategies():
    groups = {au: i for i, region in enumerate(facs.DISFA.regions) for au in region.aus}
    full, local, cross = (edge_mask(facs.DISFA, e) for e in ("full", "local", "cross"))
    assert full.all()
    for n, receiver in enumerate(facs.DISFA.aus):
        for m, sender in enumerate(facs.DISFA.aus):
            same = groups[receiver] == groups[sender]
            assert local[n, m] == same
            assert cross[n, m] == (not same or n == m)


def test_activation_is_asked_for():
    with pytest.raises(ValueError, match="region predictions"):
        make("cross_activated")(inputs()[0], None)
