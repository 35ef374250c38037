"""A model's weights for other AUs: what fits is taken over by AU name, the rest keeps its own values.

Three kinds of arrays: those that no AU is in (backbone, dynamics, graph) are taken whole; those with a part
for each AU (extractors, temporal convolution, prototypes) AU by AU; those of a region group (its classifier
of AU combinations, its linear block) whole, but only where both models have a group of the same AUs, in the
same order, that reads the same band of the face.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Shaped

from mdhr_jax import facs, parallel
from mdhr_jax.models.functional import Arrays

# Arrays with one row for each AU, in label order, and the axis of these rows.
_LABEL_ORDER = {
    "classifier.prototypes": 0,
    "temporal.kernel": 1,
    **dict.fromkeys(("temporal.bias", *(f"temporal.norm.{n}" for n in ("scale", "bias", "mean", "var"))), 0),
}
_OF_REGION = re.compile(r"local\.(extractors|classifiers|region_blocks)\.(\d+)\.(.+)")
_MAX_LISTED = 5

_Index = tuple[Any, ...]


def same_outputs(one: facs.AUSet, other: facs.AUSet) -> bool:
    """Whether arrays of models of these sets mean the same throughout, so that nothing need be matched."""
    return (one.aus, one.regions, one.region_blocks) == (other.aus, other.regions, other.region_blocks)


@dataclasses.dataclass(frozen=True)
class _Piece:
    """A part of an array that is taken over as one.

    Attributes:
        key: equal in all models in which the part means the same.
        index: where in the array.
        au: name of the AU that it belongs to; empty where it belongs to none.
        required: whether every model of this architecture has it.
    """

    key: str
    index: _Index
    au: str = ""
    required: bool = False


def _pieces(name: str, shape: tuple[int, ...], au_set: facs.AUSet) -> list[_Piece]:
    if (axis := _LABEL_ORDER.get(name)) is not None:
        before = (slice(None),) * axis
        return [_Piece(f"{name} {au}", (*before, row), au) for row, au in enumerate(au_set.au_names)]
    match = _OF_REGION.fullmatch(name)
    if match is None:
        return [_Piece(name, (), required=True)]
    kind, number, rest = match.groups()
    region = au_set.regions[int(number)]
    if kind == "extractors" and shape:
        # The extractors of a region lie side by side along the last axis.
        width = shape[-1] // len(region.aus)
        return [
            _Piece(f"{kind} {rest} {au}", (..., slice(i * width, (i + 1) * width)), au)
            for i, au in enumerate(facs.names(region.aus))
        ]
    return [_Piece(f"{kind} {rest} {region.band} {region.aus}", ())]


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What came from another model, and what did not.

    Attributes:
        whole: arrays taken over whole.
        by_au: arrays of which the parts of `aus` were taken.
        fresh: arrays that keep all their values.
        unused: arrays of the other model of which nothing was taken.
        aus: names of the AUs that both models have, in this model's order.
        fresh_aus: names of this model's other AUs, whose parts keep their values.
        unused_aus: names of the other model's other AUs.
    """

    whole: tuple[str, ...]
    by_au: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]
    aus: tuple[str, ...]
    fresh_aus: tuple[str, ...]
    unused_aus: tuple[str, ...]

    def message(self) -> str:
        """In words: two lines."""
        fresh = [*self.fresh_aus, *_modules(self.fresh)]
        unused = [*self.unused_aus, *_modules(self.unused)]
        return (
            f"transferred: {len(self.whole)} arrays whole and, of {len(self.by_au)} arrays, the parts of "
            f"{', '.join(self.aus) or 'no AU'}\n"
            f"not transferred: {', '.join(fresh) or 'nothing'} (initial values stay); "
            f"not used: {', '.join(unused) or 'nothing'}"
        )

    def as_json(self) -> dict[str, Any]:
        """For meta data: numbers of arrays, names of AUs and modules."""
        return {
            "whole": len(self.whole),
            "by_au": len(self.by_au),
            "aus": list(self.aus),
            "fresh_aus": list(self.fresh_aus),
            "fresh": _modules(self.fresh),
            "unused_aus": list(self.unused_aus),
            "unused": _modules(self.unused),
        }


