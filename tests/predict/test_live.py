"""Cameras and real time: frames that come too fast are left out and counted; a stop leaves a whole table."""

import itertools
import json
import os
import signal
import threading
import time

import numpy as np
import pytest

from mdhr_jax.faces import options
from mdhr_jax.predict.__main__ import main
from mdhr_jax.predict.sources import camera, inputs, live
from mdhr_jax.predict.sources.camera import Camera
from mdhr_jax.predict.sources.live import Live
from tests.predict.scene import DotDetector, frame
from tests.predict.test_command import names, pictures, read, recordings

__all__ = ["recordings"]
pytestmark = pytest.mark.usefixtures("unoptimized")
PICTURE = np.zeros((4, 4, 3), np.uint8)
GONE = "camera /dev/video0 cannot be read (No such device)"


class Fake(Camera):
    """Shows the scene; then somebody presses Ctrl-C, or it is pulled out."""

    shown, then = 7, "ctrl-c"

    def check(self):
        pass

    def timed_frames(self):
        for t, picture in enumerate(pictures()[: self.shown]):
            yield t / 25, picture
        if self.then == "ctrl-c":
            os.kill(os.getpid(), signal.SIGINT)
            # As long as somebody waits for frames.
            yield from ((self.wait(), frame()) for _ in range(600))
        raise ValueError(GONE)

    def wait(self):
        time.sleep(0.1)
        return 99.0


@pytest.fixture
def predict(run, tmp_path, monkeypatch):
    """Runs the command with a camera 0 of the scene; it says what is in its pictures."""
    monkeypatch.setattr(camera, "named", lambda argument: Fake("camera0", ()) if argument == "0" else None)
    monkeypatch.setattr(options, "detector", lambda *_: DotDetector())

    def call(*arguments):
        return main([*map(str, arguments), "--checkpoint", str(run), "--out", str(tmp_path / "out")])

    return call


def meaning(path):
    return json.loads(path.read_text())


def test_ctrl_c_is_the_end_of_a_camera_and_of_nothing_else(predict, recordings, tmp_path, capsys):
    before = signal.getsignal(signal.SIGINT)
    assert predict("0", recordings / "still.png") == 0
    assert signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr()
    assert "0: 7 frames, 6 with a face, 0 frames left out" in said.out
    assert "stopping" in said.err
    assert names(tmp_path / "out") == ["camera0.csv", "camera0.json", "still.csv", "still.json"]
    found = read(tmp_path / "out" / "camera0.csv")
    assert found.success.tolist() == [1] * 6 + [0]
    np.testing.assert_allclose(found.timestamp, np.arange(7) / 25)
    facts = meaning(tmp_path / "out" / "camera0.json")
    assert (facts["frames_dropped"], facts["ended_early"]) == (0, None)
    assert facts["work"]["input"]["camera"] == "camera0"
    # What it sees is never the same again.
    assert predict("0", "--seconds", "0.1") == 0
    assert read(tmp_path / "out" / "camera0_2.csv").frame.tolist() == [1, 2, 3]


def test_a_camera_that_is_pulled_out(predict, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Fake, "then", "gone")
    assert predict("0") == 1
    assert f"error: {GONE}. The table has the frames before" in capsys.readouterr().err
    assert len(read(tmp_path / "out" / "camera0.csv")) == 7
    assert meaning(tmp_path / "out" / "camera0.json")["ended_early"] == GONE
    monkeypatch.setattr(Fake, "shown", 0)
    assert predict("0") == 1
    assert names(tmp_path / "out") == ["camera0.csv", "camera0.json"]


def test_a_file_at_its_own_speed(predict, recordings, tmp_path):
    assert predict(recordings / "talk.mp4", "--realtime", "--seconds", "0.4") == 0
    found = read(tmp_path / "out" / "talk.csv")
    facts = meaning(tmp_path / "out" / "talk.json")
    assert len(found) + facts["frames_dropped"] == 10
    steps = found.timestamp.to_numpy() * 25
    np.testing.assert_allclose(steps, steps.round(), atol=1e-4)
    assert (np.diff(steps) > 0).all()


