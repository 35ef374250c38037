"""Counts against scikit-learn and against a literal transcription; sums on device, host and mesh."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from sklearn.metrics import accuracy_score, f1_score

from mdhr_jax import facs
from mdhr_jax.training.metrics import AUCounts, EvalCounts, summarize

NAMES = ("AU1", "AU2", "AU4")


def make(seed, windows=6, length=5, unknown=0.2):
    rng = np.random.default_rng(seed)
    shape = (windows, length, len(NAMES))
    labels = (rng.random(shape) < 0.4).astype(np.int8)
    labels[: windows // 2, :, 0] = 1
    labels[rng.random(shape) < unknown] = 9
    labels[-1, 2:] = -1
    return rng.random(shape).astype(np.float32), labels


def by_hand(scores, labels):
    """F1 over everything, the baseline's, and F1 on changing windows, entry by entry; None: undefined."""

    def f1(pairs):
        tp = sum(p and y for p, y in pairs)
        wrong = sum(p != y for p, y in pairs)
        return None if tp + wrong == 0 else 100 * 2 * tp / (2 * tp + wrong)

    rows = []
    for n in range(labels.shape[2]):
        pairs, changing = [], []
        for window in range(labels.shape[0]):
            known = [
                (bool(scores[window, t, n] >= 0.5), bool(labels[window, t, n]))
                for t in range(labels.shape[1])
                if labels[window, t, n] in (0, 1)
            ]
            pairs += known
            padded = any(all(v not in (0, 1) for v in frame) for frame in labels[window])
            if {y for _, y in known} == {True, False} and not padded:
                changing += known
        rows.append((f1(pairs), f1([(True, y) for _, y in pairs]), f1(changing)))
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_the_transcription_and_of_sklearn(seed):
    scores, labels = make(seed)
    counts = jax.jit(EvalCounts.from_model_output)(scores, labels)
    result = summarize(counts, NAMES)
    rows = by_hand(scores, labels)
    for i, key in enumerate(("f1", "baseline_f1", "f1_changing")):
        assert list(result[key]) == list(NAMES)
        assert list(result[key].values()) == pytest.approx([row[i] for row in rows])
    assert any(row[2] is not None and row[2] != row[0] for row in rows)
    for n, name in enumerate(NAMES):
        known = labels[..., n] < 2
        known &= labels[..., n] >= 0
        predicted, true = scores[..., n][known] >= 0.5, labels[..., n][known]
        assert result["f1"][name] == pytest.approx(100 * f1_score(true, predicted, zero_division=0.0))
        assert result["accuracy"][name] == pytest.approx(100 * accuracy_score(true, predicted))
    assert result["f1_mean"] == pytest.approx(np.mean([row[0] for row in rows]))


def test_a_score_at_the_threshold_is_present_in_any_type():
    scores = np.array([[[0.5, 0.49, 0.51]]])
    labels = np.ones((1, 1, 3), np.int8)
    with jax.enable_x64(True):
        for dtype in (jnp.bfloat16, jnp.float32, jnp.float64):
            counts = AUCounts.from_model_output(jnp.asarray(scores, dtype), labels)
            assert counts.tp.tolist() == [1, 0, 1]
            assert counts.tp.dtype == jnp.int32
        just_below = AUCounts.from_model_output(jnp.asarray([[[0.5 - 1e-12]]]), labels[..., :1])
        assert just_below.tp.tolist() == [0]
    # 0.3 in bfloat16 is 0.30078: above the threshold only where it is not rounded alike.
    low = AUCounts.from_model_output(jnp.asarray([[[0.3]]], jnp.bfloat16), labels[..., :1], threshold=0.3005)
    assert low.tp.tolist() == [1]


def test_merging_batches_equals_one_evaluation():
    scores, labels = make(5)
    whole = EvalCounts.from_model_output(scores, labels).to_host()
    merged = EvalCounts.empty()
    for i in range(0, 6, 2):
        merged = merged.merge(EvalCounts.from_model_output(scores[i : i + 2], labels[i : i + 2]))
    jax.tree.map(np.testing.assert_array_equal, merged, whole)
    on_device = jax.jit(lambda a, b: a.merge(b))(
        EvalCounts.from_model_output(scores[:3], labels[:3]),
        EvalCounts.from_model_output(scores[3:], labels[3:]),
    )
    jax.tree.map(np.testing.assert_array_equal, on_device.to_host(), whole)


def test_sums_on_the_host_pass_int32():
    batch = AUCounts(*(jnp.full((2,), 2**30, jnp.int32) for _ in range(4)))
    total = AUCounts.empty()
    for _ in range(5):
        total = total.merge(batch)
    assert total.tp.dtype == np.int64
    assert total.tp.tolist() == [5 * 2**30] * 2
    assert total.accuracy().tolist() == [0.5, 0.5]


