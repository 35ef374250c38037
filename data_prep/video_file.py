"""Reads video files with PyAV, one frame in memory at a time."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Int32

from data_prep.raw import Frame, FrameError, shrunk


@dataclasses.dataclass(frozen=True)
class VideoLength:
    """How long a video file is.

    Attributes:
        announced: frames that its header announces; 0 where it does not say.
        found: complete frames in it.
        cut_off: in words, if the file is shorter than it says itself; empty otherwise.
    """

    announced: int
    found: int
    cut_off: str


@dataclasses.dataclass(frozen=True)
class VideoFrames:
    """Frames of one video file, numbered from 1.

    Attributes:
        file: the video.
    """

    file: Path

    def __call__(self, numbers: Int32[np.ndarray, "F"], reduce: int) -> Iterator[Frame]:
        """Decodes the file from its start up to the last number; see `raw.RawVideo.frames`."""
        wanted = iter(numbers.tolist())
        number = next(wanted, None)
        read = 0
        for picture in _decode(self.file):
            read += 1
            if read != number:
                continue
            if picture.is_corrupt:
                text = f"is damaged ({read - 1} of {numbers[-1]} frames before it); copy the video anew"
                raise FrameError(self.file, number, text)
            yield shrunk(picture.to_ndarray(format="rgb24"), reduce)
            number = next(wanted, None)
            if number is None:
                return
        if number is not None:
            text = f"the video ends here: {read} of the {numbers[-1]} frames wanted could be read"
            raise FrameError(self.file, number, f"{text}; copy it anew, or count its frames by decoding it")


def require_av() -> ModuleType:
    """PyAV.

    Raises:
        ImportError: it is not installed; the message says how to.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError(
            f"video files need the package av ({error}): pip install mdhr_jax[faces]"
        ) from error
    return av


def length(file: Path, *, decode: bool = False) -> VideoLength:
    """Counts the frames of a video.

    Args:
        file: the video.
        decode: whether to decode it for the count, which takes as long as reading all frames; by default
            the encoded frames are counted.

    Raises:
        FrameError: it is not a video that can be read.
        ImportError: PyAV is missing.
    """
    av = require_av()
    announced = found = 0
    try:
        with av.open(str(file), metadata_errors="replace") as container:
            stream = _video_stream(container, file)
            announced = stream.frames
            if not decode:
                packets = container.demux(stream)
                found = sum(packet.size > 0 and not packet.is_corrupt for packet in packets)
    except (av.error.FFmpegError, OSError) as error:
        raise FrameError(file, None, _unreadable(error)) from error
    if decode:
        try:
            for picture in _decode(file):
                found += not picture.is_corrupt
        except FrameError:
            # What comes before the damage counts.
            pass
    return VideoLength(announced, found, _cut_off(file))


def _decode(file: Path) -> Iterator[Any]:
    """Decoded pictures of a video.

    Raises:
        FrameError: the file is damaged; the message says how many frames could be read.
    """
    av = require_av()
    read = 0
    try:
        with av.open(str(file), metadata_errors="replace") as container:
            stream = _video_stream(container, file)
            # Videos are spread over processes.
            stream.codec_context.thread_count = 1
            for picture in container.decode(stream):
                yield picture
                read += 1
    except (av.error.FFmpegError, OSError) as error:
        text = f"{_unreadable(error)}; {read} frames could be read"
        raise FrameError(file, read + 1 if read else None, text) from error


def _video_stream(container: Any, file: Path) -> Any:
    if not container.streams.video:
        raise FrameError(file, None, "holds no video")
    return container.streams.video[0]


def _unreadable(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or error
    return f"cannot be read as a video ({reason}); copy it anew from the distribution"


def _cut_off(file: Path) -> str:
    """Whether an AVI file is shorter than its RIFF chunks announce; other formats do not tell."""
    size = file.stat().st_size
    end = 0
    with file.open("rb") as stream:
        while end < size:
            stream.seek(end)
            head = stream.read(8)
            if head[:4] != b"RIFF" or len(head) < 8:
                break
            chunk = int.from_bytes(head[4:], "little")
            # A file that was never finished announces nothing.
            if not chunk:
                break
            # Chunks have an even length.
            end += 8 + chunk + chunk % 2
    # The last chunk may come without the byte that fills it up.
    return f"{size} of {end} bytes are there" if end > size + 1 else ""
