"""Reads the raw BP4D distribution.

    RAW/2D+3D/F001/T1/<number>.jpg       frames; the width of the numbers differs from video to video
    RAW/AUCoding/AU_OCC/F001_T1.csv      first row: AU numbers; first column: frame numbers; 0, 1, 9 = unknown

Frames and labels are matched by number, and only labelled frames are used. RAW may also be the folder around
these or one of them, ``AU_OCC`` may lie directly in it, and upper and lower case do not matter.
"""

import csv
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int8, Int32

from data_prep import raw_folders
from data_prep.raw import ImageFiles, RawVideo, Scan, VideoProblem, missing_subjects
from mdhr_jax import facs
from mdhr_jax.facs import BP4D
from mdhr_jax.progress import Progress

_INNER_FOLDERS = ("2d+3d", "aucoding", "au_occ")
_SUBJECT = re.compile(r"[FM]\d{3}", re.IGNORECASE)
_TASK = re.compile(r"T\d+", re.IGNORECASE)
_LABEL_FILE = re.compile(r"([FM]\d{3})_(T\d+)\.csv", re.IGNORECASE)
_FRAME_FILE = re.compile(r"(\d+)\.jpe?g", re.IGNORECASE)
_AU_NUMBER = re.compile(r"(?:AU)?0*(\d+)", re.IGNORECASE)
_VALUES = {"0": 0, "1": 1, "9": facs.UNKNOWN}

_MOST_OF_A_KIND = 5


def scan(raw: str | Path) -> Scan:
    """Reads all labels and the names of all frames; no picture is opened.

    Args:
        raw: the distribution, see above.

    Returns:
        The videos by subject and task. Frames count 25 a second.

    Raises:
        FileNotFoundError: there is no such folder, or frames or labels are not in it.
        ValueError: it is empty, or has frames or labels in two places.
    """
    root = raw_folders.entry(raw, _INNER_FOLDERS)
    pictures = raw_folders.find(root, _holds_subjects, "frames in folders such as 2D+3D/F001/T1")
    codes = raw_folders.find(root, _holds_labels, "labels such as AUCoding/AU_OCC/F001_T1.csv")
    problems: list[VideoProblem] = []
    unreadable: dict[Path, str] = {}
    folders = _by_name(_frame_folders(pictures, unreadable), "folder of frames", problems)
    label_files = _by_name(_label_files(codes), "label file", problems)
    videos = []
    names = sorted(folders.keys() | label_files.keys(), key=_order)
    with Progress(len(names), unit="videos", label=f"reading the labels of {BP4D.title}") as bar:
        for name in names:
            default = (pictures.joinpath(*name.split("_")), codes / f"{name}.csv")
            if folders.get(name) is None and default[0].parent in unreadable:
                parent = default[0].parent
                video = [VideoProblem(name, parent, unreadable[parent])]
            else:
                video = _read(name, folders.get(name), label_files.get(name), default)
            if isinstance(video, RawVideo):
                videos.append(video)
            else:
                problems += video
            bar.update()
    told = {problem.file for problem in problems}
    problems += [VideoProblem("", folder, text) for folder, text in unreadable.items() if folder not in told]
    # A video that is there twice is not used, whichever of the two could be.
    doubtful = {problem.video for problem in problems}
    videos = [video for video in videos if video.name not in doubtful]
    notes = missing_subjects(BP4D, [name.split("_")[0] for name in names])
    return Scan(BP4D, tuple(videos), tuple(problems), notes)


def _read(
    name: str, folder: Path | None, label_file: Path | None, expected: tuple[Path, Path]
) -> RawVideo | list[VideoProblem]:
    subject = name.split("_")[0]
    try:
        BP4D.part_of(subject)
    except ValueError as error:
        return [VideoProblem(name, folder or label_file or expected[0], str(error))]
    if folder is None:
        text = raw_folders.missing_folder(expected[0], "the folder of its frames")
        return [VideoProblem(name, expected[0], text)]
    if label_file is None:
        text = (
            raw_folders.missing_file(expected[1], "the label file")
            + f"; the frames in {folder} cannot be used without it"
        )
        return [VideoProblem(name, expected[1], text)]
    problems: list[VideoProblem] = []
    frames = _frame_files(name, folder, problems)
    table = _read_table(name, label_file, problems)
    if table is None:
        return problems
    lines, numbers, labels = table
    _check_frames(name, label_file, folder, frames, dict(zip(numbers.tolist(), lines, strict=True)), problems)
    if problems:
        return problems
    order = np.argsort(numbers, kind="stable")
    numbers, labels = numbers[order], labels[order]
    notes = _notes(numbers, labels, in_order=bool((order == np.arange(len(order))).all()))
    source = ImageFiles(tuple(frames[number] for number in numbers.tolist()))
    sources = (label_file, *source.files)
    unlabelled = np.array(sorted(frames.keys() - set(numbers.tolist())), np.int32)
    return RawVideo(name, subject, numbers, labels, BP4D.fps, sources, source, notes, unlabelled)


