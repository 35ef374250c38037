"""Where the videos of a new data set come from: an aligned tree, or the generator of synthetic faces."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int8, Int32

from mdhr_jax import facs
from mdhr_jax.data import aligned, layout, render_pool
from mdhr_jax.data.synthetic import card, generator

DIGEST_OF = "contents"
"""What an aligned tree is known again by. Sets of earlier versions, whose digest was of the frames' sizes, do
not say."""


@dataclasses.dataclass(frozen=True)
class VideoToWrite:
    """A video on its way into records.

    Attributes:
        name: such as ``F001_T1``.
        subject: such as ``F001``.
        frame_numbers: of the list entries.
        labels: -1 where unknown.
        jpegs: one for each list entry, in order; taken a record at a time.
        truth: what a generator knows besides, float32, frames first; see `Source.truth`.
    """

    name: str
    subject: str
    frame_numbers: Int32[np.ndarray, "F"]
    labels: Int8[np.ndarray, "F N"]
    jpegs: Iterable[bytes]
    truth: Mapping[str, Float32[np.ndarray, "F ..."]] = dataclasses.field(default_factory=dict)


@runtime_checkable
class Source(Protocol):
    """What a builder writes.

    Attributes:
        au_set: its entry of the AU table.
        crop_recipe: how the faces lie in the frames.
        parts: those that it has.
        num_frames: of all videos.
    """

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

    def beside(self, directory: Path) -> Mapping[str, bytes]:
        """Files to lay beside the records, by name, once those are written.

        Args:
            directory: that the records are in.
        """
        ...


def truth_shapes(au_set: facs.AUSet) -> dict[str, tuple[int, ...]]:
    """What is stored of every frame of a synthetic set besides its labels, and its shape.

    See `mdhr_jax.data.synthetic.generator.SyntheticVideo`.
    """
    return {
        "intensities": (au_set.num_aus,),
        "landmarks": (len(generator.LANDMARK_NAMES), 2),
        "head_pose": (3,),
    }


class AlignedSource:
    """Videos of an aligned tree.

    Args:
        au_set: its entry of the AU table.
        tree: what to write.
        beside: see `Source.beside`.
    """

    def __init__(
        self,
        au_set: facs.AUSet,
        tree: aligned.AlignedTree,
        beside: Callable[[Path], Mapping[str, bytes]] = lambda _: {},
    ):
        self.au_set = au_set
        self._beside = beside
        self.crop_recipe = tree.crop_recipe
        self.parts = tuple(part for part in facs.PARTS if any(v.part == part for v in tree.videos))
        self.num_frames = sum(len(video.labels) for video in tree.videos)
        self._tree = tree

    def describe(self) -> dict[str, Any]:
        """What identifies the tree."""
        return {"kind": "aligned", "digest": self._tree.digest, "digest_of": DIGEST_OF}

    def videos(self, part: str) -> Iterator[VideoToWrite]:
        """The videos of a part, their frames read and checked when they are taken."""
        for v in self._tree.videos:
            if v.part == part:
                yield VideoToWrite(v.name, v.subject, v.frame_numbers, v.labels, v.jpegs())

    def beside(self, directory: Path) -> Mapping[str, bytes]:
        """What the caller wants beside the records."""
        return self._beside(directory)


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

    def beside(self, directory: Path) -> Mapping[str, bytes]:
        """The data card."""
        return {layout.CARD_FILE: card.data_card(self._spec).encode()}

    def videos(self, part: str) -> Iterator[VideoToWrite]:
        """The videos of a part; parts must be taken in order, since all come from one stream."""
        for v in self.in_parts(self._spec):
            if v.part == part:
                video = next(self._rendered)
                numbers = np.arange(1, len(video.labels) + 1, dtype=np.int32)
                yield VideoToWrite(v.name, v.subject, numbers, video.labels, video.jpegs, video.truth)
