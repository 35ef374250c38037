"""Stands in for what starts processes on a cluster; each is a program that tests put on the PATH.

Each call is a line of ``$STAND_INS/calls.jsonl``, its name and arguments.

``sbatch`` runs the script at once, as a copy elsewhere, each task of an array after the other, and ends with
the highest exit code. ``srun`` runs the tasks of a step together and ends with the highest exit code; it
passes USR1 on to them and kills them when it gets TERM, if the job is running, as the real one does. With
``$STAND_IN_SRUN`` it ends with that code and runs nothing. ``scontrol`` shows each job in state
``$STAND_IN_STATE``, and refuses to put it back where there is ``$STAND_IN_REFUSES``. ``gcloud`` runs the
command on two workers, which are directories of ``$STAND_INS``.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

NAMES = ("sbatch", "srun", "scontrol", "gcloud")
JOB = 100
WORKERS = 2


def install(directory):
    """Writes the programs; returns the directory for the PATH."""
    programs = directory / "bin"
    programs.mkdir(parents=True)
    for name in NAMES:
        program = programs / name
        # By a shell, because a path in the first line can be too long or have spaces.
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        program.chmod(0o755)
    return programs


def calls(directory, name):
    """Arguments of each call of a program."""
    file = directory / "calls.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [arguments for called, *arguments in map(json.loads, lines) if called == name]


def main(name, arguments):
    directory = Path(os.environ["STAND_INS"])
    with (directory / "calls.jsonl").open("a") as file:
        file.write(json.dumps([name, *arguments]) + "\n")
    return {"sbatch": sbatch, "srun": srun, "scontrol": scontrol, "gcloud": gcloud}[name](
        arguments, directory
    )


def split(arguments):
    """Options before the first argument that is none, and the rest; a value stands behind ``=``."""
    count = next((i for i, argument in enumerate(arguments) if not argument.startswith("-")), len(arguments))
    options = dict(option.removeprefix("--").partition("=")[::2] for option in arguments[:count])
    return options, arguments[count:]


def sbatch(arguments, directory):
    options, (script, *rest) = split(arguments)
    lines = Path(script).read_text().splitlines()
    head = lines[: next(i for i, line in enumerate(lines) if line and not line.startswith("#"))]
    in_script = [line.removeprefix("#SBATCH ") for line in head if line.startswith("#SBATCH ")]
    options = split(in_script)[0] | options
    (directory / "options.json").write_text(json.dumps(options))
    copy = directory / "spool" / "slurm_script"
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(script, copy)
    nodes = int(options.get("nodes", 1))
    job = {
        "SLURM_JOB_NUM_NODES": str(nodes),
        "SLURM_NTASKS": str(nodes * int(options["ntasks-per-node"])),
    }
    if "cpus-per-task" in options:
        job["SLURM_CPUS_PER_TASK"] = options["cpus-per-task"]
    jobs = [job | {"SLURM_JOB_ID": str(JOB)}]
    if "array" in options:
        first, _, last = options["array"].partition("%")[0].partition("-")
        tasks = range(int(first), int(last or first) + 1)
        # The last task has the number of the array itself.
        jobs = [
            job
            | {
                "SLURM_JOB_ID": str(JOB if task == tasks[-1] else JOB + 1 + number),
                "SLURM_ARRAY_JOB_ID": str(JOB),
                "SLURM_ARRAY_TASK_ID": str(task),
            }
            for number, task in enumerate(tasks)
        ]
    ended = [subprocess.run([str(copy), *rest], env={**os.environ, **job}).returncode for job in jobs]
    return max(ended)


def srun(arguments, directory):
    _, command = split(arguments)
    if "STAND_IN_SRUN" in os.environ:
        return int(os.environ["STAND_IN_SRUN"])
    tasks, nodes = int(os.environ["SLURM_NTASKS"]), int(os.environ["SLURM_JOB_NUM_NODES"])
    started = []

    def receive(number, frame):
        if number == signal.SIGTERM and os.environ["STAND_IN_STATE"] != "RUNNING":
            return  # Slurm refuses to kill a step of a job that is being ended already.
        for process in started:
            process.send_signal(signal.SIGKILL if number == signal.SIGTERM else number)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, receive)
    return together(
        (
            (command, None, {"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task % (tasks // nodes))})
            for task in range(tasks)
        ),
        started,
    )


def scontrol(arguments, directory):
    if arguments[:2] == ["show", "job"]:
        print(f"JobId={arguments[2]} JobName=mdhr\n   JobState={os.environ['STAND_IN_STATE']} Reason=None")
    return int(arguments[0] == "requeue" and "STAND_IN_REFUSES" in os.environ)


def gcloud(arguments, directory):
    assert arguments[:4] == ["compute", "tpus", "tpu-vm", "ssh"]
    options, _ = split(arguments[5:])
    assert options["worker"] == "all"
    homes = [directory / f"worker {number}" for number in range(WORKERS)]
    return together(
        (
            ["bash", "-c", options["command"]],
            home,
            {
                "HOME": str(home),
                "TMPDIR": str(home),
                "TPU_WORKER_ID": str(number),
                "TPU_WORKERS": str(WORKERS),
            },
        )
        for number, home in enumerate(homes)
    )


def together(commands, started=None):
    """Runs commands at the same time, each with a directory and variables; the highest exit code.

    What has been started is added to a list.
    """
    processes = [] if started is None else started
    for command, directory, more in commands:
        processes.append(subprocess.Popen(command, cwd=directory, env={**os.environ, **more}))
    codes = [process.wait() for process in processes]
    return max(code if code >= 0 else 128 - code for code in codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
