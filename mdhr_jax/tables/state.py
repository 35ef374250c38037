"""How far a planned run is, read off its directory."""

import dataclasses
import fcntl
import json
from pathlib import Path
from typing import Any, Literal

from mdhr_jax import config as config_lib
from mdhr_jax.tables.plan import Run
from mdhr_jax.training import predictions, results, workdir

LOG_FILE = "output.log"
"""What a run has printed, of all its starts."""

FAILURE_FILE = "failure.json"
"""Why a run failed; gone when it is started again."""

Kind = Literal["finished", "running", "interrupted", "failed", "missing", "foreign"]

_OWN_FILES = {LOG_FILE, FAILURE_FILE}
"""What a run may have left behind that ended before it wrote its configuration."""


@dataclasses.dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes:
        kind: ``finished``: its result is there; ``running``: a process holds the directory;
            ``interrupted``: it has saved something and can go on; ``failed``: its last start ended with an
            error; ``missing``: nothing is saved; ``foreign``: the directory holds something else and is not
            to be touched.
        detail: of a foreign directory what is wrong, of a running one who runs it, of a failed one its exit,
            of one interrupted behind its end what its result has lost.
        f1_mean: of a finished run, in percent.
    """

    kind: Kind
    detail: str = ""
    f1_mean: float | None = None


def inspect(run: Run) -> State:
    """Looks at a run's directory and changes nothing.

    A result counts as finished only where it carries the hash of the run's configuration, and where it and
    its predictions can be read or nothing is left to make them from.

    Raises:
        OSError: the directory cannot be read.
    """
    directory = run.directory
    if not directory.exists():
        return State("missing")
    if not directory.is_dir():
        return State("foreign", f"{directory} is not a directory")
    wanted = config_lib.config_hash(run.config)
    held_by = holder(directory / workdir.LOCK_FILE)
    try:
        result = _read(directory / workdir.RESULT_FILE)
        config = _read(directory / workdir.CONFIG_FILE)
        failure = _read(directory / FAILURE_FILE)
    except ValueError as error:
        return State("foreign", str(error))

    # A configuration without anything saved is no run yet, unless a process has just claimed the directory.
    if config is not None and (held_by or result or workdir.holds_run(directory)):
        try:
            lines = config_lib.differences(config, run.config.to_dict())
        except (KeyError, AttributeError, TypeError):
            return State(
                "foreign", f"{directory / workdir.CONFIG_FILE} is not a configuration of this project"
            )
        if lines:
            listed = "\n".join(f"    {line}" for line in lines)
            return State("foreign", f"{directory} holds a run with another configuration:\n{listed}")
    if result is not None:
        found = result.get("config_hash")
        if config is None or found != wanted:
            return State(
                "foreign",
                f"{directory / workdir.RESULT_FILE} is of configuration {found}, this run's is {wanted}"
                + ("" if config else f", and there is no {workdir.CONFIG_FILE}"),
            )
        mean = result.get("f1_mean")
        if mean is not None and (isinstance(mean, bool) or not isinstance(mean, int | float)):
            return State("foreign", f"{directory / workdir.RESULT_FILE} has {mean!r} for f1_mean")
        # Training writes a result anew, from its checkpoints, that is of an older version or has lost its
        # predictions.
        if workdir.holds_run(directory) and (lost := _lost(directory)) and not held_by:
            return State("interrupted", lost)
        return State("finished", f1_mean=mean)
    if held_by:
        return State("running", held_by)
    names = {path.name for path in directory.iterdir() if not path.name.startswith(".")}
    if config is None and (others := sorted(names - _OWN_FILES)):
        return State("foreign", f"{directory} is not a run's directory; it holds {', '.join(others[:5])}")
    if failure is not None:
        return State("failed", str(failure.get("reason", "")))
    return State("interrupted" if workdir.holds_run(directory) else "missing")


def _lost(directory: Path) -> str:
    """Why a result and the predictions that it comes with cannot be read; empty where they can."""
    try:
        results.read_result(directory / workdir.RESULT_FILE)
        predictions.read(predictions.beside(directory / workdir.RESULT_FILE))
    except (FileNotFoundError, ValueError) as error:
        return results.describe_damage(error)
    return ""


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON file's object, or None where there is no file.

    Raises:
        ValueError: it holds something else.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); remove it if nothing needs it") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, expected an object; remove it if not needed"
        )
    return content


def holder(lock: Path) -> str:
    """Who holds the lock of a directory, a file that may be missing; empty where nobody does."""
    try:
        with lock.open() as file:
            try:
                # Shared, so that two who look do not see each other.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip() or "another process"
    except FileNotFoundError:
        pass
    return ""
