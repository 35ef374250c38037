"""Several inputs at a time: each has the table that it has alone, and errors stay with their inputs."""

import errno
import json

import numpy as np
import pytest
from PIL import Image

from mdhr_jax.faces import media, options
from mdhr_jax.predict.__main__ import main
from mdhr_jax.predict.bar import Bar
from mdhr_jax.predict.job import Job
from mdhr_jax.predict.streams import StreamScorer
from mdhr_jax.predict.together import Together
from mdhr_jax.predict.views import Views
from tests.predict.scene import DotDetector, frame
from tests.predict.test_command import names, pictures, read, write_video
from tests.predict.test_odd_inputs import cut

pytestmark = pytest.mark.usefixtures("unoptimized")
PICTURES = 8


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two videos, one that is cut off, and pictures that stand alone."""
    root = tmp_path_factory.mktemp("recordings")
    write_video(root / "talk.mkv", pictures())
    write_video(root / "walk.mkv", [frame((200 - 3 * t, 80), (60, 80 - t)) for t in range(9)])
    cut(write_video(root / "broken.mkv", pictures()[::-1]), 0.9)
    (root / "alone").mkdir()
    for number in range(PICTURES):
        Image.fromarray(frame((60 + 20 * number, 80))).save(root / "alone" / f"p{number}.png")
    return root


@pytest.fixture
def predict(run, tmp_path, monkeypatch):
    """Runs the command on some inputs; faces are where the dots are."""
    monkeypatch.setattr(options, "detector", lambda *_: DotDetector())

    def call(*arguments, out="out"):
        return main([*map(str, arguments), "--checkpoint", str(run), "--out", str(tmp_path / out)])

    return call


@pytest.fixture
def batches(monkeypatch):
    """Counts what the model computes."""
    original, computed = StreamScorer._compute_batch, []

    def compute(self, streams, rows, places, edge):
        computed.append((rows, places))
        original(self, streams, rows, places, edge)

    monkeypatch.setattr(StreamScorer, "_compute_batch", compute)
    return computed


def test_each_is_as_alone_and_a_damaged_one_is_alone_with_it(predict, recordings, tmp_path, capsys):
    given = sorted(recordings.glob("*.mkv")) + sorted((recordings / "alone").iterdir())[:3]
    assert predict(*given, "--together", 1, out="apart") == 1
    said = capsys.readouterr()
    assert predict(*given, "--together", 3) == 1
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(
        line.replace("apart", "out") for line in said.out.splitlines()
    )
    stems = ("broken", "p0", "p1", "p2", "talk", "walk")
    assert names(tmp_path / "out") == [f"{stem}.{kind}" for stem in stems for kind in ("csv", "json")]
    for stem in stems:
        found, wanted = (read(tmp_path / folder / f"{stem}.csv") for folder in ("out", "apart"))
        exact = ["frame", "face_id", "timestamp", "confidence", "success"]
        np.testing.assert_array_equal(found[exact], wanted[exact])
        np.testing.assert_allclose(found.filter(like="_p"), wanted.filter(like="_p"), atol=1e-6)
        facts, others = (json.loads((tmp_path / f / f"{stem}.json").read_text()) for f in ("out", "apart"))
        assert facts == others
    # The same command gives the same bytes.
    assert predict(*given, "--together", 3, out="again") == 1
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_pictures_that_stand_alone_fill_batches(predict, recordings, tmp_path, batches, capsys):
    given = sorted((recordings / "alone").iterdir())
    assert predict(*given) == 0
    ours = len(batches)
    assert 0 < ours < PICTURES
    assert f"predicting: {PICTURES}/{PICTURES} frames (100%)" in capsys.readouterr().err
    assert predict(*given, "--together", 1, out="apart") == 0
    assert len(batches) - ours == PICTURES
    for path in (tmp_path / "out").glob("*.csv"):
        wanted = read(tmp_path / "apart" / path.name)
        np.testing.assert_allclose(read(path).filter(like="_p"), wanted.filter(like="_p"), atol=1e-6)


def test_what_waits_is_completed_though_others_have_nobody_to_score(predict, tmp_path, monkeypatch, capsys):
    """By the patience of the command, long before the other one ends."""
    Image.fromarray(frame((60, 80))).save(tmp_path / "one.png")
    write_video(tmp_path / "nobody.mkv", [frame()] * 60)
    seen = []
    original = Bar.end

    def end(self, one):
        seen.append((one.given, self._counted.copy()))
        original(self, one)

    monkeypatch.setattr(Bar, "end", end)
    assert predict(tmp_path / "one.png", tmp_path / "nobody.mkv", "--batch", 10, "--together", 2) == 0
    given, counted = seen[0]
    assert given.endswith("one.png")
    assert 0 < max(counted.values()) < 60


class Fake(Job):
    """An input that takes some steps, and says when it takes one."""

    def __init__(self, name, log, *, length=1, steps=2, waits=0, error=None):
        self.given, self.length, self.log = name, length, log
        self.left, self.waits, self.waiting = steps, False, waits
        self.error = error

    def advance(self, *, finish=False):
        self.log.append(self.given + ("!" if finish else ""))
        if self.error:
            raise self.error
        if self.waits:
            return not finish
        self.left -= 1
        self.waits = self.left < 0 and bool(self.waiting)
        return self.left >= 0 or self.waits

    def close(self):
        self.log.append(f"{self.given} closed")


@pytest.fixture
def work(tmp_path):
    def call(jobs, most=None, patience=100):
        return Together(iter(jobs), tmp_path, Bar(len(jobs)), most, patience).run()

    return call


def test_how_many_are_open(work):
    for most, lengths, expected in (
        (2, (1, 1, 1), "ab ab abcc c"),
        (1, (1, 1), "aaabbb"),
        # Long ones and those of which nobody knows are not joined.
        (None, (5000, 1, 1), "aaabc bcbc"),
        (None, (0, 1), "aaabbb"),
        (None, (1, 5000, 1), "ab ab abccc"),
        (None, (1,) * 5, "abcd abcd abcdeee"),
    ):
        log = []
        assert work([Fake("abcde"[i], log, length=length) for i, length in enumerate(lengths)], most) == 0
        assert "".join(log) == expected.replace(" ", "")


def test_what_waits_makes_room_and_is_finished_at_last(work):
    log = []
    jobs = [Fake("a", log, steps=1, waits=1), Fake("b", log, steps=3), Fake("c", log, steps=1)]
    assert work(jobs, most=2) == 0
    assert " ".join(log) == "a b a b c a b c a b a!"
    # By patience, while the other one goes on.
    log = []
    assert work([Fake("a", log, steps=1, waits=1), Fake("b", log, steps=9)], most=2, patience=3) == 0
    assert " ".join(log) == "a b a b a b a! b b b b b b b"
    # One after the other.
    log = []
    assert work([Fake(name, log, steps=1, waits=1) for name in "ab"], most=1) == 0
    assert " ".join(log) == "a a a! b b b!"


def test_what_ends_all_and_what_does_not(work, tmp_path, monkeypatch, capsys):
    """A file that cannot be read is that input's; a full disk or a folder that is gone is everybody's."""
    log = []
    denied = PermissionError(errno.EACCES, "Permission denied", "a")
    assert work([Fake("a", log, error=denied), Fake("b", log)], most=2) == 1
    assert log == ["a", "b", "b", "b"]
    assert "error: [Errno 13] Permission denied: 'a'" in capsys.readouterr().err
    for error in (OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()):
        log = []
        with pytest.raises(type(error)):
            work([Fake("a", log), Fake("b", log, error=error), Fake("c", log)], most=2)
        assert log == ["a", "b", "a closed"]
    monkeypatch.setattr("os.access", lambda path, how: path != tmp_path)
    with pytest.raises(PermissionError):
        work([Fake("a", [], error=denied), Fake("b", [])], most=2)


def test_an_encoder_that_fails_is_of_its_input(predict, recordings, tmp_path, monkeypatch, capsys):
    def make(self, place, *_):
        if place.csv.stem == "p0":
            raise OSError(errno.EINVAL, "Invalid argument")
        return ""

    monkeypatch.setattr(Views, "make", make)
    given = sorted((recordings / "alone").iterdir())[:2]
    assert predict(*given, "--together", 2) == 1
    assert f"error: {given[0]}: [Errno 22] Invalid argument" in capsys.readouterr().err
    assert names(tmp_path / "out") == ["p0.csv", "p0.json", "p1.csv", "p1.json"]


def test_a_folder_has_its_whole_name_however_many_pictures(predict, tmp_path):
    for number in (1, 2):
        folder = tmp_path / f"day.{number}"
        folder.mkdir()
        for picture in range(number):
            Image.fromarray(frame()).save(folder / f"{picture}.png")
    assert predict(tmp_path / "day.1", tmp_path / "day.2") == 0
    assert names(tmp_path / "out") == [f"day.{n}.{kind}" for n in (1, 2) for kind in ("csv", "json")]
    assert [one.stem for one in media.recordings([tmp_path / "day.1" / "0.png"])] == ["0"]


def test_frames_a_second_are_other_work_only_where_nobody_else_says(predict, recordings, tmp_path, capsys):
    given = [recordings / "talk.mkv", recordings / "alone" / "p0.png"]
    assert predict(*given) == 0
    capsys.readouterr()
    assert predict(*given, "--fps", 10) == 0
    assert "talk.mkv: done before" in capsys.readouterr().out
    assert names(tmp_path / "out") == [
        f"{stem}.{kind}" for stem in ("p0", "p0_2", "talk") for kind in ("csv", "json")
    ]
