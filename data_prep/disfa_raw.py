"""Reads the raw DISFA distribution.

    RAW/Videos_LeftCamera/LeftVideoSN001_comp.avi     also ``_Comp``; RightVideo... for the right camera
    RAW/ActionUnit_Labels/SN001/SN001_au1.txt         lines ``frame,intensity``: frames from 1, 0 to 5

An AU is present where its intensity reaches a threshold. Frame number n is the n-th frame of the video. RAW
may also be the folder around these or one of them, and upper and lower case do not matter.
"""

import dataclasses
import re
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int8, Int32

from data_prep import raw_folders
from data_prep.raw import RawVideo, Scan, VideoFrames, VideoProblem, missing_subjects
from mdhr_jax.faces.video_file import FrameError, VideoLength, length, require_av
from mdhr_jax.facs import DISFA
from mdhr_jax.progress import Progress

Camera = Literal["left", "right"]
CAMERAS: tuple[Camera, ...] = ("left", "right")

PRESENT_FROM = 2
"""Intensity from which an AU counts as present in the published lists."""

MOST_APART = 1
"""Frames that a video may have more or less than its labels; more is a mistake."""

_INNER_FOLDERS = ("videos_leftcamera", "video_leftcamera", "videos_rightcamera", "video_rightcamera")
_INNER_FOLDERS += ("actionunit_labels",)
_SUBJECT = re.compile(r"SN\d{3}", re.IGNORECASE)
_AU_FILE = re.compile(r"(SN\d{3})_au0*(\d+)\.txt", re.IGNORECASE)
_LINE = re.compile(r"(\d{1,9})(?:\s*[,;]\s*|\s+)(\d+)", re.ASCII)
_HIGHEST = 5
_MOST_OF_A_KIND = 5


def scan(
    raw: str | Path,
    camera: Camera = "left",
    threshold: int = PRESENT_FROM,
    *,
    count_by_decoding: bool = False,
) -> Scan:
    """Reads all labels and the lengths of all videos.

    Args:
        raw: the distribution, see above.
        camera: which of the two recordings.
        threshold: intensity from which an AU is present, 1 to 5.
        count_by_decoding: whether to decode every video for its length. Takes minutes; needed only where
            frames are in the file that cannot be decoded.

    Returns:
        The videos by subject. Frames count 20 a second. Where video and labels differ by up to `MOST_APART`
        frames, both count from the start, what is over is left out, and a note says so.

    Raises:
        FileNotFoundError: there is no such folder, or videos or labels are not in it.
        ValueError: it is empty, has videos or labels in two places, or an argument is out of range.
        ImportError: PyAV is missing.
    """
    if camera not in CAMERAS:
        raise ValueError(f"the camera is {' or '.join(CAMERAS)}, found {camera!r}")
    if not 1 <= threshold <= _HIGHEST:
        raise ValueError(f"intensities go from 0 to {_HIGHEST}, so the threshold must be 1 to 5: {threshold}")
    require_av()
    root = raw_folders.entry(raw, _INNER_FOLDERS)
    file_name = re.compile(rf"{camera}Video(SN\d{{3}})(?:_comp)?\.avi", re.IGNORECASE)
    side = camera.title()
    video_folder = raw_folders.find(
        root,
        lambda folder: any(file_name.fullmatch(file.name) for file in raw_folders.files(folder)),
        f"videos such as Videos_{side}Camera/{side}VideoSN001_comp.avi",
    )
    label_folder = raw_folders.find(
        root, _holds_labels, "labels such as ActionUnit_Labels/SN001/SN001_au1.txt"
    )
    problems: list[VideoProblem] = []
    videos: list[RawVideo] = []
    files: dict[str, Path] = {}
    for file in raw_folders.files(video_folder):
        if match := file_name.fullmatch(file.name):
            other = files.setdefault(match[1].upper(), file)
            if other != file:
                text = f"there is another video of this subject: {other}"
                problems.append(VideoProblem(match[1].upper(), file, text))
    # Told as what it is where there is no file of that name.
    for folder in raw_folders.subfolders(video_folder):
        if match := file_name.fullmatch(folder.name):
            files.setdefault(match[1].upper(), folder)
    label_folders = {f.name.upper(): f for f in raw_folders.subfolders(label_folder) if _is_subject(f)}
    names = sorted(files.keys() | label_folders.keys())
    with Progress(len(names), unit="videos", label=f"reading labels and lengths of {DISFA.title}") as bar:
        for name in names:
            video = files.get(name, video_folder / f"{side}Video{name}_comp.avi")
            labels = label_folders.get(name, label_folder / name)
            found = _read(name, video, labels, threshold, count_by_decoding)
            if isinstance(found, RawVideo):
                videos.append(found)
            else:
                problems += found
            bar.update()
    doubtful = {problem.video for problem in problems}
    kept = tuple(video for video in videos if video.name not in doubtful)
    return Scan(
        DISFA,
        kept,
        tuple(problems),
        missing_subjects(DISFA, names),
        source={"camera": camera},
        labelling={"present_from_intensity": threshold},
    )


