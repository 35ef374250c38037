"""The training command, to one process of which something happens: ``python -m tests.unlucky_main WHAT ...``.

WHAT is ``full:1`` where process 1 can write small files only, ``open:1`` where it never gets the data open,
``hang:1`` where it takes no batch after the second, ``last:1`` where its last checkpoint is never written,
``early:1`` where it gets SIGTERM while it opens the data, and ``told:1:2`` where it gets SIGUSR1 with the
second batch of its second evaluation.
"""

import os
import resource
import signal
import sys
import threading

from absl import app

from mdhr_jax import main
from mdhr_jax.training import evaluate, loop, run

SMALL = 100_000
"""Bytes."""


class Interrupted:
    """Batches; something happens before the third or the second one is given."""

    def __init__(self, batches, number, happens):
        self.batches, self.left, self.happens = batches, number, happens

    def __enter__(self):
        self.batches.__enter__()
        return self

    def __exit__(self, *error):
        self.batches.__exit__(*error)

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            self.happens()
        self.left -= 1
        return next(self.batches)


def happen(what, number):
    if what == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, SMALL))
    elif what == "open":
        run.open_experiment = lambda config: threading.Event().wait()
    elif what == "early":
        run.open_experiment = lambda config: os.kill(os.getpid(), signal.SIGTERM)
    elif what == "last":
        latest, asked = loop.Checkpoints.latest_step, iter(range(100))
        # Asked the second time, it waits for what is being written.
        loop.Checkpoints.latest_step = lambda self: threading.Event().wait() if next(asked) else latest(self)
    elif what == "hang":
        train = loop.train_batches
        loop.train_batches = lambda *args, **more: Interrupted(
            train(*args, **more), 2, threading.Event().wait
        )
    else:
        plain, evaluations = evaluate.eval_batches, iter(range(1, 100))

        def batches(*args, **more):
            told = next(evaluations) == number
            given = plain(*args, **more)
            return Interrupted(given, 1, lambda: os.kill(os.getpid(), signal.SIGUSR1)) if told else given

        evaluate.eval_batches = batches


if __name__ == "__main__":
    what, process, *number = sys.argv.pop(1).split(":")
    if os.environ["JAX_PROCESS_ID"] == process:
        happen(what, *map(int, number or "0"))
    app.run(main.main, flags_parser=main.parse_flags)
