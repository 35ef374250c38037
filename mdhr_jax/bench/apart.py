"""Tasks that run in processes of their own: ``python -m mdhr_jax.bench.apart TASK ARGUMENTS RESULT``.

Memory and compiled programs of a task are its own, what fails or runs out of memory leaves the others alone,
and the process that starts them never takes a device.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdhr_jax import commands, freed_memory

TASKS = {
    "facts": "mdhr_jax.bench.facts:gather",
    "ceilings": "mdhr_jax.bench.ceilings:measure",
    "case": "mdhr_jax.bench.cases:measure",
    "counting": "mdhr_jax.bench.counting:measure",
    "predicting": "mdhr_jax.bench.predicting:measure",
    "input": "mdhr_jax.bench.input:measure",
    "epoch": "mdhr_jax.bench.epoch:measure",
}
"""Functions by name; they take what JSON can hold by keyword, and return it."""


def run(task: str, arguments: Mapping[str, Any]) -> Any:
    """Runs a task in a process of its own.

    Args:
        task: one of `TASKS`.
        arguments: by keyword, ready for JSON.

    Returns:
        What the task returns, after JSON.

    Raises:
        RuntimeError: it failed; the message is the last that it wrote.
    """
    with tempfile.TemporaryDirectory(prefix="mdhr-bench-") as folder:
        result, errors = Path(folder) / "result.json", Path(folder) / "errors"
        environment = dict(os.environ)
        if arguments.get("reference"):
            # PyTorch needs some of the device's memory too.
            environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        command = [sys.executable, "-m", "mdhr_jax.bench.apart", task, json.dumps(arguments), str(result)]
        with errors.open("w+", encoding="utf-8", errors="replace") as written:
            code = subprocess.run(command, env=environment, stdout=written, stderr=written).returncode
            if not code:
                return json.loads(result.read_text(encoding="utf-8"))
            written.seek(0)
            raise RuntimeError(f"{ended(code)}: {reason(written.read())}")


def ended(code: int) -> str:
    """How a process has ended that did not do its task."""
    if code == -signal.SIGKILL:
        return "killed, as the system does for want of memory"
    return f"exit code {code}"


def reason(output: str) -> str:
    """The last error that a command told, or else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it wrote nothing"]
    told = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return " ".join(lines[told[-1] :]).removeprefix("error: ") if told else lines[-1]


def main(arguments: list[str]) -> int:
    """Does a task in this process and writes its result."""
    task, text, result = arguments

    def command() -> None:
        freed_memory.keep(overlap=task == "predicting")  # As the commands that are measured.
        module, function = TASKS[task].split(":")
        found = getattr(importlib.import_module(module), function)(**json.loads(text))
        Path(result).write_text(json.dumps(found), encoding="utf-8")

    return commands.finish(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
