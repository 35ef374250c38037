"""Graph attention between AUs (second stage of HSR), as a jraph graph with masked edges.

Paper, section 3.2, Eq. 9 and Table 5; reference specification, section 6.
"""

import importlib.util
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from mdhr_jax.facs import AUSet
from mdhr_jax.models.layers import Linear, Precision, xavier_uniform

if TYPE_CHECKING:
    import jraph

Edges = Literal["full", "local", "cross", "cross_activated"]

_SLOPE = 0.2


def edge_mask(au_set: AUSet, edges: Edges) -> Bool[np.ndarray, "N N"]:
    """Which AU (row) may receive from which (column), before activation is looked at.

    ``full``: from every AU; ``local``: from its own region group; ``cross`` and ``cross_activated``:
    from the other groups. Always from itself.
    """
    group = np.empty(au_set.num_aus, np.int64)
    for i, region in enumerate(au_set.regions):
        group[list(au_set.columns(region))] = i
    same_group = group[:, None] == group[None]
    allowed = {
        "full": np.ones_like(same_group),
        "local": same_group,
        "cross": ~same_group,
        "cross_activated": ~same_group,
    }[edges]
    return allowed | np.eye(au_set.num_aus, dtype=bool)


class GraphAttention(nnx.Module):
    """One-head graph attention layer over the AUs of every frame.

    Edges are static; which senders are active is a mask on the attention logits, so that shapes do not
    depend on the data. An AU always receives from itself.

    Args:
        au_set: the AUs and their region groups.
        width: length of an AU vector, in and out.
        edges: which pairs are connected.
        residual: adds the input and a bias before the activation (reference); off in the paper.
        dense: computes the same attention with N x N matrices instead of jraph's segments.

    Raises:
        ImportError: jraph is not installed and `dense` does not say to do without it.
    """

    def __init__(
        self,
        au_set: AUSet,
        width: int,
        *,
        edges: Edges,
        residual: bool,
        dense: bool,
        precision: Precision,
        rngs: nnx.Rngs,
    ):
        # jraph is imported where it runs, so that machines without it can measure the rest.
        if not dense and importlib.util.find_spec("jraph") is None:
            raise ImportError(
                "the graph needs jraph, which is not installed: pip install jraph, or compute the same with "
                "--config.model.dense_graph=True (dense_graph of MDHRConfig)"
            )
        self.dense, self.only_active = dense, edges == "cross_activated"
        self.dtype, self.statistics = precision.dtype, precision.statistics
        self.mask = tuple(map(tuple, edge_mask(au_set, edges).tolist()))
        self.linear = Linear(
            width,
            width,
            use_bias=False,
            kernel_init=xavier_uniform(width, width),
            precision=precision,
            rngs=rngs,
        )
        vector_init = xavier_uniform(width, width)
        self.receiver_vector = nnx.Param(vector_init(rngs.params(), (width,), precision.param_dtype))
        self.sender_vector = nnx.Param(vector_init(rngs.params(), (width,), precision.param_dtype))
        self.bias = nnx.Param(jnp.zeros((width,), precision.param_dtype)) if residual else None

    def __call__(
        self, vectors: Float[Array, "F N D"], active: Bool[Array, "F N"] | None
    ) -> Float[Array, "F N D"]:
        """AU vectors after one round of messages.

        Args:
            vectors: one per frame and AU.
            active: AUs predicted present; needed for ``cross_activated`` edges only.

        Raises:
            ValueError: edges depend on activation and `active` is missing.
        """
        if self.only_active and active is None:
            raise ValueError("edges 'cross_activated' need the region predictions, found none")
        sending = active if self.only_active else None
        projected = self.linear(vectors)
        receiver_score, sender_score = self._scores(projected)
        attend = self._attend_dense if self.dense else self._attend_jraph
        messages = attend(projected, receiver_score, sender_score, sending)
        if self.bias is not None:
            messages = messages + vectors.astype(self.dtype) + self.bias[...].astype(self.dtype)
        return jax.nn.elu(messages)

    def attention(
        self, vectors: Float[Array, "F N D"], active: Bool[Array, "F N"] | None
    ) -> Float[Array, "F N N"]:
        """The weights with which each AU (row) receives from each (column); rows sum to 1 (Eq. 9).

        What the forward pass weighs messages with, as matrices, whichever way it computes them; 0 where there
        is no edge or the sender is not active.

        Args:
            vectors, active: as in a call.

        Raises:
            ValueError: edges depend on activation and `active` is missing.
        """
        if self.only_active and active is None:
            raise ValueError("edges 'cross_activated' need the region predictions, found none")
        sending = active if self.only_active else None
        return self._dense_weights(*self._scores(self.linear(vectors)), sending)

    def _scores(self, projected: Float[Array, "F N D"]) -> tuple[Float[Array, "F N"], Float[Array, "F N"]]:
        """What each AU as a receiver and as a sender contributes to the logits of its edges."""
        wide = projected.astype(self.statistics)
        receiver_score = wide @ self.receiver_vector[...].astype(self.statistics)
        sender_score = wide @ self.sender_vector[...].astype(self.statistics)
        return receiver_score, sender_score

    def _attend_jraph(
        self,
        projected: Float[Array, "F N D"],
        receiver_score: Float[Array, "F N"],
        sender_score: Float[Array, "F N"],
        sending: Bool[Array, "F N"] | None,
    ) -> Float[Array, "F N D"]:
        import jraph

        graph: Any = self._graph(projected)
        receivers, senders = graph.receivers, graph.senders
        logits = jax.nn.leaky_relu(
            receiver_score.reshape(-1)[receivers] + sender_score.reshape(-1)[senders], _SLOPE
        )
        if sending is not None:
            open_edge = sending.reshape(-1)[senders] | (senders == receivers)
            logits = jnp.where(open_edge, logits, -jnp.inf)
        num_nodes = graph.nodes.shape[0]
        weights: Any = jraph.segment_softmax(logits, receivers, num_nodes)
        messages = graph.nodes[senders] * weights.astype(self.dtype)[:, None]
        return jraph.segment_sum(messages, receivers, num_nodes, indices_are_sorted=True).reshape(
            projected.shape
        )

    def _graph(self, nodes: Float[Array, "F N D"]) -> "jraph.GraphsTuple":
        """All frames as one batch of graphs, edges sorted by receiver."""
        import jraph

        frames, num_aus, width = nodes.shape
        receivers, senders = np.nonzero(np.array(self.mask))
        offsets = np.arange(frames)[:, None] * num_aus

        def of_all_frames(nodes_of_one: Int[np.ndarray, " edges"]) -> Int[Array, " all_edges"]:
            return jnp.asarray((offsets + nodes_of_one).reshape(-1), jnp.int32)

        return jraph.GraphsTuple(
            nodes=nodes.reshape(frames * num_aus, width),
            edges=None,
            receivers=of_all_frames(receivers),
            senders=of_all_frames(senders),
            globals=None,
            n_node=jnp.full((frames,), num_aus, jnp.int32),
            n_edge=jnp.full((frames,), len(receivers), jnp.int32),
        )

    def _attend_dense(
        self,
        projected: Float[Array, "F N D"],
        receiver_score: Float[Array, "F N"],
        sender_score: Float[Array, "F N"],
        sending: Bool[Array, "F N"] | None,
    ) -> Float[Array, "F N D"]:
        weights = self._dense_weights(receiver_score, sender_score, sending)
        return jnp.einsum("fnm,fmd->fnd", weights.astype(self.dtype), projected)

    def _dense_weights(
        self,
        receiver_score: Float[Array, "F N"],
        sender_score: Float[Array, "F N"],
        sending: Bool[Array, "F N"] | None,
    ) -> Float[Array, "F N N"]:
        logits = jax.nn.leaky_relu(receiver_score[:, :, None] + sender_score[:, None], _SLOPE)
        allowed = jnp.asarray(self.mask)[None]
        if sending is not None:
            allowed = allowed & (sending[:, None] | jnp.eye(receiver_score.shape[1], dtype=bool))
        return jax.nn.softmax(jnp.where(allowed, logits, -jnp.inf), axis=-1)
