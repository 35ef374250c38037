"""Processes that hear what ends one of them, and that stop together."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mdhr_jax.distributed import HUNG, LOST
from tests.distributed.line_worker import GAINED, SILENT_SECONDS, STEP_SECONDS, WORD
from tests.processes import REPOSITORY, free_port


def run(*behaviours, points=2000, afterwards=None):
    """Runs a process for each behaviour; gives exit codes, and what each wrote to its outputs."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "tests.distributed.line_worker", address, str(len(behaviours))]
    started = [
        subprocess.Popen(
            [*command, str(number), str(points), behaviour],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, behaviour in enumerate(behaviours)
    ]
    try:
        if afterwards is not None:
            afterwards(started)
        said = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    return [process.returncode for process in started], *map(list, zip(*said, strict=True))


@pytest.mark.parametrize(
    "behaviours",
    [("", "stop:5", ""), ("stop:5", ""), ("stop:9", "stop:2", "stop:4")],
)
def test_all_stop_at_one_point_that_none_has_passed(behaviours):
    codes, outputs, errors = run(*behaviours)
    assert codes == [0] * len(behaviours), errors
    (where,) = set(outputs)
    first = min(int(behaviour.partition(":")[2]) for behaviour in behaviours if behaviour)
    point = int(where.split()[2])
    assert first <= point < 2000
    assert where == f"stopped at {point}\ndone\n"


def test_nobody_stops_where_nobody_is_told_to():
    codes, outputs, errors = run("", "", points=20)
    assert (codes, outputs) == ([0, 0], ["done\n"] * 2), errors


@pytest.mark.parametrize("who", [0, 2])
def test_a_process_that_fails_ends_all_with_its_message(who):
    behaviours = [""] * 3
    behaviours[who] = "fail:5"
    codes, outputs, errors = run(*behaviours)
    assert codes == [3] * 3
    assert errors == [f"error: process {who} on node{who}: {WORD}\n"] * 3
    assert outputs == [""] * 3


@pytest.mark.parametrize("who", [0, 2])
def test_a_process_that_is_killed_ends_all_and_is_named(who):
    behaviours = [""] * 3
    behaviours[who] = "kill:5"
    codes, _, errors = run(*behaviours)
    assert codes.pop(who) == -signal.SIGKILL
    assert errors.pop(who) == ""
    assert codes == [LOST] * 2
    for error in errors:
        assert error.startswith(f"error: process {who} on node{who} is gone: ")
        assert len(error.splitlines()) == 1


@pytest.mark.parametrize("who", [0, 1])
def test_a_process_that_is_stopped_ends_all_and_ends_when_it_goes_on(who):
    def wake(started):
        other = started[1 - who]
        assert other.wait(timeout=60) == LOST
        os.kill(started[who].pid, signal.SIGCONT)

    behaviours = ["", ""]
    behaviours[who] = "freeze:5"
    codes, _, errors = run(*behaviours, afterwards=wake)
    assert codes == [LOST] * 2
    named = f"process {who} on node{who} has not been heard of for {SILENT_SECONDS:g} s"
    assert errors[1 - who].startswith(f"error: {named} (config.distributed.silent_timeout)")
    assert errors[who].startswith("error: process ")


def test_processes_that_were_all_stopped_go_on():
    def stop_all(started):
        time.sleep(1.5)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for process in started:
                os.kill(process.pid, number)
            time.sleep(SILENT_SECONDS + 1)

    codes, outputs, errors = run("", "", points=150, afterwards=stop_all)
    assert codes == [0, 0], errors
    assert outputs == ["done\n"] * 2


def test_a_process_that_comes_no_further_ends_all():
    codes, _, errors = run("", "hang:5", "")
    assert codes == [HUNG] * 3
    named = f"error: process 1 on node1 has come no further for {STEP_SECONDS:g} s"
    (message,) = set(errors)
    assert message.startswith(f"{named} (config.distributed.step_timeout), after point 5: ")
    assert "Furthest behind is process 1 on node1, after point 5. " in message


def test_what_hangs_after_something_was_saved_can_go_on(monkeypatch):
    monkeypatch.setenv(GAINED, "yes")
    codes, _, errors = run("", "hang:5")
    assert codes == [LOST] * 2
    (message,) = set(errors)
    assert message.endswith(" The same command goes on from what is saved\n")


@pytest.mark.parametrize("who", [0, 1])
def test_a_process_that_hangs_at_the_start_ends_all(who):
    behaviours = ["", ""]
    behaviours[who] = "open"
    codes, _, errors = run(*behaviours)
    assert codes == [HUNG] * 2
    (message,) = set(errors)
    assert f"process {who} on node{who} has come no further for {STEP_SECONDS:g} s" in message
    assert "(config.distributed.step_timeout), at the start: " in message
    assert message.endswith(" from what is saved, to which nothing was added since the start\n")


def test_where_all_hang_at_nearly_the_same_time_one_is_heard():
    codes, _, errors = run("hang:5", "hang:6", "hang:4", "hang:5")
    assert codes == [HUNG] * 4
    (message,) = set(errors)
    assert "Furthest behind is process 2 on node2, after point 4. " in message


def test_what_takes_time_is_waited_for_and_who_is_done_may_go():
    codes, outputs, errors = run("", "leave:2", "slow:1000", points=3)
    assert (codes, outputs) == ([0] * 3, ["done\n"] * 3), errors
