"""What a model looked at when it scored clips: weights of the scales, edges of the AU graph.

The forward pass itself keeps none of this, so that it costs nothing there.
"""

import dataclasses
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float

from mdhr_jax.models.functional import Arrays, FunctionalModel, unflatten
from mdhr_jax.models.mdhr import MDHR
from mdhr_jax.models.relations import active_aus


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Explanation:
    """What happened on the way to the scores.

    Attributes:
        scores: (B, T, N), as the model gives them.
        scale_weights: (B, T, h, w, L), the adaptive weight of each scale at each position of the final map;
            they sum to 1 over the scales (Eq. 4). None where the model weighs no scales.
        active: (B, T, N) bool, AUs that the region classifiers take for active; None without them.
        attention: (B, T, N, N), the weight with which each AU (row) receives from each (column); rows sum to
            1 (Eq. 9). None without the graph.
    """

    # Any: JAX rebuilds pytrees with leaves that are not arrays.
    scores: Any
    scale_weights: Any
    active: Any
    attention: Any


def explain(
    model: FunctionalModel, params: Arrays, batch_stats: Arrays, clips: Float[Array, "B T H W 3"]
) -> Explanation:
    """Scores clips as `FunctionalModel.predict` does and keeps what was looked at; a pure function.

    Args:
        model: the network.
        params, batch_stats: its arrays.
        clips: normalised frames.

    Raises:
        ValueError: as the model's call.
    """
    return _explain(nnx.merge(model.eval_graph, unflatten(params), unflatten(batch_stats)), clips)


def _explain(model: MDHR, clips: Float[Array, "B T H W 3"]) -> Explanation:
    """The model's call step by step; `tests/models/test_explain.py` holds the two together."""
    model.check_shape(clips.shape)
    batch, frames = clips.shape[:2]
    extracted = model.backbone(clips.reshape(batch * frames, *clips.shape[2:]))
    final = extracted.final
    shape = (batch * frames, *final.shape[1:3])
    features = final
    if model.static is not None:
        features = model.static(final.reshape(batch * frames, -1, final.shape[-1])).reshape(*shape, -1)
    scale_weights = None
    if model.dynamics is not None:
        pooled = model.dynamics.pool(tuple(x.reshape(batch, frames, *x.shape[1:]) for x in extracted.scales))
        logits = model.dynamics.weight_logits(pooled) if model.dynamics.weighted else None
        scale_weights = None if logits is None else model.dynamics.weights(logits)
        dynamics = model.dynamics.project(model.dynamics.fuse(pooled, logits))
        features = features + dynamics.reshape(*shape, -1)

    vectors, region_logits = model.local(features)
    active = active_aus(model.config.regions, region_logits) if region_logits else None
    attention = None
    if model.graph is not None:
        attention = model.graph.attention(vectors, active)
        vectors = model.graph(vectors, active)
    vectors = vectors.reshape(batch, frames, *vectors.shape[1:])
    if model.temporal is not None:
        vectors = model.temporal(vectors)
    return Explanation(
        scores=model.classifier(vectors),
        scale_weights=scale_weights,
        active=None if active is None else active.reshape(batch, frames, -1),
        attention=None if attention is None else attention.reshape(batch, frames, *attention.shape[1:]),
    )
