"""The measurement of a face detector, with a detector that knows the answer."""

import sys

import numpy as np
import pytest

from mdhr_jax.data.synthetic import detection


@pytest.fixture(scope="module")
def samples():
    return detection.sample_frames("realistic", 3, shots=2)


def test_frames_come_from_both_au_sets_and_all_subjects(samples):
    assert len(samples) == 2 * 3 * 2
    frame, points = samples[0]
    assert (frame.shape, frame.dtype) == ((256, 256, 3), np.uint8)
    assert points.shape == (5, 2)
    assert points[1, 0] - points[0, 0] == pytest.approx(0.35 * 256, rel=0.1)
    assert points[0, 1] < points[2, 1] < points[3, 1]


@pytest.mark.parametrize("placement", detection.PLACEMENTS, ids=lambda placement: placement.name)
def test_points_are_compared_in_the_coordinates_of_the_frame(samples, placement):
    truths = iter([truth for _, truth in samples])

    def exact(picture):
        pad = round(placement.border * 256 / placement.shrink)
        assert len(picture) == 256 // placement.shrink + 2 * pad
        return next(truths) / placement.shrink + pad

    score = detection.score(exact, samples, placement)
    assert score.found == len(samples)
    assert score.error < 1e-5
    assert score.holds


def test_faces_that_are_missed_or_elsewhere_are_not_found(samples):
    first = detection.PLACEMENTS[0]
    nothing = detection.score(lambda _: None, samples, first)
    assert (nothing.found, nothing.holds) == (0, False)
    assert "**no**" in detection.table([nothing])
    corner = detection.score(lambda _: np.zeros((5, 2)), samples, first)
    assert corner.found == 0


def test_the_command_says_what_to_install_and_reports(samples, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(detection, "sample_frames", lambda *_, **__: samples)
    monkeypatch.setitem(sys.modules, "mtcnn", None)
    assert detection.main(["--subjects", "3"]) == 2
    assert "pip install mdhr_jax[faces]" in capsys.readouterr().err
    report = tmp_path / "detection.md"
    assert detection.main(["--subjects", "3", "--report", str(report)], lambda _: None) == 1
    assert "half size" in report.read_text()
