"""What the speeds beside the reference are made of, without the reference."""

from pathlib import Path

import pytest

from mdhr_jax.bench import predicting


def test_rates_are_of_the_frames_that_come_out():
    measured = {
        "reference, full context": (2, (4.0, 1.0, 2.0)),
        "reference, windows of 16": (16, (4.0, 1.0, 2.0)),
        "ours, stream": (16, (0.5, 0.25, 0.5)),
    }
    found = predicting.rows(measured)
    assert [row["frames_per_second"] for row in found] == [1.0, 8.0, 32.0]
    assert [row["ratio"] for row in found] == [1.0, 8.0, 32.0]
    assert [row["spread"] for row in found] == [[1.0, 1.0], [8.0, 8.0], [32.0, 64.0]]


def test_a_video_that_is_too_short():
    frames = predicting._first(iter([1, 2]), 3, Path("a.mp4"))
    assert next(frames) == 1
    with pytest.raises(ValueError, match=r"a\.mp4 has 2 frames, expected at least --video-frames 3"):
        list(frames)
