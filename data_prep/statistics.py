"""What is counted of a data set: frames, rates of the AUs, loss weights and evaluation windows of each fold.

Works on labels and frame numbers alone, wherever they come from.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mdhr_jax import facs
from mdhr_jax.data.clips import evaluation_windows
from mdhr_jax.data.records import Video
from mdhr_jax.training.losses import weights_from_rates

CLIP_LENGTH = 16
"""Frames of an evaluation window in the reference."""

DIGITS = 6
"""Decimals of rates and weights, as many as the reference prints."""


def rates(au_set: facs.AUSet, videos: Sequence[Video]) -> Float[np.ndarray, " N"]:
    """Share of the known frames in which each AU is present (float64); 0 where none is known."""
    positives = np.zeros(au_set.num_aus, np.int64)
    known = np.zeros(au_set.num_aus, np.int64)
    for video in videos:
        positives += (video.labels == 1).sum(0)
        known += (video.labels != facs.UNKNOWN).sum(0)
    return positives / np.maximum(known, 1)


def of_videos(au_set: facs.AUSet, videos: Sequence[Video]) -> dict[str, Any]:
    """Number of videos and frames, and the rate of each AU."""
    return {
        "videos": len(videos),
        "frames": sum(video.num_frames for video in videos),
        "rates": by_au(au_set, rates(au_set, videos)),
    }


def of_windows(
    videos: Sequence[Video], clip_length: int = CLIP_LENGTH, *, split_on_jumps: bool = True
) -> dict[str, int]:
    """Number of evaluation windows, of those that are padded, and of the frames that pad them.

    Args:
        videos: in the order in which they are evaluated.
        clip_length: frames of a window.
        split_on_jumps: whether a jump of the frame numbers ends a window.

    Raises:
        ValueError: the clip length is less than 1.
    """
    filled = evaluation_windows(videos, clip_length, split_on_jumps)[:, 2]
    return {
        "windows": len(filled),
        "padded_windows": int((filled < clip_length).sum()),
        "padded_frames": int((clip_length - filled).sum()),
    }


def of_fold(
    au_set: facs.AUSet,
    train: Sequence[Video],
    test: Sequence[Video],
    clip_length: int = CLIP_LENGTH,
    *,
    split_on_jumps: bool = True,
) -> dict[str, Any]:
    """What a fold trains and tests on, and the loss weights from its training labels; see `of_windows`."""
    return {
        "train": of_videos(au_set, train),
        "test": of_videos(au_set, test) | of_windows(test, clip_length, split_on_jumps=split_on_jumps),
        "class_weights": by_au(au_set, weights_from_rates(rates(au_set, train))),
    }


def of_folds(
    au_set: facs.AUSet,
    folds: Mapping[int, tuple[Sequence[Video], Sequence[Video]]],
    clip_length: int = CLIP_LENGTH,
    *,
    split_on_jumps: bool = True,
) -> dict[str, Any]:
    """The statistics of a data set as JSON.

    Args:
        au_set: the data set.
        folds: videos trained and tested on, by the number of the fold.
        clip_length: frames of a window.
        split_on_jumps: whether a jump of the frame numbers ends a window.
    """
    return {
        "dataset": au_set.name,
        "folds": {
            str(fold): of_fold(au_set, train, test, clip_length, split_on_jumps=split_on_jumps)
            for fold, (train, test) in folds.items()
        },
    }


def in_folds(videos: Sequence[Video]) -> dict[int, tuple[list[Video], list[Video]]]:
    """Videos trained and tested on in each fold, by the videos' parts, in their order."""
    return {
        fold: (
            [video for video in videos if video.part in facs.train_parts(fold)],
            [video for video in videos if video.part == facs.part_tested(fold)],
        )
        for fold in facs.FOLDS
    }


def by_au(au_set: facs.AUSet, values: Float[np.ndarray, " N"]) -> dict[str, float]:
    """Values by the name of the AU, rounded to `DIGITS`."""
    return dict(zip(au_set.au_names, np.round(values, DIGITS).tolist(), strict=True))
