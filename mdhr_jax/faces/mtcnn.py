"""MTCNN (Zhang et al., Joint Face Detection and Alignment using Multitask Cascaded CNNs, 2016).

Weights and search are those of the package ``mtcnn``; it runs in TensorFlow, on the CPU. The points of a face
depend on the box that the last of the three networks is shown, and the boxes that the search comes up with
jump from frame to frame. Here every face is therefore shown to that network again, in boxes that its points
decide: several around each other and their mirror images, whose answers are averaged. The
same is done to find a known face in the next frame, without a search: the points of searched and of followed
frames come from the same place and do not differ in kind.
"""

import contextlib
import functools
import importlib
import importlib.metadata
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from mdhr_jax.faces.detector import Face, Frame

NAME = "mtcnn"
INSTALL = "pip install mdhr_jax[faces]"

SHORT_SIDE = 256
"""Frames are reduced to this shorter side before faces are looked for, pixels."""

LEAST_CONFIDENCE = 0.8
"""Of the last network; a followed face below it must be searched for."""

_LEAST_SIDE = 40
"""Frames smaller than this have no face that the package could find."""

_BATCH = 8

_BOX_SIZE = 1.25
"""Side of the box that is shown to the last network, in sums of eye distance and eye-mouth distance."""

_BOX_RISE = 0.05
"""How far its centre lies above the middle between eyes and mouth, in sides."""

_SHIFTS = 0.05 * np.asarray([(0, 0), (-1, -1), (1, -1), (-1, 1), (1, 1)], np.float64)
"""Where the boxes lie around that one, in sides."""

_PATCH = 48
_MIRRORED = [1, 0, 2, 4, 3]
_INDEX_TO_PIXEL = 0.5
"""The package counts from the centre of the first pixel (found with mirrored frames, see docs/faces.md)."""


def version() -> str:
    """Version of the package, which carries the weights.

    Raises:
        ImportError: it is missing.
    """
    try:
        return importlib.metadata.version("mtcnn")
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing("it is not installed") from error


@functools.cache
def load(short_side: int = SHORT_SIDE) -> "MTCNNDetector":
    """The detector, read once a process.

    Args:
        short_side: pixels to which the shorter side of a frame is reduced.

    Raises:
        ImportError: the package is missing.
    """
    return MTCNNDetector(short_side)


