"""What is measured of either side of a comparison, and the region decisions in it.

Between the region logits and the graph lies a decision (an argmax). Where two combinations of AUs are
nearly tied, rounding alone decides, and scores of that frame and its neighbours in time differ visibly
though nothing is wrong.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int8

from mdhr_jax import facs
from mdhr_jax.interop.torch_weights import Tensors

REACH = 2
"""Frames that the temporal convolution looks at on either side."""

SMALL_MARGIN = 1e-3
"""Two region logits closer than this count as nearly tied."""

STEPS = 3
"""Optimiser steps of a trajectory."""

SCHEDULE_STEPS = 10
"""Steps that the learning rate's cosine spans."""

LEARNING_RATE = 1e-4

LOSSES = ("total", "AU", "region")

SCORES = "scores"
ACTIVATIONS = "predicted activations"
GRAPH = "graph output"
TEMPORAL = "temporal output"
AFTER_DECISION = (ACTIVATIONS, GRAPH, TEMPORAL, SCORES)
"""Stages that a region decision changes."""


def region_stage(region: facs.RegionGroup) -> str:
    """Name of the stage with the logits of a region group."""
    return f"region logits {region.name}"


def stage_names(au_set: facs.AUSet) -> tuple[str, ...]:
    """Names of the stages in the order of the data flow.

    All are arrays with the frames of all clips first; positions of a map, in rows, and channels last.
    """
    return (
        *(f"backbone scale {scale}" for scale in range(1, 5)),
        "backbone final map",
        "static branch",
        *(f"MFD scale {scale}, pooled" for scale in range(1, 5)),
        "MFD weight logits",
        "MFD output",
        "G",
        *(region_stage(region) for region in au_set.regions),
        "AU vectors",
        *AFTER_DECISION,
    )


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Which AUs the graph is told to be active, a frame; -1 leaves it to the region logits.

    Attributes:
        evaluation: for the evaluation.
        training: for each step of the trajectory.
    """

    evaluation: Int8[np.ndarray, "F N"]
    training: tuple[Int8[np.ndarray, "F N"], ...]

    @staticmethod
    def free(num_frames: int, num_aus: int) -> "Decisions":
        """All left to the region logits."""
        none = np.full((num_frames, num_aus), -1, np.int8)
        return Decisions(none, (none,) * STEPS)


@dataclasses.dataclass(frozen=True)
class Measurements:
    """Numbers of one side.

    Attributes:
        stages: in evaluation mode, by the names of `stage_names`.
        stages_given: the same with given decisions; empty where none were given.
        training: by step, region logits and scores in training mode.
        losses: by step, total, AU and region loss before the update.
        gradients: of the first step, by PyTorch's names.
        buffers: running statistics after the first step, by PyTorch's names.
        stepped: all tensors after the first step, by PyTorch's names; of our side only.

    What belongs to training is empty where nothing was trained.
    """

    stages: Tensors
    stages_given: Tensors
    training: tuple[Tensors, ...]
    losses: Float[np.ndarray, "steps 3"]
    gradients: Tensors
    buffers: Tensors
    stepped: Tensors = dataclasses.field(default_factory=dict)


def decided(au_set: facs.AUSet, stages: Mapping[str, np.ndarray]) -> Int8[np.ndarray, "F N"]:
    """AUs that the region logits among some stages predict active."""
    codes = [stages[region_stage(region)].argmax(-1) for region in au_set.regions]
    return facs.decode_regions(au_set, np.stack(codes, -1)).astype(np.int8)


def nearly_tied(au_set: facs.AUSet, stages: Mapping[str, np.ndarray]) -> Bool[np.ndarray, " F"]:
    """Frames in which the two largest logits of some region are closer than `SMALL_MARGIN`."""
    tied = []
    for region in au_set.regions:
        top = np.sort(stages[region_stage(region)], axis=-1)
        tied.append(top[:, -1] - top[:, -2] < SMALL_MARGIN)
    return np.any(tied, axis=0)


def within_reach(frames: Bool[np.ndarray, " F"], clip_length: int) -> Bool[np.ndarray, " F"]:
    """Frames that lie at most `REACH` from one of those given, in the same clip."""
    clips = frames.reshape(-1, clip_length)
    near = np.zeros_like(clips)
    for clip, frame in zip(*np.nonzero(clips), strict=True):
        near[clip, max(frame - REACH, 0) : frame + REACH + 1] = True
    return near.reshape(-1)


def decisions_of(au_set: facs.AUSet, exact: Measurements) -> Decisions:
    """The decisions that a side made."""
    return Decisions(decided(au_set, exact.stages), tuple(decided(au_set, step) for step in exact.training))


def any_tied(au_set: facs.AUSet, steps: Sequence[Mapping[str, np.ndarray]]) -> int:
    """Number of frames of some steps in which a region is nearly tied."""
    return sum(int(nearly_tied(au_set, step).sum()) for step in steps)