def _notes(
    numbers: Int32[np.ndarray, "F"], labels: Int8[np.ndarray, "F N"], *, in_order: bool
) -> tuple[str, ...]:
    unknown = labels == facs.UNKNOWN
    notes = []
    if unknown.any():
        aus = ", ".join(
            f"{name} {count}" for name, count in zip(BP4D.au_names, unknown.sum(0), strict=True) if count
        )
        notes.append(f"labels of 9 (unknown) in {unknown.any(1).sum()} of {len(labels)} frames: {aus}")
    if unknown.all(1).any():
        notes.append(f"{unknown.all(1).sum()} of {len(labels)} frames have no known label of these AUs")
    if not in_order:
        notes.append("the label file does not list its frames in order; they were sorted by number")
    jumps = int((np.diff(numbers) != 1).sum())
    if jumps:
        notes.append(f"the labelled frames have {jumps} gap(s)")
    return tuple(notes)


def _holds_subjects(folder: Path) -> bool:
    return any(
        _SUBJECT.fullmatch(subject.name)
        and any(_TASK.fullmatch(task.name) for task in raw_folders.subfolders(subject))
        for subject in raw_folders.subfolders(folder)
    )


def _holds_labels(folder: Path) -> bool:
    return any(_LABEL_FILE.fullmatch(file.name) for file in raw_folders.files(folder))


def _frame_folders(pictures: Path, unreadable: dict[Path, str]) -> Iterable[tuple[str, Path]]:
    for subject in raw_folders.subfolders(pictures):
        for task in raw_folders.subfolders(subject, unreadable) if _SUBJECT.fullmatch(subject.name) else ():
            if _TASK.fullmatch(task.name):
                yield f"{subject.name}_{task.name}".upper(), task


def _label_files(codes: Path) -> Iterable[tuple[str, Path]]:
    for file in raw_folders.files(codes):
        if match := _LABEL_FILE.fullmatch(file.name):
            yield f"{match[1]}_{match[2]}".upper(), file


def _by_name(found: Iterable[tuple[str, Path]], what: str, problems: list[VideoProblem]) -> dict[str, Path]:
    """Names that differ only in case are the same."""
    paths: dict[str, Path] = {}
    for name, path in found:
        other = paths.setdefault(name, path)
        if other != path:
            problems.append(VideoProblem(name, path, f"there is another {what} of this video: {other}"))
    return paths


def _order(name: str) -> tuple[str, int]:
    subject, task = name.split("_")
    return subject, int(task[1:])


def _frame_files(name: str, folder: Path, problems: list[VideoProblem]) -> dict[int, Path]:
    files: dict[int, Path] = {}
    unreadable: dict[Path, str] = {}
    for path in raw_folders.files(folder, unreadable):
        match = _FRAME_FILE.fullmatch(path.name)
        if match is None:
            continue
        other = files.setdefault(int(match[1]), path)
        if other != path:
            text = f"has the same frame number as {other.name}; delete one of them"
            problems.append(VideoProblem(name, path, text, frame=int(match[1])))
    problems += [VideoProblem(name, path, text) for path, text in unreadable.items()]
    if not files and not unreadable:
        problems.append(VideoProblem(name, folder, "there are no frames such as 0000.jpg"))
    return files


