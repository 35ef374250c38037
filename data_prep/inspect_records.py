"""What a prepared data set holds: statistics, and a contact sheet of its faces."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from data_prep import manifest, plan, statistics
from mdhr_jax import facs
from mdhr_jax.data import aligned, layout, own_sets, records, video_files
from mdhr_jax.data.records import ClipRecords

_FROM_MANIFEST = (
    "dropped_frames",
    "unlabelled_frames",
    "status",
    "skipped_videos",
    "notes",
    "source",
    "labelling",
    "versions",
)
_TILE = 96
_EYE_LINE = (255, 210, 0)


def find(path: Path, dataset: str | None = None) -> tuple[facs.AUSet, Path]:
    """The data set in a folder.

    Args:
        path: a data directory, or the versioned folder of a set itself.
        dataset: name of the set, where there are several.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several and it is not said which one is meant.
    """
    if (path / "dataset_info.json").is_file():
        candidates = [path]
    else:
        candidates = sorted(info.parent for info in path.glob(f"**/{layout.TFDS_VERSION}/dataset_info.json"))
    names = [str(layout.read_metadata(folder).get("au_set")) for folder in candidates]
    if dataset is not None:
        if dataset not in names:
            raise FileNotFoundError(f"there is no {dataset} in {path}; found {', '.join(names) or 'nothing'}")
        candidates = [folder for folder, name in zip(candidates, names, strict=True) if name == dataset]
        names = [dataset] * len(candidates)
    if not names:
        _refuse_aligned(path)
        raise FileNotFoundError(
            f"{path} holds neither a prepared data set nor list files of the reference; "
            f"looked for <set>/{layout.TFDS_VERSION}/dataset_info.json and for *_img_path_fold1.txt"
        )
    if len(set(names)) < len(names):
        listed = ", ".join(map(str, candidates))
        raise ValueError(
            f"{path} holds data sets of the same name ({listed}); give the folder of one of them"
        )
    if len(names) > 1:
        raise ValueError(f"{path} holds {', '.join(names)}; choose one with --dataset")
    (name,), (folder,) = names, candidates
    own_sets.register(folder.parents[1], name)
    return facs.get(name), folder


def _refuse_aligned(path: Path) -> None:
    """Tells folders of aligned faces that no records were made of yet from those that hold nothing.

    Raises:
        FileNotFoundError: it is such a folder, or holds one.
    """
    for folder in (path, *sorted(path.glob("*/"))):
        planned = plan.read(folder) if (folder / aligned.RECIPE_FILE).is_file() else None
        if planned is not None:
            there = {files.name for files in video_files.find(folder)}
            made, count = len(there.intersection(planned.videos)), len(planned.videos)
            raise FileNotFoundError(
                f"{folder} holds the aligned faces of {made} of {count} videos, of which no records were "
                "written yet; run the command that aligned them again, without --shard, which "
                + ("writes them" if made == count else "aligns the others and writes them")
            )


def open_all(au_set: facs.AUSet, folder: Path) -> ClipRecords:
    """All parts that a data set has."""
    parts = tuple(part for part in facs.PARTS if part in layout.read_metadata(folder)["parts"])
    return records.open_dataset(folder, au_set, parts)


def of_records(opened: ClipRecords, clip_length: int = statistics.CLIP_LENGTH) -> dict[str, Any]:
    """The statistics of a prepared data set as JSON.

    Args:
        opened: all its parts.
        clip_length: frames of an evaluation window.

    Raises:
        ValueError: the clip length is less than 1, or the manifest cannot be read.
    """
    au_set, videos = opened.au_set, opened.videos
    report = statistics.of_folds(au_set, statistics.in_folds(videos), clip_length)
    report["videos"] = len(videos)
    report["frames"] = opened.num_frames
    report["parts"] = {
        part: {"subjects": sorted({v.subject for v in videos if v.part == part})}
        | statistics.of_videos(au_set, [v for v in videos if v.part == part])
        for part in opened.parts
    }
    report["crop_recipe"] = opened.crop_recipe
    found = manifest.read(opened.directory) or {}
    return report | {key: found[key] for key in _FROM_MANIFEST if key in found}


def contact_sheet(opened: ClipRecords, columns: int = 12, rows: int = 12) -> UInt8[np.ndarray, "H W 3"]:
    """Faces from all over a data set, a row a video, each with the line on which its eyes should lie.

    Args:
        opened: the data set.
        columns: frames of a video, spread evenly.
        rows: videos, spread evenly; fewer if there are not so many.
    """
    chosen = np.unique(np.linspace(0, len(opened.videos) - 1, rows).round().astype(int))
    height = opened.crop_recipe.get("eye_height")
    sheet = Image.new("RGB", (columns * _TILE, len(chosen) * (_TILE + 12)), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for row, number in enumerate(chosen.tolist()):
        video = opened.videos[number]
        top = row * (_TILE + 12)
        draw.text((2, top), f"{video.name} ({video.part}, {video.num_frames} frames)", fill=(0, 0, 0))
        for column in range(columns):
            entry = column * (video.num_frames - 1) // max(columns - 1, 1)
            face = Image.fromarray(opened.read_frames(number, entry, entry + 1)[0])
            sheet.paste(face.resize((_TILE, _TILE), Image.Resampling.BOX), (column * _TILE, top + 12))
        if isinstance(height, float):
            y = top + 12 + round(height * _TILE)
            draw.line((0, y, columns * _TILE, y), fill=_EYE_LINE)
    return np.asarray(sheet)
