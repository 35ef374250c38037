"""Where the videos of a new data set come from: an aligned tree, or the generator of synthetic faces."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int8, Int32

from mdhr_jax import facs
from mdhr_jax.data import aligned, render_pool
from mdhr_jax.data.synthetic import generator


@dataclasses.dataclass(frozen=True)
class VideoToWrite:
    """A video on its way into records.

    Attributes:
        name: such as ``F001_T1``.
        subject: such as ``F001``.
        frame_numbers: of the list entries.
        labels: -1 where unknown.
        jpegs: one for each list entry, in order; taken a record at a time.
    """

    name: str
    subject: str
    frame_numbers: Int32[np.ndarray, "F"]
    labels: Int8[np.ndarray, "F N"]
    jpegs: Iterable[bytes]


@runtime_checkable
class Source(Protocol):
    """What a builder writes."""

    au_set: facs.AUSet
    crop_recipe: dict[str, Any]
    parts: tuple[str, ...]
    num_frames: int

    def describe(self) -> dict[str, Any]:
        """What identifies the input, as JSON; equal descriptions mean equal data."""
        ...

    def videos(self, part: str) -> Iterator[VideoToWrite]:
        """The videos of a part, in list order."""
        ...


class AlignedSource:
    """Videos of an aligned tree."""

    def __init__(self, au_set: facs.AUSet, tree: aligned.AlignedTree):
        self.au_set = au_set
        self.crop_recipe = tree.crop_recipe
        self.parts = tuple(part for part in facs.PARTS if any(v.part == part for v in tree.videos))
        self.num_frames = sum(len(video.labels) for video in tree.videos)
        self._tree = tree

    def describe(self) -> dict[str, Any]:
        """What identifies the tree."""
        return {"kind": "aligned", "digest": self._tree.digest}

    def videos(self, part: str) -> Iterator[VideoToWrite]:
        """The videos of a part, their frames read and checked when they are taken."""
        for v in self._tree.videos:
            if v.part == part:
                yield VideoToWrite(
                    v.name, v.subject, v.frame_numbers, v.labels, map(aligned.read_jpeg, v.frames)
                )


class SyntheticSource:
    """Videos that the generator renders.

    Args:
        spec: of the set.
        rendered: its videos, part after part, as in `in_parts`.
    """

    def __init__(self, spec: generator.SyntheticSpec, rendered: Iterator[render_pool.EncodedVideo]):
        self.au_set = spec.au_set
        self.crop_recipe = spec.crop_recipe()
        self._spec = spec
        self._rendered = rendered
        self.parts = tuple(dict.fromkeys(video.part for video in self.in_parts(spec)))
        self.num_frames = len(spec.videos()) * spec.frames_per_video

    @staticmethod
    def in_parts(spec: generator.SyntheticSpec) -> list[generator.VideoId]:
        """The videos of a set in the order in which they are written."""
        return sorted(spec.videos(), key=lambda video: facs.PARTS.index(video.part))

    def describe(self) -> dict[str, Any]:
        """All fields of the specification, and the generator's version."""
        spec = dataclasses.asdict(self._spec)
        return {"kind": "synthetic", **spec, "generator_version": generator.GENERATOR_VERSION}

    def videos(self, part: str) -> Iterator[VideoToWrite]:
        """The videos of a part; parts must be taken in order, since all come from one stream."""
        for v in self.in_parts(self._spec):
            if v.part == part:
                video = next(self._rendered)
                numbers = np.arange(1, len(video.labels) + 1, dtype=np.int32)
                yield VideoToWrite(v.name, v.subject, numbers, video.labels, video.jpegs)
