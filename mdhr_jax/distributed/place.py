"""Which processes a run has, and which of them this one is, as its environment tells it.

That is told by Slurm (tasks of a job step), by the TPU pod, or by three variables of the environment, in
`VARIABLES`. A process that none of these speaks of is alone: it waits for nobody and asks no network.
"""

import dataclasses
import math
import os
import re
from collections.abc import Mapping
from typing import Any

import jax
from jax._src import cloud_tpu_init, clusters

ADDRESS, PROCESSES, PROCESS = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
VARIABLES = (ADDRESS, PROCESSES, PROCESS)
"""``host:port`` of a free port of process 0's machine; how many processes there are; which this one is."""

_DEVICES = "JAX_LOCAL_DEVICE_IDS"


@dataclasses.dataclass(frozen=True)
class Place:
    """This process among those of its run.

    Attributes:
        address: of the coordinator, ``host:port``.
        processes: how many there are.
        process: which this one is.
        devices: numbers of the machine's GPUs that it takes; None for all that it sees.
    """

    address: str
    processes: int
    process: int
    devices: tuple[int, ...] | None = None


def find_place(seconds: float) -> Place | None:
    """This process's place as its environment tells it; None where it is alone.

    Args:
        seconds: that may be spent on looking up the hosts of a TPU pod.

    Raises:
        ValueError: the environment says it only in part, or contradicts itself.
    """
    given = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    if len(given) == len(VARIABLES):
        place = Place(
            given[ADDRESS], _number(given, PROCESSES), _number(given, PROCESS), devices=told_devices()
        )
    elif _slurm_tasks() > 1 or _on_tpu():
        place = _detected(given, seconds)
    elif given:
        missing = ", ".join(name for name in VARIABLES if name not in given)
        raise ValueError(
            f"the environment has {', '.join(given)}, but not {missing}; a run of several processes needs "
            "all three, a process alone none"
        )
    else:
        return None
    if not 0 <= place.process < place.processes:
        raise ValueError(f"process {place.process} of {place.processes} does not exist; they count from 0")
    return place if place.processes > 1 else None


def _number(given: Mapping[str, str], name: str) -> int:
    try:
        return int(given[name])
    except ValueError:
        raise ValueError(f"{name} of the environment is {given[name]!r}; expected a whole number") from None


def told_devices() -> tuple[int, ...] | None:
    """GPUs of its machine that this process is told to take; None where it is not.

    Raises:
        ValueError: the environment says it in another form than ``0,1``.
    """
    told = os.environ.get(_DEVICES)
    if not told:
        return None
    if not re.fullmatch(r"\d+(,\d+)*", told):
        raise ValueError(f"{_DEVICES} of the environment is {told!r}; expected numbers such as 0,1")
    return tuple(map(int, told.split(",")))


def _slurm_tasks() -> int:
    """Tasks of the Slurm job step that this process is one of; 0 outside of one.

    The step's own number counts where there is one: a shell within an allocation is a step of one task, and
    tells the allocation's number as well.
    """
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS") or os.environ.get("SLURM_NTASKS", "")
    return int(tasks) if tasks.isdigit() and clusters.SlurmCluster.is_env_present() else 0


def _on_tpu() -> bool:
    """Whether this machine has TPUs that JAX is going to use; the machine then knows of the pod."""
    settings: Any = jax.config
    platforms = (settings.jax_platforms or "tpu").split(",")
    return cloud_tpu_init.running_in_cloud_tpu_vm and "tpu" in platforms


def _detected(given: Mapping[str, str], seconds: float) -> Place:
    """What JAX finds out of Slurm or a TPU pod, but for what is given."""
    told = _slurm_gpus()
    try:
        found = clusters.ClusterEnv.auto_detect_unset_distributed_params(
            given.get(ADDRESS),
            _number(given, PROCESSES) if PROCESSES in given else _slurm_tasks() or None,
            _number(given, PROCESS) if PROCESS in given else None,
            told,
            None,
            math.ceil(seconds),
        )
        address, processes, process, devices = found
        if address is None or processes is None or process is None:
            raise RuntimeError("it does not say who takes part")
    except (RuntimeError, KeyError, OSError) as error:
        raise ValueError(
            f"this machine is part of a cluster, but {error}; set {', '.join(VARIABLES)} on each host"
        ) from error
    # Left to JAX, a task takes the GPU of its number on the node; alone there, that would be one of all.
    if told is None and _alone_on_node():
        devices = None
    return Place(address, processes, process, None if devices is None else tuple(devices))


def _slurm_gpus() -> list[int] | None:
    """GPUs that this task of a Slurm step is told to take, out of those that it sees; None where it is not.

    Where Slurm shows each task only its own, JAX would name GPUs that the task cannot see.
    """
    if (told := told_devices()) is not None:
        return list(told)
    number = os.environ.get("SLURM_GPUS_PER_TASK", "").rpartition(":")[2]
    return list(range(int(number))) if number.isdigit() else None


def _alone_on_node() -> bool:
    """Whether each node of the Slurm step has one task, which then takes all GPUs that it sees."""
    # Such as "2(x3),1": nodes with two tasks and one with one.
    of_nodes = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    return of_nodes.partition("(")[0] == "1" and "," not in of_nodes
