"""What a finished run predicted for every frame of its test part: one ``.npz`` beside the result.

The file holds, for F frames in list order (no padding), V videos, W evaluation windows and N AUs:

    videos        (V,)   text     name of each video
    subjects      (V,)   text     subject of each video
    video         (F,)   int32    row of `videos`
    frame_number  (F,)   int32    number of the frame in the recording
    window        (F,)   int32    evaluation window, counted over all videos
    full_window   (W,)   bool     whether the window has as many frames as a clip
    labels        (F, N) int8     0, 1, or -1 where unknown
    scores        (F, N) float32  in [0, 1]
    meta          ()     text     JSON; its keys are `META_KEYS`

Everything that the result says of F1 and accuracy follows from it (`Predictions.counts`).
"""

import dataclasses
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int32, Int64

from mdhr_jax import facs
from mdhr_jax.training.metrics import AUCounts, EvalCounts

FORMAT = 1

META_KEYS = (
    "format",
    "dataset",
    "fold",
    "seed",
    "au_names",
    "step",
    "config_hash",
    "protocol",
    "thresholds",
    "data_fingerprint",
)
"""Keys of the file's JSON; `thresholds` maps AU names to what a score must reach for present."""

_DTYPES = {
    "video": np.int32,
    "frame_number": np.int32,
    "window": np.int32,
    "full_window": np.bool_,
    "labels": np.int8,
    "scores": np.float32,
}
_OF_FRAMES = ("video", "frame_number", "window", "labels", "scores")
_ARRAYS = ("videos", "subjects", *_DTYPES, "meta")
AGAIN = "evaluate the run again with --config.mode=eval"
"""How to mend a file that cannot be used, at the end of each message about one."""

CONTINUE = "continue the run with its own command, or "
"""What may help too where there is no file, before `AGAIN`."""


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Scores and labels of all frames of some videos; see the module's description.

    Attributes:
        videos, subjects: of each video.
        video, frame_number, window: of each frame.
        full_window: of each window.
        labels, scores: of each frame and AU.
        meta: what was evaluated; complete (`META_KEYS`) before it is written.
    """

    videos: tuple[str, ...]
    subjects: tuple[str, ...]
    video: Int32[np.ndarray, "F"]
    frame_number: Int32[np.ndarray, "F"]
    window: Int32[np.ndarray, "F"]
    full_window: Bool[np.ndarray, "W"]
    labels: Int8[np.ndarray, "F N"]
    scores: Float32[np.ndarray, "F N"]
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def predicted(self, thresholds: Mapping[str, float] | None = None) -> Bool[np.ndarray, "F N"]:
        """Whether an AU's score reaches its threshold.

        Args:
            thresholds: of each AU name; by default those of `meta`. Compared in float32.
        """
        chosen = self.meta["thresholds"] if thresholds is None else thresholds
        limits = np.asarray([chosen[name] for name in self.meta["au_names"]], np.float32)
        return self.scores >= limits

    def changing(self) -> Bool[np.ndarray, "F N"]:
        """Frames of the full windows in which an AU is both present and absent."""
        windows = len(self.full_window)
        changes = self.full_window[:, None] & _any(self.labels == 1, self.window, windows)
        changes &= _any(self.labels == 0, self.window, windows)
        return changes[self.window]

    def counts(self, thresholds: Mapping[str, float] | None = None) -> EvalCounts:
        """The counts that F1 and accuracy follow from.

        Args:
            thresholds: of each AU name; by default those of `meta`. Compared in float32.

        Returns:
            int64 counts on the host; see `EvalCounts` for the two sets.
        """
        predicted, changing = self.predicted(thresholds), self.changing()
        present, absent = self.labels == 1, self.labels == 0

        def count(entries: Bool[np.ndarray, "F N"]) -> AUCounts:
            return AUCounts(
                tp=_sum(present & predicted & entries),
                fp=_sum(absent & predicted & entries),
                fn=_sum(present & ~predicted & entries),
                tn=_sum(absent & ~predicted & entries),
            )

        return EvalCounts(count(np.ones_like(present)), count(changing))


def _sum(entries: Bool[np.ndarray, "F N"]) -> Int64[np.ndarray, "N"]:
    return entries.sum(0, dtype=np.int64)


def _any(entries: Bool[np.ndarray, "F N"], rows: Int32[np.ndarray, "F"], total: int) -> np.ndarray:
    """Whether an entry of each row is set: (total, N)."""
    found = np.zeros((total, entries.shape[1]), bool)
    np.logical_or.at(found, rows, entries)
    return found


def beside(result: Path) -> Path:
    """The file of a result's predictions: ``predictions.npz``, or ``predictions-eval.npz``."""
    return result.with_name(result.stem.replace("result", "predictions", 1) + ".npz")


