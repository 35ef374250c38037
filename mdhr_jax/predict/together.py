"""Several inputs of the command at a time: frames in turn, so that they fill the model's batches together.

What waits for a batch to fill is not held against the others: an input whose frames have all been read makes
room for the next one, and is completed when its scores are there. The order is always the same.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mdhr_jax.predict.bar import Bar
from mdhr_jax.predict.job import Job
from mdhr_jax.progress import announce

MOST = 4
"""Inputs that are open at a time where nobody says how many."""

_SHORT = 1000
"""Frames that these have together at most. A long recording fills its batches alone: others beside it would
gain little, and be lost with it if the command is interrupted."""

_MOST_WAITING = 32
"""Inputs at a time whose last scores wait: each has files open."""

_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Together:
    """Works through inputs.

    Args:
        jobs: the inputs, in their order.
        out: folder of the results.
        bar: which is told when one of them is over.
        most: inputs that are read at a time; with 1 each is completed before the next one is begun. None:
            `MOST`, and fewer where they are long.
        patience: frames of others for which last scores wait at most.
    """

    def __init__(self, jobs: Iterator[Job], out: Path, bar: Bar, most: int | None, patience: int):
        self._left, self._out, self._bar, self._most = jobs, out, bar, most
        self._patience = patience
        self._open: list[Job] = []
        # Frames of others since the end of those that wait.
        self._waited: dict[Job, int] = {}
        self._failed = 0

    def run(self) -> int:
        """Works through all of them.

        What is wrong with an input is said, and the others go on.

        Returns:
            How many could not be done to the end.

        Raises:
            OSError: the results cannot be written any more.
            ImportError: something is not installed.
        """
        try:
            self._fill()
            while self._open:
                self._round()
                self._fill()
        finally:
            # Those that an error or Ctrl-C finds at work leave nothing behind.
            for job in self._open:
                job.close()
        return self._failed

    @property
    def _reading(self) -> Sequence[Job]:
        return [job for job in self._open if not job.waits]

    def _fill(self) -> None:
        """Opens inputs while there is room."""
        while self._has_room():
            job = next(self._left, None)
            if job is None:
                return
            self._advance(job)

    def _has_room(self) -> bool:
        if self._most == 1:
            return not self._open
        reading = self._reading
        if self._most is not None or not reading:
            return len(reading) < (self._most or 1)
        known = all(job.length for job in reading)
        return len(reading) < MOST and known and sum(job.length for job in reading) < _SHORT

    def _round(self) -> None:
        """A frame of each that is read, and a look at those that wait."""
        frames = len(self._reading)
        for job in list(self._open):
            # The first of too many; its batch is computed as it is, and has scores of others too.
            finish = job.waits and (
                not frames
                or self._waited.get(job, 0) >= self._patience
                or sum(one.waits for one in self._open) > _MOST_WAITING
            )
            self._advance(job, finish=finish)
            if job.waits:
                self._waited[job] = self._waited.get(job, 0) + frames

    def _advance(self, job: Job, *, finish: bool = False) -> None:
        problem = None
        try:
            if job.advance(finish=finish):
                if job not in self._open:
                    self._open.append(job)
                return
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and self._cannot_write(error):
                raise
            problem = str(error)
        if job in self._open:
            self._open.remove(job)
        self._waited.pop(job, None)
        self._bar.end(job)
        if problem is not None:
            self._failed += 1
            named = problem if job.given in problem else f"{job.given}: {problem}"
            announce(f"error: {named}")

    def _cannot_write(self, error: OSError) -> bool:
        """Whether an error is not of an input: the next one would have it too."""
        return error.errno in _FATAL or not os.access(self._out, os.W_OK | os.X_OK)
