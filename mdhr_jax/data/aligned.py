"""The *aligned tree*: faces cut out in the canonical crop, with their labels, before they become records.

    ALIGNED/recipe.json                     how the faces were cut out (any JSON object)
    ALIGNED/<video>/frames/<number>.jpg     256 x 256 RGB JPEG, matched with the labels by number
    ALIGNED/<video>/labels.csv              header ``frame,AU1,AU2,...``; 0, 1, and 9 or -1 for unknown

A video may also be one file ``ALIGNED/<video>.zip`` with the same content (`mdhr_jax.data.video_files`), as
the commands of `data_prep` write it; it then also says how each face was found
(`mdhr_jax.data.alignment_record`).

A video is named ``F001_T1`` (BP4D) or ``SN001`` (DISFA): what comes before the underscore is the subject,
unless the caller of `read_tree` says whom a video shows.
What a label file looks like is said in `mdhr_jax.data.label_csv`. Frames without a label are
not list entries and are left out; a label without a frame is an error.
"""

import csv
import dataclasses
import hashlib
import io
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int, Int8, Int32, UInt8
from PIL import Image

from mdhr_jax import facs
from mdhr_jax.data import label_csv, layout, video_files
from mdhr_jax.data.label_csv import LabelTable
from mdhr_jax.data.video_files import VideoFiles
from mdhr_jax.progress import Progress

RECIPE_FILE = "recipe.json"
LABELS_FILE = "labels.csv"
FRAMES_FOLDER = "frames"
JPEG_QUALITY = 95

_MOST_PROBLEMS = 20


@dataclasses.dataclass(frozen=True)
class AlignedVideo:
    """One video of an aligned tree, its frames still on disk.

    Attributes:
        name: such as ``F001_T1``.
        subject: such as ``F001``.
        part: part of the cross-validation.
        frame_numbers: ascending.
        labels: -1 where unknown.
        files: where its files are.
        frames: name in `files` of each entry's JPEG.
        sizes: bytes of each.
        checksums: CRC-32 of each.
    """

    name: str
    subject: str
    part: str
    frame_numbers: Int32[np.ndarray, "F"]
    labels: Int8[np.ndarray, "F N"]
    files: VideoFiles
    frames: tuple[str, ...]
    sizes: tuple[int, ...]
    checksums: tuple[int, ...]

    def jpegs(self) -> Iterator[bytes]:
        """The frames, read and checked one at a time.

        Raises:
            ValueError: one is not a complete 256 x 256 RGB JPEG.
        """
        with self.files.opened() as read:
            for name in self.frames:
                yield check_jpeg(read(name), self.files.where(name))


@dataclasses.dataclass(frozen=True)
class AlignedTree:
    """What an aligned tree holds.

    Attributes:
        root: its folder.
        crop_recipe: the content of ``recipe.json``.
        videos: part after part, in the order of the AU table's subjects.
        digest: hash of recipe, labels, and the frames' numbers and contents.
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

    def add(self, path: Path | str, text: str) -> None:
        self.lines.append(f"{path}: {text}")

    def raise_if_any(self) -> None:
        if not self.lines:
            return
        more = len(self.lines) - _MOST_PROBLEMS
        lines = self.lines[:_MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise ValueError(f"{len(self.lines)} problem(s) in {self.root}:\n  " + "\n  ".join(lines))


def read_tree(
    au_set: facs.AUSet,
    root: str | Path,
    only: Collection[str] | None = None,
    subjects: Mapping[str, str] | None = None,
) -> AlignedTree:
    """Reads an aligned tree; frames are not decoded, and only read where no archive tells their checksums.

    Args:
        au_set: whose labels are wanted.
        root: the tree.
        only: names of the videos wanted; all by default.
        subjects: whom a video shows, by its name; videos that are not in it are named after their subject.

    Raises:
        FileNotFoundError: the folder or its ``recipe.json`` is not there.
        ValueError: something in it is wrong; all problems found are listed by file name.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"the aligned tree {root} is not a folder")
    problems = _Problems(root)
    recipe = read_recipe(root)
    found = [files for files in video_files.find(root) if only is None or files.name in only]
    videos: list[AlignedVideo] = []
    with Progress(len(found), unit="videos", label=f"reading {root}") as bar:
        for files in found:
            video = _read_video(au_set, files, subjects or {}, problems)
            videos += [video] if video is not None else []
            bar.update()
    if not found:
        problems.add(
            root, "there is no video; expected folders such as <video>/frames and <video>/labels.csv"
        )
    problems.raise_if_any()
    order = {subject: i for i, subject in enumerate(s for part in au_set.parts for s in part)}
    videos.sort(key=lambda v: (order[v.subject], _natural(v.name)))
    return AlignedTree(root, recipe, tuple(videos), _digest(recipe, videos))