def encode(predictions: Predictions) -> bytes:
    """The content of the file.

    Raises:
        ValueError: the meta data lack keys, or do not fit the arrays.
    """
    _check_meta(predictions.meta, predictions.scores.shape[1], "these predictions")
    arrays: dict[str, Any] = {
        "videos": np.asarray(predictions.videos, np.str_),
        "subjects": np.asarray(predictions.subjects, np.str_),
        "meta": np.asarray(json.dumps(dict(predictions.meta), allow_nan=False)),
        **{name: np.asarray(getattr(predictions, name), dtype) for name, dtype in _DTYPES.items()},
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read(path: str | os.PathLike[str]) -> Predictions:
    """Reads predictions and checks that they are whole.

    Args:
        path: the file, or the directory of a run, whose ``predictions.npz`` is then read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, of another format, or its arrays do not belong together.
    """
    path = Path(path)
    path = path / "predictions.npz" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"no predictions at {path}: a finished run has them beside its result; {CONTINUE}{AGAIN}"
        )
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        meta = json.loads(str(arrays["meta"])) if "meta" in arrays else {}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged or holds no predictions ({error}); {AGAIN}") from error
    if missing := [name for name in _ARRAYS if name not in arrays]:
        raise ValueError(f"{path} lacks {', '.join(missing)}; expected {', '.join(_ARRAYS)}; {AGAIN}")
    for name, dtype in _DTYPES.items():
        rank = 2 if name in ("labels", "scores") else 1
        if arrays[name].dtype != dtype or arrays[name].ndim != rank:
            raise ValueError(
                f"{name} in {path} is {arrays[name].dtype} of {arrays[name].ndim} dimensions, expected "
                f"{np.dtype(dtype)} of {rank}; {AGAIN}"
            )
    _check_meta(meta, arrays["scores"].shape[1], str(path))
    labels = arrays["labels"]
    if labels.size and not np.isin(labels, (0, 1, facs.UNKNOWN)).all():
        raise ValueError(f"labels in {path} are {np.unique(labels).tolist()}, expected 0, 1 and -1; {AGAIN}")
    if problem := _inconsistency(arrays):
        raise ValueError(f"{path} is inconsistent: {problem}; {AGAIN}")
    return Predictions(
        videos=tuple(arrays["videos"].tolist()),
        subjects=tuple(arrays["subjects"].tolist()),
        meta=meta,
        **{name: arrays[name] for name in _DTYPES},
    )


def _inconsistency(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Why arrays do not belong together; None where they do."""
    shapes = {name: arrays[name].shape for name in _ARRAYS}
    frames, videos = {shapes[name][0] for name in _OF_FRAMES}, {shapes["videos"], shapes["subjects"]}
    if len(frames) > 1 or len(videos) > 1 or shapes["labels"] != shapes["scores"]:
        return f"shapes {shapes}"
    for name, of in (("video", "videos"), ("window", "full_window")):
        rows, total = arrays[name], shapes[of][0]
        if len(rows) and not 0 <= rows.min() <= rows.max() < total:
            return f"{name} runs over {rows.min()}..{rows.max()}, but there are {total}"
    return None


def _check_meta(meta: Any, num_aus: int, what: str) -> None:
    missing = [key for key in META_KEYS if key not in meta] if isinstance(meta, Mapping) else list(META_KEYS)
    if missing:
        raise ValueError(f"the meta data of {what} lack {', '.join(missing)}; {AGAIN}")
    if meta["format"] != FORMAT:
        raise ValueError(f"{what}: format {meta['format']!r}, this version reads {FORMAT}; {AGAIN}")
    if len(meta["au_names"]) != num_aus or list(meta["thresholds"]) != list(meta["au_names"]):
        raise ValueError(
            f"{what}: scores of {num_aus} AUs, named {meta['au_names']}, with thresholds of "
            f"{list(meta['thresholds'])}; {AGAIN}"
        )
