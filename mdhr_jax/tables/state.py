"""What state a run's directory is in, in the words that the tables' command and the report share."""

import dataclasses
import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mdhr_jax import config as config_lib
from mdhr_jax.tables.plan import Run
from mdhr_jax.training import logs, predictions, results, workdir

LOG_FILE = "output.log"
"""What a run has printed, of all its starts."""

FAILURE_FILE = "failure.json"
"""Why a run failed; gone when it is started again."""

Kind = Literal["finished", "running", "interrupted", "failed", "not started", "damaged", "foreign"]
"""What a directory holds where a run belongs, see `MEANINGS`."""

MEANINGS: Mapping[Kind, str] = {
    "finished": "a result that can be read, with its predictions",
    "running": "a process holds the directory",
    "interrupted": "no result; something is saved, and the run's own command goes on from it",
    "failed": "no result; the command of the tables saw it end with an error",
    "not started": "nothing is saved",
    "damaged": "files are cut off, missing, of an older version, or contradict each other",
    "foreign": "something else than the run that belongs here, or that it says it is",
}
"""Each state in a few words."""

_OWN_FILES = {LOG_FILE, FAILURE_FILE}
"""What a run may have left behind that ended before it wrote its configuration."""

_LAST_BYTES = 65536  # Of the log of metrics; some lines name every AU.


@dataclasses.dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes:
        kind: see `MEANINGS`.
        detail: what is wrong, who runs it, or how it failed; names files relative to the directory.
        f1_mean: of a finished run, in percent.
        seconds: that a finished run took.
        step: up to which an interrupted run is saved, or a running one has written its log.
        steps: of the whole run, where its log tells.
        blocked: whether the run's own command would not mend it, so that somebody has to look.
    """

    kind: Kind
    detail: str = ""
    f1_mean: float | None = None
    seconds: float | None = None
    step: int | None = None
    steps: int | None = None
    blocked: bool = False

    @property
    def done(self) -> str:
        """How far the run is, such as ``step 240 of 480, 50%``; empty where nothing tells."""
        if self.kind == "finished":
            return "100%"
        if self.step is None:
            return ""
        return f"step {self.step}" + (f" of {self.steps}, {self.step / self.steps:.0%}" if self.steps else "")


def inspect(run: Run) -> State:
    """Looks at a planned run's directory and changes nothing.

    A result counts as finished only where it carries the hash of the run's configuration, and where it and
    its predictions can be read.

    Raises:
        OSError: the directory cannot be read.
    """
    directory = run.directory
    if not directory.exists():
        return State("not started")
    if not directory.is_dir():
        return State("foreign", "is not a directory", blocked=True)
    held_by = holder(directory / workdir.LOCK_FILE)
    path = directory / workdir.CONFIG_FILE
    try:
        config = _read(path)
    except ValueError as error:
        return State("damaged", within(directory, str(error)), blocked=True)
    result = (directory / workdir.RESULT_FILE).exists()

    # A configuration without anything saved is no run yet, unless a process has just claimed the directory.
    if config is not None and (held_by or result or workdir.holds_run(directory)):
        try:
            lines = config_lib.differences(config, run.config.to_dict())
        except (KeyError, AttributeError, TypeError):
            return State("foreign", f"{path.name} is not a configuration of this project", blocked=True)
        if lines:
            listed = "\n".join(f"    {line}" for line in lines)
            return State("foreign", f"holds a run with another configuration:\n{listed}", blocked=True)
    if result:
        return _with_result(run, config is not None, held_by)
    others = strangers(directory)
    if config is None and not held_by and others:
        return State("foreign", f"is not a run's directory; it holds {', '.join(others[:5])}", blocked=True)
    kind, detail = unfinished(directory, held_by)
    step, steps = _progress(directory, run.config.train.epochs) if config is not None else (None, None)
    if kind not in ("running", "interrupted"):
        return State(kind, detail)
    return State(kind, detail, step=step if kind == "running" else last_saved(directory), steps=steps)


def _with_result(run: Run, has_config: bool, held_by: str) -> State:
    """The state of a directory in which a result lies."""
    directory = run.directory
    path = directory / workdir.RESULT_FILE
    try:
        found = (_read(path) or {}).get("config_hash")
    except ValueError:
        found = None
    wanted = config_lib.config_hash(run.config)
    # A result that says of what it is must be of this run; one that is damaged may say nothing.
    if not has_config or (found is not None and found != wanted):
        return State(
            "foreign",
            f"{path.name} is of configuration {found}, this run's is {wanted}"
            + ("" if has_config else f", and there is no {workdir.CONFIG_FILE}"),
            blocked=True,
        )
    try:
        result = results.read_result(path)
        predictions.read(predictions.beside(path))
        mean = result["f1_mean"]
        if mean is not None and (isinstance(mean, bool) or not isinstance(mean, int | float)):
            raise ValueError(f"{path} has {mean!r} for f1_mean; {results.AGAIN}")
    except (FileNotFoundError, ValueError) as error:
        if held_by:
            return State("running", held_by)
        detail = within(directory, results.describe_damage(error))
        return State("damaged", mend(detail, directory), blocked=not workdir.holds_run(directory))
    return State("finished", f1_mean=mean, seconds=_seconds(result))


def mend(detail: str, directory: Path) -> str:
    """What is wrong with a finished run, and how it is mended where nothing is left to make it anew from."""
    if workdir.holds_run(directory):
        return detail
    return detail.replace(
        results.AGAIN,
        "no checkpoint is left to write it anew from: move it away to train it again",
    )


def unfinished(directory: Path, held_by: str) -> tuple[Kind, str]:
    """What to call a directory without a result, and why it has none.

    Args:
        directory: of a run, or made for one.
        held_by: see `holder`.
    """
    if held_by:
        return "running", held_by
    failure = directory / FAILURE_FILE
    if failure.exists():
        try:
            return "failed", str(json.loads(failure.read_text())["reason"])
        except (ValueError, KeyError, TypeError):
            return "failed", f"{failure.name} is damaged"
    saved = last_saved(directory)
    if saved is not None:
        return "interrupted", f"saved up to step {saved}, no result"
    return "not started", ""


def last_saved(directory: Path) -> int | None:
    """The last stored step of a run; None where there is none."""
    names = (path.name for path in (directory / workdir.CHECKPOINTS).glob("[0-9]*"))
    return max((int(name) for name in names if name.isdigit()), default=None)


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


def within(directory: Path, text: str) -> str:
    """A message with the files of a directory named relative to it: whoever tells it names the directory."""
    return text.replace(f"{directory}/", "").replace(str(directory), directory.name)


def strangers(directory: Path) -> list[str]:
    """Files in a directory that no run leaves there before it has written its configuration."""
    names = {path.name for path in directory.iterdir() if not path.name.startswith(".")}
    return sorted(names - _OWN_FILES)


def _progress(directory: Path, epochs: float | int) -> tuple[int | None, int | None]:
    """The last step in a run's log, and the steps of the whole run: None where the log does not tell."""
    try:
        with (directory / logs.FILE_NAME).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LAST_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None, None
    for line in reversed(lines):
        try:
            entry = json.loads(line)
            step, epoch = entry["step"], entry["epoch"]
            return int(step), round(step * epochs / epoch)
        except (ValueError, KeyError, TypeError, ZeroDivisionError):
            continue  # A line cut off, or of an evaluation.
    return None, None


def _seconds(result: Mapping[str, Any]) -> float | None:
    seconds = result["seconds"]
    return float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None


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
