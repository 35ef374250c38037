"""Holds generated labels against published ones: ``python -m mdhr_jax.data.synthetic.statistics --help``.

No face is drawn. The exit code is 1 where a bound is missed, 2 after a user's mistake.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from mdhr_jax import commands
from mdhr_jax.data.synthetic import generator
from mdhr_jax.data.synthetic.generator import SyntheticSpec
from mdhr_jax.data.synthetic.label_statistics import (
    CONDITIONAL_BOUND,
    JOINT_REACH,
    RATE_BOUND,
    RUN_BOUND,
    Bounds,
    LabelStatistics,
    conditional_differences,
    measure,
    misses,
)
from mdhr_jax.data.synthetic.published import PUBLISHED, QUANTILES, WINDOW, PublishedLabels
from mdhr_jax.interop import comparison_report
from mdhr_jax.progress import Progress, announce

# Share of windows with a change that the preset made of changes has at least.
_CHANGING_WINDOWS = {"bp4d": (0.9, 1.0), "disfa": (0.5, 1.0)}


def spec_for(
    like: str,
    preset: str,
    seed: int,
    frames: int,
    frames_per_video: int | None = None,
    videos_per_subject: int | None = None,
) -> SyntheticSpec:
    """A data set of at least so many frames.

    Args:
        like: whose labels, ``bp4d`` or ``disfa``.
        preset: see `generator.PRESETS`.
        seed: start of all randomness.
        frames: number of frames in all.
        frames_per_video: length of a video, frames; the published one by default.
        videos_per_subject: videos of a subject; by default as many as hold its published frames.

    Raises:
        ValueError: an argument is out of range.
    """
    if like not in PUBLISHED:
        raise ValueError(f"labels can be like {' or '.join(PUBLISHED)}, found {like!r}")
    published = PUBLISHED[like]
    length = published.frames_per_video if frames_per_video is None else frames_per_video
    videos = videos_per_subject
    if videos is None:
        # As many frames of a subject as published, where the videos are shorter.
        videos = published.videos_per_subject * max(1, published.frames_per_video // max(length, 1))
    if length < WINDOW:
        raise ValueError(f"a video must hold a window of {WINDOW} frames, found {length} frames a video")
    if videos < 1:
        raise ValueError(f"a subject needs a video, found {videos}")
    if frames < length:
        raise ValueError(f"{frames} frames are less than one video of {length}")
    subjects = max(3, -(-frames // (length * videos)))
    return SyntheticSpec(like, preset, seed, subjects, videos, length)


def generated_labels(
    spec: SyntheticSpec, frames: int, progress: Progress | None = None
) -> tuple[list[Int8[np.ndarray, "_ N"]], list[int]]:
    """Labels and subjects of the first videos, as many as give the wanted number of frames."""
    wanted = spec.videos()[: -(-frames // spec.frames_per_video)]
    labels = []
    for video in wanted:
        labels.append(generator.time_courses(spec, video)[1])
        if progress is not None:
            progress.update(spec.frames_per_video)
    return labels, [video.subject_index for video in wanted]


def bounds_for(spec: SyntheticSpec) -> Bounds | None:
    """What the labels of a preset are held to; `None` where it does not mean to be like published ones."""
    published = PUBLISHED[spec.like]
    if spec.preset == "realistic":
        # Shorter videos cut runs short, longer ones hold longer runs.
        relative = spec.frames_per_video / published.frames_per_video
        return Bounds(published.windows, runs=0.8 <= relative <= 1.25)
    if spec.preset == "changing":
        return Bounds(_CHANGING_WINDOWS[spec.like], runs=False)
    return None


def tables(
    found: LabelStatistics, published: PublishedLabels, bounds: Bounds | None
) -> list[comparison_report.Table]:
    """Generated beside published statistics."""
    by_au = []
    for i, au in enumerate(published.aus):
        lengths = [
            f"{ours:.0f} / {theirs:.0f}"
            for ours, theirs in zip(found.run_quantiles[i], published.run_quantiles[i], strict=True)
        ]
        spread = "-".join(f"{rate:.2f}" for rate in found.subject_rates[i])
        wanted = "-".join(f"{rate:.2f}" for rate in published.subject_rates[i])
        rates = f"{found.rates[i]:.3f} / {published.rates[i]:.3f}"
        changing = f"{found.windows_by_au[i]:.3f}"
        by_au.append((f"AU{au}", rates, str(found.run_counts[i]), *lengths, changing, f"{spread} / {wanted}"))
    apart = conditional_differences(found, published)
    window_note = ""
    if bounds is not None:
        window_note = f"{bounds.windows[0]:.0%} to {bounds.windows[1]:.0%}"
    rate_error = np.abs(found.rates - published.rates).max()
    whole = [
        ("largest difference of a rate", f"{rate_error:.3f}", f"{RATE_BOUND}"),
        ("median difference of P(i|j)", f"{np.median(apart):.3f}", f"{CONDITIONAL_BOUND}"),
        ("largest difference of P(i|j)", f"{apart.max():.3f}", ""),
        (f"windows of {WINDOW} frames with a change", f"{found.windows:.1%}", window_note),
    ]
    pairs = []
    for first, second, share in published.joint_changes:
        i, j = published.aus.index(first), published.aus.index(second)
        theirs = "unknown" if share is None else f"{share:.2f}"
        ours, chance = f"{found.joint[i, j]:.2f}", f"{found.joint_by_chance[i, j]:.2f}"
        pairs.append((f"AU{first} with AU{second}", ours, chance, theirs))
    quantile_titles = tuple(f"{share:.0%} of runs" for share in QUANTILES)
    return [
        comparison_report.Table(
            "Action units, generated / published",
            ("AU", "rate", "runs", *quantile_titles, "windows", "subjects: least-median-most"),
            tuple(by_au),
            (f"runs in frames, bound {RUN_BOUND:.0%}; windows: share of those in which the AU changes",),
        ),
        comparison_report.Table("All action units", ("", "found", "bound"), tuple(whole)),
        comparison_report.Table(
            f"Starts and stops within {JOINT_REACH} frames of each other",
            ("pair", "found", "by chance", "published"),
            tuple(pairs),
        ),
    ]


def _parser() -> argparse.ArgumentParser:
    default = SyntheticSpec()
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.data.synthetic.statistics",
        description="Generates labels without drawing faces and holds them against published ones.",
    )
    parser.add_argument("--like", default=default.like, help=f"whose labels: {' or '.join(PUBLISHED)}")
    parser.add_argument("--preset", default="realistic", help=f"one of {', '.join(generator.PRESETS)}")
    parser.add_argument("--frames", type=int, default=100_000, help="number of frames in all")
    parser.add_argument("--seed", type=int, default=default.seed, help="start of all randomness, from 0")
    parser.add_argument("--frames-per-video", type=int, help="frames a video; as published by default")
    parser.add_argument("--videos", type=int, help="videos a subject; as many frames as published by default")
    parser.add_argument("--report", type=Path, help="also write the tables to this file (.md or .html)")
    return parser


def run(arguments: argparse.Namespace) -> bool:
    """Does what the command line asks; returns whether all bounds hold.

    Raises:
        ValueError: an argument is out of range.
        OSError: the report cannot be written.
    """
    if arguments.report is not None:
        comparison_report.check_path(arguments.report)
    spec = spec_for(
        arguments.like,
        arguments.preset,
        arguments.seed,
        arguments.frames,
        arguments.frames_per_video,
        arguments.videos,
    )
    published, bounds = PUBLISHED[spec.like], bounds_for(spec)
    # Whole videos.
    total = -(-arguments.frames // spec.frames_per_video) * spec.frames_per_video
    with Progress(total, unit="frames", label="labels") as progress:
        labels, subjects = generated_labels(spec, arguments.frames, progress)
    found = measure(labels, subjects)
    missed = misses(found, published, bounds) if bounds is not None else []
    verdict = "no bounds for this preset" if bounds is None else f"{len(missed)} bounds missed"
    facts = (
        (
            "labels",
            f"{spec.like}, preset {spec.preset}, seed {spec.seed}, generator {generator.GENERATOR_VERSION}",
        ),
        ("size", f"{found.frames} frames: {len(set(subjects))} subjects, videos of {spec.frames_per_video}"),
        ("verdict", "; ".join([verdict, *missed])),
    )
    shown = tables(found, published, bounds)
    print("\n\n".join(comparison_report.as_text(table) for table in shown))
    print("\n" + "\n".join([verdict, *missed]))
    if arguments.report is not None:
        comparison_report.write(arguments.report, "Statistics of synthetic labels", facts, shown)
        announce(f"written: {arguments.report}")
    return not missed


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 0, 1 where a bound is missed, 2 after a mistake."""
    arguments = _parser().parse_args(argv)
    return commands.finish(lambda: commands.DONE if run(arguments) else commands.FAILED)


if __name__ == "__main__":
    sys.exit(main())
