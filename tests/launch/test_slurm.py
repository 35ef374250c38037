"""The Slurm scripts against programs that stand in for Slurm's, and processes that only pretend to train."""

import json
import os
import signal
import sys

import pytest

from mdhr_jax.distributed import HUNG, LOST
from mdhr_jax.training.interrupt import SAVED
from tests.launch import stand_ins
from tests.launch.started import (
    REPOSITORY,
    WORKER,
    end,
    run,
    signals,
    start,
    wait_for,
    wait_for_workers,
    workers,
)

ONE = ("launch/slurm.sh", "-m", WORKER)


class Cluster:
    """Slurm as `stand_ins` has it, and a directory for the workers."""

    def __init__(self, root):
        self.root = root
        self.directory = root / "workers"
        self.directory.mkdir()
        self.programs = stand_ins.install(root)

    def run(self, *command, state="RUNNING", **environment):
        return run(*command, path=self.programs, STAND_INS=self.root, STAND_IN_STATE=state, **environment)

    def start_job(self, *command, state="RUNNING"):
        """What Slurm runs on the first node."""
        job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "2"}
        return start(*command, path=self.programs, STAND_INS=self.root, STAND_IN_STATE=state, **job)

    def calls(self, name):
        return stand_ins.calls(self.root, name)

    @property
    def requeued(self):
        return [name for what, name in (call[:2] for call in self.calls("scontrol")) if what == "requeue"]

    @property
    def options(self):
        return json.loads((self.root / "options.json").read_text())


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


