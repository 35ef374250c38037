"""Everybody's crops: numbers that stay, nothing where nothing was measured, smoothing within a run alone."""

import dataclasses

import numpy as np

from mdhr_jax.faces.aligner import align_video
from mdhr_jax.faces.cuts import CutFinder
from mdhr_jax.faces.people import PeopleAligner, align_people
from mdhr_jax.faces.recipe import AlignmentRecipe
from tests.faces.scene import BLANK, Known, KnownFollower, face

RECIPE = AlignmentRecipe(size=32, detect_every=1, max_gap=3, smoothing_window=5)


def _scene(count):
    """Somebody who moves, and from frame 4 on somebody else, who is not seen in 10, 11 and 20 to 25."""
    noise = np.random.default_rng(0).normal(0, 1.0, (count, 2))
    one = [face(100 + 2 * t + noise[t, 0], 90 + noise[t, 1]) for t in range(count)]
    hidden = {*range(4), 10, 11, *range(20, 26)}
    return [[one[t], *([] if t in hidden else [face(400 + t, 90, scale=1.5)])] for t in range(count)]


def _texture():
    return np.random.default_rng(1).integers(0, 256, (200, 600, 3), np.uint8)


def test_one_person_is_cut_out_as_the_subject_of_a_recording_is():
    faces = [[found[0]] for found in _scene(20)]
    frames = [_texture()] * 20
    subject = list(align_video(frames, RECIPE, Known(faces)))
    people = list(align_people(frames, RECIPE, Known(faces)))
    assert [frame.index for frame in people] == list(range(20))
    for one, other in zip(subject, people, strict=True):
        (only,) = other.faces
        np.testing.assert_array_equal(only.image, one.image)
        np.testing.assert_array_equal(only.matrix, one.matrix)
        assert (only.track, only.run, only.confidence) == (0, 0, one.confidence)


def test_numbers_stay_over_short_gaps_and_every_gap_begins_a_run():
    people = list(align_people([BLANK] * 32, RECIPE, Known(_scene(32))))
    assert [frame.index for frame in people] == list(range(32))
    assert all([one.track for one in frame.faces][:1] == [0] for frame in people)
    assert {one.run for frame in people for one in frame.faces if one.track == 0} == {0}
    others = {frame.index: one for frame in people for one in frame.faces if one.track}
    # Short and long gaps alike have no crops.
    assert sorted(others) == [*range(4, 10), *range(12, 20), *range(26, 32)]
    assert [others[t].track for t in (9, 12, 19, 26)] == [1, 1, 1, 2]
    assert [others[t].run for t in (9, 12, 19, 26)] == [1, 2, 2, 3]


def test_smoothing_does_not_look_across_a_gap():
    scene = _scene(32)
    whole = list(align_people([BLANK] * 32, RECIPE, Known(scene)))
    cut = list(align_people([BLANK] * 8, RECIPE, Known(scene[12:20])))
    for frame, alone in zip(whole[12:20], cut, strict=True):
        np.testing.assert_allclose(frame.faces[1].matrix, alone.faces[1].matrix)


def test_frames_wait_for_the_look_ahead_and_no_longer():
    aligner = PeopleAligner(RECIPE, KnownFollower(_scene(32)))
    seen = []
    for t in range(32):
        seen += [frame.index for frame in aligner.push(BLANK)]
        assert len(seen) >= t + 1 - aligner.look_ahead
        assert len(aligner._waiting) <= aligner.look_ahead + 1
    assert aligner.look_ahead == 2
    seen += [frame.index for frame in aligner.flush()]
    assert seen == list(range(32))
    assert aligner.flush() == []


def test_frames_without_anybody_do_not_wait():
    aligner = PeopleAligner(RECIPE, Known([[]] * 3))
    assert [[frame.index for frame in aligner.push(BLANK)] for _ in range(3)] == [[0], [1], [2]]


def _shot(seed, count, tones=(60, 200)):
    """A carried camera's frames: coarse shapes that drift, and brightness that wavers."""
    rng = np.random.default_rng(seed)
    shapes = np.kron(rng.integers(*tones, (12, 16, 3)), np.ones((16, 16, 1)))
    for t in range(count):
        moved = np.roll(shapes, (t, 2 * t), (0, 1)) * (1 + 0.2 * np.sin(t))
        yield (moved + rng.normal(0, 3, moved.shape)).clip(0, 255).astype(np.uint8)


def test_a_cut_ends_everything_even_where_a_face_is_at_the_same_place():
    frames = [*_shot(0, 9), *_shot(1, 9), *_shot(0, 3)]
    detector = KnownFollower([[face()]] * len(frames))
    recipe = dataclasses.replace(RECIPE, detect_every=100)
    people = list(align_people(frames, recipe, detector))
    assert [one.track for frame in people for one in frame.faces] == [0] * 9 + [1] * 9 + [2] * 3
    assert [one.run for frame in people for one in frame.faces] == [0] * 9 + [1] * 9 + [2] * 3
    # Nobody is followed into another shot.
    assert detector.searched == [0, 9, 18]
    alone = list(align_people(frames[9:18], recipe, KnownFollower([[face()]] * 9)))
    for frame, expected in zip(people[9:18], alone, strict=True):
        np.testing.assert_array_equal(frame.faces[0].image, expected.faces[0].image)


def test_what_is_no_cut():
    def cuts(frames):
        finder = CutFinder()
        return [number for number, frame in enumerate(frames) if finder.is_cut(frame)]

    assert cuts(_shot(0, 40)) == []
    # Noise in the dark; and light that is switched on.
    assert cuts(_shot(0, 40, tones=(2, 5))) == []
    dim, bright = [list(_shot(0, 10, tones)) for tones in ((40, 80), (140, 180))]
    assert cuts([*dim[:5], *bright[5:]]) == []
    # Somebody in front of a plain wall comes, moves wildly, and goes.
    wall = [np.full((192, 256, 3), 40, np.uint8) for _ in range(9)]
    for t in range(2, 7):
        wall[t][40:140, 20 * t : 20 * t + 80] = np.random.default_rng(t).integers(0, 256, (100, 80, 3))
    assert cuts(wall) == []
    # A black frame lies between two cuts; and of pictures of different things each stands alone.
    assert cuts([next(_shot(seed, 1)) for seed in range(9)]) == [*range(1, 9)]
    assert cuts([*_shot(0, 5), np.zeros((192, 256, 3), np.uint8), *_shot(1, 5)]) == [5, 6]