class MTCNNDetector:
    """MTCNN on the CPU, with one thread: videos are what is worked on in parallel.

    Args:
        short_side: pixels to which the shorter side of a frame is reduced.

    Raises:
        ImportError: the package is missing.
    """

    name = NAME

    def __init__(self, short_side: int = SHORT_SIDE):
        self.short_side = short_side
        self._tf, self._package = _import()
        self.version = version()
        last = _compiled(self._tf, self._package.get_stage(stage_id=3).model, _PATCH)
        self._last = lambda patches: last((patches - 127.5) / 128.0)
        # Called layer by layer at every scale, as the package does, the networks take twice as long.
        for stage, side in zip(self._package.stages, (None, 24, _PATCH), strict=True):
            stage._model = _compiled(self._tf, stage.model, side)

    def detect(self, frames: Sequence[Frame]) -> list[list[Face]]:
        """The faces of each frame, the surest first.

        Args:
            frames: RGB, of any size.
        """
        reduced = [_reduce(frame, self.short_side) for frame in frames]
        found = []
        for frame, picture, faces in zip(frames, reduced, self._search(reduced), strict=True):
            # The second time the box comes from points that do not depend on the search any more.
            steady = self._look_again(picture, self._look_again(picture, faces))
            kept = [_scaled(face, _scale(frame, picture)) for face in steady if face is not None]
            found.append(sorted(kept, key=lambda face: -face.confidence))
        return found

    def search(self, frames: Sequence[Frame]) -> list[list[Face]]:
        """The faces as the package finds them, to compare with.

        Args:
            frames: RGB, of any size.
        """
        reduced = [_reduce(frame, self.short_side) for frame in frames]
        return [
            [_scaled(face, _scale(frame, picture)) for face in faces]
            for frame, picture, faces in zip(frames, reduced, self._search(reduced), strict=True)
        ]

    def follow(self, frame: Frame, faces: Sequence[Face]) -> list[Face | None]:
        """Finds faces of the frame before again.

        Args:
            frame: RGB.
            faces: where they were.

        Returns:
            Each face, or None where the network does not see one.
        """
        reduced = _reduce(frame, self.short_side)
        scale = _scale(frame, reduced)
        again = self._look_again(reduced, [_scaled(face, 1.0 / scale) for face in faces])
        return [None if face is None else _scaled(face, scale) for face in again]

    def _search(self, frames: Sequence[Frame]) -> list[list[Face]]:
        """The package's own result for reduced frames."""
        found: list[list[Face]] = [[] for _ in frames]
        for batch in _batches([frame.shape for frame in frames]):
            if min(frames[batch[0]].shape[:2]) >= _LEAST_SIDE:
                for place, faces in zip(batch, self._search_batch([frames[i] for i in batch]), strict=True):
                    found[place] = faces
        return found

    def _search_batch(self, frames: list[Frame]) -> list[list[Face]]:
        with _quiet():
            rows = self._package.detect_faces(
                frames,
                output_type="numpy",
                box_format="xyxy",
                fit_to_image=False,
                threshold_onet=LEAST_CONFIDENCE,
            )
        found: list[list[Face]] = [[] for _ in frames]
        for row in np.asarray(rows, np.float32):
            points = row[6:16].reshape(2, 5).T + np.float32(_INDEX_TO_PIXEL)
            found[int(row[0])].append(Face(row[1:5] + np.float32(_INDEX_TO_PIXEL), points, float(row[5])))
        return found

    def _look_again(self, frame: Frame, faces: Sequence[Face | None]) -> list[Face | None]:
        """Points, box and confidence from the last network alone, on boxes that the faces' points decide."""
        known = [face for face in faces if face is not None]
        if not known:
            return [None for _ in faces]
        boxes = np.stack([_boxes(face.points) for face in known])
        patches = _sample(frame, boxes.reshape(-1, 3))
        both = np.concatenate([patches, patches[:, :, ::-1]])
        with _quiet():
            answers = [part.numpy() for part in self._last(both)]
        # Answers are shares of the box: its borders' offsets, five x and five y, not a face and a face.
        offsets, points, scores = (part.reshape(2, *boxes.shape[:2], -1) for part in answers)
        points = np.swapaxes(points.reshape(2, *boxes.shape[:2], 2, 5), -1, -2)
        points[1] = points[1][..., _MIRRORED, :] * [-1.0, 1.0] + [1.0, 0.0]
        offsets[1] = offsets[1][..., [2, 1, 0, 3]] * [-1.0, 1.0, -1.0, 1.0]
        corner, side = boxes[None, :, :, None, :2], boxes[None, :, :, None, 2:]
        points = (corner + side * points).mean((0, 2)).astype(np.float32)
        borders = np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], -1)
        borders = (borders + boxes[..., 2:] * offsets).mean((0, 2)).astype(np.float32)
        sure = scores[..., 1].mean((0, 2))
        again = iter(
            Face(borders[i], points[i], float(sure[i])) if _is_face(points[i], sure[i]) else None
            for i in range(len(known))
        )
        return [None if face is None else next(again) for face in faces]


def _is_face(points: Float32[np.ndarray, "5 2"], confidence: float) -> bool:
    # Points on top of each other leave no box to look at next time.
    apart = float(np.hypot(*(points[1] - points[0]))) + float(
        np.hypot(*(points[3:].mean(0) - points[:2].mean(0)))
    )
    return bool(confidence >= LEAST_CONFIDENCE) and apart > 4.0


