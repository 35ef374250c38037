"""Weights of the PyTorch reference in and out, and comparison with a checkout of it."""

from mdhr_jax.interop.torch_weights import WeightsError, from_torch, to_torch

__all__ = ["WeightsError", "from_torch", "to_torch"]
