import csv

import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.data.records import open_dataset
from mdhr_jax.interop import side_by_side
from mdhr_jax.interop.side_by_side import Curves, Trainee, TrainingData


@pytest.fixture(scope="module")
def data():
    with side_by_side.training_data(
        facs.DISFA, None, subjects=3, frames=6, seed=0, clip_length=4, batch_size=1, dtype="float32"
    ) as data:
        yield data


class Recorder:
    """Remembers its clips; all its scores are the same."""

    def __init__(self, score=1.0):
        self.seen, self.score = [], score

    def trainee(self):
        def step(clips, labels):
            self.seen.append((clips, labels))
            return float(len(self.seen))

        return Trainee(step, lambda clips: np.full((*clips.shape[:2], 8), self.score, np.float32))


def run(data, curves, *, seed=0, steps=3, every=2, measured=lambda: None, **trainees):
    options = {"steps": steps, "every": every, "seed": seed, "label": "training", "measured": measured}
    side_by_side.run(trainees, data, curves, **options)


def test_all_models_see_the_same_clips_and_another_seed_others(data):
    first, second, other = Recorder(), Recorder(), Recorder()
    curves = Curves()
    run(data, curves, reference=first.trainee(), ours=second.trainee())
    run(data, curves, seed=1, other_seed=other.trainee())
    assert len(first.seen) == 3
    for (a, labels_a), (b, labels_b), (c, _) in zip(first.seen, second.seen, other.seen, strict=True):
        assert a.shape == (1, 4, 224, 224, 3)
        assert -3 < a.min() < a.max() < 3
        assert labels_a.shape == (1, 4, 8)
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(labels_a, labels_b)
        assert np.abs(a - c).max() > 0.1
    assert curves.loss == {
        step: {"reference": float(step), "ours": float(step), "other_seed": float(step)} for step in (1, 2, 3)
    }


def test_f1_is_measured_at_the_start_between_and_at_the_end(data):
    curves = Curves()
    run(data, curves, reference=Recorder(1.0).trainee(), ours=Recorder(0.0).trainee())
    labels = np.concatenate([video.labels for video in data.test.videos])
    rate = labels.mean(0)
    present = 100 * np.mean(2 * rate / (1 + rate))
    assert list(curves.f1) == [0, 2, 3]
    for found in curves.f1.values():
        assert found["reference"] == pytest.approx(present)
        assert found["ours"] == 0


def test_unknown_labels_are_refused(data_dir):
    records = open_dataset(data_dir, facs.BP4D, ("part1", "part3"))
    data = TrainingData(records, records, clip_length=16, batch_size=1, dtype="float32")
    with pytest.raises(ValueError, match="unknown labels"):
        next(data.batches(0))


def test_a_data_directory_may_hold_the_real_data_too(data_dir, data, tmp_path):
    fields = {"subjects": 3, "frames": 6, "seed": 0, "clip_length": 4, "batch_size": 1, "dtype": "float32"}
    with side_by_side.training_data(facs.BP4D, data_dir, **fields) as found:
        assert found.train.au_set == facs.BP4D
    assert data.train.au_set == facs.SYNTHETIC_DISFA
    with (
        pytest.raises(FileNotFoundError, match="no DISFA data set"),
        side_by_side.training_data(facs.DISFA, tmp_path, **fields),
    ):
        pass


CURVES = Curves(
    loss={
        1: {"reference": 1.0, "ours": 1.25, "other_seed": 3.0},
        2: {"reference": 2.0, "ours": 1.5, "other_seed": 1.0},
    },
    f1={
        0: {"reference": 10.0, "ours": 10.0, "other_seed": 14.0},
        2: {"reference": 30.0, "ours": 28.0, "other_seed": 24.0},
    },
)


def test_curves_are_written_with_differences_and_spread(tmp_path):
    CURVES.write_csv(tmp_path / "curves.csv")
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["loss_reference"] == rows[0]["loss_difference"] == rows[1]["f1_ours"] == ""
    assert [float(row["loss_difference"]) for row in rows[1:]] == [0.25, 0.5]
    assert [float(row["loss_seed_spread"]) for row in rows[1:]] == [2, 1]
    assert float(rows[2]["f1_difference"]) == 2
    assert float(rows[2]["f1_seed_spread"]) == 6


def test_curves_are_summed_up():
    summary, whole = CURVES.tables()
    assert summary.rows == (
        ("total loss", "3.75e-01", "5.00e-01", "1.50e+00", "2.00e+00", ""),
        ("mean F1 in percent", "1.00e+00", "2.00e+00", "5.00e+00", "6.00e+00", ""),
    )
    assert [row[0] for row in whole.rows] == ["0", "1", "2"]


def test_long_curves_are_shown_where_f1_was_measured():
    loss = {step: {"reference": 1.0, "ours": 1.0} for step in range(1, 101)}
    f1 = {step: {"reference": 1.0, "ours": 1.0} for step in (0, 50, 100)}
    assert [row[0] for row in Curves(loss, f1).tables()[1].rows] == ["0", "50", "100"]
