"""Videos are pure functions of their spec, carry exact labels, and lie in the canonical crop."""

import dataclasses
import hashlib

import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.data.synthetic import distractors, generator
from mdhr_jax.data.synthetic.generator import SyntheticSpec, render_video

SMALL = SyntheticSpec(subjects=4, videos_per_subject=2, frames_per_video=6, size=96)


def _digest(video: generator.SyntheticVideo) -> str:
    parts = (video.frames, video.labels, video.intensities, video.landmarks, video.head_pose)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


@pytest.mark.parametrize("like", generator.LIKES)
def test_a_video_has_the_promised_arrays(like):
    spec = dataclasses.replace(SMALL, like=like)
    video = render_video(spec, spec.videos()[0])
    count = spec.au_set.num_aus
    assert (video.frames.shape, video.frames.dtype) == ((6, 96, 96, 3), np.uint8)
    assert (video.labels.shape, video.labels.dtype) == ((6, count), np.int8)
    assert (video.intensities.shape, video.intensities.dtype) == ((6, count), np.float32)
    assert video.landmarks.shape == (6, len(generator.LANDMARK_NAMES), 2)
    assert (video.head_pose.shape, video.head_pose.dtype) == ((6, 3), np.float32)
    assert video.landmarks.dtype == np.float32
    assert video.intensities.min() >= 0.0
    assert video.intensities.max() <= 1.0
    np.testing.assert_array_equal(video.labels, video.intensities > video.thresholds)


def test_the_same_video_comes_out_whatever_surrounds_it():
    wanted = SMALL.videos()[2]
    alone = _digest(render_video(SMALL, wanted))
    larger = dataclasses.replace(SMALL, subjects=30, videos_per_subject=5)
    generator._renderer.cache_clear()
    for other in reversed(larger.videos()[:3]):
        render_video(larger, other)
    same = next(video for video in larger.videos() if video.name == wanted.name)
    assert _digest(render_video(larger, same)) == alone
    generator._renderer.cache_clear()
    assert _digest(render_video(SMALL, wanted)) == alone


def test_every_part_of_the_key_changes_the_video():
    first, second, _, other_subject = SMALL.videos()[:4]
    digests = {
        _digest(render_video(SMALL, first)),
        _digest(render_video(SMALL, second)),
        _digest(render_video(SMALL, other_subject)),
        _digest(render_video(dataclasses.replace(SMALL, seed=1), first)),
    }
    assert len(digests) == 4
    disfa = dataclasses.replace(SMALL, like="disfa")
    assert not np.array_equal(render_video(disfa, first).frames, render_video(SMALL, first).frames)


def test_subjects_differ_and_a_subject_keeps_the_face():
    faces = [generator.subject_face(SMALL, i) for i in range(12)]
    assert len({face.hair_style for face in faces}) >= 2
    assert np.std([face.mouth_half_width for face in faces]) > 0.01
    pictures = [
        generator.apex_picture(SMALL, video, {}).astype(float)
        for video in SMALL.videos()
        if video.video_index == 0
    ]
    apart = [
        np.sqrt(np.mean((a - b)[20:90, 20:76] ** 2)) for i, a in enumerate(pictures) for b in pictures[:i]
    ]
    assert min(apart) > 8.0
    assert generator.subject_face(dataclasses.replace(SMALL, videos_per_subject=1), 3) == faces[3]


def test_subjects_go_to_the_parts_in_turn():
    videos = SMALL.videos()
    assert [video.name for video in videos[:3]] == ["S001_V1", "S001_V2", "S002_V1"]
    assert [video.part for video in videos[::2]] == ["part1", "part2", "part3", "part1"]
    assert {video.part for video in SyntheticSpec(subjects=3).videos()} == set(facs.PARTS)


def test_resting_eyes_lie_at_the_canonical_place():
    recipe = SMALL.crop_recipe()
    left, right = (generator.LANDMARK_NAMES.index(f"eye_{side}_centre") for side in ("left", "right"))
    for video in SMALL.videos()[::2]:
        renderer = generator._renderer(generator._draw_key(SMALL), video)
        picture, landmarks = renderer.frame({}, distractors.still(1), 0)
        across = float(recipe["eye_distance"]) * 96 / 2
        height = float(recipe["eye_height"]) * 96
        np.testing.assert_allclose(landmarks[left], (48 - across, height), atol=1e-3)
        np.testing.assert_allclose(landmarks[right], (48 + across, height), atol=1e-3)
        # The dark pupil is there in the picture too.
        for x, y in landmarks[[left, right]]:
            column, row = int(x), int(y)
            pupil = picture[row - 1 : row + 2, column - 1 : column + 2].mean()
            sclera = picture[row, [column - 5, column + 5]].max()
            assert pupil < 0.7 * sclera


