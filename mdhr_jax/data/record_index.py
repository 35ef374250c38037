"""Byte-offset index of a data set's TFRecord shards.

TFDS reads TFRecord only from front to back. Training wants one clip of a random video, so the shards
are read through once, every checksum is verified, and what is small (where each record lies, labels,
frame numbers) is kept: in memory, and in one cache file beside the shards.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from mdhr_jax.data import examples, layout, tfrecord
from mdhr_jax.progress import Progress

INDEX_VERSION = 1
_CACHE_NAME = f"{layout.CACHE_PREFIX}.v{INDEX_VERSION}.npz"
_LARGE_BYTES = 256 << 20
"""Size of a data set from which building the index shows its progress."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name, split, size in bytes, time of change (ns) and SHA-256."""

    name: str
    part: str
    size: int
    mtime_ns: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class IndexedVideo:
    """One video of the set.

    Attributes:
        name: such as ``F001_T1``.
        subject: such as ``F001``.
        part: split that holds it.
        shard: int32 (R,), which shard each of its records lies in.
        offset: int64 (R,), where in the shard, in bytes.
        length: int64 (R,), bytes of each payload.
        frame_numbers: int32 (F,).
        labels: int8 (F, N), -1 where unknown.
    """

    name: str
    subject: str
    part: str
    shard: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    frame_numbers: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class RecordIndex:
    """All shards and videos of a data set, videos in the order in which they are stored."""

    shards: tuple[Shard, ...]
    videos: tuple[IndexedVideo, ...]

    @property
    def fingerprint(self) -> str:
        """Identifies the data: a hash of the shards' names and checksums."""
        text = "".join(f"{shard.name} {shard.sha256}\n" for shard in self.shards)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class _Expected:
    """A shard as ``dataset_info.json`` announces it."""

    name: str
    part: str
    records: int


def expected_shards(info: Any, where: Path) -> list[_Expected]:
    """Shards that a data set must have, from TFDS's description of it.

    Raises:
        ValueError: there are none.
    """
    shards = [
        _Expected(Path(path).name, part, records)
        for part, split in sorted(info.splits.items())
        for path, records in zip(split.filepaths, split.shard_lengths, strict=True)
    ]
    if not shards:
        raise ValueError(f"{where}/dataset_info.json names no shards; write the data set again")
    return shards


def load_or_build(directory: Path, info: Any) -> RecordIndex:
    """The index of the data set in a folder, from its cache file or built anew.

    The cache is used while every shard has the size and time of change that it recorded. Several
    processes may do this at once: each writes a file of its own and renames it.

    Args:
        directory: folder with the shards.
        info: `tfds.core.DatasetInfo` of the data set.

    Raises:
        ValueError: a shard is missing, empty, truncated or altered; the message names file and offset.
    """
    shards = expected_shards(info, directory)
    stats = [_stat(directory / shard.name) for shard in shards]
    places = _cache_places(directory)
    for place in places:
        index = _load(place, shards, stats)
        if index is not None:
            return index
    index = _build(directory, shards, info.features)
    for place in places:
        try:
            _save(place, index)
        except OSError as error:
            logging.info("the record index cannot be kept at %s: %s", place, error)
        else:
            return index
    logging.warning(
        "the index of %s cannot be kept anywhere, every start will read all its shards", directory
    )
    return index


