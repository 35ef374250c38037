"""A run whose labels could tell nothing is refused before it begins."""

import copy
import dataclasses

import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.training import run
from mdhr_jax.training.experiment import open_experiment
from mdhr_jax.training.labelled import check_labels


def relabelled(records, change):
    """The records with other labels."""
    taken = copy.copy(records)
    taken.videos = tuple(dataclasses.replace(v, labels=change(v.labels.copy())) for v in records.videos)
    return taken


def unknown(labels):
    return np.full_like(labels, facs.UNKNOWN)


def changed(experiment, **changes):
    new = {name: relabelled(getattr(experiment, name), change) for name, change in changes.items()}
    return dataclasses.replace(experiment, **new)


def test_a_test_part_without_labels_is_refused_before_training(config, monkeypatch, tmp_path):
    experiment = changed(open_experiment(config), test_records=unknown)
    monkeypatch.setattr(run, "open_experiment", lambda _: experiment)
    monkeypatch.setattr(run, "train", lambda *_: pytest.fail("training began"))
    message = (
        r"none of the \d+ frames of the test part of fold 1 \(part3\) has a known label.*another config.fold"
    )
    with pytest.raises(ValueError, match=message):
        run.run(config, tmp_path)


def test_training_and_validation_need_labels_too(config):
    config.eval.protocol, config.eval.validation_share = "honest", 0.5
    experiment = open_experiment(config)
    for records, what in (("train_records", "training videos"), ("validation_records", "validation videos")):
        with pytest.raises(ValueError, match=rf"frames of the {what}.* has a known label"):
            check_labels(changed(experiment, **{records: unknown}))


def test_aus_without_labels_are_told_apart_from_those_that_are_never_present(config, capsys):
    def change(labels):
        labels[:, 0], labels[:, 1], labels[:, 2:] = facs.UNKNOWN, 0, 1
        return labels

    check_labels(changed(open_experiment(config), train_records=change, test_records=change))
    told = capsys.readouterr().err
    for where, so in (
        ("training videos", "it cannot be learnt"),
        ("test part", "its F1 counts 0 in the mean"),
    ):
        assert f"warning: AU1 unlabelled in the {where}; {so}" in told
        assert f"warning: AU2 never present in the {where}; {so}" in told
    assert "AU4" not in told
