"""What a backbone hands to the rest of MDHR, and the choice of backbones by name."""

import dataclasses

import jax
from jaxtyping import Array, Float


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BackboneFeatures:
    """Features of single frames.

    Attributes:
        scales: maps of four spatial scales, finest first: edge 8h, 4h, 2h, h and width c, 2c, 4c, 8c.
        final: the last map, edge h, from which the static branch starts.
    """

    scales: tuple[
        Float[Array, "B h1 w1 c1"],
        Float[Array, "B h2 w2 c2"],
        Float[Array, "B h3 w3 c3"],
        Float[Array, "B h4 w4 c4"],
    ]
    final: Float[Array, "B h4 w4 c4"]
