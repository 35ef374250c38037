import os

import pytest

from mdhr_jax.data import tfrecord

# What TensorFlow's TFRecordWriter wrote for these records.
RECORDS = [b"one", b"", b"three three"]
WRITTEN = bytes.fromhex(
    "0300000000000000b099490e6f6e6501405508000000000000000029039807d8ea82a2"
    "0b000000000000008615f504746872656520746872656518f7a9de"
)
OFFSETS = [0, 19, 35]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "a.tfrecord"
    file.write_bytes(WRITTEN)
    return file


def read_at(path, offset, length):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return tfrecord.read_at(descriptor, path, offset, length)
    finally:
        os.close(descriptor)


def test_scan_reads_what_tensorflow_wrote(path):
    pieces = []
    assert list(tfrecord.scan(path, pieces.append)) == list(zip(OFFSETS, RECORDS, strict=True))
    assert b"".join(pieces) == WRITTEN


@pytest.mark.parametrize(("offset", "record"), list(zip(OFFSETS, RECORDS, strict=True)))
def test_read_at_an_offset(path, offset, record):
    assert read_at(path, offset, len(record)) == record


@pytest.mark.parametrize("byte", range(len(WRITTEN)))
def test_any_flipped_bit_is_found(path, byte):
    damaged = bytearray(WRITTEN)
    damaged[byte] ^= 1 << byte % 8
    path.write_bytes(damaged)
    start = max(offset for offset in OFFSETS if offset <= byte)
    with pytest.raises(
        tfrecord.CorruptRecordError, match=rf"a\.tfrecord is damaged at byte {start}:.*copy the file"
    ):
        list(tfrecord.scan(path))
    with pytest.raises(tfrecord.CorruptRecordError, match=f"byte {start}"):
        read_at(path, start, len(RECORDS[OFFSETS.index(start)]))


@pytest.mark.parametrize("size", [size for size in range(len(WRITTEN)) if size not in OFFSETS])
def test_a_file_cut_off_within_a_record(path, size):
    path.write_bytes(WRITTEN[:size])
    start = max(offset for offset in OFFSETS if offset < size)
    with pytest.raises(tfrecord.CorruptRecordError, match=f"byte {start}"):
        list(tfrecord.scan(path))
    with pytest.raises(tfrecord.CorruptRecordError, match="the file ends before"):
        read_at(path, start, len(RECORDS[OFFSETS.index(start)]))


def test_an_empty_file(path):
    path.write_bytes(b"")
    with pytest.raises(tfrecord.CorruptRecordError, match="the file is empty"):
        list(tfrecord.scan(path))


def test_another_length_than_expected(path):
    with pytest.raises(tfrecord.CorruptRecordError, match="expected a record of 2 bytes, found one of 3"):
        read_at(path, 0, 2)
