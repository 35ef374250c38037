from pathlib import Path

import pytest

from mdhr_jax.bench import __main__ as bench
from mdhr_jax.bench import epoch, memory
from mdhr_jax.bench import input as input_rate

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def commands(monkeypatch):
    """What would have been run; training runs have peaks of 1 MiB, 2 MiB and so on."""
    made, trained = [], []

    def peak(command):
        trained.append(command)
        return len(trained) * 2**20

    monkeypatch.setattr(memory.subprocess, "run", lambda command, **_: made.append(command))
    monkeypatch.setattr(memory, "measure_peak", peak)
    return made, trained


def test_the_peak_is_that_of_the_command(run_python):
    # Asked from a small process, as a child's peak includes what its parent held when it was started.
    done = run_python(
        "-c",
        "import sys\n"
        "from mdhr_jax.bench.memory import measure_peak\n"
        "for mib in (0, 200):\n"
        "    print(measure_peak([sys.executable, '-c', f'x = b\"x\" * {mib} * 2**20']))\n",
    )
    assert done.returncode == 0, done.stderr
    small, large = (int(line) / 2**20 for line in done.stdout.splitlines())
    assert small < 100
    assert large - small == pytest.approx(200, abs=15)


def test_videos_and_epochs_grow_one_at_a_time(commands, tmp_path, capsys):
    made, trained = commands
    measured = memory.grow([4, 8], [1, 2, 3], tmp_path)
    mib = 2**20
    assert measured == [(4, 1, mib), (8, 1, 2 * mib), (4, 2, 3 * mib), (4, 3, 4 * mib)]
    assert capsys.readouterr().out.split()[-3:] == ["4", "3", "4"]
    assert all(Path(option(command, "--out")).parent == tmp_path for command in made)
    assert len({option(command, "--workdir") for command in trained}) == len(trained)
    for command, (videos, epochs, _) in zip(trained, measured, strict=True):
        assert f"--config.data.generate.subjects={videos}" in command
        assert f"--config.train.epochs={epochs}" in command


def option(command, name):
    return command[command.index(name) + 1]


def test_a_run_that_fails_shows_its_output(monkeypatch, capfd):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(memory.subprocess, "run", lambda *_, **__: None)  # No data set is made.
    assert bench.main(["memory", "--videos", "3", "--epochs", "0"]) == 1
    assert "config.train.epochs must be positive" in capfd.readouterr().err


def test_a_data_set_that_cannot_be_made_shows_why(monkeypatch, capfd):
    monkeypatch.chdir(REPOSITORY)
    assert bench.main(["memory", "--videos", "0", "--epochs", "1"]) == 1
    assert "subjects must be at least 3" in capfd.readouterr().err


def test_it_runs_from_the_clone_only(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert bench.main(["memory"]) == 2
    assert "run this from the clone" in capsys.readouterr().err


def test_the_input_is_counted_in_frames(synthetic_data):
    (found,) = input_rate.measure([1], str(synthetic_data), "synthetic_bp4d", frames=256, image_size=64)
    assert found["threads"] == 1
    assert found["frames_per_second"] > 0
    assert found["frames_per_core_second"] > 0


def test_training_with_input_is_timed_beside_training_on_one_batch(synthetic_data):
    found = epoch.measure(
        "tiny",
        "float32",
        1,
        clip_length=2,
        repeats=2,
        data=str(synthetic_data),
        dataset="synthetic_bp4d",
        image_size=64,
    )
    assert found["frames"] == 2
    assert found["frames_per_second"] == pytest.approx(2 / found["with_input"])
    assert found["waiting"] == pytest.approx(1 - found["one_batch"] / found["with_input"])
    low, high = found["spread"]
    assert low <= high < 1


def test_data_that_are_not_there_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    assert bench.main(["input", "--data", str(tmp_path)]) == 1
    assert f"looked for {tmp_path}" in capsys.readouterr().out


def test_the_peak_of_a_process_is_not_that_of_the_one_that_started_it(run_python):
    if not Path("/proc/self/status").exists():
        pytest.skip("the system does not tell")
    child = "from mdhr_jax.bench.memory import resident_peak; print(resident_peak())"
    parent = (
        "import subprocess, sys; held = b'1' * 2**29; "
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True); {child}"
    )
    done = run_python("-c", parent)
    of_child, of_parent = map(int, done.stdout.split())
    assert of_child < 2**28 < 2**29 < of_parent
