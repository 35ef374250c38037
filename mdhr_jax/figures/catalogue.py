"""Which figures there are, and how each is made from runs."""

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mdhr_jax.figures import cooccurrence, curves, relations, style, subjects, timelines, weights
from mdhr_jax.figures.network import LookedAt, Network, open_network
from mdhr_jax.figures.runs import Run, choose_videos

Made = tuple[str, Any]
"""Folder and stem of a figure's files, and the figure."""


def drawings(
    runs: Sequence[Run], wanted: Sequence[str], videos: Sequence[str], data_dir: Path | None
) -> Iterator[tuple[str, Callable[[], Made]]]:
    """The figures of some runs, none of them drawn yet.

    Args:
        runs: each with a name of its own.
        wanted: keys of `mdhr_jax.figures.FIGURES`.
        videos: names; empty for one chosen by its labels.
        data_dir: the data directory; None for the one that a run was trained on.

    Returns:
        What a figure is of, and what draws it. Drawing raises FileNotFoundError where something is missing,
        `NotApplicableError` where the model has nothing to show, ValueError where something is wrong.
    """
    folders = _folders(runs)
    if "curves" in wanted:
        # One run's lie with its other figures; of several, beside their folders.
        stem = f"{folders[0]}/curves" if len(runs) == 1 else f"curves-{len(runs)}-runs-{_digest(folders)}"
        yield (
            "curves",
            lambda: (stem, curves.draw([curves.curves(run) for run in runs], _shared_footer(runs))),
        )
    for run, folder in zip(runs, folders, strict=True):
        for name, draw in _of_run(run, wanted, videos, data_dir):
            yield f"{name} of {run.name}", functools.partial(_within, folder, draw)


def _within(folder: str, draw: Callable[[], Made]) -> Made:
    stem, made = draw()
    return f"{folder}/{stem}", made


def _folders(runs: Sequence[Run]) -> list[str]:
    """A folder for each run, by what the run is: the same whichever other runs a command names."""
    folders = [style.file_stem(run.identity) for run in runs]
    return [
        folder if folders.count(folder) == 1 else f"{folder}-{style.file_stem(run.name)}"
        for run, folder in zip(runs, folders, strict=True)
    ]


def _digest(folders: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(folders).encode()).hexdigest()[:6]


def _of_run(
    run: Run, wanted: Sequence[str], videos: Sequence[str], data_dir: Path | None
) -> Iterator[tuple[str, Callable[[], Made]]]:
    network = functools.cache(lambda: open_network(run, data_dir))
    look = functools.cache(lambda video: network().look(video or network().default_video))

    def timeline(video: str | None) -> Made:
        (chosen,) = choose_videos(run.predictions, [video] if video else [])
        shown = timelines.timeline(run.predictions, chosen)
        footer = run.footer(run.predictions.meta)
        fps = run.au_set.fps if run.au_set else None
        return f"timeline-{style.file_stem(chosen)}", timelines.draw(shown, fps, footer)

    def inside(name: str, video: str | None, draw: Callable[[Network, LookedAt, str], Any]) -> Made:
        shown = look(video)
        return f"{name}-{style.file_stem(shown.video)}", draw(network(), shown, run.footer(network().meta))

    def scales(video: str | None) -> Made:
        weights.check(run.config["model"])
        return inside("weights", video, weights.draw)

    def graph(video: str | None) -> Made:
        relations.check(run.config["model"])
        return inside("graph", video, relations.draw)

    def together() -> Made:
        found = cooccurrence.cooccurrence(run.predictions)
        return "cooccurrence", cooccurrence.draw(
            found, run.footer(run.predictions.meta, cooccurrence.UNDEFINED_NOTE)
        )

    def of_subjects() -> Made:
        found = subjects.subject_f1(run.predictions)
        return "subjects", subjects.draw(found, run.footer(run.predictions.meta, subjects.UNDEFINED_NOTE))

    for name in wanted:
        if name in ("cooccurrence", "subjects"):
            yield name, together if name == "cooccurrence" else of_subjects
        elif name in ("timeline", "weights", "graph"):
            for video in dict.fromkeys(videos or (None,)):
                yield (
                    name,
                    functools.partial({"timeline": timeline, "weights": scales, "graph": graph}[name], video),
                )


def _shared_footer(runs: Sequence[Run]) -> str:
    """What is known of several runs, for the small print; their configurations stand beside their names."""

    def words(values: Iterator[Any]) -> str:
        return ", ".join(map(str, dict.fromkeys(values)))

    parts = (
        words(run.au_set.title if run.au_set else run.config["dataset"] for run in runs),
        f"fold {words(run.config['fold'] for run in runs)}",
        f"seed {words(run.config['seed'] for run in runs)}",
        f"protocol {words(run.protocol for run in runs)}",
        words(run.model_name for run in runs),
    )
    return " · ".join(parts)
