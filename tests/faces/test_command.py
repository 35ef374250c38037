"""MTCNN and ``python -m mdhr_jax.faces`` on a public-domain photograph, and on pictures without a face.

Everything here runs in processes of its own: TensorFlow stays out of that of the tests.
"""

import json
import sys

import av
import numpy as np
import pytest
from PIL import Image
from skimage import data

from mdhr_jax.faces import mtcnn, precomputed
from mdhr_jax.faces.recipe import VERSION

# Where a person sees the pupils of the astronaut, pixels.
EYES = np.asarray([(204, 100), (245, 102)])
BOX = (182, 64, 265, 171)
# What is found there, by version of the recipe.
POINTS = {
    1: [(204.162, 100.654), (246.875, 103.178), (224.676, 128.273), (201.7, 139.161), (245.05, 141.377)],
}
POINTS[2] = POINTS[1]

DETECT = """
import json, sys
import numpy as np
from PIL import Image
from skimage import data
from mdhr_jax.faces import mtcnn
from mdhr_jax.faces.aligner import align_video
from mdhr_jax.faces.recipe import AlignmentRecipe

detector = mtcnn.load()
face = data.astronaut()
large = np.asarray(Image.fromarray(face).resize((1536, 1536), Image.Resampling.BICUBIC))
grey = lambda name: np.stack([getattr(data, name)()] * 3, -1)
tell = lambda found: [[f.box.tolist(), f.points.tolist(), f.confidence] for f in found]
out = dict(zip(
    ["face", "mirrored", "small", "brick", "grass", "rocket", "tiny", "one", "twice"],
    map(tell, detector.detect([
        face, face[:, ::-1].copy(), face[::2, ::2].copy(), grey("brick"), grey("grass"), data.rocket(),
        face[:30, :30].copy(), face[:1, :1].copy(), np.concatenate([face, face], 1),
    ])), strict=True))
out["large"] = tell(detector.detect([large])[0])
first = detector.detect([face])[0]
moved = np.roll(face, (4, -3), (0, 1))
out["followed"] = tell(detector.follow(moved, first))
out["searched"] = tell(detector.detect([moved])[0])
out["gone"] = detector.follow(grey("brick"), first)
crop = next(align_video([face], AlignmentRecipe(), detector)).image
out["in crop"] = tell(detector.detect([np.pad(crop, ((100, 100), (100, 100), (0, 0)), mode="edge")])[0])
out["version"] = detector.version
import tensorflow
out["devices"] = [d.device_type for d in tensorflow.config.get_visible_devices()]
json.dump(out, sys.stdout)
"""


