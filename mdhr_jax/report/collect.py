"""Every directory below one, and what lies in it: a finished run, one that is not, or something else.

Nothing is changed, and nothing is believed that can be checked: a result must be of the directory's own
configuration, must stand beside the predictions of that very checkpoint, and must follow from them.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mdhr_jax import config as config_lib
from mdhr_jax import facs
from mdhr_jax.progress import Progress
from mdhr_jax.report import measures
from mdhr_jax.report.measures import SubjectCounts
from mdhr_jax.tables import rows, state
from mdhr_jax.training import checkpoints, predictions, protocols, results, stored_step, workdir
from mdhr_jax.training.metrics import summarize
from mdhr_jax.training.predictions import Predictions

Kind = state.Kind | Literal["not a run"]
"""What a directory holds: `state.MEANINGS`, or none of a run's files."""

DATASETS = frozenset(
    name for family in map(rows.dataset_of, rows.ROWS) for name in (family, f"synthetic_{family}")
)
"""Data sets that the tables are about, and the drawn ones in their place."""

# Any of these makes a directory a run's.
_MARKS = (
    workdir.CONFIG_FILE,
    workdir.CHECKPOINTS,
    workdir.RESULT_FILE,
    workdir.EVALUATION_FILE,
    workdir.LOCK_FILE,
    state.FAILURE_FILE,
    state.LOG_FILE,
    predictions.beside(Path(workdir.RESULT_FILE)).name,
)
_INSIDE_RUNS = (workdir.CHECKPOINTS, "tensorboard")

# What a result and its predictions both say.
_SHARED = ("dataset", "fold", "seed", "step", "config_hash", "protocol", "thresholds")

# Which frames a training run under each protocol lets choose, see `results.RESULT_KEYS`.
_SELECTION = {
    protocols.PAPER: {"checkpoint": "test", "thresholds": "fixed"},
    protocols.HONEST: {"checkpoint": "validation", "thresholds": "validation"},
}

# Results hold 64-bit numbers that come from the same counts.
_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a finished run has to say.

    Attributes:
        result: the content of ``result.json``.
        counts: of each subject.
        values: every measure of each AU, see `measures.values`.
        fingerprint: of the data set that it was tested on.
        predictions_sha256: of the file of predictions.
        checkpoint: of the reported step, relative to the run's directory; None where it is gone.
        version: of this project at the time of that checkpoint; None where it is gone.
        commit: of this project, see `mdhr_jax.source`; None where it did not run from a clone, too.
    """

    result: Mapping[str, Any]
    counts: SubjectCounts
    values: Mapping[str, np.ndarray]
    fingerprint: str
    predictions_sha256: str
    checkpoint: str | None
    version: str | None
    commit: str | None = None


@dataclasses.dataclass(frozen=True)
class Found:
    """A directory.

    Attributes:
        id: ``R1``, ``R2`` and so on, in the order of the paths.
        path: relative to where the search began, with slashes.
        kind: what it holds.
        detail: why it is not finished, or what is wrong.
        config: the run's, where it has one.
        outcome: of a finished run.
    """

    id: str
    path: str
    kind: Kind
    detail: str = ""
    config: Mapping[str, Any] | None = None
    outcome: Outcome | None = None

    @property
    def config_hash(self) -> str | None:
        """Names the configuration."""
        return None if self.config is None else config_lib.config_hash(self.config)


class _UnusableError(Exception):
    """A directory whose content cannot be used; holds kind and reason."""


def collect(root: Path, *, skip: Path | None = None) -> list[Found]:
    """Looks at all directories below one, itself included.

    Links are followed; what is reached twice is listed once, and where it lies if it lies below `root`.
    Hidden directories are left out, and so are those inside a run.

    Args:
        root: where to begin.
        skip: a directory that is not looked at: that of the report.

    Returns:
        Runs, and innermost directories that are none, in the order of their paths.

    Raises:
        FileNotFoundError: there is no such directory.
        OSError: a directory cannot be read.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"there is no directory {root}; name the --runs of `python -m mdhr_jax.tables run`"
        )
    directories = _directories(root, skip)
    found = []
    with Progress(len(directories), unit="directories", label="reading runs") as progress:
        for number, directory in enumerate(directories, 1):
            path = directory.relative_to(root).as_posix()
            found.append(_look(directory, f"R{number}", path))
            progress.update()
    return found