def test_what_cameras_and_real_time_cannot_do(predict, recordings, tmp_path, capsys):
    talk = recordings / "talk.mp4"
    for asked, code, message in (
        ([talk, "--realtime", "--report"], 2, "leave out --realtime"),
        ([talk, "--realtime", "--detections", tmp_path], 2, "--realtime leaves out frames"),
        ([talk, "--seconds", "0"], 2, "more than 0"),
        (["0", "--overlay"], 1, "record it first"),
        ([recordings / "series", "--seconds", "1"], 1, "give --fps"),
        ([recordings / "series", "--realtime"], 1, "give --fps"),
    ):
        assert predict(*asked) == code
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or names(tmp_path / "out") == []


def test_which_arguments_are_cameras(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert camera.named("2") == Camera("camera2", (), "/dev/video2", "video4linux2")
    assert camera.named("/dev/video2") == camera.named("2")
    for other in ("two.mp4", "/dev/video", "video=2", "-1"):
        assert camera.named(other) is None
    (tmp_path / "2").mkdir()
    assert camera.named("2") is None
    monkeypatch.setattr("sys.platform", "darwin")
    assert camera.named("0") == Camera("camera0", (), "0:none", "avfoundation")


def test_a_camera_that_is_not_there(run, recordings, tmp_path, capsys):
    missing = [one.given for one in inputs.find(["97", "/dev/video97", str(recordings / "talk.mp4")])]
    assert missing == ["97", str(recordings / "talk.mp4")]
    out = ["--out", str(tmp_path / "out")]
    assert main(["97", "--checkpoint", str(run), *out]) == 1
    assert "there is no camera /dev/video97" in capsys.readouterr().err
    assert names(tmp_path / "out") == []


def test_what_drives_cameras_is_read():
    """Through what FFmpeg makes up, in place of a device."""
    made_up = Camera("camera0", (), "testsrc=rate=25:size=64x48:duration=0.2", "lavfi")
    times, shapes = zip(*((t, picture.shape) for t, picture in made_up.timed_frames()), strict=True)
    np.testing.assert_allclose(times, np.arange(5) / 25)
    assert set(shapes) == {(48, 64, 3)}
    with pytest.raises(ValueError, match="camera nonsense cannot be read"):
        next(Camera("camera0", (), "nonsense", "lavfi").timed_frames())


def test_who_is_slow_gets_the_newest_frames():
    taken, all_read = threading.Event(), threading.Event()

    def frames():
        yield 0.0, PICTURE
        taken.wait(60)
        for number in range(1, 30):
            yield number / 10, PICTURE
        all_read.set()

    source = Live(frames(), paced=False)
    times = []
    for when, _ in source:
        times.append(when)
        taken.set()
        all_read.wait(60)
    assert times == [0.0, *(number / 10 for number in range(22, 30))]
    assert source.dropped == 21


def test_paced_frames_come_at_their_times():
    start = time.monotonic()
    late = [time.monotonic() - start - when for when, _ in Live(_at(0.0, 0.2, 0.4), paced=True)]
    assert len(late) == 3
    assert min(late) > -0.01
    with pytest.raises(ValueError, match="give --fps"):
        list(Live(_at(None), paced=True))


def test_an_error_comes_after_the_frames_before_it_and_a_stop_ends_all():
    def frames():
        yield 0.0, PICTURE
        raise ValueError("is damaged")

    found = iter(Live(frames(), paced=False))
    assert next(found)[0] == 0.0
    with pytest.raises(ValueError, match="is damaged"):
        next(found)
    endless = Live(((float(i), PICTURE) for i in itertools.count()), paced=False)
    times = []
    for when, _ in endless:
        times.append(when)
        endless.stop()
    # Those that had been read are still given.
    assert 1 <= len(times) <= 1 + live._WAITING


def _at(*times):
    for when in times:
        yield when, PICTURE


@pytest.fixture
def ctrl_c():
    """As in a terminal; started in the background, a process may ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_ends_the_program():
    source = Live(_at(0.0), paced=False)
    with live.stopped_by_signals(source):
        signal.raise_signal(signal.SIGINT)
        assert list(source) == []
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
