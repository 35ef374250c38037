"""Action units of your own recordings: ``python -m mdhr_jax.predict VIDEO... --checkpoint RUN --out DIR``.

Writes ``DIR/<name>.csv`` for each input, columns as in OpenFace (`mdhr_jax.predict.table`), and beside it
``DIR/<name>.json`` with what the numbers mean; with ``--overlay`` the recording with boxes, scores and
timelines as ``DIR/<name>.mp4`` (a picture: ``.png``), with ``--report`` a page to look into it as
``DIR/<name>.html``. What is complete already is not done again.

Several inputs are worked on at a time (``--together``), so that pictures and short videos fill the batches of
the model together.

A camera is read until Ctrl-C, or for ``--seconds``; its table is complete then. Of a damaged recording the
table has the frames before the damage, and its JSON file says so.

The exit code is 0; 1 where an input could not be done to its end, which is said while the others are; 2 after
a mistake; 130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax import commands, freed_memory
from mdhr_jax.progress import announce, counted

FORMATS = ("csv", "parquet", "both")


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
    add(
        "--together",
        type=int,
        metavar="N",
        help="inputs that are worked on at a time, and fill batches together; default 4 as long as they are "
        "short, such as pictures, and 1 with --batch 1, for cameras and --realtime",
    )
    add("--fps", type=float, metavar="N", help="frames a second of pictures, for their timestamps")
    add(
        "--detections",
        type=Path,
        metavar="DIR",
        help="faces found by another program, DIR/<video>.csv (see docs/faces.md); default: MTCNN looks for "
        "them",
    )
    add("--format", choices=FORMATS, default="csv", help="of the tables, default %(default)s")
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
    _check(arguments)
    freed_memory.keep(overlap=True)
    # JAX takes seconds to start; wrong options are told at once.
    from mdhr_jax.predict.bar import Bar
    from mdhr_jax.predict.job import Job
    from mdhr_jax.predict.parquet import require_pyarrow
    from mdhr_jax.predict.predictor import Predictor
    from mdhr_jax.predict.sources import inputs
    from mdhr_jax.predict.sources.camera import Camera
    from mdhr_jax.predict.together import Together

    if arguments.format != "csv":
        require_pyarrow()
    found = inputs.find(arguments.inputs)
    live = arguments.realtime or any(isinstance(one.recording, Camera) for one in found)
    if live and arguments.together not in (None, 1):
        raise ValueError(
            "cameras and --realtime lose the frames that come while others are computed; leave out --together"
        )
    if live and arguments.batch is None:
        # Others would wait for frames that have not been taken yet.
        arguments.batch = 1
    most = 1 if live or (arguments.together is None and arguments.batch == 1) else arguments.together
    predictor = Predictor(arguments.checkpoint, mode=arguments.mode, batch=arguments.batch)
    arguments.out.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    with Bar(len(found)) as bar:
        jobs = (Job(one, predictor, arguments, taken, bar) for one in found)
        patience = 4 * predictor.frames_a_batch
        failed = Together(jobs, arguments.out, bar, most, patience).run()
    if failed:
        announce(f"{failed} of {counted(len(found), 'input')} could not be done to the end")
    return commands.FAILED if failed else commands.DONE


def _check(arguments: argparse.Namespace) -> None:
    """Whether the options make sense.

    Raises:
        ValueError, FileNotFoundError: they do not.
    """
    if "" in arguments.inputs:
        raise ValueError(
            "an INPUT is empty, expected a file, a folder, a pattern or a camera; is a variable unset?"
        )
    if arguments.out.exists() and not arguments.out.is_dir():
        raise ValueError(f"--out {arguments.out} is a file, expected a folder")
    if arguments.together is not None and arguments.together < 1:
        raise ValueError(f"--together is a number of inputs, at least 1, found {arguments.together}")
    if arguments.fps is not None and not arguments.fps > 0:
        raise ValueError(f"--fps is frames a second, more than 0, found {arguments.fps}")
    if arguments.detections is not None and not arguments.detections.is_dir():
        raise FileNotFoundError(f"--detections {arguments.detections} is not a folder")
    if arguments.seconds is not None and not arguments.seconds > 0:
        raise ValueError(f"--seconds is a length of time, more than 0, found {arguments.seconds}")
    if arguments.detections is not None and arguments.realtime:
        raise ValueError("--detections says where faces are by frame, and --realtime leaves out frames")
    if (arguments.overlay or arguments.report) and (arguments.realtime or arguments.format == "parquet"):
        raise ValueError(
            "--overlay and --report are made from the CSV file and every frame; use --format both or csv, "
            "and leave out --realtime"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code, see the module's description."""
    arguments = _parser().parse_args(argv)
    return commands.finish(
        lambda: run(arguments),
        interrupted="tables that were reported are complete, and the same command goes on behind them",
    )


if __name__ == "__main__":
    sys.exit(main())
