"""Runs compared pair by pair: against a bootstrap written out, and what is no pair."""

import json

import numpy as np
import pytest
from scipy import stats

from mdhr_jax.report import pairs
from tests.report.made_runs import config_of, finish

RESAMPLES = 400


def made(root, skills, *, row, subjects=6, protocol="paper", **options):
    """A finished run a skill, each of another seed and fold."""
    found = []
    for number, skill in enumerate(skills):
        config = config_of("3", row, fold=1 + number % 2, seed=number, protocol=protocol)
        directory = root / f"{row}-{number}"
        found.append(finish(directory, config, skill=skill, subjects=subjects, **options))
    return found


def f1(labels, predicted):
    """Mean over AUs, by the definition."""
    of_aus = []
    for n in range(labels.shape[1]):
        known = labels[:, n] >= 0
        present, called = labels[known, n] == 1, predicted[known, n]
        hits = (present & called).sum()
        of_aus.append(2 * hits / max(present.sum() + called.sum(), 1))
    return np.mean(of_aus)


def test_differences_and_their_mean_are_those_of_the_predictions(tmp_path):
    full = made(tmp_path, (2.0, 2.0, 2.0), row="full")
    still = made(tmp_path, (0.5, 0.5, 1.9), row="hsr")
    runs = [[pairs.read(path) for path in paths] for paths in (full, still)]
    found = pairs.compare(*runs, resamples=RESAMPLES)["f1"]
    by_hand = []
    for one, other in zip(full, still, strict=True):
        values = []
        for path in (one, other):
            loaded = pairs.predictions.read(path)
            values.append(f1(loaded.labels, loaded.predicted()))
        by_hand.append(values[0] - values[1])
    np.testing.assert_allclose([pair.value for pair in found.pairs], by_hand, rtol=1e-12)
    assert found.mean.value == pytest.approx(np.mean(by_hand), rel=1e-12)
    half = stats.t.ppf(0.975, 2) * np.std(by_hand, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(found.over_pairs, (np.mean(by_hand) - half, np.mean(by_hand) + half))
    assert found.of_aus.mean() == pytest.approx(found.mean.value)
    # A difference far from nothing is seen as such, one near it is not.
    (first, _), (last, over) = found.pairs[0].interval, found.pairs[2].interval
    assert first > 0
    assert last < 0 < over


def test_the_interval_is_that_of_subjects_drawn_anew(tmp_path):
    """The mean over two pairs of other subjects varies as the root of the sum of their variances."""
    full, still = (made(tmp_path, (skill, skill), row=row) for skill, row in ((1.5, "full"), (0.7, "hsr")))
    runs = [[pairs.read(path) for path in paths] for paths in (full, still)]
    found = pairs.compare(*runs, resamples=RESAMPLES)["f1"]
    widths = [pair.interval[1] - pair.interval[0] for pair in found.pairs]
    width = found.mean.interval[1] - found.mean.interval[0]
    assert width == pytest.approx(np.hypot(*widths) / 2, rel=0.25)
    # The same test twice says nothing new of the subjects.
    twice = [[run[0], run[0]] for run in runs]
    assert pairs.compare(*twice, resamples=RESAMPLES)["f1"].mean.interval == pytest.approx(
        found.pairs[0].interval
    )


def test_what_is_not_defined_is_a_gap(tmp_path, capsys):
    """A window each of known labels that never change."""
    full, still = (made(tmp_path, (1.0,), row=row, windows=1, subjects=3)[0] for row in ("full", "hsr"))
    found = tmp_path / "found.json"
    assert pairs.main([str(full), "--against", str(still), "--resamples", "9", "--json", str(found)]) == 0
    assert "nan" not in capsys.readouterr().out
    changing = json.loads(found.read_text())["f1_changing"]
    assert (changing["mean_difference"], changing["pairs"][0]["interval"]) == (None, None)


def test_the_command_prints_and_writes_the_same_each_time(tmp_path, capsys):
    full, still = (made(tmp_path, (1.5, 1.0), row=row) for row in ("full", "hsr"))
    arguments = [*map(str, full), "--against", *map(str, still), "--resamples", "50"]
    assert pairs.main([*arguments, "--json", str(tmp_path / "out" / "pairs.json")]) == 0
    printed = capsys.readouterr().out
    assert pairs.main(arguments) == 0
    assert capsys.readouterr().out == printed
    assert f"| `{full[0]}` | `{still[0]}` |" in printed
    assert "mean difference, over subjects:" in printed
    assert "mean difference, over pairs by t:" in printed
    written = json.loads((tmp_path / "out" / "pairs.json").read_text())
    assert set(written) == {"f1", "f1_changing"}
    assert written["f1"]["by_au"].keys() == {"AU1", "AU2", "AU4", "AU6", "AU7", "AU10", "AU12", "AU14"} | {
        "AU15",
        "AU17",
        "AU23",
        "AU24",
    }
    assert pairs.main([str(full[0]), "--against", str(still[0]), "--resamples", "50"]) == 0
    assert "over pairs" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("fewer", "2 runs against 1: as many are needed"),
        ("order", "were not tested on the same subjects and labels"),
        ("protocol", "is of the protocol 'honest'"),
        ("missing", "no predictions at"),
        ("resamples", "0 resamples"),
    ],
)
def test_what_is_no_pair_is_told(change, message, tmp_path, capsys):
    full, still = (made(tmp_path, (1.5, 1.0), row=row) for row in ("full", "hsr"))
    options = ["--resamples", "0" if change == "resamples" else "9"]
    if change == "fewer":
        still = still[:1]
    elif change == "order":
        still = still[::-1]
    elif change == "protocol":
        full = made(tmp_path / "honest", (1.5, 1.0), row="full", protocol="honest")
    elif change == "missing":
        (still[1] / "predictions.npz").unlink()
    assert pairs.main([*map(str, full), "--against", *map(str, still), *options]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert not captured.out
