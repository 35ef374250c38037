"""Intensities of the AUs of a video whose presence is given by latent activity.

Every presence is an event of `mdhr_jax.data.synthetic.timeline`: a rise of 4 to 10 frames, a plateau that
wavers, a slower fall. Where the activity comes near its threshold without passing, a weaker event stays
below the AU's threshold of intensity: it shows in the face and is labelled absent. So an AU is present
exactly where its intensity exceeds the threshold.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from mdhr_jax.data.synthetic import latent, timeline

# Intensity that a coder would call present: high where an AU moves little of the face, low where it moves
# much (largest displacements of a blend-shape face: 14 px for AU12, 38 px for AU26, 4 px for AU7).
_THRESHOLDS = {
    1: 0.34, 2: 0.32, 4: 0.35, 6: 0.36, 7: 0.42, 9: 0.33, 10: 0.37, 12: 0.30, 14: 0.42, 15: 0.40, 17: 0.36,
    23: 0.44, 24: 0.42, 25: 0.28, 26: 0.31,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class EpisodeConfig:
    """Parameters of the time courses.

    Attributes:
        speed: how much faster than published the activity changes, see `latent.hurried`; 1 gives the
            published run lengths.
        onset: shortest and longest rise, frames.
        slower: shortest and longest fall, relative to the event's rise.
        plateau: lowest and highest plateau, as a share of the way from the threshold to 1.
        jitter: standard deviation of the fast wavering of a plateau above its threshold, relative.
        swell: standard deviation of the slow wavering, relative.
        weak: how far below its threshold activity still shows, in standard deviations of the activity.
        thresholds: intensity above which an AU counts as present, by FACS number.
    """

    speed: float = 1.0
    onset: tuple[int, int] = (4, 10)
    slower: tuple[float, float] = (1.25, 2.0)
    plateau: tuple[float, float] = (0.15, 1.0)
    jitter: float = 0.06
    swell: float = 0.12
    weak: float = 0.45
    thresholds: Mapping[int, float] = dataclasses.field(default_factory=lambda: dict(_THRESHOLDS))


MARGIN = 48
"""Frames before and after an excerpt beyond which activity does not matter to it: ramps, short runs."""

_JITTER_SCALE, _SWELL_SCALE = 1.5, 25.0  # frames
_FULL = 1.4  # activity above the threshold, standard deviations, that gives a full plateau
_WEAK_SHORTEST = 5  # frames; shorter ones would be mere flicker


def _wavering(
    frames: int, columns: int, config: EpisodeConfig, rng: np.random.Generator
) -> Float[np.ndarray, "F N"]:
    total = np.zeros((frames, columns))
    for scale, strength in ((_JITTER_SCALE, config.jitter), (_SWELL_SCALE, config.swell)):
        clock = np.arange(frames)[:, None] + scale * rng.uniform(size=(1, 1))
        knots = rng.standard_normal((latent.knot_count(clock, scale), 1, columns))
        total += strength * latent.smooth_noise(knots, clock, scale)[:, 0]
    return np.clip(total, -0.6, 0.6)


def _event(
    start: int, stop: int, frames: int, height: float, config: EpisodeConfig, draws: Float[np.ndarray, " 2"]
) -> timeline.Event:
    # What is there at the first or the last frame of a recording began or ends outside it.
    start, stop = start - MARGIN * (start == 0), stop + MARGIN * (stop == frames)
    onset = config.onset[0] + int(draws[0] * (config.onset[1] - config.onset[0] + 1))
    low, high = config.slower
    return timeline.Event(start, stop - start, height, onset, round(onset * (low + draws[1] * (high - low))))


def _add(track: Float[np.ndarray, " F"], event: timeline.Event, crossing: float) -> None:
    """Draws an event over a track; it crosses the height `crossing` where its presence begins and ends."""
    first = max(0, event.start - event.onset - 1)
    last = min(len(track), event.start + event.length + event.offset + 1)
    curve = timeline.curve(event, np.arange(first, last, dtype=np.float64), crossing)
    track[first:last] = np.maximum(track[first:last], curve)


def _course(
    activity: Float[np.ndarray, " F"],
    shortest: int,
    threshold: float,
    wavering: Float[np.ndarray, " F"],
    config: EpisodeConfig,
    rng: np.random.Generator,
) -> Float[np.ndarray, " F"]:
    track = np.zeros(len(activity))
    present = np.zeros(len(activity), bool)
    _, starts, stops = latent.tidy(activity[None] > 0.0, shortest)
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        present[start:stop] = True
        draws = rng.uniform(size=3)
        # Mostly as strong as the activity, partly by chance: weak presences are there at any length.
        share = 0.7 * min(float(activity[start:stop].max()) / _FULL, 1.0) + 0.3 * draws[2]
        low, high = config.plateau
        height = threshold + (1.0 - threshold) * (low + share * (high - low))
        _add(track, _event(start, stop, len(track), height, config, draws[:2]), threshold)
    _, starts, stops = latent.tidy(activity[None] > -config.weak, _WEAK_SHORTEST)
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        draws = rng.uniform(size=3)
        if not present[start:stop].any():
            near = 1.0 + min(float(activity[start:stop].max()), 0.0) / config.weak
            height = threshold * (0.4 + 0.5 * (0.6 * near + 0.4 * draws[2]))
            _add(track, _event(start, stop, len(track), height, config, draws[:2]), 0.5 * height)
    return _wavered(track, present, threshold, wavering)


def _wavered(
    track: Float[np.ndarray, " F"],
    present: Bool[np.ndarray, " F"],
    threshold: float,
    wavering: Float[np.ndarray, " F"],
) -> Float[np.ndarray, " F"]:
    """Lets the intensity waver without ever crossing the threshold, and rest where it is 0."""
    above = threshold + (track - threshold) * (1.0 + wavering)
    below = track * (1.0 + wavering * (1.0 - track / threshold))
    # A curve meets the threshold half a frame off the labels; the margin only guards its rounding.
    margin = 1e-3
    return np.where(present, np.clip(above, threshold + margin, 1.0), np.clip(below, 0.0, threshold - margin))


def intensities(
    activity: Float[np.ndarray, "F N"],
    shortest: tuple[int, ...],
    thresholds: Float[np.ndarray, " N"],
    config: EpisodeConfig,
    rng: np.random.Generator,
) -> Float[np.ndarray, "F N"]:
    """Intensities of all AUs in one video.

    Args:
        activity: latent activity in standard deviations relative to the level of presence, see `cast.Cast`.
        shortest: frames of the shortest presence of each AU.
        thresholds: intensity above which each AU counts as present.
        config: shape of the events.
        rng: decides heights, ramps and wavering.

    Returns:
        float32 in [0, 1].
    """
    frames, columns = activity.shape
    wavering = _wavering(frames, columns, config, rng)
    tracks = [
        _course(activity[:, i], shortest[i], float(thresholds[i]), wavering[:, i], config, rng)
        for i in range(columns)
    ]
    return np.stack(tracks, axis=1).astype(np.float32)
