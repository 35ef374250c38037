"""The log of a run: ``metrics.jsonl``, one JSON object a line, and TensorBoard where asked for.

TensorFlow is imported only for TensorBoard, kept away from accelerators, and missed without harm.
"""

import json
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from jaxtyping import ArrayLike

Kind = Literal["train", "eval", "validation"]
Entry = ArrayLike | str | None | Mapping[str, "Entry"]

FILE_NAME = "metrics.jsonl"

_logger = logging.getLogger(__name__)


class RunLog:
    """Writes what a run measures.

    A line is ``{"kind": "train", "step": 120, "loss": 0.4, "f1": {"AU1": 51.2, ...}}``; numbers that are not
    finite become null. Each line reaches the file before `write` returns, so a killed run loses none.

    On resuming, lines past the restored step are removed (and a last line that a kill cut short), from
    TensorBoard's files too, so the log reads as if the run had never stopped.

    Args:
        workdir: the run's directory; made where absent.
        au_names: such as ``AU1``, in label order: names of the entries of per-AU vectors.
        tensorboard: also write TensorBoard files, to ``workdir/tensorboard``; without TensorFlow only a
            notice is given.
        resume_step: step of the checkpoint that was restored; None: a fresh start, which empties the log.
        enabled: False on all processes but one; nothing is written then.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        au_names: Sequence[str],
        *,
        tensorboard: bool = False,
        resume_step: int | None = None,
        enabled: bool = True,
    ):
        self.path = Path(workdir) / FILE_NAME
        self._au_names = tuple(au_names)
        self._resume_step = resume_step
        self._file = None
        self._tensorboard = None
        self._kinds_at_resume: set[str] = set()
        if not enabled:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._kinds_at_resume = _trim(self.path, resume_step)
        self._file = self.path.open("a", encoding="utf-8")
        if tensorboard:
            self._tensorboard = _tensorboard_writer(self.path.parent / "tensorboard", resume_step)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, kind: Kind, step: int, values: Mapping[str, Entry]) -> None:
        """Appends one line.

        What a resumed run measures again at the very step it resumed from is in the log already and is
        not written twice.

        Args:
            kind: "train"; "eval" for measurements on the test part, "validation" for those on subjects kept
                out of training.
            step: training steps done.
            values: scalars, text, None, vectors of one number an AU, or mappings of these by name.

        Raises:
            ValueError: an array is neither a scalar nor has one number an AU, or a name is reserved.
        """
        if self._file is None or (step == self._resume_step and kind in self._kinds_at_resume):
            return
        if reserved := {"kind", "step"} & set(values):
            raise ValueError(f"log entries cannot be named {', '.join(sorted(reserved))}")
        plain = {name: self._plain(name, value) for name, value in values.items()}
        line = {"kind": kind, "step": int(step), **_finite(plain)}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        if self._tensorboard is not None:
            self._tensorboard.write_scalars(int(step), dict(_numbers(kind, plain)))
            self._tensorboard.flush()

    def close(self) -> None:
        """Closes the files; may be called twice."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._tensorboard is not None:
            self._tensorboard.close()
            self._tensorboard = None

    def _plain(self, name: str, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, Mapping):
            return {str(key): self._plain(f"{name}.{key}", item) for key, item in value.items()}
        array = np.asarray(value)
        if array.ndim == 0:
            return _number(array)
        if array.shape != (len(self._au_names),):
            raise ValueError(
                f"log entry {name!r} has shape {array.shape}; expected a scalar or one number for each of "
                f"{len(self._au_names)} AUs"
            )
        return {au: _number(item) for au, item in zip(self._au_names, array, strict=True)}


def read_log(workdir: str | os.PathLike[str], kind: Kind | None = None) -> list[dict[str, Any]]:
    """Lines of a run's log, oldest first; a last line cut short is left out.

    Args:
        workdir: the run's directory.
        kind: only lines of that kind.

    Raises:
        FileNotFoundError: the run has no log.
    """
    path = Path(workdir) / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"no log {path}; expected the directory of a run that has trained")
    return [line for _, line in _lines(path) if kind in (None, line["kind"])]


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            if text.endswith("\n"):
                try:
                    line = json.loads(text)
                except ValueError:  # a machine that lost power can leave a damaged line
                    continue
                if isinstance(line, dict) and {"kind", "step"} <= set(line):
                    yield text, line


def _trim(path: Path, resume_step: int | None) -> set[str]:
    """Removes lines past a step, atomically; returns the kinds of the lines at that step."""
    if not path.exists():
        return set()
    kinds = set()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for text, line in _lines(path):
                if resume_step is not None and line["step"] <= resume_step:
                    file.write(text)
                    if line["step"] == resume_step:
                        kinds.add(line["kind"])
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return kinds


def _number(value: Any) -> int | float:
    array = np.asarray(value)
    integral = np.issubdtype(array.dtype, np.integer) or array.dtype == bool
    return int(array) if integral else float(array)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Numbers with their TensorBoard tags, such as ``eval/f1/AU12``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{prefix}/{name}", value)
        elif isinstance(value, int | float):
            yield f"{prefix}/{name}", float(value)


def _tensorboard_writer(directory: Path, resume_step: int | None) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow tells about the CPU on import otherwise
    try:
        import tensorflow as tf
        from clu import metric_writers
        from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        _logger.warning("TensorBoard files are not written: %s. The log is in %s.", error, FILE_NAME)
        return None
    tf.config.set_visible_devices([], "GPU")
    for path in sorted(directory.glob("events.out.tfevents.*")):
        records = list(RawEventFileLoader(str(path)).Load())
        last = -1 if resume_step is None else resume_step
        # The first record of a file tells its version and has no step.
        kept = [r for r in records if (event := Event.FromString(r)).file_version or event.step <= last]
        if len(kept) == len(records):
            continue
        temporary = path.with_name(f".trimmed.{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            writer = RecordWriter(file)
            for record in kept:
                writer.write(record)
        os.replace(temporary, path)
    return metric_writers.SummaryWriter(str(directory))
