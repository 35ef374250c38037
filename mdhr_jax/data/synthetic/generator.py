"""Presets and the assembly of whole synthetic videos.

A video is a pure function of (generator version, seed, preset, AU set, subject, video, length): every random
stream starts from a hash of those integers, so it depends neither on how many videos are asked for, nor on
the order, nor on the process that draws it.
"""

import dataclasses
import functools
import zlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int8, UInt8

from mdhr_jax import facs
from mdhr_jax.data.synthetic import actions, cast, distractors, episodes, timeline
from mdhr_jax.data.synthetic.features import FeatureConfig, add_features
from mdhr_jax.data.synthetic.identity import Identity, sample_identity
from mdhr_jax.data.synthetic.label_model import MODELS
from mdhr_jax.data.synthetic.landmarks import LANDMARK_NAMES
from mdhr_jax.data.synthetic.latent import LabelModel, hurried
from mdhr_jax.data.synthetic.portrait import Lamp
from mdhr_jax.data.synthetic.published import PUBLISHED
from mdhr_jax.data.synthetic.render import EYE_DISTANCE, EYE_HEIGHT, Renderer, Style

__all__ = [
    "GENERATOR_VERSION",
    "LANDMARK_NAMES",
    "PRESETS",
    "Preset",
    "SyntheticSpec",
    "SyntheticVideo",
    "VideoId",
    "get_preset",
    "render_video",
]

GENERATOR_VERSION = "1.1.0"
"""Changes whenever the same seed gives other bytes.

1.1.0: errors of the crop are smoothed over time in `realistic` and `changing`, as the face step smooths them.
"""

# Part of every random stream. It stays as it is where faces and labels do, so that they can be compared.
_STREAMS_VERSION = "1.0.0"

LIKES = ("bp4d", "disfa")


_NO_FEATURES = FeatureConfig()


@dataclasses.dataclass(frozen=True)
class Preset:
    """How hard and how lifelike a data set is.

    Attributes:
        name: as given on the command line.
        lowest_rate: published rates below this are raised to it, so that short runs see every AU.
        highest_rate: published rates above this are lowered to it.
        timeline: time courses of the AUs: independent events, or episodes of a cast with the statistics of
            published labels.
        distractors: what changes without being an AU.
        identity_variation: spread of the subjects' geometry, 1 for all of it.
        asymmetry: spread of the strength of the two halves of a face.
        light_turn: spread of the direction of the light between videos, as a tangent.
        light_warmth: spread of its colour.
        light_contrast: spread of the share of the light that comes from one direction.
        features: beards, glasses, traces of AUs at rest.
        measured_actions: whether AUs have their measured sizes, see `measured`.
    """

    name: str
    lowest_rate: float
    highest_rate: float
    timeline: timeline.TimelineConfig | episodes.EpisodeConfig
    distractors: distractors.DistractorConfig
    identity_variation: float = 1.0
    asymmetry: float = 0.1
    light_turn: float = 0.2
    light_warmth: float = 0.03
    light_contrast: float = 0.0
    features: FeatureConfig = _NO_FEATURES
    measured_actions: bool = False

    def rates(self, like: str) -> dict[int, float]:
        """Wanted share of frames with each AU, by FACS number."""
        published = PUBLISHED[like]
        # Rounded as they always were here: another digit would change every set made so far.
        return {
            au: min(max(round(rate, 3), self.lowest_rate), self.highest_rate)
            for au, rate in zip(published.aus, published.rates, strict=True)
        }


_EASY = Preset(
    name="easy",
    lowest_rate=0.2,
    highest_rate=0.58,
    timeline=timeline.TimelineConfig(follows={(1, 2): 0.45, (6, 12): 0.5, (25, 26): 0.35}),
    distractors=distractors.DistractorConfig(),
)

