"""The command that prints what a data set holds as JSON: ``python -m data_prep.inspect PATH``.

PATH is a data directory with TFRecord clips, or a folder of the reference's lists (see
`data_prep.reference_lists`), for which no image is needed. The exit code is 1 where lists contradict
themselves or each other, and all that was found is listed.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data_prep import inspect_lists, inspect_records, manifest, statistics
from data_prep.reference_lists import SIDES, has_lists, read_lists
from mdhr_jax import commands, facs
from mdhr_jax.progress import Progress, announce


def write_json(report: dict[str, Any], file: Path) -> None:
    """Writes a report; the file is there complete or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(_as_text(report) + "\n", encoding="utf-8")
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def run(arguments: argparse.Namespace) -> bool:
    """Prints or writes the report, and the pictures asked for.

    Returns:
        Whether nothing is wrong.

    Raises:
        FileNotFoundError: there is no data set, or a picture cannot be made of what there is.
        ValueError: an argument is out of range.
        OSError: the report cannot be written.
    """
    if arguments.clip_length < 1:
        raise ValueError(f"the clip length must be at least 1, found {arguments.clip_length}")
    for file in (arguments.out, arguments.sheet, arguments.quality):
        if file is not None and not file.absolute().parent.is_dir():
            raise FileNotFoundError(f"{file} cannot be written: its folder does not exist")
    if arguments.path.is_dir() and has_lists(arguments.path):
        return _run_on_lists(arguments)
    _run_on_records(arguments)
    return True


def _run_on_lists(arguments: argparse.Namespace) -> bool:
    if arguments.sheet is not None or arguments.quality is not None:
        raise ValueError(
            f"{arguments.path} holds lists without pictures; --sheet and --quality need a data set"
        )
    total = len(facs.FOLDS) * len(SIDES)
    with Progress(total, unit="lists", label=f"reading {arguments.path}") as bar:
        lists = read_lists(arguments.path, lambda name: bar.update(note=name))
    for note in lists.notes:
        announce(f"note: {note}")
    if lists.problems:
        # Numbers from lists that do not fit together would mean nothing.
        mismatches = (lists.region_mismatches or ())[: inspect_lists.SHOWN_MISMATCHES]
        wrong = [*lists.problems, *mismatches]
        announce(f"{len(lists.problems)} problem(s) in {lists.root}; nothing was counted:")
    else:
        _give(inspect_lists.of_lists(lists, arguments.clip_length), arguments.out)
        wrong = inspect_lists.contradictions(lists)
    for problem in wrong:
        announce(f"  {problem}")
    return not wrong


def _run_on_records(arguments: argparse.Namespace) -> None:
    au_set, folder = inspect_records.find(arguments.path, arguments.dataset)
    manifest.check(folder)
    opened = inspect_records.open_all(au_set, folder)
    _give(inspect_records.of_records(opened, arguments.clip_length), arguments.out)
    if arguments.sheet is not None:
        _save(inspect_records.contact_sheet(opened), arguments.sheet)
    if arguments.quality is not None:
        # Matplotlib is needed for nothing else here.
        from data_prep import quality

        _save(quality.figure(quality.read(folder)), arguments.quality)


def _give(report: dict[str, Any], out: Path | None) -> None:
    if out is None:
        print(_as_text(report))
    else:
        write_json(report, out)


def _save(picture: UInt8[np.ndarray, "H W 3"], file: Path) -> None:
    temporary = file.with_name(f".{file.stem}.{os.getpid()}{file.suffix}")
    try:
        Image.fromarray(picture).save(temporary)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _as_text(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.inspect", description="Prints what a data set holds as JSON."
    )
    parser.add_argument("path", type=Path, help="data directory, or folder of the reference's lists")
    parser.add_argument("--dataset", help="name of the data set, where the directory holds several")
    parser.add_argument(
        "--clip-length",
        type=int,
        default=statistics.CLIP_LENGTH,
        help="frames of an evaluation window (default %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="file that receives the JSON instead of standard output")
    parser.add_argument("--sheet", type=Path, help="picture that receives faces from all over the data set")
    parser.add_argument(
        "--quality", type=Path, help="picture that receives how well the faces are aligned (extra: figures)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, 1 where something is wrong with the data, 2 after a user's mistake.

    Args:
        argv: the command line; that of the process by default.
    """
    arguments = _parser().parse_args(argv)
    return commands.finish(lambda: commands.DONE if run(arguments) else commands.FAILED)
