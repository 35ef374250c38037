"""The command line that data sets share: recordings in, aligned faces, TFRecord out.

Three kinds of input:

    --raw RAW                       recordings as they come; faces are found, cut out and kept in ALIGNED
    --lists LISTS --images IMAGES   pictures aligned for the reference, named by its lists; taken as they are
    --aligned ALIGNED               faces that are cut out already

The second step, from ALIGNED to TFRecord, is cheap and can be run again.

Exit codes: `COMPLETE`, `LEFT_OUT`, `NOTHING_WRITTEN`, `INTERRUPTED`.
"""

import argparse
import dataclasses
import functools
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from data_prep import aligned_images, bystanders, manifest, plan, pool, raw, reference_lists
from data_prep.archives import Job, Outcome
from data_prep.raw import RawVideo, Scan
from mdhr_jax import commands, facs
from mdhr_jax.data import aligned, layout, temporaries
from mdhr_jax.data.aligned import AlignedTree
from mdhr_jax.data.workers import usable_cpus
from mdhr_jax.faces import options
from mdhr_jax.faces.detector import Detector
from mdhr_jax.progress import announce, counted

COMPLETE = 0
"""All that was asked for is written."""

LEFT_OUT = 1
"""Something is written, but videos were left out; they are listed."""

NOTHING_WRITTEN = 2
"""Nothing is written or the work is not finished: wrong arguments, no usable video, --strict, a full disk."""

INTERRUPTED = commands.INTERRUPTED

ReadRaw = Callable[[argparse.Namespace], Scan]
"""Reads a distribution; gets all arguments, of which ``raw`` is the folder."""


def parser(name: str, title: str, *, published: bool = True) -> argparse.ArgumentParser:
    """The arguments that the commands share.

    Args:
        name: of the command's module in this package.
        title: what is turned into TFRecord.
        published: whether the reference has lists for the data set, and its subjects are known beforehand.
    """
    made = argparse.ArgumentParser(
        prog=f"python -m data_prep.{name}",
        description=f"Turns {title} into TFRecord clips of aligned faces with AU labels.",
    )
    made.add_argument("--raw", type=Path, required=not published, help="folder of the recordings")
    if published:
        made.add_argument(
            "--lists", type=Path, help="folder of the reference's list files, in place of --raw"
        )
        made.add_argument("--images", type=Path, help="folder of the aligned pictures that the lists name")
    else:
        made.set_defaults(lists=None, images=None)
    made.add_argument(
        "--aligned",
        type=Path,
        help="folder of the aligned faces, default OUT/<data set>-aligned"
        + ("; alone, without --raw and --lists, it is only read" if published else ""),
    )
    made.add_argument(
        "--out", type=Path, required=True, help="data directory; the set goes to OUT/<data set>/<version>"
    )
    made.add_argument("--workers", type=int, help="processes that align; by default one for each CPU")
    made.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="only align every N-th video, from the I-th (from 1), and write no TFRecord: "
        "for array jobs that share one ALIGNED. Run without --shard when all are done",
    )
    made.add_argument("--beam", metavar="FLAGS", help="align as an Apache Beam pipeline with these flags")
    made.add_argument("--strict", action="store_true", help="stop at the first video that cannot be used")
    made.add_argument(
        "--other-faces-ok",
        action="store_true",
        help="use videos in which other faces are in view too: the subject is the largest when nobody is "
        f"followed. By default a video with them in more than {100 * bystanders.MOST_SHARE:g}%% of its "
        "frames, or where the subject is chosen, is left out, and any with --strict",
    )
    made.add_argument(
        "--quality", type=int, default=aligned.JPEG_QUALITY, help="of the JPEG frames, 95 to 100"
    )
    options.add_arguments(made.add_argument_group("faces"))
    return made


def main(
    au_set: facs.AUSet,
    made: argparse.ArgumentParser,
    read_raw: ReadRaw,
    arguments: Sequence[str] | None = None,
) -> int:
    """Runs the command of one data set.

    Args:
        au_set: the data set.
        made: its arguments.
        read_raw: reads its distribution.
        arguments: by default those of the process.

    Returns:
        Exit code, see above.
    """
    chosen = made.parse_args(arguments)
    _check(made, chosen)
    try:
        return _run(au_set, chosen, read_raw)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        print(f"{made.prog}: {error}", file=sys.stderr)
        return NOTHING_WRITTEN
    except KeyboardInterrupt:
        print(f"{made.prog}: interrupted; finished videos are kept", file=sys.stderr)
        return INTERRUPTED


