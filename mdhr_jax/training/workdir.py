"""A run's directory: where it is, and whether it belongs to this configuration."""

import contextlib
import fcntl
import json
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mdhr_jax import config as config_lib
from mdhr_jax import distributed

CONFIG_FILE = "config.json"
CHECKPOINTS = "checkpoints"
RESULT_FILE = "result.json"
LOCK_FILE = ".lock"
EVALUATION_FILE = "result-eval.json"


def default_workdir(config: ConfigDict) -> Path:
    """``runs/<dataset>-fold<n>``."""
    return Path("runs") / f"{config.dataset.lower()}-fold{config.fold}"


def holds_run(workdir: Path) -> bool:
    """Whether training has saved anything in the directory."""
    return (workdir / CONFIG_FILE).exists() and any((workdir / CHECKPOINTS).glob("[0-9]*"))


def check(workdir: Path, config: ConfigDict) -> None:
    """Refuses a directory that holds a run of another configuration.

    Only keys that change results are compared (see `mdhr_jax.config.identity`).

    Raises:
        ValueError: the differing keys are named.
    """
    if not holds_run(workdir):
        return
    lines = config_lib.differences(read_config(workdir / CONFIG_FILE), config.to_dict())
    if lines:
        raise ValueError(
            f"{workdir} holds a run with another configuration:\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nChoose another --workdir, or the configuration of that run."
        )


def take(workdir: Path, config: ConfigDict, stack: contextlib.ExitStack) -> None:
    """Makes the directory this run's until `stack` is left: claimed, and occupied.

    Of several processes the first does it for all.

    Raises:
        ValueError: the directory holds a run of another configuration, or another run trains there.
        OSError: the directory cannot be made or written.
        TogetherError: one of these, or a process does not see the directory that the first one took.
    """

    def take_for_all() -> str:
        check(workdir, config)
        # Before claiming: what another process has claimed and not yet saved to would look free.
        stack.enter_context(occupied(workdir))
        claim(workdir, config)
        return (workdir / LOCK_FILE).read_text()

    def look() -> None:
        lock = workdir / LOCK_FILE
        if not lock.is_file() or lock.read_text() != taken:
            raise ValueError(
                f"{workdir} is not here what it is for {taken.strip()}; --workdir must be on a file system "
                "that all hosts share"
            )

    taken = distributed.by_first(take_for_all)
    distributed.together(look)


@contextlib.contextmanager
def occupied(workdir: Path) -> Iterator[None]:
    """Keeps other processes from training in the directory, until this one leaves or dies.

    Raises:
        ValueError: another process trains there, or the file system has no locks.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / LOCK_FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ValueError(
                f"{workdir} is in use by {file.read().strip() or 'another process'}, which is left alone; "
                "wait for its end, or choose another --workdir"
            ) from error
        except OSError as error:
            raise ValueError(
                f"{workdir} cannot be locked ({error.strerror}): nothing would keep a second process from "
                "training there. Choose a --workdir on a file system with locks, or have it mounted with "
                "them (Lustre: flock)"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def claim(workdir: Path, config: ConfigDict) -> None:
    """Makes the directory this configuration's, or checks that it is.

    A directory whose run has saved nothing yet can be claimed anew.

    Raises:
        ValueError: the directory holds a run of another configuration.
        OSError: the directory cannot be made or written.
    """
    check(workdir, config)
    if not holds_run(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(workdir / CONFIG_FILE, config_lib.as_json(config))


def read_config(path: Path) -> dict[str, Any]:
    """The configuration that a run was started with.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); remove it if the directory holds no run") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, expected an object; remove it if the directory holds "
            "no run"
        )
    return content


def check_reported(directory: Path, stored: Sequence[int]) -> None:
    """Refuses to take for a finished run's best checkpoint the best of those that are left.

    Args:
        directory: of the run.
        stored: steps of its checkpoints, at least one.

    Raises:
        FileNotFoundError: the checkpoint that the run's result is of is gone.
    """
    path = directory / RESULT_FILE
    try:
        reported = read_config(path).get("step")
    except (OSError, ValueError):
        return  # A run that goes on, or a result that says nothing.
    if isinstance(reported, int) and reported not in stored:
        raise FileNotFoundError(
            f"the checkpoint that {path} is of, step {reported}, is gone; there is step "
            f"{', '.join(map(str, stored))}. Name one of these, such as checkpoints/{stored[-1]} in "
            f"{directory}, or train the run again in another directory"
        )


def write_json(path: Path, content: Any) -> None:
    """Writes strict JSON atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    os.replace(temporary, path)