def test_a_job_has_one_process_a_node(cluster):
    strange = ["exit:0", "exit:0", "--config=a b", "", "it's", "--", "$HOME *", "two\nlines", "%a"]
    done = cluster.run("sbatch", "--nodes=3", "--cpus-per-task=32", *ONE, cluster.directory, *strange)
    assert done.returncode == 0, done.stderr
    found = workers(cluster.directory)
    assert [worker["argv"] for worker in found] == [[str(cluster.directory), *strange]] * 3
    # JAX finds the others by what Slurm says.
    assert not [name for name in found[0]["environment"] if name in ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES")]
    assert found[0]["environment"]["SRUN_CPUS_PER_TASK"] == "32"
    assert cluster.calls("scontrol") == []
    # One process that dies is not waited for by the others for ever.
    (step,) = cluster.calls("srun")
    assert "--wait=60" in step


def test_a_job_can_have_one_process_a_gpu(cluster):
    done = cluster.run("sbatch", "--nodes=2", "--ntasks-per-node=2", *ONE, cluster.directory, "exit:0")
    assert done.returncode == 0, done.stderr
    assert len(workers(cluster.directory)) == 4


def test_a_job_is_told_before_its_time_is_over_and_keeps_its_log(cluster):
    assert cluster.run("sbatch", *ONE, cluster.directory, "exit:0").returncode == 0
    options = cluster.options
    assert options["signal"].startswith("USR1@")
    assert "requeue" in options
    assert options["open-mode"] == "append"


@pytest.mark.parametrize(
    ("behaviours", "state", "code", "requeued"),
    [
        (["exit:75"], "RUNNING", SAVED, ["100"]),
        (["exit:75", "exit:0"], "RUNNING", SAVED, ["100"]),
        # Somebody cancels the job, or Slurm takes the nodes away and puts it back itself.
        (["exit:75"], "CANCELLED", SAVED, []),
        (["exit:75"], "COMPLETING", SAVED, []),
        (["exit:0"], "RUNNING", 0, []),
        (["exit:1"], "RUNNING", 1, []),
        (["exit:3", "exit:0"], "RUNNING", 3, []),
        (["exit:0", "kill"], "RUNNING", 128 + signal.SIGKILL, []),
        # It has come no further after it had saved something; its machine or another one may be why.
        (["exit:76"], "RUNNING", LOST, ["100"]),
        (["exit:76"], "CANCELLED", LOST, []),
        # Hung before anything was saved: an error. Or one was killed, perhaps for want of memory.
        ([f"exit:{HUNG}"], "RUNNING", HUNG, []),
        (["exit:76", "kill"], "RUNNING", 128 + signal.SIGKILL, []),
        # Told before Python has loaded the program, or behind its last step.
        (["exit:75", "kill:SIGUSR1"], "RUNNING", 128 + signal.SIGUSR1, ["100"]),
    ],
)
def test_only_what_can_go_on_goes_back_into_the_queue(behaviours, state, code, requeued, cluster):
    done = cluster.run("sbatch", "--nodes=2", *ONE, "--", cluster.directory, *behaviours, state=state)
    assert done.returncode == code, done.stderr
    assert cluster.requeued == requeued
    assert ("goes back into the queue" in done.stderr) == bool(requeued)


def test_what_slurm_does_not_put_back_has_saved_all_the_same(cluster):
    done = cluster.run("sbatch", *ONE, cluster.directory, "exit:75", STAND_IN_REFUSES="yes")
    assert done.returncode == SAVED
    assert "Slurm does not put job 100 back; start it again to go on" in done.stderr


def test_a_task_of_an_array_goes_back_alone(cluster):
    directories = [cluster.root / f"fold {number}" for number in (2, 3)]
    for directory in directories:
        directory.mkdir()
    arguments = [cluster.root / "fold %a", "exit:75", "--config.fold=%a"]
    done = cluster.run("sbatch", "--array=2-3", *ONE, *arguments)
    assert done.returncode == SAVED, done.stderr
    found = [workers(directory)[0]["argv"] for directory in directories]
    assert found == [
        [str(directory), "exit:75", f"--config.fold={number}"]
        for number, directory in zip((2, 3), directories, strict=True)
    ]
    # By the number of the array alone, its other tasks would be put back as well.
    assert cluster.requeued == ["100_2", "100_3"]


@pytest.mark.parametrize("state", ["CANCELLED", "RUNNING"])
def test_the_job_waits_for_what_saves(state, cluster):
    process = cluster.start_job(*ONE, cluster.directory, "save", state=state)
    wait_for_workers(cluster.directory, 2, process)
    # Slurm tells the shell and the processes.
    process.send_signal(signal.SIGTERM)
    pids = [worker["pid"] for worker in workers(cluster.directory)]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    done = end(process)
    assert done.returncode == SAVED, done.stderr
    assert cluster.requeued == (["7"] if state == "RUNNING" else [])


def test_a_job_that_is_cancelled_saves_though_all_of_it_gets_term(cluster):
    process = cluster.start_job(*ONE, cluster.directory, "save", state="CANCELLED")
    wait_for_workers(cluster.directory, 2, process)
    os.killpg(process.pid, signal.SIGTERM)
    done = end(process)
    assert done.returncode == SAVED, done.stderr
    assert cluster.requeued == []


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGUSR1])
def test_what_only_the_script_is_told_makes_the_processes_save(sent, cluster):
    # Those that save at their second signal would be killed by a srun that gets TERM.
    process = cluster.start_job(*ONE, cluster.directory, "save:2", "save")
    wait_for_workers(cluster.directory, 2, process)
    process.send_signal(sent)
    wait_for(lambda: signals(cluster.directory) == [["SIGUSR1"]] * 2, process)
    process.send_signal(sent)
    done = end(process)
    # The second signal may find the one that has saved at its very end, which is the same to the script.
    assert done.returncode in (SAVED, 128 + signal.SIGUSR1), done.stderr
    assert signals(cluster.directory)[0] == ["SIGUSR1"] * 2
    assert cluster.requeued == ["7"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "x"], "this is no Slurm job; start it with sbatch"),
        ([], "there is nothing to run"),
        (["-m", "module", "--"], "there is nothing to run"),
        (["-m"], "-m needs the name of a module"),
    ],
)
def test_wrong_use_is_told_in_one_line(arguments, message):
    done = run("launch/slurm.sh", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_rows_of_tables_are_submitted_as_an_array(cluster):
    runs = cluster.root / "the runs"
    tables = ["--table", "3", "--rows", "mfd,hsr", "--folds", "1", "--laptop", "--data", cluster.root]
    done = cluster.run(
        "launch/slurm_array.sh", "--time=1:00:00", "-v", "--", *tables, "--runs", runs, STAND_IN_SRUN=SAVED
    )
    assert done.returncode == SAVED, done.stderr
    assert cluster.options["time"] == "1:00:00"
    assert cluster.options["array"] == "0-1%4"
    assert cluster.options["signal"].startswith("USR1@")
    first, second = cluster.calls("srun")
    at = first.index(sys.executable)
    assert first[at + 1 : at + 3] == ["-m", "mdhr_jax.main"]
    assert [step[step.index("--workdir") + 1].startswith(f"{runs}/") for step in (first, second)] == [
        True
    ] * 2
    assert first != second
    assert cluster.requeued == ["100_0", "100_1"]
    # Slurm has its copy.
    assert not list(cluster.root.glob("mdhr-array*"))


@pytest.mark.parametrize(("code", "said"), [(0, "nothing is left"), (1, "there is no row")])
def test_nothing_is_submitted_where_nothing_is_left_or_all_is_wrong(code, said, cluster):
    planner = cluster.root / "python"
    planner.write_text(f"#!/bin/sh\necho {said} >&2\nexit {code}\n")
    planner.chmod(0o755)
    done = cluster.run("launch/slurm_array.sh", "--", "--table", "3", PYTHON=planner)
    assert (done.returncode, done.stderr) == (code, f"{said}\n")
    assert cluster.calls("sbatch") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--time=1"], "have to stand behind --"),
        (["--"], "which tables?"),
        (["--time", "1", "--", "--table", "3"], "'1' is not understood; write options of sbatch as --OPTION"),
    ],
)
def test_wrong_use_of_the_array_is_told_in_one_line(arguments, message, cluster):
    done = cluster.run("launch/slurm_array.sh", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert cluster.calls("sbatch") == []


@pytest.mark.parametrize("script", sorted(path.name for path in (REPOSITORY / "launch").glob("*.sh")))
def test_each_script_says_how_it_is_used(script):
    done = run(f"launch/{script}", "-h")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: ")
    assert f"launch/{script}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 110
