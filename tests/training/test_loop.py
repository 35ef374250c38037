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
from mdhr_jax.training.interrupt import SAVED
from tests.quick import STEPS, command

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]


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
    """A finished run: its directory and output."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    done = subprocess.run(
        command(workdir, synthetic_data), cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def final_state(workdir):
    path = workdir / "checkpoints" / str(STEPS)
    return checkpoints.load_weights(path, names=("params", "batch_stats", "opt_state", "rng", "step"))[0]


def leaves(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def result_of(workdir, name="result.json"):
    return json.loads((workdir / name).read_text())


def without_clock(line):
    return {k: v for k, v in line.items() if k not in ("frames_per_second", "seconds")}


def log_without_clock(workdir, kind):
    return list(map(without_clock, logs.read_log(workdir, kind)))


def last_saved(workdir):
    steps = [int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit()]
    return max(steps, default=0)


def assert_same_run(workdir, expected):
    """State, log and result are those of the other run; only the clock may differ."""
    found, wanted = dict(leaves(final_state(workdir))), dict(leaves(final_state(expected)))
    assert found.keys() == wanted.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)

    evaluations = log_without_clock(workdir, "eval")
    assert evaluations == log_without_clock(expected, "eval")
    assert [line["step"] for line in evaluations] == list(range(2, STEPS + 1, 2))
    assert without_clock(result_of(workdir)) == without_clock(result_of(expected))


def test_a_run_prints_a_table_and_writes_its_result(uninterrupted):
    workdir, output = uninterrupted
    result = result_of(workdir)
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
    expected, _ = uninterrupted
    workdir, said = tmp_path / "run", tmp_path / "stderr.txt"
    written = [(expected / "checkpoints" / str(step)).stat().st_mtime for step in (STEPS - 1, STEPS)]
    seconds_a_step = written[1] - written[0]
    moments = random.Random(0)
    for _ in range(3):
        before = last_saved(workdir)
        with said.open("w") as stderr:
            process = subprocess.Popen(
                command(workdir, synthetic_data),
                cwd=REPOSITORY,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        deadline = time.monotonic() + 300
        while last_saved(workdir) == before:
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 2) * seconds_a_step)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        continued = f"continuing after step {before} of {STEPS}" in said.read_text()
        assert continued == (before > 0)
    assert f"continuing after step {last_saved(workdir)} of {STEPS}" in run(workdir).stderr
    assert_same_run(workdir, expected)
    assert log_without_clock(workdir, "train") == log_without_clock(expected, "train")


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
    assert process.returncode in (0, SAVED), output
    saved = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit())
    assert saved
    if saved[-1] < STEPS:
        assert process.returncode == SAVED
        assert "told to stop: saved after step" in output
        assert not (tmp_path / "result.json").exists()
    run(tmp_path)
    assert_same_run(tmp_path, uninterrupted[0])


def test_a_finished_run_is_not_trained_again(uninterrupted, run):
    workdir, _ = uninterrupted
    before = (workdir / logs.FILE_NAME).read_bytes()
    run(workdir)
    assert (workdir / logs.FILE_NAME).read_bytes() == before


def test_evaluation_of_the_best_checkpoint_repeats_its_result(uninterrupted, run, tmp_path):
    workdir, _ = uninterrupted
    trained = result_of(workdir)
    run(tmp_path, "--config.mode=eval", f"--config.eval.checkpoint={workdir}")
    assert without_clock(result_of(tmp_path)) == without_clock(trained)
    failed = run(
        tmp_path, "--config.mode=eval", f"--config.eval.checkpoint={workdir}", "--config.fold=2", check=False
    )
    assert failed.returncode != 0
    assert "fold: found 1, expected 2" in failed.stderr
    before = (workdir / "result.json").read_bytes()
    run(workdir, "--config.mode=eval")
    assert (workdir / "result.json").read_bytes() == before
    assert result_of(workdir, "result-eval.json")["f1"] == trained["f1"]
    failed = run(workdir, "--config.mode=eval", "--config.seed=9", check=False)
    assert failed.returncode != 0
    assert "seed: 0 there, 9 now" in failed.stderr
    failed = run(tmp_path / "empty", "--config.mode=eval", check=False)
    assert failed.returncode != 0
    assert "error: " in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    "option", ["train.ema=0.9", "train.accumulate=2", "data.last_batch=partial"], ids=lambda option: option
)
def test_evaluation_repeats_the_result_of_every_way_to_train(option, run, tmp_path):
    # Three of four clips a batch leave one over in an epoch; two micro-batches need an even number.
    batch_size = 3 if "partial" in option else 4
    overrides = [
        f"--config.{option}",
        f"--config.train.batch_size={batch_size}",
        "--config.train.epochs=4",
        "--config.checkpoint.every_steps=0",
        *(f"--config.model.{module}=False" for module in ("mfd", "crm", "tcn")),
    ]
    run(tmp_path, *overrides)
    assert logs.read_log(tmp_path, "train")[-1]["step"] == (8 if "partial" in option else 4)
    run(tmp_path, "--config.mode=eval", *overrides)
    assert without_clock(result_of(tmp_path, "result-eval.json")) == without_clock(result_of(tmp_path))


def test_a_workdir_of_another_configuration_is_refused(uninterrupted, run):
    workdir, _ = uninterrupted
    before = sorted(p.name for p in workdir.rglob("*"))
    failed = run(workdir, "--config.train.weight_decay=0.1", check=False)
    assert failed.returncode != 0
    assert "train.weight_decay: 0.0005 there, 0.1 now" in failed.stderr
    assert sorted(p.name for p in workdir.rglob("*")) == before


def test_divergence_names_its_steps_and_keeps_the_checkpoint_before(run, tmp_path):
    # Decay this strong multiplies every weight by -20000 a step, until float32 ends.
    diverging = "--config.train.weight_decay=1e7"
    failed = run(tmp_path, diverging, check=False)
    assert failed.returncode != 0
    assert "Traceback" not in failed.stderr
    kept = last_saved(tmp_path)
    assert 0 < kept < STEPS
    assert f"training diverged in steps {kept + 1} to {kept + 1}: " in failed.stderr
    assert f"that of step {kept} is kept" in failed.stderr
    state = checkpoints.load_weights(
        tmp_path / "checkpoints" / str(kept), names=("params", "batch_stats", "opt_state")
    )[0]
    assert all(np.isfinite(array).all() for _, array in leaves(state))

    again = run(tmp_path, diverging, check=False)
    assert again.returncode == failed.returncode
    assert f"continuing after step {kept} of {STEPS}" in again.stderr
    assert again.stderr.partition("error: ")[2] == failed.stderr.partition("error: ")[2]
    assert last_saved(tmp_path) == kept
    assert not (tmp_path / "result.json").exists()


def test_initial_weights_come_from_another_run(uninterrupted, run, tmp_path):
    workdir, _ = uninterrupted
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
    assert "model.width: found 8, expected 16" in failed.stderr


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
