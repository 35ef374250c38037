"""Aligns videos and pictures, and says how well and how fast: ``python -m mdhr_jax.faces VIDEO_OR_IMAGES``.

Measures are explained in `mdhr_jax.faces.measure` and docs/faces.md.
"""

import argparse
import dataclasses
import itertools
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mdhr_jax import commands
from mdhr_jax.faces import measure, media, options, sheet
from mdhr_jax.faces.aligner import STATUSES, AlignedFrame, VideoAligner
from mdhr_jax.faces.detector import Detector, Face, Frame
from mdhr_jax.faces.mtcnn import MTCNNDetector
from mdhr_jax.faces.precomputed import PrecomputedDetector
from mdhr_jax.faces.recipe import AlignmentRecipe
from mdhr_jax.progress import Progress

_JPEG_QUALITY = 95
_ON_SHEET = 32


@dataclasses.dataclass
class _Result:
    """What came out of a recording; crops are kept for the sheet alone."""

    frames: list[AlignedFrame]
    crops: list[tuple[int, UInt8[np.ndarray, "S S 3"]]]
    seconds: float
    cpu_seconds: float


class _Plain:
    """MTCNN's own points, to compare with."""

    def __init__(self, detector: MTCNNDetector):
        self.name, self.version = detector.name, detector.version
        self._search = detector.search

    def detect(self, frames: Sequence[Frame]) -> list[list[Face]]:
        return self._search(frames)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.faces",
        description="Aligns the faces of videos and pictures, and says how well and how fast.",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="VIDEO_OR_IMAGES",
        help="video files, pictures, and folders of pictures that are a video, in the order of their numbers",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="crops as DIR/<input>/<frame>.jpg, from 0")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="contact sheet (PNG or JPEG)")
    parser.add_argument(
        "--compare-every-frame",
        action="store_true",
        help="also search in every frame, and say how far the points are from that and what it costs",
    )
    options.add_arguments(parser.add_argument_group("faces"))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, 1 where there is no face in any input, 2 after a mistake."""
    chosen = _parser().parse_args(argv)

    def run() -> int:
        recipe = options.recipe(chosen)
        found = media.recordings(chosen.inputs)
        _check_outputs(chosen, found)
        crops, any_face = [], False
        for recording in found:
            result = _align(recording, recipe, chosen)
            any_face |= any(frame.matrix is not None for frame in result.frames)
            crops += [(f"{Path(recording.name).stem[:16]} {index}", crop) for index, crop in result.crops]
        if chosen.sheet is not None and crops:
            chosen.sheet.parent.mkdir(parents=True, exist_ok=True)
            sheet.draw(crops, recipe).save(chosen.sheet)
        if not any_face:
            print("error: there is no face in any of the inputs", file=sys.stderr)
            return commands.FAILED
        return commands.DONE

    return commands.finish(run, interrupted="inputs that were reported are written")


def _check_outputs(chosen: argparse.Namespace, found: Sequence[media.Recording]) -> None:
    """Finds out before the work whether its results have a place.

    Raises:
        ValueError: they have not.
    """
    names = [recording.name for recording in found]
    if chosen.out is not None:
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two inputs are named {name}; give them to --out one at a time")
            if (chosen.out / name).exists():
                raise ValueError(f"{chosen.out / name} exists already; choose another --out or remove it")
    if chosen.sheet is not None and chosen.sheet.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"--sheet must end in .png or .jpg, found {chosen.sheet}")


def _align(recording: media.Recording, recipe: AlignmentRecipe, chosen: argparse.Namespace) -> _Result:
    def detector() -> Detector:
        return options.detector(recipe, chosen.detections, Path(recording.name).stem)

    length = recording.length()
    print(f"{recording.name}:")
    keep_every = max(1, -(-length // _ON_SHEET)) if chosen.sheet is not None else 0
    first = detector()
    if isinstance(first, MTCNNDetector):
        # TensorFlow prepares its networks at the first call; that is not the speed of the work.
        first.detect(list(itertools.islice(recording.frames(), 1)))
    with _CropFolder(chosen.out, recording.name) as save, _progress(length, recording.name) as bar:
        result = _run(recording.frames(), recipe, first, save, keep_every, bar.update)
        if isinstance(first, PrecomputedDetector) and result.frames:
            # Before the crops get their final name.
            first.check_end()
    if not result.frames:
        raise ValueError(f"{recording.paths[0]} has no frames")
    _report(result, recipe)
    for note in first.notes if isinstance(first, PrecomputedDetector) else ():
        print(f"  {note}")
    if chosen.compare_every_frame:
        others: dict[str, Detector] = {"a search in every frame": detector()}
        if isinstance(first, MTCNNDetector):
            others["MTCNN's own points in every frame"] = _Plain(first)
        every = dataclasses.replace(recipe, detect_every=1)
        for name, other in others.items():
            with _progress(length, f"{recording.name}, {name}") as bar:
                reference = _run(recording.frames(), every, other, None, 0, bar.update)
            _compare(name, result, reference, recipe)
    return result


def _progress(length: int, label: str) -> Progress:
    return Progress(length, unit="frames", label=label)


def _run(
    frames: Iterator[Frame],
    recipe: AlignmentRecipe,
    detector: Detector,
    save: Callable[[AlignedFrame], None] | None,
    keep_every: int,
    step: Callable[[], None],
) -> _Result:
    aligner = VideoAligner(recipe, detector)
    result = _Result([], [], 0.0, 0.0)

    def take(done: list[AlignedFrame]) -> None:
        nonlocal keep_every
        for frame in done:
            if save is not None:
                save(frame)
            if keep_every and frame.image is not None and frame.index % keep_every == 0:
                result.crops.append((frame.index, frame.image))
                if len(result.crops) > 2 * _ON_SHEET:
                    # There are more frames than the file said.
                    keep_every *= 2
                    result.crops = [kept for kept in result.crops if kept[0] % keep_every == 0]
            result.frames.append(dataclasses.replace(frame, image=None))
            step()

    start, cpu = time.monotonic(), _cpu_seconds()
    for frame in frames:
        take(aligner.push(frame))
    take(aligner.flush())
    result.seconds, result.cpu_seconds = time.monotonic() - start, _cpu_seconds() - cpu
    return result


class _CropFolder:
    """Writes crops to a folder that has its name only when all are there."""

    def __init__(self, out: Path | None, name: str):
        self._final = None if out is None else out / name
        self._made = None if out is None else out / f".{name}.{os.getpid()}.tmp"

    def __enter__(self) -> Callable[[AlignedFrame], None] | None:
        if self._made is None:
            return None
        self._made.mkdir(parents=True)
        return self._save

    def _save(self, frame: AlignedFrame) -> None:
        if frame.image is not None and self._made is not None:
            path = self._made / f"{frame.index}.jpg"
            Image.fromarray(frame.image).save(path, quality=_JPEG_QUALITY)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._made is None or self._final is None:
            return
        if kind is None:
            os.replace(self._made, self._final)
        else:
            shutil.rmtree(self._made, ignore_errors=True)


def _report(result: _Result, recipe: AlignmentRecipe) -> None:
    count = len(result.frames)
    by_status = {status: sum(f.status == status for f in result.frames) for status in STATUSES}
    print(f"  frames {count}: " + ", ".join(f"{number} {status}" for status, number in by_status.items()))
    tracks = {frame.track for frame in result.frames if frame.track >= 0}
    if len(tracks) > 1:
        print(f"  the subject was lost and found again {len(tracks) - 1} time(s)")
    others = [frame.other_faces for frame in result.frames]
    if any(others):
        seen = sum(map(bool, others))
        print(f"  other faces: in {seen} frame(s), at most {max(others)} at once")
    before, after = measure.jitter(result.frames, recipe)
    if np.isfinite(before):
        print(f"  jitter {before:.2f} crop pixels before smoothing, {after:.2f} after")
    if count > 1:
        speed, cost = count / result.seconds, 1000 * result.cpu_seconds / count
        print(f"  {speed:.1f} frames/s, {cost:.1f} ms of a core a frame")


def _compare(name: str, result: _Result, reference: _Result, recipe: AlignmentRecipe) -> None:
    apart = measure.deviation(result.frames, reference.frames)
    missed = sum(
        one.matrix is None and other.matrix is not None
        for one, other in zip(result.frames, reference.frames, strict=True)
    )
    if apart.size:
        median, most = np.percentile(apart, [50, 95]).tolist()
        text = f"{median:.2f} crop pixels in the median, {most:.2f} at the 95th percentile"
        print(f"  from {name}: {text}; {missed} frame(s) lack a crop that it has")
    before, after = measure.jitter(reference.frames, recipe)
    speed = 1000 * reference.cpu_seconds / max(len(reference.frames), 1)
    print(f"    its jitter {before:.2f}, smoothed {after:.2f}; {speed:.1f} ms of a core a frame")


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    sys.exit(main())
