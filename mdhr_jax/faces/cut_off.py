"""Whether a video file is shorter than it says itself: players show what is there and do not tell."""

from pathlib import Path

_RIFF = b"RIFF"
# Boxes of MP4 and QuickTime files without which frames are missing.
_BOXES = frozenset({b"mdat", b"moov", b"moof"})
_FIRST_BOXES = _BOXES | {b"ftyp", b"styp", b"wide", b"free", b"skip", b"pnot", b"sidx"}
_EBML, _SEGMENT = bytes.fromhex("1A45DFA3"), bytes.fromhex("18538067")
_HEAD = 32


def cut_off(file: Path) -> str:
    """What is missing at the end of an AVI, MP4, QuickTime, Matroska or WebM file, in words.

    Other formats, and files that were never finished, do not announce how long they are.

    Args:
        file: the video.

    Returns:
        Nothing where nothing is missing or nobody can tell.

    Raises:
        OSError: it cannot be read.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    if head[:4] == _RIFF:
        end = _end_of_chunks(file, size)
        # The last chunk may come without the byte that fills it up.
        missing = end > size + 1
    elif head[4:8] in _FIRST_BOXES:
        end = _end_of_boxes(file, size)
        missing = end > size
    elif head[:4] == _EBML:
        end = _end_of_segment(file)
        missing = end > size
    else:
        return ""
    return f"it is cut off: {size} of {end} bytes are there" if missing else ""


def _end_of_chunks(file: Path, size: int) -> int:
    """Where the RIFF chunks of an AVI file end; large ones have several."""
    end = 0
    with file.open("rb") as stream:
        while end < size:
            stream.seek(end)
            head = stream.read(8)
            if head[:4] != _RIFF or len(head) < 8:
                break
            chunk = int.from_bytes(head[4:], "little")
            # A file that was never finished announces nothing.
            if not chunk:
                break
            # Chunks have an even length.
            end += 8 + chunk + chunk % 2
    return end


def _end_of_boxes(file: Path, size: int) -> int:
    """Where the last box with frames of an MP4 file ends."""
    end, needed = 0, 0
    with file.open("rb") as stream:
        while end < size:
            stream.seek(end)
            head = stream.read(16)
            length, kind = int.from_bytes(head[:4]), head[4:8]
            if length == 1 and len(head) == 16:
                length = int.from_bytes(head[8:])
            # 0: up to the end of the file. Other small numbers: no box, but what some leave behind.
            if length < 8:
                break
            end += length
            if kind in _BOXES:
                needed = end
    return needed


def _end_of_segment(file: Path) -> int:
    """Where the first segment of a Matroska file ends; 0 where it does not say."""
    with file.open("rb") as stream:
        stream.seek(len(_EBML))
        header = _number(stream.read(8))
        if header is None:
            return 0
        start = len(_EBML) + header[1] + header[0]
        stream.seek(start)
        head = stream.read(len(_SEGMENT) + 8)
    segment = _number(head[len(_SEGMENT) :])
    if head[: len(_SEGMENT)] != _SEGMENT or segment is None:
        return 0
    return start + len(_SEGMENT) + segment[1] + segment[0]


def _number(data: bytes) -> tuple[int, int] | None:
    """An EBML length and how many bytes it takes; None where it is not known."""
    if not data or not data[0]:
        return None
    width = 9 - data[0].bit_length()
    value = int.from_bytes(data[:width]) & ((1 << (7 * width)) - 1)
    unknown = value == (1 << (7 * width)) - 1
    return None if unknown or len(data) < width else (value, width)