# The faces and distractors of recordings: a still is ambiguous, and much moves that is not an AU.
_REALISTIC = dataclasses.replace(
    _EASY,
    name="realistic",
    lowest_rate=0.0,
    highest_rate=1.0,
    timeline=episodes.EpisodeConfig(),
    distractors=distractors.DistractorConfig(
        yaw=5.0,
        pitch=3.5,
        roll=1.2,
        exposure=0.05,
        light_turn=0.1,
        gaze=0.3,
        blinks_per_second=0.3,
        noise=2.2,
        crop_jitter=0.008,
        crop_turn=0.35,
        crop_zoom=0.006,
        crop_window=7,
        wall=0.05,
        speech=0.25,
        speech_share=0.25,
        exposure_spread=0.09,
        noise_spread=0.5,
        jpeg=(60, 95),
    ),
    identity_variation=1.5,
    asymmetry=0.25,
    light_turn=0.35,
    light_warmth=0.07,
    light_contrast=0.14,
    features=FeatureConfig(resting=0.25, slant=0.02, glasses=0.2, beard=0.4, detail=1.0, clutter=1.0),
    measured_actions=True,
)

# The same faces, with AUs that come and go five times as fast.
_CHANGING = dataclasses.replace(_REALISTIC, name="changing", timeline=episodes.EpisodeConfig(speed=5.0))

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (_EASY, _REALISTIC, _CHANGING)}


def get_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in PRESETS:
        raise ValueError(f"there is no synthetic preset {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]


@dataclasses.dataclass(frozen=True)
class VideoId:
    """One video of a synthetic data set.

    Attributes:
        subject: name of the subject, ``S001`` and so on.
        part: cross-validation part of the subject.
        name: subject and video, such as ``S001_V1``.
        subject_index: number of the subject from 0.
        video_index: number of the subject's video from 0.
    """

    subject: str
    part: str
    name: str
    subject_index: int
    video_index: int


@dataclasses.dataclass(frozen=True)
class SyntheticSpec:
    """What to generate.

    Attributes:
        like: whose AUs and rates, ``bp4d`` or ``disfa``.
        preset: see `PRESETS`.
        seed: start of all randomness, from 0.
        subjects: number of subjects; they go to part1, part2, part3 in turn.
        videos_per_subject: number of videos of each.
        frames_per_video: length of each, frames.
        size: side of the frames, pixels.

    Raises:
        ValueError: a field is out of range.
    """

    like: str = "bp4d"
    preset: str = "easy"
    seed: int = 0
    subjects: int = 24
    videos_per_subject: int = 3
    frames_per_video: int = 64
    size: int = 256

    def __post_init__(self) -> None:
        if self.like not in LIKES:
            raise ValueError(f"synthetic faces can be like {' or '.join(LIKES)}, found {self.like!r}")
        get_preset(self.preset)
        lowest = {
            "seed": (self.seed, 0, "seeds start from 0"),
            "subjects": (self.subjects, len(facs.PARTS), "each of the three parts needs a subject"),
            "videos_per_subject": (self.videos_per_subject, 1, "a subject needs a video"),
            "frames_per_video": (self.frames_per_video, 2, "motion needs two frames"),
            "size": (self.size, 64, "smaller faces show no action units"),
        }
        for field, (found, least, why) in lowest.items():
            if found < least:
                raise ValueError(f"{field} must be at least {least}, found {found}: {why}")

    @property
    def au_set(self) -> facs.AUSet:
        """Entry of the AU table."""
        return facs.get(f"synthetic_{self.like}")

    def videos(self) -> tuple[VideoId, ...]:
        """All videos, subject by subject."""
        return tuple(
            VideoId(
                subject=f"S{subject + 1:03d}",
                part=facs.PARTS[subject % len(facs.PARTS)],
                name=f"S{subject + 1:03d}_V{video + 1}",
                subject_index=subject,
                video_index=video,
            )
            for subject in range(self.subjects)
            for video in range(self.videos_per_subject)
        )

    def crop_recipe(self) -> dict[str, str | int | float | bool]:
        """How faces lie in the frames; the keys are those of every data set's crop recipe."""
        return {
            "name": "canonical",
            "size": self.size,
            "eye_height": EYE_HEIGHT,
            "eye_distance": EYE_DISTANCE,
            "eyes_level": True,
            "centred": True,
        }


@dataclasses.dataclass(frozen=True)
class SyntheticVideo:
    """A rendered video and what is true of it.

    Attributes:
        frames: RGB pictures.
        labels: presence, 1 or 0, in the label order of the AU set.
        intensities: strength in [0, 1]; a label is 1 where this exceeds the AU's threshold.
        landmarks: positions (x, y) in pixels, pixel (0, 0) having its centre at (0.5, 0.5), in the order of
            `LANDMARK_NAMES`.
        head_pose: yaw, pitch and roll in degrees, see `distractors.Drift`.
        thresholds: intensity above which each AU counts as present.
    """

    frames: UInt8[np.ndarray, "F S S 3"]
    labels: Int8[np.ndarray, "F N"]
    intensities: Float[np.ndarray, "F N"]
    landmarks: Float[np.ndarray, "F K 2"]
    head_pose: Float[np.ndarray, "F 3"]
    thresholds: Float[np.ndarray, " N"]


# Numbers that keep the random streams of one video apart.
_STREAMS = {
    "identity": 1,
    "subject_rates": 2,
    "timeline": 3,
    "drift": 4,
    "lamp": 5,
    "sensor": 6,
    "features": 7,
    "cast": 8,
}


def _stream(spec: SyntheticSpec, name: str, *key: int) -> np.random.Generator:
    domain = zlib.crc32(f"{_STREAMS_VERSION}/{spec.preset}/{spec.like}".encode())
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence([domain, spec.seed, _STREAMS[name], *key]))
    )


