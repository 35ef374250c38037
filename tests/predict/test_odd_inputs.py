"""Recordings that are damaged or unusual: sensible tables or one clear error each, the others still done."""

import json

import av
import numpy as np
import pytest
from PIL import Image

from mdhr_jax.faces import options
from mdhr_jax.predict.__main__ import main
from tests.faces.scene import face
from tests.predict.scene import DotDetector, frame
from tests.predict.test_command import HEIGHT, WIDTH, names, pictures, read, write_video

pytestmark = pytest.mark.usefixtures("unoptimized")


@pytest.fixture
def predict(run, tmp_path, monkeypatch):
    """Runs the command on files of a folder; faces are where the dots are."""
    monkeypatch.setattr(options, "detector", lambda *_: DotDetector())

    def call(*arguments):
        return main([*map(str, arguments), "--checkpoint", str(run), "--out", str(tmp_path / "out")])

    return call


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def meaning(tmp_path, stem):
    return json.loads((tmp_path / "out" / f"{stem}.json").read_text())


def test_of_a_damaged_recording_the_frames_before(predict, tmp_path, capsys):
    """A video without its end, and pictures of which one is broken; said again when nothing is left to do."""
    whole = write_video(tmp_path / "whole.mkv", pictures())
    damaged = cut(write_video(tmp_path / "cut.mkv", pictures()), 0.9)
    (tmp_path / "series").mkdir()
    for number, pixels in enumerate(pictures()[:5]):
        Image.fromarray(pixels).save(tmp_path / "series" / f"{number}.png")
    cut(tmp_path / "series" / "3.png", 0.5)
    given = (whole, damaged, tmp_path / "series")
    for again in (False, True):
        assert predict(*given) == 1
        said = capsys.readouterr()
        assert f"error: {damaged}, frame " in said.err
        assert "it is cut off" in said.err
        assert "3.png cannot be read as a picture" in said.err
        assert said.err.count("The table has the frames before") == 2
        assert "2 of 3 inputs could not be done to the end" in said.err
        assert said.out.count("done before") == (3 if again else 0)
    assert meaning(tmp_path, "whole")["ended_early"] is None
    assert "is cut off" in meaning(tmp_path, "cut")["ended_early"]
    there = read(tmp_path / "out" / "cut.csv")
    assert 0 < len(there) < len(read(tmp_path / "out" / "whole.csv"))
    assert there.frame.tolist() == list(range(1, len(there) + 1))
    assert f"frames read before it: {len(there)}" in meaning(tmp_path, "cut")["ended_early"]
    assert read(tmp_path / "out" / "series.csv").frame.tolist() == [1, 2, 3]


def test_what_holds_no_frames_is_one_error_each(predict, tmp_path, capsys):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "words.mp4").write_text("not a video\n" * 50)
    cut(write_video(tmp_path / "index.mp4", pictures()[:3]), 0.5)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        sound.rate = 8000
        container.mux([*stream.encode(sound), *stream.encode()])
    Image.fromarray(np.zeros((64, 64), np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(frame((60, 80))).save(tmp_path / "good.png")
    too_long = "x" * 300 + ".mp4"
    given = [
        "empty.mp4",
        "words.mp4",
        "index.mp4",
        "sound.mp4",
        "float.tif",
        "missing.mp4",
        too_long,
        "good.png",
    ]
    assert predict(*(tmp_path / name for name in given)) == 1
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    by_name = {name: [line for line in errors if str(tmp_path / name) in line] for name in given}
    assert {name: len(those) for name, those in by_name.items()} == dict.fromkeys(given, 1) | {"good.png": 0}
    assert len(errors) == len(given) - 1
    assert "is empty (0 bytes)" in by_name["empty.mp4"][0]
    assert "holds no video, only sound" in by_name["sound.mp4"][0]
    assert "floating-point" in by_name["float.tif"][0]
    assert "cannot be read (File name too long)" in by_name[too_long][0]
    assert names(tmp_path / "out") == ["good.csv", "good.json"]


class InTheMiddle:
    """Finds the face of `frame((60, 80))`, however large and of whatever colour it is."""

    name, version = "middle", "1"

    def detect(self, frames):
        scales = [frame.shape[0] / HEIGHT for frame in frames]
        return [[face(60 * scale, 80 * scale, 0.6 * scale)] for scale in scales]


def test_pictures_of_every_kind_are_the_same_face(predict, tmp_path, monkeypatch):
    """Grey and 16 bits and transparent ones, and one of 8K."""
    picture = frame((60, 80))
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    alpha = np.dstack([picture, np.full((HEIGHT, WIDTH), 200, np.uint8)])
    large = np.kron(picture, np.ones((27, 24, 1), np.uint8))
    kinds = {"colour": picture, "alpha": alpha, "large": large}
    kinds |= {"grey": grey, "deep": grey.astype(np.uint16) * 257, "grey3": np.dstack([grey] * 3)}
    for name, pixels in kinds.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png", compress_level=1)
    assert large.shape == (4320, 7680, 3)
    monkeypatch.setattr(options, "detector", lambda *_: InTheMiddle())
    assert predict(*sorted(tmp_path.glob("*.png"))) == 0
    found = {path.stem: read(path) for path in (tmp_path / "out").glob("*.csv")}
    assert {name: int(table.success[0]) for name, table in found.items()} == dict.fromkeys(kinds, 1)
    scores = {name: table.filter(like="_p").to_numpy() for name, table in found.items()}
    np.testing.assert_array_equal(scores["alpha"], scores["colour"])
    # Not white, which 16 bits would be if they were cut off.
    for name in ("grey", "deep"):
        np.testing.assert_array_equal(scores[name], scores["grey3"])
    assert np.abs(scores["grey"] - scores["colour"]).max() > 0


def test_a_crowd_one_frame_and_nobody(predict, tmp_path):
    Image.fromarray(np.hstack([frame((60, 80), (220, 80))] * 10)).save(tmp_path / "crowd.png")
    write_video(tmp_path / "one.mp4", pictures()[:1])
    write_video(tmp_path / "nobody.mp4", [frame()] * 4)
    assert predict(*(tmp_path / name for name in ("crowd.png", "one.mp4", "nobody.mp4"))) == 0
    found = read(tmp_path / "out" / "crowd.csv")
    assert found.face_id.tolist() == list(range(20))
    assert found.filter(like="_p").notna().all(axis=None)
    one = read(tmp_path / "out" / "one.csv")
    assert one[["frame", "timestamp", "success"]].to_numpy().tolist() == [[1, 0, 1]]
    nobody = read(tmp_path / "out" / "nobody.csv")
    assert nobody.success.tolist() == [0] * 4
    assert nobody.filter(like="AU").isna().all(axis=None)
