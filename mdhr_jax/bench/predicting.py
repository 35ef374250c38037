"""Speed of predicting beside the PyTorch reference, from aligned faces to scores, and from a video to rows.

Both have the same random weights and run in turn in one process. The reference knows windows alone: a frame
has all that the model sees of its surroundings only k + 2 frames inside a window, so that a window of 16
gives two frames with full context where k is 5. Its plain windows are timed too. Its times leave out
resizing and normalising. Ours of the model include them and leave out finding faces; those of the whole path
include everything: reading the video, finding, following and cutting out faces, the model, rows.
"""

import contextlib
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from mdhr_jax import facs
from mdhr_jax.bench import timing
from mdhr_jax.bench.forms import NEIGHBORS
from mdhr_jax.bench.timing import Runner

if TYPE_CHECKING:
    from mdhr_jax.interop.torch_side import TorchSide
    from mdhr_jax.predict.checkpoint import Trained

WINDOW = 16
"""Frames of the reference's clips."""
MOST_APART = 1e-3
"""Of scores of the same frames, in float32."""
NEEDS = ("clu", "ml_collections", "orbax", "tensorflow_datasets")
"""What reading checkpoints needs beyond what steps need."""
NEEDS_OF_VIDEO = ("av", "mtcnn")
_FULL = "reference, full context"


def measure(
    reference: str, backbone: str, dataset: str, repeats: int, video: str | None, video_frames: int
) -> dict[str, Any]:
    """Times of both, in turn, both on the accelerator where PyTorch and JAX have one, else both on the CPU.

    Args:
        reference: its checkout.
        backbone: of both.
        dataset: whose AUs.
        repeats: counted runs of each.
        video: a file with faces in it, for the whole path; None: it is left out.
        video_frames: that are taken of it.

    Returns:
        ``backbone``, ``device``, ``threads`` of PyTorch, ``apart`` (largest difference of scores of the same
        frames) and ``rows``: name, frames that come out of a run, median seconds, frames a second, how many
        times the reference's with full context that is, and the smallest and largest such ratio of runs next
        to each other. Ready for JSON.

    Raises:
        ValueError, OSError, ImportError: the checkout or the video cannot be used.
        RuntimeError: scores of both differ.
    """
    import jax

    from mdhr_jax.interop.reference_checkout import cuda_stays_on_cpu, import_torch, open_checkout
    from mdhr_jax.interop.torch_side import TorchSide

    torch: Any = import_torch()
    device = "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"
    checkout = open_checkout(Path(reference), facs.get(dataset))
    with contextlib.ExitStack() as stack:
        if device == "cpu":
            stack.enter_context(cuda_stays_on_cpu())
            stack.enter_context(jax.default_device(jax.devices("cpu")[0]))
        side = TorchSide(checkout, backbone, NEIGHBORS, "float32", device)
        trained = untrained(side, backbone)
        runs, apart = _of_models(side, trained)
        if apart > MOST_APART:
            raise RuntimeError(f"scores of both differ by {apart:.1e}, expected at most {MOST_APART:.0e}")
        if video is not None:
            runs |= whole_path(trained, Path(video), video_frames)
        runners = {name: Runner(run, lambda: None) for name, (_, run) in runs.items()}
        seconds = timing.alternate(runners, repeats, least_seconds=0.0)
        threads = torch.get_num_threads()
    return {
        "backbone": backbone,
        "device": jax.devices("gpu")[0].device_kind if device == "cuda" else "cpu",
        "threads": threads,
        "apart": apart,
        "rows": rows({name: (frames, seconds[name]) for name, (frames, _) in runs.items()}),
    }


def rows(measured: dict[str, tuple[int, tuple[float, ...]]]) -> list[dict[str, Any]]:
    """Frames a second, and how many times the reference's with full context they are.

    Args:
        measured: by name, frames of a run and seconds of each.
    """
    (full, base) = measured[_FULL]
    made = []
    for name, (frames, seconds) in measured.items():
        # Times of the same number of frames.
        low, high = timing.spread(tuple(t / full for t in base), tuple(t / frames for t in seconds))
        median = statistics.median(seconds)
        made.append(
            {
                "name": name,
                "frames": frames,
                "median": median,
                "frames_per_second": frames / median,
                "ratio": frames / median * statistics.median(base) / full,
                "spread": [low, high],
            }
        )
    return made


def _of_models(
    side: "TorchSide", trained: "Trained"
) -> tuple[dict[str, tuple[int, Callable[[], Any]]], float]:
    """By name, frames that come out of a run and the run; and the largest difference of scores."""
    import jax.numpy as jnp

    from mdhr_jax.data.augment import resize_clips
    from mdhr_jax.predict.scorers import ClipScorer
    from mdhr_jax.predict.streams import StreamScorer

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

    runs: dict[str, tuple[int, Callable[[], Any]]] = {
        _FULL: (inside, lambda: side.predict(clip)),
        f"reference, windows of {WINDOW}": (WINDOW, lambda: side.predict(clip)),
        "ours, stream": (WINDOW, stream(many, WINDOW)),
        "ours, stream, frame by frame": (4, stream(single, 4)),
        f"ours, windows of {WINDOW}": (WINDOW, stream(clips, WINDOW)),
    }
    return runs, difference(side, normalised, trained, frames)


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


def whole_path(trained: "Trained", video: Path, count: int) -> dict[str, tuple[int, Callable[[], Any]]]:
    """A video from its file to rows, and reading it with finding and cutting out its faces alone.

    Args:
        trained: our model.
        video: a file.
        count: frames that are taken of it.

    Returns:
        By name, frames of a run and the run.

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

    return {
        "ours, reading and faces alone": (count, faces_alone),
        "ours, whole path": (count, all_of_it),
    }


def _first(frames: Iterator[Any], count: int, video: Path) -> Iterator[Any]:
    read = 0
    for frame in frames:
        yield frame
        read += 1
        if read == count:
            return
    raise ValueError(f"{video} has {read} frames, expected at least --video-frames {count}")


def faces(count: int, edge: int) -> UInt8[np.ndarray, "F L L 3"]:
    """Coarse noise that moves, as aligned faces."""
    rng = np.random.default_rng(0)
    steps = rng.integers(-40, 41, (count, 8, 8, 3)).cumsum(0) + 128
    pixels = np.arange(edge) * 8 // edge
    return steps.clip(0, 255).astype(np.uint8)[:, pixels][:, :, pixels]
