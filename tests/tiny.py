"""A very small model and batch, for tests that need some."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mdhr_jax import facs
from mdhr_jax.data.clips import decode_edge
from mdhr_jax.models.functional import FunctionalModel
from mdhr_jax.models.mdhr import MDHRConfig

SIZE = 64

TWO_AUS = facs.AUSet(
    name="two_aus",
    title="two AUs",
    aus=(1, 12),
    regions=(facs.RegionGroup("up", "upper", (1,)), facs.RegionGroup("down", "lower", (12,))),
    region_blocks=True,
    fps=25.0,
    parts=(),
)
"""Little to compile; not in the AU table."""


def config(au_set: facs.AUSet = facs.BP4D, **changes) -> MDHRConfig:
    return MDHRConfig(au_set, **({"backbone": "tiny", "width": 8, "neighbors": 2} | changes))


@functools.cache
def model(config: MDHRConfig) -> FunctionalModel:
    return FunctionalModel.create(config)


@functools.cache
def shapes(config: MDHRConfig):
    return model(config).param_shapes, model(config).stat_shapes


def weights(config: MDHRConfig, seed: int = 0):
    """Plausible parameters and statistics, without the time that compiling their initialisation takes.

    Every type gets the same numbers, which float32 can hold.
    """
    rng = np.random.default_rng(seed)

    def value(name: str, spec: jax.ShapeDtypeStruct):
        if name.endswith("num_batches"):
            return jnp.zeros(spec.shape, spec.dtype)
        if name.endswith((".scale", ".var")):
            return jnp.ones(spec.shape, spec.dtype)
        fan_in = max(np.prod(spec.shape[:-1]), 1)
        scale = 0.1 if name.endswith((".mean", ".bias")) else np.sqrt(2 / fan_in)
        return jnp.asarray((scale * rng.normal(size=spec.shape)).astype(np.float32), spec.dtype)

    return tuple({name: value(name, spec) for name, spec in part.items()} for part in shapes(config))


def clips(frames: int = 3, size: int = SIZE, batch: int = 2):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(batch, frames, size, size, 3)), jnp.float32)


def batch(au_set: facs.AUSet = facs.BP4D, clips: int = 8, frames: int = 4, seed: int = 0):
    """A training batch of noise, as the loader gives it."""
    rng = np.random.default_rng(seed)
    edge = decode_edge(SIZE)
    return {
        "frames": rng.integers(0, 256, (clips, frames, edge, edge, 3), np.uint8),
        "labels": rng.integers(0, 2, (clips, frames, au_set.num_aus), np.int8),
        "offset": rng.integers(0, 9, (clips, 2)).astype(np.int32),
        "flip": rng.random(clips) < 0.5,
        "factors": (rng.integers(-4, 5, (clips, 3)) / 16 + 1).astype(np.float32),
    }
