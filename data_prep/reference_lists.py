"""Reads the lists that the reference trains and tests by, and the aligned images that they name.

    LISTS/BP4D_train_img_path_fold1.txt     an image a line: F007/T1/643.jpg; DISFA: SN002/SN002_0.png
    LISTS/BP4D_train_label_fold1.txt        its AUs in label order, 0 or 1, by spaces
    LISTS/BP4D_train_sub_label_fold1.txt    its region labels (may be missing)
    LISTS/BP4D_train_weight_fold1.txt       loss weights of the AUs (may be missing)

and the same with ``test`` and for folds 2 and 3. DISFA's image lists are called
``DISFA_train_path_fold1.txt``; both names are understood, in upper or lower case, as are the line ends of
Windows and a last line without end. `data_prep.aligned_images` finds the images.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from data_prep import list_files, raw_folders
from data_prep.raw import VideoProblem
from mdhr_jax import facs
from mdhr_jax.data.records import Video

SIDES = ("train", "test")
AU_SETS = (facs.BP4D, facs.DISFA)

_FILE = re.compile(
    r"(?P<set>[a-z0-9]+)_(?P<side>train|test)_(?P<kind>(?:img_)?path|label|sub_label|weight)_fold(?P<fold>\d+)\.txt",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True, eq=False)
class ListedVideo:
    """A video as one list has it.

    Attributes:
        video: name, subject, part (empty where no list tests it), frame numbers and labels.
        images: the path of each frame, as listed.
        first_line: of the video in the list, from 1.
    """

    video: Video
    images: tuple[str, ...]
    first_line: int


@dataclasses.dataclass(frozen=True, eq=False)
class ListedHalf:
    """What a fold trains on, or what it tests on.

    Attributes:
        file: the list of images.
        listed: the videos in list order.
    """

    file: Path
    listed: tuple[ListedVideo, ...]

    @property
    def videos(self) -> tuple[Video, ...]:
        """What is known of the videos."""
        return tuple(listed.video for listed in self.listed)


@dataclasses.dataclass(frozen=True, eq=False)
class ListedFold:
    """A fold of the lists.

    Attributes:
        train: what it trains on.
        test: what it tests on.
        weights_file: of the loss weights, if there is one.
        weights: loss weights in label order, if there are any.
    """

    train: ListedHalf
    test: ListedHalf
    weights_file: Path | None
    weights: Float64[np.ndarray, "N"] | None


@dataclasses.dataclass(frozen=True, eq=False)
class ReferenceLists:
    """The lists of a data set.

    Attributes:
        root: their folder.
        au_set: whose they are.
        folds: by number; those whose files could be read.
        problems: inconsistencies; while there are any, the folds do not say what they should.
        doubtful: names of the videos that these are about, as far as that can be said. The folds lack
            those of which a line cannot be read.
        region_mismatches: region labels that do not follow from the AU labels, a problem each; None where
            there are no region labels.
        notes: what a user should know.
    """

    root: Path
    au_set: facs.AUSet
    folds: Mapping[int, ListedFold]
    problems: tuple[VideoProblem, ...]
    doubtful: frozenset[str]
    region_mismatches: tuple[VideoProblem, ...] | None
    notes: tuple[str, ...]


def has_lists(folder: Path) -> bool:
    """Whether the folder holds a list of images by its name."""
    return folder.is_dir() and any("path" in match["kind"].lower() for _, match in _list_files(folder))


def read_lists(lists_dir: str | Path, step: Callable[[str], Any] = lambda name: None) -> ReferenceLists:
    """Reads the lists of all folds; no image is looked for.

    Args:
        lists_dir: their folder.
        step: called after each of the six halves with its name.

    Raises:
        FileNotFoundError: there is no such folder, or there are no lists in it.
        ValueError: it holds lists of more than one data set, or of one that is not known.
    """
    root = Path(lists_dir).expanduser()
    problems: list[VideoProblem] = []
    au_set, files = _find(root, problems)
    mismatches: list[VideoProblem] = []
    halves: dict[tuple[int, str], ListedHalf] = {}
    doubtful: set[str] = set()
    with_regions = False
    for fold, side in itertools.product(facs.FOLDS, SIDES):
        paths = {kind: files.get((fold, side, kind)) for kind in ("path", "label", "sub_label")}
        half = _read_half(au_set, root, fold, side, paths, problems, mismatches, doubtful)
        with_regions |= paths["sub_label"] is not None
        if half is not None:
            halves[fold, side] = half
        step(f"fold {fold} {side}")
    parts = _parts(au_set, halves, problems)
    _check_across(halves, problems, doubtful)
    folds = {}
    for fold in facs.FOLDS:
        weights_file = files.get((fold, "train", "weight"))
        weights = None if weights_file is None else list_files.read_weights(au_set, weights_file, problems)
        pair = [halves.get((fold, side)) for side in SIDES]
        if pair[0] is not None and pair[1] is not None:
            train, test = (_with_parts(half, parts) for half in pair if half is not None)
            folds[fold] = ListedFold(train, test, weights_file, weights)
    return ReferenceLists(
        root=root,
        au_set=au_set,
        folds=folds,
        problems=tuple(problems),
        doubtful=frozenset(doubtful | {problem.video for problem in problems if problem.video}),
        region_mismatches=tuple(mismatches) if with_regions else None,
        notes=_notes(au_set, parts),
    )


def _list_files(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    for path in sorted(folder.iterdir()):
        if (match := _FILE.fullmatch(path.name)) and path.is_file():
            yield path, match


def _find(root: Path, problems: list[VideoProblem]) -> tuple[facs.AUSet, dict[tuple[int, str, str], Path]]:
    """The data set, and its files by fold, side and kind."""
    if not root.is_dir():
        raise FileNotFoundError(f"{raw_folders.not_a_folder(root)}; expected the folder of the lists")
    sets: dict[str, dict[tuple[int, str, str], Path]] = {}
    for path, match in _list_files(root):
        kind = match["kind"].lower().removeprefix("img_")
        key = int(match["fold"]), match["side"].lower(), kind
        other = sets.setdefault(match["set"].lower(), {}).setdefault(key, path)
        if other != path:
            problems.append(VideoProblem("", path, f"{other.name} is the same list; delete one of them"))
        elif key[0] not in facs.FOLDS:
            problems.append(VideoProblem("", path, f"there are folds {facs.FOLDS}, not {key[0]}"))
    if not sets:
        below = [str(p) for p in sorted(root.iterdir()) if p.is_dir() and has_lists(p)]
        hint = f"; there are some in {', '.join(below)}" if below else ""
        raise FileNotFoundError(f"{root} holds no lists such as BP4D_train_img_path_fold1.txt{hint}")
    known = {au_set.name: au_set for au_set in AU_SETS}
    if len(sets) > 1 or not sets.keys() <= known.keys():
        raise ValueError(
            f"{root} holds lists of {', '.join(sorted(sets))}; expected those of one of {', '.join(known)}"
        )
    ((name, files),) = sets.items()
    return known[name], files


def _read_half(
    au_set: facs.AUSet,
    root: Path,
    fold: int,
    side: str,
    paths: Mapping[str, Path | None],
    problems: list[VideoProblem],
    mismatches: list[VideoProblem],
    doubtful: set[str],
) -> ListedHalf | None:
    path_file, label_file, region_file = paths["path"], paths["label"], paths["sub_label"]
    if path_file is None or label_file is None:
        name = f"{au_set.title}_{side}_{'img_path' if path_file is None else 'label'}_fold{fold}.txt"
        problems.append(VideoProblem("", root / name, raw_folders.missing_file(root / name, "the list")))
        return None
    before = len(problems)
    images = list_files.read_images(au_set, path_file, problems)
    labels = list_files.read_numbers(label_file, au_set.num_aus, (0, 1), problems)
    regions = None
    _check_length(label_file, labels, path_file, images, problems)
    if region_file is not None:
        sizes = [region.num_combinations for region in au_set.regions]
        regions = list_files.read_numbers(region_file, len(sizes), range(max(sizes)), problems)
        _check_length(region_file, regions, path_file, images, problems)
    fits = len(problems) == before
    wrong = [table[1] for table in (images, labels, regions) if table is not None]
    # Lines can be given to videos only where the lists go together.
    entries = images[0] if images is not None and fits else []
    before_it, behind_it = _nearest(entries), _nearest(entries[::-1])[::-1]
    for lines in wrong:
        told = []
        for line, problem in lines.items():
            around = {before_it[line], behind_it[line]} - {""} if entries else set()
            doubtful |= around
            told.append(dataclasses.replace(problem, video=min(around, default="")))
        list_files.add_some(told, problems)
    if labels is None or not fits:
        return None
    known = [(i, entry) for i, entry in enumerate(entries) if entry and entry.video not in doubtful]
    if regions is not None:
        rows = [i for i, _ in known]
        mismatches += _compare_regions(au_set, region_file or path_file, labels[0], regions[0], entries, rows)
    return ListedHalf(path_file, _group(known, labels[0], path_file, problems))


def _nearest(entries: Sequence[list_files.Entry | None]) -> list[str]:
    """The video of each line; of one that does not say it, that of the last line before it that does."""
    names, last = [], ""
    for entry in entries:
        last = last if entry is None else entry.video
        names.append(last)
    return names


def _check_length(
    file: Path,
    table: tuple[Any, list_files.WrongLines] | None,
    path_file: Path,
    images: tuple[Any, list_files.WrongLines] | None,
    problems: list[VideoProblem],
) -> None:
    if table is None or images is None or len(table[0]) == len(images[0]):
        return
    rows, entries = len(table[0]), len(images[0])
    text = f"has {rows} lines, but {path_file.name} has {entries}; they must go together"
    problems.append(VideoProblem("", file, text, line=min(rows, entries) + 1))


def _compare_regions(
    au_set: facs.AUSet,
    file: Path,
    labels: Int[np.ndarray, "F N"],
    regions: Int[np.ndarray, "F R"],
    entries: Sequence[list_files.Entry | None],
    rows: Sequence[int],
) -> list[VideoProblem]:
    """Region labels in some of the rows that do not follow from the AU labels."""
    expected = facs.encode_regions(au_set, labels)
    found = []
    chosen = np.isin(np.arange(len(labels)), rows)[:, None]
    for row, column in np.argwhere((regions != expected) & chosen).tolist():
        region = au_set.regions[column]
        aus = " ".join(
            f"AU{au}={labels[row, i]}" for au, i in zip(region.aus, au_set.columns(region), strict=True)
        )
        text = f"region label {region.name} is {regions[row, column]}, but {aus} give {expected[row, column]}"
        entry = entries[row]
        found.append(VideoProblem(entry.video if entry else "", file, text, line=row + 1))
    return found


def _group(
    entries: Sequence[tuple[int, list_files.Entry]],
    labels: Int[np.ndarray, "F N"],
    file: Path,
    problems: list[VideoProblem],
) -> tuple[ListedVideo, ...]:
    """Consecutive lines of the same video, given with their places, are a video."""
    videos: dict[str, ListedVideo] = {}
    for name, group in itertools.groupby(entries, key=lambda item: item[1].video):
        rows = list(group)
        first = rows[0][0]
        numbers = np.asarray([entry.number for _, entry in rows], np.int32)
        back = np.flatnonzero(np.diff(numbers) <= 0)
        if name in videos:
            text = f"the video comes again after line {videos[name].first_line}; its lines must be together"
            problems.append(VideoProblem(name, file, text, line=first + 1))
        elif len(back):
            text = f"frame {numbers[back[0] + 1]} follows frame {numbers[back[0]]}; frames must ascend"
            problems.append(VideoProblem(name, file, text, line=first + int(back[0]) + 2))
        else:
            own = labels[first : first + len(rows)].astype(np.int8)
            video = Video(name, rows[0][1].subject, "", numbers, own)
            videos[name] = ListedVideo(video, tuple(entry.image for _, entry in rows), first + 1)
    return tuple(videos.values())


def _parts(
    au_set: facs.AUSet, halves: Mapping[tuple[int, str], ListedHalf], problems: list[VideoProblem]
) -> dict[str, str]:
    """Part of each subject, which is that of the fold that tests it."""
    tested: dict[str, int] = {}
    for (fold, side), half in halves.items():
        for listed in half.listed if side == "test" else ():
            subject = listed.video.subject
            if tested.setdefault(subject, fold) != fold:
                text = f"subject {subject} is tested in fold {tested[subject]} already"
                problems.append(VideoProblem(listed.video.name, half.file, text, line=listed.first_line))
    for (fold, side), half in halves.items():
        for listed in half.listed if side == "train" else ():
            video = listed.video
            where = tested.get(video.subject)
            text = ""
            if where == fold:
                text = f"subject {video.subject} is in the training and in the test list of fold {fold}"
            elif where is None and {(f, "test") for f in facs.FOLDS} <= halves.keys():
                text = f"subject {video.subject} is in no test list"
            if text:
                problems.append(VideoProblem(video.name, half.file, text, line=listed.first_line))
    return {subject: facs.part_tested(fold) for subject, fold in tested.items()}


def _check_across(
    halves: Mapping[tuple[int, str], ListedHalf], problems: list[VideoProblem], doubtful: set[str]
) -> None:
    """A video must be the same in all lists, and in the training lists of the folds that do not test it."""
    first: dict[str, tuple[ListedVideo, ListedHalf]] = {}
    wrong = []
    for half in halves.values():
        for listed in half.listed:
            video = listed.video
            known, where = first.setdefault(video.name, (listed, half))
            if not np.array_equal(video.frame_numbers, known.video.frame_numbers):
                lone = np.setxor1d(video.frame_numbers, known.video.frame_numbers)
                text = (
                    f"the frames of this video differ from those in {where.file.name}, first frame {lone[0]}"
                )
                wrong.append(VideoProblem(video.name, half.file, text, line=listed.first_line))
                continue
            rows = np.flatnonzero((video.labels != known.video.labels).any(1))
            wrong += [
                VideoProblem(
                    video.name,
                    half.file,
                    f"{listed.images[row]} has other labels in {where.file.name}, "
                    f"line {known.first_line + row}",
                    line=listed.first_line + row,
                )
                for row in rows.tolist()
            ]
    list_files.add_some(wrong, problems, 4 * list_files.MOST_OF_A_KIND)
    left_out = doubtful.copy()
    doubtful.update(problem.video for problem in wrong)
    if len(halves) < len(facs.FOLDS) * len(SIDES):
        return
    for fold in facs.FOLDS:
        here = {video.name for side in SIDES for video in halves[fold, side].videos}
        for name in sorted(first.keys() - here - left_out):
            listed, where = first[name]
            text = f"the video is here, but in no list of fold {fold}"
            problems.append(VideoProblem(name, where.file, text, line=listed.first_line))


def _with_parts(half: ListedHalf, parts: Mapping[str, str]) -> ListedHalf:
    return ListedHalf(
        half.file,
        tuple(
            dataclasses.replace(
                listed, video=dataclasses.replace(listed.video, part=parts.get(listed.video.subject, ""))
            )
            for listed in half.listed
        ),
    )


def _notes(au_set: facs.AUSet, parts: Mapping[str, str]) -> tuple[str, ...]:
    notes = []
    for subject, part in sorted(parts.items()):
        try:
            usual = au_set.part_of(subject)
        except ValueError:
            notes.append(f"{au_set.title} has no subject {subject}, the lists have it in {part}")
            continue
        if usual != part:
            notes.append(f"subject {subject} is in {part} of the lists, but in {usual} of the AU table")
    return tuple(notes)