def test_counts_of_a_sharded_batch_are_exact():
    devices = jax.devices()
    scores, labels = make(6, windows=2 * len(devices))
    expected = EvalCounts.from_model_output(scores, labels).to_host()
    mesh = Mesh(np.array(devices), ("data",))
    rows, everywhere = (NamedSharding(mesh, PartitionSpec(*spec)) for spec in (("data",), ()))
    count = jax.jit(EvalCounts.from_model_output, out_shardings=everywhere)
    found = count(*jax.device_put((scores, labels), rows))
    jax.tree.map(np.testing.assert_array_equal, found.to_host(), expected)


def test_undefined_values_are_none_and_count_as_the_reference_counts_them():
    # AU1 never occurs and is never predicted; AU2 is never coded; AU4 is right in half of the frames.
    labels = np.zeros((1, 4, 3), np.int8)
    labels[..., 1] = 9
    labels[0, :2, 2] = 1
    scores = np.zeros((1, 4, 3), np.float32)
    scores[0, 1:3, 2] = 1
    result = summarize(EvalCounts.from_model_output(scores, labels), NAMES)
    assert result["f1"] == {"AU1": None, "AU2": None, "AU4": 50.0}
    assert result["f1_mean"] == pytest.approx(50 / 3)
    assert result["accuracy"] == {"AU1": 100.0, "AU2": None, "AU4": 50.0}
    assert result["accuracy_mean"] == 75.0
    assert result["baseline_f1"] == {"AU1": 0.0, "AU2": None, "AU4": pytest.approx(200 / 3)}
    assert result["f1_changing"] == {"AU1": None, "AU2": None, "AU4": 50.0}
    assert result["f1_changing_mean"] == 50.0


def test_padding_is_what_the_mask_says_and_by_default_frames_without_labels():
    labels = np.array([[[1, 9, 1], [0, 1, 9]]], np.int8)
    scores = np.ones(labels.shape, np.float32)
    by_default = EvalCounts.from_model_output(scores, labels)
    assert (by_default.changing.tp + by_default.changing.fp).tolist() == [2, 0, 0]
    padded = EvalCounts.from_model_output(scores, labels, np.array([[True, False]]))
    assert (padded.overall.tp + padded.overall.fp).tolist() == [1, 0, 1]
    assert not (padded.changing.tp + padded.changing.fp).any()


# Shares of the published labels' frames in which each AU is present, all three parts together.
BP4D_RATES = (
    *(0.21139, 0.17099, 0.20263, 0.46086, 0.54898, 0.59429),
    *(0.56201, 0.46562, 0.16935, 0.34326, 0.16540, 0.15138),
)
DISFA_RATES = (0.04973, 0.04315, 0.15238, 0.07894, 0.04184, 0.12882, 0.27709, 0.08816)


@pytest.mark.parametrize(
    ("au_set", "frames", "rates", "mean"),
    [(facs.BP4D, 146_847, BP4D_RATES, 48.05), (facs.DISFA, 130_814, DISFA_RATES, 18.66)],
)
def test_the_baseline_of_the_papers_data(au_set, frames, rates, mean):
    present = np.rint(frames * np.asarray(rates)).astype(np.int64)
    nothing = np.zeros_like(present)
    counts = AUCounts(nothing, nothing, present, frames - present)
    result = summarize(EvalCounts(counts, AUCounts.empty()), au_set.au_names)
    assert result["baseline_f1_mean"] == pytest.approx(mean, abs=0.005)
    expected = [200 * rate / (1 + rate) for rate in rates]
    assert list(result["baseline_f1"].values()) == pytest.approx(expected, abs=0.002)


def test_compute_follows_clu():
    scores, labels = make(7)
    computed = AUCounts.from_model_output(scores, labels).compute()
    assert computed["f1_mean"] == pytest.approx(np.nan_to_num(computed["f1"]).mean())
    nothing = summarize(EvalCounts.empty(), NAMES)
    assert nothing["f1"] == dict.fromkeys(NAMES)
    assert nothing["f1_mean"] == 0.0
    assert nothing["accuracy_mean"] is None
    assert nothing["f1_changing_mean"] is None


def test_names_must_fit_the_counts():
    with pytest.raises(ValueError, match="2 AU names"):
        summarize(EvalCounts.from_model_output(*make(0)), NAMES[:2])


def test_training_modules_do_not_import_tensorflow():
    modules = ("losses", "metrics", "optimizer", "checkpoints", "logs", "results")
    code = "".join(f"import mdhr_jax.training.{m}\n" for m in modules)
    code += (
        "import sys; print([m for m in sys.modules if m.partition('.')[0] in ('tensorflow', 'tensorboard')])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