def archives_folder(au_set: facs.AUSet, chosen: argparse.Namespace) -> Path:
    """Where the archives of the aligned faces go."""
    return chosen.aligned or chosen.out / f"{au_set.name}-aligned"


def _check(made: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
    """Refuses arguments that contradict each other."""
    inputs = [name for name in ("raw", "lists") if getattr(chosen, name) is not None]
    if len(inputs) == 2:
        made.error("--raw and --lists are two kinds of input; give one")
    if not inputs and chosen.aligned is None:
        made.error("give --raw RAW, --lists LISTS --images IMAGES, or --aligned ALIGNED")
    if (chosen.lists is None) != (chosen.images is None):
        made.error("--lists and --images belong together")
    if not inputs and (chosen.shard is not None or chosen.beam is not None):
        made.error("--shard and --beam are for aligning, which needs --raw or --lists")
    if chosen.shard is not None and chosen.beam is not None:
        made.error("--shard and --beam are two ways of sharing the work; give one")
    if chosen.workers is not None and chosen.workers < 1:
        made.error(f"--workers must be at least 1, found {chosen.workers}")
    if not 95 <= chosen.quality <= 100:
        made.error(f"--quality must be from 95 to 100, found {chosen.quality}")


def _check_folders(au_set: facs.AUSet, chosen: argparse.Namespace) -> None:
    """Refuses folders that cannot be written, before hours are spent on what should go there.

    Raises:
        ValueError: a file is where a folder is expected.
        OSError: a folder cannot be written.
    """
    reads_only = chosen.raw is None and chosen.lists is None
    if chosen.aligned is not None and not reads_only:
        _check_writable("--aligned", chosen.aligned)
    if chosen.aligned is not None and chosen.aligned.exists() and not chosen.aligned.is_dir():
        raise ValueError(f"--aligned {chosen.aligned} is a file, expected a folder")
    final = layout.version_dir(chosen.out, au_set)
    # Array jobs write no records; a set that is there already may lie where nobody can write.
    if chosen.shard is None and not final.is_dir():
        _check_writable("--out", final)
    if chosen.aligned is None:
        _check_writable("--out", archives_folder(au_set, chosen))


def _check_writable(option: str, folder: Path) -> None:
    """Makes and removes a file in a folder, or in the first above it that is there."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise ValueError(
            f"{option}: {there} is a file, expected a folder; remove it or choose another folder"
        )
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OSError(
            error.errno, f"{option}: {there} cannot be written ({error.strerror}); choose another folder"
        ) from error


def _run(au_set: facs.AUSet, chosen: argparse.Namespace, read_raw: ReadRaw) -> int:
    _check_folders(au_set, chosen)
    if chosen.raw is None and chosen.lists is None:
        tree, planned = _of_archives(au_set, chosen)
        _write(au_set, tree, planned, chosen.out)
        return LEFT_OUT if planned.left else COMPLETE
    if chosen.raw is not None:
        scan, recipe = read_raw(chosen), options.recipe(chosen)
    else:
        lists, recipe = reference_lists.read_lists(chosen.lists), None
        if lists.au_set != au_set:
            raise ValueError(f"{chosen.lists} holds lists of {lists.au_set.title}, expected {au_set.title}")
        scan = aligned_images.videos(lists, chosen.images)
    if chosen.strict:
        scan.raise_if_any(chosen.raw or chosen.lists)
    if not scan.videos and not scan.elsewhere:
        raise ValueError(f"no video can be used:\n  {raw.listed(scan.problems)}")
    out = archives_folder(au_set, chosen)
    detections = None if recipe is None else chosen.detections
    job = Job(au_set, out, recipe, chosen.quality, scan.labelling, detections)
    plan.claim(job, scan)
    temporaries.sweep(out)
    plan.write(out, plan.Plan.of(scan, scan.problems))
    if scan.problems:
        announce(f"cannot be used, and is left out:\n  {raw.listed(scan.problems)}")
    outcomes = _align(job, scan, chosen)
    problems = [*scan.problems, *(o.problem for o in outcomes if o.problem is not None)]
    _report(scan, outcomes, problems)
    usable = {outcome.video for outcome in outcomes if outcome.problem is None}
    if chosen.shard is not None:
        # A job may have got no video at all.
        if (outcomes or (scan.elsewhere and scan.problems)) and not usable:
            return NOTHING_WRITTEN
        return LEFT_OUT if problems else COMPLETE
    planned = plan.Plan.of(scan, problems)
    plan.write(out, planned)
    if not usable:
        raise ValueError("none of the videos could be aligned (see above); no data set was written")
    _name_strays(planned, out)
    subjects = {video.name: video.subject for video in scan.videos}
    _write(au_set, aligned.read_tree(au_set, out, usable, subjects), planned, chosen.out)
    return LEFT_OUT if problems else COMPLETE


def _of_archives(au_set: facs.AUSet, chosen: argparse.Namespace) -> tuple[AlignedTree, plan.Plan]:
    """The faces that are cut out already, without the videos that are left out, and why these are."""
    planned = plan.read(chosen.aligned)
    if planned is None:
        tree = aligned.read_tree(au_set, chosen.aligned)
        plan.check_unplanned(tree)
        return tree, plan.Plan()
    planned.check_complete(chosen.aligned)
    _name_strays(planned, chosen.aligned)
    problems = bystanders.problems_of(_policy(chosen), chosen.aligned, planned.left)
    if problems and chosen.strict:
        raise ValueError(f"stopped (--strict): {raw.listed(problems)}")
    if problems:
        announce(f"cannot be used, and is left out:\n  {raw.listed(problems)}")
    left = {**planned.left, **{problem.video: [str(problem)] for problem in problems}}
    planned = dataclasses.replace(planned, left=left)
    return aligned.read_tree(au_set, chosen.aligned, planned.aligned(chosen.aligned)), planned


def _policy(chosen: argparse.Namespace) -> bystanders.Policy:
    if chosen.other_faces_ok:
        return "follow"
    return "refuse" if chosen.strict else "judge"


def _align(job: Job, scan: Scan, chosen: argparse.Namespace) -> list[Outcome]:
    videos = list(scan.videos)
    # Own videos are shared out before they are looked at.
    if chosen.shard is not None and not scan.elsewhere:
        number, count = chosen.shard
        videos = videos[number - 1 :: count]
    get_detector = functools.partial(_detector, job)
    judge = functools.partial(bystanders.judged, _policy(chosen))
    if chosen.beam is not None:
        from data_prep import beam_pipeline

        return beam_pipeline.make_all(
            job, videos, get_detector, chosen.beam.split(), strict=chosen.strict, judge=judge
        )
    workers = chosen.workers or usable_cpus()
    return pool.make_all(job, videos, get_detector, workers, strict=chosen.strict, judge=judge)


def _detector(job: Job, video: RawVideo) -> Detector:
    if job.recipe is None:
        raise ValueError("frames that are taken as they are need no detector")
    numbers, others = video.frame_numbers.tolist(), video.unlabelled.tolist()
    return options.detector(job.recipe, job.detections, video.name, numbers, others)


def _report(scan: Scan, outcomes: Sequence[Outcome], problems: Sequence[raw.VideoProblem]) -> None:
    """Says what a user should know: notes, frames left out, videos left out."""
    for note in (*scan.notes, *raw.unlabelled_notes(scan.videos)):
        announce(note)
    for outcome in outcomes:
        for note in outcome.notes:
            announce(f"{outcome.video}: {note}")
        for reason, numbers in outcome.dropped.items():
            announce(f"{outcome.video}: {len(numbers)} of {outcome.frames} frames left out ({reason})")
    kept = sum(outcome.kept for outcome in outcomes)
    made = sum(not outcome.kept and outcome.problem is None for outcome in outcomes)
    announce(f"{counted(made, 'video')} aligned, {kept} {'was' if kept == 1 else 'were'} there already")
    if problems:
        skipped = {problem.video for problem in problems if problem.video}
        announce(f"{counted(len(skipped), 'video')} left out:\n  {raw.listed(problems)}")


def _name_strays(planned: plan.Plan, out: Path) -> None:
    """Says which archives are not written, since they are of no video that the plan still has."""
    for name, reason in planned.strays(out).items():
        announce(f"{out / name} is not taken: {reason}; delete it if it is of no use")


def _write(au_set: facs.AUSet, tree: AlignedTree, planned: plan.Plan, out: Path) -> None:
    # TensorFlow takes seconds to import; whatever is wrong before this is said without waiting.
    from mdhr_jax.data import builders

    beside = functools.partial(manifest.files_beside, au_set, tree, planned)
    print(builders.write_aligned(au_set, tree, out, beside))


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, such as 3/8, found {text!r}")
    return int(match[1]), int(match[2])
