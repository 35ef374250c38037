"""Videos whose frames are the aligned images that the reference's lists name.

    IMAGES/F001/T1/2440.jpg       BP4D; IMAGES may also be the folder around, which holds ``img``
    IMAGES/SN001/SN001_0.png      DISFA; or the folder around, which holds ``img_o``

For people who prepared their data for the reference. The images are cut out already, at any size.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_prep import raw_folders
from data_prep.raw import ImageFiles, RawVideo, Scan, VideoProblem, missing_subjects
from data_prep.reference_lists import ListedVideo, ReferenceLists
from mdhr_jax import facs
from mdhr_jax.progress import Progress

IMAGE_FOLDERS = {"bp4d": "img", "disfa": "img_o"}
"""Where the reference looks for the images, beside the lists."""

_NUMBER = re.compile(r"(?:.*_)?(\d{1,9})\.(?:jpe?g|png|bmp)", re.ASCII | re.IGNORECASE)
_MOST_OF_A_KIND = 5


def videos(lists: ReferenceLists, images_dir: str | Path) -> Scan:
    """The videos of all lists, their frames in the aligned images; no image is opened.

    Args:
        lists: labels and names of the images.
        images_dir: see above.

    Returns:
        The videos by name, without those of which the lists contradict each other or have a line that cannot
        be read. An image is taken by its number where it is not there under its listed name.

    Raises:
        FileNotFoundError: there is no such folder, or none of the listed videos in it.
        ValueError: a list cannot be read, or the lists of a half do not go together.
    """
    if len(lists.folds) < len(facs.FOLDS):
        Scan(lists.au_set, (), lists.problems).raise_if_any(lists.root)
    listed: dict[str, ListedVideo] = {}
    for fold in lists.folds.values():
        for video in (*fold.train.listed, *fold.test.listed):
            if video.video.name not in lists.doubtful:
                listed.setdefault(video.video.name, video)
    if not listed:
        Scan(lists.au_set, (), lists.problems).raise_if_any(lists.root)
    root = _image_root(lists.au_set, Path(images_dir).expanduser(), listed)
    found: list[RawVideo] = []
    problems = list(lists.problems)
    with Progress(len(listed), unit="videos", label=f"looking for the images of {lists.au_set.title}") as bar:
        for name in sorted(listed, key=_order):
            video = _read(lists.au_set, listed[name], root)
            if isinstance(video, RawVideo):
                found.append(video)
            else:
                problems += video
            bar.update()
    notes = missing_subjects(lists.au_set, [video.video.subject for video in listed.values()])
    return Scan(lists.au_set, tuple(found), tuple(problems), lists.notes + notes)


def _image_root(au_set: facs.AUSet, images_dir: Path, listed: Mapping[str, ListedVideo]) -> Path:
    if not images_dir.is_dir():
        raise FileNotFoundError(
            f"{raw_folders.not_a_folder(images_dir)}; expected the folder of the aligned images"
        )
    folders = {Path(video.images[0]).parent for video in listed.values()}
    for root in (images_dir, images_dir / IMAGE_FOLDERS[au_set.name]):
        if any((root / folder).is_dir() for folder in folders):
            return root
    example = next(iter(listed.values())).images[0]
    raise FileNotFoundError(
        f"{images_dir} holds none of the listed videos; expected images such as {images_dir / example} "
        f"or {images_dir / IMAGE_FOLDERS[au_set.name] / example}"
    )


def _read(au_set: facs.AUSet, listed: ListedVideo, root: Path) -> RawVideo | list[VideoProblem]:
    video = listed.video
    folder = root / Path(listed.images[0]).parent
    try:
        au_set.part_of(video.subject)
    except ValueError as error:
        return [VideoProblem(video.name, folder, str(error))]
    if not folder.is_dir():
        return [
            VideoProblem(video.name, folder, raw_folders.missing_folder(folder, "the folder of its images"))
        ]
    unreadable: dict[Path, str] = {}
    by_name = {path.name: path for path in raw_folders.files(folder, unreadable)}
    if unreadable:
        return [VideoProblem(video.name, path, text) for path, text in unreadable.items()]
    by_number: dict[int, list[Path]] = {}
    for path in by_name.values():
        if match := _NUMBER.fullmatch(path.name):
            by_number.setdefault(int(match[1]), []).append(path)
    images: list[Path] = []
    problems: list[VideoProblem] = []
    missing: list[int] = []
    for number, image in zip(video.frame_numbers.tolist(), listed.images, strict=True):
        exact = by_name.get(Path(image).name)
        same = [exact] if exact else by_number.get(number, [])
        if len(same) > 1:
            text = f"there are several images of this frame: {', '.join(path.name for path in same)}"
            problems.append(VideoProblem(video.name, folder, text, frame=number))
        elif same:
            images.append(same[0])
        else:
            missing.append(number)
    if missing:
        shown = ", ".join(map(str, missing[:_MOST_OF_A_KIND]))
        shown += f" and {len(missing) - _MOST_OF_A_KIND} more" if len(missing) > _MOST_OF_A_KIND else ""
        text = f"images of {len(missing)} of {len(listed.images)} listed frames are missing: {shown}"
        problems.append(VideoProblem(video.name, folder, text, frame=missing[0]))
    if problems:
        return problems[:_MOST_OF_A_KIND]
    jumps = int((np.diff(video.frame_numbers) != 1).sum())
    notes = (f"the listed frames have {jumps} gap(s)",) if jumps else ()
    return RawVideo(
        name=video.name,
        subject=video.subject,
        frame_numbers=video.frame_numbers,
        labels=video.labels,
        fps=au_set.fps,
        sources=tuple(images),
        source=ImageFiles(tuple(images)),
        notes=notes,
        unlabelled=np.array(sorted(by_number.keys() - set(video.frame_numbers.tolist())), np.int32),
    )


def _order(name: str) -> tuple[str, int]:
    subject, _, task = name.partition("_")
    return subject, int(task[1:] or 0)
