"""What frames around a frame tell of its AUs: ``python -m mdhr_jax.data.synthetic.time_gain --help``.

Landmarks stand for what a network sees of a face, known up to noise. From those of one frame, and of the same
frame with others, a small perceptron learns the labels of some subjects and is tested on others. So it is
known what there is to gain by time in these videos, whatever a network makes of it.
"""

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int64

from mdhr_jax import commands
from mdhr_jax.data import render_pool
from mdhr_jax.data.synthetic import generator
from mdhr_jax.data.synthetic.generator import LANDMARK_NAMES, SyntheticSpec
from mdhr_jax.data.workers import usable_cpus
from mdhr_jax.interop import comparison_report
from mdhr_jax.progress import Progress, announce
from mdhr_jax.report import bootstrap

STILL = "one frame"
DYNAMICS = "as dynamics and temporal convolution see it, k = 2"
NEUTRAL = "and the subject's calmest frames"
_LAGS = {"2": (1, 2), "4": (2, 4), "8": (2, 4, 8)}

_EYES = [LANDMARK_NAMES.index(f"eye_{side}_centre") for side in ("left", "right")]
_HIDDEN = (128, 64)
_BATCH, _EPOCHS, _RATE = 256, 12, 2e-3
_CALMEST = 3  # frames
# Landmarks do not depend on the size of the picture, up to rounding of the warp's grid.
_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Faces:
    """What is known of every frame.

    Attributes:
        shapes: landmarks relative to the eyes, one after the other, eye distances; noise included.
        labels: 1 or 0.
        intensities: of each AU.
    """

    shapes: Float[np.ndarray, "S F K"]
    labels: Int64[np.ndarray, "S F N"]
    intensities: Float[np.ndarray, "S F N"]


@dataclasses.dataclass(frozen=True)
class Gain:
    """How well labels are told from one view.

    Attributes:
        view: one of those of `views`.
        f1: of each AU on subjects not trained on, percent.
        gain: mean F1 less that of one frame.
        interval: of the gain, 95 % by bootstrap over subjects; None for one frame itself.
    """

    view: str
    f1: tuple[float, ...]
    gain: float
    interval: tuple[float, float] | None


def draw(spec: SyntheticSpec, noise: float, workers: int) -> Faces:
    """Draws the videos of a data set, one a subject, and keeps their landmarks.

    Args:
        spec: the data set.
        noise: standard deviation of the error of each coordinate, eye distances.
        workers: processes that draw.
    """
    videos, kept = spec.videos(), []
    rendered = render_pool.render_all(_without_pictures, spec, videos, workers, ("landmarks", "intensities"))
    with contextlib.closing(rendered), Progress(len(videos), unit="videos", label="drawing") as progress:
        for video in rendered:
            kept.append((video.truth["landmarks"], video.labels, video.truth["intensities"]))
            progress.update()
    landmarks, labels, intensities = (np.stack(part) for part in zip(*kept, strict=True))
    shapes = _relative(landmarks.astype(np.float64))
    shapes += noise * np.random.default_rng(spec.seed).standard_normal(shapes.shape)
    return Faces(shapes, labels.astype(np.int64), intensities)


@dataclasses.dataclass(frozen=True)
class _Unseen:
    """A drawn video without its pictures, which nobody here looks at."""

    labels: np.ndarray
    landmarks: np.ndarray
    intensities: np.ndarray
    frames: tuple[()] = ()


def _without_pictures(spec: SyntheticSpec, video: generator.VideoId) -> _Unseen:
    drawn = generator.render_video(spec, video)
    return _Unseen(drawn.labels, drawn.landmarks, drawn.intensities)


def _relative(landmarks: Float[np.ndarray, "S F K 2"]) -> Float[np.ndarray, "S F M"]:
    """Moved, turned and scaled so that the eyes lie where they always do: as an alignment does."""
    left, right = (landmarks[:, :, eye] for eye in _EYES)
    across = right - left
    distance = np.linalg.norm(across, axis=-1, keepdims=True)
    cos, sin = np.moveaxis(across / distance, -1, 0)
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    placed = (landmarks - 0.5 * (left + right)[:, :, None]) / distance[:, :, None]
    return np.einsum("sfij,sfkj->sfki", turn, placed).reshape(*landmarks.shape[:2], -1)


