"""A still-frame model's weights for one with temporal modules: these start as next to nothing.

From random values the dynamics add noise to what the still-frame model reads, and the temporal convolution
mixes frames at random, which costs more training than what time then gains (measured on synthetic faces, see
``docs/synthetic.md``). So both start as what leaves the features as they are: a residual branch whose last
normalisation scales little, after Goyal et al. (2017, section 5.1), and a filter that is an impulse.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mdhr_jax import parallel
from mdhr_jax.models.functional import Arrays
from mdhr_jax.models.temporal import TemporalConv

# Arrays of each module that a field of the model's config switches on.
_PREFIXES = {"mfd": "dynamics.", "tcn": "temporal."}
# Fields of the config that mean nothing where there are no dynamics.
_OF_DYNAMICS = ("neighbors", "mfd_scales", "fusion")
# Not 0: ReLU follows, and both its sides would stay without a gradient.
_DYNAMICS_SCALE = 0.1
# Cuts off the lowest quarter of normal values, as little as leaves room on both sides: ReLU follows.
_TEMPORAL_OFFSET = 0.68


def added_modules(loaded: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[str, ...]:
    """Temporal modules that a model has and the one whose weights it starts from has not.

    Args:
        loaded, own: fields of either model's config.

    Returns:
        Names out of ``mfd`` and ``tcn``.
    """
    return tuple(name for name in _PREFIXES if loaded.get(name) is False and own.get(name) is True)


def without(loaded: Mapping[str, Any], own: Mapping[str, Any], modules: tuple[str, ...]) -> dict[str, Any]:
    """What the fields of `own` are for a model that lacks these modules, however `loaded` fills those that
    then mean nothing."""
    free = {name: loaded[name] for name in _OF_DYNAMICS if name in loaded} if "mfd" in modules else {}
    return {**own, **dict.fromkeys(modules, False), **free}


def prefixes(modules: tuple[str, ...]) -> tuple[str, ...]:
    """What the dotted paths of these modules' arrays begin with."""
    return tuple(_PREFIXES[name] for name in modules)


def start(params: Arrays, modules: tuple[str, ...]) -> Arrays:
    """Parameters with which modules start as next to nothing.

    The last batch normalisation of the dynamics (of every scale where nothing follows) scales by 0.1 what is
    added to the static features. The temporal convolution is an impulse at the frame itself, without bias,
    and its normalisation's offset keeps three quarters of the values from the ReLU.

    Args:
        params: all of the model, by dotted path, on their devices.
        modules: names out of ``mfd`` and ``tcn``.

    Returns:
        All arrays of `params`, in their types and places.
    """
    changed = {}
    if "mfd" in modules:
        of_scales = [name for name in params if re.fullmatch(r"dynamics\.norms\.\d+\.scale", name)]
        last = ["dynamics.projection_norm.scale"] if "dynamics.projection_norm.scale" in params else of_scales
        changed |= {name: np.full(params[name].shape, _DYNAMICS_SCALE) for name in last}
    if "tcn" in modules:
        impulse = np.zeros(params["temporal.kernel"].shape)
        impulse[TemporalConv.kernel_size // 2] = 1
        changed |= {
            "temporal.kernel": impulse,
            "temporal.bias": np.zeros(params["temporal.bias"].shape),
            "temporal.norm.bias": np.full(params["temporal.norm.bias"].shape, _TEMPORAL_OFFSET),
        }
    return params | {name: parallel.place(values, params[name]) for name, values in changed.items()}
