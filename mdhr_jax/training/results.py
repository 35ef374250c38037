"""The result of a run: a strict JSON file and a printed table."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mdhr_jax.training import workdir
from mdhr_jax.training.predictions import AGAIN as EVALUATE
from mdhr_jax.training.predictions import CONTINUE, Predictions, beside, encode

AGAIN = "the run's own command writes it anew from its checkpoints"
"""How to mend a result that cannot be used, at the end of each message about one."""

PER_AU = ("f1", "accuracy", "baseline_f1", "f1_changing")
"""Keys whose value maps AU names to percent (None: undefined)."""

RESULT_KEYS = (
    "dataset",
    "fold",
    "seed",
    "protocol",
    "selection",
    "validation_subjects",
    "thresholds",
    "step",
    "config_hash",
    *(key for name in PER_AU for key in (name, f"{name}_mean")),
    "validation",
    "num_params",
    "seconds",
    "frames_per_second",
)
"""Keys of a result, in the order they are written.

`selection` says on which frames ``checkpoint`` (``test``, ``validation``, or ``named`` by whoever asked) and
``thresholds`` (``fixed`` at 0.5, or ``validation``) were chosen. `thresholds` maps AU names to what a score
must reach for present; F1, accuracy and F1 of changing windows are at these. `validation` is null, or F1 of
the validation subjects in percent: ``f1`` and ``f1_mean`` at these thresholds, ``f1_half`` and
``f1_half_mean`` at 0.5.
"""

_COLUMNS = (
    ("F1", "f1"),
    ("baseline", "baseline_f1"),
    ("F1 changing", "f1_changing"),
    ("accuracy", "accuracy"),
)


def write_result(
    path: str | os.PathLike[str], result: Mapping[str, Any], predictions: Predictions | None = None
) -> None:
    """Writes a result as strict JSON, atomically, and what was predicted beside it.

    A result is never beside predictions that it does not follow from: an older one is removed before new
    predictions appear, and the new one appears after them.

    Args:
        path: file to write; its directory is made.
        result: exactly the keys of `RESULT_KEYS`; F1 and accuracy in percent, seconds in seconds.
        predictions: written to `predictions.beside` the result.

    Raises:
        ValueError: keys are missing or surplus, the AUs of two entries differ, or a number is not finite;
            nothing has been written then.
    """
    missing = [key for key in RESULT_KEYS if key not in result]
    surplus = [key for key in result if key not in RESULT_KEYS]
    if missing or surplus:
        raise ValueError(f"a result lacks {missing} and has surplus {surplus}; expected {list(RESULT_KEYS)}")
    for key in (*PER_AU, "thresholds"):
        if list(result[key]) != list(result["f1"]):
            raise ValueError(f"AUs of {key!r} are {list(result[key])}, those of 'f1' {list(result['f1'])}")
    plain = {key: _plain(result[key], key) for key in RESULT_KEYS}
    path = Path(path)
    files = {path: (json.dumps(plain, indent=2, allow_nan=False) + "\n").encode()}
    if predictions is not None:
        files = {beside(path): encode(predictions)} | files
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = {target: target.with_name(f".{target.name}.{os.getpid()}.tmp") for target in files}
    try:
        for target, content in files.items():
            temporary[target].write_bytes(content)
        if predictions is not None:
            path.unlink(missing_ok=True)
        for target in files:
            os.replace(temporary[target], target)
    finally:
        for left in temporary.values():
            left.unlink(missing_ok=True)


def read_result(path: Path) -> dict[str, Any]:
    """Reads a result.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is damaged or was written by another version of this project.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no result {path}: the run has not ended; its own command continues it")
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); {AGAIN}") from error
    if not isinstance(result, dict):
        raise ValueError(f"{path} holds a {type(result).__name__}, expected an object; {AGAIN}")
    if missing := [key for key in RESULT_KEYS if key not in result]:
        raise ValueError(f"{path} lacks {', '.join(missing)}; {AGAIN}")
    return result


def of_checkpoint(path: Path, meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result of the run that a checkpoint belongs to, where it is the checkpoint's own.

    Args:
        path: a run's directory, its ``checkpoints`` directory or one step's directory.
        meta: of the checkpoint.
    """
    absolute = path.absolute()
    for directory in (absolute, absolute.parent, absolute.parent.parent):
        if (directory / workdir.CHECKPOINTS).is_dir():
            try:
                result = read_result(directory / workdir.RESULT_FILE)
            except (FileNotFoundError, ValueError):
                return None
            same = all(result[key] == meta.get(key) for key in ("step", "config_hash"))
            return result if same else None
    return None


def describe_damage(error: Exception) -> str:
    """What is wrong with a run's result or its predictions, with how its result is mended.

    Predictions alone are mended by an evaluation, which writes other files than the run's own.
    """
    return str(error).replace(CONTINUE, "").replace(EVALUATE, AGAIN)


def format_table(result: Mapping[str, Any]) -> str:
    """A table of percentages, one line an AU and the mean last; undefined values are ``-``.

    Args:
        result: the entries of `PER_AU` and their means.

    Returns:
        Text without a newline at its end.
    """
    lines = [
        ("AU", *(title for title, _ in _COLUMNS)),
        *((au, *(_percent(result[key][au]) for _, key in _COLUMNS)) for au in result["f1"]),
        ("mean", *(_percent(result[f"{key}_mean"]) for _, key in _COLUMNS)),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        "  ".join(
            [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    rule = "-" * len(rows[0])
    return "\n".join([rows[0], rule, *rows[1:-1], rule, rows[-1]])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _plain(value: Any, key: str) -> Any:
    """NumPy scalars as Python's; refuses numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        raise ValueError(f"result entry {key!r} is {value}; an undefined value must be None")
    return value
