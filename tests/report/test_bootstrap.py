"""The bootstrap over subjects is what a slow loop gives, to the bit, and its intervals hold the truth."""

import dataclasses

import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.report import bootstrap, evidence, measures
from mdhr_jax.report.collect import Found, Outcome
from mdhr_jax.report.evidence import Draws, Settings
from mdhr_jax.report.measures import F1, MEASURES
from mdhr_jax.report.studies import Place, Study
from tests.report import made_runs

SETTINGS = Settings(resamples=200, seed=3)
ARM = "paper"


def run(number, fold, seed=0, **options):
    """A finished run that lies nowhere."""
    config = made_runs.config_of("3", "full", fold=fold, seed=seed)
    options = {"fold": fold, "seed": seed} | options
    result, found = made_runs.result_of(config, made_runs.predict(facs.SYNTHETIC_BP4D, **options))
    counts = measures.count(found)
    outcome = Outcome(result, counts, measures.values(found, counts), "ab", "cd", None, None)
    return Found(f"R{number}", f"r{number}", "finished", outcome=outcome)


def study_of(models):
    """A study of models by name, each a list of (fold, seed, run)."""
    study = Study(1, "synthetic_bp4d", "laptop", {}, ())
    study.used[ARM] = {}
    for model, runs in models.items():
        for fold, seed, one in runs:
            study.places[one.id] = Place(model, "laptop", ARM, fold, seed, (), {}, ())
            study.asked[ARM].add(seed)
            study.used[ARM].setdefault(model, {})[seed, fold] = one
    return study, [one for runs in models.values() for _, _, one in runs]


def entries_of(models, settings=SETTINGS):
    study, runs = study_of(models)
    (found,) = evidence.gather([study], runs, settings)
    return {model: found[ARM, model] for model in models}


def slow_f1(counts, subjects):
    """Mean F1 over AUs of some subjects, each as often as it is named; undefined F1 is 0."""
    values = []
    for n in range(counts.overall.shape[1]):
        tp = fp = fn = 0
        for subject in subjects:
            one = counts.overall[subject, n]
            tp, fp, fn = tp + int(one[0]), fp + int(one[1]), fn + int(one[2])
        values.append(2 * tp / (2 * tp + fp + fn) if 2 * tp + fp + fn else 0.0)
    return np.mean(values)


def slow_draws(subjects, fold, settings=SETTINGS):
    """Which subjects are in each resample, as a list each."""
    times = bootstrap.draw(subjects, settings.resamples, seed=settings.seed, fold=fold)
    return [[s for s in range(subjects) for _ in range(row[s])] for row in times.tolist()]


def slow_interval(numbers):
    return tuple(np.quantile(numbers, [0.025, 0.975]).tolist())


def test_every_resample_has_as_many_subjects_as_the_fold():
    times = bootstrap.draw(7, 500, seed=1, fold=2)
    assert times.shape == (500, 7)
    assert (times.sum(1) == 7).all()
    assert 0 < (times == 0).mean() < 1
    np.testing.assert_array_equal(times, bootstrap.draw(7, 500, seed=1, fold=2))
    for seed, fold in ((2, 2), (1, 3)):
        assert (times != bootstrap.draw(7, 500, seed=seed, fold=fold)).any()
    # Each subject is drawn once on average; six standard errors leave no room for chance.
    assert np.abs(times.mean(0) - 1).max() < 6 / np.sqrt(500)