def check_jpeg(data: bytes, where: str) -> bytes:
    """The bytes of a frame, after a check that it can be decoded and has the right size.

    Args:
        data: content of the file.
        where: its name, for messages.

    Raises:
        ValueError: it is not a complete 256 x 256 RGB JPEG.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            size, mode = image.size, image.mode
            image.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{where} is not a readable JPEG ({error}); make this frame again") from error
    edge = layout.IMAGE_EDGE
    if size != (edge, edge) or mode != "RGB":
        raise ValueError(
            f"{where} is {size[0]}x{size[1]} {mode}, expected {edge}x{edge} RGB; align this video again"
        )
    return data


def encode_jpeg(frame: UInt8[np.ndarray, "256 256 3"], quality: int = JPEG_QUALITY) -> bytes:
    """A frame as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_recipe(root: Path, crop_recipe: dict[str, Any]) -> None:
    """Writes ``recipe.json`` of an aligned tree, atomically."""
    root.mkdir(parents=True, exist_ok=True)
    temporary = root / f".{RECIPE_FILE}.{os.getpid()}.tmp"
    try:
        temporary.write_text(json.dumps(crop_recipe, indent=1, sort_keys=True) + "\n")
        os.replace(temporary, root / RECIPE_FILE)
    finally:
        temporary.unlink(missing_ok=True)


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
    (root / name / LABELS_FILE).write_bytes(encode_labels(numbers, labels, aus))


def frame_name(number: int) -> str:
    """Name of a frame's JPEG in a video."""
    return f"{FRAMES_FOLDER}/{number}.jpg"


def encode_labels(
    frame_numbers: Sequence[int] | Int[np.ndarray, " F"], labels: Int[np.ndarray, "F N"], aus: Sequence[int]
) -> bytes:
    """Content of ``labels.csv``.

    Args:
        frame_numbers: of the rows.
        labels: one row a list entry, -1 where unknown.
        aus: FACS number of each column.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["frame", *facs.names(aus)])
    for number, row in zip(frame_numbers, labels, strict=True):
        writer.writerow([int(number), *map(int, row)])
    return text.getvalue().encode()


def read_recipe(root: Path) -> dict[str, Any]:
    """How the faces of an aligned tree were cut out.

    Raises:
        FileNotFoundError: the tree does not say.
        ValueError: what it says is not a JSON object.
    """
    path = root / RECIPE_FILE
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


def _read_video(
    au_set: facs.AUSet, files: VideoFiles, subjects: Mapping[str, str], problems: _Problems
) -> AlignedVideo | None:
    subject = subjects.get(files.name, files.name.split("_")[0])
    try:
        part = au_set.part_of(subject)
        sizes = files.sizes()
    except (ValueError, OSError) as error:
        problems.add(files.path, str(error))
        return None
    before = len(problems.lines)
    frames = _frame_files(files, sizes, problems)
    table = _read_labels(au_set, files, problems)
    for number in [] if table is None else table.frame_numbers.tolist():
        if frames and number not in frames:
            problems.add(
                files.where(LABELS_FILE),
                f"frame {number} has a label, but there is no {frame_name(number)}",
            )
    if table is None or len(problems.lines) > before:
        return None
    chosen = tuple(frames[number] for number in table.frame_numbers.tolist())
    try:
        checksums = files.checksums(chosen)
    except OSError as error:
        problems.add(files.path, str(error))
        return None
    return AlignedVideo(
        name=files.name,
        subject=subject,
        part=part,
        frame_numbers=table.frame_numbers,
        labels=table.labels,
        files=files,
        frames=chosen,
        sizes=tuple(sizes[name] for name in chosen),
        checksums=checksums,
    )


def _frame_files(files: VideoFiles, sizes: Iterable[str], problems: _Problems) -> dict[int, str]:
    """Names of a video's frames by number; ``7.jpg`` and ``0007.jpg`` are the same frame."""
    found: dict[int, str] = {}
    for name in sizes:
        path = PurePosixPath(name)
        if path.parts[0] != FRAMES_FOLDER:
            continue
        if path.suffix.lower() not in (".jpg", ".jpeg") or not path.stem.isdecimal() or len(path.parts) > 2:
            problems.add(files.where(name), "expected a file named <frame number>.jpg")
        elif int(path.stem) in found:
            problems.add(
                files.where(name), f"is the same frame as {PurePosixPath(found[int(path.stem)]).name}"
            )
        else:
            found[int(path.stem)] = name
    if not found:
        problems.add(files.where(FRAMES_FOLDER), "there are no frames")
    return found


def _read_labels(au_set: facs.AUSet, files: VideoFiles, problems: _Problems) -> LabelTable | None:
    """The labels of a video; None, and problems, where something is wrong with them."""
    path = files.where(LABELS_FILE)
    try:
        with files.opened() as read:
            content = read(LABELS_FILE)
    except FileNotFoundError:
        problems.add(path, "the file is missing")
        return None
    except (ValueError, OSError) as error:
        problems.add(path, f"cannot be read: {error}")
        return None
    table = label_csv.read(content, au_set, complete=True)
    for line, text in table.problems:
        problems.add(path, text if line is None else f"line {line}: {text}")
    if not len(table.frame_numbers) and not table.problems:
        problems.add(path, "there are no labels")
    return table


def _digest(recipe: dict[str, Any], videos: Sequence[AlignedVideo]) -> str:
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    for video in videos:
        digest.update(f"\n{video.name} {video.part} {video.labels.shape}\n".encode())
        digest.update(video.frame_numbers.astype("<i4").tobytes() + video.labels.tobytes())
        contents = zip(video.sizes, video.checksums, strict=True)
        digest.update(" ".join(f"{size} {checksum:08x}" for size, checksum in contents).encode())
    return digest.hexdigest()