def views(faces: Faces) -> dict[str, Float[np.ndarray, "S F _"]]:
    """What is learned from: a frame's shape, alone or beside others'."""
    shapes, frames = faces.shapes, np.arange(faces.shapes.shape[1])

    def at(lag: int, values: np.ndarray) -> np.ndarray:
        return values[:, np.clip(frames + lag, 0, frames[-1])]

    found = {STILL: shapes}
    for name, lags in _LAGS.items():
        others = [at(sign * lag, shapes) - shapes for lag in lags for sign in (-1, 1)]
        found[f"and frames up to {name} away"] = np.concatenate([shapes, *others], -1)
    step = np.diff(shapes, axis=1, prepend=shapes[:, :1])
    # Rising and falling apart, as behind a ReLU, each averaged over the 2k differences around a frame.
    padded = np.pad(np.concatenate([step.clip(0.0), (-step).clip(0.0)], -1), ((0, 0), (1, 2), (0, 0)))
    moving = sum(padded[:, i : i + len(frames)] for i in range(4)) / 4
    seen = np.concatenate([shapes, moving], -1)
    found[DYNAMICS] = np.concatenate([at(lag, seen) for lag in range(-2, 3)], -1)
    calm = np.argsort(faces.intensities.sum(-1), axis=1, kind="stable")[:, :_CALMEST]
    rest = np.stack([shape[rows].mean(0) for shape, rows in zip(shapes, calm, strict=True)])
    found[NEUTRAL] = np.concatenate([shapes, shapes - rest[:, None]], -1)
    return found


def measure(faces: Faces, *, seed: int = 0, resamples: int = 2000) -> list[Gain]:
    """Learns from every view of two thirds of the subjects and tests on the others.

    Args:
        faces: at least three subjects.
        seed: of the perceptrons and of the bootstrap.
        resamples: of the bootstrap.
    """
    subjects = len(faces.shapes)
    tested = np.arange(subjects) % 3 == 2
    times = bootstrap.draw(int(tested.sum()), resamples, seed=seed, fold=1)
    found, still = [], None
    prepared = views(faces)
    with Progress(len(prepared), unit="views", label="learning") as progress:
        for name, values in prepared.items():
            counts = _counts(_learn(values, faces.labels, tested, seed), faces.labels[tested])
            whole = _f1(counts.sum(0).astype(float))
            drawn = _f1(np.tensordot(times, counts, 1).astype(float)).mean(-1)
            if still is None:
                still = whole.mean(), drawn
            limits = None if name == STILL else bootstrap.interval(drawn - still[1])
            found.append(Gain(name, tuple(whole.tolist()), float(whole.mean() - still[0]), limits))
            progress.update()
    return found


def _counts(present: np.ndarray, labels: np.ndarray) -> Int64[np.ndarray, "S 2 N"]:
    """Of each subject the hits, and the frames said present plus those present: F1 is twice their ratio."""
    wanted = labels == 1
    return np.stack([(present & wanted).sum(1), present.sum(1) + wanted.sum(1)], 1).astype(np.int64)


def _f1(counts: Float[np.ndarray, "*batch 2 N"]) -> Float[np.ndarray, "*batch N"]:
    """F1 in percent; 0 where it is undefined, as in the reference."""
    return 200.0 * counts[..., 0, :] / np.maximum(counts[..., 1, :], 1)


def _learn(
    values: Float[np.ndarray, "S F M"], labels: Int64[np.ndarray, "S F N"], tested: np.ndarray, seed: int
) -> np.ndarray:
    """Presence in every frame of the tested subjects, as a perceptron learns it from the others."""
    learned = values[~tested].reshape(-1, values.shape[-1])
    middle, spread = learned.mean(0), learned.std(0) + 1e-9
    inputs = jnp.asarray((learned - middle) / spread, jnp.float32)
    targets = jnp.asarray(labels[~tested].reshape(len(learned), -1), jnp.float32)
    batch = min(_BATCH, len(learned))
    steps = len(learned) // batch
    widths = (inputs.shape[-1], *_HIDDEN, targets.shape[-1])
    keys = jax.random.split(jax.random.key(seed), len(widths) + _EPOCHS)
    params = [
        {"w": jax.random.normal(key, (a, b)) * (2.0 / a) ** 0.5, "b": jnp.zeros(b)}
        for key, a, b in zip(keys, widths[:-1], widths[1:], strict=False)
    ]
    optimizer = optax.adamw(optax.cosine_decay_schedule(_RATE, steps * _EPOCHS), weight_decay=1e-2)

    def loss(weights: Any, x: Array, y: Array) -> Array:
        return optax.sigmoid_binary_cross_entropy(_perceptron(weights, x), y).mean()

    @jax.jit
    def epoch(carry: Any, order: Array) -> Any:
        def step(carry: Any, rows: Array) -> tuple[Any, None]:
            weights, state = carry
            updates, state = optimizer.update(
                jax.grad(loss)(weights, inputs[rows], targets[rows]), state, weights
            )
            return (optax.apply_updates(weights, updates), state), None

        return jax.lax.scan(step, carry, order)[0]

    carry = params, optimizer.init(params)
    for key in keys[len(widths) :]:
        order = jax.random.permutation(key, len(learned))[: steps * batch].reshape(steps, batch)
        carry = epoch(carry, order)
    asked = jnp.asarray((values[tested] - middle) / spread, jnp.float32)
    return np.asarray(_perceptron(carry[0], asked) > 0.0)