def _modules(names: tuple[str, ...]) -> list[str]:
    """Modules that arrays belong to, such as ``local.classifiers[0, 1]``."""
    found: dict[str, set[int]] = {}
    for name in names:
        if name.endswith(".num_batches"):  # A counter that nothing reads.
            continue
        if match := _OF_REGION.fullmatch(name):
            found.setdefault(f"local.{match[1]}", set()).add(int(match[2]))
        else:
            found.setdefault(name.rpartition(".")[0] or name, set())
    return [f"{module}{sorted(regions)}" if regions else module for module, regions in found.items()]


def transfer(
    own: Arrays,
    loaded: Mapping[str, Shaped[np.ndarray | Array, "..."]],
    own_set: facs.AUSet,
    loaded_set: facs.AUSet,
) -> tuple[Arrays, Transfer]:
    """This model's arrays with those of another model put in where they fit.

    Both are of one architecture (backbone, widths, modules) and differ only in their AUs.

    Args:
        own: by dotted path, on their devices; parameters, statistics or both.
        loaded: of the other model.
        own_set, loaded_set: AUs and region groups of each, as the models' variant has them.

    Returns:
        All arrays of `own`, on its devices and in its types, and what was taken.

    Raises:
        ValueError: arrays that every model of the architecture has are missing or of other shapes.
    """
    source = {
        piece.key: (name, piece.index)
        for name, array in loaded.items()
        for piece in _pieces(name, np.shape(array), loaded_set)
    }
    result, used, problems = dict(own), set(), []
    taken: dict[str, list[_Piece]] = {name: [] for name in own}
    for name, array in own.items():
        values = []
        for piece in _pieces(name, array.shape, own_set):
            if piece.key not in source:
                if piece.required:
                    problems.append(f"{name}: missing in the file")
                continue
            other, index = source[piece.key]
            value = np.asarray(np.asarray(loaded[other])[index], array.dtype)
            room = np.empty(array.shape, bool)[piece.index].shape
            if value.shape != room:
                problems.append(f"{name}: {piece.au or 'shape'} {value.shape} in the file, {room} here")
                continue
            values.append(value)
            taken[name].append(piece)
            used.add(other)
        result[name] = _with_pieces(array, [piece.index for piece in taken[name]], values)
    if problems:
        more = len(problems) - _MAX_LISTED
        raise ValueError(
            "the weights are not those of a model like this one:\n"
            + "\n".join(f"  {line}" for line in sorted(problems)[:_MAX_LISTED])
            + (f"\n  and {more} more" if more > 0 else "")
            + "\nName other weights, or set config.model as it was when they were made."
        )
    common = tuple(au for au in own_set.au_names if au in loaded_set.au_names)
    by_au = tuple(name for name, pieces in taken.items() if any(piece.au for piece in pieces))
    return result, Transfer(
        whole=tuple(name for name, pieces in taken.items() if pieces and name not in by_au),
        by_au=by_au,
        fresh=tuple(name for name, pieces in taken.items() if not pieces),
        unused=tuple(name for name in loaded if name not in used),
        aus=common,
        fresh_aus=tuple(au for au in own_set.au_names if au not in common),
        unused_aus=tuple(au for au in loaded_set.au_names if au not in common),
    )


def _with_pieces(array: Array, indices: list[_Index], values: list[np.ndarray]) -> Array:
    """An array with values put in, where it lay before."""
    if not indices:
        return array
    if indices == [()]:
        return parallel.place(values[0], array)

    def put(array: Array, values: list[Array]) -> Array:
        for index, value in zip(indices, values, strict=True):
            array = array.at[index].set(value)
        return array

    # Jitted, since the devices of an array may be those of several processes.
    return jax.jit(put, out_shardings=array.sharding)(array, values)
