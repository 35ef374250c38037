"""One stored record as Python values, parsed by TFDS's NumPy parser without TensorFlow."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float32, Int8, Int32


@dataclasses.dataclass(frozen=True)
class StoredExample:
    """Up to 32 consecutive list entries of a video, see `mdhr_jax.data.layout`.

    Attributes:
        video: name of the video.
        subject: name of the subject.
        chunk: number of the record within its video.
        frame_numbers: of the entries.
        images: JPEG files, one for each entry.
        labels: -1 where unknown.
        truth: what the generator of a synthetic set knows besides, frames first; see
            `mdhr_jax.data.sources.truth_shapes`.
    """

    video: str
    subject: str
    chunk: int
    frame_numbers: Int32[np.ndarray, "n"]
    images: Sequence[bytes]
    labels: Int8[np.ndarray, "n N"]
    truth: dict[str, Float32[np.ndarray, "n ..."]]


_COMMON = {"video", "subject", "chunk", "frame_numbers", "images", "labels"}

Parser = Callable[[bytes], StoredExample]


class _KeepEncoded(tfds.decode.SkipDecoding):
    """Leaves the images of a sequence as the bytes that they are stored as."""

    def decode_batch_example_np(self, example: Any) -> Any:
        return example


def parser(features: Any) -> Parser:
    """A function that parses serialised records; safe in several threads.

    Args:
        features: `tfds.core.DatasetInfo.features` of the data set.
    """
    decoders = {"images": _KeepEncoded()}

    def parse(payload: bytes) -> StoredExample:
        fields = features.deserialize_example_np(payload, decoders=decoders)
        return StoredExample(
            video=_text(fields["video"]),
            subject=_text(fields["subject"]),
            chunk=int(fields["chunk"]),
            frame_numbers=np.asarray(fields["frame_numbers"], np.int32),
            images=list(fields["images"]),
            labels=np.asarray(fields["labels"], np.int8),
            truth={name: np.asarray(fields[name], np.float32) for name in fields.keys() - _COMMON},
        )

    return parse


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
