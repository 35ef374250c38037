"""The script for TPU pods against a program that stands in for gcloud; processes only pretend to train."""

import os
import signal
import sys

import pytest

from mdhr_jax.training.interrupt import SAVED
from tests.launch import stand_ins
from tests.launch.started import REPOSITORY, WORKER, end, run, signals, start, wait_for_workers, workers

POD = ("launch/tpu_pod.sh", "-t", "pod", "-z", "zone")


class Pod:
    """Two workers as `stand_ins` has them, which see the same directory."""

    def __init__(self, root):
        self.root = root
        self.directory = root / "workers"
        self.directory.mkdir()
        self.programs = stand_ins.install(root)
        for number in range(stand_ins.WORKERS):
            home = root / f"worker {number}"
            home.mkdir()
            (home / "the clone").symlink_to(REPOSITORY)

    def start(self, *arguments, options=()):
        command = [*POD, "-d", "the clone", "-y", sys.executable, "-m", WORKER, *options]
        return start(*command, "--", *arguments, path=self.programs, STAND_INS=self.root)


@pytest.fixture
def pod(tmp_path):
    return Pod(tmp_path)


def test_all_workers_run_the_same_command(pod):
    strange = ["exit:0", "exit:0", "--config=a b", "", "it's", "--", "$HOME *", "two\nlines"]
    done = end(pod.start(pod.directory, *strange, options=["-p", "a-project"]))
    assert done.returncode == 0, done.stderr
    assert [worker["argv"] for worker in workers(pod.directory)] == [[str(pod.directory), *strange]] * 2
    (call,) = stand_ins.calls(pod.root, "gcloud")
    assert call[:8] == [
        *("compute", "tpus", "tpu-vm", "ssh", "pod"),
        *("--zone=zone", "--project=a-project", "--worker=all"),
    ]


@pytest.mark.parametrize(("behaviours", "code"), [(["exit:75"], SAVED), (["exit:0", "exit:3"], 3)])
def test_the_exit_code_is_that_of_the_workers(behaviours, code, pod):
    assert end(pod.start(pod.directory, *behaviours)).returncode == code


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_workers_are_told_to_save(sent, pod):
    process = pod.start(pod.directory, "save")
    wait_for_workers(pod.directory, 2, process)
    # As in a terminal, to the whole group: the connections must outlast it.
    os.killpg(process.pid, sent)
    done = end(process)
    assert done.returncode == SAVED, done.stderr
    assert signals(pod.directory) == [["SIGTERM"]] * 2


def test_a_second_training_leaves_the_first_alone(pod, tmp_path):
    process = pod.start(pod.directory, "save")
    wait_for_workers(pod.directory, 2, process)
    second = end(pod.start(tmp_path, "exit:0"))
    assert second.returncode == 1
    assert second.stderr.count("has the TPU of") == 2
    # It is still the first that is told.
    process.send_signal(signal.SIGTERM)
    assert end(process).returncode == SAVED
    assert signals(pod.directory) == [["SIGTERM"]] * 2


def test_a_number_that_another_process_has_by_now_refuses_nothing(pod):
    # Left by a training that has ended; the number is that of a process that lives.
    for number in range(stand_ins.WORKERS):
        (pod.root / f"worker {number}" / "mdhr-tpu-pod.pid").write_text(f"{os.getpid()}\n")
    done = end(pod.start(pod.directory, "exit:0"))
    assert done.returncode == 0, done.stderr
    assert len(workers(pod.directory)) == 2
    # Once more: what has ended has nothing.
    assert end(pod.start(pod.directory, "exit:0")).returncode == 0


def test_a_missing_clone_is_told(pod):
    for number in range(stand_ins.WORKERS):
        (pod.root / f"worker {number}" / "the clone").unlink()
    done = end(pod.start(pod.directory, "exit:0"))
    assert done.returncode == 1
    assert "the clone" in done.stderr
    assert workers(pod.directory) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-z", "zone", "--", "x"], "-t NAME is missing"),
        (["-t", "pod", "--", "x"], "-z ZONE is missing"),
        (["-t", "pod", "-z", "zone", "x"], "has to stand behind --"),
        (["-t", "pod", "-z", "zone", "--"], "there is nothing to run"),
        (["-t", "pod", "-z"], "-z needs a value"),
        (["-t", "pod", "-n", "2"], "there is no option -n"),
    ],
)
def test_wrong_options_are_told_in_one_line(arguments, message, pod):
    done = run("launch/tpu_pod.sh", *arguments, path=pod.programs, STAND_INS=pod.root)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert stand_ins.calls(pod.root, "gcloud") == []
