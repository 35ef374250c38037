"""Devices, and how arrays lie on them: batches split over all of them, parameters over the `fsdp` axis."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

DATA, FSDP = "data", "fsdp"

_SMALLEST_SHARDED = 2**16
"""Arrays with fewer elements are kept whole on every device: splitting them saves nothing."""


def make_mesh(data: int = -1, fsdp: int = 1) -> Mesh:
    """A mesh of all devices with the axes ``data`` and ``fsdp``.

    Args:
        data: devices along the data axis; -1 takes what `fsdp` leaves.
        fsdp: devices over which parameters and optimiser state are split; -1 takes what `data` leaves.

    Raises:
        ValueError: the product is not the number of devices.
    """
    count = jax.device_count()
    sizes = {DATA: data, FSDP: fsdp}
    free = [name for name, size in sizes.items() if size == -1]
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if len(free) == 1 and fixed > 0 and count % fixed == 0:
        sizes[free[0]] = count // fixed
    if min(sizes.values()) < 1 or math.prod(sizes.values()) != count:
        raise ValueError(
            f"mesh data={data}, fsdp={fsdp} does not fit {count} device(s); the product must be {count}, and "
            "one of the two may be -1 for the rest"
        )
    return jax.make_mesh(
        (sizes[DATA], sizes[FSDP]), (DATA, FSDP), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis split over all devices."""
    return NamedSharding(mesh, PartitionSpec((DATA, FSDP)))


def state_shardings(abstract: PyTree[jax.ShapeDtypeStruct], mesh: Mesh) -> PyTree[NamedSharding]:
    """Shardings of parameters and optimiser state, array by array.

    The longest axis that divides evenly is split over ``fsdp``; small arrays, and arrays without such an
    axis, are replicated.
    """
    parts = mesh.shape[FSDP]

    def sharding(array: jax.ShapeDtypeStruct) -> NamedSharding:
        axes = [axis for axis, size in enumerate(array.shape) if size % parts == 0]
        if parts == 1 or not axes or math.prod(array.shape) < _SMALLEST_SHARDED:
            return replicated(mesh)
        longest = max(axes, key=lambda axis: array.shape[axis])
        return NamedSharding(
            mesh, PartitionSpec(*(FSDP if a == longest else None for a in range(longest + 1)))
        )

    return jax.tree.map(sharding, abstract)


def check_batch_size(name: str, batch_size: int, mesh: Mesh, micro_batches: int = 1) -> None:
    """Refuses a batch that the devices cannot share evenly.

    Raises:
        ValueError: with the nearest sizes that fit.
    """
    unit = mesh.size * micro_batches
    if batch_size % unit:
        below = batch_size // unit * unit
        nearest = f"{below} or {below + unit}" if below else f"{unit}"
        raise ValueError(
            f"config.{name} is {batch_size}, which {mesh.size} device(s) with {micro_batches} micro-batches "
            f"cannot share evenly; the nearest that fit: {nearest}"
        )


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
    """Moves this process's share of a batch to its devices, as part of the global batch."""
    sharding = batch_sharding(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}


def gatherer(mesh: Mesh) -> Callable[[PyTree], PyTree]:
    """A function that gives every process whole NumPy arrays of what is spread over all devices.

    All processes must call it, with arrays of the same shapes.
    """
    whole = jax.jit(lambda arrays: arrays, out_shardings=replicated(mesh))

    def gather(arrays: PyTree) -> PyTree:
        return jax.tree.map(np.asarray, whole(arrays))

    return gather
