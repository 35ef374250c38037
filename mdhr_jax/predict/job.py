"""One input of the command: from its file to its files, a frame at a time."""

import argparse
from collections.abc import Generator
from typing import Any

from mdhr_jax import __version__
from mdhr_jax.faces import media, options
from mdhr_jax.faces.precomputed import PrecomputedDetector
from mdhr_jax.predict import output
from mdhr_jax.predict.bar import Bar
from mdhr_jax.predict.meaning import meaning
from mdhr_jax.predict.predictor import Predictor, searching
from mdhr_jax.predict.sources import live
from mdhr_jax.predict.sources import source as sources
from mdhr_jax.predict.sources.camera import Camera
from mdhr_jax.predict.sources.inputs import Input
from mdhr_jax.predict.table import columns
from mdhr_jax.predict.views import Views
from mdhr_jax.progress import announce, counted, report

TABLES = {"csv": (output.CSV,), "parquet": (output.PARQUET,), "both": (output.CSV, output.PARQUET)}
"""Kinds of tables, by what ``--format`` calls them."""


class Job:
    """Writes the files of one input.

    Args:
        one: the input.
        predictor: which may work on others in between.
        arguments: of the command.
        taken: names of the results of other inputs; its own is added.
        bar: that shows how far all of them are.

    Attributes:
        given: the input as it is called in messages.
        length: frames that it says it has; 0 before it is begun, and where nobody knows.
        waits: whether all frames have been read and the last scores wait for a batch to fill.
    """

    def __init__(
        self, one: Input, predictor: Predictor, arguments: argparse.Namespace, taken: set[str], bar: Bar
    ):
        self.given = one.given
        self.length, self.waits = 0, False
        self._one, self._predictor, self._arguments = one, predictor, arguments
        self._taken, self._bar = taken, bar
        self._finish = False
        self._steps = self._work()

    def advance(self, *, finish: bool = False) -> bool:
        """Does the next step: begins, takes a frame, or sees whether its last scores are there.

        Args:
            finish: whether the last scores are computed where they would wait for others.

        Returns:
            Whether there is more to do.

        Raises:
            ValueError: it cannot be read, or not to its end; the files are there in the latter case.
            OSError: it is gone, its faces are not there, or the results cannot be written.
            ImportError: something is not installed.
        """
        self._finish = finish
        return next(self._steps, self) is not self

    def close(self) -> None:
        """Gives up what is not done."""
        self._steps.close()

    def _work(self) -> Generator[None]:
        """The work, with a pause after each step."""
        one, predictor, arguments = self._one, self._predictor, self._arguments
        recording = one.recording
        if recording is None:
            raise ValueError(one.problem)
        if isinstance(recording, Camera):
            recording.check()
            if arguments.overlay or arguments.report or arguments.detections:
                raise ValueError(
                    "a camera's frames are not known before and not there afterwards, which --detections, "
                    "--overlay and --report need; record it first"
                )
        detector = options.detector(searching(predictor.trained.recipe), arguments.detections, recording.stem)
        source = sources.Source(
            recording, realtime=arguments.realtime, seconds=arguments.seconds, fps=arguments.fps
        )
        found_by = {"name": detector.name, "version": detector.version}
        fps = arguments.fps if arguments.fps and not _has_times(recording) else None
        work = _work_of(predictor, fps, found_by) | source.work()
        views = Views(recording, arguments.out, overlay=arguments.overlay, report=arguments.report)
        with output.claimed(
            arguments.out, recording.stem, work, self._taken, views.free, TABLES[arguments.format]
        ) as place:
            written = ", ".join(map(str, place.tables))
            if place.complete:
                with self._bar.paused():
                    made = views.make(place, predictor, arguments.fps, detector)
                report(f"{one.given}: done before, {written}{made}")
                _check_end(output.facts_of(place.json).get(sources.EARLY))
                return
            self.length = recording.length()
            if source.is_live:
                live.warm_up(predictor, detector)
            flush_every = 1 if source.is_live else output.FLUSH_EVERY
            with output.TableFile(place, predictor.trained.au_set.aus, work, flush_every) as file:
                self._bar.begin(self, recording.name, self.length)
                yield
                scoring = predictor.scoring(
                    source.frames(), detector=detector, fps=arguments.fps, **views.watching(place)
                )
                with scoring:
                    while not scoring.done:
                        before = file.counts()["frames"]
                        for row in scoring.finish() if scoring.ended and self._finish else scoring.step():
                            file.write(row)
                        self._bar.add(self, file.counts()["frames"] - before)
                        self.waits = scoring.ended
                        if not scoring.done:
                            yield
                counts = file.counts()
                if not counts["frames"]:
                    raise ValueError("has no frames")
                if isinstance(detector, PrecomputedDetector) and source.whole:
                    detector.check_end()
                    for note in detector.notes:
                        announce(note)
                file.finish(_facts(predictor) | source.facts() | views.listed(place))
            self._bar.end(self)
            with self._bar.paused():
                made = views.make(place, predictor, arguments.fps, detector)
            text = (
                f"{counts['frames_with_face']} with a face" if counts["people"] else "no face in any of them"
            )
            people = f", {counts['people']} people" if counts["people"] > 1 else ""
            left_out = f", {counted(source.dropped, 'frame')} left out" if source.is_live else ""
            frames = counted(counts["frames"], "frame")
            report(f"{one.given}: {frames}, {text}{people}{left_out}, {written}{made}")
        _check_end(source.ended_early)


def _check_end(ended_early: str | None) -> None:
    """Says of a table that it is not of the whole recording.

    Raises:
        ValueError: it is not.
    """
    if ended_early is not None:
        raise ValueError(f"{ended_early}. The table has the frames before")


def _has_times(recording: media.Recording) -> bool:
    """Whether a recording says when its frames are shown, so that nobody else's word counts.

    Raises:
        ValueError: it cannot be read.
        ImportError: PyAV is missing.
    """
    if isinstance(recording, Camera):
        return True
    if not recording.is_video:
        return False
    return next(recording.timed_frames(), (None, None))[0] is not None


def _work_of(predictor: Predictor, fps: float | None, detector: dict[str, str]) -> dict[str, Any]:
    """What decides the content of a table besides the input."""
    trained = predictor.trained
    return {
        "checkpoint": trained.digest,
        "thresholds": dict(trained.thresholds),
        "mode": predictor.mode,
        "fps": fps,
        "detector": detector,
        "mdhr_jax": __version__,
    }


def _facts(predictor: Predictor) -> dict[str, Any]:
    """What the numbers of a table mean."""
    facts = meaning(predictor.trained)
    return facts | {
        "columns": list(columns(predictor.trained.au_set.aus)),
        "mode": predictor.mode,
        "look_ahead": facts["look_ahead"] | {"model": predictor.look_ahead},
    }
