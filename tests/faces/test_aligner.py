"""The stream: order, gaps, look-ahead, memory; and that it equals what the whole video would give."""

import numpy as np
import pytest

from mdhr_jax.faces.aligner import VideoAligner, align_video
from mdhr_jax.faces.recipe import AlignmentRecipe
from mdhr_jax.faces.smoothing import smooth_run
from tests.faces.scene import BLANK, Known, KnownFollower, face

RECIPE = AlignmentRecipe(size=32, detect_every=1, max_gap=3, smoothing="mean", smoothing_window=5)


def _path(count, seed=0):
    noise = np.random.default_rng(seed).normal(0, 1.5, (count, 2))
    return [[face(100 + 2 * t + noise[t, 0], 90 + noise[t, 1])] for t in range(count)]


def _without(faces, *missing):
    return [[] if t in missing else found for t, found in enumerate(faces)]


def _run(faces, recipe=RECIPE, detector=None):
    return list(align_video([BLANK] * len(faces), recipe, detector or Known(faces)))


@pytest.mark.parametrize("method", ["none", "mean", "linear", "quadratic"])
@pytest.mark.parametrize("causal", [False, True])
def test_the_stream_equals_smoothing_of_whole_runs(method, causal):
    """Gaps of 2 (bridged) and 4 frames (not), and no face at either end."""
    recipe = AlignmentRecipe(
        size=32, max_gap=3, smoothing=method, smoothing_window=7, smoothing_causal=causal
    )
    faces = _without(_path(60), 0, 1, 20, 21, 40, 41, 42, 43, 59)
    out = _run(faces, recipe)
    assert [frame.index for frame in out] == list(range(60))
    for start, end in ((2, 20), (22, 40), (44, 59)):
        run = np.stack([found[0].points for found in faces[start:end]])
        expected = smooth_run(run, recipe.filter)
        np.testing.assert_allclose([f.points for f in out[start:end]], expected, rtol=1e-6)
        np.testing.assert_array_equal([f.raw_points for f in out[start:end]], run)
    third = (out[22].points - out[19].points) / 3
    for i, frame in enumerate(out[20:22], 1):
        np.testing.assert_allclose(frame.points, out[19].points + i * third, rtol=1e-5)
        assert frame.status == "interpolated"
        assert np.isnan(frame.raw_points).all()
        assert np.isnan(frame.confidence)
    for t in (0, 1, 40, 41, 42, 43, 59):
        frame = out[t]
        assert (frame.status, frame.image, frame.matrix, frame.track) == ("no face", None, None, -1)
        assert np.isnan(frame.points).all()


@pytest.mark.parametrize("causal", [False, True])
def test_a_face_that_moves_is_where_it_is_from_its_first_frame_to_its_last(causal):
    """By default; a mean would lag by up to 0.85 of the distance that the face moves in a frame."""
    recipe = AlignmentRecipe(size=32, max_gap=3, smoothing_causal=causal)
    faces = [[face(50 + 3 * t, 40 + 2 * t)] for t in range(40)]
    out = _run(_without(faces, 0, 12, 13, *range(22, 30)), recipe)
    found = [t for t, frame in enumerate(out) if frame.status != "no face"]
    assert found == [*range(1, 22), *range(30, 40)]
    for t in found:
        np.testing.assert_allclose(out[t].points, faces[t][0].points, atol=1e-3)


@pytest.mark.parametrize("length", range(6))
def test_gaps_are_bridged_up_to_the_limit(length):
    out = _run(_without(_path(30), *range(10, 10 + length)))
    statuses = {frame.status for frame in out[10 : 10 + length]}
    assert statuses == ({"interpolated"} if 0 < length <= 3 else {"no face"} if length else set())
    tracks = {frame.track for frame in out if frame.track >= 0}
    assert len(tracks) == (1 if length <= 3 else 2)


def test_nothing_is_smoothed_or_bridged_between_two_people():
    """One leaves and somebody else is there in the next frame, or after a short gap."""
    faces = [[face(100)]] * 10 + [[]] * 2 + [[face(400, scale=2.0)]] * 10
    out = _run(faces)
    # The subject may come back for as long as a gap lasts; then the other one is the subject.
    assert [frame.status for frame in out] == ["detected"] * 10 + ["no face"] * 4 + ["detected"] * 8
    for frame, found in zip(out, faces, strict=True):
        if frame.status == "detected":
            np.testing.assert_allclose(frame.points, found[0].points, rtol=1e-6)
    assert (out[0].track, out[-1].track) == (0, 1)