def _read_table(
    name: str, file: Path, problems: list[VideoProblem]
) -> tuple[list[int], Int32[np.ndarray, "F"], Int8[np.ndarray, "F N"]] | None:
    """Line, frame number and labels of each row; None, and problems, where it cannot be read."""
    before = len(problems)
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = [[cell.strip() for cell in row] for row in csv.reader(stream)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(VideoProblem(name, file, f"cannot be read as CSV: {error}"))
        return None
    if not rows or not any(rows[0]):
        problems.append(VideoProblem(name, file, "the first row must hold AU numbers, found nothing", line=1))
        return None
    columns = _au_columns(name, file, rows[0], problems)
    lines: list[int] = []
    numbers: list[int] = []
    labels: list[list[int]] = []
    line_of: dict[int, int] = {}
    wrong: list[VideoProblem] = []
    # The header's own problems are told without those that follow from them.
    for line, row in enumerate(rows[1:] if columns else [], start=2):
        if not any(row):
            continue
        error = _row_error(row, rows[0], columns, line_of)
        if error:
            wrong.append(VideoProblem(name, file, error, line=line))
            continue
        line_of[int(row[0])] = line
        lines.append(line)
        numbers.append(int(row[0]))
        labels.append([_VALUES[row[column]] for column in columns])
    problems += wrong[:_MOST_OF_A_KIND]
    if len(wrong) > _MOST_OF_A_KIND:
        more = f"and {len(wrong) - _MOST_OF_A_KIND} more lines that cannot be read"
        problems.append(VideoProblem(name, file, more))
    if columns and not numbers and not wrong:
        problems.append(VideoProblem(name, file, "there is no row of labels"))
    if len(problems) > before:
        return None
    return lines, np.asarray(numbers, np.int32), np.asarray(labels, np.int8)


def _au_columns(name: str, file: Path, header: Sequence[str], problems: list[VideoProblem]) -> list[int]:
    """Column of each AU of ours; none, and a problem, where one is missing or there twice."""
    aus = [int(match[1]) if (match := _AU_NUMBER.fullmatch(cell)) else None for cell in header[1:]]
    wrong = [au for au in BP4D.aus if aus.count(au) != 1]
    if not wrong:
        return [1 + aus.index(au) for au in BP4D.aus]
    text = (
        f"the first row must have a column for each of the AUs {' '.join(map(str, BP4D.aus))}; "
        f"missing or there more than once: {' '.join(map(str, wrong))}"
    )
    problems.append(VideoProblem(name, file, text, line=1))
    return []


def _row_error(
    row: Sequence[str], header: Sequence[str], columns: Sequence[int], line_of: dict[int, int]
) -> str | None:
    if len(row) != len(header) and len(_filled(row)) != len(_filled(header)):
        return f"there are {len(row)} columns, but {len(header)} in the first row"
    if not (row[0].isascii() and row[0].isdecimal()):
        return f"the frame number {row[0]!r} is not a whole number"
    # Frame numbers are stored in 32 bits.
    if len(row[0]) > 9:
        return f"the frame number {row[0]} is too large"
    if int(row[0]) in line_of:
        return f"frame {int(row[0])} has labels in line {line_of[int(row[0])]} already"
    for au, column in zip(BP4D.aus, columns, strict=True):
        if row[column] not in _VALUES:
            return f"AU{au} is {row[column]!r}, expected 0, 1, or 9 for unknown"
    return None


def _filled(cells: Sequence[str]) -> list[str]:
    """Without empty cells at the end."""
    return list(reversed(list(itertools.dropwhile(lambda cell: not cell, reversed(cells)))))


def _check_frames(
    name: str,
    label_file: Path,
    folder: Path,
    frames: dict[int, Path],
    line_of: dict[int, int],
    problems: list[VideoProblem],
) -> None:
    """Reports labels without a frame, a problem for each run of consecutive numbers."""
    if not frames:
        return
    last = max(frames)
    runs: list[list[int]] = []
    for number in sorted(line_of.keys() - frames.keys()):
        # A run does not go across the end of the recording, which is another mistake.
        if runs and number == runs[-1][-1] + 1 and number != last + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    for run in runs[:_MOST_OF_A_KIND]:
        which = f"frame {run[0]} has" if len(run) == 1 else f"frames {run[0]} to {run[-1]} have"
        end = f"; the last frame in {folder} is {frames[last].name}" if run[0] > last else f" in {folder}"
        text = f"{which} labels but no picture{end}"
        problems.append(VideoProblem(name, label_file, text, line=line_of[run[0]]))
    if len(runs) > _MOST_OF_A_KIND:
        missing = sum(map(len, runs[_MOST_OF_A_KIND:]))
        problems.append(VideoProblem(name, label_file, f"and {missing} more labelled frames have no picture"))
