"""Recordings, arrays and single frames in; rows and tables out, the same whichever way the frames come."""

import dataclasses
import subprocess
import sys

import jax
import numpy as np
import pytest

import mdhr_jax
from mdhr_jax import facs
from mdhr_jax.data import own_sets
from mdhr_jax.faces.recipe import AlignmentRecipe
from mdhr_jax.predict import checkpoint, table
from tests.predict.conftest import AU_SET, CLIP, save_run, thresholds
from tests.predict.scene import DotDetector, frame
from tests.predict.test_scorers import TOLERANCE, pictures, whole

pytestmark = pytest.mark.usefixtures("unoptimized")
NUM_AUS = 2


@pytest.fixture(scope="module")
def predictor(run):
    return mdhr_jax.Predictor(run, batch=4)


def scores_of(rows):
    return np.stack([row.scores for row in rows])


def test_aligned_frames_as_a_table(predictor):
    images = pictures(9)
    found = predictor(images, aligned=True, fps=25.0)
    assert tuple(found.columns) == predictor.columns
    assert found.columns.tolist() == [
        *("frame", "face_id", "timestamp", "confidence", "success"),
        *("AU01_c", "AU12_c", "AU01_p", "AU12_p"),
    ]
    assert found.frame.tolist() == list(range(1, 10))
    assert found.timestamp.tolist() == [i / 25 for i in range(9)]
    assert found.confidence.isna().all()
    assert (found.success == 1).all()
    assert (found.face_id == 0).all()
    wanted = whole(predictor.trained, images)
    np.testing.assert_allclose(found.filter(like="_p"), wanted, atol=TOLERANCE)
    limits = np.asarray(list(predictor.thresholds.values()), np.float32)
    np.testing.assert_array_equal(found.filter(like="_c"), found.filter(like="_p") >= limits)
    assert 0 < found.filter(like="_c").to_numpy().mean() < 1


def test_pushed_frames_give_the_same_and_come_after_the_look_ahead(predictor):
    images = pictures(9)
    rows, counts = [], []
    for i, image in enumerate(images):
        new = predictor.push(image, timestamp=i / 10)
        counts.append(len(new))
        rows += new
    assert counts == [0] * 4 + [1] * 5
    assert predictor.look_ahead == 4
    rows += predictor.flush()
    assert [(row.frame, row.timestamp) for row in rows] == [(i + 1, i / 10) for i in range(9)]
    np.testing.assert_allclose(scores_of(rows), whole(predictor.trained, images), atol=TOLERANCE)
    # Another stream from its first frame on, after one that was forgotten.
    predictor.push(images[3])
    predictor.reset()
    rows = [row for image in images[:5] for row in predictor.push(image)] + predictor.flush()
    assert [row.frame for row in rows] == list(range(1, 6))
    np.testing.assert_allclose(scores_of(rows), whole(predictor.trained, images[:5]), atol=TOLERANCE)
    assert predictor.flush() == []


def test_a_frame_without_a_face_lets_the_model_begin_anew(predictor):
    images = pictures(9)
    rows = []
    for image in [*images[:4], None, None, *images[4:]]:
        rows += predictor.push(image)
    rows += predictor.flush()
    assert [row.frame for row in rows] == list(range(1, 12))
    assert [row.success for row in rows] == [True] * 4 + [False] * 2 + [True] * 5
    for row in rows[4:6]:
        assert (row.face_id, row.confidence, row.scores, row.present) == (None, None, None, None)
    for part, wanted in ((rows[:4], images[:4]), (rows[6:], images[4:])):
        np.testing.assert_allclose(scores_of(part), whole(predictor.trained, wanted), atol=TOLERANCE)


def test_a_long_stream_does_not_drift(predictor):
    """The last frames have the scores that a fresh start shortly before them gives."""
    images = pictures(16)
    rows = [row for _ in range(12) for image in images for row in predictor.push(image)]
    rows += predictor.flush()
    assert len(rows) == 192
    fresh = [row for image in images for row in predictor.push(image)] + predictor.flush()
    inside = predictor.look_ahead
    np.testing.assert_allclose(scores_of(rows)[-16 + inside :], scores_of(fresh)[inside:], atol=1e-6)


def test_clips_are_windows(run):
    images = pictures(6)
    found = mdhr_jax.Predictor(run, mode="clips")(images, aligned=True)
    trained = checkpoint.load(run)
    padded = np.concatenate([images[CLIP:], np.repeat(images[-1:], 2 * CLIP - 6, 0)])
    wanted = np.concatenate([whole(trained, images[:CLIP]), whole(trained, padded)[: 6 - CLIP]])
    np.testing.assert_allclose(found.filter(like="_p"), wanted, atol=TOLERANCE)


def scene(count=14):
    """One person throughout but for frames 8 and 9; another joins in frame 5."""
    return [
        frame(*([] if t in (8, 9) else [(60 + t, 80)]), *([(220, 80)] if t >= 5 else []))
        for t in range(count)
    ]


