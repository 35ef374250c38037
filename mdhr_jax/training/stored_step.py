"""One stored step on disk: what its two items look like, how states become them, and how they are read.

``state`` holds nested dicts of arrays with string keys, whatever containers the state had in memory;
``meta`` is JSON. PRNG keys are stored as their data.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

STATE, META = "state", "meta"
"""Names of the items."""

_META_FILE = "metadata"  # Orbax's name of the only file of a JSON item.

WRITE_FAILURES = (OSError, ValueError, RuntimeError)
"""What Orbax and TensorStore raise when something cannot be written."""

_READ_FAILURES = (*WRITE_FAILURES, KeyError, TypeError)
_MAX_LISTED = 5


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, or is damaged."""


def flatten(tree: PyTree) -> dict[tuple[str, ...], Any]:
    """Leaves by path, in the tree's order; keys, attributes and positions all become strings."""
    flat: dict[tuple[str, ...], Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        flat[tuple(jax.tree_util.keystr((part,), simple=True) for part in path)] = leaf
    return flat


def nest(flat: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """The nested dict with leaves at the paths of `flatten`."""
    nested: dict[str, Any] = {}
    for path, leaf in flat.items():
        level = nested
        for part in path[:-1]:
            level = level.setdefault(part, {})
        level[path[-1]] = leaf
    return nested


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def as_stored(state: PyTree) -> dict[str, Any]:
    """A state as nested dicts of arrays that can be stored."""
    return nest({path: _storable(leaf) for path, leaf in flatten(state).items()})


def _storable(leaf: Any) -> Any:
    """A leaf as an array that can be stored: PRNG keys as their data, numbers as arrays."""
    if _is_key(leaf):
        return jax.random.key_data(leaf)
    # A NumPy array is copied, as nothing stops its owner from changing it while it is being written.
    return leaf if isinstance(leaf, jax.Array) else np.array(leaf)


def _abstract_storable(leaf: Any) -> jax.ShapeDtypeStruct:
    data = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=getattr(leaf, "sharding", None))


def _as_key(data: Any, dtype: Any) -> jax.Array:
    for implementation in ("threefry2x32", "rbg", "unsafe_rbg"):
        if jax.random.key(0, impl=implementation).dtype == dtype:
            return jax.random.wrap_key_data(data, impl=implementation)
    raise ValueError(f"PRNG keys of type {dtype} cannot be restored; use threefry2x32, rbg or unsafe_rbg")


def read_state(step_path: Path, abstract_state: PyTree) -> PyTree:
    """Reads a whole state, see `checkpoints.Checkpoints.restore`."""
    leaves = flatten(abstract_state)
    stored_as = {path: _abstract_storable(leaf) for path, leaf in leaves.items()}
    check_leaves(step_path, stored_leaves(step_path), stored_as)
    plain = flatten(read_tree(step_path, nest(stored_as)))
    restored = [
        _as_key(plain[path], leaf.dtype) if _is_key(leaf) else plain[path] for path, leaf in leaves.items()
    ]
    return jax.tree.structure(abstract_state).unflatten(restored)


def stored_leaves(step_path: Path) -> dict[tuple[str, ...], jax.ShapeDtypeStruct]:
    """Shape and type of every stored leaf by path.

    Raises:
        CheckpointError: files are missing or damaged.
    """
    with _reading(step_path), contextlib.closing(ocp.Checkpointer(ocp.PyTreeCheckpointHandler())) as reader:
        description = reader.metadata(step_path / STATE).item_metadata
        if description is None:
            raise FileNotFoundError("the description of the state is missing")
        leaves = flatten(description.tree)
        return {path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for path, leaf in leaves.items()}


def read_tree(step_path: Path, abstract: Mapping[str, Any], *, partial: bool = False) -> Any:
    """Reads a nested dict of arrays.

    Args:
        step_path: directory of the step.
        abstract: what to read, of `jax.ShapeDtypeStruct`.
        partial: whether more may be stored than is read.

    Raises:
        CheckpointError: files are missing or damaged.
    """
    arguments = ocp.args.PyTreeRestore(
        item=abstract,
        restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
        partial_restore=partial,
    )
    with _reading(step_path), contextlib.closing(ocp.Checkpointer(ocp.PyTreeCheckpointHandler())) as reader:
        return reader.restore(step_path / STATE, args=arguments)


def read_meta(step_path: Path) -> dict[str, Any]:
    """Reads the JSON item.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    with _reading(step_path), contextlib.closing(ocp.Checkpointer(ocp.JsonCheckpointHandler())) as reader:
        return reader.restore(step_path / META)


def replace_meta(step_path: Path, meta: Mapping[str, Any]) -> None:
    """Puts other meta data in the place of those stored; a process killed meanwhile leaves one or the other.

    Raises:
        OSError: they could not be written; those stored are as they were.
    """
    file = step_path / META / _META_FILE
    new = file.with_suffix(".new")
    with new.open("w") as opened:
        json.dump(meta, opened)
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(new, file)


@contextlib.contextmanager
def _reading(step_path: Path) -> Iterator[None]:
    try:
        yield
    except _READ_FAILURES as error:
        raise CheckpointError(
            f"checkpoint {step_path} is damaged: {first_line(error)}. Remove that directory to go on from "
            "another step"
        ) from error


def check_leaves(
    step_path: Path,
    stored: Mapping[tuple[str, ...], jax.ShapeDtypeStruct],
    expected: Mapping[tuple[str, ...], Any],
) -> None:
    """Refuses stored leaves that are not those expected, in path, shape and type.

    Raises:
        ValueError: naming the first that differ.
    """
    lines = []
    for path in [*expected, *(p for p in stored if p not in expected)]:
        found, wanted = stored.get(path), expected.get(path)
        if found is None or wanted is None or (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            lines.append(f"  {'/'.join(path)}: stored {_spec(found)}, expected {_spec(wanted)}")
    if lines:
        more = f"\n  and {len(lines) - _MAX_LISTED} more" if len(lines) > _MAX_LISTED else ""
        raise ValueError(
            f"checkpoint {step_path} holds another model or optimiser:\n"
            + "\n".join(lines[:_MAX_LISTED])
            + more
            + "\nUse the config that made it, or another checkpoint."
        )


def _spec(leaf: Any) -> str:
    return "nothing" if leaf is None else f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"


def first_line(error: BaseException) -> str:
    """Type and first line of an error."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def check_meta(meta: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuses weights that were made for something else.

    Args:
        meta: of a checkpoint.
        expected: fields that must be equal; nested dicts are compared field by field.

    Raises:
        ValueError: names every differing field with what was found and expected.
    """
    differences = _differences(meta, json.loads(json.dumps(expected)))
    if differences:
        raise ValueError(
            "the checkpoint was made for something else:\n"
            + "\n".join(f"  {line}" for line in differences)
            + "\nRun with the config that made it, or name another checkpoint."
        )


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for key, value in expected.items():
        name = f"{prefix}{key}"
        if key not in found:
            lines.append(f"{name}: found nothing, expected {value!r}")
        elif isinstance(value, Mapping) and isinstance(found[key], Mapping):
            lines += _differences(found[key], value, f"{name}.")
            lines += [
                f"{name}.{k}: found {v!r}, expected nothing" for k, v in found[key].items() if k not in value
            ]
        elif found[key] != value:
            lines.append(f"{name}: found {found[key]!r}, expected {value!r}")
    return lines
