"""The command: which files it writes, what it says of inputs that cannot be done; nothing is lost."""

import csv
import fractions
import json
import os

import av
import numpy as np
import pytest
from PIL import Image
from skimage import data

from mdhr_jax.faces.precomputed import COLUMNS
from mdhr_jax.predict.__main__ import main
from mdhr_jax.predict.predictor import Predictor
from mdhr_jax.predict.scoring import Scoring
from mdhr_jax.predict.sources import inputs
from mdhr_jax.predict.table import require_pandas
from tests.predict.scene import HEIGHT, WIDTH, DotDetector, frame

pytestmark = pytest.mark.usefixtures("unoptimized")
FRAMES = 12
LOST = (6, 7)
MISSING = "missing.mp4"


def pictures():
    """One person throughout but for two frames."""
    return [frame(*([] if t in LOST else [(60 + 2 * t, 80)])) for t in range(FRAMES)]


def write_video(path, frames, times=None, codec="mpeg4"):
    """A video whose frames are shown at some times, in milliseconds; by default 25 a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"b:v": "3000000"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for i, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts = 40 * i if times is None else times[i]
            picture.time_base = fractions.Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def write_detections(folder, name, frames):
    """The file of faces that another program would have written of these frames."""
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, faces in enumerate(DotDetector().detect(frames)):
            for face in faces:
                writer.writerow([number, *face.box, *face.points.reshape(-1), face.confidence])


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder with a video, pictures that are one, and a picture; and their faces in ``faces``."""
    root = tmp_path_factory.mktemp("recordings")
    frames = pictures()
    write_video(root / "talk.mp4", frames)
    (root / "series").mkdir()
    for number, pixels in enumerate(frames[:3]):
        Image.fromarray(pixels).save(root / "series" / f"f{number + 8}.png")
    Image.fromarray(frames[0]).save(root / "still.png")
    for name, those in {"talk": frames, "series": frames[:3], "still": frames[:1], "empty": []}.items():
        write_detections(root / "faces", name, those)
    return root


@pytest.fixture
def predict(run, recordings, tmp_path):
    """Runs the command on some inputs."""

    def call(*arguments, out=tmp_path / "out"):
        faces = ["--detections", str(recordings / "faces")]
        return main([*map(str, arguments), "--checkpoint", str(run), "--out", str(out), *faces])

    return call


def read(path):
    return require_pandas().read_csv(path)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_table_and_its_meaning_for_each_input_that_can_be_done(predict, recordings, run, tmp_path, capsys):
    empty = recordings / "empty.mp4"
    empty.touch()
    given = [recordings / name for name in (MISSING, "talk.mp4", "empty.mp4", "series", "s*.png")]
    assert predict(*given, "--fps", 10) == 1
    said = capsys.readouterr()
    stems = ("series", "still", "talk")
    assert names(tmp_path / "out") == [f"{stem}.{kind}" for stem in stems for kind in ("csv", "json")]
    assert f"error: {recordings / MISSING}: is not there" in said.err
    assert f"{empty}" in said.err
    assert "2 of 5 inputs could not be done" in said.err
    assert "12 frames, 10 with a face" in said.out
    empty.unlink()

    talk = read(tmp_path / "out" / "talk.csv")
    assert talk.frame.tolist() == list(range(1, FRAMES + 1))
    np.testing.assert_allclose(talk.timestamp, np.arange(FRAMES) / 25)
    assert talk.success.tolist() == [0 if t in LOST else 1 for t in range(FRAMES)]
    assert talk[talk.success == 0].drop(columns=["frame", "timestamp", "success"]).isna().all(axis=None)
    assert talk[talk.success == 1].notna().all(axis=None)
    assert read(tmp_path / "out" / "series.csv").timestamp.tolist() == [0.0, 0.1, 0.2]
    expected = Predictor(run)(pictures()[:3], detector=DotDetector())
    series = read(tmp_path / "out" / "series.csv")
    np.testing.assert_allclose(series.filter(like="_p"), expected.filter(like="_p"), atol=1e-4)

    meaning = json.loads((tmp_path / "out" / "talk.json").read_text())
    assert (meaning["frames"], meaning["frames_with_face"], meaning["people"]) == (12, 10, 1)
    assert meaning["columns"] == list(talk.columns)
    assert meaning["au_names"] == ["AU1", "AU12"]
    assert list(meaning["thresholds"]) == meaning["au_names"]
    assert meaning["protocol"] == "paper"
    assert meaning["crop_recipe"]["name"] == "canonical"
    assert len(meaning["checkpoint"]["sha256"]) == 64
    assert meaning["look_ahead"] == {"model": 4, "alignment": 3}
    assert meaning["work"]["detector"] == {"name": "precomputed", "version": "1"}
    assert {"jax", "mdhr_jax"} <= set(meaning["versions"])


