"""Measures agree with scikit-learn on known labels, and F1 and accuracy with the reference's definition."""

import dataclasses

import numpy as np
import pytest
import sklearn.metrics

from mdhr_jax import facs
from mdhr_jax.report import measures
from mdhr_jax.report.measures import MEASURES
from mdhr_jax.training.metrics import summarize
from tests.report import made_runs

NAMES = facs.BP4D.au_names


def make(seed):
    """Random predictions in which ties, unknown labels, rare and absent AUs all occur."""
    rng = np.random.default_rng(seed)
    found = made_runs.predict(
        facs.BP4D,
        seed=seed,
        fold=1 + seed % 3,
        skill=rng.uniform(-0.5, 2),
        subjects=int(rng.integers(1, 6)),
        unknown=rng.uniform(0, 0.9),
        never=rng.permutation(12)[: seed % 3].tolist(),
    )
    scores, labels = found.scores.copy(), found.labels.copy()
    scores[:, ::2] = np.round(scores[:, ::2] * 8) / 8  # Ties, some of them at a threshold.
    labels[:, rng.integers(12)] = 1
    labels[:, rng.integers(12)] = facs.UNKNOWN
    thresholds = {name: float(np.float32(rng.choice([0.5, 0.25, rng.random()]))) for name in NAMES}
    meta = found.meta | {"thresholds": thresholds}
    return dataclasses.replace(found, scores=scores, labels=labels, meta=meta)


def by_sklearn(known, scores, present, predicted):
    """Each measure of one AU; NaN where this project calls it undefined."""
    y, p, s = present[known], predicted[known], scores[known]
    both = len(set(y)) == 2
    m = sklearn.metrics
    return {
        "f1": m.f1_score(y, p) if y.any() or p.any() else np.nan,
        "accuracy": m.accuracy_score(y, p) if len(y) else np.nan,
        "balanced_accuracy": m.balanced_accuracy_score(y, p) if both else np.nan,
        "mcc": m.matthews_corrcoef(y, p) if both and len(set(p)) == 2 else np.nan,
        "average_precision": m.average_precision_score(y, s) if y.any() else np.nan,
        "roc_auc": m.roc_auc_score(y, s) if both else np.nan,
        "baseline_f1": m.f1_score(y, np.ones_like(y)) if y.any() or len(y) else np.nan,
    }


@pytest.mark.parametrize("seed", range(24))
def test_measures_are_those_of_scikit_learn(seed):
    found = make(seed)
    values = measures.values(found, measures.count(found))
    assert list(values) == [measure.key for measure in MEASURES]
    predicted, changing = found.predicted(), found.changing()
    for n in range(12):
        known, present = found.labels[:, n] >= 0, found.labels[:, n] == 1
        expected = by_sklearn(known, found.scores[:, n], present, predicted[:, n])
        of_changing = by_sklearn(known & changing[:, n], found.scores[:, n], present, predicted[:, n])
        expected |= {"f1_defined": expected["f1"], "f1_changing": of_changing["f1"]}
        for key, value in expected.items():
            np.testing.assert_allclose(values[key][n], value, rtol=1e-12, atol=1e-13, err_msg=f"{key} {n}")


def section_10(labels, predicted):
    """The reference's numbers as the specification words them, over lists of frames.

    "Per-AU F1 and accuracy from TP/FP/FN/TN summed over the fold, F1 = 0 where nothing is present or
    predicted; mean over AUs"; labels of -1 do not count.
    """
    f1, accuracy = [], []
    for n in range(len(labels[0])):
        tp = fp = fn = tn = 0
        for label, says in zip(labels, predicted, strict=True):
            if label[n] == 1 and says[n]:
                tp += 1
            elif label[n] == 0 and says[n]:
                fp += 1
            elif label[n] == 1:
                fn += 1
            elif label[n] == 0:
                tn += 1
        precision = tp / (tp + fp) if tp + fp else 0.0
        recall = tp / (tp + fn) if tp + fn else 0.0
        f1.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
        accuracy.append((tp + tn) / (tp + fp + fn + tn) if tp + fp + fn + tn else None)
    return f1, sum(f1) / len(f1), accuracy


@pytest.mark.parametrize("seed", range(0, 24, 3))
def test_f1_and_accuracy_are_the_specification_s(seed):
    found = make(seed)
    counts = measures.count(found)
    values = measures.values(found, counts)
    f1, mean, accuracy = section_10(found.labels.tolist(), found.predicted().tolist())
    np.testing.assert_allclose(np.nan_to_num(values["f1"]), f1, rtol=1e-12)
    assert float(measures.mean_over_aus(measures.F1, values["f1"])) == pytest.approx(mean, rel=1e-12)
    plain = [np.nan if value is None else value for value in accuracy]
    np.testing.assert_allclose(values["accuracy"], plain, rtol=1e-12)


@pytest.mark.parametrize("seed", range(0, 24, 3))
def test_means_are_those_of_the_result_file(seed):
    found = make(seed)
    result = summarize(found.counts(), NAMES)
    values = measures.values(found, measures.count(found))
    for key in ("f1", "accuracy", "f1_changing", "baseline_f1"):
        measure = next(m for m in MEASURES if m.key == key)
        mean = float(measures.mean_over_aus(measure, values[key]))
        expected = result[f"{key}_mean"]
        assert mean == pytest.approx(np.nan if expected is None else expected / 100, rel=1e-12, nan_ok=True)


def test_counts_of_subjects_add_up_to_those_of_the_run():
    found = make(5)
    counts, whole = measures.count(found), found.counts()
    assert counts.subjects == tuple(sorted(found.subjects))
    for which, expected in ((counts.overall, whole.overall), (counts.changing, whole.changing)):
        columns = [expected.tp, expected.fp, expected.fn, expected.tn]
        np.testing.assert_array_equal(which.sum(0), np.stack(columns, -1))
    first = found.video == found.subjects.index(counts.subjects[0])
    assert counts.overall[0].sum() == (found.labels[first] >= 0).sum()


def test_an_undefined_value_counts_nothing_or_is_left_out_as_the_measure_says():
    by_key = {measure.key: measure for measure in MEASURES}
    values = np.array([0.5, np.nan, 1.0])
    assert measures.mean_over_aus(by_key["f1"], values) == 0.5
    assert measures.mean_over_aus(by_key["f1_defined"], values) == 0.75
    nothing = np.full(3, np.nan)
    assert measures.mean_over_aus(by_key["f1"], nothing) == 0
    assert np.isnan(measures.mean_over_aus(by_key["accuracy"], nothing))


def test_counts_of_a_whole_data_set_do_not_overflow():
    millions = np.array([3_000_000_000, 2_000_000_000, 1_000_000_000, 4_000_000_000])
    small = millions // 1_000_000_000
    for measure in (measures.f1, measures.accuracy, measures.balanced_accuracy, measures.mcc):
        assert float(measure(millions)) == pytest.approx(float(measure(small)), rel=1e-12)
