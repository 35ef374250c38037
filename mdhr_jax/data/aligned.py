"""The *aligned tree*: faces cut out in the canonical crop, with their labels, before they become records.

    ALIGNED/recipe.json                     how the faces were cut out (any JSON object)
    ALIGNED/<video>/frames/<number>.jpg     256 x 256 RGB JPEG, matched with the labels by number
    ALIGNED/<video>/labels.csv              header ``frame,AU1,AU2,...``; 0, 1, and 9 or -1 for unknown

A video is named ``F001_T1`` (BP4D) or ``SN001`` (DISFA): what comes before the underscore is the subject.
Columns may come in any order and there may be more than the data set's AUs. Frames without a label are
not list entries and are left out; a label without a frame is an error.
"""

import csv
import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Int8, Int32, UInt8
from PIL import Image

from mdhr_jax import facs
from mdhr_jax.data import layout

RECIPE_FILE = "recipe.json"
LABELS_FILE = "labels.csv"
FRAMES_FOLDER = "frames"
JPEG_QUALITY = 95

_MOST_PROBLEMS = 20
_LABEL_VALUES = {"0": 0, "1": 1, "9": facs.UNKNOWN, "-1": facs.UNKNOWN}


@dataclasses.dataclass(frozen=True)
class AlignedVideo:
    """One video of an aligned tree, its frames still on disk.

    Attributes:
        name: such as ``F001_T1``.
        subject: such as ``F001``.
        part: part of the cross-validation.
        frame_numbers: ascending.
        labels: -1 where unknown.
        frames: one file for each entry.
    """

    name: str
    subject: str
    part: str
    frame_numbers: Int32[np.ndarray, "F"]
    labels: Int8[np.ndarray, "F N"]
    frames: tuple[Path, ...]


@dataclasses.dataclass(frozen=True)
class AlignedTree:
    """What an aligned tree holds.

    Attributes:
        root: its folder.
        crop_recipe: the content of ``recipe.json``.
        videos: part after part, in the order of the AU table's subjects.
        digest: hash of recipe, labels, and the frames' names and sizes.
    """

    root: Path
    crop_recipe: dict[str, Any]
    videos: tuple[AlignedVideo, ...]
    digest: str


