"""Devices, and how arrays lie on them: batches split over all of them, parameters over the `fsdp` axis."""

import enum
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree, Shaped

DATA, FSDP = "data", "fsdp"


class _Kept(enum.Enum):
    WHOLE = "on every device"
    SPLIT = "the longest axis that divides evenly is split over the `fsdp` axis"


# What happens to each array of a train state, by its name: the first expression that fits all of it counts.
# Moments and averages have the names of their parameters.
_TABLE = (
    (r"(.+\.)?(kernel|bias_table|prototypes)", _Kept.SPLIT),
    # Vectors, of which a whole network has less than a hundredth of its numbers.
    (r"(.+\.)?(bias|scale|sender_vector|receiver_vector)", _Kept.WHOLE),
    (r"(.+\.)?(mean|var|num_batches)", _Kept.WHOLE),  # Of batch normalisation.
    (r"step|count|rng", _Kept.WHOLE),
)

_SMALLEST_SPLIT = 2**12
"""Arrays with fewer elements are kept whole: to split them saves nothing and costs a message a step."""


def make_mesh(data: int = -1, fsdp: int = 1) -> Mesh:
    """A mesh of all devices, of all processes, with the axes ``data`` and ``fsdp``.

    Args:
        data: devices along the data axis; -1 takes what `fsdp` leaves.
        fsdp: devices over which parameters and optimiser state are split; -1 takes what `data` leaves.

    Raises:
        ValueError: the product is not the number of devices, or processes have different numbers of them.
    """
    # Process after process: its devices hold neighbouring rows of a batch, which are those that it reads, and
    # those that split parameters between them are on one host where they fit there.
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    count = len(devices)
    by_process = Counter(device.process_index for device in devices)
    if len(set(by_process.values())) > 1:
        found = ", ".join(f"process {process} has {number}" for process, number in by_process.items())
        raise ValueError(f"all processes of a run must have the same number of devices, but {found}")
    sizes = {DATA: data, FSDP: fsdp}
    free = [name for name, size in sizes.items() if size == -1]
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if len(free) == 1 and fixed > 0 and count % fixed == 0:
        sizes[free[0]] = count // fixed
    if min(sizes.values()) < 1 or math.prod(sizes.values()) != count:
        of_each = f" ({len(by_process)} processes with {by_process[0]} each)" if len(by_process) > 1 else ""
        raise ValueError(
            f"config.mesh data={data}, fsdp={fsdp} does not fit {count} device(s){of_each}; the product must "
            f"be {count}, and one of the two may be -1 for the rest"
        )
    grid = np.array(devices).reshape(sizes[DATA], sizes[FSDP])
    return Mesh(grid, (DATA, FSDP), axis_types=(jax.sharding.AxisType.Auto,) * 2)


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis split over all devices."""
    return NamedSharding(mesh, PartitionSpec((DATA, FSDP)))


def state_shardings(abstract: PyTree[jax.ShapeDtypeStruct], mesh: Mesh) -> PyTree[NamedSharding]:
    """Shardings of parameters, statistics, optimiser state and averages, array by array.

    Args:
        abstract: shapes; the last part of an array's path is its name, such as ``static.linear.kernel``.
        mesh: the devices.

    Returns:
        The same tree. An array is split over ``fsdp``, or whole on every device, as `_TABLE` says of its
        name; one that is small, or of which no axis divides evenly, is whole.

    Raises:
        ValueError: the table does not say what happens to an array.
    """
    uncovered: list[str] = []

    def sharding(path: tuple[Any, ...], array: jax.ShapeDtypeStruct) -> NamedSharding:
        name = jax.tree_util.keystr(path[-1:], simple=True)
        kept = next((kept for expression, kept in _TABLE if re.fullmatch(expression, name)), None)
        if kept is None:
            uncovered.append(name)
        return _split(array.shape, mesh) if kept is _Kept.SPLIT else replicated(mesh)

    shardings = jax.tree_util.tree_map_with_path(sharding, abstract)
    if uncovered:
        raise ValueError(
            f"_TABLE in mdhr_jax/parallel.py does not say how to keep {', '.join(sorted(set(uncovered)))}; "
            "add a line for each kind of array that is new"
        )
    return shardings


def _split(shape: tuple[int, ...], mesh: Mesh) -> NamedSharding:
    parts = mesh.shape[FSDP]
    axes = [axis for axis, size in enumerate(shape) if size % parts == 0]
    if parts == 1 or not axes or math.prod(shape) < _SMALLEST_SPLIT:
        return replicated(mesh)
    longest = max(axes, key=lambda axis: shape[axis])
    return NamedSharding(mesh, PartitionSpec(*(FSDP if a == longest else None for a in range(longest + 1))))


def bytes_per_device(tree: PyTree[Array]) -> int:
    """Memory that arrays take on that device of this process that holds most of them, in bytes."""
    held: Counter[Any] = Counter()
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        for shard in leaf.addressable_shards:
            held[shard.device] += shard.data.nbytes
    return max(held.values(), default=0)


def check_batch_size(name: str, batch_size: int, devices: int, micro_batches: int = 1) -> None:
    """Refuses a batch that the devices cannot share evenly.

    Raises:
        ValueError: with the nearest sizes that fit.
    """
    unit = devices * micro_batches
    if batch_size % unit:
        below = batch_size // unit * unit
        nearest = f"{below} or {below + unit}" if below else f"{unit}"
        raise ValueError(
            f"config.{name} is {batch_size}, which {devices} device(s) with {micro_batches} micro-batches "
            f"cannot share evenly; the nearest that fit: {nearest}"
        )


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
    """Moves this process's share of a batch to its devices, as part of the global batch."""
    sharding = batch_sharding(mesh)
    # On several processes JAX does not see that this transfer is asked for.
    with jax.transfer_guard_host_to_device("allow"):
        return {
            name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()
        }


def place(array: Shaped[np.ndarray | Array, "..."], like: Array | jax.ShapeDtypeStruct) -> Array:
    """Puts an array that every process has whole onto the devices, in the sharding and type of another.

    Unlike `jax.device_put` it asks no other process whether it has the same.
    """
    host = np.asarray(array, like.dtype)
    return jax.make_array_from_callback(host.shape, like.sharding, lambda index: host[index])


def gatherer(mesh: Mesh) -> Callable[[PyTree], PyTree]:
    """A function that gives every process whole NumPy arrays of what is spread over all devices.

    All processes must call it, with arrays of the same shapes.
    """
    whole = jax.jit(lambda arrays: arrays, out_shardings=replicated(mesh))

    def gather(arrays: PyTree) -> PyTree:
        return jax.tree.map(np.asarray, whole(arrays))

    return gather