def test_intervals_are_those_of_a_slow_loop_to_the_bit():
    runs = [
        (fold, seed, run(3 * seed + fold, fold, seed, subjects=3 + fold))
        for fold in (1, 2, 3)
        for seed in (0, 4)
    ]
    entry = entries_of({"m": runs})["m"]
    found = {(seed, fold): one.outcome for fold, seed, one in runs}
    of_seeds = []
    for seed in (0, 4):
        of_folds = []
        for fold in (1, 2, 3):
            counts = found[seed, fold].counts
            drawn = np.array([slow_f1(counts, drawn) for drawn in slow_draws(3 + fold, fold)])
            assert entry.by_run["f1"][seed, fold].interval == slow_interval(drawn)
            of_folds.append(drawn)
        of_seeds.append(sum(of_folds) / 3)
    assert entry.seeds == (0, 4)
    assert entry.means["f1"].interval == slow_interval(sum(of_seeds) / 2)
    each = [
        np.mean([slow_f1(found[seed, fold].counts, range(3 + fold)) for fold in (1, 2, 3)]) for seed in (0, 4)
    ]
    assert entry.means["f1"].value == pytest.approx(np.mean(each), rel=1e-14)


def test_a_difference_is_that_of_pairs_of_the_same_subjects():
    better = [(fold, 0, run(fold, fold, skill=1.6)) for fold in (1, 2, 3)]
    worse = [(fold, 0, run(3 + fold, fold, skill=0.2)) for fold in (1, 2, 3)]
    entries = entries_of({"better": better, "worse": worse})
    found = evidence.compare(entries["better"], entries["worse"], (1, 2, 3))
    drawn = []
    for (fold, _, one), (_, _, other) in zip(better, worse, strict=True):
        drawn.append(
            [
                slow_f1(one.outcome.counts, subjects) - slow_f1(other.outcome.counts, subjects)
                for subjects in slow_draws(5, fold)
            ]
        )
    np.testing.assert_allclose(found.number.interval, slow_interval(np.mean(drawn, 0)), rtol=1e-12)
    value = entries["better"].means["f1"].value - entries["worse"].means["f1"].value
    assert found.number.value == pytest.approx(value, rel=1e-12)
    assert found.number.runs == ("R1", "R2", "R3", "R4", "R5", "R6")
    assert found.excludes_zero
    assert found.number.interval[0] > 0
    # As a pair: whoever is hard for one is hard for the other.
    widths = [entries[name].means["f1"].interval for name in entries]
    lower, upper = found.number.interval
    assert upper - lower < np.hypot(*(high - low for low, high in widths))
    back = evidence.compare(entries["worse"], entries["better"], (1, 2, 3))
    np.testing.assert_allclose(back.number.interval, (-upper, -lower), rtol=1e-12)
    same = evidence.compare(entries["better"], entries["better"], (1, 2, 3))
    assert same.number.value == 0
    assert same.number.interval == (0, 0)
    assert not same.excludes_zero


def test_only_rows_with_the_same_subjects_seeds_and_protocol_are_compared():
    full = [(fold, seed, run(10 * seed + fold, fold, seed)) for fold in (1, 2, 3) for seed in (0, 1)]
    part = [(fold, 1, run(30 + fold, fold, 1, skill=0.5)) for fold in (1, 2, 3)]
    other = [(fold, 1, run(40 + fold, fold, 1, subjects=5 + (fold == 2))) for fold in (1, 2, 3)]
    cut = part[:2]
    entries = entries_of({"full": full, "part": part, "other": other, "cut": cut})
    found = evidence.compare(entries["full"], entries["part"], (1, 2, 3))
    assert found.seeds == (1,)
    assert found.number.runs == ("R11", "R12", "R13", "R31", "R32", "R33")
    refused = evidence.compare(entries["full"], entries["other"], (1, 2, 3))
    assert refused.number is None
    assert refused.reason == "not tested on the same subjects and labels: R12 and R42"
    gap = evidence.compare(entries["full"], entries["cut"], (1, 2, 3))
    assert gap.number is None
    assert gap.reason == "no seed is complete in both rows"
    assert evidence.compare(entries["full"], entries["cut"], (1, 2)).reason == ""
    assert evidence.compare(entries["full"], None, (1, 2, 3)).reason == "a row without runs"
    honest = dataclasses.replace(entries["part"], arm="honest")
    with pytest.raises(ValueError, match="different protocols"):
        evidence.compare(entries["full"], honest, (1, 2, 3))


