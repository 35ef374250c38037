"""Measures the project: ``python -m mdhr_jax.bench --help``.

Model steps (`train`, `eval`, `predict`) need JAX, Flax, Optax and jaxtyping alone, and PyTorch where the
reference is timed beside; `input`, `epoch` and `memory` need the data sets' libraries too.
"""