def _is_subject(folder: Path) -> bool:
    return _SUBJECT.fullmatch(folder.name) is not None


def _holds_labels(folder: Path) -> bool:
    # The landmarks of the distribution lie in folders of the same names.
    return any(
        _AU_FILE.fullmatch(file.name)
        for subject in raw_folders.subfolders(folder)
        if _is_subject(subject)
        for file in raw_folders.files(subject)
    )


def _read(
    name: str, video: Path, label_folder: Path, threshold: int, count_by_decoding: bool
) -> RawVideo | list[VideoProblem]:
    try:
        DISFA.part_of(name)
    except ValueError as error:
        return [VideoProblem(name, video, str(error))]
    problems: list[VideoProblem] = []
    if not label_folder.is_dir():
        text = raw_folders.missing_folder(label_folder, "the folder of its labels")
        problems.append(VideoProblem(name, label_folder, text))
    if not video.is_file():
        problems.append(VideoProblem(name, video, raw_folders.missing_file(video, "the video")))
    if problems:
        return problems
    tracks = _read_tracks(name, label_folder, problems)
    try:
        measured = length(video, decoding=count_by_decoding)
    except FrameError as error:
        problems.append(VideoProblem.of_frame(name, error))
        return problems
    if tracks is None:
        return problems
    numbers, lines, intensities, label_files = tracks
    notes = _compare(name, video, measured, label_files[0], numbers, lines, problems)
    if problems:
        return problems
    there = numbers <= measured.found
    labels = (intensities[there] >= threshold).astype(np.int8)
    sources = (video, *label_files)
    source = VideoFrames(video)
    unlabelled = np.setdiff1d(np.arange(1, measured.found + 1, dtype=np.int32), numbers)
    return RawVideo(name, name, numbers[there], labels, DISFA.fps, sources, source, notes, unlabelled)


def _compare(
    name: str,
    video: Path,
    measured: VideoLength,
    label_file: Path,
    numbers: Int32[np.ndarray, "F"],
    lines: Int32[np.ndarray, "F"],
    problems: list[VideoProblem],
) -> tuple[str, ...]:
    """Holds the video's length against its labels; returns notes."""
    found, announced, labelled = measured.found, measured.announced, int(numbers[-1])
    counts = f"{found} frames could be read"
    counts += f" of the {announced} that its header announces" if announced not in (0, found) else ""
    if measured.damage:
        text = f"the video is damaged: {measured.damage}; {counts}. Copy it anew from the distribution"
        problems.append(VideoProblem(name, video, text))
    elif abs(found - labelled) > MOST_APART or found < numbers[0]:
        # The first label without a frame, or the last label; all AUs' files have the same frames.
        line = int(lines[np.argmax(numbers > found)]) if labelled > found else int(lines[-1])
        text = (
            f"the labels of this and the other AUs go up to frame {labelled}, but of {video} {counts}; "
            "video and labels do not belong together"
        )
        problems.append(VideoProblem(name, label_file, text, line=line))
    notes = []
    if announced not in (0, found):
        notes.append(counts)
    if found > labelled:
        notes.append(f"the video has {found} frames, the labels {labelled}: the last frames are left out")
    if found < labelled:
        notes.append(f"the video has {found} frames, the labels {labelled}: the last labels are left out")
    jumps = int((np.diff(numbers) != 1).sum())
    if jumps or numbers[0] != 1:
        notes.append(f"the labels begin at frame {numbers[0]} and have {jumps} gap(s)")
    return tuple(notes)


@dataclasses.dataclass(frozen=True)
class _Track:
    """One AU's file: frame numbers, their lines and intensities in ascending order of the first."""

    numbers: Int32[np.ndarray, "F"]
    lines: Int32[np.ndarray, "F"]
    intensities: Int8[np.ndarray, "F"]


