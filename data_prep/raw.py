"""What the readers of raw distributions give: videos with labels, and the problems that were found.

A reader looks through a whole tree without decoding pictures and returns a `Scan`. A video in which
something is wrong is not among its `videos`; what is wrong stands in `problems`, by file and line. What
can only be seen while decoding is a `FrameError` of `RawVideo.frames`.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int8, Int32, UInt8
from PIL import Image, ImageOps

from mdhr_jax import facs
from mdhr_jax.faces import video_file
from mdhr_jax.faces.video_file import FrameError

Frame = UInt8[np.ndarray, "H W 3"]
"""A picture, RGB grey levels."""

REDUCTIONS = (1, 2, 4, 8)
"""Factors by which frames can be made smaller while they are decoded."""

IMAGE_FORMATS = ("JPEG", "PNG", "BMP")

EARLY_END_SECONDS, EARLY_END_SHARE = 1.0, 0.1
"""Labels end early where more than this much of the recording follows them: in seconds, and as a share of
the labelled frames. Recordings may go on like that, and a label file that was cut off between two lines looks
the same."""

_MOST_LINES = 20
_MOST_VIDEOS = _MOST_NAMES = 5


@dataclasses.dataclass(frozen=True)
class VideoProblem:
    """Why a video cannot be used.

    Attributes:
        video: such as ``F001_T1``; empty where it is about the tree.
        file: in which the problem is, or that is missing.
        text: what was found and what was expected.
        line: of a text file, from 1.
        frame: number in the recording.
    """

    video: str
    file: Path
    text: str
    line: int | None = None
    frame: int | None = None

    def __str__(self) -> str:
        name = f"{self.video}: " if self.video else ""
        return f"{name}{self.file}{_place(self.line, self.frame)}: {self.text}"

    @classmethod
    def of_frame(cls, video: str, error: FrameError) -> "VideoProblem":
        """The problem of a video whose frame could not be read."""
        return cls(video, error.file, error.text, frame=error.frame)


class FrameSource(Protocol):
    """Reads the frames of a video; it can be pickled, and holds no open file."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that the frames are in."""
        ...

    def __call__(self, numbers: Int32[np.ndarray, "F"], reduce: int) -> Iterator[Frame]:
        """One frame a number, in order; see `RawVideo.frames`."""
        ...