class _Problems:
    """Collects what is wrong, so that it is reported at once and by file name."""

    def __init__(self, root: Path):
        self.root = root
        self.lines: list[str] = []

    def add(self, path: Path, text: str) -> None:
        self.lines.append(f"{path}: {text}")

    def raise_if_any(self) -> None:
        if not self.lines:
            return
        more = len(self.lines) - _MOST_PROBLEMS
        lines = self.lines[:_MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise ValueError(f"{len(self.lines)} problem(s) in {self.root}:\n  " + "\n  ".join(lines))


def read_tree(au_set: facs.AUSet, root: str | Path) -> AlignedTree:
    """Reads labels and file names of an aligned tree; the frames themselves are not opened.

    Raises:
        FileNotFoundError: the folder or its ``recipe.json`` is not there.
        ValueError: something in it is wrong; all problems found are listed by file name.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"the aligned tree {root} is not a folder")
    problems = _Problems(root)
    recipe = _read_recipe(root / RECIPE_FILE)
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    videos = [video for folder in folders if (video := _read_video(au_set, folder, problems))]
    if not folders:
        problems.add(
            root, "there is no video; expected folders such as <video>/frames and <video>/labels.csv"
        )
    problems.raise_if_any()
    order = {subject: i for i, subject in enumerate(s for part in au_set.parts for s in part)}
    videos.sort(key=lambda v: (order[v.subject], _natural(v.name)))
    return AlignedTree(root, recipe, tuple(videos), _digest(recipe, videos))


def read_jpeg(path: Path) -> bytes:
    """The bytes of a frame, after a check that it can be decoded and has the right size.

    Raises:
        ValueError: it is not a complete 256 x 256 RGB JPEG.
    """
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            size, mode = image.size, image.mode
            image.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is not a readable JPEG ({error}); make this frame again") from error
    edge = layout.IMAGE_EDGE
    if size != (edge, edge) or mode != "RGB":
        raise ValueError(
            f"{path} is {size[0]}x{size[1]} {mode}, expected {edge}x{edge} RGB; align this video again"
        )
    return data


def encode_jpeg(frame: UInt8[np.ndarray, "256 256 3"], quality: int = JPEG_QUALITY) -> bytes:
    """A frame as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_recipe(root: Path, crop_recipe: dict[str, Any]) -> None:
    """Writes ``recipe.json`` of an aligned tree."""
    root.mkdir(parents=True, exist_ok=True)
    (root / RECIPE_FILE).write_text(json.dumps(crop_recipe, indent=1, sort_keys=True) + "\n")


def write_video(
    root: Path,
    name: str,
    frames: Sequence[UInt8[np.ndarray, "256 256 3"]],
    labels: Int[np.ndarray, "F N"],
    aus: Sequence[int],
    frame_numbers: Sequence[int] | None = None,
) -> None:
    """Writes one video of an aligned tree.

    Args:
        root: the tree.
        name: of the video.
        frames: one image a list entry.
        labels: one row a list entry, -1 where unknown.
        aus: FACS number of each column.
        frame_numbers: by default from 1.
    """
    numbers = list(frame_numbers) if frame_numbers is not None else list(range(1, len(frames) + 1))
    folder = root / name / FRAMES_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in zip(numbers, frames, strict=True):
        (folder / f"{number}.jpg").write_bytes(encode_jpeg(frame))
    with (root / name / LABELS_FILE).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["frame", *facs.names(aus)])
        for number, row in zip(numbers, labels, strict=True):
            writer.writerow([number, *map(int, row)])


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        recipe = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing: the aligned tree must say how its faces were cut out"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(recipe, dict):
        raise ValueError(f"{path} holds {type(recipe).__name__}, expected a JSON object")
    return recipe


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key in which T2 comes before T10."""
    return [(0, int(piece)) if piece.isdigit() else (1, piece) for piece in re.split(r"(\d+)", name)]


def _read_video(au_set: facs.AUSet, folder: Path, problems: _Problems) -> AlignedVideo | None:
    subject = folder.name.split("_")[0]
    try:
        part = au_set.part_of(subject)
    except ValueError as error:
        problems.add(folder, str(error))
        return None
    before = len(problems.lines)
    files = _frame_files(folder / FRAMES_FOLDER, problems)
    numbers, labels = _read_labels(au_set, folder / LABELS_FILE, problems)
    for number in numbers:
        if files and number not in files:
            problems.add(
                folder / LABELS_FILE,
                f"frame {number} has a label, but there is no {FRAMES_FOLDER}/{number}.jpg",
            )
    if len(problems.lines) > before:
        return None
    order = np.argsort(numbers)
    return AlignedVideo(
        name=folder.name,
        subject=subject,
        part=part,
        frame_numbers=np.asarray(numbers, np.int32)[order],
        labels=np.asarray(labels, np.int8)[order],
        frames=tuple(files[number] for number in sorted(numbers)),
    )


def _frame_files(folder: Path, problems: _Problems) -> dict[int, Path]:
    """Files of a video's frames by number; ``7.jpg`` and ``0007.jpg`` are the same frame."""
    if not folder.is_dir():
        problems.add(folder, "the folder is missing")
        return {}
    files: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in (".jpg", ".jpeg") or not path.stem.isdecimal():
            problems.add(path, "expected a file named <frame number>.jpg")
        elif int(path.stem) in files:
            problems.add(path, f"is the same frame as {files[int(path.stem)].name}")
        else:
            files[int(path.stem)] = path
    if not files:
        problems.add(folder, "there are no frames")
    return files


def _read_labels(au_set: facs.AUSet, path: Path, problems: _Problems) -> tuple[list[int], list[list[int]]]:
    numbers: list[int] = []
    labels: list[list[int]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    except FileNotFoundError:
        problems.add(path, "the file is missing")
        return numbers, labels
    except (UnicodeDecodeError, csv.Error) as error:
        problems.add(path, f"cannot be read as CSV: {error}")
        return numbers, labels
    header = rows[0] if rows else []
    wanted = ["frame", *au_set.au_names]
    missing = [name for name in wanted if header.count(name) != 1]
    if missing:
        problems.add(
            path, f"the header must have the column(s) {', '.join(missing)} once, found {','.join(header)}"
        )
        return numbers, labels
    columns = [header.index(name) for name in wanted]
    seen: set[int] = set()
    for line, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        if len(row) != len(header):
            problems.add(path, f"line {line} has {len(row)} columns, the header {len(header)}")
            continue
        number, *values = (row[column] for column in columns)
        if not number.isdecimal() or int(number) in seen:
            problems.add(path, f"line {line}: {number!r} is not a frame number of its own")
            continue
        bad = [value for value in values if value not in _LABEL_VALUES]
        if bad:
            problems.add(path, f"line {line}: label {bad[0]!r}, expected 0, 1, or 9 or -1 for unknown")
            continue
        seen.add(int(number))
        numbers.append(int(number))
        labels.append([_LABEL_VALUES[value] for value in values])
    if len(rows) < 2:
        problems.add(path, "there are no labels")
    return numbers, labels


def _digest(recipe: dict[str, Any], videos: Sequence[AlignedVideo]) -> str:
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    for video in videos:
        digest.update(f"\n{video.name} {video.part} {video.labels.shape}\n".encode())
        digest.update(video.frame_numbers.astype("<i4").tobytes() + video.labels.tobytes())
        digest.update(" ".join(str(path.stat().st_size) for path in video.frames).encode())
    return digest.hexdigest()
