"""Trains planned runs one after the other, each in a process of its own.

What is finished is left alone, what was interrupted goes on. A run's output goes into its directory.
"""

import dataclasses
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from mdhr_jax.progress import Progress, announce
from mdhr_jax.tables import state
from mdhr_jax.tables.plan import Run
from mdhr_jax.training import workdir
from mdhr_jax.training.interrupt import SAVED, Listener

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TAIL_LINES = 15
_LOOK_EVERY = 0.5  # Seconds between two looks at a run.
_LAST_BYTES = 8192


@dataclasses.dataclass
class Outcome:
    """What became of the planned runs.

    Attributes:
        finished: runs with a result, those found finished included.
        failed: runs that ended with an error, or before their end.
        left: runs not started: in use by another process, waiting for one that failed, or behind the end.
        stopped: whether a signal ended it.
    """

    finished: list[Run] = dataclasses.field(default_factory=list)
    failed: list[Run] = dataclasses.field(default_factory=list)
    left: list[Run] = dataclasses.field(default_factory=list)
    stopped: bool = False


def refuse_blocked(planned: Sequence[Run]) -> None:
    """Looks through all directories before anything starts.

    Raises:
        ValueError: some hold something else than the planned run, or what is left of one that nothing can
            mend; each is named with what it holds.
    """
    problems = [
        f"{run.directory}: {found.detail}" for run in planned if (found := state.inspect(run)).blocked
    ]
    if problems:
        raise ValueError(
            "nothing was started, because of what lies where runs belong:\n"
            + "\n".join(f"  {text}" for text in problems)
            + "\nName another --runs, or move these away."
        )


def run_all(
    planned: Sequence[Run], label: str, *, cache: Path | None = None, keep_going: bool = False
) -> Outcome:
    """Trains what is not finished, in the given order.

    SIGINT, SIGTERM and SIGHUP are passed on to the run in progress as Ctrl-C, on which it saves; then this
    ends too.

    Args:
        planned: runs; one that another needs comes before it.
        label: what the progress line calls them.
        cache: directory in which runs share what they compile, unless the environment names one.
        keep_going: goes on after a run that failed, except with those that need it.

    Raises:
        ValueError: a directory holds something else.
        OSError: a directory cannot be written.
    """
    refuse_blocked(planned)
    done = [run for run in planned if state.inspect(run).kind == "finished"]
    outcome = Outcome(finished=list(done))
    if done:
        announce(f"{len(done)} of {len(planned)} runs are finished already")
    waiting = [run for run in planned if run not in done]
    environment = _environment(cache)
    with (
        Progress(len(planned), unit="runs", label=label, initial=len(done), log_every=60.0) as progress,
        _Child() as child,
    ):
        for position, run in enumerate(waiting):
            if (outcome.failed and not keep_going) or child.told_to_stop:
                outcome.left += waiting[position:]
                break
            _one(run, child, outcome, progress, environment)
    outcome.stopped = child.told_to_stop
    return outcome


def _one(
    run: Run, child: "_Child", outcome: Outcome, progress: Progress, environment: dict[str, str]
) -> None:
    """Trains one run and files it under what became of it."""
    finished = {other.directory for other in outcome.finished}
    if run.needs is not None and run.needs not in finished:
        announce(f"\nnot started: {run.label}: the run that it starts from, {run.needs}, is not finished")
        outcome.left.append(run)
        return
    before = state.inspect(run)  # Others may have been here since the beginning.
    if before.blocked:
        raise ValueError(f"{run.directory}: {before.detail}")
    if before.kind == "running":
        announce(f"\nnot started: {run.label}: {run.directory} is in use by {before.detail}")
        outcome.left.append(run)
        return
    if before.kind != "finished":
        verb = "continuing" if workdir.holds_run(run.directory) else "starting"
        announce(f"\n{verb} {run.label}: {run.directory}")
        code = child.run(run, environment, progress)
        after = state.inspect(run)
        if after.kind != "finished":
            _report(run, code, after, child, outcome)
            return
        before = after
    outcome.finished.append(run)
    mean = "undefined" if before.f1_mean is None else f"{before.f1_mean:.2f}"
    progress.update(1, note=f"last finished: {run.label}: mean F1 {mean}")


