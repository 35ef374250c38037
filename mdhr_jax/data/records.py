"""Random access to the videos of a data set, without TensorFlow.

Labels and frame numbers of the whole set are in memory; frames are read from the TFRecord shards where
and when they are wanted, and only those wanted are decoded.
"""

import copy
import dataclasses
import io
import os
import threading
import weakref
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf import json_format
from jaxtyping import Float, Float32, Int, Int8, Int32, UInt8
from PIL import Image

from mdhr_jax import facs
from mdhr_jax.data import examples, layout, record_index, tfrecord

DECODE_EDGES = (256, 128)
"""Sizes that frames can be decoded to; 128 is the JPEG decoder's own reduction by two."""


@dataclasses.dataclass(frozen=True)
class Video:
    """What is known of a video without reading its frames.

    Attributes:
        name: such as ``F001_T1``.
        subject: such as ``F001``.
        part: ``part1``, ``part2`` or ``part3``.
        frame_numbers: number of each list entry in the recording, ascending.
        labels: 0, 1 or -1 (unknown), in label order.
    """

    name: str
    subject: str
    part: str
    frame_numbers: Int32[np.ndarray, "F"]
    labels: Int8[np.ndarray, "F N"]

    @property
    def num_frames(self) -> int:
        """List entries of the video."""
        return len(self.frame_numbers)


def open_dataset(data_dir: str | Path, au_set: facs.AUSet, parts: Sequence[str]) -> "ClipRecords":
    """Opens some parts of a data set.

    Args:
        data_dir: the data directory (with ``bp4d/1.0.0``, ``synthetic/bp4d/1.0.0`` ...) or such a
            versioned folder itself.
        au_set: which data set; its AUs must be those of the data, in the same order.
        parts: splits, such as ``("part1", "part2")``; videos come in this order.

    Raises:
        DataNotFound: the data set is not there; the message says how to get it.
        ValueError: the folder is damaged, lacks a part, or holds other AUs than the table's entry.
    """
    directory = layout.find_dataset(data_dir, au_set)
    info = read_info(directory)
    metadata = layout.read_metadata(directory)
    layout.check_metadata(metadata, au_set, directory)
    parts = tuple(parts)
    missing = [part for part in parts if part not in info.splits]
    if missing or not parts or len(set(parts)) != len(parts):
        raise ValueError(
            f"{directory} has the parts {', '.join(sorted(info.splits)) or 'none'}; "
            f"asked for {', '.join(parts) or 'none'} (each must be there and named once)"
        )
    index = record_index.load_or_build(directory, info)
    return ClipRecords(directory, au_set, parts, index, info.features, metadata)


