"""Whole runs by the command, in processes of their own, killed and continued."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mdhr_jax.training import checkpoints, logs

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]

EPOCHS, STEPS = 6, 6  # Four training videos, four clips a batch: one step an epoch.


def command(workdir, data, *overrides):
    return [
        *(
            sys.executable,
            "-m",
            "mdhr_jax.main",
            "--config",
            "configs/quickstart.py",
            "--workdir",
            str(workdir),
        ),
        f"--config.data.dir={data}",
        "--config.data.generate.subjects=6",
        "--config.data.generate.videos=1",
        "--config.data.generate.frames=24",
        "--config.model.width=8",
        "--config.data.image_size=64",
        "--config.data.clip_length=4",
        "--config.train.batch_size=4",
        f"--config.train.epochs={EPOCHS}",
        "--config.eval.every_epochs=2",
        "--config.checkpoint.every_steps=1",
        "--config.log.every_steps=2",
        *overrides,
    ]


@pytest.fixture
def run(synthetic_data, environment):
    """Starts a run and waits for it."""

    def start(workdir, *overrides, check=True):
        done = subprocess.run(
            command(workdir, synthetic_data, *overrides),
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return start


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory, synthetic_data, environment):
    """A finished run: its directory, output and seconds."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    begin = time.monotonic()
    done = subprocess.run(
        command(workdir, synthetic_data), cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout, time.monotonic() - begin


def final_state(workdir):
    path = workdir / "checkpoints" / str(STEPS)
    return checkpoints.load_weights(path, names=("params", "batch_stats", "opt_state", "rng", "step"))[0]


def leaves(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def assert_same_run(workdir, expected):
    """State, log and result are those of the other run; only the clock may differ."""
    found, wanted = dict(leaves(final_state(workdir))), dict(leaves(final_state(expected)))
    assert found.keys() == wanted.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)

    def without_clock(line):
        return {k: v for k, v in line.items() if k not in ("frames_per_second", "seconds")}

    evaluations = [list(map(without_clock, logs.read_log(w, "eval"))) for w in (workdir, expected)]
    assert evaluations[0] == evaluations[1]
    assert [line["step"] for line in evaluations[0]] == [2, 4, 6]
    results = [without_clock(json.loads((w / "result.json").read_text())) for w in (workdir, expected)]
    assert results[0] == results[1]


def test_a_run_prints_a_table_and_writes_its_result(uninterrupted):
    workdir, output, _ = uninterrupted
    result = json.loads((workdir / "result.json").read_text())
    assert result["dataset"] == "synthetic_bp4d"
    assert result["fold"] == 1
    assert result["protocol"] == "paper"
    assert list(result["f1"]) == [f"AU{n}" for n in (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)]
    best = max(logs.read_log(workdir, "eval"), key=lambda line: (line["f1_mean"], line["step"]))
    assert (result["step"], result["f1_mean"]) == (best["step"], best["f1_mean"])
    assert "AU24" in output
    assert "baseline" in output
    steps = [line["step"] for line in logs.read_log(workdir, "train")]
    assert steps == sorted(set(steps))
    assert steps[-1] == STEPS


def test_killed_at_any_moment_a_run_ends_as_if_nothing_had_happened(
    uninterrupted, run, synthetic_data, environment, tmp_path
):
    expected, _, seconds = uninterrupted
    moments = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(
            command(tmp_path, synthetic_data),
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds * moments.uniform(0.3, 0.9))
        process.send_signal(signal.SIGKILL)
        process.wait()
    run(tmp_path)
    assert_same_run(tmp_path, expected)


def test_sigterm_saves_and_the_same_command_continues(
    uninterrupted, run, synthetic_data, environment, tmp_path
):
    process = subprocess.Popen(
        command(tmp_path, synthetic_data, "--config.checkpoint.every_steps=0"),
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = tmp_path / logs.FILE_NAME
    deadline = time.monotonic() + 300
    while not log.exists() or not log.read_text():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    saved = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit())
    assert saved
    if saved[-1] < STEPS:
        assert "told to stop: saved after step" in output
        assert not (tmp_path / "result.json").exists()
    run(tmp_path)
    assert_same_run(tmp_path, uninterrupted[0])


def test_a_finished_run_is_not_trained_again(uninterrupted, run):
    workdir, _, _ = uninterrupted
    before = (workdir / logs.FILE_NAME).read_bytes()
    run(workdir)
    assert (workdir / logs.FILE_NAME).read_bytes() == before


def test_evaluation_of_the_best_checkpoint_repeats_its_result(uninterrupted, run, tmp_path):
    workdir, _, _ = uninterrupted
    trained = json.loads((workdir / "result.json").read_text())
    run(tmp_path, "--config.mode=eval", f"--config.eval.checkpoint={workdir}")
    evaluated = json.loads((tmp_path / "result.json").read_text())
    for key in ("f1", "accuracy", "f1_changing", "baseline_f1", "step", "config_hash", "num_params"):
        assert evaluated[key] == trained[key], key
    failed = run(
        tmp_path, "--config.mode=eval", f"--config.eval.checkpoint={workdir}", "--config.fold=2", check=False
    )
    assert failed.returncode != 0
    assert "fold: found 1, expected 2" in failed.stderr
    before = (workdir / "result.json").read_bytes()
    run(workdir, "--config.mode=eval")
    assert (workdir / "result.json").read_bytes() == before
    assert json.loads((workdir / "result-eval.json").read_text())["f1"] == trained["f1"]
    failed = run(workdir, "--config.mode=eval", "--config.seed=9", check=False)
    assert failed.returncode != 0
    assert "seed: 0 there, 9 now" in failed.stderr
    failed = run(tmp_path / "empty", "--config.mode=eval", check=False)
    assert failed.returncode != 0
    assert "error: " in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_workdir_of_another_configuration_is_refused(uninterrupted, run):
    workdir, _, _ = uninterrupted
    before = sorted(p.name for p in workdir.rglob("*"))
    failed = run(workdir, "--config.train.weight_decay=0.1", check=False)
    assert failed.returncode != 0
    assert "train.weight_decay: 0.0005 there, 0.1 now" in failed.stderr
    assert sorted(p.name for p in workdir.rglob("*")) == before


def test_divergence_names_the_steps_and_keeps_the_last_good_checkpoint(run, tmp_path):
    failed = run(tmp_path, "--config.train.learning_rate=1e38", check=False)
    assert failed.returncode != 0
    assert "training diverged in steps" in failed.stderr
    assert "Traceback" not in failed.stderr
    for path in (tmp_path / "checkpoints").glob("[0-9]*"):
        params = checkpoints.load_weights(path, names=("params",))[0]["params"]
        assert all(np.isfinite(array).all() for array in params.values())
    assert not (tmp_path / "result.json").exists()


def test_initial_weights_come_from_another_run(uninterrupted, run, tmp_path):
    workdir, _, _ = uninterrupted
    other = ["--config.train.learning_rate=1e-30", "--config.train.weight_decay=0", "--config.train.epochs=1"]
    run(tmp_path / "whole", f"--config.model.init_from={workdir}", *other)
    run(tmp_path / "backbone", f"--config.model.pretrained={workdir}", *other)
    source = checkpoints.load_weights(workdir, names=("params",))[0]["params"]
    for name, prefix in (("whole", ""), ("backbone", "backbone.")):
        params = checkpoints.load_weights(tmp_path / name, names=("params",))[0]["params"]
        same = {key for key, array in params.items() if np.allclose(array, source[key], atol=1e-12)}
        assert same >= {key for key in params if key.startswith(prefix)}
        assert ("classifier.prototypes" in same) == (prefix == "")
    failed = run(
        tmp_path / "wider", f"--config.model.init_from={workdir}", "--config.model.width=16", check=False
    )
    assert failed.returncode != 0
    assert "are not those of this model" in failed.stderr


def test_training_does_not_import_tensorflow(uninterrupted, synthetic_data, environment):
    arguments = command(uninterrupted[0], synthetic_data)[2:]
    script = (
        "import runpy, sys\n"
        f"sys.argv = {arguments!r}\n"
        "try:\n    runpy.run_module('mdhr_jax.main', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