@pytest.fixture(scope="module")
def found(run_python):
    done = run_python("-W", "error::RuntimeWarning", "-c", DETECT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _points(faces):
    assert len(faces) == 1
    return np.asarray(faces[0][1])


def test_the_face_of_a_photograph_is_found_with_its_eyes(found):
    points = _points(found["face"])
    np.testing.assert_allclose(points[:2], EYES, atol=3)
    np.testing.assert_allclose(found["face"][0][0], BOX, atol=15)
    assert found["face"][0][2] > 0.99
    assert points[0, 0] < points[2, 0] < points[1, 0]
    assert points[3, 0] < points[4, 0]
    assert points[2, 1] < points[3, 1]


def test_the_points_change_with_the_version_of_the_recipe_only(found):
    message = "raise mdhr_jax.faces.recipe.VERSION, and write down here what MTCNN gives now"
    np.testing.assert_allclose(_points(found["face"]), POINTS[VERSION], atol=0.05, err_msg=message)


def test_a_mirrored_frame_gives_mirrored_points(found):
    """Which also says that coordinates start at the border of the frame."""
    mirrored = _points(found["mirrored"])[[1, 0, 2, 4, 3]] * [-1, 1] + [512, 0]
    np.testing.assert_allclose(mirrored, _points(found["face"]), atol=0.3)


def test_the_resolution_does_not_move_the_points(found):
    np.testing.assert_allclose(_points(found["large"]) / 3, _points(found["face"]), atol=0.5)
    np.testing.assert_allclose(_points(found["small"]) * 2, _points(found["face"]), atol=4)


def test_there_is_no_face_in_textures_landscapes_and_scraps(found):
    assert [found[name] for name in ("brick", "grass", "rocket", "tiny", "one")] == [[]] * 5


def test_two_faces_in_one_frame_are_two(found):
    assert len(found["twice"]) == 2
    assert abs(found["twice"][0][0][0] - found["twice"][1][0][0]) == pytest.approx(512, abs=6)


def test_a_face_is_followed_to_where_a_search_finds_it(found):
    np.testing.assert_allclose(_points(found["followed"]), _points(found["searched"]), atol=0.7)
    np.testing.assert_allclose(_points(found["followed"]) - _points(found["face"]), [[-3, 4]] * 5, atol=1.0)
    assert found["gone"] == [None]


def test_the_eyes_of_the_crop_are_where_the_recipe_says(found):
    eyes = _points(found["in crop"])[:2] - 100
    np.testing.assert_allclose(eyes, [(0.325 * 256, 0.29 * 256), (0.675 * 256, 0.29 * 256)], atol=4)
    assert abs(eyes[0, 1] - eyes[1, 1]) < 3


def test_tensorflow_sees_no_accelerator_and_the_version_is_the_packages(found):
    assert set(found["devices"]) == {"CPU"}
    assert found["version"] == mtcnn.version()


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mtcnn", None)
    with pytest.raises(ImportError, match=r"pip install mdhr_jax\[faces\]"):
        mtcnn.MTCNNDetector()


def _write_video(path, frames):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.bit_rate = 8_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _moving(count):
    face = data.astronaut()[:320, 60:380]
    return [np.roll(face, (t // 2, t), (0, 1)) for t in range(count)]


def test_the_command_aligns_and_measures(run_python, tmp_path):
    frames = _moving(12)
    blank = np.full_like(frames[0], 90)
    _write_video(tmp_path / "v.mp4", [*frames, blank, blank, *frames[10:], *[blank] * 8])
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in (10, 9):
        Image.fromarray(frames[number]).save(folder / f"{number}.png")
    out, sheet = tmp_path / "out", tmp_path / "sheet.png"
    inputs = [str(tmp_path / "v.mp4"), str(folder)]
    arguments = ["--out", str(out), "--sheet", str(sheet), "--compare-every-frame"]
    done = run_python("-m", "mdhr_jax.faces", *inputs, *arguments)
    assert done.returncode == 0, done.stderr
    assert "frames 24:" in done.stdout
    assert "2 interpolated, 8 no face" in done.stdout
    assert "from a search in every frame:" in done.stdout
    assert "0 frame(s) lack a crop that it has" in done.stdout
    assert sorted(int(p.stem) for p in (out / "v.mp4").iterdir()) == list(range(16))
    assert sorted(p.name for p in out.iterdir()) == ["pictures", "v.mp4"]
    with Image.open(out / "v.mp4" / "3.jpg") as crop:
        assert crop.size == (256, 256)
    with Image.open(sheet) as image:
        assert image.size == (8 * 160, 3 * 160)
    again = run_python("-m", "mdhr_jax.faces", *inputs, *arguments)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_no_face_anywhere_is_an_error(run_python, tmp_path):
    Image.fromarray(data.brick()).save(tmp_path / "brick.png")
    done = run_python("-m", "mdhr_jax.faces", str(tmp_path / "brick.png"))
    assert done.returncode == 1
    assert "there is no face in any of the inputs" in done.stderr


def test_mistakes_are_one_line(run_python, tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"not a video")
    (tmp_path / "p.png").write_bytes(b"not a picture")
    (tmp_path / "empty").mkdir()
    for name, message in {
        "v.mp4": "cannot be read as a video",
        "p.png": "cannot be read as a picture",
        "empty": "has no pictures",
        "none.mp4": "is not there",
    }.items():
        (tmp_path / f"{name.split('.')[0]}.csv").write_text(",".join(precomputed.COLUMNS))
        done = run_python("-m", "mdhr_jax.faces", str(tmp_path / name), "--detections", str(tmp_path))
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert message in lines[0]
    bad = run_python("-m", "mdhr_jax.faces", str(tmp_path / "p.png"), "--smoothing-window", "4")
    assert (bad.returncode, bad.stderr) == (
        2,
        "error: a smoothing window must be an odd number of frames, found 4\n",
    )
