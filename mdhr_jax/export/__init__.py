"""Models for programs that have JAX and nothing of this project: ``python -m mdhr_jax.export``.

programs.py    the clip model and the streaming step as StableHLO
folder.py      the folder of an exported model, complete or not there
loader.py      runs it, with JAX and NumPy alone
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdhr_jax.export.loader import load as load


def __getattr__(name: str) -> Any:
    """`load`, imported when it is asked for: JAX takes seconds to."""
    if name == "load":
        from mdhr_jax.export.loader import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