def test_a_fold_of_one_subject_has_a_number_and_no_interval():
    runs = [(fold, 0, run(fold, fold, subjects=1 if fold == 2 else 4)) for fold in (1, 2, 3)]
    entry = entries_of({"m": runs})["m"]
    assert entry.by_run["f1"][0, 2].interval is None
    assert entry.by_run["f1"][0, 1].interval is not None
    assert entry.means["f1"].interval is None
    assert entry.means["f1"].value is not None
    assert Draws(SETTINGS)(1, 1) is None
    # Nor has a difference.
    assert evidence.compare(entry, entry, (1, 2, 3)).number.interval is None


def test_undefined_aus_have_no_number_and_count_as_the_measure_says():
    some = [(fold, 0, run(fold, fold, never=(2, 5) if fold == 1 else (5,))) for fold in (1, 2, 3)]
    entry = entries_of({"m": some})["m"]
    f1, defined = entry.of_aus["f1"], entry.of_aus["f1_defined"]
    assert f1[5].value is None
    assert f1[5].interval is None
    assert entry.undefined["f1"] == {2: "fold 1"}
    assert f1[2].value == pytest.approx(defined[2].value * 2 / 3)
    values = [number.value or 0.0 for number in f1]
    assert entry.means["f1"].value == pytest.approx(np.mean(values))
    # Left out instead: each fold's own mean of what is defined there.
    each = [np.nanmean(one.outcome.values["f1"]) for _, _, one in some]
    assert entry.means["f1_defined"].value == pytest.approx(np.mean(each))
    assert entry.means["f1_defined"].value > entry.means["f1"].value


@pytest.mark.parametrize("key", [measure.key for measure in MEASURES if measure.of_counts])
def test_every_measure_of_counts_is_drawn_like_its_own_value(key):
    one = run(1, 1, never=(3,)).outcome
    measure = next(m for m in MEASURES if m.key == key)
    subjects = len(one.counts.subjects)
    whole = bootstrap.resample(one.counts, [measure], np.ones((1, subjects), np.int64))[key]
    np.testing.assert_array_equal(whole[0], one.values[key])
    doubled = bootstrap.resample(one.counts, [measure], np.full((1, subjects), 2))[key]
    np.testing.assert_allclose(doubled[0], one.values[key], rtol=1e-12)


def test_ranks_are_not_drawn():
    ranks = [measure for measure in MEASURES if measure.key == "roc_auc"]
    counts = run(1, 1).outcome.counts
    with pytest.raises(ValueError, match="roc_auc is not made from counts"):
        bootstrap.resample(counts, ranks, np.ones((1, 5), np.int64))


def test_an_interval_leaves_undefined_resamples_out():
    numbers = np.array([np.nan, 1.0, 2.0, 3.0])
    assert bootstrap.interval(numbers) == slow_interval([1.0, 2.0, 3.0])
    assert bootstrap.interval(np.full(4, np.nan)) is None


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Twenty subjects from a known population, two hundred times: how many intervals hold its F1."""
    rng = np.random.default_rng(0)

    def population(size):
        """Counts of one AU: half of the frames present, each subject with a rate of its own."""
        rates = rng.beta(6, 3, (size, 2))
        found, wrong = rng.binomial(50, rates[:, 0]), rng.binomial(50, 1 - rates[:, 1])
        return np.stack([found, wrong, 50 - found, 50 - wrong], -1)[:, None]

    truth = float(measures.f1(population(200_000).sum(0))[0])
    held = 0
    times = bootstrap.draw(20, 1000, seed=0, fold=1)
    for _ in range(200):
        overall = population(20)
        counts = measures.SubjectCounts(tuple(map(str, range(20))), overall, overall)
        drawn = bootstrap.resample(counts, [F1], times)["f1"][:, 0]
        lower, upper = bootstrap.interval(drawn)
        held += lower <= truth <= upper
    assert 0.86 < held / 200 < 0.99
