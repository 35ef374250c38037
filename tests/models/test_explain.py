"""What a model looked at: the scores stay the model's, and weights are what its forward pass used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mdhr_jax import facs
from mdhr_jax.models.explain import explain
from mdhr_jax.models.functional import unflatten
from mdhr_jax.models.graph import edge_mask
from tests import tiny

CONFIGS = {
    "full": {},
    "paper": {"variant": "paper", "dense_graph": True},
    "all edges, sum": {"edges": "full", "aux": False, "fusion": "sum", "au_set": facs.DISFA},
    "local edges, one scale": {"edges": "local", "mfd_scales": (2,), "tcn": False},
    "backbone": {"mfd": False, "afe": False, "aux": False, "crm": False, "tcn": False},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_scores_are_the_models(name):
    config = tiny.config(**CONFIGS[name])
    model, weights, clips = tiny.model(config), tiny.weights(config), tiny.clips()
    found, wanted = jax.jit(lambda *a: (explain(model, *a), model.predict(*a).scores))(*weights, clips)
    np.testing.assert_allclose(found.scores, wanted, atol=1e-6)
    weighted = config.uses_dynamics and config.fusion == "adaptive" and len(config.mfd_scales) > 1
    assert (found.scale_weights is not None) == weighted
    if weighted:
        assert found.scale_weights.shape == (2, 3, 2, 2, len(config.mfd_scales))
        np.testing.assert_allclose(found.scale_weights.sum(-1), 1, atol=1e-6)
    assert (found.active is not None) == config.aux
    assert (found.attention is not None) == config.crm
    if config.crm:
        np.testing.assert_allclose(found.attention.sum(-1), 1, atol=1e-6)
        outside = ~edge_mask(config.regions, config.edges)
        assert (np.asarray(found.attention)[..., outside] == 0).all()


@pytest.mark.parametrize("edges", ["full", "local", "cross", "cross_activated"])
@pytest.mark.parametrize("dense", [False, True])
def test_attention_is_what_weighs_the_messages(edges, dense):
    config = tiny.config(edges=edges, dense_graph=dense)
    params, stats = tiny.weights(config)
    graph = nnx.merge(tiny.model(config).eval_graph, unflatten(params), unflatten(stats)).graph
    rng = np.random.default_rng(0)
    vectors = jnp.asarray(rng.normal(size=(5, 12, 8)), jnp.float32)
    active = jnp.asarray(rng.random((5, 12)) < 0.5)
    attention = graph.attention(vectors, active)
    messages = jnp.einsum("fnm,fmd->fnd", attention, graph.linear(vectors))
    wanted = jax.nn.elu(messages + vectors + graph.bias[...])
    np.testing.assert_allclose(graph(vectors, active), wanted, atol=1e-5)
    if edges == "cross_activated":
        closed = ~np.asarray(active)[:, None] & ~np.eye(12, dtype=bool)
        assert (np.asarray(attention)[closed] == 0).all()
        with pytest.raises(ValueError, match="need the region predictions"):
            graph.attention(vectors, None)


def test_clips_that_the_model_cannot_take():
    config = tiny.config()
    with pytest.raises(ValueError, match="at least 2 frames"):
        explain(tiny.model(config), *tiny.weights(config), tiny.clips(frames=1))
