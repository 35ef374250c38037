"""The choices of the face step as options of commands."""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

from mdhr_jax.faces import mtcnn, precomputed
from mdhr_jax.faces.detector import Detector
from mdhr_jax.faces.recipe import AlignmentRecipe
from mdhr_jax.faces.smoothing import METHODS


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Adds the options to a command."""
    default = AlignmentRecipe()
    group.add_argument(
        "--detections",
        type=Path,
        metavar="DIR",
        help="faces found by another program, DIR/<video>.csv with the columns "
        f"{','.join(precomputed.COLUMNS)}; default: MTCNN looks for them",
    )
    group.add_argument(
        "--detect-every",
        type=int,
        metavar="N",
        default=default.detect_every,
        help="search for faces in every N-th frame and follow them between, default %(default)s",
    )
    group.add_argument(
        "--short-side",
        type=int,
        metavar="PIXELS",
        default=default.short_side,
        help="to which a frame's shorter side is reduced for MTCNN, default %(default)s; faces whose shorter "
        "side is less than 20 of these pixels are not found",
    )
    group.add_argument(
        "--max-gap",
        type=int,
        metavar="N",
        default=default.max_gap,
        help="interpolate over at most N frames without a face, default %(default)s",
    )
    group.add_argument(
        "--smoothing",
        choices=[*METHODS],
        default=default.smoothing,
        help="of the points over time, default %(default)s; mean lags where a moving face appears and "
        "disappears, and always with --smoothing-causal",
    )
    group.add_argument(
        "--smoothing-window",
        type=int,
        metavar="N",
        default=default.smoothing_window,
        help="frames, odd, default %(default)s",
    )
    group.add_argument(
        "--smoothing-causal",
        action="store_true",
        help="smooth by earlier frames alone, without look-ahead; a line then hardly smooths over 7 frames: "
        "--smoothing-window 21 leaves as little unrest as a mean over 7",
    )


def recipe(chosen: argparse.Namespace) -> AlignmentRecipe:
    """The recipe that was chosen.

    Raises:
        ValueError: an option is out of range.
        ImportError: MTCNN is asked for and missing.
    """
    known = chosen.detections is not None
    return AlignmentRecipe(
        detector=precomputed.NAME if known else mtcnn.NAME,
        detector_version=precomputed.VERSION if known else mtcnn.version(),
        short_side=0 if known else chosen.short_side,
        detect_every=1 if known else chosen.detect_every,
        max_gap=chosen.max_gap,
        smoothing=chosen.smoothing,
        smoothing_window=chosen.smoothing_window,
        smoothing_causal=chosen.smoothing_causal,
    )


def detector(
    recipe: AlignmentRecipe,
    detections: Path | None,
    video_name: str,
    frame_numbers: Sequence[int] | None = None,
    others: Collection[int] = (),
) -> Detector:
    """The detector of a recipe, for one video; MTCNN is read once a process.

    Args:
        recipe: how faces are found.
        detections: folder of the videos' CSV files, where another program found the faces.
        video_name: whose file is read.
        frame_numbers: by which that file counts the video's frames; by default 0, 1, 2 and so on.
        others: numbers of frames that the recording has besides.

    Raises:
        FileNotFoundError: the video has no CSV file.
        ValueError: the recipe's detector is unknown, or the CSV file is wrong or not of this video.
        ImportError: MTCNN is missing.
    """
    if detections is not None:
        path = Path(detections) / f"{video_name}.csv"
        return precomputed.PrecomputedDetector(precomputed.read(path), frame_numbers, others, str(path))
    if recipe.detector == precomputed.NAME:
        raise ValueError("the recipe's faces were found by another program; name its folder of CSV files")
    if recipe.detector != mtcnn.NAME:
        raise ValueError(
            f"the recipe's detector {recipe.detector!r} is unknown; known: {mtcnn.NAME}, {precomputed.NAME}"
        )
    return mtcnn.load(recipe.short_side)
