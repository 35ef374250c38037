"""What a folder of archives is meant to hold: the recipe of its faces, and the videos planned.

    recipe.json    how its faces are cut out; the first run writes it, and others must agree
    plan.json      the videos that were found in the distribution, those left out and why, how they were read

So several jobs can fill one folder, and a folder that is not full yet is known as such.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep import archives
from data_prep.archives import Job
from data_prep.raw import Scan, VideoProblem
from mdhr_jax.data import aligned, temporaries, video_files

PLAN_FILE = "plan.json"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a folder of archives is meant to hold.

    Attributes:
        videos: names of the videos that could be read.
        left: why others, or some of these, have no archive, by the name of the video; the empty name stands
            for the distribution.
        notes: what a user should know about the distribution.
        source: which of several recordings was read.
        labelling: how labels were made.
    """

    videos: Sequence[str] = ()
    left: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labelling: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, scan: Scan, problems: Sequence[VideoProblem]) -> "Plan":
        """The plan of a distribution, with all problems known so far."""
        left: dict[str, list[str]] = {}
        for problem in problems:
            left.setdefault(problem.video, []).append(str(problem))
        names = [*(video.name for video in scan.videos), *scan.elsewhere]
        return cls(names, left, list(scan.notes), dict(scan.source), dict(scan.labelling))

    def check_complete(self, out: Path) -> None:
        """Refuses a folder in which archives are still missing.

        Raises:
            ValueError: videos of the plan have neither an archive nor a reason.
        """
        there = {files.name for files in video_files.find(out)}
        missing = [name for name in self.videos if name not in there and name not in self.left]
        if missing:
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise ValueError(
                f"{out} is not complete: {len(missing)} of {len(self.videos)} videos are not aligned yet "
                f"({shown}). Run again with --raw (or --lists), which aligns what is missing"
            )

    def aligned(self, out: Path) -> list[str]:
        """Names of the videos that have an archive to be written: those planned without those left out.

        Args:
            out: the folder, for the message.

        Raises:
            ValueError: there are none.
        """
        names = [name for name in self.videos if name not in self.left]
        if not names:
            raise ValueError(
                f"{out} holds no video to be written: all of its plan were left out; run again with --raw "
                "(or --lists), which says why"
            )
        return names

    def strays(self, out: Path) -> dict[str, str]:
        """File names of archives that must not be written, with the reason.

        Such are left by earlier runs: of videos that were left out since, or that the distribution does not
        have any more.
        """
        planned = set(self.videos)
        reasons: dict[str, str] = {}
        for files in video_files.find(out):
            if files.name in self.left:
                reasons[files.path.name] = "the video was left out when the distribution was last read"
            elif files.name not in planned:
                reasons[files.path.name] = "the distribution that was last read has no such video"
        return reasons


def read(out: Path) -> Plan | None:
    """The plan of a folder; None if it has none, see `check_unplanned`.

    Raises:
        ValueError: it cannot be read.
    """
    path = out / PLAN_FILE
    try:
        return Plan(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); delete it and run again with --raw") from error


def check_unplanned(tree: aligned.AlignedTree) -> None:
    """Refuses a folder without a plan whose videos these commands aligned: is it full? Nobody knows.

    Args:
        tree: what it holds. Trees that others made have no plan and need none.

    Raises:
        ValueError: a video says how it was aligned.
    """
    for video in tree.videos:
        if archives.read_record(video.files) is not None:
            raise ValueError(
                f"{tree.root / PLAN_FILE} is missing, though {video.files.path.name} beside it was made "
                "under a plan: without it nobody knows which videos should be there. Run again with --raw "
                "(or --lists), which writes it and keeps what is aligned"
            )


def write(out: Path, plan: Plan) -> None:
    """Writes the plan of a folder, atomically."""
    temporary = temporaries.beside(out / PLAN_FILE)
    try:
        temporary.write_text(json.dumps(dataclasses.asdict(plan), indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, out / PLAN_FILE)
    finally:
        temporary.unlink(missing_ok=True)


def claim(job: Job, scan: Scan) -> None:
    """Makes the folder of the archives, or sees that it is for the same faces.

    Any number of jobs may do this at the same time.

    Raises:
        ValueError: it holds faces that were cut out otherwise, or other recordings, or something else.
    """
    out = job.out
    out.mkdir(parents=True, exist_ok=True)
    if not (out / aligned.RECIPE_FILE).exists():
        _publish_recipe(job)
    _compare(out, "faces that were cut out otherwise", aligned.read_recipe(out), job.crop_recipe)
    before = read(out)
    if before is not None:
        _compare(out, "other recordings", before.source, json.loads(json.dumps(dict(scan.source))))


def _publish_recipe(job: Job) -> None:
    strangers = [path.name for path in job.out.iterdir() if not path.name.startswith(".")]
    if set(strangers) - {aligned.RECIPE_FILE}:
        # Another job may have been faster, and have begun.
        if (job.out / aligned.RECIPE_FILE).exists():
            return
        raise ValueError(
            f"{job.out} is not empty and has no {aligned.RECIPE_FILE} "
            f"(found {', '.join(sorted(strangers)[:3])}); give a folder of its own with --aligned"
        )
    # Made complete under another name and then linked: the first of several jobs decides.
    folder = temporaries.beside(job.out / "recipe")
    folder.mkdir()
    try:
        aligned.write_recipe(folder, job.crop_recipe)
        made, final = folder / aligned.RECIPE_FILE, job.out / aligned.RECIPE_FILE
        try:
            os.link(made, final)
        except FileExistsError:
            return
        except OSError:
            # A file system without links.
            os.replace(made, final)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compare(out: Path, what: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
    if differing:
        listed = "; ".join(
            f"{key} is {found.get(key)!r} there, {wanted.get(key)!r} here" for key in differing
        )
        raise ValueError(
            f"{out} holds {what} ({listed}). Give another folder with --aligned, or delete it to start anew"
        )