def _report(run: Run, code: int, after: state.State, child: "_Child", outcome: Outcome) -> None:
    """Says what became of a run that has no result, and keeps it in its directory where it is an error."""
    if child.told_to_stop:
        announce(f"\nstopped: {run.label}; the same command goes on")
        outcome.left.append(run)
        return
    outcome.failed.append(run)
    if after.kind == "running":
        announce(f"\nnot finished: {run.label}: {run.directory} is in use by {after.detail}")
        return
    reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    if code == SAVED:
        announce(
            f"\nstopped by somebody else: {run.label}: no result in {run.directory}; the same command goes on"
        )
        return
    log = run.directory / state.LOG_FILE
    tail = _tail(log)
    workdir.write_json(
        run.directory / state.FAILURE_FILE, {"reason": reason, "exit_code": code, "output": tail}
    )
    shown = "\n".join(f"  | {line}" for line in tail)
    announce(f"\nfailed: {run.label}: {reason}; the end of {log}:\n{shown}")


class _Child(Listener):
    """The process of the run in progress; while entered, signals go to it.

    Attributes:
        told_to_stop: whether a signal came.
    """

    def __init__(self) -> None:
        super().__init__(_SIGNALS)
        self.told_to_stop = False
        self._process: subprocess.Popen[Any] | None = None

    def run(self, run: Run, environment: dict[str, str], progress: Progress) -> int:
        """Starts a run, waits for its end and returns its exit code."""
        run.directory.mkdir(parents=True, exist_ok=True)
        log = run.directory / state.LOG_FILE
        with log.open("ab") as output:
            output.write(f"\n$ {run.command}\n".encode())
            output.flush()
            (run.directory / state.FAILURE_FILE).unlink(missing_ok=True)
            if self.told_to_stop:  # A signal that came before there was a process to get it.
                return 128 + signal.SIGINT
            self._process = subprocess.Popen(
                [sys.executable, *run.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                # A group of its own: Ctrl-C in a terminal would otherwise reach it twice, the second time as
                # the order to stop without saving.
                start_new_session=True,
            )
            if self.told_to_stop:
                self._interrupt()
            try:
                return self._wait(log, run.label, progress)
            finally:
                if self._process.poll() is None:
                    self._interrupt()
                    self._process.wait()
                self._process = None

    def _wait(self, log: Path, label: str, progress: Progress) -> int:
        process = self._process
        if process is None:
            raise RuntimeError("no run is in progress")
        with log.open("rb") as file:
            while True:
                try:
                    return process.wait(_LOOK_EVERY)
                except subprocess.TimeoutExpired:
                    progress.update(0, note=f"now {label}: {_last_line(file)}")

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Passes the wish to end on to the run."""
        self.told_to_stop = True
        # Not by print: the signal may come in the middle of one.
        os.write(2, b"\nstopping: the run in progress saves first\n")
        self._interrupt()

    def _interrupt(self) -> None:
        """Does to the run what Ctrl-C in a terminal would; a second time it stops at once."""
        if self._process is not None and self._process.poll() is None:
            # To the whole group: the process that draws synthetic faces cleans up on it as well.
            os.killpg(self._process.pid, signal.SIGINT)


def _environment(cache: Path | None) -> dict[str, str]:
    environment = dict(os.environ)
    # Lines of the log should be there when somebody looks.
    environment.setdefault("PYTHONUNBUFFERED", "1")
    if cache is not None:
        # One folder a machine: what one processor's compiler made, another may not be able to run.
        environment.setdefault("JAX_COMPILATION_CACHE_DIR", str((cache / platform.node()).absolute()))
    return environment


def _last_line(file: IO[bytes]) -> str:
    """The last complete line of a growing log."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - _LAST_BYTES))
    lines = [line for line in re.split(rb"[\r\n]+", file.read()) if line.strip()]
    return lines[-1].decode(errors="replace").strip()[:160] if lines else ""


def _tail(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _LAST_BYTES))
        return file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