def read_info(directory: Path) -> Any:
    """TFDS's description of a data set, `tfds.core.DatasetInfo`.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return tfds.builder_from_directory(directory).info
    except (json_format.ParseError, UnicodeDecodeError, FileNotFoundError, KeyError, ValueError) as error:
        raise ValueError(
            f"{directory}/dataset_info.json or features.json cannot be read ({error}); "
            "delete the folder and write the data set again"
        ) from error


class ClipRecords:
    """The videos of some parts of a data set.

    Videos come in a fixed order: the parts as asked for, within a part as stored (the data set's list
    order). Frames may be read from several threads at once.

    Attributes:
        directory: folder of the shards.
        au_set: the entry of the AU table.
        parts: the parts opened.
        videos: what is known of each video.
        metadata: what the writer recorded.
        fingerprint: identifies the whole data set; other bytes give another fingerprint.
    """

    def __init__(
        self,
        directory: Path,
        au_set: facs.AUSet,
        parts: tuple[str, ...],
        index: record_index.RecordIndex,
        features: Any,
        metadata: dict[str, Any],
    ):
        self.directory = directory
        self.au_set = au_set
        self.parts = parts
        self.metadata = metadata
        self.fingerprint = index.fingerprint
        self._indexed = tuple(v for part in parts for v in index.videos if v.part == part)
        self.videos = tuple(
            Video(v.name, v.subject, v.part, v.frame_numbers, v.labels) for v in self._indexed
        )
        self._files = _Files([directory / shard.name for shard in index.shards])
        self._parse = examples.parser(features)

    @property
    def crop_recipe(self) -> dict[str, Any]:
        """How the frames were cut out of the recordings."""
        return dict(self.metadata.get("crop_recipe", {}))

    @property
    def num_frames(self) -> int:
        """List entries of all videos."""
        return sum(video.num_frames for video in self.videos)

    def of_subjects(self, subjects: Collection[str], *, others: bool = False) -> "ClipRecords":
        """The videos of some subjects, in the same order; the shards stay open only once.

        Args:
            subjects: names.
            others: take the videos of all subjects but these.
        """
        taken = copy.copy(self)
        taken._indexed = tuple(v for v in self._indexed if (v.subject in subjects) != others)
        taken.videos = tuple(v for v in self.videos if (v.subject in subjects) != others)
        return taken

    def close(self) -> None:
        """Closes the shards; reading opens them again."""
        self._files.close()

    def read_frames(
        self,
        video_index: int,
        start: int,
        stop: int,
        size: int = layout.IMAGE_EDGE,
        out: UInt8[np.ndarray, "n size size 3"] | None = None,
    ) -> UInt8[np.ndarray, "n size size 3"]:
        """Decodes consecutive frames of a video.

        Args:
            video_index: position in `videos`.
            start: first list entry.
            stop: behind the last.
            size: edge in pixels, 256 or 128.
            out: where to put the frames; by default a new array.

        Returns:
            RGB grey levels.

        Raises:
            ValueError: the range or the size does not exist, or the stored record is damaged.
        """
        video = self._indexed[video_index]
        if not 0 <= start < stop <= len(video.labels):
            raise ValueError(
                f"video {video.name} has frames 0..{len(video.labels)}, asked for {start}..{stop}"
            )
        if size not in DECODE_EDGES:
            raise ValueError(f"frames can be decoded to {DECODE_EDGES} pixels, not {size}")
        frames = np.empty((stop - start, size, size, 3), np.uint8) if out is None else out
        for chunk in range(start // layout.CHUNK_FRAMES, -(-stop // layout.CHUNK_FRAMES)):
            images = self._read_images(video, chunk)
            first = chunk * layout.CHUNK_FRAMES
            for entry in range(max(start, first), min(stop, first + layout.CHUNK_FRAMES)):
                try:
                    frames[entry - start] = _decode(images[entry - first], size)
                except OSError as error:
                    raise ValueError(
                        f"frame {video.frame_numbers[entry]} of video {video.name} in {self.directory} "
                        f"is not a readable JPEG ({error}); write the data set again"
                    ) from error
        return frames

    def read_jpegs(self, video_index: int, chunk: int) -> list[bytes]:
        """The encoded frames of one record, as they were written."""
        return [bytes(image) for image in self._read_images(self._indexed[video_index], chunk)]

    def read_truth(self, video_index: int) -> dict[str, Float32[np.ndarray, "F ..."]]:
        """What the generator of a synthetic set knows of each frame of a video besides its labels.

        Args:
            video_index: position in `videos`.

        Returns:
            ``intensities`` (F, N) in [0, 1], ``landmarks`` (F, K, 2) in pixels of a frame, ``head_pose``
            (F, 3) in degrees; nothing for recordings.
        """
        video = self._indexed[video_index]
        chunks = [self._read(video, chunk).truth for chunk in range(len(video.shard))]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def _read_images(self, video: record_index.IndexedVideo, chunk: int) -> Sequence[bytes]:
        return self._read(video, chunk).images

    def _read(self, video: record_index.IndexedVideo, chunk: int) -> examples.StoredExample:
        descriptor, path = self._files.open(int(video.shard[chunk]))
        offset, length = int(video.offset[chunk]), int(video.length[chunk])
        example = self._parse(tfrecord.read_at(descriptor, path, offset, length))
        if (example.video, example.chunk) != (video.name, chunk):
            raise tfrecord.CorruptRecordError(
                path,
                offset,
                f"expected chunk {chunk} of {video.name}, found chunk {example.chunk} of {example.video}",
            )
        return example

    def counts(self) -> tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"]]:
        """Frames in which each AU is present, and in which it is known, over these parts."""
        labels = [video.labels for video in self.videos]
        positives = sum((y == 1).sum(0, dtype=np.int64) for y in labels)
        known = sum((y != facs.UNKNOWN).sum(0, dtype=np.int64) for y in labels)
        return np.asarray(positives), np.asarray(known)

    def rates(self) -> Float[np.ndarray, "N"]:
        """Share of the known frames in which each AU is present, over these parts (float64)."""
        positives, known = self.counts()
        return positives / np.maximum(known, 1)


def _decode(jpeg: bytes, size: int) -> UInt8[np.ndarray, "size size 3"]:
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        if size != layout.IMAGE_EDGE:
            image.draft("RGB", (size, size))
        array = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    if array.shape != (size, size, 3):
        raise OSError(f"its size is {array.shape[1]}x{array.shape[0]}, expected {size}x{size}")
    return array


class _Files:
    """Open descriptors of the shards, opened at first use and closed with the owner."""

    def __init__(self, paths: Sequence[Path]):
        self._paths = paths
        self._lock = threading.Lock()
        self._descriptors: dict[int, int] = {}
        weakref.finalize(self, _close_all, self._descriptors)

    def open(self, number: int) -> tuple[int, Path]:
        path = self._paths[number]
        with self._lock:
            if number not in self._descriptors:
                self._descriptors[number] = os.open(path, os.O_RDONLY)
            return self._descriptors[number], path

    def close(self) -> None:
        with self._lock:
            _close_all(self._descriptors)


def _close_all(descriptors: dict[int, int]) -> None:
    while descriptors:
        os.close(descriptors.popitem()[1])