def subject_face(spec: SyntheticSpec, subject_index: int) -> Identity:
    """The neutral face of a subject, counted from 0."""
    preset = get_preset(spec.preset)
    rng = _stream(spec, "identity", subject_index)
    face = sample_identity(rng, variation=preset.identity_variation, asymmetry=preset.asymmetry)
    return add_features(face, preset.features, _stream(spec, "features", subject_index))


def video_lamp(spec: SyntheticSpec, video_id: VideoId) -> Lamp:
    """The light of a video."""
    preset = get_preset(spec.preset)
    rng = _stream(spec, "lamp", video_id.subject_index, video_id.video_index)
    side, high, warm = rng.uniform(-1.0, 1.0, 3).tolist()
    return Lamp(
        direction_x=preset.light_turn * 1.5 * side,
        direction_y=-0.4 + preset.light_turn * high,
        ambient=0.5 - (preset.light_contrast * rng.uniform(-1.0, 1.0) if preset.light_contrast else 0.0),
        warmth=preset.light_warmth * warm,
    )


def neutral_renderer(spec: SyntheticSpec, video_id: VideoId) -> Renderer:
    """The renderer of a video's subject in its light, for measurements on single frames."""
    return _renderer(_draw_key(spec), video_id)


def apex_picture(
    spec: SyntheticSpec, video_id: VideoId, intensities: Mapping[int, float]
) -> UInt8[np.ndarray, "S S 3"]:
    """A still of the given intensities (FACS number to [0, 1]): head at rest, no blink, no noise."""
    picture, _ = neutral_renderer(spec, video_id).frame(intensities, distractors.still(1), 0)
    return np.clip(picture + 0.5, 0.0, 255.0).astype(np.uint8)


def thresholds(spec: SyntheticSpec) -> Float[np.ndarray, " N"]:
    """Intensity above which each AU counts as present."""
    config = get_preset(spec.preset).timeline
    if isinstance(config, timeline.TimelineConfig):
        return np.full(spec.au_set.num_aus, config.threshold, np.float32)
    return np.asarray([config.thresholds[au] for au in spec.au_set.aus], np.float32)


