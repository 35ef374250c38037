"""The reference in a process of its own, told when to run: ``python -m mdhr_jax.bench.elsewhere CASE``.

Each side so has an allocator, threads and libraries of its own, as where people use it. A line on the
standard input is a number of runs; the answer is a line with the seconds that one took.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mdhr_jax import commands
from mdhr_jax.bench import apart


class Elsewhere:
    """One form of the reference doing a case, to be timed like a `timing.Runner` within a ``with`` block.

    Args:
        case: fields of a `cases.Case`.
        form: one of its forms.
        device: ``cpu`` or ``cuda``.
        runs: done before memory is looked at.

    Attributes:
        peak_bytes: most memory until then: of the device's tensors, of the process on CPUs.

    Raises:
        RuntimeError: it does not run here, with the reason.
    """

    def __init__(self, case: dict[str, Any], form: str, device: str, runs: int):
        arguments = json.dumps({"case": case, "form": form, "device": device, "runs": runs})
        command = [sys.executable, "-m", "mdhr_jax.bench.elsewhere", arguments]
        with contextlib.ExitStack() as stack:
            self._errors = stack.enter_context(
                tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
            )
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
            self._process: Any = subprocess.Popen(command, text=True, **pipes)
            stack.callback(self._end)
            self.peak_bytes = int(self._answer())
            self._stack = stack.pop_all()

    def seconds(self, times: int) -> float:
        """Seconds that one of `times` runs takes.

        Raises:
            RuntimeError: the process has ended, with the reason.
        """
        with contextlib.suppress(BrokenPipeError):  # Its end is told below.
            self._process.stdin.write(f"{times}\n")
            self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        line = self._process.stdout.readline()
        if line:
            return line
        code = self._process.wait()
        self._errors.seek(0)
        raise RuntimeError(f"{apart.ended(code)}: {apart.reason(self._errors.read())}")

    def __enter__(self) -> "Elsewhere":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()


def serve(case: dict[str, Any], form: str, device: str, runs: int) -> None:
    """Does in this process what `Elsewhere` asks for.

    Raises:
        ValueError, OSError, ImportError, RuntimeError: with what is wrong.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What the reference prints is no answer.
    from mdhr_jax import facs
    from mdhr_jax.bench.theirs import Theirs
    from mdhr_jax.interop.comparison_inputs import make_inputs
    from mdhr_jax.interop.reference_checkout import cuda_stays_on_cpu, import_torch, open_checkout

    if device == "cuda" and not import_torch().cuda.is_available():
        raise RuntimeError("ours runs on a GPU, and PyTorch finds none")
    au_set = facs.get(case["dataset"])
    inputs = make_inputs(au_set, case["batch"], case["clip_length"], 0)
    with contextlib.nullcontext() if device == "cuda" else cuda_stays_on_cpu():
        theirs = Theirs(open_checkout(Path(case["reference"]), au_set), case["backbone"], form, device)
        theirs.make_up()
        runner = theirs.training(inputs) if case["kind"] == "train" else theirs.forward(inputs)
        runner.seconds(runs)
        print(theirs.peak_bytes(), file=answers, flush=True)
        for line in sys.stdin:
            print(runner.seconds(int(line)), file=answers, flush=True)


if __name__ == "__main__":
    sys.exit(commands.finish(lambda: serve(**json.loads(sys.argv[1]))))
