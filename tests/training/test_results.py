"""Result files are strict JSON, written whole or not at all; the table shows every AU."""

import dataclasses
import json
import os

import numpy as np
import pytest

from mdhr_jax.training import predictions
from mdhr_jax.training.predictions import Predictions
from mdhr_jax.training.results import RESULT_KEYS, format_table, read_result, write_result


def make():
    result = {
        "dataset": "disfa",
        "fold": 2,
        "seed": 0,
        "protocol": "paper",
        "selection": {"checkpoint": "test", "thresholds": "fixed"},
        "validation_subjects": [],
        "thresholds": {"AU1": 0.5, "AU12": np.float32(0.25)},
        "validation": None,
        "step": np.int64(120),
        "config_hash": "ab12",
        "num_params": 10,
        "seconds": np.float32(1.5),
        "frames_per_second": 3.25,
    }
    for i, key in enumerate(("f1", "accuracy", "baseline_f1", "f1_changing")):
        result[key] = {"AU1": 10.04 + i, "AU12": None}
        result[f"{key}_mean"] = 5.02 + i
    result["f1_changing_mean"] = None
    return result


def test_the_file_holds_the_keys_and_reads_back(tmp_path):
    path = tmp_path / "run" / "result.json"
    write_result(path, make())
    read = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert tuple(read) == RESULT_KEYS
    assert read == make()
    assert read["f1"] == {"AU1": 10.04, "AU12": None}
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_a_refused_result_leaves_the_file_before(tmp_path):
    path = tmp_path / "result.json"
    write_result(path, make())
    before = path.read_bytes()
    for change, message in (
        ({"f1_mean": float("nan")}, "'f1_mean' is nan"),
        ({"f1": {"AU1": np.inf, "AU12": 1.0}}, "'f1.AU1' is inf"),
        ({"accuracy": {"AU1": 1.0}}, "AUs of 'accuracy'"),
        ({"speed": 1}, r"surplus \['speed'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            write_result(path, make() | change)
    incomplete = make()
    del incomplete["seconds"]
    with pytest.raises(ValueError, match=r"lacks \['seconds'\]"):
        write_result(path, incomplete)
    with pytest.raises(TypeError):
        write_result(path, make() | {"dataset": object()})
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def predicted(step):
    scores = np.array([[0.75, 0.25], [0.5, 1.0]], np.float32)
    thresholds = {"AU1": 0.5, "AU12": 0.25}
    meta = {"dataset": "disfa", "fold": 2, "seed": 0, "au_names": ["AU1", "AU12"], "step": step}
    meta |= {"config_hash": "ab12", "protocol": "paper", "thresholds": thresholds, "data_fingerprint": "f"}
    rows = np.zeros(2, np.int32)
    return Predictions(
        ("SN001",),
        ("SN001",),
        rows,
        np.array([3, 4], np.int32),
        rows,
        np.ones(1, bool),
        np.eye(2, dtype=np.int8),
        scores,
        meta | {"format": predictions.FORMAT},
    )


def test_predictions_are_there_before_their_result(tmp_path, monkeypatch):
    path = tmp_path / "result-eval.json"
    write_result(path, make(), predicted(120))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["predictions-eval.npz", "result-eval.json"]
    assert read_result(path) == make()
    assert predictions.read(tmp_path / "predictions-eval.npz").meta["step"] == 120

    replace = os.replace

    def dies_before(name):
        def until(source, target):
            if target.name == name:
                raise OSError("killed")
            replace(source, target)

        monkeypatch.setattr(os, "replace", until)

    # Wherever it dies, no result lies beside predictions that are not its own.
    dies_before("result-eval.json")
    with pytest.raises(OSError, match="killed"):
        write_result(path, make() | {"step": 130}, predicted(130))
    assert [p.name for p in tmp_path.iterdir()] == ["predictions-eval.npz"]
    monkeypatch.undo()
    write_result(path, make(), predicted(120))
    with pytest.raises(ValueError, match="lack format"):
        write_result(path, make(), dataclasses.replace(predicted(130), meta={}))
    assert read_result(path)["step"] == predictions.read(predictions.beside(path)).meta["step"] == 120


def test_a_result_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no result .*: the run has not ended"):
        read_result(tmp_path / "result.json")
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        read_result(tmp_path / "result.json")
    (tmp_path / "result.json").write_text('{"f1": {}}')
    with pytest.raises(ValueError, match="lacks dataset, fold, seed, protocol"):
        read_result(tmp_path / "result.json")


def test_the_table_has_a_line_an_au_and_the_mean_last():
    lines = format_table(make()).splitlines()
    assert len({len(line) for line in lines}) == 1
    rows = [line.split() for line in lines if not line.startswith("-")]
    assert rows[0] == ["AU", "F1", "baseline", "F1", "changing", "accuracy"]
    assert rows[1:] == [
        ["AU1", "10.0", "12.0", "13.0", "11.0"],
        ["AU12", "-", "-", "-", "-"],
        ["mean", "5.0", "7.0", "-", "6.0"],
    ]
