"""What `--config.debug` switches on: checks and records that cost time, for looking into a run."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax
from jax._src import api_util
from jaxtyping import PyTree
from ml_collections import ConfigDict

from mdhr_jax import distributed
from mdhr_jax.progress import announce

FOLDER = "profile"
"""Within a run's directory."""


class NanError(distributed.TogetherError):
    """A step of several processes gave a NaN."""


@contextlib.contextmanager
def checking_nans(config: ConfigDict, doing: str) -> Iterator[None]:
    """With ``debug.nans`` the operation that first gives a NaN raises FloatingPointError with its name.

    Each step is then looked at before the next, and one that gave a NaN is computed again operation by
    operation; so that its arguments must not be donated.

    Args:
        config: of the run.
        doing: what is looked at, for the message.

    Raises:
        NanError: instead, on several processes, which cannot compute operation by operation.
    """
    if not config.debug.nans:
        yield
        return
    try:
        with jax.debug_nans(True):
            yield
    except api_util.InternalFloatingPointError as error:
        raise NanError(
            f"{doing} gave a NaN. Which operation did is not found on several processes: the same command in "
            "a single process goes on from what is saved and names it"
        ) from error


def guarding_transfers(config: ConfigDict) -> contextlib.AbstractContextManager[None]:
    """With ``debug.transfer_guard`` at ``disallow``, moving to or from a device unasked is an error."""
    return jax.transfer_guard(config.debug.transfer_guard)


def check(config: ConfigDict, total_steps: int) -> None:
    """Refuses switches that contradict the run.

    Raises:
        ValueError: what was found and what is expected.
    """
    first, last = profiled_steps(config)
    if last > total_steps:
        raise ValueError(
            f"config.debug.profile is {(first, last)}, but the run has {total_steps} steps; choose others"
        )


def profiled_steps(config: ConfigDict) -> tuple[int, int]:
    """The first and the last step of which a profile is recorded; two zeros for none."""
    first, last = config.debug.profile
    return first, last


class Profile:
    """Records a profile of some steps, for TensorBoard's profiler or xprof, on the first process.

    Args:
        config: says which steps.
        directory: of the run; what is recorded lies in its ``profile``.
    """

    def __init__(self, config: ConfigDict, directory: Path):
        self._first, self._last = profiled_steps(config)
        self._directory = directory / FOLDER
        self._open = False

    def before(self, step: int) -> None:
        """Begins to record, if that is the first step, or a run goes on between the first and the last.

        Args:
            step: number of the step to come, from 1.
        """
        if self._first <= step <= self._last and not self._open and distributed.is_first():
            self._directory.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(self._directory)
            self._open = True

    def after(self, step: int, results: PyTree) -> None:
        """Ends the record after the last step.

        Args:
            step: number of the step that has been begun.
            results: what it computes; waited for, so that all of it is in the record.
        """
        if self._open and step >= self._last:
            jax.block_until_ready(results)
            self.close()

    def close(self) -> None:
        """Writes what has been recorded so far."""
        if self._open:
            self._open = False
            jax.profiler.stop_trace()
            announce(f"profile written to {self._directory}; look at it with tensorboard --logdir")
