"""Prints what a data set holds as JSON: ``python -m data_prep.inspect PATH``.

PATH is a folder of the reference's lists (see `data_prep.reference_lists`); no image is needed. The exit code
is 1 where the lists contradict themselves or each other, and all that was found is listed.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep import statistics
from data_prep.raw import VideoProblem
from data_prep.reference_lists import SIDES, ReferenceLists, read_lists
from mdhr_jax import facs
from mdhr_jax.progress import Progress, announce

_SHOWN_MISMATCHES = 10
# Half of the last decimal that the reference prints.
_WEIGHT_TOLERANCE = 0.5 * 10**-statistics.DIGITS


def of_lists(lists: ReferenceLists, clip_length: int = statistics.CLIP_LENGTH) -> dict[str, Any]:
    """The statistics of the reference's lists as JSON.

    Windows are cut as the reference's loader does: jumps of the frame numbers end one in BP4D, not in DISFA.

    Args:
        lists: without problems.
        clip_length: frames of a window.

    Raises:
        ValueError: the clip length is less than 1.
    """
    folds = {number: (fold.train.videos, fold.test.videos) for number, fold in lists.folds.items()}
    splits = lists.au_set == facs.BP4D
    report = statistics.of_folds(lists.au_set, folds, clip_length, split_on_jumps=splits)
    if lists.region_mismatches is not None:
        report["region_label_mismatches"] = len(lists.region_mismatches)
        if lists.region_mismatches:
            shown = lists.region_mismatches[:_SHOWN_MISMATCHES]
            report["first_region_label_mismatches"] = [
                {"file": problem.file.name, "line": problem.line, "text": problem.text} for problem in shown
            ]
    return report


def weight_problems(lists: ReferenceLists) -> tuple[VideoProblem, ...]:
    """Loss weights of the lists that do not follow from their training labels, to the decimals printed."""
    problems = []
    for fold in lists.folds.values():
        if fold.weights is None or fold.weights_file is None:
            continue
        expected = statistics.weights_from_rates(statistics.rates(lists.au_set, fold.train.videos))
        rounded = np.round(expected, statistics.DIGITS)
        for i in np.flatnonzero(np.abs(fold.weights - rounded) > _WEIGHT_TOLERANCE).tolist():
            name = lists.au_set.au_names[i]
            text = f"the weight of {name} is {fold.weights[i]:.6f}, the training labels give {rounded[i]:.6f}"
            problems.append(VideoProblem("", fold.weights_file, text, line=1))
    return tuple(problems)


def write_json(report: dict[str, Any], file: Path) -> None:
    """Writes a report; the file is there complete or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(_as_text(report) + "\n", encoding="utf-8")
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def run(arguments: argparse.Namespace) -> bool:
    """Prints or writes the report.

    Returns:
        Whether nothing is wrong.

    Raises:
        FileNotFoundError: there is no data set.
        ValueError: an argument is out of range.
        OSError: the report cannot be written.
    """
    if arguments.clip_length < 1:
        raise ValueError(f"the clip length must be at least 1, found {arguments.clip_length}")
    if arguments.out is not None and not arguments.out.absolute().parent.is_dir():
        raise FileNotFoundError(f"{arguments.out} cannot be written: its folder does not exist")
    total = len(facs.FOLDS) * len(SIDES)
    with Progress(total, unit="lists", label=f"reading {arguments.path}") as bar:
        lists = read_lists(arguments.path, lambda name: bar.update(note=name))
    for note in lists.notes:
        announce(f"note: {note}")
    if lists.problems:
        # Numbers from lists that do not fit together would mean nothing.
        wrong = [*lists.problems, *(lists.region_mismatches or ())[:_SHOWN_MISMATCHES]]
        announce(f"{len(lists.problems)} problem(s) in {lists.root}; nothing was counted:")
    else:
        report = of_lists(lists, arguments.clip_length)
        if arguments.out is None:
            print(_as_text(report))
        else:
            write_json(report, arguments.out)
        mismatches = lists.region_mismatches or ()
        wrong = [*weight_problems(lists), *mismatches[:_SHOWN_MISMATCHES]]
        if len(mismatches) > _SHOWN_MISMATCHES:
            text = f"{len(mismatches)} region labels do not follow from the AU labels"
            wrong.append(VideoProblem("", lists.root, text))
    for problem in wrong:
        announce(f"  {problem}")
    return not wrong


def _as_text(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.inspect", description="Prints what a data set holds as JSON."
    )
    parser.add_argument("path", type=Path, help="folder of the reference's lists")
    parser.add_argument(
        "--clip-length",
        type=int,
        default=statistics.CLIP_LENGTH,
        help="frames of an evaluation window (default %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="file that receives the JSON instead of standard output")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, 1 where something is wrong with the data, 2 after a user's mistake.

    Args:
        argv: the command line; that of the process by default.
    """
    arguments = _parser().parse_args(argv)
    try:
        return 0 if run(arguments) else 1
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 128 + signal.SIGINT
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
