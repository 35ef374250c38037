"""A Slurm array over planned runs: one task a run, each ending in the same command as by hand."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax.tables.plan import Run, config_file

LAUNCHER = "launch/slurm.sh"
"""Runs one training in a Slurm job; beside the configurations in the clone of the project."""

_HEAD = """#!/bin/bash
# Written by: {command}
# Start it from the clone of the project, with what it needs of the site: sbatch --partition=... {name}
#SBATCH --job-name=mdhr-tables
#SBATCH --array=0-{last}
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --requeue
#SBATCH --signal=USR1@180
#SBATCH --open-mode=append
#SBATCH --output=slurm-%A_%a.log
# A task that is told to stop saves, and {launcher} has it started again to go on from there.
set -eu
trap : TERM

case "$SLURM_ARRAY_TASK_ID" in
"""


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


def write(path: Path, planned: Sequence[Run], command: Sequence[str]) -> int:
    """Writes the script, atomically.

    Args:
        path: file to write.
        planned: runs, at least one.
        command: the command line that writes it.

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
    text = _HEAD.format(
        command=shlex.join(command),
        name=shlex.quote(str(path)),
        last=len(groups) - 1,
        launcher=launcher,
    )
    for number, group in enumerate(groups):
        text += f"{number})\n"
        for run in group:
            text += f"    {run.condition}\n" if run.condition else ""
            text += f"    {shlex.join(('bash', str(launcher), *run.arguments))}\n"
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
