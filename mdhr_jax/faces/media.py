"""Frames of video files and pictures, for the command."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mdhr_jax.faces import video_file
from mdhr_jax.faces.detector import Frame

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclasses.dataclass(frozen=True)
class Recording:
    """A video file, or pictures that are one video.

    Attributes:
        name: as printed and as files are named.
        paths: one video file, or a picture a frame.
        is_folder: whether it is named by a folder, with a picture or more in it.
    """

    name: str
    paths: tuple[Path, ...]
    is_folder: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def stem(self) -> str:
        """The name without a file's ending; folders have none."""
        return self.name if self.is_folder else Path(self.name).stem

    @property
    def is_video(self) -> bool:
        """Whether it is a video file."""
        return self.paths[0].suffix.lower() not in IMAGES

    def length(self) -> int:
        """Number of frames; 0 where the file does not say.

        Raises:
            ValueError: it cannot be read as a video.
            ImportError: PyAV is missing.
        """
        if not self.is_video:
            return len(self.paths)
        return video_file.announced_length(self.paths[0])

    def frames(self) -> Iterator[Frame]:
        """The frames, RGB, upright.

        Raises:
            ValueError: it cannot be read to the end.
            ImportError: PyAV is missing.
        """
        for _, frame in self.timed_frames():
            yield frame

    def timed_frames(self) -> Iterator[tuple[float | None, Frame]]:
        """The frames, and when they are shown: seconds from the first, as the file says for each.

        Pictures have no time. Where a video's first frame has none, neither have the others.

        Raises:
            ValueError: it cannot be read to the end.
            ImportError: PyAV is missing.
        """
        if not self.is_video:
            for path in self.paths:
                yield None, read_image(path)
            return
        start: float | None = None
        for number, picture in enumerate(video_file.decode(self.paths[0])):
            now: float | None = picture.time
            start = now if number == 0 else start
            time = None if start is None or now is None else now - start
            yield time, video_file.upright(picture)


def recordings(paths: Sequence[Path]) -> list[Recording]:
    """What the files of a command line are: each video and each picture on its own.

    A folder is a video, its pictures in the order of the numbers in their names.

    Raises:
        FileNotFoundError: one is not there.
        ValueError: a folder has no pictures.
    """
    found = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there")
        if path.is_dir():
            pictures = [p for p in path.iterdir() if p.suffix.lower() in IMAGES]
            if not pictures:
                raise ValueError(f"the folder {path} has no pictures ({', '.join(IMAGES)})")
            ordered = tuple(sorted(pictures, key=_number))
            found.append(Recording(path.resolve().name, ordered, is_folder=True))
        else:
            found.append(Recording(path.name, (path,)))
    return found


def read_image(path: Path) -> Frame:
    """A picture, upright, RGB.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            turned = ImageOps.exif_transpose(image)
            if turned.mode == "F":
                raise ValueError(
                    f"{path} has grey levels that are floating-point numbers, and does not say which is "
                    "white; save it with 8 or 16 bits"
                )
            if turned.mode.startswith("I"):
                # 16 bits of grey, which Pillow would cut off at 255.
                turned = Image.fromarray((np.asarray(turned) >> 8).clip(0, 255).astype(np.uint8))
            return np.asarray(turned.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a picture: {error}") from error


def _number(path: Path) -> tuple[int, str]:
    digits = "".join(c for c in path.stem if c.isdecimal())
    return int(digits or 0), path.name
