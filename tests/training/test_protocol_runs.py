"""Whole runs under the honest protocol and from weights for other AUs, by the command."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.training import checkpoints, logs, predictions
from mdhr_jax.training.metrics import summarize
from tests.quick import command

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
HONEST = "--config.eval.protocol=honest"
NAMES = facs.SYNTHETIC_BP4D.au_names

# Dies as soon as the last evaluation is stored and the test part is to be looked at.
_KILLED = """
import os, runpy, signal, sys
from mdhr_jax.training import evaluate
evaluate.evaluate_chosen = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = {arguments!r}
runpy.run_module("mdhr_jax.main", run_name="__main__")
"""


@pytest.fixture(scope="module")
def start(synthetic_data, environment):
    """Runs a command to its end."""

    def run(arguments):
        return subprocess.run(
            arguments, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600
        )

    return run


@pytest.fixture(scope="module")
def honest(start, synthetic_data, tmp_path_factory):
    """A finished run: its directory and what it said."""
    workdir = tmp_path_factory.mktemp("honest")
    done = start(command(workdir, synthetic_data, HONEST))
    assert done.returncode == 0, done.stderr
    return workdir, done


def result_of(workdir, name="result.json"):
    result = json.loads((workdir / name).read_text())
    return {key: value for key, value in result.items() if key not in ("seconds", "frames_per_second")}


def assert_same_predictions(found, expected):
    for name in ("videos", "subjects", "video", "frame_number", "window", "full_window", "labels", "scores"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_validation_subjects_choose_and_the_test_part_is_looked_at_once(honest):
    workdir, done = honest
    result = result_of(workdir)
    assert result["protocol"] == "honest"
    assert result["selection"] == {"checkpoint": "validation", "thresholds": "validation"}
    assert len(result["validation_subjects"]) == 1
    lines = logs.read_log(workdir, "validation")
    assert logs.read_log(workdir, "eval") == []
    best = max(lines, key=lambda line: (line["f1_mean"], line["step"]))
    assert (result["step"], result["validation"]["f1_half_mean"]) == (best["step"], best["f1_mean"])
    assert result["validation"]["f1_half"] == best["f1"]
    for au, threshold in result["thresholds"].items():
        at_best, at_half = (result["validation"][key][au] or 0 for key in ("f1", "f1_half"))
        assert at_best > at_half if threshold != 0.5 else at_best == at_half
    assert set(result["thresholds"].values()) != {0.5}

    found = predictions.read(workdir)
    assert not set(found.subjects) & set(result["validation_subjects"])
    assert found.meta["thresholds"] == result["thresholds"]
    assert {
        key: found.meta[key] for key in ("dataset", "fold", "seed", "step", "config_hash", "protocol")
    } == {key: result[key] for key in ("dataset", "fold", "seed", "step", "config_hash", "protocol")}
    counted = summarize(found.counts(), NAMES)
    assert {key: result[key] for key in counted} == counted
    halves = summarize(found.counts(dict.fromkeys(NAMES, 0.5)), NAMES)
    assert halves["f1"] != counted["f1"]

    assert "validated on 1 videos of 1 subjects kept out of training, tested on 2 videos" in done.stderr
    assert "on the validation subjects\n" in done.stderr
    # In training and for the thresholds the validation subjects are looked at; the test part once.
    assert "protocol honest: checkpoint of step" in done.stdout
    meta = checkpoints.load_weights(workdir, names=())[1]
    assert (meta["protocol"], meta["validation_subjects"]) == ("honest", result["validation_subjects"])


def test_killed_before_its_result_a_run_ends_the_same(honest, start, synthetic_data, tmp_path):
    workdir, _ = honest
    arguments = command(tmp_path, synthetic_data, HONEST)[2:]
    killed = start([sys.executable, "-c", _KILLED.format(arguments=arguments)])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not list(tmp_path.glob("result*")) + list(tmp_path.glob("predictions*"))
    assert "taking the checkpoint of step" in killed.stderr
    done = start(command(tmp_path, synthetic_data, HONEST))
    assert done.returncode == 0, done.stderr
    assert result_of(tmp_path) == result_of(workdir)
    assert_same_predictions(predictions.read(tmp_path), predictions.read(workdir))
    # Of a run that has ended nothing is done again, unless its predictions are gone or damaged.
    again = start(command(tmp_path, synthetic_data, HONEST))
    assert "taking the checkpoint" not in again.stderr
    assert again.stdout == done.stdout
    (tmp_path / "predictions.npz").write_bytes(b"PK damaged")
    assert "taking the checkpoint" in start(command(tmp_path, synthetic_data, HONEST)).stderr
    assert_same_predictions(predictions.read(tmp_path), predictions.read(workdir))


def test_evaluation_takes_the_thresholds_of_the_run(honest, start, synthetic_data, tmp_path):
    workdir, _ = honest
    evaluating = (HONEST, "--config.mode=eval")
    done = start(command(workdir, synthetic_data, *evaluating))
    assert done.returncode == 0, done.stderr
    assert "as its run chose them on the validation subjects" in done.stderr
    assert result_of(workdir, "result-eval.json") == result_of(workdir)
    assert_same_predictions(
        predictions.read(workdir / "predictions-eval.npz"), predictions.read(workdir / "predictions.npz")
    )
    # A step by itself, away from its run's result, has none; its protocol goes with it all the same.
    step = result_of(workdir)["step"]
    lonely = tmp_path / "step"
    lonely.symlink_to(workdir / "checkpoints" / str(step))
    out = tmp_path / "out"
    named = ("--config.mode=eval", f"--config.eval.checkpoint={lonely}")
    done = start(command(out, synthetic_data, *named))
    assert done.returncode == 0, done.stderr
    assert f"threshold 0.5: no run's result.json has thresholds for step {step}" in done.stderr
    result = result_of(out)
    assert (result["protocol"], result["selection"]) == (
        "honest",
        {"checkpoint": "named", "thresholds": "fixed"},
    )
    halves = predictions.read(workdir).counts(dict.fromkeys(NAMES, 0.5))
    assert result["f1"] == summarize(halves, NAMES)["f1"]


def test_the_other_protocol_is_another_run(honest, start, synthetic_data):
    workdir, _ = honest
    failed = start(command(workdir, synthetic_data))
    assert failed.returncode != 0
    assert "eval.protocol: 'honest' there, 'paper' now" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_run_on_other_aus_starts_from_what_fits(honest, start, synthetic_data, tmp_path):
    workdir, _ = honest
    others = [
        "--config.dataset=synthetic_disfa",
        "--config.data.generate.like=disfa",
        f"--config.model.init_from={workdir}",
        "--config.train.learning_rate=1e-30",
        "--config.train.weight_decay=0",
        "--config.train.epochs=2",
    ]
    done = start(command(tmp_path / "run", tmp_path / "data", *others))
    assert done.returncode == 0, done.stderr
    assert "the parts of AU1, AU2, AU4, AU6, AU12\nnot transferred: AU9, AU25, AU26, local." in done.stderr
    weights, meta = checkpoints.load_weights(tmp_path / "run", names=("params",))
    source = checkpoints.load_weights(workdir, names=("params",))[0]["params"]
    assert meta["initial_weights"]["path"] == str(workdir)
    assert meta["initial_weights"]["step"] == result_of(workdir)["step"]
    assert meta["initial_weights"]["transfer"]["fresh_aus"] == ["AU9", "AU25", "AU26"]
    # The learning rate is next to nothing, so what the run ends with is what it began with.
    rows = {au: facs.SYNTHETIC_BP4D.aus.index(au) for au in (1, 2, 4, 6, 12)}
    for row, au in enumerate(facs.SYNTHETIC_DISFA.aus):
        found = weights["params"]["classifier.prototypes"][row]
        same = au in rows and np.allclose(found, source["classifier.prototypes"][rows[au]], atol=1e-12)
        assert same == (au in rows)
    np.testing.assert_allclose(weights["params"]["graph.bias"], source["graph.bias"], atol=1e-12)
