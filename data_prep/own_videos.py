"""Reads anybody's recordings, with AU labels or without.

    VIDEOS/<video>.<mp4, avi, mov, ...>     a video file, frames counted from 1; or
    VIDEOS/<video>/<number>.<jpg, png>      a folder of pictures
    LABELS/<video>.csv                      header ``frame,AU1,...`` (also ``AU01``, ``AU01_c``);
                                            0, 1; 9, -1 or nothing for unknown
    SUBJECTS.csv                            header ``video,subject,part``; the part may be left out

Without a folder of labels all labels are unknown. With one, every video must have its file there, with a
column for each AU, unless missing ones are allowed, which are unknown then; only frames that it lists are
used.
Without SUBJECTS.csv the subject is what comes before the first underscore of a video's name.
"""

import csv
import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from data_prep import raw_folders
from data_prep.raw import FrameSource, ImageFiles, RawVideo, Scan, VideoFrames, VideoProblem
from mdhr_jax import facs
from mdhr_jax.csv_text import separator_hint
from mdhr_jax.data import label_csv
from mdhr_jax.data.label_csv import LabelTable, is_frame_number
from mdhr_jax.faces import video_file
from mdhr_jax.faces.video_file import FrameError
from mdhr_jax.facs import AUSet
from mdhr_jax.progress import Progress, announce

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")

_MOST_OF_A_KIND = 5


@dataclasses.dataclass(frozen=True)
class Person:
    """Whom a video shows: the subject, and the part of the cross-validation, if it is said."""

    subject: str
    part: str | None = None


