"""Presence of AUs in a cast: the subjects and videos that are drawn together, so that they balance.

Subjects differ widely in how often they act, so twenty-odd independent subjects would miss the published
rates by far more than the labels of a real data set of that size differ from each other. A cast is a
stratified draw of as many subjects as make about 100,000 frames at the published length of a video: what
is constant in a subject or a video has the wanted means and correlations exactly, and the thresholds are
those that the cast's own activity exceeds as often as published; `selection` then makes its runs typical. A
video remains a pure function of its key: its cast follows from the numbers of the subject and the video.

The recordings of a cast have the published length. Shorter videos are excerpts of them, side by side;
longer ones have casts of recordings as long as they are.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from mdhr_jax.data.synthetic import latent, selection
from mdhr_jax.data.synthetic.latent import LabelModel
from mdhr_jax.data.synthetic.published import PUBLISHED, PublishedLabels

_CAST_FRAMES = 100_000  # as many as the published bounds are checked on
_CANDIDATE_VIDEOS = 170  # more draws of every video to choose from where a cast has few


@dataclasses.dataclass(frozen=True)
class CastSize:
    """How much is drawn together.

    Attributes:
        subjects: number of subjects.
        videos: videos of each.
        frames: length of a video, frames.
    """

    subjects: int
    videos: int
    frames: int


def size_for(like: str, frames: int) -> CastSize:
    """The cast that videos of the given length are part of: about 100,000 frames.

    Args:
        like: whose labels, ``bp4d`` or ``disfa``.
        frames: length of the videos, frames; up to the published length they are excerpts.
    """
    labels = PUBLISHED[like]
    subjects = round(_CAST_FRAMES / (labels.videos_per_subject * labels.frames_per_video))
    frames = max(frames, labels.frames_per_video)
    videos = max(1, labels.videos_per_subject * labels.frames_per_video // frames)
    return CastSize(subjects, videos, frames)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a video is to be found.

    Attributes:
        subjects: which cast, counted by subjects.
        videos: which cast of these subjects.
        number: which recording of the cast, counted subject by subject.
        excerpt: which part of that recording.
    """

    subjects: int
    videos: int
    number: int
    excerpt: int