def _directories(root: Path, skip: Path | None) -> list[Path]:
    left_out = None if skip is None else skip.resolve()
    seen: set[Path] = set()
    chosen = []
    waiting, links = [root], []
    while waiting or links:
        # Links last: what is reached both ways is listed where it lies.
        directory = waiting.pop() if waiting else links.pop(links.index(min(links)))
        real = directory.resolve()
        if real in seen or real == left_out:
            continue
        seen.add(real)
        with os.scandir(directory) as entries:
            inside = list(entries)
        below = [entry for entry in inside if entry.is_dir()]
        is_run = any(entry.name in _MARKS for entry in inside)
        if is_run or (not below and directory != root):
            chosen.append(directory)
        for entry in below:
            if not entry.name.startswith(".") and not (is_run and entry.name in _INSIDE_RUNS):
                (links if entry.is_symlink() else waiting).append(directory / entry.name)
    return sorted(chosen, key=lambda path: path.relative_to(root).parts)


def _look(directory: Path, name: str, path: str) -> Found:
    if not any((directory / mark).exists() for mark in _MARKS):
        return Found(name, path, "not a run", "holds none of a run's files")
    config = None
    try:
        config = _config(directory)
        if not (directory / workdir.RESULT_FILE).exists():
            kind, detail = _unfinished(directory, config)
            return Found(name, path, kind, detail, config)
        if config is None:
            raise _UnusableError("foreign", f"has a result and no {workdir.CONFIG_FILE}: not a training run")
        dataset = str(config["dataset"]).lower()
        if dataset not in DATASETS:
            raise _UnusableError("foreign", f"no table is about the data set {dataset!r}")
        return Found(name, path, "finished", config=config, outcome=_outcome(directory, config))
    except _UnusableError as error:
        kind, detail = error.args
        if kind == "damaged":
            if holder := state.holder(directory / workdir.LOCK_FILE):
                return Found(name, path, "running", f"in use by {holder}", config)
            detail = state.mend(detail, directory)
        # Messages name files in full; the report is the same wherever the runs lie.
        return Found(name, path, kind, state.within(directory, detail), config)


def _config(directory: Path) -> dict[str, Any] | None:
    path = directory / workdir.CONFIG_FILE
    if not path.exists():
        return None
    try:
        config = workdir.read_config(path)
    except (ValueError, OSError) as error:
        raise _UnusableError("damaged", str(error)) from error
    foreign = f"{workdir.CONFIG_FILE} is not a configuration of this project"
    try:
        config_lib.identity(config)
        rows.model_name(config)
        # Values that the report reads itself; everything else only names the study.
        arm = config.get("eval", {}).get("protocol", protocols.PAPER)
        strange = config_lib.wrong_kinds(config) or [
            f"{key} is {value!r}"
            for key, value, known in (
                ("fold", config["fold"], config["fold"] in facs.FOLDS),
                ("seed", config["seed"], config["seed"] >= 0),
                ("eval.protocol", arm, arm in protocols.PROTOCOLS),
            )
            if not known
        ]
    except (KeyError, AttributeError, TypeError) as error:
        raise _UnusableError("foreign", foreign) from error
    if strange:
        raise _UnusableError("foreign", f"{foreign}: {', '.join(strange)}")
    return config


def _unfinished(directory: Path, config: Mapping[str, Any] | None) -> tuple[Kind, str]:
    """What to call a run without a result, and why it has none."""
    kind, detail = state.unfinished(directory, state.holder(directory / workdir.LOCK_FILE))
    if config is None and kind in ("interrupted", "not started") and state.strangers(directory):
        return "foreign", f"has no {workdir.CONFIG_FILE}"
    return kind, {"running": f"in use by {detail}", "not started": "nothing is saved"}.get(kind, detail)