def _perceptron(weights: Any, x: Array) -> Array:
    for layer in weights[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ weights[-1]["w"] + weights[-1]["b"]


def table(gains: Sequence[Gain], aus: Sequence[int]) -> comparison_report.Table:
    """The views below each other."""
    rows = []
    for gain in gains:
        limits = "" if gain.interval is None else f" ({gain.interval[0]:+.1f} to {gain.interval[1]:+.1f})"
        mean = f"{np.mean(gain.f1):.1f}"
        difference = "" if gain.interval is None else f"{gain.gain:+.1f}{limits}"
        rows.append((gain.view, mean, difference, *(f"{f1:.0f}" for f1 in gain.f1)))
    columns = ("landmarks of", "mean F1", "gain (95 %)", *(f"AU{au}" for au in aus))
    return comparison_report.Table("F1 in percent on other subjects", columns, tuple(rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.data.synthetic.time_gain",
        description="Measures what frames around a frame tell of its AUs beyond the frame itself.",
    )
    parser.add_argument("--like", default="bp4d", help=f"whose AUs: {' or '.join(generator.LIKES)}")
    parser.add_argument("--preset", default="changing", help=f"one of {', '.join(generator.PRESETS)}")
    parser.add_argument("--subjects", type=int, default=450, help="a third of them is tested on")
    parser.add_argument("--frames", type=int, default=96, help="frames of each subject")
    parser.add_argument("--noise", type=float, default=0.01, help="error of a landmark, eye distances")
    parser.add_argument("--seed", type=int, default=0, help="start of all randomness, from 0")
    parser.add_argument("--workers", type=int, help="processes that draw; all cores by default")
    parser.add_argument("--report", type=Path, help="also write the table to this file (.md or .html)")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Does what the command line asks.

    Raises:
        ValueError: an argument is out of range.
        OSError: the report cannot be written.
        RuntimeError: a process that draws was killed.
    """
    if arguments.report is not None:
        comparison_report.check_path(arguments.report)
    if not arguments.noise >= 0.0:
        raise ValueError(f"--noise must be 0 or more, found {arguments.noise}")
    if arguments.subjects < 3 * bootstrap.FEWEST_SUBJECTS:
        raise ValueError(
            f"--subjects must be at least {3 * bootstrap.FEWEST_SUBJECTS}, found {arguments.subjects}"
        )
    workers = usable_cpus() if arguments.workers is None else arguments.workers
    spec = SyntheticSpec(
        like=arguments.like,
        preset=arguments.preset,
        seed=arguments.seed,
        subjects=arguments.subjects,
        videos_per_subject=1,
        frames_per_video=arguments.frames,
        size=_SIZE,
    )
    shown = table(measure(draw(spec, arguments.noise, workers), seed=arguments.seed), spec.au_set.aus)
    print(comparison_report.as_text(shown))
    if arguments.report is not None:
        facts = (
            (
                "faces",
                f"{spec.like}, preset {spec.preset}, seed {spec.seed}, generator "
                f"{generator.GENERATOR_VERSION}, {spec.subjects} subjects of {spec.frames_per_video} frames",
            ),
            ("noise", f"{arguments.noise} eye distances"),
        )
        comparison_report.write(arguments.report, "What time tells of synthetic AUs", facts, [shown])
        announce(f"written: {arguments.report}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 0, 2 after a mistake, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    return commands.finish(lambda: run(arguments))


if __name__ == "__main__":
    sys.exit(main())
