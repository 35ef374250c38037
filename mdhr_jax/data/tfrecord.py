"""The framing of TFRecord files, read without TensorFlow.

A record is its length (8 bytes, little endian), a masked CRC-32C of those 8 bytes, the payload, and a
masked CRC-32C of the payload. Offsets in this module point at the length.
"""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import google_crc32c

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
OVERHEAD = _HEADER.size + _FOOTER.size
"""Bytes of framing around a payload."""

_ADVICE = "copy the file again from its source, or delete the data set's folder and write the set again"


class CorruptRecordError(ValueError):
    """A TFRecord file is truncated, altered or empty."""

    def __init__(self, path: Path, offset: int, found: str):
        super().__init__(f"{path} is damaged at byte {offset}: {found}; {_ADVICE}")


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _payload_length(header: bytes, path: Path, offset: int) -> int:
    length, crc = _HEADER.unpack(header)
    if _masked_crc(header[:8]) != crc:
        raise CorruptRecordError(path, offset, "the checksum of the record's length does not match")
    return length


def _check_payload(payload: bytes, footer: bytes, path: Path, offset: int) -> None:
    if _masked_crc(payload) != _FOOTER.unpack(footer)[0]:
        raise CorruptRecordError(
            path, offset, f"the checksum of a record of {len(payload)} bytes does not match"
        )


def scan(path: Path, on_bytes: Callable[[bytes], None] | None = None) -> Iterator[tuple[int, bytes]]:
    """Reads a file from start to end, checking every checksum.

    Args:
        path: the file.
        on_bytes: gets the file's bytes, piece by piece and in order (to hash the file on the way).

    Yields:
        The offset of each record in bytes, and its payload.

    Raises:
        CorruptRecordError: the file is empty, ends within a record, or a checksum does not match.
    """
    size = path.stat().st_size
    if not size:
        raise CorruptRecordError(path, 0, "the file is empty")
    with path.open("rb") as file:
        offset = 0
        while offset < size:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                raise CorruptRecordError(
                    path, offset, f"the file ends within a record's header ({size} bytes in all)"
                )
            length = _payload_length(header, path, offset)
            if offset + OVERHEAD + length > size:
                raise CorruptRecordError(
                    path, offset, f"a record of {length} bytes does not fit, the file ends at byte {size}"
                )
            payload = file.read(length)
            footer = file.read(_FOOTER.size)
            if len(payload) < length or len(footer) < _FOOTER.size:
                raise CorruptRecordError(path, offset, "the file became shorter while it was read")
            _check_payload(payload, footer, path, offset)
            if on_bytes is not None:
                for piece in (header, payload, footer):
                    on_bytes(piece)
            yield offset, payload
            offset += OVERHEAD + length


def read_at(descriptor: int, path: Path, offset: int, length: int) -> bytes:
    """Reads one record at a known place; safe from several threads.

    Args:
        descriptor: open file descriptor.
        path: the file's name, for messages.
        offset: of the record, in bytes.
        length: of the payload, in bytes.

    Returns:
        The payload.

    Raises:
        CorruptRecordError: the bytes there are not a record of that length, or a checksum does not match.
    """
    data = os.pread(descriptor, OVERHEAD + length, offset)
    if len(data) < OVERHEAD + length:
        raise CorruptRecordError(path, offset, f"expected a record of {length} bytes, the file ends before")
    found = _payload_length(data[: _HEADER.size], path, offset)
    if found != length:
        raise CorruptRecordError(path, offset, f"expected a record of {length} bytes, found one of {found}")
    payload = data[_HEADER.size : -_FOOTER.size]
    _check_payload(payload, data[-_FOOTER.size :], path, offset)
    return payload
