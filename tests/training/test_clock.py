from types import SimpleNamespace

import pytest

from mdhr_jax.training import clock as clock_module
from mdhr_jax.training.clock import Clock


@pytest.fixture
def time(monkeypatch):
    """A clock on the wall that the test sets."""
    wall = SimpleNamespace(now=100.0)
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(monotonic=lambda: wall.now))
    return wall


def test_speed_is_measured_in_windows_only(time):
    clock = Clock()
    assert clock.frames_per_second == 0
    clock.count(30)
    time.now += 2
    assert clock.close_window() == 15
    time.now += 7  # Evaluating, say.
    clock.open_window()
    clock.count(50)
    time.now += 1
    assert clock.close_window() == 50
    assert clock.frames_per_second == pytest.approx(80 / 3)


def test_frames_before_a_window_count_for_the_run_and_not_for_its_speed(time):
    clock = Clock()
    clock.count(1000)
    time.now += 40  # The first step compiles.
    clock.open_window()
    clock.count(10)
    time.now += 5
    assert clock.close_window() == 2
    assert clock.frames_per_second == 2
    assert clock.frames == 1010


def test_a_continued_run_adds_to_what_was_before(time):
    clock = Clock(seconds=60.0, frames=500)
    time.now += 5
    clock.count(8)
    assert clock.seconds == 65
    assert clock.frames == 508


def test_a_window_without_time_has_no_speed(time):
    clock = Clock()
    clock.count(8)
    assert clock.close_window() == 0
    assert clock.frames_per_second == 0
