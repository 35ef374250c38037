"""The log survives kills, reads as if never interrupted, and needs no TensorFlow."""

import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from mdhr_jax.training.logs import RunLog, read_log

AUS = ("AU1", "AU12")


def lines(tmp_path):
    return [
        json.loads(t, parse_constant=pytest.fail)
        for t in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ]


def write_steps(tmp_path, steps, resume_step=None, loss=1.0):
    with RunLog(tmp_path, AUS, resume_step=resume_step) as log:
        for step in steps:
            log.write("train", step, {"loss": loss})
            if step % 2 == 0:
                log.write("eval", step, {"f1_mean": loss})


def test_values_of_every_kind_become_strict_json(tmp_path):
    with RunLog(tmp_path / "run", AUS) as log:
        log.write(
            "eval",
            4,
            {
                "loss": jnp.float32(0.5),
                "gone": float("nan"),
                "f1": jnp.asarray([50.0, jnp.inf]),
                "named": {"AU1": 1, "AU12": None},
                "note": "best",
            },
        )
        found = lines(tmp_path / "run")  # before the file is closed
    assert found == [
        {
            "kind": "eval",
            "step": 4,
            "loss": 0.5,
            "gone": None,
            "f1": {"AU1": 50.0, "AU12": None},
            "named": {"AU1": 1, "AU12": None},
            "note": "best",
        }
    ]


def test_resuming_drops_what_lies_past_the_restored_step(tmp_path):
    write_steps(tmp_path, range(1, 8))
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"kind": "train", "st')
    write_steps(tmp_path, range(4, 7), resume_step=4, loss=2.0)
    found = lines(tmp_path)
    assert [(e["kind"], e["step"]) for e in found] == [
        ("train", 1),
        ("train", 2),
        ("eval", 2),
        ("train", 3),
        ("train", 4),
        ("eval", 4),
        ("train", 5),
        ("train", 6),
        ("eval", 6),
    ]
    assert [e["loss"] for e in found if e["kind"] == "train"] == [1, 1, 1, 1, 2, 2]
    assert read_log(tmp_path) == found
    assert [e["step"] for e in read_log(tmp_path, "eval")] == [2, 4, 6]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_line_cut_short_goes_even_where_nothing_lies_past_the_step(tmp_path):
    write_steps(tmp_path, [1, 3])
    path = tmp_path / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-1])  # complete but for its end of line
    assert [e["step"] for e in read_log(tmp_path)] == [1]
    write_steps(tmp_path, [3], resume_step=1)
    assert path.read_text() == whole


def test_a_fresh_start_empties_the_log(tmp_path):
    write_steps(tmp_path, [1, 2, 3])
    write_steps(tmp_path, [1], loss=3.0)
    assert lines(tmp_path) == [{"kind": "train", "step": 1, "loss": 3.0}]


def test_only_one_process_writes(tmp_path):
    with RunLog(tmp_path / "run", AUS, enabled=False, tensorboard=True) as log:
        log.write("train", 1, {"loss": 1.0})
    assert not (tmp_path / "run").exists()
    with pytest.raises(FileNotFoundError, match=r"metrics\.jsonl"):
        read_log(tmp_path / "run")


def test_entries_that_cannot_be_named_are_refused(tmp_path):
    with RunLog(tmp_path, AUS) as log:
        with pytest.raises(ValueError, match=r"'f1' has shape \(3,\).* 2 AUs"):
            log.write("train", 1, {"f1": np.zeros(3)})
        with pytest.raises(ValueError, match="cannot be named step"):
            log.write("train", 1, {"step": 1})
        log.close()
    assert lines(tmp_path) == []


def test_without_tensorflow_a_notice_is_given_and_the_log_written(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with RunLog(tmp_path, AUS, tensorboard=True) as log:
        log.write("train", 1, {"loss": 1.0})
    assert "TensorBoard files are not written" in caplog.text
    assert len(lines(tmp_path)) == 1
    assert not (tmp_path / "tensorboard").exists()


TENSORBOARD = """
import sys
import numpy as np
from mdhr_jax.training.logs import RunLog

def run(steps, resume_step, loss):
    with RunLog(sys.argv[1], ("AU1", "AU12"), tensorboard=True, resume_step=resume_step) as log:
        for step in steps:
            f1 = np.array([loss, np.nan])
            log.write("train", step, {"loss": loss, "f1": f1, "none": None, "note": "x"})

run(range(1, 8), None, 1.0)
run(range(5, 7), 4, 2.0)

import tensorflow as tf
assert not tf.config.get_visible_devices("GPU")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1] + "/tensorboard")
events.Reload()
assert sorted(events.Tags()["tensors"]) == ["train/f1/AU1", "train/f1/AU12", "train/loss"], events.Tags()
print([(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors("train/loss")])
"""


def test_tensorboard_shows_a_resumed_run_as_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TENSORBOARD, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([*((s, 1.0) for s in range(1, 5)), (5, 2.0), (6, 2.0)])
