"""Starts the scripts of ``launch/`` and looks at the processes that they have started."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
WORKER = "tests.launch.worker"

# Tests may run where signals are ignored, as under nohup, and a shell cannot undo that.
_HEARING_SIGNALS = """import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def start(*command, path=None, **environment):
    """A started command, which leads a process group as in a terminal."""
    # The tests' own processes belong to no cluster.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "JAX_"))}
    inherited |= {"PYTHONPATH": str(REPOSITORY), "PYTHON": sys.executable}
    if path is not None:
        inherited["PATH"] = f"{path}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, "-c", _HEARING_SIGNALS, *map(str, command)],
        cwd=REPOSITORY,
        env=inherited | {name: str(value) for name, value in environment.items()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process):
    """What became of it."""
    output, errors = process.communicate(timeout=400)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def run(*command, path=None, **environment):
    """A command that has ended."""
    return end(start(*command, path=path, **environment))


def wait_for(condition, process=None):
    """Waits until something is so."""
    deadline = time.monotonic() + 300
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_workers(directory, count, process):
    """Waits until all are ready for signals."""
    wait_for(lambda: all((directory / f"{rank}.json").exists() for rank in range(count)), process)


def workers(directory):
    """What workers have written, by rank."""
    files = sorted(directory.glob("*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_text()) for path in files]


def signals(directory):
    """Names of the signals that each worker got, by rank."""
    count = len(list(directory.glob("*.json")))
    files = [directory / f"{rank}.signals" for rank in range(count)]
    return [path.read_text().split() if path.exists() else [] for path in files]


def alive(pid):
    """Whether a process runs; one that has ended and that nobody has asked for its exit code does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.startswith("Z")


def kill(pid):
    """Ends a process of a test by force."""
    os.kill(pid, signal.SIGKILL)