def _boxes(points: Float32[np.ndarray, "5 2"]) -> Float[np.ndarray, "K 3"]:
    """Left and upper border and side of the boxes in which a face is shown to the last network, pixels."""
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    side = _BOX_SIZE * (np.hypot(*(points[1] - points[0])) + np.hypot(*(mouth - eyes)))
    corner = (eyes + mouth) / 2 - side * np.asarray([0.5, 0.5 + _BOX_RISE])
    return np.concatenate([corner + side * _SHIFTS, np.full((len(_SHIFTS), 1), side)], axis=1)


def _sample(frame: Frame, boxes: Float[np.ndarray, "K 3"]) -> Float32[np.ndarray, "K 48 48 3"]:
    """What boxes show, by bilinear interpolation; grey where the frame has ended."""
    steps = (np.arange(_PATCH) + 0.5) / _PATCH
    places = boxes[:, None, :2] + boxes[:, None, 2:] * steps[None, :, None] - 0.5
    height, width = frame.shape[:2]
    x, y = places[..., 0], places[..., 1]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    # A border of the value that the network sees as zero.
    low = np.minimum(0, [left.min(), top.min()])
    high = np.maximum([width, height], [left.max() + 2, top.max() + 2])
    if low.any() or high[0] > width or high[1] > height:
        around = ((-low[1], high[1] - height), (-low[0], high[0] - width), (0, 0))
        frame = np.pad(frame, around, constant_values=128)
        left, top, x, y = left - low[0], top - low[1], x - low[0], y - low[1]
    across = (x - left).astype(np.float32)[:, None, :, None]
    down = (y - top).astype(np.float32)[:, :, None, None]
    rows, columns = top[:, :, None], left[:, None, :]
    upper = frame[rows, columns] * (1 - across) + frame[rows, columns + 1] * across
    lower = frame[rows + 1, columns] * (1 - across) + frame[rows + 1, columns + 1] * across
    return upper * (1 - down) + lower * down


def _reduce(frame: Frame, short_side: int) -> Frame:
    """The frame with its shorter side reduced to `short_side` by averaging; smaller ones stay."""
    height, width = frame.shape[:2]
    factor = short_side / min(height, width)
    if factor >= 1.0:
        return frame
    size = (round(width * factor), round(height * factor))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))


def _scale(frame: Frame, reduced: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "2"]:
    """Pixels of the frame (x, y) for a pixel of the reduced one."""
    return np.asarray(
        [frame.shape[1] / reduced.shape[1], frame.shape[0] / reduced.shape[0]], dtype=np.float32
    )


def _scaled(face: Face, scale: Float32[np.ndarray, "2"]) -> Face:
    return Face(face.box * np.tile(scale, 2), face.points * scale, face.confidence)


def _batches(shapes: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Places of frames that are searched together: the package would pad other sizes."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, shape in enumerate(shapes):
        by_shape.setdefault(shape, []).append(place)
    for places in by_shape.values():
        for start in range(0, len(places), _BATCH):
            yield places[start : start + _BATCH]


def _import() -> tuple[Any, Any]:
    """TensorFlow and the package's detector."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Other kernels give other digits, and say so on standard error.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        # This one first: it says at once if it is missing, and TensorFlow takes seconds.
        package = importlib.import_module("mtcnn")
        tensorflow = importlib.import_module("tensorflow")
    except ImportError as error:
        raise _missing(str(error)) from error
    with contextlib.suppress(RuntimeError):
        # Too late where the process has used TensorFlow before; then its settings stay.
        tensorflow.config.set_visible_devices([], "GPU")
        tensorflow.config.threading.set_intra_op_parallelism_threads(1)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    return tensorflow, package.MTCNN(device="CPU:0")


def _compiled(tf: Any, model: Any, side: int | None) -> Any:
    """A network as one call, for square inputs of that side or of any size."""
    return tf.function(model, input_signature=[tf.TensorSpec([None, side, side, 3], tf.float32)])


def _missing(why: str) -> ImportError:
    return ImportError(f"face detection needs the packages mtcnn and tensorflow ({why}): {INSTALL}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without NumPy's warnings of the package's divisions by empty boxes."""
    with np.errstate(all="ignore"):
        yield
