"""``python -m mdhr_jax.tables`` as it is typed, with real training of the smallest kind."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mdhr_jax.tables.__main__ import main
from mdhr_jax.training import workdir
from tests.report import made_runs

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
    assert "\n1 interrupted, 1 not started\n" in status
    assert re.search(rf"interrupted +step \d+ of {EPOCHS}, \d+%", status)
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
        (["plan", "--table", "3", "--slurm-time", "1:00:00"], ["need --slurm FILE"]),
        (["plan", "--table", "3", "--slurm", "x.sh", "--slurm-time", "5h"], ["'5h' is not understood"]),
        (["plan", "--table", "3", "--slurm", "x.sh", "--slurm-at-once", "0"], ["expected 1 or more"]),
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
    assert "#SBATCH --array=0-26%4\n" in text
    assert "#SBATCH --time=08:00:00\n" in text
    assert "#SBATCH --mem=32G\n" in text
    assert "#SBATCH --cpus-per-task=8\n" in text
    assert "about 1.2 hours a run" in text
    # In place of the script, which gets signals that are for the launcher.
    assert text.count("exec bash launch/slurm.sh -m mdhr_jax.main") == 27
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_slurm_is_told_what_the_site_needs_and_how_long_finished_runs_took(environment, tmp_path):
    runs, script = tmp_path / "runs", tmp_path / "array.sh"
    config = made_runs.config_of("3", "mfd")
    made_runs.finish(made_runs.directory_of(runs, config), config)
    asked = ["--table", "3", "--laptop", "--folds", "1", "--data", tmp_path, "--runs", runs]
    options = ["--slurm-time", "1-00", "--slurm-mem", "64G", "--slurm-cpus", "12", "--slurm-at-once", "2"]
    done = tables(environment, "plan", *asked, "--slurm", script, *options)
    assert done.returncode == 0, done.stderr
    text = script.read_text()
    for line in ("time=1-00", "mem=64G", "cpus-per-task=12", "array=0-7%2"):
        assert f"#SBATCH --{line}\n" in text
    assert "the longest of 1 finished runs took 1s" in text
    assert "the longest of 1 finished runs took 1s" in done.stderr


def test_status_without_a_table_shows_the_runs_that_there_are(tmp_path, capsys):
    runs = tmp_path / "runs"
    for row, changes in (("mfd", {"seed": 4}), ("afe", {"protocol": "honest"})):
        config = made_runs.config_of("3", row, fold=2, **changes)
        made_runs.finish(made_runs.directory_of(runs, config), config)
    asked = ["status", "--runs", str(runs)]
    assert main([*asked, "--laptop"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"finished +100% +[0-9.]+ +2 +4 +paper +3:mfd ", shown)
    assert re.search(r"finished +100% +[0-9.]+ +2 +0 +honest +3:afe, 4:baseline ", shown)
    assert "\n2 finished\n" in shown
    assert "more runs of these folds, seeds and protocols have no directory" in shown
    assert main([*asked, "--laptop", "--table", "5"]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("5:aux") == 4 * 2 * 2  # Seeds and protocols that there are runs of.
    assert "not started: nothing is saved" in shown.out
    assert shown.err == ""


def test_who_forgets_the_scale_is_told(tmp_path, capsys):
    runs = tmp_path / "runs"
    config = made_runs.config_of("3", "mfd")
    made_runs.finish(made_runs.directory_of(runs, config), config)
    assert main(["status", "--runs", str(runs)]) == 0
    shown = capsys.readouterr()
    assert "are of laptop scale; with --laptop they are meant" in shown.err
    assert f"no run of the tables is in {runs}" in shown.out
    full = made_runs.config_of("3", "mfd", scale="full")
    (tmp_path / "full").mkdir()
    made_runs.finish(made_runs.directory_of(tmp_path / "full", full), full)
    assert main(["status", "--table", "3", "--laptop", "--runs", str(tmp_path / "full")]) == 0
    assert "are of full scale; without --laptop they are meant" in capsys.readouterr().err