def _read_tracks(
    name: str, folder: Path, problems: list[VideoProblem]
) -> tuple[Int32[np.ndarray, "F"], Int32[np.ndarray, "F"], Int8[np.ndarray, "F N"], tuple[Path, ...]] | None:
    """Numbers and their lines, intensities of our AUs, files; None, and problems, where they cannot be read.

    The lines are those of the first file.
    """
    before = len(problems)
    files: dict[int, Path] = {}
    unreadable: dict[Path, str] = {}
    for file in raw_folders.files(folder, unreadable):
        match = _AU_FILE.fullmatch(file.name)
        if match and match[1].upper() != name:
            problems.append(VideoProblem(name, file, f"labels of {match[1]} in the folder of {name}"))
        elif match and files.setdefault(int(match[2]), file) != file:
            text = f"there is another file of this AU: {files[int(match[2])].name}"
            problems.append(VideoProblem(name, file, text))
    if unreadable:
        problems += [VideoProblem(name, path, text) for path, text in unreadable.items()]
        return None
    tracks: dict[int, _Track] = {}
    for au in DISFA.aus:
        if au not in files:
            file = folder / f"{name}_au{au}.txt"
            text = raw_folders.missing_file(file, f"the file of the labels of AU{au}")
            problems.append(VideoProblem(name, file, text))
        elif (track := _read_track(name, files[au], problems)) is not None:
            tracks[au] = track
    _check_equal(name, {au: files[au] for au in tracks}, tracks, problems)
    if len(problems) > before:
        return None
    columns = [tracks[au].intensities for au in DISFA.aus]
    first = tracks[DISFA.aus[0]]
    return first.numbers, first.lines, np.stack(columns, 1), tuple(files[au] for au in DISFA.aus)


def _check_equal(
    name: str, files: dict[int, Path], tracks: dict[int, _Track], problems: list[VideoProblem]
) -> None:
    if not tracks:
        return
    # What most files say is right: one wrong file is named, not all the others.
    texts = [track.numbers.tobytes() for track in tracks.values()]
    most = max(texts, key=texts.count)
    model = list(tracks)[texts.index(most)]
    for au, track in tracks.items():
        if track.numbers.tobytes() == most:
            continue
        expected = tracks[model].numbers
        lone = np.setxor1d(track.numbers, expected)[0]
        text = (
            f"has {len(track.numbers)} frames, up to {track.numbers[-1]}, but {files[model].name} has "
            f"{len(expected)}, up to {expected[-1]}; the first difference is frame {lone}"
        )
        problems.append(VideoProblem(name, files[au], text))


def _read_track(name: str, file: Path, problems: list[VideoProblem]) -> _Track | None:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(VideoProblem(name, file, f"cannot be read as text: {error}"))
        return None
    line_of: dict[int, int] = {}
    intensities: list[int] = []
    wrong: list[VideoProblem] = []
    for line, content in enumerate(text.splitlines(), start=1):
        if not content.strip():
            continue
        match = _LINE.fullmatch(content.strip())
        error = _line_error(content, match and (int(match[1]), int(match[2])), line_of)
        if match is None or error:
            wrong.append(VideoProblem(name, file, error, line=line))
            continue
        line_of[int(match[1])] = line
        intensities.append(int(match[2]))
    problems += wrong[:_MOST_OF_A_KIND]
    if len(wrong) > _MOST_OF_A_KIND:
        more = f"and {len(wrong) - _MOST_OF_A_KIND} more lines that cannot be read"
        problems.append(VideoProblem(name, file, more))
    if not line_of and not wrong:
        problems.append(VideoProblem(name, file, "holds no labels"))
    if wrong or not line_of:
        return None
    numbers = np.asarray(list(line_of), np.int32)
    order = np.argsort(numbers)
    lines = np.asarray(list(line_of.values()), np.int32)
    return _Track(numbers[order], lines[order], np.asarray(intensities, np.int8)[order])


def _line_error(content: str, values: tuple[int, int] | None, line_of: dict[int, int]) -> str:
    if values is None:
        return f"found {content.strip()!r}, expected 'frame,intensity' such as '17,3'"
    number, intensity = values
    if number < 1:
        return "frames are numbered from 1, found 0"
    if number in line_of:
        return f"frame {number} is in line {line_of[number]} already"
    if intensity > _HIGHEST:
        return f"the intensity is {intensity}, expected 0 to {_HIGHEST}"
    return ""