def test_others_in_view_are_counted_and_do_not_take_over():
    faces = [[face(100), *([face(300, scale=1.5)] if t >= 5 else [])] for t in range(20)]
    out = _run(faces)
    assert [frame.other_faces for frame in out] == [0] * 5 + [1] * 15
    assert {frame.track for frame in out} == {0}
    assert all(frame.points[:, 0].max() < 200 for frame in out)


def test_results_wait_for_the_look_ahead_and_no_longer():
    recipe = RECIPE
    aligner = VideoAligner(recipe, Known(_without(_path(60), 30, 31, 32)))
    for t in range(60):
        done = aligner.push(BLANK)
        assert aligner.held <= recipe.look_ahead
        newest = done[-1].index if done else None
        if t < 2:
            assert newest is None
        elif t < 30 or t > 36:
            assert newest == t - 2
    assert aligner.held == recipe.filter.look_ahead
    assert [frame.index for frame in aligner.flush()] == [58, 59]
    assert aligner.held == 0


def test_a_causal_stream_without_gaps_does_not_wait():
    recipe = AlignmentRecipe(size=32, max_gap=0, smoothing_causal=True)
    aligner = VideoAligner(recipe, Known(_without(_path(20), 7)))
    assert [[frame.index for frame in aligner.push(BLANK)] for _ in range(20)] == [[t] for t in range(20)]


def test_memory_does_not_grow_with_the_video():
    """A long video with faces, gaps of all lengths, and none at all."""
    rng = np.random.default_rng(3)
    faces = [found if rng.random() > 0.2 else [] for found in _path(1500)]
    faces[500:800] = [[]] * 300
    aligner = VideoAligner(RECIPE, Known(faces))
    seen = 0
    for _ in faces:
        seen += len(aligner.push(BLANK))
        assert aligner.held <= RECIPE.look_ahead
        assert len(aligner._past) <= RECIPE.filter.reach
        assert all(past.frame is None for past in aligner._past)
        assert len(aligner._finder.tracker.tracks) <= 1
    assert seen + len(aligner.flush()) == 1500


def test_faces_are_followed_between_searches():
    detector = KnownFollower(_path(23))
    out = _run(detector.faces, AlignmentRecipe(size=32, detect_every=5), detector)
    assert detector.searched == [0, 5, 10, 15, 20]
    assert [frame.status == "detected" for frame in out] == [t % 5 == 0 for t in range(23)]
    assert {frame.status for frame in out} == {"detected", "tracked"}


def test_an_unsure_or_lost_face_is_searched_for_at_once():
    faces = _path(20)
    faces[7] = [face(faces[7][0].centre[0], 90, confidence=0.92)]
    faces[13] = []
    detector = KnownFollower(faces)
    out = _run(faces, AlignmentRecipe(size=32, detect_every=5), detector)
    assert detector.searched == [0, 5, 7, 12, 13, 14, 19]
    assert (out[7].status, out[13].status) == ("detected", "interpolated")


def test_a_face_that_jumps_is_searched_for_at_once():
    """The follower names a face elsewhere; the search in the same frame finds the old one."""

    class Jumps(KnownFollower):
        def follow(self, frame, faces):
            found = super().follow(frame, faces)
            if self.next != 8:
                return found
            self.next -= 1
            return [face(400)]

    detector = Jumps(_path(12))
    out = _run(detector.faces, AlignmentRecipe(size=32, detect_every=5), detector)
    assert detector.searched == [0, 5, 7]
    assert {frame.track for frame in out} == {0}
    assert all(frame.points[:, 0].max() < 200 for frame in out)


def test_a_detector_that_cannot_follow_is_asked_in_every_frame():
    detector = Known(_path(12))
    _run(detector.faces, AlignmentRecipe(size=32, detect_every=5), detector)
    assert detector.searched == list(range(12))


def test_the_crop_shows_the_frame_it_belongs_to():
    """Frames wait; the crop must not be that of a later frame."""
    faces = _path(12)
    frames = [np.full((200, 200, 3), 10 * t, np.uint8) for t in range(12)]
    for frame in align_video(frames, RECIPE, Known(faces)):
        assert frame.image is not None
        assert frame.image.shape == (32, 32, 3)
        assert (frame.image == 10 * frame.index).all()