def test_everybody_in_a_recording(predictor):
    found = predictor(scene(), detector=DotDetector())
    one, other = found[found.face_id == 0], found[found.face_id == 1]
    assert one.frame.tolist() == [*range(1, 9), *range(11, 15)]
    assert other.frame.tolist() == list(range(6, 15))
    assert found.confidence.tolist() == [0.98] * len(found)
    alone = predictor([frame((220, 80))] * 9, detector=DotDetector())
    np.testing.assert_allclose(other.filter(like="_p"), alone.filter(like="_p"), atol=1e-4)


def test_after_a_gap_the_model_begins_anew(predictor):
    pieces = scene()
    found = predictor([picture[:, :180] for picture in pieces], detector=DotDetector())
    assert found.success.tolist() == [1] * 8 + [0] * 2 + [1] * 4
    lost = found[found.success == 0]
    assert lost.drop(columns=["frame", "success"]).isna().all(axis=None)
    again = predictor([picture[:, :180] for picture in pieces[10:]], detector=DotDetector())
    np.testing.assert_allclose(found[10:].filter(like="_p"), again.filter(like="_p"), atol=TOLERANCE)
    # A gap this short does not make somebody else of the same face.
    assert found[found.success == 1].face_id.tolist() == [0] * 12


def test_nobody(predictor):
    found = predictor([frame()] * 3, detector=DotDetector())
    assert found.success.tolist() == [0, 0, 0]
    assert found.face_id.isna().all()


def test_many_frames_without_anybody_do_not_pile_up(predictor):
    """They wait for the last frames of a face, whose batch nothing fills up, and no longer than a while."""
    rows, most = 0, 0
    blank, seen = frame(), frame((60, 80))
    pictures = [seen] * 3 + [blank] * 600
    for given, row in enumerate(predictor.rows(iter(pictures), detector=DotDetector())):
        rows, most = rows + 1, max(most, given)
        assert row.frame == rows
    assert rows == 603


def test_what_is_no_frame_is_refused(predictor):
    for wrong, message in (
        (np.zeros((128, 128, 3), np.float32), "uint8"),
        (np.zeros((128, 128), np.uint8), "repeat the channel"),
        (np.zeros((128, 100, 3), np.uint8), "square"),
        (np.zeros((32, 32, 3), np.uint8), "at least 64 x 64"),
    ):
        with pytest.raises(ValueError, match=message):
            predictor.push(wrong)
    predictor.reset()
    with pytest.raises(ValueError, match="one size"):
        predictor([pictures(1)[0], pictures(1, edge=64)[0]], aligned=True)
    with pytest.raises(ValueError, match="array of"):
        predictor(pictures(1)[0])
    with pytest.raises(ValueError, match="more than 0"):
        predictor(pictures(1), aligned=True, fps=0.0)
    with pytest.raises(FileNotFoundError, match="is not there"):
        predictor("nowhere.mp4")
    assert len(predictor(pictures(2), aligned=True)) == 2


def taken_in_turn(*iterators):
    """A row of each, again and again; all rows of each."""
    rows = [[] for _ in iterators]
    waiting = list(enumerate(iterators))
    while waiting:
        for one in list(waiting):
            row = next(one[1], None)
            if row is None:
                waiting.remove(one)
            else:
                rows[one[0]].append(row)
    return rows


@pytest.mark.parametrize("mode", ["stream", "clips"])
def test_several_recordings_at_a_time_are_each_as_alone(run, mode):
    predictor = mdhr_jax.Predictor(run, mode=mode, batch=4)
    sources = [
        {"source": scene(), "detector": DotDetector(), "fps": 30.0},
        {"source": pictures(9), "aligned": True},
        {"source": [frame((60, 80))], "detector": DotDetector()},
        {"source": [frame()] * 5, "detector": DotDetector()},
        {"source": scene()[::-1], "detector": DotDetector()},
    ]
    alone = [list(predictor.rows(**source)) for source in sources]
    predictor.push(pictures(1)[0])
    found = taken_in_turn(*(predictor.rows(**source) for source in sources))
    for rows, wanted in zip(found, alone, strict=True):
        same = [(row.frame, row.face_id, row.timestamp, row.confidence, row.success) for row in wanted]
        assert [(r.frame, r.face_id, r.timestamp, r.confidence, r.success) for r in rows] == same
        for row, other in zip(rows, wanted, strict=True):
            if other.success:
                np.testing.assert_allclose(row.scores, other.scores, atol=1e-6)
    assert predictor.flush()[0].frame == 1


def test_what_is_given_up_leaves_the_others_alone(predictor):
    def damaged():
        yield from pictures(5, seed=3)
        raise ValueError("is damaged")

    images = pictures(12)
    first, second = (predictor.rows(iter(images), aligned=True) for _ in range(2))
    third = predictor.rows(damaged(), aligned=True)
    rows = [next(first), next(second)]
    with pytest.raises(ValueError, match="is damaged"):
        list(third)
    second.close()
    rows = [rows[0], *first]
    assert [row.frame for row in rows] == list(range(1, 13))
    np.testing.assert_allclose(scores_of(rows), whole(predictor.trained, images), atol=TOLERANCE)
    assert predictor._shared._parts == {}


