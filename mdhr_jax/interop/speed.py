"""Times of the reference and of our model, measured in turn in one process."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from mdhr_jax.interop import measurements
from mdhr_jax.interop.comparison_inputs import Inputs
from mdhr_jax.interop.comparison_report import Table
from mdhr_jax.interop.jax_side import JaxSide, JaxTraining
from mdhr_jax.interop.torch_side import TorchSide, TorchTraining
from mdhr_jax.progress import Progress

_COLUMNS = ("", "PyTorch, ms", "ours, ms", "PyTorch / ours", "spread of the ratio", "ours")


@dataclasses.dataclass(frozen=True)
class Timing:
    """Times of one thing done by both sides in turn.

    Attributes:
        name: what was done.
        torch: seconds of each repetition of the reference.
        ours: seconds of ours; the i-th directly after the reference's i-th.
        frames: that one repetition takes in.
    """

    name: str
    torch: tuple[float, ...]
    ours: tuple[float, ...]
    frames: int

    @property
    def ratio(self) -> float:
        """How many times faster ours is, by the medians."""
        return statistics.median(self.torch) / statistics.median(self.ours)

    @property
    def spread(self) -> tuple[float, float]:
        """Smallest and largest ratio of a repetition and the one directly after it."""
        ratios = [a / b for a, b in zip(self.torch, self.ours, strict=True)]
        return min(ratios), max(ratios)


def alternate(
    torch: Callable[[], Any], ours: Callable[[], Any], repeats: int, done: Callable[[], None]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Times two functions in turn, after two runs of each that are not counted (they compile).

    Args:
        torch, ours: run once and return when the work is done.
        repeats: counted runs of each.
        done: called after every run, counted or not.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(-2, repeats):
        for function, times in zip((torch, ours), seconds, strict=True):
            start = time.perf_counter()
            function()
            if repeat >= 0:
                times.append(time.perf_counter() - start)
            done()
    return tuple(seconds[0]), tuple(seconds[1])


def measure(torch: TorchSide, ours: JaxSide, inputs: Inputs, repeats: int) -> list[Timing]:
    """Times of the forward pass in evaluation mode and of a whole training step; both models are trained.

    A training step is forward and backward pass, the running statistics and the AdamW update, on
    normalised clips that lie on the device already.
    """
    torch_clips, our_clips = torch.clips(inputs.clips), ours.clips(inputs.clips)
    rate, total = measurements.LEARNING_RATE, 2 * (repeats + 2)
    torch_training = TorchTraining(torch, inputs.au_weights, rate, total)

    def torch_forward() -> None:
        torch.predict(torch_clips)  # Copies the scores to the host, which waits for them.

    def our_forward() -> None:
        jax.block_until_ready(ours.predict(our_clips))

    def torch_step() -> None:
        torch_training.step(torch_clips, inputs.labels)
        torch.synchronize()

    timings = []
    with Progress(4 * (repeats + 2), unit="runs", label="timing") as progress:
        times = alternate(torch_forward, our_forward, repeats, progress.update)
        timings.append(Timing("forward, evaluation", *times, inputs.num_frames))
        our_training = JaxTraining(ours, inputs.au_weights, rate, total)

        def our_step() -> None:
            jax.block_until_ready((our_training.step(our_clips, inputs.labels), ours.params))

        times = alternate(torch_step, our_step, repeats, progress.update)
        timings.append(Timing("training step", *times, inputs.num_frames))
    return timings


def table(timings: Sequence[Timing], device: str) -> Table:
    """Times as a table.

    Args:
        timings: what was measured.
        device: on which, in words.
    """
    rows = []
    for timing in timings:
        torch, ours = statistics.median(timing.torch), statistics.median(timing.ours)
        low, high = timing.spread
        frames = f"{timing.frames / ours:.1f} frames/s"
        cells = f"{1000 * torch:.1f}", f"{1000 * ours:.1f}", f"{timing.ratio:.2f}", f"{low:.2f}-{high:.2f}"
        rows.append((timing.name, *cells, frames))
    repeats = len(timings[0].torch)
    note = f"medians of {repeats} repetitions in turn, after compilation and warm-up; on {device}"
    return Table("Speed", _COLUMNS, tuple(rows), (note,))
