"""What the environment tells of the processes of a run."""

import os

import pytest
from jax._src import clusters

from mdhr_jax import distributed
from mdhr_jax.distributed import Place, place
from tests.processes import STEP, settings


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Nothing in the environment speaks of other processes."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "OMPI_", "KUBERNETES_")) or name in distributed.VARIABLES:
            monkeypatch.delenv(name)


def place_of() -> Place:
    found = distributed.find_place(1.0)
    assert found is not None
    return found


def put(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_the_environment_says_the_place(monkeypatch):
    put(monkeypatch, settings("node1:9231", 4, 3))
    assert distributed.find_place(1.0) == Place("node1:9231", 4, 3)
    put(monkeypatch, STEP)  # What is said outright counts.
    assert distributed.find_place(1.0) == Place("node1:9231", 4, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"JAX_PROCESS_ID": ""}, "has JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, but not JAX_PROCESS_ID"),
        ({"JAX_PROCESS_ID": "4"}, "process 4 of 4 does not exist"),
        ({"JAX_PROCESS_ID": "-1"}, "process -1 of 4 does not exist"),
        ({"JAX_LOCAL_DEVICE_IDS": "0, 1"}, "JAX_LOCAL_DEVICE_IDS of the environment is '0, 1'; expected"),
        ({"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES of the environment is 'two'; expected a whole"),
    ],
)
def test_an_environment_that_makes_no_sense(change, message, monkeypatch):
    put(monkeypatch, settings("node1:9231", 4, 3) | change)
    with pytest.raises(ValueError, match=message):
        distributed.find_place(1.0)


def test_slurm_says_the_place(monkeypatch):
    put(monkeypatch, STEP)
    found = place_of()
    assert (found.processes, found.process, found.devices) == (4, 2, (1,))
    assert found.address.startswith("node001:")
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "big7:9231")
    assert place_of().address == "big7:9231"
    monkeypatch.delenv("JAX_COORDINATOR_ADDRESS")
    monkeypatch.setenv("JAX_COORDINATOR_PORT", "9232")
    assert place_of().address == "node001:9232"
    # A shell within an allocation of four tasks is no task of theirs.
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert distributed.find_place(1.0) is None


@pytest.mark.parametrize(
    ("variables", "devices"),
    [
        ({}, (1,)),
        ({"SLURM_GPUS_PER_TASK": "2"}, (0, 1)),
        ({"SLURM_GPUS_PER_TASK": "a100:3"}, (0, 1, 2)),
        # Alone on its node a task takes all, also where Slurm does not say which (it does not without GRES).
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x4)", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x4)"}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x4)", "JAX_LOCAL_DEVICE_IDS": "0,2"}, (0, 2)),
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x4)", "SLURM_GPUS_PER_TASK": "2"}, (0, 1)),
        ({"SLURM_STEP_TASKS_PER_NODE": "2(x2)", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, (1,)),
        ({"SLURM_GPUS_PER_TASK": "2", "JAX_LOCAL_DEVICE_IDS": "1,3"}, (1, 3)),
        ({"SLURM_STEP_TASKS_PER_NODE": "1,3", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, (1,)),
    ],
)
def test_tasks_of_slurm_take_the_gpus_they_see(variables, devices, monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_LOCAL_DEVICE_IDS"):
        monkeypatch.delenv(name, raising=False)
    put(monkeypatch, STEP | variables)
    assert place_of().devices == devices


def test_a_tpu_pod_says_the_place(monkeypatch):
    monkeypatch.setattr(place, "_on_tpu", lambda: True)
    found = [("10.0.0.2:8482", 4, 1, None), ("10.0.0.2:8482", 1, 0, None), RuntimeError("no answer")]

    def detect(*_):
        answer = found.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(clusters.ClusterEnv, "auto_detect_unset_distributed_params", detect)
    assert distributed.find_place(1.0) == Place("10.0.0.2:8482", 4, 1)
    assert distributed.find_place(1.0) is None  # One host has all of its TPUs.
    with pytest.raises(ValueError, match="part of a cluster, but no answer; set JAX_COORDINATOR_ADDRESS"):
        distributed.find_place(1.0)