def excerpts(size: CastSize, frames: int) -> int:
    """How many videos of the given length a recording of the cast holds side by side."""
    return max(1, size.frames // frames)


def place(size: CastSize, frames: int, subject_index: int, video_index: int) -> Place:
    """Where a subject's video of the given length is: first one from each recording, then more of each."""
    subjects, member = divmod(subject_index, size.subjects)
    part, recording = divmod(video_index, size.videos)
    videos, excerpt = divmod(part, excerpts(size, frames))
    return Place(subjects, videos, member * size.videos + recording, excerpt)


@dataclasses.dataclass(frozen=True)
class Cast:
    """Activity of a cast relative to the thresholds of presence.

    Attributes:
        size: shape of the cast.
        activity: latent activity minus the AU's threshold, subject by subject; positive means present.
        shift: offset of the excerpts, in [0, 1).
    """

    size: CastSize
    activity: Float[np.ndarray, "V F N"]
    shift: float

    def first_frame(self, where: Place, frames: int) -> int:
        """First frame of a video in its recording; the videos are spread evenly over the recordings."""
        count = excerpts(self.size, frames)
        step = next(n for n in range(int(0.618 * count) + 1, 2 * count + 2) if math.gcd(n, count) == 1)
        part = (int(self.shift * count) + step * (where.number + where.excerpt)) % count
        return part * frames + int(self.shift * (self.size.frames - count * frames + 1))


def _cholesky(matrix: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N N"]:
    """Written out, because LAPACK may round otherwise in another version."""
    factor = np.zeros_like(matrix)
    for j in range(len(matrix)):
        factor[j, j] = np.sqrt(matrix[j, j] - np.sum(factor[j, :j] ** 2))
        for i in range(j + 1, len(matrix)):
            factor[i, j] = (matrix[i, j] - np.sum(factor[i, :j] * factor[j, :j])) / factor[j, j]
    return factor


def _balanced(draws: Float[np.ndarray, "K N"]) -> Float[np.ndarray, "K N"]:
    """Draws moved the least so that their means are 0 and their covariance is the identity."""
    count, columns = draws.shape
    draws = draws - draws.mean(0)
    if count <= columns + 1:
        return draws
    covariance = np.asarray([[np.mean(a * b) for b in draws.T] for a in draws.T])
    factor = _cholesky(covariance)
    result = np.empty_like(draws)
    for j in range(columns):
        known = sum((factor[j, i] * result[:, i] for i in range(j)), np.zeros(count))
        result[:, j] = (draws[:, j] - known) / factor[j, j]
    return result


def _mixed(noise: Float[np.ndarray, "... N"], factor: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "... N"]:
    """``noise @ factor.T`` summed in one order."""
    result = noise[..., :1] * factor[:, 0]
    for j in range(1, len(factor)):
        # The factor is lower triangular.
        result[..., j:] += noise[..., j : j + 1] * factor[j:, j]
    return result


def _constant(
    count: int, mix: Float[np.ndarray, "N N"], loadings: Float[np.ndarray, " N"], rng: np.random.Generator
) -> Float[np.ndarray, "K N"]:
    """Activity of a level that does not change in time, of so many subjects or videos."""
    draws = _balanced(rng.standard_normal((count, len(mix))))
    return _mixed(draws.astype(np.float32), mix) * loadings


def _activity(
    model: LabelModel,
    size: CastSize,
    candidates: int,
    subject_rng: np.random.Generator,
    rng: np.random.Generator,
) -> Float[np.ndarray, "M V F N"]:
    """Activity of every candidate for every video; a subject is the same in all candidates."""
    # Single precision: twice as fast, and far finer than the fit.
    mix, loadings = np.asarray(model.mix, np.float32), np.asarray(model.loadings, np.float32)
    columns, videos = len(mix), size.subjects * size.videos
    of_subjects = _constant(size.subjects, mix, loadings[0], subject_rng)
    result = np.empty((candidates, videos, size.frames, columns), np.float32)
    for candidate in result:
        of_videos = _constant(videos, mix, loadings[1], rng)
        total = np.zeros((size.frames, videos, columns), np.float32)
        total += np.repeat(of_subjects, size.videos, axis=0) + of_videos
        clock = latent.bursty_clock(size.frames, videos, *model.burst, rng)
        for scale, strengths in zip(model.scales, loadings[2:], strict=True):
            shifted = clock + scale * rng.uniform(size=videos)
            shape = latent.knot_count(shifted, scale), videos, columns
            knots = rng.standard_normal(shape, np.float32)
            total += latent.smooth_noise(_mixed(knots, mix) * strengths, shifted, scale)
        candidate[:] = np.moveaxis(total, 0, 1)
    return result


def _threshold(activity: Float[np.ndarray, "V F"], rate: float, shortest: int) -> float:
    """Level that the activity exceeds in the wanted share of frames, once short runs are gone."""
    ordered = np.sort(activity, axis=None)
    wanted, level = rate, 0.0
    for _ in range(3):
        rank = min(max(int(len(ordered) * (1.0 - wanted)), 0), len(ordered) - 1)
        level = float(ordered[rank])
        _, start, stop = latent.tidy(activity > level, shortest)
        wanted += rate - float(np.sum(stop - start)) / activity.size
    return level


def draw_cast(
    model: LabelModel,
    published: PublishedLabels,
    size: CastSize,
    typical: bool,
    subject_rng: np.random.Generator,
    rng: np.random.Generator,
) -> Cast:
    """Draws a cast.

    Args:
        model: how activity is made.
        published: rates to reach, and aggregates to come near to.
        size: what to draw.
        typical: whether to choose among several draws of each video, see `selection`.
        subject_rng: decides what is typical of the subjects.
        rng: decides everything else; the cast is a pure function of the states of the two.
    """
    candidates = max(3, _CANDIDATE_VIDEOS // (size.subjects * size.videos)) if typical else 1
    activity = _activity(model, size, candidates, subject_rng, rng)
    for column, rate in enumerate(published.rates):
        of_au = activity[..., column]
        of_au -= _threshold(of_au.reshape(-1, size.frames), rate, model.shortest[column])
    chosen = np.zeros(activity.shape[1], np.int64)
    if len(activity) > 1:
        chosen = selection.choose(selection.tally(activity, model.shortest), published)
    kept = activity[chosen, np.arange(len(chosen))]
    return Cast(size, kept, float(rng.uniform()))
