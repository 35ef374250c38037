"""Metrics of training steps, kept on the device until somebody wants to see them."""

import math
from collections import deque

import jax

from mdhr_jax import distributed
from mdhr_jax.training.step import StepMetrics

_AHEAD = 2
"""Steps that may have been begun and not finished: enough to keep a device busy."""


class TrainingDivergedError(distributed.TogetherError):
    """A loss or a gradient stopped being finite; of several processes, on all."""


def diverged(when: str, what: str, saved_step: int | None) -> TrainingDivergedError:
    """The error that ends a run which can no longer learn.

    Args:
        when: the steps.
        what: is not finite.
        saved_step: last checkpoint.
    """
    kept = "there is none yet" if saved_step is None else f"that of step {saved_step} is kept"
    return TrainingDivergedError(
        f"training diverged {when}: {what}. No checkpoint holds these steps; {kept}. "
        "Lower config.train.learning_rate, set config.train.clip_norm, or compute in float32."
    )


class StepMeter:
    """Collects the metrics of steps and averages them over windows.

    Fetching waits for the device, so it happens once a window and not at every step. But a process does not
    run far ahead of its devices either: batches would pile up there, and who looks at how far it comes would
    not see whether they still compute.

    Args:
        step: steps done before the first window.
    """

    def __init__(self, step: int):
        self._done = step
        self._window: list[StepMetrics] = []
        self._running: deque[StepMetrics] = deque()

    @property
    def finished(self) -> int:
        """Steps that the devices are known to have finished."""
        return self._done + len(self._window) - len(self._running)

    def add(self, metrics: StepMetrics) -> None:
        """Adds the metrics of the next step, still on the device; waits until few steps are unfinished."""
        self._window.append(metrics)
        self._running.append(metrics)
        while len(self._running) > _AHEAD:
            jax.block_until_ready(self._running.popleft())

    def close_window(self, saved_step: int | None) -> dict[str, float]:
        """Means over the steps since the last window; empty if there are none.

        Args:
            saved_step: last checkpoint, named in the error.

        Raises:
            TrainingDivergedError: a value is not finite.
        """
        window = jax.device_get(self._window)
        first, last = self._done + 1, self._done + len(window)
        self._done, self._window = last, []
        self._running.clear()
        if not window:
            return {}
        # A plain sum: opposite infinities give a NaN, where math.fsum raises an error of its own.
        means = {name: sum(float(step[name]) for step in window) / len(window) for name in window[0]}
        broken = [f"{name} is {value}" for name, value in means.items() if not math.isfinite(value)]
        if broken:
            raise diverged(f"in steps {first} to {last}", ", ".join(broken), saved_step)
        return means