def _none() -> Int32[np.ndarray, "0"]:
    return np.zeros(0, np.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class RawVideo:
    """A recording whose labels are read and whose frames are still on disk. It can be pickled.

    Attributes:
        name: such as ``F001_T1`` or ``SN001``.
        subject: such as ``F001``.
        frame_numbers: of the labelled frames in the recording, ascending.
        labels: 0, 1 or -1 (unknown), in label order.
        fps: frames a second of the recording.
        sources: files that are read.
        notes: what a user should know about the video although it can be used.
        source: reads the frames.
        unlabelled: numbers of the recording's other frames, which have no label and are not used, ascending.
        decoded: frames that were counted by decoding the video; 0 where its length is known without.

    Raises:
        ValueError: there are no frames, they do not ascend, or there are more or fewer labels.
    """

    name: str
    subject: str
    frame_numbers: Int32[np.ndarray, "F"]
    labels: Int8[np.ndarray, "F N"]
    fps: float
    sources: tuple[Path, ...]
    source: FrameSource = dataclasses.field(repr=False)
    notes: tuple[str, ...] = ()
    unlabelled: Int32[np.ndarray, "U"] = dataclasses.field(default_factory=_none, repr=False)
    decoded: int = 0

    def __post_init__(self) -> None:
        if not len(self.frame_numbers) or (np.diff(self.frame_numbers) <= 0).any():
            raise ValueError(f"{self.name}: frame numbers must ascend, and there must be one")
        if len(self.labels) != len(self.frame_numbers):
            raise ValueError(f"{self.name}: {len(self.frame_numbers)} frames have {len(self.labels)} labels")

    @property
    def num_frames(self) -> int:
        """Labelled frames."""
        return len(self.frame_numbers)

    @property
    def unlabelled_at_end(self) -> int:
        """Frames of the recording after the last that has a label."""
        return int((self.unlabelled > self.frame_numbers[-1]).sum())

    @property
    def labels_end_early(self) -> bool:
        """Whether much of the recording follows its last label, see `EARLY_END_SECONDS`."""
        return self.unlabelled_at_end > max(EARLY_END_SECONDS * self.fps, EARLY_END_SHARE * self.num_frames)

    def frames(self, reduce: int = 1) -> Iterator[Frame]:
        """Decodes the labelled frames one after the other, one in memory at a time.

        Args:
            reduce: 1, 2, 4 or 8: how much smaller height and width become (rounded up). JPEG files are
                decoded faster that way.

        Yields:
            RGB grey levels, in the order of `frame_numbers`.

        Raises:
            FrameError: a picture is damaged, or the video ends too early.
            ValueError: frames cannot be reduced by such a factor.
        """
        if reduce not in REDUCTIONS:
            raise ValueError(f"frames can be reduced by {', '.join(map(str, REDUCTIONS))}, not {reduce}")
        return self.source(self.frame_numbers, reduce)


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a reader found.

    Attributes:
        au_set: whose labels they are.
        videos: those that can be used, by subject and number.
        problems: why others cannot.
        notes: what a user should know about the tree, such as subjects that it lacks.
        source: which of several recordings was read, such as the camera.
        labelling: how labels were made of what the distribution holds, such as the intensity from which an
            AU counts as present.
        elsewhere: names of the videos that were not looked at, because they are the shares of other jobs.
    """

    au_set: facs.AUSet
    videos: tuple[RawVideo, ...]
    problems: tuple[VideoProblem, ...]
    notes: tuple[str, ...] = ()
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labelling: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the videos that cannot be used."""
        return tuple(dict.fromkeys(problem.video for problem in self.problems if problem.video))

    @property
    def all_notes(self) -> tuple[str, ...]:
        """What a user should know about the tree and about each video, with the video's name."""
        return self.notes + tuple(f"{video.name}: {note}" for video in self.videos for note in video.notes)

    def raise_if_any(self, root: Path) -> None:
        """Stops at problems.

        Args:
            root: the tree, for the message.

        Raises:
            ValueError: there are problems; they are listed.
        """
        if self.problems:
            raise ValueError(f"{len(self.problems)} problem(s) in {root}:\n  " + listed(self.problems))


def listed(problems: Sequence[VideoProblem], most: int = _MOST_LINES) -> str:
    """Problems as indented lines: the first of every video, and others up to so many lines."""
    firsts = {problem.video: id(problem) for problem in reversed(problems)}.values()
    others = [id(problem) for problem in problems if id(problem) not in firsts]
    shown = {*firsts, *others[: max(0, most - len(firsts))]}
    lines = [str(problem) for problem in problems if id(problem) in shown]
    lines += [f"and {len(problems) - len(lines)} more"] if len(problems) > len(lines) else []
    return "\n  ".join(lines)


def unlabelled_notes(videos: Sequence[RawVideo]) -> tuple[str, ...]:
    """How many pictures have no label, in a line, and which labels may have been cut off, in another."""
    without = [video for video in videos if len(video.unlabelled)]
    if not without:
        return ()
    total = sum(len(video.unlabelled) for video in without)
    of_all = total + sum(video.num_frames for video in videos)
    notes = [
        f"{total} of {of_all} pictures, in {len(without)} of {len(videos)} videos, have no label: not used"
    ]
    early = sorted(
        (video for video in without if video.labels_end_early),
        key=lambda video: -video.unlabelled_at_end / video.num_frames,
    )
    if early:
        shown = ", ".join(
            f"{video.name} {video.unlabelled_at_end} after {video.num_frames} labelled"
            for video in early[:_MOST_VIDEOS]
        )
        shown += f" and {len(early) - _MOST_VIDEOS} more videos" if len(early) > _MOST_VIDEOS else ""
        notes.append(
            f"warning: labels end more than {EARLY_END_SECONDS:g} s and {EARLY_END_SHARE:.0%} of their "
            f"number before the pictures do ({shown}); if the recordings were labelled to their end, "
            "the label files were cut off: copy them anew"
        )
    return tuple(notes)


def missing_subjects(au_set: facs.AUSet, present: Sequence[str]) -> tuple[str, ...]:
    """A note about the subjects of the folds that a tree lacks; none if all are there."""
    missing = sorted(subject for part in au_set.parts for subject in part if subject not in present)
    if not missing:
        return ()
    count = sum(map(len, au_set.parts))
    shown = ", ".join(missing[:_MOST_NAMES])
    shown += f" and {len(missing) - _MOST_NAMES} more" if len(missing) > _MOST_NAMES else ""
    return (f"{len(missing)} of the {count} subjects of {au_set.title} are missing: {shown}",)


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Frames that are a picture file each.

    Attributes:
        files: one for each frame number.
    """

    files: tuple[Path, ...]

    def __call__(self, numbers: Int32[np.ndarray, "F"], reduce: int) -> Iterator[Frame]:
        """Decodes the files one after the other; see `RawVideo.frames`."""
        for number, file in zip(numbers.tolist(), self.files, strict=True):
            yield read_image(file, number, reduce)


@dataclasses.dataclass(frozen=True)
class VideoFrames:
    """Frames of one video file, numbered from 1.

    Attributes:
        file: the video.
    """

    file: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The video."""
        return (self.file,)

    def __call__(self, numbers: Int32[np.ndarray, "F"], reduce: int) -> Iterator[Frame]:
        """Decodes the file from its start up to the last number, upright; see `RawVideo.frames`."""
        wanted = iter(numbers.tolist())
        number = next(wanted, None)
        read = 0
        for read, picture in enumerate(video_file.decode(self.file), start=1):
            if read != number:
                continue
            yield shrunk(picture.whole(), reduce)
            number = next(wanted, None)
            if number is None:
                return
        if number is not None:
            raise FrameError(
                self.file, number, f"the video has only {read} frames. {video_file.MEND}, or encode it anew"
            )


def read_image(file: Path, number: int, reduce: int = 1) -> Frame:
    """Decodes a JPEG, PNG or BMP file, and turns it upright as its EXIF data say.

    Args:
        file: the picture.
        number: of the frame, for the message.
        reduce: how much smaller height and width become.

    Raises:
        FrameError: it is not a complete picture.
    """
    try:
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            size = tuple(-(-edge // reduce) for edge in image.size)
            if 1 < reduce <= min(image.size):
                # Rounded down, so that the decoder never reduces by less.
                image.draft("RGB", (image.width // reduce, image.height // reduce))
            reduced = image.size == size
            picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    # Pillow's decoders raise all of these at damaged data.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        text = f"is not a readable picture ({error}); copy it anew from the distribution"
        raise FrameError(file, number, text) from error
    return picture if reduced else shrunk(picture, reduce)


def shrunk(frame: Frame, reduce: int) -> Frame:
    """The frame made smaller by averaging squares of so many pixels; those cut by the edge count too."""
    return np.asarray(Image.fromarray(frame).reduce(reduce)) if reduce > 1 else frame


def _place(line: int | None, frame: int | None) -> str:
    return (f", line {line}" if line is not None else "") + (f", frame {frame}" if frame is not None else "")