def test_scores_that_are_no_numbers_are_no_rows(run):
    trained = checkpoint.load(run)
    broken = jax.tree.map(lambda array: array * np.nan, trained.params)
    predictor = mdhr_jax.Predictor(dataclasses.replace(trained, params=broken), batch=4)
    with pytest.raises(ValueError, match=r"frame 1: scores are not finite \(nan"):
        list(predictor.rows(pictures(5), aligned=True))


def test_what_is_no_source_is_refused(predictor):
    from mdhr_jax.predict.predictor import _timed

    with pytest.raises(ValueError, match=r"a source is the path of a video.*found 0\."):
        _timed(0)
    with pytest.raises(ValueError, match=r"found the path 'one.png'"):
        predictor(iter(["one.png", "two.png"]))


def test_numbers_survive_the_file(predictor):
    rows = list(predictor.rows(scene(6), detector=DotDetector(), fps=30.0))
    text = table.header(predictor.trained.au_set.aus) + "".join(table.line(r, NUM_AUS) for r in rows)
    assert " " not in text
    pandas = table.require_pandas()
    import io

    back = pandas.read_csv(io.StringIO(text))
    made = table.data_frame(rows, predictor.trained.au_set.aus)
    assert tuple(back.columns) == predictor.columns
    np.testing.assert_array_equal(back.to_numpy(float), made.to_numpy(float, na_value=np.nan))
    np.testing.assert_array_equal(back.filter(like="_p").to_numpy(np.float32), scores_of(rows))


def test_thresholds_are_those_of_the_run_for_this_very_checkpoint(run, tmp_path):
    names = AU_SET.au_names
    trained = checkpoint.load(run)
    assert trained.thresholds == thresholds()
    assert trained.threshold_source == "validation"
    for path in (run / "checkpoints", run / "checkpoints" / "3"):
        assert checkpoint.load(path).thresholds == trained.thresholds
        assert checkpoint.load(path).digest == trained.digest
    other = save_run(tmp_path / "other")
    (other / "result.json").unlink()
    assert checkpoint.load(other).thresholds == dict.fromkeys(names, 0.5)
    assert checkpoint.load(other).threshold_source == "fixed"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (None, "does not say how the faces"),
        ({}, "does not say how the faces"),
        ({"name": "as is", "recipe_version": 1, "size": 256}, "cannot be cut out here.*'as is'"),
        (AlignmentRecipe().to_json() | {"recipe_version": 1}, "recipe_version = 1"),
        (AlignmentRecipe().to_json() | {"wobble": 3}, "unknown: wobble"),
    ],
)
def test_unknown_recipes_are_refused(recipe, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        mdhr_jax.Predictor(save_run(tmp_path, crop_recipe=recipe))


def test_recipes_that_are_known(tmp_path):
    recipe = AlignmentRecipe(size=128, smoothing_window=5)
    assert checkpoint.load(save_run(tmp_path / "a", crop_recipe=recipe.to_json())).recipe == recipe
    drawn = checkpoint.load(save_run(tmp_path / "drawn")).meta["crop_recipe"] | {"eye_height": 0.3}
    found = checkpoint.load(save_run(tmp_path / "b", crop_recipe=drawn)).recipe
    assert found == AlignmentRecipe(eye_height=0.3)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        checkpoint.load(tmp_path / "nowhere")
    weights = tmp_path / "model.pth"
    weights.touch()
    with pytest.raises(ValueError, match="expected the directory of a run"):
        checkpoint.load(weights)
    with pytest.raises(ValueError, match="does not say its clip_length"):
        checkpoint.load(save_run(tmp_path / "a", clip_length=None))
    with pytest.raises(ValueError, match="scores AU1, but"):
        checkpoint.load(save_run(tmp_path / "b", au_names=["AU1"]))


def test_a_set_of_ones_own_travels_with_the_checkpoint(tmp_path, monkeypatch):
    mine = own_sets.from_json(own_sets.to_json(AU_SET) | {"name": "mine", "title": "mine"})
    entry = {"dataset": "mine", own_sets.ENTRY_KEY: own_sets.to_json(mine)}
    run = save_run(tmp_path, **entry)
    monkeypatch.setattr(facs, "AU_SETS", dict(facs.AU_SETS))
    assert checkpoint.load(run).au_set == mine


def test_the_package_itself_stays_light():
    asked = "import sys, mdhr_jax; print(any(name in sys.modules for name in ('jax', 'numpy', 'pandas')))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert "Predictor" in dir(mdhr_jax)
    with pytest.raises(AttributeError, match="Predicter"):
        _ = mdhr_jax.Predicter
