"""Facial action unit recognition with multi-scale dynamics and hierarchical relationships, in JAX."""

__version__ = "0.1.0"
