"""When each AU acts in the preset `easy`: onset, plateau with jitter and offset of every event of a video.

An AU alternates between rest and events. An event rises along a cosine in a few frames, holds a jittering
plateau and falls more slowly; an AU counts as present where its intensity exceeds a threshold, so the ends
of an event are weak activity that is labelled absent. Some AUs follow others (1 and 2, 6 and 12 ...).
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy import ndimage


@dataclasses.dataclass(frozen=True)
class TimelineConfig:
    """Parameters of the time courses.

    Attributes:
        present_mean: mean length of presence, frames.
        present_min: shortest presence, frames.
        onset: shortest and longest rise, frames.
        offset: shortest and longest fall, frames.
        apex: lowest and highest intensity of an event's plateau.
        jitter: standard deviation of the plateau relative to its height.
        threshold: intensity above which an AU counts as present.
        subject_spread: standard deviation of the logarithm of a subject's odds of presence.
        follows: (leader, follower) to the chance that an event of the leader brings one of the follower.
    """

    present_mean: float = 18.0
    present_min: int = 7
    onset: tuple[int, int] = (4, 10)
    offset: tuple[int, int] = (7, 14)
    apex: tuple[float, float] = (0.75, 1.0)
    jitter: float = 0.04
    threshold: float = 0.35
    subject_spread: float = 0.25
    follows: Mapping[tuple[int, int], float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Event:
    """One activation: presence from frame `start` for `length` frames, with plateau `height`."""

    start: int
    length: int
    height: float
    onset: int
    offset: int


_WARM_UP = 160  # frames simulated before the video, so that its first frame is as likely as any other


def _events(rate: float, frames: int, config: TimelineConfig, rng: np.random.Generator) -> list[Event]:
    rest_mean = config.present_mean * (1.0 - rate) / rate
    rest_min = 4
    events = []
    clock = -_WARM_UP + int(rng.integers(0, int(rest_mean) + 1))
    while clock < frames + config.onset[1]:
        length = config.present_min + int(rng.gamma(1.3, (config.present_mean - config.present_min) / 1.3))
        events.append(_event(clock, length, config, rng))
        clock += length + rest_min + round(rng.gamma(1.3, max(rest_mean - rest_min, 0.5) / 1.3))
    return events


def _event(start: int, length: int, config: TimelineConfig, rng: np.random.Generator) -> Event:
    return Event(
        start,
        length,
        float(rng.uniform(*config.apex)),
        int(rng.integers(config.onset[0], config.onset[1] + 1)),
        int(rng.integers(config.offset[0], config.offset[1] + 1)),
    )


def curve(event: Event, frames: Float[np.ndarray, " F"], threshold: float) -> Float[np.ndarray, " F"]:
    """Intensity of an event at the given frames; it exceeds the threshold exactly while it is present.

    Args:
        event: what to draw.
        frames: numbers of the frames.
        threshold: intensity above which the AU counts as present, at most the event's height.
    """
    # A cosine ramp from 0 to the height crosses the threshold at the share `crossing` of its length.
    crossing = np.arccos(1.0 - 2.0 * threshold / event.height) / np.pi
    above = 1.0 - crossing
    # A short event has faster ramps, so that it still reaches its height.
    shrink = min(1.0, 0.8 * event.length / (above * (event.onset + event.offset)))
    rise, fall = max(4.0, event.onset * shrink), max(4.0, event.offset * shrink)
    up = (frames - (event.start - 0.5 - crossing * rise)) / rise
    down = ((event.start + event.length - 0.5 + crossing * fall) - frames) / fall
    ramp = np.clip(np.minimum(up, down), 0.0, 1.0)
    return event.height * 0.5 * (1.0 - np.cos(np.pi * ramp))


def intensities(
    aus: Sequence[int],
    rates: Mapping[int, float],
    frames: int,
    config: TimelineConfig,
    subject_rng: np.random.Generator,
    rng: np.random.Generator,
) -> Float[np.ndarray, "F N"]:
    """Intensities of all AUs in one video.

    Args:
        aus: FACS numbers, in the order of the result's columns.
        rates: wanted share of frames in which each AU is present, over many subjects.
        frames: length of the video.
        subject_rng: decides what is typical of the subject; the same for all the subject's videos.
        rng: decides the video.

    Returns:
        float32 in [0, 1].
    """
    odds = {au: rates[au] / (1.0 - rates[au]) for au in aus}
    own = {}
    for au in aus:
        value = odds[au] * np.exp(config.subject_spread * subject_rng.standard_normal())
        own[au] = float(value / (1.0 + value))
    events: dict[int, list[Event]] = {}
    clock = np.arange(frames, dtype=np.float64)
    result = np.zeros((frames, len(aus)))
    for column, au in enumerate(aus):
        # Copies of a leader's events add to the follower's own, which are made rarer in return.
        rate, copies = own[au], []
        for leader in aus[:column]:
            chance = config.follows.get((leader, au), 0.0)
            if chance:
                rate = max(0.04, 1.0 - (1.0 - rate) / (1.0 - chance * min(own[leader], rate / chance * 0.8)))
                keep = min(1.0, 0.8 * own[au] / (chance * own[leader])) * chance
                for event in events[leader]:
                    shift, length = int(rng.integers(-3, 4)), max(config.present_min, event.length - 2)
                    if rng.uniform() < keep:
                        copies.append(_event(event.start + shift, length, config, rng))
        events[au] = _events(rate, frames, config, rng) + copies
        wobble = ndimage.gaussian_filter1d(rng.standard_normal(frames + 16), 1.5)[8 : frames + 8]
        track = np.zeros(frames)
        for event in events[au]:
            if event.start + event.length > -60 and event.start < frames + 20:
                track = np.maximum(track, curve(event, clock, config.threshold))
        result[:, column] = track * (1.0 + config.jitter * 2.3 * wobble)
    return np.clip(result, 0.0, 1.0).astype(np.float32)
