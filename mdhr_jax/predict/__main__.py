"""Action units of your own recordings: ``python -m mdhr_jax.predict VIDEO... --checkpoint RUN --out DIR``.

Writes ``DIR/<name>.csv`` for each input, columns as in OpenFace (`mdhr_jax.predict.table`), and beside it
``DIR/<name>.json`` with what the numbers mean; with ``--overlay`` the recording with boxes, scores and
timelines as ``DIR/<name>.mp4`` (a picture: ``.png``), with ``--report`` a page to look into it as
``DIR/<name>.html``. What is complete already is not done again.

A camera is read until Ctrl-C, or for ``--seconds``; its table is complete then. Of a damaged recording the
table has the frames before the damage, and its JSON file says so.

The exit code is 0; 1 where an input could not be done to its end, which is said while the others are; 2 after
a mistake; 130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdhr_jax import commands
from mdhr_jax.progress import Progress, announce, counted

TABLES = {"csv": ("csv",), "parquet": ("parquet",), "both": ("csv", "parquet")}
"""Kinds of tables, by what ``--format`` calls them."""

if TYPE_CHECKING:
    from mdhr_jax.predict.predictor import Predictor
    from mdhr_jax.predict.sources.inputs import Input


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="videos, pictures, folders of pictures (each a video, in the order of their numbers), folders "
        "of videos, patterns such as 'day1/*.mp4'; a camera by its number, such as 0",
    )
    add("--checkpoint", type=Path, required=True, metavar="RUN", help="directory of a run or of a checkpoint")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    add(
        "--mode",
        choices=("stream", "clips"),
        default="stream",
        help="stream (default): every frame is scored with all frames around it that the model can see; "
        "clips: in windows of consecutive frames as in evaluation, 16 in the reference",
    )
    add(
        "--batch",
        type=int,
        metavar="N",
        help="frames computed at a time, default 16 (clips: windows, 8); 1 for cameras and --realtime",
    )
    add("--fps", type=float, metavar="N", help="frames a second of pictures, for their timestamps")
    add(
        "--detections",
        type=Path,
        metavar="DIR",
        help="faces found by another program, DIR/<video>.csv (see docs/faces.md); default: MTCNN looks for "
        "them",
    )
    add("--format", choices=tuple(TABLES), default="csv", help="of the tables, default %(default)s")
    add(
        "--realtime",
        action="store_true",
        help="read at the recording's own speed and leave out frames that come too fast, as of cameras",
    )
    add("--seconds", type=float, metavar="N", help="take the first N seconds of every input")
    add(
        "--overlay",
        action="store_true",
        help="also write the recording with everybody's box, number, scores and timeline",
    )
    add(
        "--report",
        action="store_true",
        help="also write a page with key frames, timelines and what the model looked at; it needs no network",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Works through the inputs.

    Raises:
        ValueError, OSError, ImportError: nothing can be done, with what is wrong.
    """
    # JAX takes seconds to start; wrong options are told at once.
    from mdhr_jax.predict import output
    from mdhr_jax.predict.parquet import require_pyarrow
    from mdhr_jax.predict.predictor import Predictor
    from mdhr_jax.predict.sources import inputs
    from mdhr_jax.predict.sources.camera import Camera

    if arguments.fps is not None and not arguments.fps > 0:
        raise ValueError(f"--fps is frames a second, more than 0, found {arguments.fps}")
    if arguments.detections is not None and not arguments.detections.is_dir():
        raise FileNotFoundError(f"--detections {arguments.detections} is not a folder")
    if arguments.seconds is not None and not arguments.seconds > 0:
        raise ValueError(f"--seconds is a length of time, more than 0, found {arguments.seconds}")
    kinds = TABLES[arguments.format]
    if output.PARQUET in kinds:
        require_pyarrow()
    if arguments.detections is not None and arguments.realtime:
        raise ValueError("--detections says where faces are by frame, and --realtime leaves out frames")
    if (arguments.overlay or arguments.report) and (arguments.realtime or output.CSV not in kinds):
        raise ValueError(
            "--overlay and --report are made from the CSV file and every frame; use --format both or csv, "
            "and leave out --realtime"
        )
    found = inputs.find(arguments.inputs)
    if arguments.batch is None and (
        arguments.realtime or any(isinstance(one.recording, Camera) for one in found)
    ):
        # Others would wait for frames that have not been taken yet.
        arguments.batch = 1
    predictor = Predictor(arguments.checkpoint, mode=arguments.mode, batch=arguments.batch)
    arguments.out.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    failed = 0
    for one in found:
        problem = one.problem
        if one.recording is not None:
            try:
                _predict(one, predictor, arguments, taken)
            except ValueError as error:
                problem = str(error)
            except FileNotFoundError as error:
                problem = str(error)
        if problem is not None:
            failed += 1
            named = problem if one.given in problem else f"{one.given}: {problem}"
            announce(f"error: {named}")
    if failed:
        announce(f"{failed} of {counted(len(found), 'input')} could not be done to the end")
    return commands.FAILED if failed else commands.DONE


