"""Frames of video files and pictures, for the command."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mdhr_jax.faces import video_file
from mdhr_jax.faces.detector import Frame

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEOS = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv"),
    *(".ts", ".webm", ".wmv"),
)
"""Endings by which videos in a folder are known; a file that is named itself may have any."""
_OF_ONE_PICTURE = ("PNG", "TIFF", "WEBP")
# Others may carry a smaller version of the picture, which nobody counts.


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
            yield time, picture.whole()


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
            pictures = [file for file in listed(path) if file.suffix.lower() in IMAGES]
            videos = [file for file in listed(path) if file.suffix.lower() in VIDEOS]
            if videos and pictures:
                raise ValueError(
                    f"{path} is a folder of pictures and of videos; name the videos, or put them apart"
                )
            if not pictures:
                others = f"{len(videos)} videos, name them" if videos else f"none of {', '.join(IMAGES)}"
                raise ValueError(f"the folder {path} has no pictures ({others})")
            ordered = tuple(sorted(pictures, key=_number))
            found.append(Recording(path.resolve().name, ordered, is_folder=True))
        else:
            found.append(Recording(path.name, (path,)))
    return found


def listed(folder: Path) -> list[Path]:
    """The files of a folder by name, without hidden ones, such as those that macOS puts beside each file.

    Raises:
        OSError: it cannot be listed.
    """
    return sorted(file for file in folder.iterdir() if not file.name.startswith("."))


def read_image(path: Path) -> Frame:
    """A picture, upright, RGB.

    Grey of 16 bits is white at 65535.

    Raises:
        ValueError: it cannot be read, holds several pictures, or does not say which grey level is white.
    """
    try:
        with Image.open(path) as image:
            count = getattr(image, "n_frames", 1) if image.format in _OF_ONE_PICTURE else 1
            problem = f"holds {count} pictures; save each in a file of its own" if count > 1 else ""
            if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
                kind = "floating-point numbers" if image.mode == "F" else "32-bit integers"
                problem = f"has grey levels that are {kind}, and does not say which is white; save it with "
                problem += "8 or 16 bits"
            pixels = None if problem else _rgb(ImageOps.exif_transpose(image))
    # Pillow's decoders raise whatever goes wrong in them.
    except Exception as error:
        size = path.stat().st_size if path.is_file() else 1
        reason = (
            f"cannot be read as a picture: {error or type(error).__name__}" if size else "is empty (0 bytes)"
        )
        raise ValueError(f"{path} {reason}") from error
    if pixels is None:
        raise ValueError(f"{path} {problem}")
    return pixels


def _rgb(image: Image.Image) -> Frame:
    if image.mode.startswith("I"):
        # 16 bits of grey, which Pillow would cut off at 255.
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


def _number(path: Path) -> tuple[int, str]:
    digits = "".join(c for c in path.stem if c.isdecimal())
    return int(digits or 0), path.name
