"""What becomes of several processes on one machine, with processes that only pretend to train."""

import os
import signal

import pytest

from mdhr_jax.distributed import LOST
from mdhr_jax.training.interrupt import SAVED
from tests.launch.started import (
    WORKER,
    alive,
    end,
    kill,
    run,
    signals,
    start,
    wait_for,
    wait_for_workers,
    workers,
)

KILLED = 128 + signal.SIGKILL


def arguments(directory, *behaviours, options=()):
    return ["launch/local.sh", "-n", len(behaviours), *options, "-m", WORKER, "--", directory, *behaviours]


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "workers").mkdir()
    return tmp_path / "workers"


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """Where the launcher keeps output unless it is told where."""
    path = tmp_path / "temporary files"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    return path


def test_all_processes_find_each_other(directory, logs):
    done = run(*arguments(directory, "meet", "meet", "meet"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "this is 0\n"
    found = [worker["environment"] for worker in workers(directory)]
    assert [one["JAX_PROCESS_ID"] for one in found] == ["0", "1", "2"]
    assert {one["JAX_NUM_PROCESSES"] for one in found} == {"3"}
    (address,) = {one["JAX_COORDINATOR_ADDRESS"] for one in found}
    assert address.startswith("127.0.0.1:")
    assert all("JAX_LOCAL_DEVICE_IDS" not in one for one in found)
    assert not list(logs.iterdir())


def test_two_trainings_have_addresses_of_their_own(tmp_path):
    places = [tmp_path / "a", tmp_path / "b"]
    for place in places:
        place.mkdir()
    # The first is told to stop only when the second has ended.
    process = start(*arguments(places[0], "save", "save"))
    wait_for_workers(places[0], 2, process)
    assert run(*arguments(places[1], "meet", "meet")).returncode == 0
    process.send_signal(signal.SIGTERM)
    assert end(process).returncode == SAVED
    addresses = [workers(place)[0]["environment"]["JAX_COORDINATOR_ADDRESS"] for place in places]
    assert addresses[0] != addresses[1]


def test_arguments_arrive_as_they_were_given(directory):
    strange = ["exit:0", "exit:0", "--config=a b", "", "it's", "-n", "--", "$HOME *", "two\nlines"]
    done = run("launch/local.sh", "-n", 2, "-m", WORKER, "--", directory, *strange)
    assert done.returncode == 0, done.stderr
    assert [worker["argv"] for worker in workers(directory)] == [[str(directory), *strange]] * 2
    assert [worker["stdin"] for worker in workers(directory)] == ["", ""]


def test_each_process_has_devices_of_its_own(tmp_path):
    places = [tmp_path / "cpus", tmp_path / "gpus"]
    for place in places:
        place.mkdir()
    cpus = arguments(places[0], "exit:0", "exit:0", options=["-d", 4, "-p", 4321])
    assert run(*cpus, XLA_FLAGS="--xla_of_the_user=1", JAX_PLATFORMS="cuda").returncode == 0
    for worker in workers(places[0]):
        environment = worker["environment"]
        assert environment["JAX_PLATFORMS"] == "cpu"
        flags = "--xla_of_the_user=1 --xla_force_host_platform_device_count=4"
        assert environment["XLA_FLAGS"] == flags
        assert environment["JAX_COORDINATOR_ADDRESS"] == "127.0.0.1:4321"
    gpus = arguments(places[1], "exit:0", "exit:0", options=["-g", 2])
    assert run(*gpus).returncode == 0
    found = [worker["environment"]["JAX_LOCAL_DEVICE_IDS"] for worker in workers(places[1])]
    assert found == ["0,1", "2,3"]


@pytest.mark.parametrize(
    ("behaviours", "code"),
    [
        (["exit:0"], 0),
        (["exit:75", "exit:75"], SAVED),
        (["exit:0", "exit:75"], SAVED),
        (["exit:75", "exit:1"], 1),
        (["exit:3", "fail:4"], 3),
        (["fail:4", "fail:5", "exit:3"], 3),
        (["deaf", "kill"], KILLED),
        (["exit:76", "exit:76"], LOST),
        (["exit:75", "exit:76"], LOST),
        (["deaf", "exit:76"], LOST),
    ],
)
def test_the_exit_code_is_that_of_the_first_that_failed(behaviours, code, directory):
    done = run(*arguments(directory, *behaviours))
    assert done.returncode == code, done.stderr
    # One line, and the output of a process that is not on the terminal.
    told = [line for line in done.stderr.splitlines() if "] this is" not in line]
    assert ["ended with exit code" in line for line in told[1:]] == [True] * (code not in (0, SAVED))
    assert not [worker["pid"] for worker in workers(directory) if alive(worker["pid"])]


@pytest.mark.parametrize("victim", [0, 1])
def test_one_that_is_killed_takes_the_others_down(victim, directory, logs):
    process = start(*arguments(directory, "deaf", "deaf", "deaf"))
    wait_for_workers(directory, 3, process)
    pids = [worker["pid"] for worker in workers(directory)]
    kill(pids[victim])
    done = end(process)
    assert done.returncode == KILLED
    assert f"process {victim} ended with exit code {KILLED}" in done.stderr
    # They are told first, and have the time to say something.
    assert [found for rank, found in enumerate(signals(directory)) if rank != victim] == [["SIGTERM"]] * 2
    assert not [pid for pid in pids if alive(pid)]
    # What they have said is still there.
    (kept,) = logs.iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["process-1.log", "process-2.log"]
    assert (kept / "process-2.log").read_text() == "this is 2\n"
    assert ("[1] this is 1" in done.stderr) == (victim == 1)


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGUSR1", "SIGUSR1"), ("SIGHUP", "SIGTERM")],
)
def test_signals_are_passed_on_to_all(sent, arrives, directory):
    process = start(*arguments(directory, "save", "save", "save"))
    wait_for_workers(directory, 3, process)
    process.send_signal(signal.Signals[sent])
    done = end(process)
    assert done.returncode == SAVED, done.stderr
    assert signals(directory) == [[arrives]] * 3


def test_ctrl_c_in_a_terminal_arrives_once_each_time(directory):
    process = start(*arguments(directory, "save:2", "save:2"))
    wait_for_workers(directory, 2, process)
    for count in (1, 2):
        # The terminal sends it to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        wait_for(lambda: all(len(found) >= count for found in signals(directory)))  # noqa: B023 (used at once)
    assert end(process).returncode == SAVED
    assert signals(directory) == [["SIGINT", "SIGINT"]] * 2


def test_what_processes_have_started_is_ended_too(directory):
    done = run(*arguments(directory, "leave", "leave"))
    assert done.returncode == 0, done.stderr
    children = [worker["child"] for worker in workers(directory)]
    wait_for(lambda: not [pid for pid in children if alive(pid)])


def test_output_is_kept_where_it_is_asked_for(directory, logs, tmp_path):
    kept = tmp_path / "of this run" / "logs"
    assert run(*arguments(directory, "exit:0", "exit:0", options=["-l", kept])).returncode == 0
    assert [path.name for path in kept.iterdir()] == ["process-1.log"]
    assert (kept / "process-1.log").read_text() == "this is 1\n"
    assert not list(logs.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--", "x"], "-n PROCESSES is missing"),
        (["-n", "0", "--", "x"], "-n takes a positive number, found '0'"),
        (["-n", "two", "--", "x"], "found 'two'"),
        (["-n"], "-n needs a value"),
        (["-n", "2", "-x", "--", "x"], "there is no option -x"),
        (["-n", "2", "-d", "2", "-g", "2", "--", "x"], "give one of them"),
        (["-n", "2", "--config", "x"], "behind --"),
        (["-n", "2", "x"], "has to stand behind --"),
    ],
)
def test_wrong_options_are_told_in_one_line(options, message, logs):
    done = run("launch/local.sh", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(logs.iterdir())


def test_a_missing_interpreter_is_told(logs):
    done = run("launch/local.sh", "-n", "2", "--", "x", PYTHON="no such python")
    assert done.returncode == 2
    assert "there is no no such python" in done.stderr


def test_it_says_how_it_is_used():
    done = run("launch/local.sh", "-h")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: launch/local.sh -n PROCESSES")
