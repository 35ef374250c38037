"""Facial action unit recognition with multi-scale dynamics and hierarchical relationships, in JAX."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdhr_jax.predict.predictor import Predictor as Predictor

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`Predictor`, imported when it is asked for: JAX takes seconds to."""
    if name == "Predictor":
        from mdhr_jax.predict.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "Predictor"])
