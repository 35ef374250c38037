"""A recording read a second time: its pictures at any size, when they are shown, and what was found."""

import dataclasses
import fractions
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mdhr_jax.faces import media, video_file
from mdhr_jax.faces.detector import Frame
from mdhr_jax.faces.picture import Picture
from mdhr_jax.predict import reading
from mdhr_jax.predict.checkpoint import Trained
from mdhr_jax.predict.rows import Row
from mdhr_jax.predict.trail import Spot, Trail


class Shown:
    """A frame, upright.

    Attributes:
        width, height: pixels.
        pts: when it is shown, in units of `time_base`; None where the recording does not say.
        time_base: seconds.
    """

    def __init__(self, source: Picture | Frame):
        self._source = source
        self.pts: int | None = None
        self.time_base: fractions.Fraction | None = None
        if isinstance(source, Picture):
            self.width, self.height = source.width, source.height
            self.pts, self.time_base = source.pts, source.time_base
        else:
            self.height, self.width = source.shape[:2]

    def whole(self) -> Frame:
        """RGB in full size, as faces are looked for in it."""
        return self._source.whole() if isinstance(self._source, Picture) else self._source

    def resized(self, width: int, height: int) -> Frame:
        """RGB of that size.

        Args:
            width, height: pixels.
        """
        if isinstance(self._source, Picture):
            return self._source.resized(width, height)
        if (width, height) == (self.width, self.height):
            return self._source
        reduced = 2 * width <= self.width
        how = Image.Resampling.BOX if reduced else Image.Resampling.BICUBIC
        return np.asarray(Image.fromarray(self._source).resize((width, height), how))


def check(recording: media.Recording) -> None:
    """Whether a recording can be read again.

    Raises:
        ValueError: it is no file, such as a camera.
    """
    if not all(Path(path).is_file() for path in recording.paths):
        raise ValueError(
            f"{recording.name} is no file and cannot be read a second time, which overlay and report need; "
            "record it first"
        )


@dataclasses.dataclass(frozen=True)
class Source:
    """A recording with its complete table and its faces.

    Attributes:
        recording: files.
        csv: the table.
        overview: of it.
        trail: where the faces are.
        trained: the model.
        mode: in which it scored.
        fps: of pictures; None where nobody said.
    """

    recording: media.Recording
    csv: Path
    overview: reading.Overview
    trail: Trail
    trained: Trained
    mode: str
    fps: float | None

    @property
    def drawn_faces(self) -> bool:
        """Whether the model was trained on drawn faces, so that its scores of real ones mean nothing."""
        return self.trained.au_set.name.startswith("synthetic_")

    def together(self) -> Iterator[tuple[Shown, tuple[Spot, ...], list[Row]]]:
        """Each frame with its faces and its rows, in bounded memory.

        Raises:
            ValueError: the recording cannot be read, or they are not of one recording.
            ImportError: PyAV is missing.
        """
        shown = frames(self.recording, self.overview.frames)
        of_table = reading.frames(self.csv, self.trained.au_set.aus)
        for one, spots, rows in zip(shown, self.trail, of_table, strict=True):
            found = [spot.face_id for spot in spots]
            if found != [row.face_id for row in rows if row.face_id is not None]:
                raise ValueError(
                    f"{self.csv} and the faces that were found differ in frame {rows[0].frame}; delete the "
                    "table, it is made anew"
                )
            yield one, spots, rows


def rate(recording: media.Recording) -> fractions.Fraction | None:
    """Frames a second of a video, on average; None where that is not known.

    Raises:
        ValueError: it cannot be read.
        ImportError: PyAV is missing.
    """
    return video_file.rate(recording.paths[0]) if recording.is_video else None


def frames(recording: media.Recording, count: int) -> Iterator[Shown]:
    """The first frames of a recording.

    Args:
        recording: files.
        count: how many; more are not read, whatever comes behind them.

    Raises:
        ValueError: it cannot be read, or has fewer frames.
        ImportError: PyAV is missing.
    """
    read = 0
    for source in itertools.islice(_sources(recording), count):
        read += 1
        yield Shown(source)
    if read < count:
        raise ValueError(
            f"{recording.name} has {read} frames where it had {count} before; it was changed meanwhile, "
            "start the command again"
        )


def _sources(recording: media.Recording) -> Iterator[Picture | Frame]:
    if recording.is_video:
        yield from video_file.decode(recording.paths[0])
    else:
        for path in recording.paths:
            yield media.read_image(path)
