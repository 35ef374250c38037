"""Weights of a model of other AUs: what fits is taken over, AU by AU.

What belongs to one AU (its extractor, temporal filter and prototype) goes to the AU of the same number;
region classifiers go to regions of the same AUs; everything else (backbone, static branch, dynamics, graph)
is the same in all models. What is left starts as it was.

Extractors of BP4D's AUs read the linear block of their region, those of DISFA's the region itself
(specification, section 5), so that there the weights meet features they were not trained on.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdhr_jax import facs
from mdhr_jax.models.functional import Arrays

_BY_REGION = re.compile(r"local\.(extractors|classifiers|region_blocks)\.(\d+)\.(.+)")

# Arrays with an axis of AUs in label order, and which axis it is.
_BY_AU = re.compile(r"(temporal|classifier)\.(.+)")
_AU_AXIS = {"temporal.kernel": 1}

_COUNTER = "num_batches"  # Of a normalisation; nothing is computed from it.


@dataclasses.dataclass
class Transferred:
    """What was taken over.

    Attributes:
        aus: AUs that both models have, whose own weights were taken over.
        new_aus: AUs that the other model does not have.
        left_aus: AUs that only the other model has.
        whole: arrays taken over whole.
        new: names of arrays that start as they were, in whole.
        left: names of arrays of the other model that have no place here.
    """

    aus: list[str]
    new_aus: list[str]
    left_aus: list[str]
    whole: int
    new: list[str]
    left: list[str]

    def describe(self) -> str:
        """What was taken over and what was not, in lines for people."""
        lines = [
            f"taken over: {self.whole} arrays that know nothing of AUs, and those of {_listed(self.aus)}"
        ]
        if self.new_aus:
            lines.append(f"starting anew: {_listed(self.new_aus)}, which the other model does not have")
        if self.new:
            lines.append(f"starting anew: {_listed(_modules(self.new))}")
        if self.left_aus or self.left:
            lines.append(f"not used: {_listed([*self.left_aus, *_modules(self.left)])}")
        return "\n".join(f"  {line}" for line in lines)


def transfer(
    own: tuple[Arrays, Arrays],
    own_set: facs.AUSet,
    loaded: tuple[Mapping[str, Any], Mapping[str, Any]],
    loaded_set: facs.AUSet,
) -> tuple[tuple[Arrays, Arrays], Transferred]:
    """Fills a fresh model with what fits of a model of other AUs.

    Args:
        own: parameters and statistics of the fresh model, by name.
        own_set: its AUs and regions, as the model has them.
        loaded: of the other model, by name.
        loaded_set: its AUs and regions.

    Returns:
        Parameters and statistics, placed as they were, and what was taken over.

    Raises:
        ValueError: no AU is in both, or an array that knows nothing of AUs is missing or has another shape.
    """
    shared = [name for name in own_set.au_names if name in loaded_set.au_names]
    if not shared:
        raise ValueError(
            f"the weights are of {_listed(list(loaded_set.au_names))}, of which {own_set.title} has none"
        )
    report = Transferred(
        aus=shared,
        new_aus=[name for name in own_set.au_names if name not in shared],
        left_aus=[name for name in loaded_set.au_names if name not in shared],
        whole=0,
        new=[],
        left=[],
    )
    filled = tuple(
        _fill(mine, own_set, theirs, loaded_set, report) for mine, theirs in zip(own, loaded, strict=True)
    )
    return (filled[0], filled[1]), report


def _fill(
    own: Arrays, own_set: facs.AUSet, loaded: Mapping[str, Any], loaded_set: facs.AUSet, report: Transferred
) -> Arrays:
    pieces = {
        key: np.take(np.asarray(array), range(*span), axis=axis)
        for name, array in loaded.items()
        for key, axis, span in _pieces(name, np.shape(array), loaded_set)
    }
    filled, used = {}, set()
    for name, array in own.items():
        if name.endswith(_COUNTER):
            filled[name] = array
            continue
        taken = 0
        result = array
        for key, axis, (start, stop) in _pieces(name, array.shape, own_set):
            piece = pieces.get(key)
            if piece is None:
                continue
            index = (slice(None),) * axis + (slice(start, stop),)
            if piece.shape != result[index].shape:
                raise ValueError(
                    f"{name}: the weights' {key[0]} has the shape {piece.shape}, this model's "
                    f"{result[index].shape}; set config.model as it was when they were made"
                )
            result = result.at[index].set(jnp.asarray(piece, array.dtype))
            taken += 1
            used.add(key)
        specific = _BY_REGION.fullmatch(name) or _BY_AU.fullmatch(name)
        if not (specific or taken):
            raise ValueError(
                f"{name} is missing in the weights; set config.model as it was when they were made"
            )
        report.whole += not specific
        if not taken:
            report.new.append(name)
        filled[name] = jax.device_put(result, array.sharding)
    for name, array in loaded.items():
        keys = {key for key, *_ in _pieces(name, np.shape(array), loaded_set)}
        if not keys & used and not name.endswith(_COUNTER):
            report.left.append(name)
    return filled


def _pieces(
    name: str, shape: tuple[int, ...], au_set: facs.AUSet
) -> Iterator[tuple[tuple[Any, ...], int, tuple[int, int]]]:
    """The parts of an array that can move on their own: what each is, and the axis and range where it is."""
    region_match, au_match = _BY_REGION.fullmatch(name), _BY_AU.fullmatch(name)
    if name.endswith(_COUNTER):
        return
    if region_match:
        kind, number, rest = region_match.groups()
        region = au_set.regions[int(number)]
        if kind == "extractors":
            # One block of outputs an AU, side by side.
            axis = len(shape) - 1
            size = shape[axis] // len(region.aus)
            for i, au in enumerate(region.aus):
                yield (f"{kind}.{rest}", au), axis, (i * size, (i + 1) * size)
        else:
            yield (f"{kind}.{rest}", region.aus), 0, (0, shape[0])
    elif au_match:
        axis = _AU_AXIS.get(name, 0)
        for i, au in enumerate(au_set.aus):
            yield (name, au), axis, (i, i + 1)
    elif shape:
        yield (name,), 0, (0, shape[0])
    else:
        raise ValueError(f"{name} is a single number, which cannot be taken over")


def _modules(names: list[str]) -> list[str]:
    """Arrays by the module they belong to."""
    return sorted({".".join(name.split(".")[:3]) for name in names})


def _listed(names: list[str]) -> str:
    return ", ".join(names)
