import io

import pytest

from mdhr_jax.progress import Progress, announce, format_duration, report


def test_durations():
    texts = {0.4: "0s", 59.0: "59s", 185.0: "3m05s", 7620.0: "2h07m"}
    assert {seconds: format_duration(seconds) for seconds in texts} == texts


def test_a_log_file_gets_few_lines():
    stream = io.StringIO()
    with Progress(1000, unit="frames", label="writing", stream=stream) as progress:
        for _ in range(1000):
            progress.update()
        progress.note = "done"
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("writing: 1000/1000 frames (100%), ")
    assert lines[0].endswith(", done")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_line_that_is_redrawn():
    stream = Terminal()
    with Progress(4, unit="steps", label="training", initial=2, stream=stream) as progress:
        progress.update(1, note="loss 0.5")
    shown = stream.getvalue()
    assert "\r" in shown
    assert shown.count("\n") == 1
    assert "training: 3/4 steps (75%)" in shown
    assert "loss 0.5" in shown


def test_where_the_total_is_not_known_the_bar_may_still_show_how_far(monkeypatch):
    stream = Terminal()
    with Progress(0, unit="frames", label="predicting", stream=stream) as progress:
        progress.fraction = 0.25
        progress.update(7)
    assert "[#####               ] predicting: 7 frames" in stream.getvalue()


def test_what_was_done_before_a_restart_does_not_slow_the_rate(monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    progress = Progress(10, unit="steps", label="training", stream=io.StringIO())
    seconds[0] = 100.0  # The first step compiles.
    progress.restart(1)
    progress.update()
    assert progress.rate == 0
    seconds[0] = 104.0
    progress.update(2)
    assert progress.rate == 0.5


def test_what_takes_minutes_is_counted_by_the_hour(monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    stream = io.StringIO()
    progress = Progress(20, unit="runs", label="table 3", initial=2, stream=stream)
    seconds[0] = 300.0
    progress.update(2)
    assert stream.getvalue() == "table 3: 4/20 runs (20%), 24.0 runs/h, 40m00s left\n"


@pytest.mark.parametrize(("unit", "one"), [("frames", "frame"), ("directories", "directory")])
def test_one_is_not_several_and_a_moment_gives_no_rate(monkeypatch, unit, one):
    seconds = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    stream = io.StringIO()
    for total in (0, 1, 2):
        with Progress(total, unit=unit, label="reading", stream=stream) as progress:
            progress.restart(0)
            progress.update()
    assert stream.getvalue().splitlines() == [
        f"reading: 1 {one}, 0s",
        f"reading: 1/1 {one} (100%), 0s",
        f"reading: 1/2 {unit} (50%)",
    ]


def test_time_of_other_work_does_not_slow_the_rate(monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    progress = Progress(10, unit="frames", label="scoring", stream=io.StringIO())
    seconds[0] = 2.0
    progress.update(2)
    with progress.paused():
        seconds[0] = 90.0
    assert progress.rate == 1.0


def test_lines_between_do_not_tear_what_is_redrawn(monkeypatch):
    """On a terminal everything arrives in one place."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("sys.stdout", terminal)
    with Progress(2, unit="steps", label="training") as progress:
        monkeypatch.setattr(progress, "_interval", 0.0)
        progress.update()
        announce("something happened")
        progress.update()
        report("a result")
    announce("behind")
    assert [line.rsplit("\x1b[K", 1)[-1] for line in terminal.getvalue().split("\n")] == [
        "something happened",
        "a result",
        "[####################] training: 2/2 steps (100%), 0s",
        "behind",
        "",
    ]
