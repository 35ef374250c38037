"""Reports of made runs: the command as a test calls it, and ways into what it writes."""

import json

import numpy as np
import pytest

from mdhr_jax.report import __main__ as command
from tests.report import made_runs

RESAMPLES = "300"
SKILLS = {"backbone": 0.2, "mfd": 1.6, "afe": 0.25, "afe+aux": 0.21}


def report(root, out, *options):
    assert command.main([str(root), "--out", str(out), "--resamples", RESAMPLES, *options]) == 0
    return json.loads((out / "report.json").read_text(), parse_constant=pytest.fail)


def put(root, row, fold, *, kind=made_runs.finish, table="3", skill=None, **changes):
    """A run where the command of the tables would put it."""
    config = made_runs.config_of(table, row, fold=fold, **changes)
    options = {"skill": SKILLS[row] if skill is None else skill} if kind is made_runs.finish else {}
    return kind(made_runs.directory_of(root, config), config, **options)


def study_of(content, scale="laptop", departures=0):
    (study,) = [s for s in content["studies"] if s["scale"] == scale and len(s["departures"]) == departures]
    return study


def of_model(content, model, arm="paper"):
    return study_of(content)["models"][arm][model]


def mean_of(root, row, **changes):
    """Mean F1 over the folds, from the result files."""
    values = []
    for fold in (1, 2, 3):
        config = made_runs.config_of("3", row, fold=fold, **changes)
        result = json.loads((made_runs.directory_of(root, config) / "result.json").read_text())
        values.append(result["f1_mean"])
    return np.mean(values)
