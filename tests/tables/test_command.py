"""``python -m mdhr_jax.tables`` as it is typed, with real training of the smallest kind."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mdhr_jax.training import workdir

REPOSITORY = Path(__file__).parents[2]
EPOCHS = 40  # Four training videos, four clips a batch: one step an epoch.
TINY = [
    "--config.data.generate.preset=easy",
    "--config.data.generate.subjects=6",
    "--config.data.generate.frames=24",
    "--config.model.width=8",
    "--config.data.image_size=64",
    "--config.data.clip_length=4",
    f"--config.train.epochs={EPOCHS}",
    "--config.eval.every_epochs=20",
    "--config.checkpoint.every_steps=1",
    "--config.log.every_steps=2",
]


def command(*arguments):
    return [sys.executable, "-m", "mdhr_jax.tables", *map(str, arguments)]


def tables(environment, *arguments, cwd=REPOSITORY):
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )


@pytest.mark.slow
def test_two_rows_are_trained_stopped_in_the_middle_and_continued(environment, synthetic_data, tmp_path):
    runs = tmp_path / "runs"
    asked = ["--table", "3", "--table", "4", "--rows", "backbone,afe,baseline", "--folds", "1", "--laptop"]
    asked += ["--data", synthetic_data, "--runs", runs, *TINY]
    first, second = (runs / "synthetic_bp4d" / model / "fold1-seed0-paper" for model in ("tiny", "tiny+afe"))

    log = (tmp_path / "stopped.txt").open("w+")
    with (
        log,
        subprocess.Popen(command("run", *asked), cwd=REPOSITORY, env=environment, stderr=log) as process,
    ):
        while not workdir.holds_run(first):
            assert process.poll() is None, (tmp_path / "stopped.txt").read_text()
            time.sleep(0.05)
        status = tables(environment, "status", *asked)
        assert status.returncode == 0, status.stderr
        assert status.stdout.splitlines()[1].startswith("running")
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 130
    said = (tmp_path / "stopped.txt").read_text()
    assert "0 of 2 runs finished, 2 not started or stopped" in said
    assert not (first / "result.json").exists()
    assert not second.exists()

    status = tables(environment, "status", *asked).stdout
    assert "interrupted" in status
    assert "3:afe, 4:baseline" in status
    assert status.rstrip().endswith("1 interrupted, 1 missing")
    plan = tables(environment, "plan", *asked).stdout.splitlines()
    assert len(plan) == 2
    assert all(line.startswith("python -m mdhr_jax.main --config configs/tables.py:table=3") for line in plan)

    done = tables(environment, "run", *asked)
    assert done.returncode == 0, done.stderr
    assert "continuing table 3 backbone" in done.stderr
    assert "2 of 2 runs finished; in" in done.stderr
    output = (first / "output.log").read_text()
    assert "told to stop: saved after step" in output
    assert "continuing after step" in output
    for directory, switches in ((first, (False, False)), (second, (True, False))):
        config = json.loads((directory / "config.json").read_text())
        assert (config["model"]["afe"], config["model"]["mfd"]) == switches
        result = json.loads((directory / "result.json").read_text())
        assert result["step"] in (EPOCHS // 2, EPOCHS)

    before = (second / "result.json").stat().st_mtime_ns
    again = tables(environment, "run", *asked)
    assert again.returncode == 0
    assert "starting" not in again.stderr
    assert (second / "result.json").stat().st_mtime_ns == before
    assert tables(environment, "plan", *asked).stdout == ""

    other = tables(environment, "run", *asked, "--config.train.learning_rate=0.5")
    assert other.returncode == 2
    assert "train.learning_rate: 0.002 there, 0.5 now" in other.stderr
    assert "Traceback" not in other.stderr


def test_a_failing_run_shows_the_end_of_its_log(environment, synthetic_data, tmp_path):
    # Six subjects lie there: a set of seven cannot be made in their place.
    data = tmp_path / "data"
    shutil.copytree(synthetic_data, data)
    asked = ["--table", "3", "--rows", "backbone,mfd", "--folds", "1", "--laptop", "--data", data]
    asked += ["--runs", tmp_path / "runs", *TINY, "--config.data.generate.subjects=7"]
    done = tables(environment, "run", *asked, "--keep-going")
    assert done.returncode == 1
    assert done.stderr.count("the end of") == 2
    assert "  | error: the synthetic data set could not be made" in done.stderr
    assert "0 of 2 runs finished, 2 failed" in done.stderr
    status = tables(environment, "status", *asked).stdout
    assert "2 failed" in status
    assert "exit code 1" in status


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["run", "--table", "9"], ["error: there is no table '9'; choose one of 1, 2, 3, 4, 5, k"]),
        (["run", "--table", "3", "--rows", "all"], ["has the row all", "table 3: backbone, mfd"]),
        (["run", "--table", "3", "--weights", "none"], ["no BP4D data set", "data_prep.bp4d"]),
        (["run", "--table", "3", "--folds", "one"], ["expected numbers such as 1,2,3, found 'one'"]),
        (["run", "--table", "3", "--colour", "red"], ["unexpected: --colour red"]),
        (["run"], ["--table"]),
        (["train", "--table", "3"], ["invalid choice: 'train'"]),
    ],
)
def test_mistakes_end_with_a_short_message(arguments, messages, environment, tmp_path):
    places = ["--data", tmp_path / "data", "--runs", tmp_path / "runs"]
    done = tables(environment, *arguments, *places)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for message in messages:
        assert message in done.stderr
    assert not (tmp_path / "runs").exists()


def test_weights_are_asked_for_once_before_anything_starts(environment, data_dir, tmp_path):
    places = ["--data", data_dir, "--runs", tmp_path / "runs", "--weights", tmp_path / "weights"]
    done = tables(environment, "run", "--table", "3", "--table", "1", *places)
    assert done.returncode == 2
    assert done.stderr.count("python -m mdhr_jax.convert") == 2
    assert "--weights none" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_slurm_gets_what_is_left(environment, tmp_path):
    places = ["--data", tmp_path, "--runs", tmp_path / "runs"]
    script = tmp_path / "array.sh"
    done = tables(environment, "plan", "--table", "3", *places, "--slurm", script)
    assert done.returncode == 0, done.stderr
    assert "27 tasks for 27 runs" in done.stderr
    text = script.read_text()
    assert "#SBATCH --array=0-26\n" in text
    assert text.count("bash launch/slurm.sh -m mdhr_jax.main") == 27
    subprocess.run(["bash", "-n", str(script)], check=True)
