"""What is measured on: device, processor, versions."""

import importlib.metadata
import os
import platform
from typing import Any

import jax

from mdhr_jax import __version__, hardware
from mdhr_jax.bench.ours import has_jraph

_VERSIONED = ("jax", "jaxlib", "flax", "optax", "numpy", "jraph", "torch")


def gather() -> dict[str, Any]:
    """The machine as JAX sees it, ready for JSON."""
    device = jax.devices()[0]
    versions = {"mdhr_jax": __version__, "python": platform.python_version()}
    for name in _VERSIONED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "platform": device.platform,
        "device": device.device_kind,
        "devices": jax.device_count(),
        "processor": hardware.processor_name(),
        "cores": os.cpu_count(),
        "peak_flops": {
            kind: hardware.peak_flops(device.device_kind, kind) for kind in ("float32", "bfloat16")
        },
        "peak_bandwidth": hardware.peak_bandwidth(device.device_kind),
        "jraph": has_jraph(),
        "versions": versions,
    }
