"""Whether another face in view makes a guess of who a video's subject is.

What is known of each frame lies in the video's archive, so that a video is judged alike whoever made its
archive, and when. Only faces that could be meant count, see `mdhr_jax.faces.aligner.COMPARABLE`.
"""

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

import numpy as np

from data_prep import archives
from data_prep.archives import Job, Outcome
from data_prep.raw import RawVideo, VideoProblem
from mdhr_jax.data import video_files
from mdhr_jax.data.alignment_record import AlignmentRecord

MOST_SHARE = 0.1
"""Share of the frames in which another face may be in view; the subject's track is followed there."""

Policy = Literal["refuse", "judge", "follow"]
"""What becomes of a video with another face: it cannot be used; not if who is the subject is a guess; it is
used, and its subject is the largest face when nobody is followed."""

Place = Callable[[int], Path]
"""File of a frame, by its place among the frames of the record."""

_MEND = "give the faces of one person with --detections, or take the largest face with --other-faces-ok"


@dataclasses.dataclass(frozen=True)
class Finding:
    """Other faces in a video.

    Attributes:
        count: frames with one.
        frames: all frames.
        first: place of the first of them.
        guess: why it is a guess who the subject is; empty if it is none.
    """

    count: int
    frames: int
    first: int
    guess: str

    def text(self, where: str) -> str:
        """What was found, in words."""
        return f"another face is in view in {self.count} of {self.frames} frames{where}"


def find(record: AlignmentRecord) -> Finding | None:
    """Looks for other faces in the record of a video; None if there are none."""
    others = record.other_faces > 0
    if not others.any():
        return None
    count, frames, first = int(others.sum()), len(others), int(np.argmax(others))
    guess = ""
    if count > MOST_SHARE * frames:
        guess = f"more than {MOST_SHARE:.0%}"
    else:
        # Frames from the end of one track to the beginning of the next: the subject is chosen there.
        last, track = -1, None
        for place, number in enumerate(record.track.tolist()):
            if number < 0:
                continue
            if number != track and others[last + 1 : place + 1].any():
                guess = (
                    f"also where the subject's face begins to be followed (frame {_number(record, place)})"
                )
                break
            last, track = place, number
    return Finding(count, frames, first, guess)


def judged(policy: Policy, job: Job, video: RawVideo, outcome: Outcome) -> Outcome:
    """What became of a video, after a look at the other faces in it.

    Args:
        policy: what becomes of a video with another face.
        job: what all videos have in common.
        video: the recording.
        outcome: of its alignment; the archive is there unless it has a problem.

    Raises:
        ValueError: the archive cannot be read.
    """
    if outcome.problem is not None or job.recipe is None:
        return outcome
    record = archives.read_record(video_files.ArchiveFiles(job.path(video)))
    files = video.source.files
    pictures = len(files) == video.num_frames
    found = (
        None if record is None else _judge(policy, video.name, record, lambda i: files[i if pictures else 0])
    )
    if isinstance(found, VideoProblem):
        return Outcome(video.name, video.num_frames, problem=found)
    if found is None:
        return outcome
    return dataclasses.replace(outcome, notes=(*outcome.notes, found))


def problems_of(policy: Policy, root: Path, left: Collection[str]) -> list[VideoProblem]:
    """Why videos of a folder of archives cannot be used.

    Args:
        policy: what becomes of a video with another face.
        root: the folder.
        left: names of the videos that are not looked at.

    Raises:
        ValueError: an archive cannot be read.
    """
    problems: list[VideoProblem] = []
    for archive in video_files.find(root):
        record = None if archive.name in left else archives.read_record(archive)
        path = archive.path
        found = None if record is None else _judge(policy, archive.name, record, lambda _, path=path: path)
        problems += [found] if isinstance(found, VideoProblem) else []
    return problems


def _judge(policy: Policy, name: str, record: AlignmentRecord, place: Place) -> VideoProblem | str | None:
    """The problem, or a note, or nothing."""
    found = find(record)
    if found is None:
        return None
    file, number = place(found.first), _number(record, found.first)
    if policy == "refuse" or (policy == "judge" and found.guess):
        guess = f", {found.guess}: who is the subject is a guess" if found.guess else " (--strict)"
        return VideoProblem(name, file, f"{found.text(', this one the first')}{guess}; {_MEND}", frame=number)
    return f"{found.text(f', first in {file}, frame {number}')}; the subject's track is followed"


def _number(record: AlignmentRecord, place: int) -> int:
    return int(record.frame_numbers[place])
