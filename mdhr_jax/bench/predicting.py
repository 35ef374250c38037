"""Speed of predicting on CPUs beside the PyTorch reference: ``python -m mdhr_jax.bench.predicting``.

Both have the same random weights and run in turn in one process. The reference knows windows alone: a frame
has all that the model sees of its surroundings only k + 2 frames inside a window, so that a window of 16
gives two frames with full context where k is 5. Its plain windows are timed too. Its times leave out
resizing and normalising. Ours of the model include them and leave out finding faces; those of the whole path
include everything: reading the video, finding, following and cutting out faces, the model, rows.

The exit code is 0; 1 where scores of both differ; 2 after a mistake.
"""

import argparse
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from mdhr_jax import commands, facs, hardware
from mdhr_jax.progress import Progress, announce

if TYPE_CHECKING:
    from mdhr_jax.interop.reference_checkout import Checkout
    from mdhr_jax.interop.torch_side import TorchSide
    from mdhr_jax.predict.checkpoint import Trained

WINDOW = 16
"""Frames of the reference's clips."""
NEIGHBORS = 5
MOST_APART = 1e-3
"""Of scores of the same frames, in float32."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.bench.predicting",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--reference", type=Path, required=True, metavar="DIR", help="checkout of CVI-SZU/MDHR")
    add("--backbone", choices=("resnet50", "swin_base"), default="resnet50", help="default %(default)s")
    add("--dataset", choices=("bp4d", "disfa"), default="bp4d", help="whose AUs, default %(default)s")
    add("--repeats", type=int, default=5, metavar="N", help="counted runs of each, default %(default)s")
    add("--video", type=Path, metavar="FILE", help="for the whole path; default: it is left out")
    add("--video-frames", type=int, default=120, metavar="N", help="of the video, default %(default)s")
    return parser


@dataclasses.dataclass(frozen=True)
class Measured:
    """How long something took.

    Attributes:
        name: what.
        frames: that came out of one run.
        seconds: of each run.
    """

    name: str
    frames: int
    seconds: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Frames a second, by the median."""
        return self.frames / statistics.median(self.seconds)


def run(arguments: argparse.Namespace) -> int:
    """Measures, and prints a table.

    Raises:
        ValueError, OSError, ImportError: with what is wrong.
    """
    from mdhr_jax.interop.reference_checkout import cuda_stays_on_cpu, open_checkout

    if arguments.repeats < 1 or arguments.video_frames < 2 * WINDOW:
        raise ValueError(f"expected at least 1 repeat and {2 * WINDOW} frames of the video")
    if arguments.video is not None and not arguments.video.is_file():
        raise FileNotFoundError(f"--video {arguments.video} is not there")
    checkout = open_checkout(arguments.reference, facs.get(arguments.dataset))
    with cuda_stays_on_cpu():
        measured, apart = measure(checkout, arguments.backbone, arguments.repeats)
    if arguments.video is not None:
        trained = measured.pop("trained")
        measured |= whole_path(trained, arguments.video, arguments.video_frames)
    print(table({key: one for key, one in measured.items() if isinstance(one, Measured)}))
    print(
        f"scores of both differ by at most {apart:.1e}; {hardware.processor_name()}, {os.cpu_count()} cores"
    )
    return commands.DONE if apart <= MOST_APART else commands.FAILED


def measure(checkout: "Checkout", backbone: str, repeats: int) -> tuple[dict[str, Any], float]:
    """Times of both models, in turn.

    Args:
        checkout: of the reference.
        backbone: of both.
        repeats: counted runs of each.

    Returns:
        By name, with our model as ``trained``; and the largest difference of scores of the same frames.
    """
    import jax.numpy as jnp

    from mdhr_jax.data.augment import resize_clips
    from mdhr_jax.interop.torch_side import TorchSide
    from mdhr_jax.predict.scorers import ClipScorer
    from mdhr_jax.predict.streams import StreamScorer

    side = TorchSide(checkout, backbone, NEIGHBORS, "float32", "cpu")
    trained = untrained(side, backbone)
    frames = faces(2 * WINDOW, trained.recipe.size)
    normalised = np.asarray(resize_clips(jnp.asarray(frames[None]), image_size=trained.image_size))
    clip = side.clips(normalised[:, :WINDOW])
    many, single = StreamScorer(trained, batch=WINDOW), StreamScorer(trained, batch=1)
    clips = ClipScorer(trained, batch=1)
    inside = WINDOW - 2 * many.look_ahead

    def stream(scorer: Any, count: int) -> Callable[[], None]:
        def step() -> None:
            for frame in frames[:count]:
                scorer.push(0, frame)
                scorer.take()
            scorer.drain()

        return step

    runs: dict[str, tuple[str, int, Callable[[], Any]]] = {
        "reference, full": (
            f"reference, full context: {inside} of {WINDOW} frames",
            inside,
            lambda: side.predict(clip),
        ),
        "ours, stream": ("ours, stream", WINDOW, stream(many, WINDOW)),
        "ours, push": ("ours, stream, frame by frame", 4, stream(single, 4)),
        "ours, windows": (f"ours, windows of {WINDOW}", WINDOW, stream(clips, WINDOW)),
    }
    times: dict[str, list[float]] = {key: [] for key in runs}
    with Progress((repeats + 2) * len(runs), unit="runs", label="models") as progress:
        # In turn, so that whatever else the machine does meets all of them; the first two compile.
        for repeat in range(-2, repeats):
            for key, (_, _, function) in runs.items():
                start = time.perf_counter()
                function()
                if repeat >= 0:
                    times[key].append(time.perf_counter() - start)
                progress.update()
    measured: dict[str, Any] = {
        key: Measured(name, count, tuple(times[key])) for key, (name, count, _) in runs.items()
    }
    full = measured["reference, full"]
    plain = Measured(f"reference, windows of {WINDOW}", WINDOW, full.seconds)
    apart = difference(side, normalised, trained, frames)
    return {"reference, windows": plain, **measured, "trained": trained}, apart