def time_courses(
    spec: SyntheticSpec, video_id: VideoId
) -> tuple[Float[np.ndarray, "F N"], Int8[np.ndarray, "F N"]]:
    """Intensities and labels of a video without drawing it."""
    config, frames = get_preset(spec.preset).timeline, spec.frames_per_video
    key = video_id.subject_index, video_id.video_index
    rng = _stream(spec, "timeline", *key)
    if isinstance(config, timeline.TimelineConfig):
        of_subject = _stream(spec, "subject_rates", video_id.subject_index)
        rates = get_preset(spec.preset).rates(spec.like)
        tracks = timeline.intensities(spec.au_set.aus, rates, frames, config, of_subject, rng)
    else:
        size = cast.size_for(spec.like, frames)
        where = cast.place(size, frames, *key)
        # Of the spec only what a cast depends on, so that the cache finds it.
        members = _cast(
            dataclasses.replace(_draw_key(spec), frames_per_video=size.frames, size=SyntheticSpec.size),
            where.subjects,
            where.videos,
        )
        activity = members.activity[where.number]
        start = members.first_frame(where, frames)
        before = min(start, episodes.MARGIN)
        tracks = episodes.intensities(
            activity[start - before : start + frames + episodes.MARGIN],
            _label_model(spec).shortest,
            thresholds(spec),
            config,
            rng,
        )[before : before + frames]
    return tracks, (tracks > thresholds(spec)).astype(np.int8)


def _label_model(spec: SyntheticSpec) -> LabelModel:
    config, model = get_preset(spec.preset).timeline, MODELS[spec.like]
    if not isinstance(config, episodes.EpisodeConfig):
        raise ValueError(f"the preset {spec.preset!r} has independent events and no model of labels")
    return model if config.speed == 1.0 else hurried(model, config.speed)


@functools.lru_cache(maxsize=2)
def _cast(spec: SyntheticSpec, subjects: int, videos: int) -> cast.Cast:
    model, published = MODELS[spec.like], PUBLISHED[spec.like]
    # Run lengths can be compared where about as much of the runs is cut off by the ends of the videos.
    typical = _label_model(spec) == model and spec.frames_per_video <= 1.5 * published.frames_per_video
    return cast.draw_cast(
        _label_model(spec),
        published,
        cast.size_for(spec.like, spec.frames_per_video),
        typical,
        _stream(spec, "subject_rates", subjects),
        _stream(spec, "cast", spec.frames_per_video, subjects, videos),
    )


def render_video(spec: SyntheticSpec, video_id: VideoId) -> SyntheticVideo:
    """Draws one video.

    Args:
        spec: the data set; only seed, preset, AU set, length and size matter here.
        video_id: one of `spec.videos()`.
    """
    preset, au_set, count = get_preset(spec.preset), spec.au_set, spec.frames_per_video
    key = video_id.subject_index, video_id.video_index
    tracks, labels = time_courses(spec, video_id)
    drift = distractors.drift(preset.distractors, count, au_set.fps, _stream(spec, "drift", *key))
    sensor = distractors.make_sensor(preset.distractors, spec.size, _stream(spec, "sensor", *key))
    renderer = neutral_renderer(spec, video_id)
    frames = np.empty((count, spec.size, spec.size, 3), np.uint8)
    landmarks = np.empty((count, len(LANDMARK_NAMES), 2), np.float32)
    for i in range(count):
        strengths = dict(zip(au_set.aus, tracks[i].tolist(), strict=True))
        picture, landmarks[i] = renderer.frame(strengths, drift, i)
        frames[i] = sensor.read(picture)
    return SyntheticVideo(frames, labels, tracks, landmarks, drift.head_pose, thresholds(spec))


def _draw_key(spec: SyntheticSpec) -> SyntheticSpec:
    """The spec with the fields that do not change a picture set to their defaults, for the cache."""
    default = SyntheticSpec()
    return dataclasses.replace(
        spec,
        subjects=default.subjects,
        videos_per_subject=default.videos_per_subject,
        frames_per_video=default.frames_per_video,
    )


@functools.lru_cache(maxsize=2)
def _renderer(spec: SyntheticSpec, video_id: VideoId) -> Renderer:
    face = subject_face(spec, video_id.subject_index)
    known = tuple(au for au in spec.au_set.aus if au in actions.ACTIONS)
    preset = get_preset(spec.preset)
    style = Style(measured=preset.measured_actions, speaks=preset.distractors.speech > 0.0)
    return Renderer(face, video_lamp(spec, video_id), known, spec.size, style)