def make_set(name: str, like: AUSet, persons: Mapping[str, Person]) -> AUSet:
    """An entry of the AU table for somebody's recordings.

    Args:
        name: of the data set.
        like: entry whose AUs and regions it takes.
        persons: by the name of the video. Subjects whose part is not said are dealt out to the parts in
            turn, in order of their names.

    Raises:
        ValueError: the name is taken or not an identifier, or a subject is in two parts.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in facs.AU_SETS:
        raise ValueError(
            f"{name!r} cannot be the name of a data set: take small letters, digits and underscores, "
            f"and none of {', '.join(sorted(facs.AU_SETS))}"
        )
    parts: dict[str, str] = {}
    for video, person in persons.items():
        if person.part is not None and parts.setdefault(person.subject, person.part) != person.part:
            raise ValueError(
                f"subject {person.subject} is in {parts[person.subject]} and, with video {video}, in "
                f"{person.part}; all videos of a subject must be in one part"
            )
    undecided = sorted({person.subject for person in persons.values()} - parts.keys())
    dealt = {subject: facs.PARTS[i % len(facs.PARTS)] for i, subject in enumerate(undecided)}
    if dealt:
        listed = ", ".join(f"{subject} {part}" for subject, part in dealt.items())
        announce(f"parts of the subjects, since no file says them: {listed}")
    parts |= dealt
    if empty := [part for part in facs.PARTS if part not in parts.values()]:
        announce(f"warning: nobody is in {', '.join(empty)}; folds that train or test on it cannot be run")
    members = tuple(tuple(sorted(s for s, p in parts.items() if p == part)) for part in facs.PARTS)
    return dataclasses.replace(like, name=name, title=name, parts=members)


def read_persons(videos: Path, subjects: Path | None) -> dict[str, Person]:
    """Whom the videos of a folder show, by the name of the video.

    Raises:
        FileNotFoundError: the folder or the file is not there.
        ValueError: there is no video, two have one name, or the file does not fit them.
    """
    names = list(_files(videos))
    if subjects is None:
        return {name: Person(name.split("_")[0]) for name in names}
    try:
        with subjects.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, restval="")
            # Empty lines are no rows.
            rows, columns = [(table.line_num, row) for row in table], table.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{subjects} cannot be read as CSV ({error}); save it as CSV in UTF-8") from error
    missing = [column for column in ("video", "subject") if column not in columns]
    if missing:
        hint = separator_hint(columns)
        raise ValueError(
            f"{subjects} lacks the column(s) {', '.join(missing)}; found {', '.join(columns)}{hint}"
        )
    persons: dict[str, Person] = {}
    for line, row in rows:
        name, subject, part = (row.get(column, "").strip() for column in ("video", "subject", "part"))
        if not name or not subject:
            raise ValueError(
                f"{subjects}, line {line}: found video {name!r} and subject {subject!r}; give both"
            )
        if part and part not in facs.PARTS:
            raise ValueError(
                f"{subjects}, line {line}: part {part!r}, expected one of {', '.join(facs.PARTS)}"
            )
        if name in persons:
            raise ValueError(f"{subjects}, line {line}: {name} is there a second time")
        persons[name] = Person(subject, part or None)
    without = [name for name in names if name not in persons]
    if without:
        raise ValueError(f"{subjects} does not name the video(s) {', '.join(without[:_MOST_OF_A_KIND])}")
    return {name: persons[name] for name in names}


def scan(
    videos: Path,
    labels: Path | None,
    au_set: AUSet,
    persons: Mapping[str, Person],
    share: tuple[int, int] | None = None,
    *,
    unlabelled_ok: bool = False,
    decoded_length: Callable[[str, Path], int | None] = lambda name, file: None,
) -> Scan:
    """Reads all labels and the lengths of all videos.

    A video is decoded for its length only if its encoded frames do not tell (`video_file.VideoLength`), and
    nobody has done so before.

    Args:
        videos: folder of the videos.
        labels: folder of the labels; None if there are none.
        au_set: see `make_set`.
        persons: see `read_persons`.
        share: number, from 1, and count of the jobs that share the videos: only every so many-th is looked
            at, by name. By default all are.
        unlabelled_ok: whether a video may lack its file of labels, and the file a column of an AU. A file
            that has none of the AUs is a mistake in any case.
        decoded_length: what decoding a video once before found, by its name and file; None if it was not.

    Raises:
        FileNotFoundError: a folder is not there.
    """
    if labels is not None and not labels.is_dir():
        raise FileNotFoundError(
            f"{raw_folders.not_a_folder(labels)}; expected a folder of label files such as x.csv"
        )
    found: list[RawVideo] = []
    problems: list[VideoProblem] = []
    no_videos: dict[Path, str] = {}
    every = _files(videos, no_videos)
    number, count = share or (1, 1)
    if number == 1:
        problems += [VideoProblem(folder.name, folder, text) for folder, text in no_videos.items()]
    if labels is not None and (strangers := _strangers(labels, every)):
        announce(f"warning: in {labels}, no video has the name of {strangers}; not used")
    names = sorted(every)[number - 1 :: count]
    files = {name: every[name] for name in names}
    with Progress(len(files), unit="videos", label="reading labels and lengths") as bar:
        for name, path in files.items():
            table = None if labels is None else labels / f"{name}.csv"
            video = _read(
                name,
                persons[name].subject,
                path,
                table,
                au_set,
                unlabelled_ok=unlabelled_ok,
                decoded_length=decoded_length,
            )
            if isinstance(video, RawVideo):
                found.append(video)
            else:
                problems += video
            bar.update()
    elsewhere = tuple(name for name in every if name not in files)
    return Scan(au_set, tuple(found), tuple(problems), elsewhere=elsewhere)


def _strangers(labels: Path, videos: Collection[str]) -> str:
    """Files of labels that belong to no video, in words; empty if there are none."""
    names = [
        path.name
        for path in raw_folders.files(labels)
        if path.suffix.lower() == ".csv" and (path.stem not in videos or path.suffix != ".csv")
    ]
    more = f" and {len(names) - _MOST_OF_A_KIND} more" if len(names) > _MOST_OF_A_KIND else ""
    return ", ".join(names[:_MOST_OF_A_KIND]) + more


def _files(videos: Path, no_videos: dict[Path, str] | None = None) -> dict[str, Path]:
    """Video files and folders of pictures by the name of the video.

    `no_videos` receives folders that are not, though meant to be, and why: empty ones, and those named like a
    video file. Others that hold no pictures are not meant to be videos.
    """
    if not videos.is_dir():
        raise FileNotFoundError(f"{raw_folders.not_a_folder(videos)}; expected a folder of videos")
    found: dict[str, Path] = {}
    for path in sorted(videos.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            unreadable: dict[Path, str] = {}
            pictures = [
                p for p in raw_folders.files(path, unreadable) if p.suffix.lower() in PICTURE_SUFFIXES
            ]
            # What cannot be read is told when it is read.
            if not pictures and not unreadable:
                if no_videos is not None and path.suffix.lower() in VIDEO_SUFFIXES:
                    no_videos[path] = "is a folder, expected a video file; put the file in its place"
                elif no_videos is not None and not any(path.iterdir()):
                    no_videos[path] = (
                        "the folder is empty, expected pictures of a video; fill it or take it out"
                    )
                continue
            name = path.name
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            name = path.stem
        else:
            continue
        if name in found:
            raise ValueError(f"{path} and {found[name]} would both be the video {name}; rename one")
        found[name] = path
    if not found:
        raise ValueError(
            f"{videos} holds no video; expected files ending in {', '.join(VIDEO_SUFFIXES)} "
            "or folders of pictures"
        )
    return found


def _read(
    name: str,
    subject: str,
    path: Path,
    table: Path | None,
    au_set: AUSet,
    *,
    unlabelled_ok: bool,
    decoded_length: Callable[[str, Path], int | None],
) -> RawVideo | list[VideoProblem]:
    problems: list[VideoProblem] = []
    notes: list[str] = []
    source: FrameSource
    fps, decoded = au_set.fps, 0
    if path.is_dir():
        pictures = _pictures(name, path, problems)
        available = np.array(sorted(pictures), np.int32)
    else:
        pictures = {}
        try:
            length = video_file.length(path)
            if not length.certain:
                if known := decoded_length(name, path):
                    length = dataclasses.replace(length, found=known, certain=True)
                else:
                    length = video_file.length(path, decoding=True)
                decoded = length.found
        except FrameError as error:
            return [VideoProblem.of_frame(name, error)]
        if length.damage or not length.found:
            damage = f"is damaged: {length.damage}" if length.damage else "holds no frame that can be shown"
            return [VideoProblem(name, path, f"{damage}. {video_file.MEND}, or take it out of the folder")]
        if length.found < length.announced:
            # No mistake: headers may estimate, and count frames that are not shown.
            notes.append(
                f"{path.name} announces {length.announced} frames, but only {length.found} come; "
                "see that it was not cut off"
            )
        fps = length.fps or fps
        available = np.arange(1, length.found + 1, dtype=np.int32)
    if table is not None and table.exists():
        listed = _labels(name, table, au_set, problems, notes, unlabelled_ok=unlabelled_ok)
        numbers, labels = listed.frame_numbers, listed.labels
        beyond = np.setdiff1d(numbers, available)
        # Without any picture that has a number, that is what is wrong.
        if len(beyond) and len(available):
            shown = ", ".join(map(str, beyond[:_MOST_OF_A_KIND].tolist()))
            shown += f" and {len(beyond) - _MOST_OF_A_KIND} more" if len(beyond) > _MOST_OF_A_KIND else ""
            which = f"frame {shown} has" if len(beyond) == 1 else f"frames {shown} have"
            text = (
                f"{which} labels, but {path} has only {len(available)} frames, the last {available[-1]}; "
                + ("delete these rows, or give the video that the labels belong to")
            )
            line = listed.lines[numbers.tolist().index(beyond[0])]
            problems.append(VideoProblem(name, table, text, line=line))
    else:
        numbers, labels = available, np.full((len(available), au_set.num_aus), facs.UNKNOWN, np.int8)
        if table is not None and unlabelled_ok:
            notes.append(f"warning: there is no {table}; all its labels are unknown")
        elif table is not None:
            text = "the label file is missing; a video without labels must be allowed with --unlabelled-ok"
            problems.append(VideoProblem(name, table, text))
    if not len(numbers) and not problems:
        text = "there are no frames to use; expected a row for each frame that has labels"
        problems.append(VideoProblem(name, table or path, text))
    if problems:
        return problems[:_MOST_OF_A_KIND]
    source = ImageFiles(tuple(pictures[n] for n in numbers.tolist())) if path.is_dir() else VideoFrames(path)
    sources = source.files + (() if table is None or not table.exists() else (table,))
    unlabelled = np.setdiff1d(available, numbers)
    return RawVideo(name, subject, numbers, labels, fps, sources, source, tuple(notes), unlabelled, decoded)


def _pictures(name: str, folder: Path, problems: list[VideoProblem]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    unreadable: dict[Path, str] = {}
    for path in raw_folders.files(folder, unreadable):
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            continue
        match = re.search(r"(\d+)$", path.stem)
        if match is None or not is_frame_number(match[1]):
            text = (
                "the name of the picture does not end with a frame number of at most 9 digits; "
                "number the pictures: 1.jpg, 2.jpg, ..."
            )
            problems.append(VideoProblem(name, path, text))
        elif int(match[1]) in found:
            problems.append(VideoProblem(name, path, f"is the same frame as {found[int(match[1])].name}"))
        else:
            found[int(match[1])] = path
    problems += [VideoProblem(name, path, text) for path, text in unreadable.items()]
    return found


def _labels(
    name: str,
    table: Path,
    au_set: AUSet,
    problems: list[VideoProblem],
    notes: list[str],
    *,
    unlabelled_ok: bool,
) -> LabelTable:
    try:
        content = table.read_bytes()
    except OSError as error:
        problems.append(VideoProblem(name, table, raw_folders.unreadable_text(error)))
        return LabelTable(np.zeros(0, np.int32), np.zeros((0, au_set.num_aus), np.int8))
    found = label_csv.read(content, au_set, complete=False)
    problems += [VideoProblem(name, table, text, line=line) for line, text in found.problems]
    missing = ", ".join(found.absent)
    if len(found.absent) == au_set.num_aus:
        text = f"has no column of any AU; expected some of {missing}"
        problems.append(VideoProblem(name, table, text, line=1))
    elif found.absent and not unlabelled_ok:
        text = f"has no column of {missing}; AUs without labels must be allowed with --unlabelled-ok"
        problems.append(VideoProblem(name, table, text, line=1))
    elif found.absent:
        notes.append(f"warning: {table.name} has no column of {missing}; unknown")
    return found
