"""Choice among candidate videos, so that the labels of a cast are typical of the published ones.

Some AUs of DISFA are present only about 60 times in the whole data set: the run lengths of as many
independent presences would miss the published quantiles by a third now and then. So each video of a cast
is drawn several times, and of the candidates those are taken that bring the cast as a whole nearest to the
published aggregates: stratification over what one cannot stratify beforehand. No single video is rejected
for what it shows.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from mdhr_jax.data.synthetic import latent
from mdhr_jax.data.synthetic.published import QUANTILES, WINDOW, PublishedLabels

# Differences that weigh the same: of the logarithm of a quantile, of a rate, of P(i|j) (the mean over all
# pairs), of the share of windows with a change.
_RUN_UNIT, _RATE_UNIT, _PAIR_UNIT, _WINDOW_UNIT = 0.2, 0.01, 0.03, 0.04
_SWEEPS = 4


@dataclasses.dataclass(frozen=True)
class Tally:
    """Counts of candidate videos: what the statistics of a cast are sums of.

    Attributes:
        lengths: number of presences of each candidate, video, AU and length in frames.
        together: number of frames in which both AUs of a pair are present.
        windows: number of windows with a change of any AU.
        frames: length of a video, frames.
    """

    lengths: Int[np.ndarray, "M V N L"]
    together: Int[np.ndarray, "M V N N"]
    windows: Int[np.ndarray, "M V"]
    frames: int


def tally(activity: Float[np.ndarray, "M V F N"], shortest: tuple[int, ...]) -> Tally:
    """Counts presences of candidates, whose activity is relative to the threshold of presence."""
    candidates, videos, frames, columns = activity.shape
    lengths = np.zeros((columns, candidates * videos * (frames + 1)), np.int32)
    changing = np.zeros((candidates * videos, frames // WINDOW), bool)
    borders = np.zeros((candidates * videos, frames + 1, columns), np.int8)
    for column in range(columns):
        flat = activity[..., column].reshape(-1, frames)
        video, start, stop = latent.tidy(flat > 0.0, shortest[column])
        lengths[column] = np.bincount(video * (frames + 1) + stop - start, minlength=lengths.shape[1])
        borders[video, start, column], borders[video, stop, column] = 1, -1
        for border in (start, stop):
            # A border on the first frame of a window is no change within one.
            inside = (border % WINDOW > 0) & (border < frames // WINDOW * WINDOW)
            changing[video[inside], border[inside] // WINDOW] = True
    by_video = lengths.reshape(columns, candidates, videos, frames + 1)
    together = np.empty((candidates * videos, columns, columns), np.int64)
    for number, steps in enumerate(borders):
        # Sums of ones, exact in any order.
        present = np.cumsum(steps, axis=0).astype(np.float32)
        together[number] = present.T @ present
    return Tally(
        np.moveaxis(by_video, 0, 2),
        together.reshape(candidates, videos, columns, columns),
        changing.sum(1).reshape(candidates, videos),
        frames,
    )


@dataclasses.dataclass(frozen=True)
class _Sums:
    """Sums of a `Tally` over the videos of a cast."""

    lengths: Int[np.ndarray, "N L"]
    together: Int[np.ndarray, "N N"]
    windows: int

    def exchange(self, counts: Tally, video: int, old: int, new: int) -> "_Sums":
        return _Sums(
            self.lengths + (counts.lengths[new, video] - counts.lengths[old, video]),
            self.together + (counts.together[new, video] - counts.together[old, video]),
            self.windows + int(counts.windows[new, video] - counts.windows[old, video]),
        )

    def distance(self, videos: int, frames: int, published: PublishedLabels) -> float:
        """How far the cast is from the published aggregates; fourth powers, so that the worst counts most."""
        cumulated = np.cumsum(self.lengths, axis=1)
        runs = np.maximum(cumulated[:, -1:], 1)
        quantiles = np.stack([np.argmax(cumulated >= share * runs, axis=1) for share in QUANTILES], axis=1)
        present = self.together.diagonal()
        of_runs = np.log(np.maximum(quantiles, 1) / np.asarray(published.run_quantiles)) / _RUN_UNIT
        of_rates = (present / (videos * frames) - np.asarray(published.rates)) / _RATE_UNIT
        apart = np.abs(self.together / np.maximum(present, 1) - published.conditional_matrix())
        of_pairs = apart.sum() / (apart.size - len(apart)) / _PAIR_UNIT
        share = self.windows / (videos * (frames // WINDOW))
        of_windows = (share - np.mean(published.windows)) / _WINDOW_UNIT
        return float(np.sum(of_runs**4) + np.sum(of_rates**4) + of_pairs**4 + of_windows**4)


def _sums(counts: Tally, chosen: Int[np.ndarray, " V"]) -> _Sums:
    videos = np.arange(len(chosen))
    return _Sums(
        counts.lengths[chosen, videos].sum(0),
        counts.together[chosen, videos].sum(0),
        int(counts.windows[chosen, videos].sum()),
    )


def choose(counts: Tally, published: PublishedLabels) -> Int[np.ndarray, " V"]:
    """Number of the candidate to take for every video: one exchange after the other that brings it nearer.

    Args:
        counts: of all candidates.
        published: aggregates to come near to.
    """
    candidates, videos = counts.windows.shape
    chosen = np.zeros(videos, np.int64)
    sums = _sums(counts, chosen)
    best = sums.distance(videos, counts.frames, published)
    for _ in range(_SWEEPS):
        for video in range(videos):
            for candidate in range(candidates):
                if candidate == chosen[video]:
                    continue
                other = sums.exchange(counts, video, int(chosen[video]), candidate)
                distance = other.distance(videos, counts.frames, published)
                if distance < best:
                    best, sums, chosen[video] = distance, other, candidate
    return chosen
