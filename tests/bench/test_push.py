"""The look at long streams passes where nothing grows or drifts, and fails where something does."""

import itertools

import numpy as np
import pytest

from mdhr_jax.bench import push
from tests.predict.conftest import save_run

pytestmark = pytest.mark.usefixtures("unoptimized")
SHORT = ("--frames", "120", "--after", "80")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(save_run(tmp_path_factory.mktemp("run")))


def test_a_stream(checkpoint, capsys, monkeypatch):
    assert push.main([checkpoint, *SHORT]) == 0
    said = capsys.readouterr().out
    assert "peak after 80 frames" in said
    assert "last 64 scores against a fresh start" in said
    # A process that grows by a fifth.
    peaks = itertools.chain([100], itertools.repeat(120))
    monkeypatch.setattr(push, "resident_peak", lambda: next(peaks))
    assert push.main([checkpoint, *SHORT]) == 1
    assert "+20.0%" in capsys.readouterr().out


def test_scores_that_drift(checkpoint, monkeypatch):
    """Frames that are others the second time stand for a state that has something left of all before."""
    real, count = push.frame_at, itertools.count()
    monkeypatch.setattr(push, "resident_peak", lambda: 100)
    monkeypatch.setattr(push, "frame_at", lambda number, pool: real(number + (next(count) >= 120), pool))
    assert push.main([checkpoint, *SHORT]) == 1


def test_mistakes(checkpoint, tmp_path, capsys):
    assert push.main([str(tmp_path), *SHORT]) == 2
    assert push.main([checkpoint, "--frames", "100", "--after", "100"]) == 2
    assert "less than --frames" in capsys.readouterr().err


def test_frames_are_functions_of_their_numbers():
    pool = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    seen = {push.frame_at(number, pool).tobytes() for number in range(100)}
    assert len(seen) > 60
    np.testing.assert_array_equal(push.frame_at(7, pool), push.frame_at(7, pool))