def test_landmarks_follow_the_head():
    spec = dataclasses.replace(SMALL, size=128)
    video = spec.videos()[0]
    renderer = generator._renderer(generator._draw_key(spec), video)
    rest = distractors.still(1)
    _, before = renderer.frame({}, rest, 0)
    moved = dataclasses.replace(
        rest,
        shift=np.asarray([[0.05, -0.02]], np.float32),
        head_pose=np.asarray([[0, 0, 5]], np.float32),
        zoom=np.asarray([1.03], np.float32),
    )
    picture, after = renderer.frame({}, moved, 0)
    eye = 0.35 * 128
    names = generator.LANDMARK_NAMES
    middle = after[[names.index("eye_left_centre"), names.index("eye_right_centre")]].mean(0)
    np.testing.assert_allclose(middle, (64 + 0.05 * eye, 0.29 * 128 - 0.02 * eye), atol=0.05)
    span = after[names.index("eye_right_centre")] - after[names.index("eye_left_centre")]
    assert np.hypot(*span) == pytest.approx(1.03 * eye, abs=0.05)
    assert np.degrees(np.arctan2(span[1], span[0])) == pytest.approx(5.0, abs=0.1)
    # A patch of the picture around the nose moves to where the landmark says.
    reference, _ = renderer.frame({}, rest, 0)
    nose = names.index("nose_tip")
    was, now = before[nose].round().astype(int), after[nose].round().astype(int)
    old = reference[was[1] - 9 : was[1] + 9, was[0] - 9 : was[0] + 9].mean(-1)
    errors = {
        (dx, dy): np.abs(
            picture[now[1] + dy - 9 : now[1] + dy + 9, now[0] + dx - 9 : now[0] + dx + 9].mean(-1) - old
        ).mean()
        for dx in range(-4, 5)
        for dy in range(-4, 5)
    }
    assert np.hypot(*min(errors, key=lambda place: errors[place])) <= 2.0


@pytest.mark.parametrize(
    ("like", "digest"),
    [
        ("bp4d", "0f2c77b211c2750265d0faa0620f2d9f6e8929849a7e8af42b62452f5c6596e8"),
        ("disfa", "502b18e199ba2d3c189d251a9388b07713564ab990ef6b64bcaf5470b0a6eb27"),
    ],
)
def test_time_courses_of_easy_are_pinned(like, digest):
    # Whoever changes them, on purpose, changes GENERATOR_VERSION too.
    spec = SyntheticSpec(like=like)
    tracks, _ = generator.time_courses(spec, spec.videos()[4])
    assert hashlib.sha256(tracks.tobytes()).hexdigest() == digest


@pytest.mark.parametrize("like", generator.LIKES)
def test_rates_of_easy_stay_where_a_small_run_can_learn_them(like):
    spec = SyntheticSpec(like=like, subjects=150, videos_per_subject=2, frames_per_video=64)
    labels = np.stack([generator.time_courses(spec, video)[1] for video in spec.videos()])
    rates = labels.mean((0, 1))
    wanted = generator.get_preset("easy").rates(like)
    assert rates.min() > 0.12
    assert rates.max() < 0.65
    np.testing.assert_allclose(rates, [wanted[au] for au in spec.au_set.aus], atol=0.06)
    windows = labels.reshape(-1, 16, labels.shape[-1])
    changing = np.any(windows != windows[:, :1], axis=1)
    assert changing.mean() > 0.25
    # The AUs that act together do, mildly.
    pair = (1, 2) if like == "bp4d" else (25, 26)
    first, second = (labels[..., spec.au_set.aus.index(au)].ravel() for au in pair)
    assert 0.15 < np.corrcoef(first, second)[0, 1] < 0.75


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("like", "ck", "bp4d or disfa"),
        ("preset", "hard", "known: easy"),
        ("seed", -1, "seed must be at least 0"),
        ("subjects", 2, "each of the three parts"),
        ("videos_per_subject", 0, "videos_per_subject"),
        ("frames_per_video", 1, "two frames"),
        ("size", 32, "at least 64"),
    ],
)
def test_nonsense_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        SyntheticSpec(**{field: value})


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="easy"):
        generator.get_preset("realistic?")