def _predict(one: "Input", predictor: "Predictor", arguments: argparse.Namespace, taken: set[str]) -> None:
    """Writes the files of one input.

    Raises:
        ValueError: it cannot be read, or not to its end; the files are there in the latter case.
        FileNotFoundError: it is gone, or its faces are not there.
        OSError: the results cannot be written.
    """
    from mdhr_jax.faces import options
    from mdhr_jax.faces.precomputed import PrecomputedDetector
    from mdhr_jax.predict import output
    from mdhr_jax.predict.predictor import searching
    from mdhr_jax.predict.sources import live
    from mdhr_jax.predict.sources import source as sources
    from mdhr_jax.predict.sources.camera import Camera
    from mdhr_jax.predict.views import Views

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
    stem = Path(recording.name).stem if recording.is_video or len(recording.paths) == 1 else recording.name
    recipe = searching(predictor.trained.recipe)
    detector = options.detector(recipe, arguments.detections, stem)
    found_by = {"name": detector.name, "version": detector.version}
    source = sources.Source(
        recording, realtime=arguments.realtime, seconds=arguments.seconds, fps=arguments.fps
    )
    work = _work(predictor, arguments, found_by) | source.work()
    views = Views(recording, arguments.out, overlay=arguments.overlay, report=arguments.report)
    with output.claimed(arguments.out, stem, work, taken, views.free, TABLES[arguments.format]) as place:
        written = ", ".join(map(str, place.tables))
        if place.complete:
            made = views.make(place, predictor, arguments.fps, detector)
            print(f"{one.given}: done before, {written}{made}", flush=True)
            _check_end(output.facts_of(place.json).get(sources.EARLY))
            return
        length = recording.length()
        aus = predictor.trained.au_set.aus
        if source.is_live:
            live.warm_up(predictor, detector)
        flush_every = 1 if source.is_live else output.FLUSH_EVERY
        with output.TableFile(place, aus, work, flush_every) as file:
            with Progress(length, unit="frames", label=recording.name) as progress:
                last = 0
                frames = source.frames()
                for row in predictor.rows_of(
                    frames, detector=detector, fps=arguments.fps, **views.watching(place)
                ):
                    file.write(row)
                    if not last:
                        # Before the first row networks are read and compiled.
                        progress.restart(row.frame)
                    progress.update(row.frame - last)
                    last = row.frame
            counts = file.counts()
            if not counts["frames"]:
                raise ValueError("has no frames")
            if isinstance(detector, PrecomputedDetector) and source.whole:
                detector.check_end()
                for note in detector.notes:
                    announce(note)
            file.finish(_facts(predictor) | source.facts() | views.listed(place))
        made = views.make(place, predictor, arguments.fps, detector)
        text = f"{counts['frames_with_face']} with a face" if counts["people"] else "no face in any of them"
        people = f", {counts['people']} people" if counts["people"] > 1 else ""
        left_out = f", {counted(source.dropped, 'frame')} left out" if source.is_live else ""
        print(
            f"{one.given}: {counted(counts['frames'], 'frame')}, {text}{people}{left_out}, {written}{made}",
            flush=True,
        )
    _check_end(source.ended_early)


def _check_end(ended_early: str | None) -> None:
    """Says of a table that it is not of the whole recording.

    Raises:
        ValueError: it is not.
    """
    if ended_early is not None:
        raise ValueError(f"{ended_early}. The table has the frames before")


def _work(predictor: "Predictor", arguments: argparse.Namespace, detector: dict[str, str]) -> dict[str, Any]:
    """What decides the content of a table besides the input."""
    from mdhr_jax import __version__

    trained = predictor.trained
    return {
        "checkpoint": trained.digest,
        "thresholds": dict(trained.thresholds),
        "mode": predictor.mode,
        "fps": arguments.fps,
        "detector": detector,
        "mdhr_jax": __version__,
    }


def _facts(predictor: "Predictor") -> dict[str, Any]:
    """What the numbers of a table mean."""
    from mdhr_jax.predict.meaning import meaning
    from mdhr_jax.predict.table import columns

    facts = meaning(predictor.trained)
    ahead = facts["look_ahead"] | {"model": predictor.look_ahead}
    own = {
        "columns": list(columns(predictor.trained.au_set.aus)),
        "mode": predictor.mode,
        "look_ahead": ahead,
    }
    return facts | own


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code, see the module's description."""
    arguments = _parser().parse_args(argv)
    return commands.finish(
        lambda: run(arguments),
        interrupted="tables that were reported are complete, and the same command goes on behind them",
    )


if __name__ == "__main__":
    sys.exit(main())
