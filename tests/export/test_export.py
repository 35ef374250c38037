"""Exported models: the programs give what the checkpoint gives, in a process that has JAX and NumPy alone."""

import json
import os
import shutil
import subprocess
import sys

import jax.export
import numpy as np
import pytest

from mdhr_jax.export import folder, load, loader, programs, verify
from mdhr_jax.export.__main__ import main
from mdhr_jax.predict import checkpoint
from mdhr_jax.predict.predictor import Predictor
from tests.conftest import REPOSITORY
from tests.predict.conftest import CLIP, save_run, thresholds

pytestmark = pytest.mark.usefixtures("unoptimized")
TOLERANCE = 2e-5
EDGE, FRAMES = 256, 9


@pytest.fixture(scope="module")
def checkpoint_path(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def exported(checkpoint_path, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "below" / "model"
    assert main([str(checkpoint_path), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def model(exported):
    return load(exported)


@pytest.fixture(scope="module")
def trained(checkpoint_path):
    return checkpoint.load(checkpoint_path)


def test_what_the_folder_holds(exported, trained):
    stored = sorted(path.name for path in exported.iterdir())
    names = ("clips", "step1", "step16")
    assert stored == sorted(
        [*(f"{name}.jaxexport" for name in names), "loader.py", "meaning.json", "weights.npz"]
    )
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]
    meaning = json.loads((exported / "meaning.json").read_text())
    assert meaning["au_names"] == ["AU1", "AU12"]
    assert meaning["aus"] == [1, 12]
    assert meaning["thresholds"] == thresholds()
    assert meaning["crop_recipe"] == trained.meta["crop_recipe"]
    assert meaning["checkpoint"]["sha256"] == trained.digest
    assert (meaning["input"]["edge"], meaning["input"]["dtype"]) == (EDGE, "uint8")
    assert meaning["programs"]["clips"]["arguments"][1]["shape"] == ["clips", CLIP, EDGE, EDGE, 3]
    assert meaning["programs"]["step1"]["results"][1]["shape"] == ["streams", 1, 2]
    for name in names:
        content = (exported / f"{name}.jaxexport").read_bytes()
        assert jax.export.deserialize(bytearray(content)).platforms == ("cpu", "cuda", "tpu")
        # Nothing of the machine that it was made on.
        assert b".py" not in content
    assert (exported / "loader.py").read_bytes() == (REPOSITORY / "mdhr_jax/export/loader.py").read_bytes()


def test_a_process_without_the_model_gives_what_the_checkpoint_gives(exported, checkpoint_path, tmp_path):
    """Whole recordings, single frames, windows; and the copy of the loader in the folder does it alone."""
    frames = verify.noise(FRAMES, EDGE)
    np.save(tmp_path / "frames.npy", frames)
    program = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mdhr_jax", "flax", "jraph", "optax", "orbax", "jaxtyping"):
            raise ImportError(name + " is not to be had here")
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, {str(exported)!r})
import numpy as np
import loader
model = loader.load({str(exported)!r})
frames = np.load("frames.npy")
stream = model.stream()
counts, pushed = [], []
for frame in frames:
    pushed.append(stream.push(frame))
    counts.append(len(pushed[-1]))
pushed = sum(pushed, []) + stream.flush()
assert counts == [0] * model.look_ahead + [1] * (len(frames) - model.look_ahead), counts
assert [number for number, _ in pushed] == list(range(len(frames)))
windows = frames[: 2 * model.clip_length].reshape(2, model.clip_length, *frames.shape[1:])
whole = model.scores(frames)
np.savez("found.npz", whole=whole, pushed=[s for _, s in pushed], clips=model.clips(windows),
         alone=model.scores(frames[:1]), none=model.scores(frames[:0]), present=model.present(whole))
"""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    predictor = Predictor(checkpoint_path, batch=1)
    wanted = predictor(frames, aligned=True)
    scores = wanted.filter(like="_p").to_numpy(np.float32)
    np.testing.assert_allclose(found["whole"], scores, atol=TOLERANCE)
    np.testing.assert_allclose(found["pushed"], scores, atol=TOLERANCE)
    np.testing.assert_array_equal(found["present"], wanted.filter(like="_c").to_numpy(bool))
    alone = predictor(frames[:1], aligned=True).filter(like="_p")
    np.testing.assert_allclose(found["alone"], alone, atol=TOLERANCE)
    assert found["none"].shape == (0, 2)
    clips = Predictor(checkpoint_path, mode="clips")(frames[: 2 * CLIP], aligned=True).filter(like="_p")
    np.testing.assert_allclose(found["clips"].reshape(-1, 2), clips, atol=TOLERANCE)


def test_streams_of_one_step_do_not_know_of_each_other(model):
    """Two of different lengths, the shorter one taken up anew; any number of streams is one program's."""
    frames = verify.noise(2 * FRAMES, EDGE)
    streams = [frames[:6], frames[6:11]]
    found = [[], []]
    state = model.init(2)
    for t in range(6 + model.look_ahead):
        real = [int(t < len(one)) for one in streams]
        given = np.stack([one[min(t, len(one) - 1)] for one in streams])[:, None]
        state, scores = model.step(state, given, real, [1 - n for n in real], [t == 0] * 2)
        for kept, value in zip(found, np.asarray(scores), strict=True):
            kept.append(value[0])
    for kept, one in zip(found, streams, strict=True):
        inside = kept[model.look_ahead : model.look_ahead + len(one)]
        np.testing.assert_allclose(inside, model.scores(one), atol=TOLERANCE)


def test_what_is_no_input_is_refused(model):
    for call, wrong, message in (
        (model.clips, np.zeros((1, CLIP, 64, 64, 3), np.uint8), r"uint8 RGB of \(any, 4, 256, 256, 3\)"),
        (model.clips, np.zeros((1, CLIP, EDGE, EDGE, 3), np.float32), "found float32"),
        (model.stream().push, np.zeros((EDGE, EDGE), np.uint8), "crop_recipe"),
        (lambda places: model.stream(places), 3, "found 3"),
    ):
        with pytest.raises(ValueError, match=message):
            call(wrong)


def test_a_folder_that_is_not_whole_is_refused(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load(tmp_path / "nowhere")
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    program = copy / "clips.jaxexport"
    program.write_bytes(program.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"clips\.jaxexport is not the file that was written"):
        load(copy).clips(np.zeros((1, CLIP, EDGE, EDGE, 3), np.uint8))
    (copy / "weights.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"weights\.npz is not there"):
        load(copy)
    meaning = copy / "meaning.json"
    meaning.write_text(meaning.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(ValueError, match="format 2, expected 1"):
        load(copy)
    meaning.write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        load(copy)
    meaning.unlink()
    with pytest.raises(FileNotFoundError, match=r"it has no meaning\.json"):
        load(copy)


def test_verification_passes_and_fails(checkpoint_path, trained, exported, tmp_path, monkeypatch, capsys):
    assert 0 < verify.difference(exported, trained) < TOLERANCE
    # Programs with weights that are not the checkpoint's are not left.
    real = programs.Programs.weights.fget

    def wrong(self):
        return {name: value * 1.5 if name.endswith("scale") else value for name, value in real(self).items()}

    monkeypatch.setattr(programs.Programs, "weights", property(wrong))
    assert main([str(checkpoint_path), "--out", str(tmp_path / "out"), "--verify"]) == 2
    assert "differ from the model's" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_nothing_half_done_is_left(checkpoint_path, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine").mkdir()
    assert main([str(checkpoint_path), "--out", str(tmp_path / "mine")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2
    assert "does not exist" in capsys.readouterr().err

    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    monkeypatch.setattr(folder, "Programs", _Few)
    assert main([str(checkpoint_path), "--out", str(tmp_path / "out")]) == 2
    assert "No space left" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


class _Few(programs.Programs):
    """Exports nothing large."""

    def clips(self):
        return programs._export(lambda weights, x: x, {}, jax.ShapeDtypeStruct((1,), np.float32))

    def step(self, places):
        return self.clips()


def test_loading_asks_for_nothing_of_the_project():
    asked = (
        "import sys, mdhr_jax.export as e; e.load; print(*sorted(n for n in sys.modules if n[:4] == 'mdhr'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["mdhr_jax", "mdhr_jax.export", "mdhr_jax.export.loader"]
    assert loader.FORMAT == 1