def test_what_is_complete_is_not_done_again_and_nothing_is_overwritten(predict, recordings, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "still.csv").write_text("of somebody else\n")
    write_video(tmp_path / "still.avi", pictures()[:1])
    given = [recordings / "still.png", tmp_path / "still.avi"]
    assert predict(*given) == 0
    assert names(out) == ["still.csv", "still_2.csv", "still_2.json", "still_3.csv", "still_3.json"]
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    capsys.readouterr()
    # As after an interruption.
    (out / "still_3.csv").unlink()
    assert predict(*given) == 0
    assert "still.png: done before" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert after.keys() == before.keys()
    assert {p.name for p in before if before[p] != after[p]} == {"still_3.csv", "still_3.json"}
    assert (out / "still.csv").read_text() == "of somebody else\n"
    # Other work on the same input has other files.
    assert predict(given[0], "--mode", "clips") == 0
    assert "still_4.csv" in names(out)


def test_times_are_those_of_the_file(predict, recordings, tmp_path):
    """Frames that are shown for different lengths of time, from half a second after the file's start on."""
    times = [500, 533, 620, 1000, 1033]
    write_video(tmp_path / "talk.mkv", pictures()[:5], times)
    write_detections(recordings / "faces", "uneven", pictures()[:5])
    os.rename(tmp_path / "talk.mkv", tmp_path / "uneven.mkv")
    assert predict(tmp_path / "uneven.mkv") == 0
    found = read(tmp_path / "out" / "uneven.csv").timestamp
    np.testing.assert_allclose(found, (np.asarray(times) - 500) / 1000, atol=1e-6)


def test_damaged_and_interrupted_inputs_leave_nothing(predict, recordings, tmp_path, capsys, monkeypatch):
    whole = (recordings / "talk.mp4").read_bytes()
    (tmp_path / "talk.mp4").write_bytes(whole[: len(whole) // 2])
    assert predict(tmp_path / "talk.mp4") == 1
    assert "talk.mp4" in capsys.readouterr().err
    assert names(tmp_path / "out") == []

    original, rows = Scoring.step, 0

    def step(self):
        nonlocal rows
        found = original(self)
        rows += len(found)
        if rows:
            parts = [f"{stem}.{kind}.part" for stem in ("still", "talk") for kind in ("csv", "json")]
            assert names(tmp_path / "out") == parts
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(Scoring, "step", step)
    # Those that are worked on beside it are no more complete than it.
    assert predict(recordings / "talk.mp4", recordings / "still.png", "--batch", 2, "--together", 2) == 130
    assert rows
    assert "tables that were reported are complete" in capsys.readouterr().err
    assert names(tmp_path / "out") == []


def test_mistakes_are_told_before_the_work(run, recordings, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    talk = str(recordings / "talk.mp4")
    for arguments, message in (
        ([talk, "--checkpoint", str(tmp_path / "nowhere"), *out], "does not exist"),
        ([talk, "--checkpoint", str(run), *out, "--fps", "0"], "more than 0"),
        ([talk, "--checkpoint", str(run), *out, "--batch", "0"], "at least 1"),
        ([talk, "--checkpoint", str(run), *out, "--detections", str(tmp_path / "no")], "not a folder"),
        ([talk, "--checkpoint", str(run), *out, "--together", "0"], "at least 1"),
        ([talk, "--checkpoint", str(run), *out, "--together", "2", "--realtime"], "leave out --together"),
        ([talk, "", "--checkpoint", str(run), *out], "an INPUT is empty"),
        ([talk, "--checkpoint", str(run), "--out", talk], "talk.mp4 is a file, expected a folder"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_which_recordings_the_arguments_name(recordings, tmp_path):
    (tmp_path / "videos").mkdir()
    for name in ("b.mp4", "a.MOV", "notes.txt", ".hidden.mp4"):
        (tmp_path / "videos" / name).touch()
    (tmp_path / "both").mkdir()
    for name in ("b.mp4", "a.png"):
        (tmp_path / "both" / name).touch()
    (tmp_path / "nothing").mkdir()
    talk = str(recordings / "talk.mp4")
    patterns = [str(recordings / "*.mp4"), str(tmp_path / "*.gif")]
    found = inputs.find([str(tmp_path / "videos"), talk, talk, *patterns])
    assert [os.path.basename(one.given) for one in found] == ["a.MOV", "b.mp4", "talk.mp4", "*.gif"]
    assert [one.problem for one in found] == [None, None, None, "nothing matches"]
    (both,) = inputs.find([str(tmp_path / "both")])
    assert "pictures and of videos" in both.problem
    (nothing,) = inputs.find([str(tmp_path / "nothing")])
    assert "no pictures" in nothing.problem
    (series,) = inputs.find([str(recordings / "series")])
    assert [path.name for path in series.recording.paths] == ["f8.png", "f9.png", "f10.png"]


def test_a_photograph_is_done_from_end_to_end(run, tmp_path, run_python):
    """With MTCNN, in a process of its own, for TensorFlow's sake."""
    photograph = tmp_path / "photograph.png"
    Image.fromarray(data.astronaut()).save(photograph)
    out = tmp_path / "out"
    asked = [str(photograph), "--checkpoint", str(run), "--out", str(out)]
    done = run_python("-m", "mdhr_jax.predict", *asked)
    assert done.returncode == 0, done.stderr
    found = read(out / "photograph.csv")
    assert found[["frame", "face_id", "success"]].to_numpy().tolist() == [[1, 0, 1]]
    assert found.confidence[0] > 0.9
    assert found.filter(like="_p").notna().all(axis=None)
    work = json.loads((out / "photograph.json").read_text())["work"]
    assert work["detector"]["name"] == "mtcnn"
