"""Several processes of one run on this machine, as a launcher starts them."""

import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

STEP = {
    "SLURM_JOB_ID": "4242",
    "SLURM_STEP_NODELIST": "node[001-002],big7",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "1",
}
"""What Slurm tells the third of four tasks."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def settings(address: str, processes: int, process: int) -> dict[str, str]:
    """What a launcher tells a process of its run."""
    numbers = {"JAX_NUM_PROCESSES": str(processes), "JAX_PROCESS_ID": str(process)}
    return {"JAX_COORDINATOR_ADDRESS": address, **numbers}


def run_all(
    arguments: Sequence[str],
    environments: Sequence[Mapping[str, str]],
    *,
    devices: int = 1,
    more: Mapping[int, Sequence[str]] | None = None,
    folders: Sequence[Path] | None = None,
    timeout: float = 600,
) -> list[subprocess.CompletedProcess[str]]:
    """Runs Python once in each environment, at the same time.

    Args:
        arguments: of Python.
        environments: of each process.
        devices: simulated CPU devices of each.
        more: further arguments by number of the process.
        folders: where each is started; in the repository by default.
        timeout: seconds after which they are killed and the test fails.
    """

    def run(item: tuple[int, Mapping[str, str]]) -> subprocess.CompletedProcess[str]:
        number, environment = item
        flags = f"--xla_force_host_platform_device_count={devices}"
        kept = {**environment, "XLA_FLAGS": flags}
        if number:
            # The first writes what it compiles, and not in one go: the others might read half a file.
            kept.pop("JAX_COMPILATION_CACHE_DIR", None)
        return subprocess.run(
            [sys.executable, *arguments, *(more or {}).get(number, ())],
            env=kept,
            cwd=folders[number] if folders else REPOSITORY,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    with ThreadPoolExecutor(len(environments)) as pool:
        return list(pool.map(run, enumerate(environments)))


def as_one_run(environment: Mapping[str, str], processes: int) -> list[dict[str, str]]:
    """Environments of the processes of a run."""
    address = f"127.0.0.1:{free_port()}"
    return [{**environment, **settings(address, processes, process)} for process in range(processes)]