def _outcome(directory: Path, config: Mapping[str, Any]) -> Outcome:
    """Reads a finished run and checks that its files belong together."""
    file = predictions.beside(directory / workdir.RESULT_FILE)
    try:
        result = results.read_result(directory / workdir.RESULT_FILE)
        found = predictions.read(file)
    except (ValueError, OSError) as error:
        raise _UnusableError("damaged", results.describe_damage(error)) from error
    _check_identity(result, found, config)
    names = found.meta["au_names"]
    recounted = summarize(found.counts(), names)
    for key in (key for name in results.PER_AU for key in (name, f"{name}_mean")):
        if not _same(result[key], recounted[key]):
            raise _UnusableError(
                "damaged",
                f"{key} in {workdir.RESULT_FILE} does not follow from {file.name}; without both, "
                f"{results.AGAIN}",
            )
    counts = measures.count(found)
    checkpoint, versions = _checkpoint(directory, result)
    return Outcome(
        result=result,
        counts=counts,
        values=measures.values(found, counts),
        fingerprint=found.meta["data_fingerprint"],
        predictions_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        checkpoint=checkpoint,
        version=versions.get("mdhr_jax"),
        commit=versions.get("commit"),
    )


def _check_identity(result: Mapping[str, Any], found: Predictions, config: Mapping[str, Any]) -> None:
    wanted = config_lib.config_hash(config)
    if result["config_hash"] != wanted:
        raise _UnusableError(
            "foreign",
            f"{workdir.RESULT_FILE} is of configuration {result['config_hash']}, "
            f"{workdir.CONFIG_FILE} is {wanted}",
        )
    if differing := [key for key in _SHARED if result[key] != found.meta[key]]:
        raise _UnusableError(
            "damaged", f"{workdir.RESULT_FILE} and the predictions differ in {', '.join(differing)}"
        )
    own = {
        "dataset": str(config["dataset"]).lower(),
        "fold": config["fold"],
        "seed": config["seed"],
        "protocol": config.get("eval", {}).get("protocol", protocols.PAPER),
    }
    if differing := [key for key, value in own.items() if result[key] != value]:
        raise _UnusableError(
            "foreign", f"{workdir.RESULT_FILE} and {workdir.CONFIG_FILE} differ in {', '.join(differing)}"
        )
    if result["protocol"] not in _SELECTION or result["selection"] != _SELECTION[result["protocol"]]:
        raise _UnusableError(
            "foreign",
            f"its checkpoint and thresholds were chosen as {result['selection']}, which is not the protocol "
            f"{result['protocol']!r}",
        )
    names = list(facs.get(own["dataset"]).au_names)
    if found.meta["au_names"] != names:
        raise _UnusableError("foreign", f"its AUs are {', '.join(found.meta['au_names'])}")


def _checkpoint(directory: Path, result: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The reported checkpoint and the versions of what made it, where it still exists."""
    step = directory / workdir.CHECKPOINTS / str(result["step"])
    if not step.is_dir():
        return None, {}
    try:
        meta = stored_step.read_meta(step)
    except checkpoints.CheckpointError as error:
        raise _UnusableError("damaged", str(error)) from error
    if meta.get("config_hash") != result["config_hash"]:
        raise _UnusableError(
            "foreign", f"checkpoint {result['step']} is of configuration {meta.get('config_hash')}"
        )
    return f"{workdir.CHECKPOINTS}/{result['step']}", (meta.get("versions") or {})


def _same(one: Any, other: Any) -> bool:
    """Whether two percentages, or two sets of them by AU, are the same, undefined where the other is.

    What is read from a file, the first, may be anything.
    """
    if isinstance(other, Mapping):
        return (
            isinstance(one, Mapping)
            and one.keys() == other.keys()
            and all(_same(one[name], other[name]) for name in other)
        )
    if one is None or other is None:
        return one is other
    return isinstance(one, int | float) and not isinstance(one, bool) and abs(one - other) <= _TOLERANCE
