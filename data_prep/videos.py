"""Anybody's videos as TFRecord: ``python -m data_prep.videos --raw VIDEOS --name NAME --out DATA_DIR``.

What VIDEOS, labels and subjects must look like is said in `data_prep.own_videos`. The set is trained on with
``--config.dataset=NAME --config.data.dir=DATA_DIR``.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep import start


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; see `data_prep.command`."""
    with start.quiet("data_prep.videos"):
        from data_prep import archives, command, own_videos
        from mdhr_jax import facs
    made = command.parser("videos", "videos", published=False)
    _add_arguments(made)
    # Read before the command runs, because the data set's entry depends on what lies in the folder.
    chosen = made.parse_args(arguments)
    try:
        persons = own_videos.read_persons(chosen.raw, chosen.subjects)
        au_set = own_videos.make_set(chosen.name, facs.get(chosen.like), persons)
    except (OSError, ValueError) as error:
        print(f"{made.prog}: {error}", file=sys.stderr)
        return command.NOTHING_WRITTEN
    return command.main(
        au_set,
        made,
        lambda args: own_videos.scan(
            args.raw,
            args.labels,
            au_set,
            persons,
            args.shard,
            unlabelled_ok=args.unlabelled_ok,
            decoded_length=functools.partial(archives.decoded_length, command.archives_folder(au_set, args)),
        ),
        arguments,
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="of the data set: small letters, digits, underscores")
    parser.add_argument(
        "--like",
        default="bp4d",
        choices=("bp4d", "disfa"),
        help="whose AUs and facial regions (default bp4d)",
    )
    parser.add_argument("--labels", type=Path, help="folder with <video>.csv (frame,AU1,...)")
    parser.add_argument(
        "--unlabelled-ok",
        action="store_true",
        help="with --labels: a video without its file, and an AU without a column, have unknown labels; "
        "by default such a video is left out",
    )
    parser.add_argument("--subjects", type=Path, help="CSV file: video,subject[,part]")


if __name__ == "__main__":
    sys.exit(main())