def _stat(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise ValueError(
            f"the TFRecord file {path} is missing, though dataset_info.json names it; "
            "copy it again from its source, or delete the folder and write the data set again"
        ) from None
    return stat.st_size, stat.st_mtime_ns


def _cache_places(directory: Path) -> list[Path]:
    """Beside the shards; for folders that cannot be written, the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:24]
    return [directory / _CACHE_NAME, cache / "mdhr_jax" / f"{key}.{_CACHE_NAME}"]


def _build(directory: Path, shards: Sequence[_Expected], features: Any) -> RecordIndex:
    parse = examples.parser(features)
    total = sum(_stat(directory / shard.name)[0] for shard in shards)
    done_shards: list[Shard] = []
    drafts: dict[str, _Draft] = {}
    with contextlib.ExitStack() as stack:
        bar = (
            stack.enter_context(Progress(total, unit="bytes", label="indexing"))
            if total > _LARGE_BYTES
            else None
        )
        for number, shard in enumerate(shards):
            path = directory / shard.name
            size, mtime_ns = _stat(path)
            digest = hashlib.sha256()
            count = 0
            for offset, payload in tfrecord.scan(path, digest.update):
                _add_record(drafts, parse(payload), path, offset, shard.part, number, len(payload))
                count += 1
                if bar is not None:
                    bar.update(len(payload) + tfrecord.OVERHEAD)
            if count != shard.records:
                raise tfrecord.CorruptRecordError(
                    path, size, f"it holds {count} records, dataset_info.json announces {shard.records}"
                )
            done_shards.append(Shard(shard.name, shard.part, size, mtime_ns, digest.hexdigest()))
    return RecordIndex(tuple(done_shards), tuple(draft.finish() for draft in drafts.values()))


@dataclasses.dataclass
class _Draft:
    """A video while its records are gathered."""

    name: str
    subject: str
    part: str
    places: list[tuple[int, int, int]]
    frame_numbers: list[np.ndarray]
    labels: list[np.ndarray]

    def finish(self) -> IndexedVideo:
        shard, offset, length = zip(*self.places, strict=True)
        return IndexedVideo(
            name=self.name,
            subject=self.subject,
            part=self.part,
            shard=np.asarray(shard, np.int32),
            offset=np.asarray(offset, np.int64),
            length=np.asarray(length, np.int64),
            frame_numbers=np.concatenate(self.frame_numbers).astype(np.int32),
            labels=np.concatenate(self.labels).astype(np.int8),
        )


def _add_record(
    drafts: dict[str, _Draft],
    example: examples.StoredExample,
    path: Path,
    offset: int,
    part: str,
    shard: int,
    length: int,
) -> None:
    name, chunk, numbers, labels = example.video, example.chunk, example.frame_numbers, example.labels
    draft = drafts.setdefault(name, _Draft(name, example.subject, part, [], [], []))
    problem = None
    if (
        len({len(numbers), len(labels), len(example.images)}) != 1
        or not 1 <= len(numbers) <= layout.CHUNK_FRAMES
    ):
        problem = (
            f"{len(numbers)} frame numbers, {len(labels)} label rows and {len(example.images)} images, "
            f"expected the same number of each, 1 to {layout.CHUNK_FRAMES}"
        )
    elif chunk != len(draft.places) or draft.part != part:
        problem = f"chunk {chunk} of {part}, expected chunk {len(draft.places)} of {draft.part}"
    elif draft.frame_numbers and len(draft.frame_numbers[-1]) != layout.CHUNK_FRAMES:
        problem = f"chunk {chunk} follows a chunk that is not full"
    if problem:
        raise ValueError(
            f"{path}: the record of video {name} at byte {offset} has {problem}; write the set again"
        )
    draft.places.append((shard, offset, length))
    draft.frame_numbers.append(numbers)
    draft.labels.append(labels)


def _save(place: Path, index: RecordIndex) -> None:
    videos = index.videos
    header = {
        "shards": [dataclasses.asdict(shard) for shard in index.shards],
        "videos": [(v.name, v.subject, v.part, len(v.shard), len(v.labels)) for v in videos],
    }
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        header=np.frombuffer(json.dumps(header).encode(), np.uint8),
        shard=np.concatenate([v.shard for v in videos]),
        offset=np.concatenate([v.offset for v in videos]),
        length=np.concatenate([v.length for v in videos]),
        frame_numbers=np.concatenate([v.frame_numbers for v in videos]),
        labels=np.concatenate([v.labels for v in videos]),
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(buffer.getbuffer())
        os.chmod(name, 0o644)
        os.replace(name, place)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _load(place: Path, shards: Sequence[_Expected], stats: Sequence[tuple[int, int]]) -> RecordIndex | None:
    """The stored index, or None where there is none, or a stale or unreadable one."""
    try:
        with np.load(io.BytesIO(place.read_bytes()), allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        header = json.loads(arrays.pop("header").tobytes())
        known = tuple(Shard(**entry) for entry in header["shards"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        logging.info("rebuilding the record index %s, which cannot be read: %s", place, error)
        return None
    found = [(s.name, s.part, size, mtime) for s, (size, mtime) in zip(shards, stats, strict=True)]
    if [(s.name, s.part, s.size, s.mtime_ns) for s in known] != found:
        logging.info("rebuilding the record index %s: the shards have changed since", place)
        return None
    videos = []
    record = frame = 0
    for name, subject, part, num_records, num_frames in header["videos"]:
        records, frames = slice(record, record + num_records), slice(frame, frame + num_frames)
        videos.append(
            IndexedVideo(
                name=name,
                subject=subject,
                part=part,
                shard=arrays["shard"][records],
                offset=arrays["offset"][records],
                length=arrays["length"][records],
                frame_numbers=arrays["frame_numbers"][frames],
                labels=arrays["labels"][frames],
            )
        )
        record, frame = records.stop, frames.stop
    return RecordIndex(known, tuple(videos))