def untrained(side: "TorchSide", backbone: str) -> "Trained":
    """Our model with the reference's weights.

    Args:
        side: the reference's model.
        backbone: of it.
    """
    from mdhr_jax.faces.recipe import AlignmentRecipe
    from mdhr_jax.interop import conversion
    from mdhr_jax.interop.torch_weights import IMAGE_SIZE
    from mdhr_jax.models.functional import FunctionalModel
    from mdhr_jax.predict.checkpoint import Trained
    from mdhr_jax.training import protocols

    au_set = side.au_set
    weights = conversion.from_tensors(
        side.values(), dataset=au_set.name, backbone=backbone, num_neighbors=NEIGHBORS
    )
    recipe = AlignmentRecipe()
    return Trained(
        path=Path("weights that nobody trained"),
        model=FunctionalModel.create(weights.config),
        params=weights.params,
        batch_stats=weights.batch_stats,
        meta={"crop_recipe": recipe.to_json()},
        au_set=au_set,
        thresholds=protocols.fixed_thresholds(au_set.au_names),
        threshold_source="fixed",
        recipe=recipe,
        image_size=IMAGE_SIZE,
        clip_length=WINDOW,
        digest="",
    )


def difference(
    side: "TorchSide",
    normalised: Float[np.ndarray, "1 F S S 3"],
    trained: "Trained",
    frames: UInt8[np.ndarray, "F L L 3"],
) -> float:
    """Largest difference of scores of the frames that have their full context in the reference's windows."""
    from mdhr_jax.predict.predictor import make_scorer

    scorer = make_scorer(trained, "stream", WINDOW)
    for frame in frames:
        scorer.push(0, frame)
    scorer.end(0)
    ours = np.stack([one.scores for one in scorer.drain()])
    ahead = scorer.look_ahead
    worst = 0.0
    for start in range(1, len(frames) - WINDOW, WINDOW - 2 * ahead):
        theirs = side.predict(side.clips(normalised[:, start : start + WINDOW]))
        inside = slice(ahead, WINDOW - ahead)
        worst = max(worst, float(np.abs(ours[start : start + WINDOW][inside] - theirs[inside]).max()))
    return worst


def whole_path(trained: "Trained", video: Path, count: int) -> dict[str, Measured]:
    """Times of a video from its file to rows, and of finding and cutting out its faces alone.

    Args:
        trained: our model.
        video: a file.
        count: frames that are taken of it.

    Raises:
        ValueError: it cannot be read, or has fewer frames.
    """
    from mdhr_jax.faces import media
    from mdhr_jax.faces.people import align_people
    from mdhr_jax.predict.predictor import Predictor, make_detector

    (recording,) = media.recordings([video])
    detector = make_detector(trained.recipe)
    predictor = Predictor(trained)

    def timed() -> Iterator[tuple[float | None, np.ndarray]]:
        yield from _first(recording.timed_frames(), count, video)

    def faces_alone() -> None:
        for _ in align_people((frame for _, frame in timed()), trained.recipe, detector):
            pass

    def all_of_it() -> None:
        for _ in predictor.rows_of(timed(), detector=detector):
            pass

    announce("whole path: once to compile, once counted")
    seconds = {}
    for key, function in (("faces", faces_alone), ("whole", all_of_it)):
        for _ in range(2):
            start = time.perf_counter()
            function()
            seconds[key] = time.perf_counter() - start
    return {
        "ours, faces": Measured("ours, reading and faces alone", count, (seconds["faces"],)),
        "ours, whole": Measured("ours, whole path", count, (seconds["whole"],)),
    }


def _first(frames: Iterator[Any], count: int, video: Path) -> Iterator[Any]:
    read = 0
    for frame in frames:
        yield frame
        read += 1
        if read == count:
            return
    raise ValueError(f"{video} has {read} frames, expected at least --video-frames {count}")


def table(measured: Mapping[str, Measured]) -> str:
    """Frames a second, and ours in times of the reference's with full context."""
    base = measured["reference, full"].rate
    lines = [f"{'':<48} {'frames/s':>9} {'ratio':>7} {'spread':>12}"]
    for one in measured.values():
        rates = sorted(one.frames / second for second in one.seconds)
        spread = f"{rates[0]:.2f}-{rates[-1]:.2f}"
        lines.append(f"{one.name:<48} {one.rate:>9.2f} {one.rate / base:>7.2f} {spread:>12}")
    return "\n".join(lines)


def faces(count: int, edge: int) -> UInt8[np.ndarray, "F L L 3"]:
    """Coarse noise that moves, as aligned faces."""
    rng = np.random.default_rng(0)
    steps = rng.integers(-40, 41, (count, 8, 8, 3)).cumsum(0) + 128
    pixels = np.arange(edge) * 8 // edge
    return steps.clip(0, 255).astype(np.uint8)[:, pixels][:, :, pixels]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code, see the module's description."""
    arguments = _parser().parse_args(argv)
    return commands.finish(lambda: run(arguments))


if __name__ == "__main__":
    sys.exit(main())
