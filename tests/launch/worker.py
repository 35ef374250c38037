"""Stands in for a process of a training: ``python -m tests.launch.worker DIRECTORY BEHAVIOUR BEHAVIOUR ...``.

It writes what it was started with to ``DIRECTORY/RANK.json`` and then behaves as the text of its rank says,
the last one being for all further ranks. What ends by itself waits until all have started.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from mdhr_jax.training.interrupt import SAVED

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def main(directory, behaviours):
    rank = int(first_of("JAX_PROCESS_ID", "SLURM_PROCID", "TPU_WORKER_ID"))
    count = int(first_of("JAX_NUM_PROCESSES", "SLURM_NTASKS", "TPU_WORKERS"))
    behaviour, _, value = behaviours[min(rank, len(behaviours) - 1)].partition(":")
    received = []

    def receive(number, frame):
        received.append(number)
        with (directory / f"{rank}.signals").open("a") as file:
            file.write(f"{signal.Signals(number).name}\n")

    for number in SIGNALS:
        signal.signal(number, receive)
    child = None
    if behaviour == "leave":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    description = {"pid": os.getpid(), "child": child and child.pid, "argv": sys.argv[1:]}
    description["environment"] = dict(os.environ)
    description["stdin"] = sys.stdin.read()
    temporary = directory / f".{rank}"
    temporary.write_text(json.dumps(description))
    temporary.rename(directory / f"{rank}.json")
    print(f"this is {rank}", flush=True)

    until(lambda: all((directory / f"{other}.json").exists() for other in range(count)))
    if behaviour == "exit":
        return int(value)
    if behaviour == "kill":
        number = signal.Signals[value or "SIGKILL"]
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    if behaviour == "meet":
        meet(rank, count)
    if (
        behaviour == "save"
    ):  # As training does when it is told to stop; with a number, at the last of so many.
        until(lambda: len(received) >= int(value or 1))
        return SAVED
    if behaviour == "fail":
        until(lambda: signal.SIGTERM in received)
        return int(value)
    if behaviour == "deaf":
        until(lambda: False)
    return 0


def first_of(*names):
    return next(os.environ[name] for name in names if name in os.environ)


def until(condition):
    """Waits, but not for ever: a launcher that fails its test must not leave this behind."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.05)
    sys.exit("nothing has happened for five minutes")


def meet(rank, count):
    """Speaks with the other processes at the address that they were given."""
    host, _, port = os.environ["JAX_COORDINATOR_ADDRESS"].rpartition(":")
    if rank == 0:
        with socket.create_server((host, int(port))) as server:
            for _ in range(count - 1):
                server.accept()[0].close()
        return
    connected = []

    def connect():
        try:
            connected.append(socket.create_connection((host, int(port))))
        except ConnectionRefusedError:
            return False
        return True

    until(connect)
    connected[0].close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
