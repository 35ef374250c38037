"""What the speeds beside the reference are made of, without the reference."""

from pathlib import Path

import pytest

from mdhr_jax.bench import predicting
from mdhr_jax.bench.predicting import Measured


def test_rates_are_of_the_frames_that_come_out():
    full = Measured("reference, full context: 2 of 16 frames", 2, (4.0, 1.0, 2.0))
    plain = Measured("reference, windows of 16", 16, full.seconds)
    ours = Measured("ours, stream", 16, (0.5,))
    assert (full.rate, plain.rate, ours.rate) == (1.0, 8.0, 32.0)
    lines = predicting.table({"reference, full": full, "plain": plain, "ours": ours}).splitlines()
    assert [line.split()[-2] for line in lines[1:]] == ["1.00", "8.00", "32.00"]
    assert lines[1].split()[-1] == "0.50-2.00"


def test_mistakes_are_told_before_the_work(tmp_path, capsys):
    asked = ["--reference", str(tmp_path)]
    for more, message in (
        ([], "no checkout of the reference"),
        (["--repeats", "0"], "at least 1 repeat"),
        (["--video", str(tmp_path / "no.mp4")], "is not there"),
    ):
        assert predicting.main([*asked, *more]) == 2
        assert message in capsys.readouterr().err


def test_a_video_that_is_too_short():
    frames = predicting._first(iter([1, 2]), 3, Path("a.mp4"))
    assert next(frames) == 1
    with pytest.raises(ValueError, match=r"a\.mp4 has 2 frames, expected at least --video-frames 3"):
        list(frames)
