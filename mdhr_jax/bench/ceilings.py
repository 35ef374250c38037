"""What the device really reaches: matrix products, and copies of its memory."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mdhr_jax.bench.timing import Runner

_LEAST_SECONDS = 0.3


def measure(precisions: Sequence[str] = ("float32", "bfloat16")) -> list[dict[str, Any]]:
    """Ceilings of the first device, each the best of several measurements.

    Args:
        precisions: number formats of the operands of matrix products.

    Returns:
        ``name``, ``value``, ``unit`` (FLOP/s of products, bytes/s of copies) and ``size``: of what was
        worked on.
    """
    small = jax.default_backend() == "cpu"
    edge, count = (2048, 64 * 2**20) if small else (8192, 512 * 2**20)
    found = [_product(precision, edge) for precision in precisions]
    return [*found, _copy(count)]


def _ceiling(name: str, value: float, unit: str, size: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "size": size}


def _product(precision: str, edge: int) -> dict[str, Any]:
    """Square matrices, at JAX's default precision."""
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (edge, edge), jnp.float32).astype(precision) for key in keys)
    seconds = _best(jax.jit(jnp.matmul), a, b)
    return _ceiling(f"matrix product, {precision}", 2 * edge**3 / seconds, "FLOP/s", f"{edge} x {edge}")


def _copy(count: int) -> dict[str, Any]:
    """One pass over an array: it is read, and another one written."""
    array = jnp.ones((count,), jnp.float32)
    seconds = _best(jax.jit(lambda x: x + 1), array)
    return _ceiling("copy", 2 * 4 * count / seconds, "bytes/s", f"{4 * count // 2**20} MiB")


def _best(function: Any, *arguments: Any, repeats: int = 5) -> float:
    last: list[Any] = []

    def run() -> None:
        last[:] = [function(*arguments)]

    runner = Runner(run, lambda: jax.block_until_ready(last))
    runner.seconds(1)
    times = max(1, round(_LEAST_SECONDS / runner.seconds(2)))
    return min(runner.seconds(times) for _ in range(repeats))
