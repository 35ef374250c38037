"""Whether a long stream needs more memory, or drifts: ``python -m mdhr_jax.bench.push RUN --frames 100000``.

Pushes synthetic aligned faces one by one into a `Predictor`, and holds the process's peak of resident memory
at the end against that after the first 5,000 frames (10 %), and the last scores against those of a fresh
start shortly before them (1e-6).

The exit code is 0; 1 where memory grew or scores drifted; 2 after a mistake.
"""

import argparse
import collections
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from mdhr_jax import commands, freed_memory
from mdhr_jax.bench.memory import resident_peak
from mdhr_jax.progress import Progress

MOST_GROWTH = 0.10
MOST_DRIFT = 1e-6
_TAIL = 64
_POOL = 16
_MIB = 2**20


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.bench.push",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="RUN", help="directory of a run or of a checkpoint")
    add("--frames", type=int, default=100_000, metavar="N", help="frames pushed, default %(default)s")
    add("--after", type=int, default=5000, metavar="N", help="frames of the first look, default %(default)s")
    return parser


def frame_at(number: int, pool: UInt8[np.ndarray, "P L L 3"]) -> UInt8[np.ndarray, "L L 3"]:
    """An aligned frame that is a function of its number, and hardly ever comes again.

    Args:
        number: of the frame.
        pool: pictures, which are moved around.
    """
    mixed = number * 2654435761 % 2**32
    across, down = mixed % pool.shape[1], mixed // 4096 % pool.shape[1]
    return np.roll(pool[number % len(pool)], (down, across), (0, 1))


def run(arguments: argparse.Namespace) -> int:
    """Pushes, and says what was found.

    Raises:
        ValueError, OSError: the checkpoint cannot be used, or there are too few frames.
    """
    from mdhr_jax.predict.predictor import Predictor

    freed_memory.keep(overlap=True)
    predictor = Predictor(arguments.checkpoint)
    tail = _TAIL + predictor.look_ahead
    if not tail < arguments.after < arguments.frames:
        raise ValueError(
            f"--after must be more than {tail} and less than --frames, found {arguments.after} and "
            f"{arguments.frames}"
        )
    edge = predictor.trained.recipe.size
    coarse = np.random.default_rng(0).integers(0, 256, (_POOL, edge // 8, edge // 8, 3), np.uint8)
    pool = np.repeat(np.repeat(coarse, 8, 1), 8, 2)
    numbers = range(arguments.frames)
    last: collections.deque[np.ndarray] = collections.deque(maxlen=tail)
    peaks = []
    with Progress(arguments.frames, unit="frames", label="pushing") as progress:
        for number in numbers:
            last.extend(
                row.scores for row in predictor.push(frame_at(number, pool)) if row.scores is not None
            )
            progress.update()
            if number + 1 in (arguments.after, arguments.frames):
                peaks.append(resident_peak())
    last.extend(row.scores for row in predictor.flush() if row.scores is not None)
    fresh = []
    for number in numbers[-tail:]:
        fresh += predictor.push(frame_at(number, pool))
    fresh += predictor.flush()
    drift = difference(np.stack(last), np.stack([row.scores for row in fresh]), predictor.look_ahead)
    growth = peaks[1] / peaks[0] - 1
    print(f"peak after {arguments.after} frames {peaks[0] / _MIB:.1f} MiB, after {arguments.frames} ", end="")
    print(f"{peaks[1] / _MIB:.1f} MiB: {growth:+.1%} (at most {MOST_GROWTH:+.0%})")
    print(f"last {_TAIL} scores against a fresh start: {drift:.1e} (at most {MOST_DRIFT:.0e})")
    return commands.DONE if growth <= MOST_GROWTH and drift <= MOST_DRIFT else commands.FAILED


def difference(
    scores: Float32[np.ndarray, "F N"], fresh: Float32[np.ndarray, "F N"], look_ahead: int
) -> float:
    """Largest difference of scores of the same frames, where a fresh start knows all that they depend on.

    Args:
        scores: of the last frames of a stream.
        fresh: of a stream that begins with the first of them.
        look_ahead: frames that a frame depends on, on either side.
    """
    return float(np.abs(scores[look_ahead:] - fresh[look_ahead:]).max())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code, see the module's description."""
    arguments = _parser().parse_args(argv)
    return commands.finish(lambda: run(arguments))


if __name__ == "__main__":
    sys.exit(main())
