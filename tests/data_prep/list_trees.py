"""The reference's lists with their quirks, for tests."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_prep import statistics
from mdhr_jax import facs
from mdhr_jax.data.records import Video


@dataclasses.dataclass(frozen=True)
class Spelling:
    """How the lists of a data set are written.

    Attributes:
        prefix: of the file names.
        path: kind of the lists of images in their names.
        image: name of an image, of subject, task and number.
        line_end: of the training lists of images.
        final_line_end: whether the last line of the lists of images has one.
    """

    prefix: str
    path: str
    image: str
    line_end: str = "\n"
    final_line_end: bool = True


BP4D = Spelling("BP4D", "img_path", "{subject}/{task}/{number}.jpg")
DISFA = Spelling("DISFA", "path", "{subject}/{subject}_{number}.png", line_end="\r\n", final_line_end=False)


def video(au_set: facs.AUSet, name: str, numbers: range | list[int]) -> Video:
    """A video in which every AU occurs."""
    rng = np.random.default_rng(list(name.encode()))
    labels = rng.integers(0, 2, (len(numbers), au_set.num_aus)).astype(np.int8)
    labels[0] = 1
    subject = name.split("_")[0]
    return Video(name, subject, au_set.part_of(subject), np.asarray(numbers, np.int32), labels)


def write(
    root: Path, au_set: facs.AUSet, spelling: Spelling, videos: Mapping[str, range | list[int]]
) -> Path:
    """Writes all lists of a data set; the videos go to the folds by their subjects. Returns the folder."""
    root.mkdir(parents=True, exist_ok=True)
    everything = [video(au_set, name, numbers) for name, numbers in videos.items()]
    for fold, halves in statistics.in_folds(everything).items():
        for side, half in zip(("train", "test"), halves, strict=True):
            names = []
            for v in half:
                task = v.name.removeprefix(v.subject).strip("_")
                names += [
                    spelling.image.format(subject=v.subject, task=task, number=number)
                    for number in v.frame_numbers.tolist()
                ]
            line_end = spelling.line_end if side == "train" else "\n"
            text = line_end.join(names) + line_end * spelling.final_line_end
            list_file(root, spelling, side, spelling.path, fold).write_bytes(text.encode())
            labels = np.concatenate([v.labels for v in half])
            _table(list_file(root, spelling, side, "label", fold), labels)
            _table(list_file(root, spelling, side, "sub_label", fold), facs.encode_regions(au_set, labels))
            if side == "train":
                # By hand: the formula of the paper.
                inverse = 1 / labels.mean(0)
                weights = inverse / inverse.sum() * au_set.num_aus
                text = "\t".join(f"{weight:.6f}" for weight in weights)
                list_file(root, spelling, side, "weight", fold).write_text(text + "\n")
    return root


def list_file(root: Path, spelling: Spelling, side: str, kind: str, fold: int) -> Path:
    return root / f"{spelling.prefix}_{side}_{kind}_fold{fold}.txt"


def _table(file: Path, values: np.ndarray) -> None:
    file.write_text("".join(" ".join(map(str, row)) + "\n" for row in values.tolist()))
