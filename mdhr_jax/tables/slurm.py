"""A Slurm array over planned runs: one task a run, each ending in the same command as by hand."""

import dataclasses
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax.progress import format_duration
from mdhr_jax.tables.plan import Run, config_file

LAUNCHER = "launch/slurm.sh"
"""Runs one training in a Slurm job; beside the configurations in the clone of the project."""

_HEAD = """#!/bin/bash
# Written by: {command}
# Start it from the clone of the project, with what it needs of the site: sbatch --partition=... {name}
# {hint}
#SBATCH --job-name=mdhr-tables
#SBATCH --array=0-{last}%{at_once}
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task={cpus}
#SBATCH --mem={memory}
#SBATCH --time={time}
#SBATCH --requeue
#SBATCH --signal=USR1@180
#SBATCH --open-mode=append
#SBATCH --output=slurm-%A_%a.log
# A task that is told to stop, or runs out of time, saves, and {launcher} has it started again to go on
# from there. What is finished ends at once; a run that another task holds is left to it, with an error.
set -eu
trap : TERM

case "$SLURM_ARRAY_TASK_ID" in
"""


# For a run of which nothing is known yet: the paper's recipe on BP4D, in frames.
_TRAINED, _TESTED = 0.7e6, 0.4e6
_SPEED = 200  # Frames a second in training; testing takes about a third of the time.

_TIME = re.compile(r"(\d+-)?\d{1,3}(:\d{2}){1,2}|\d+|\d+-\d{1,2}")
_MEMORY = re.compile(r"\d+[KMGT]?")


@dataclasses.dataclass(frozen=True)
class Needs:
    """What each task of the array asks for, beside a GPU.

    Attributes:
        time: at most, as Slurm writes it (``08:00:00``, ``1-00``).
        memory: of the host (``32G``).
        cpus: cores.
        at_once: tasks that may run at a time.

    Raises:
        ValueError: Slurm would not understand it.
    """

    time: str = "08:00:00"
    memory: str = "32G"
    cpus: int = 8
    at_once: int = 4

    def __post_init__(self) -> None:
        for name, text, form, example in (
            ("time", self.time, _TIME, "08:00:00 or 1-00"),
            ("mem", self.memory, _MEMORY, "32G"),
        ):
            if not form.fullmatch(text):
                raise ValueError(f"--slurm-{name} {text!r} is not understood; expected such as {example}")
        for name, number in (("cpus", self.cpus), ("at-once", self.at_once)):
            if number < 1:
                raise ValueError(f"--slurm-{name} {number}: expected 1 or more")

    def __str__(self) -> str:
        each = f"a GPU, {self.cpus} cores, {self.memory}, at most {self.time}"
        return f"{self.at_once} at a time, each with {each}"


def hours(seconds: Sequence[float]) -> str:
    """How long a run takes, in a sentence: as finished ones did, else reckoned.

    Args:
        seconds: of finished runs of the same plan.
    """
    if seconds:
        longest = format_duration(max(seconds))
        return f"Of this plan the longest of {len(seconds)} finished runs took {longest}, wherever it ran."
    reckoned = (_TRAINED + _TESTED / 3) / _SPEED / 3600
    return (
        f"No run of this plan is finished yet. The paper's recipe on BP4D trains {_TRAINED:,.0f} frames, "
        f"tests {_TESTED:,.0f}: at {_SPEED} frames/s (see a run's output) about {reckoned:.1f} hours a run."
    )


def chains(planned: Sequence[Run]) -> list[list[Run]]:
    """Groups of runs that must follow each other; runs that need no other and are needed by none stand alone.

    Args:
        planned: runs; one that another needs comes before it.
    """
    groups: list[list[Run]] = []
    of_directory: dict[Path, list[Run]] = {}
    for run in planned:
        group = of_directory.get(run.needs) if run.needs is not None else None
        if group is None:
            group = []
            groups.append(group)
        group.append(run)
        of_directory[run.directory] = group
    return groups


def write(
    path: Path,
    planned: Sequence[Run],
    command: Sequence[str],
    needs: Needs | None = None,
    hint: str = "",
) -> int:
    """Writes the script, atomically.

    Args:
        path: file to write.
        planned: runs, at least one.
        command: the command line that writes it.
        needs: what each task asks for.
        hint: a line on how long a run takes, see `hours`.

    Returns:
        Number of tasks of the array.

    Raises:
        FileNotFoundError: there is no clone of the project here.
        OSError: the file cannot be written.
    """
    groups = chains(planned)
    launcher = config_file().parents[1] / LAUNCHER
    if not launcher.is_file():
        raise FileNotFoundError(f"{launcher} is not here; run this from the clone of the project")
    needs = needs or Needs()
    text = _HEAD.format(
        command=shlex.join(command),
        name=shlex.quote(str(path)),
        hint=hint or hours(()),
        last=len(groups) - 1,
        launcher=launcher,
        **dataclasses.asdict(needs),
    )
    for number, group in enumerate(groups):
        text += f"{number})\n"
        for run in group:
            text += f"    {run.condition}\n" if run.condition else ""
            # Signals that Slurm sends to the script are for the launcher, which takes its place in the end.
            command_line = shlex.join(("bash", str(launcher), *run.arguments))
            text += f"    {'exec ' if run is group[-1] else ''}{command_line}\n"
        text += "    ;;\n"
    text += '*)\n    echo "error: there is no task $SLURM_ARRAY_TASK_ID" >&2\n    exit 2\n    ;;\nesac\n'
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.chmod(0o755)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return len(groups)
