"""Reads video files with PyAV, one frame in memory at a time; the only reader of the project."""

import dataclasses
import fractions
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from mdhr_jax.faces.cut_off import cut_off
from mdhr_jax.faces.picture import Picture

_CHUNK_HEAD = 8
# Containers whose packets are whole frames; in MPEG streams they may be fields.
_WHOLE_FRAMES = frozenset({"avi", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"})
# Codecs whose every packet is one shown frame. MPEG-4 and WMV may encode that nothing changes, MPEG-2 may
# come in fields, VP8 has frames that others refer to and nobody sees.
_ALL_SHOWN = frozenset({"av1", "h264", "hevc", "mjpeg", "vp9"})
MEND = "Copy the video anew from where it comes from"
"""What a user can do about a damaged video."""


class FrameError(ValueError):
    """A frame of a recording cannot be read.

    Attributes:
        file: the picture or the video.
        frame: its number in the recording, if it is about one frame.
        text: what is wrong and how to mend it.
    """

    def __init__(self, file: Path, frame: int | None, text: str):
        # All of them go to the base class, or the error could not cross from one process to another.
        super().__init__(file, frame, text)
        self.file, self.frame, self.text = file, frame, text

    def __str__(self) -> str:
        frame = "" if self.frame is None else f", frame {self.frame}"
        return f"{self.file}{frame}: {self.text}"


@dataclasses.dataclass(frozen=True)
class VideoLength:
    """How long a video file is.

    Attributes:
        announced: frames that its header announces; 0 where it does not say.
        found: complete frames from its start up to the first damage.
        damage: what is damaged, in words; empty if nothing was seen.
        fps: frames a second; 0 where the file does not say.
        certain: whether as many frames are shown as were found; if not, only decoding tells.
    """

    announced: int
    found: int
    damage: str
    fps: float = 0.0
    certain: bool = True


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


def announced_length(file: Path) -> int:
    """Frames that the header of a video announces; 0 where it does not say.

    Raises:
        FrameError: it is not a video that can be read.
        ImportError: PyAV is missing.
    """
    av = require_av()
    try:
        with av.open(str(file), metadata_errors="replace") as container:
            return _video_stream(container, file).frames
    except (av.error.FFmpegError, OSError) as error:
        raise FrameError(file, None, f"{_unreadable(file, error)}. {MEND}") from error


def rate(file: Path) -> fractions.Fraction | None:
    """Frames a second of a video on average, as its header says; None where it does not.

    Raises:
        FrameError: it is not a video that can be read.
        ImportError: PyAV is missing.
    """
    av = require_av()
    try:
        with av.open(str(file), metadata_errors="replace") as container:
            return _video_stream(container, file).average_rate or None
    except (av.error.FFmpegError, OSError) as error:
        raise FrameError(file, None, f"{_unreadable(file, error)}. {MEND}") from error


def length(file: Path, *, decoding: bool = False) -> VideoLength:
    """Counts the frames of a video.

    Args:
        file: the video.
        decoding: whether to decode it for the count, which takes as long as reading all frames; by default
            the encoded frames are counted, without those that the file says are not shown (those before the
            start of an MP4 file's edit list).

    Raises:
        FrameError: it is not a video that can be read.
        ImportError: PyAV is missing.
    """
    av = require_av()
    try:
        with av.open(str(file), metadata_errors="replace") as container:
            stream = _video_stream(container, file)
            announced, fps = stream.frames, float(stream.average_rate or 0.0)
            found, damage, certain = _count_packets(container, stream, announced)
    except (av.error.FFmpegError, OSError) as error:
        raise FrameError(file, None, f"{_unreadable(file, error)}. {MEND}") from error
    if decoding:
        try:
            found = sum(1 for _ in decode(file))
        except FrameError as error:
            damage = damage or error.text
            found = (error.frame or 1) - 1
        certain = True
    return VideoLength(announced, found, cut_off(file) or damage, fps, certain)


def _count_packets(container: Any, video: Any, announced: int) -> tuple[int, str, bool]:
    """Encoded frames up to the first damage, what that is, and whether all of them are shown."""
    certain = container.format.name in _WHOLE_FRAMES
    certain = certain and video.codec_context.codec.canonical_name in _ALL_SHOWN
    first: int | None = None
    found, end = 0, None
    gap: tuple[int, int, int] | None = None
    damage = ""
    for packet in container.demux():
        if not packet.size:
            continue
        # Frames of an AVI file lie close together; where the demuxer had to skip bytes, frames may be lost.
        if end is not None and packet.pos is not None and packet.pos - end > _CHUNK_HEAD and gap is None:
            gap = (found, end, packet.pos)
        end = packet.pos + packet.size + packet.size % 2 if packet.pos is not None else None
        if packet.stream.index != video.index:
            continue
        if packet.is_corrupt:
            damage = f"frame {found + 1} is not complete"
            break
        if first is None:
            first = packet.pts
            certain = certain and packet.is_keyframe
        if packet.is_discard:
            continue
        # What comes after the first key frame and is shown before it refers to frames that were cut off.
        if first is None or packet.pts is None or packet.pts < first:
            certain = False
        found += 1
    if gap is not None and announced > found and container.format.name == "avi":
        found = gap[0]
        damage = f"bytes {gap[1]} to {gap[2]}, after frame {found}, are no frames"
    return found, damage, certain


def decode(file: Path) -> Iterator[Picture]:
    """The pictures of a video up to its end.

    Raises:
        FrameError: the file is damaged; the message says how many frames could be read.
        ImportError: PyAV is missing.
    """
    av = require_av()
    read = 0
    try:
        with av.open(str(file), metadata_errors="replace") as container:
            stream = _video_stream(container, file)
            # Videos are spread over processes.
            stream.codec_context.thread_count = 1
            for packet in container.demux(stream):
                # Decoders make pictures even of half a packet, and do not say so.
                damaged = packet.is_corrupt
                for picture in stream.decode(None if damaged else packet):
                    if picture.is_corrupt:
                        raise FrameError(file, read + 1, f"is damaged; {_read_before(read)}")
                    yield Picture(picture, stream.sample_aspect_ratio)
                    read += 1
                if damaged:
                    raise FrameError(file, read + 1, f"is not complete; {_read_before(read)}")
        if missing := cut_off(file):
            raise FrameError(file, read + 1, f"{missing}; {_read_before(read)}")
    except (av.error.FFmpegError, OSError) as error:
        text = f"{_unreadable(file, error)}; {_read_before(read)}"
        raise FrameError(file, read + 1 if read else None, text) from error


def _read_before(frames: int) -> str:
    return f"frames read before it: {frames}. {MEND}"


def _video_stream(container: Any, file: Path) -> Any:
    """The video of a file; the cover of a sound file, or of a film, is none."""
    moving = [stream for stream in container.streams.video if not is_cover(stream)]
    if not moving:
        found = "a cover picture and sound" if container.streams.video else "sound"
        what = f"holds no video, only {found}" if container.streams.audio else "holds no video"
        raise FrameError(file, None, f"{what}. {MEND}, or leave it out")
    best = container.streams.best("video")
    return best if best in moving else moving[0]


def is_cover(stream: Any) -> bool:
    """Whether a stream of pictures is the one picture that a player shows beside the sound."""
    return bool(stream.disposition & require_av().stream.Disposition.attached_pic)


def _unreadable(file: Path, error: Exception) -> str:
    if file.is_file() and not file.stat().st_size:
        return "is empty (0 bytes)"
    reason = getattr(error, "strerror", None) or error
    return f"cannot be read as a video ({reason})"
