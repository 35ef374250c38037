"""Times of several ways to do the same, each in turn, so that all see the same machine."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

LEAST_SECONDS = 0.3
"""Runs are repeated within one measurement until it takes this long."""


@dataclasses.dataclass(frozen=True)
class Runner:
    """Something to be timed.

    Attributes:
        run: does it once; may return before a device has finished.
        wait: returns when everything that `run` began is done.
    """

    run: Callable[[], Any]
    wait: Callable[[], Any]

    def seconds(self, times: int) -> float:
        """Seconds that one of `times` runs takes, all waited for at the end."""
        start = time.perf_counter()
        for _ in range(times):
            self.run()
        self.wait()
        return (time.perf_counter() - start) / times


@runtime_checkable
class Timed(Protocol):
    """What can be timed: a `Runner`, or what runs elsewhere."""

    def seconds(self, times: int, /) -> float:
        """Seconds that one of `times` runs takes."""
        ...


def alternate(
    runners: Mapping[str, Timed],
    repeats: int,
    *,
    least_seconds: float = LEAST_SECONDS,
    settle: bool = False,
) -> dict[str, tuple[float, ...]]:
    """Times runners in turn, after two rounds that are not counted: they compile and tell how long one takes.

    Where measurements settle it is one round.

    Args:
        runners: by name.
        repeats: counted measurements of each.
        least_seconds: shorter runs are repeated within a measurement, to this length.
        settle: a run that is not counted comes before every measurement, so that none bears what the others
            have left: memory given back to the system, caches.

    Returns:
        Seconds of a run in each measurement, by name; the i-th ones lie next to each other in time.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    times = dict.fromkeys(runners, 1)
    for repeat in range(-1 if settle else -2, repeats):
        for name, runner in runners.items():
            if settle:
                runner.seconds(1)
            took = runner.seconds(times[name])
            if repeat == -1:
                times[name] = max(1, min(1000, math.ceil(least_seconds / max(took, 1e-9))))
            elif repeat >= 0:
                seconds[name].append(took)
    return {name: tuple(values) for name, values in seconds.items()}


def ratio(theirs: tuple[float, ...], ours: tuple[float, ...]) -> float:
    """How many times faster ours is, by the medians."""
    return statistics.median(theirs) / statistics.median(ours)


def spread(theirs: tuple[float, ...], ours: tuple[float, ...]) -> tuple[float, float]:
    """Smallest and largest ratio of measurements that lie next to each other in time."""
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return min(ratios), max(ratios)
