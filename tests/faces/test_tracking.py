"""Who is who from frame to frame."""

from mdhr_jax.faces.tracking import Tracker
from tests.faces.scene import face


def test_two_people_who_cross_keep_their_numbers():
    """They pass each other; in the middle one hides the other."""
    tracker = Tracker(max_gap=5)
    seen = {}
    for t in range(41):
        right, left = face(100 + 8 * t, 100), face(420 - 8 * t, 108, 0.9)
        hidden = abs(right.centre[0] - left.centre[0]) < 40
        found = tracker.update(t, [right] if hidden else [left, right])
        for number, one in found.items():
            seen.setdefault(number, []).append(one is right)
    assert len(seen) == 2
    assert all(len(set(kinds)) == 1 for kinds in seen.values())


def test_the_largest_is_the_subject_and_a_larger_one_does_not_take_over():
    tracker = Tracker(max_gap=5)
    found = tracker.update(0, [face(100, 100, 0.5), face(300, 100, 1.0)])
    subject = tracker.subject
    assert subject is not None
    assert found[subject].centre[0] == 300
    for t in range(1, 9):
        found = tracker.update(t, [face(100, 100, 3.0), face(300, 100, 1.0)])
        assert tracker.subject == subject
        assert found[subject].centre[0] == 300


def test_a_track_ends_after_the_gap_and_not_before():
    for missing, same in ((3, True), (4, False)):
        tracker = Tracker(max_gap=3)
        tracker.update(0, [face()])
        first = tracker.subject
        for t in range(1, missing + 1):
            assert tracker.update(t, []) == {}
        tracker.update(missing + 1, [face()])
        assert (tracker.subject == first) is same


def test_the_subject_is_not_given_to_a_bystander_while_it_may_come_back():
    tracker = Tracker(max_gap=3)
    tracker.update(0, [face(100), face(300, scale=0.6)])
    subject = tracker.subject
    assert subject is not None
    for t in range(1, 4):
        tracker.update(t, [face(300, scale=0.6)])
        assert tracker.subject == subject
    assert tracker.update(4, [face(101), face(300, scale=0.6)])[subject].centre[0] == 101


def test_an_unsure_face_continues_a_track_but_begins_none():
    tracker = Tracker(max_gap=3)
    assert tracker.update(0, [face(confidence=0.85)]) == {}
    tracker.update(1, [face()])
    assert list(tracker.update(2, [face(102, confidence=0.85)])) == [0]


def test_a_face_named_twice_is_one():
    assert len(Tracker(3).update(0, [face(100), face(104, confidence=0.95)])) == 1


def test_followed_faces_move_their_tracks():
    tracker = Tracker(3)
    tracker.update(0, [face(100), face(300)])
    assert tracker.follow(1, {0: face(104), 1: face(297)})
    assert [track.last_seen for track in tracker.tracks.values()] == [1, 1]
    assert sorted(tracker.update(2, [face(294), face(108)])) == [0, 1]


def test_a_followed_face_that_jumps_or_runs_into_another_changes_nothing():
    tracker = Tracker(3)
    tracker.update(0, [face(100), face(200)])
    before = {number: track.face for number, track in tracker.tracks.items()}
    assert not tracker.follow(1, {0: face(180), 1: face(200)})
    assert not tracker.follow(1, {0: face(140), 1: face(150)})
    assert {number: track.face for number, track in tracker.tracks.items()} == before
    assert [track.last_seen for track in tracker.tracks.values()] == [0, 0]
