"""Reads single files of the reference's lists; see `data_prep.reference_lists` for what they are."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int

from data_prep.raw import VideoProblem
from mdhr_jax import facs

MOST_OF_A_KIND = 5
"""Lines of a file that are reported for the same mistake; of the others, only how many there are."""

_IMAGES = {
    # Subject, what is added to it for the name of the video, frame number.
    "bp4d": re.compile(r"([A-Z]\d+)/(T\d+)/(\d{1,9})\.(?:jpe?g|png|bmp)", re.ASCII | re.IGNORECASE),
    "disfa": re.compile(r"([A-Z]+\d+)/(?:\1_)?()(\d{1,9})\.(?:jpe?g|png|bmp)", re.ASCII | re.IGNORECASE),
}
_EXAMPLE = {"bp4d": "F007/T1/643.jpg", "disfa": "SN002/SN002_0.png"}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of a list of images.

    Attributes:
        image: path as listed, with forward slashes.
        subject: such as ``F007``.
        video: such as ``F007_T1``; the subject's name in DISFA.
        number: of the frame.
    """

    image: str
    subject: str
    video: str
    number: int


WrongLines = dict[int, VideoProblem]
"""What is wrong with single lines of a file, by their place from 0; their video is not known here."""


def read_images(
    au_set: facs.AUSet, file: Path, problems: list[VideoProblem]
) -> tuple[list[Entry | None], WrongLines] | None:
    """The lines of a list of images, None for each that is wrong.

    Returns:
        None, and a problem, where the file cannot be read.
    """
    lines = _read_lines(file, problems)
    if lines is None:
        return None
    entries: list[Entry | None] = []
    wrong: WrongLines = {}
    for number, line in enumerate(lines, start=1):
        image = line.strip().replace("\\", "/")
        match = _IMAGES[au_set.name].fullmatch(image)
        if match is None:
            text = f"found {line.strip()!r}, expected an image such as {_EXAMPLE[au_set.name]}"
            wrong[number - 1] = VideoProblem("", file, text, line=number)
            entries.append(None)
            continue
        subject, task = match[1].upper(), match[2].upper()
        name = f"{subject}_{task}" if task else subject
        entries.append(Entry(image, subject, name, int(match[3])))
    return entries, wrong


def read_numbers(
    file: Path, columns: int, allowed: Sequence[int], problems: list[VideoProblem]
) -> tuple[Int[np.ndarray, "F columns"], WrongLines] | None:
    """Reads a table of labels.

    Args:
        file: whole numbers by white space, which may be written as 1.0.
        columns: numbers in a line.
        allowed: values that occur.
        problems: receives what is wrong.

    Returns:
        int32, with zeros in lines that are wrong; None, and a problem, where the file cannot be read.
    """
    lines = _read_lines(file, problems)
    if lines is None:
        return None
    wanted = f"expected {columns} of {', '.join(map(str, allowed))}" if len(allowed) < 4 else ""
    wanted = wanted or f"expected {columns} whole numbers from {allowed[0]} to {allowed[-1]}"
    rows = []
    wrong: WrongLines = {}
    # Few different lines make up the whole file.
    known: dict[str, list[int] | None] = {}
    for number, line in enumerate(lines, start=1):
        if line not in known:
            known[line] = _whole_numbers(line, columns, allowed)
        row = known[line]
        if row is None:
            wrong[number - 1] = VideoProblem("", file, f"found {line.strip()!r}, {wanted}", line=number)
        rows.append(row or [0] * columns)
    return np.asarray(rows, np.int32).reshape(-1, columns), wrong


def _whole_numbers(line: str, columns: int, allowed: Sequence[int]) -> list[int] | None:
    try:
        values = [float(cell) for cell in line.split()]
    except ValueError:
        return None
    return [int(v) for v in values] if len(values) == columns and all(v in allowed for v in values) else None


def read_weights(
    au_set: facs.AUSet, file: Path, problems: list[VideoProblem]
) -> Float64[np.ndarray, "N"] | None:
    """The loss weights of the AUs; None, and a problem, where they cannot be read."""
    lines = _read_lines(file, problems)
    if lines is None:
        return None
    cells = " ".join(lines).split()
    try:
        weights = np.asarray([float(cell) for cell in cells])
    except ValueError:
        weights = np.zeros(0)
    if len(weights) == au_set.num_aus and np.isfinite(weights).all() and (weights > 0).all():
        return weights
    text = f"found {' '.join(cells[: au_set.num_aus + 1])!r}, expected {au_set.num_aus} positive numbers"
    problems.append(VideoProblem("", file, text, line=1))
    return None


def _read_lines(file: Path, problems: list[VideoProblem]) -> list[str] | None:
    """Lines without those that are empty at the end; any line ends."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(VideoProblem("", file, f"cannot be read as text: {error}"))
        return None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        problems.append(VideoProblem("", file, "is empty"))
        return None
    return lines


def add_some(wrong: Sequence[VideoProblem], problems: list[VideoProblem], most: int = MOST_OF_A_KIND) -> None:
    """Adds the first problems of a kind, and how many others there are."""
    problems += wrong[:most]
    if len(wrong) > most:
        text = f"and {len(wrong) - most} more such lines"
        problems.append(VideoProblem("", wrong[most].file, text, line=wrong[most].line))
