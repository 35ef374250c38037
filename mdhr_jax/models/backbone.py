"""What a backbone hands to the rest of MDHR."""

import dataclasses
from typing import Any

import jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BackboneFeatures:
    """Features of single frames.

    Attributes:
        scales: maps of four spatial scales, finest first, (B, 8h, 8w, c), (B, 4h, 4w, 2c), (B, 2h, 2w, 4c)
            and (B, h, w, 8c).
        final: the last map, (B, h, w, 8c), from which the static branch starts.
    """

    # Any: JAX rebuilds pytrees with leaves that are not arrays.
    scales: tuple[Any, Any, Any, Any]
    final: Any
