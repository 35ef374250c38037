"""Raw trees whose faces are known exactly, and what a detector would find in them."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_prep import bp4d_raw
from data_prep.raw import RawVideo
from mdhr_jax.data.synthetic import generator
from mdhr_jax.data.synthetic.landmarks import LANDMARK_NAMES
from mdhr_jax.faces import precomputed
from mdhr_jax.faces.detector import Face

from . import raw_trees

POINTS = ("eye_left_centre", "eye_right_centre", "nose_tip", "mouth_left", "mouth_right")
NUMBER_BOX = (24.0, 226.0, 232.0, 250.0)
"""Where a face says its frame's number, pixels of the canonical crop: below the chin."""


def numbered_faces(numbers: Sequence[int], subject: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Faces in the canonical crop that say their numbers, and their five points in it."""
    spec = generator.SyntheticSpec(
        preset="easy", subjects=subject + 3, videos_per_subject=1, frames_per_video=max(len(numbers), 2)
    )
    video = generator.render_video(spec, spec.videos()[subject])
    columns = [LANDMARK_NAMES.index(name) for name in POINTS]
    frames = [
        raw_trees.draw_number(face, n, NUMBER_BOX) for face, n in zip(video.frames, numbers, strict=False)
    ]
    return np.stack(frames), video.landmarks[: len(numbers), columns]


def in_picture(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where `raw_trees.place` puts points of the canonical crop."""
    edge = min(size) // 2
    border = round(0.4 * edge)
    corner = [round(length / 2 - edge / 2) - border + border for length in size]
    return (points * (edge / 256) + corner).astype(np.float32)


class Scripted:
    """A detector that says what it is told, frame after frame, and counts how often it is asked."""

    name = "scripted"
    version = "1"

    def __init__(self, faces: Sequence[Sequence[Face]]):
        self.faces = list(faces)
        self.asked = 0

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        found = [list(faces) for faces in self.faces[self.asked : self.asked + len(frames)]]
        self.asked += len(frames)
        return found


def face(points: np.ndarray, confidence: float = 0.99) -> Face:
    """A face with these points, and the box around it."""
    low, high = points.min(0), points.max(0)
    reach = (high - low).max() / 2
    box = np.concatenate([low - reach, high + reach]).astype(np.float32)
    return Face(box, points.astype(np.float32), confidence)


def write_detections(folder: Path, name: str, numbers: Sequence[int], points: np.ndarray) -> None:
    """What another program found, as `mdhr_jax.faces.precomputed` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(precomputed.COLUMNS)
        for number, places in zip(numbers, points, strict=True):
            found = face(places)
            writer.writerow([number, *found.box.tolist(), *places.ravel().tolist(), found.confidence])


def recordings(root: Path, names: Sequence[str]) -> tuple[tuple[RawVideo, ...], dict[str, np.ndarray]]:
    """Raw BP4D videos of different lengths, points of their faces by name; M011_T1 breaks off at frame 12."""
    size = (208, 278)
    points, videos = {}, []
    for i, name in enumerate(names):
        numbers = range(10, 14 + i)
        frames, places = numbered_faces(numbers, subject=i)
        points[name] = in_picture(places, size)
        videos.append(raw_trees.Bp4dVideo(name, numbers, faces=frames))
    raw_trees.write_bp4d(root, videos, size)
    spoilt = root / "2D+3D/M011/T1/12.jpg"
    spoilt.write_bytes(spoilt.read_bytes()[:1000])
    return bp4d_raw.scan(root).videos, points


def scripted(points: dict[str, np.ndarray], video: RawVideo) -> Scripted:
    """A detector that finds the faces of `recordings`."""
    return Scripted([[face(p)] for p in points[video.name]])


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
