"""Runs an exported model. Needs JAX and NumPy and nothing else: this file can be taken along on its own.

    model = load("exported")                    # folder that ``python -m mdhr_jax.export`` wrote
    scores = model.scores(faces)                # uint8 RGB (F, L, L, 3) -> float32 (F, N), a whole recording
    scores = model.clips(windows)               # uint8 RGB (B, T, L, L, 3) -> float32 (B, T, N)

    stream = model.stream()                     # one frame at a time
    for face in faces:
        for number, scores in stream.push(face):    # of the frame `look_ahead` before
            print(number, dict(zip(model.au_names, scores)))
    last = stream.flush()

Faces are cut out as ``crop_recipe`` of the folder's ``meaning.json`` says, which describes everything else
too.
"""

import hashlib
import json
import zipfile
from pathlib import Path

import jax
import jax.export
import numpy as np

FORMAT = 1
"""Of the folder."""
MEANING = "meaning.json"
"""The file that is written last: without it a folder is not complete."""


def load(folder):
    """The model of a folder.

    Args:
        folder: path of a folder that ``python -m mdhr_jax.export`` wrote.

    Returns:
        An `ExportedModel`.

    Raises:
        FileNotFoundError: the folder or one of its files is not there.
        ValueError: a file is not what was written, or of another format.
    """
    folder = Path(folder).expanduser()
    path = folder / MEANING
    if not path.is_file():
        found = "it has no " + MEANING if folder.is_dir() else "there is no such folder"
        raise FileNotFoundError(
            f"{folder} is no exported model: {found}; python -m mdhr_jax.export makes one"
        )
    try:
        meaning = json.loads(path.read_text(encoding="utf-8"))
        version = meaning["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}); export the checkpoint again") from error
    if version != FORMAT:
        raise ValueError(
            f"{path} has format {version}, expected {FORMAT}; use the loader.py that lies beside it"
        )
    return ExportedModel(folder, meaning)


class ExportedModel:
    """An exported model with its weights.

    Attributes:
        meaning: all facts, as in ``meaning.json``.
        au_names: of the N scores, in order.
        thresholds: float32 (N,), what a score must reach for present.
        edge: L, edge of an aligned face, pixels.
        clip_length: T, frames of a window.
        look_ahead: frames after a frame until its scores are known.
    """

    def __init__(self, folder, meaning):
        self.meaning = meaning
        self.au_names = tuple(meaning["au_names"])
        self.thresholds = np.asarray([meaning["thresholds"][name] for name in self.au_names], np.float32)
        self.edge = meaning["input"]["edge"]
        self.clip_length = meaning["clip_length"]
        self.look_ahead = meaning["look_ahead"]["model"]
        if "float64" in meaning["dtypes"] and not jax.config.read("jax_enable_x64"):
            raise ValueError(f"{folder} computes in float64, which JAX does with JAX_ENABLE_X64=1 alone")
        self._folder = folder
        self._programs = {}
        self._weights = jax.device_put(self._read_weights())

    def clips(self, frames):
        """Scores of windows of consecutive frames, which see nothing of each other.

        Args:
            frames: uint8 RGB (B, T, L, L, 3).

        Returns:
            float32 (B, T, N), in [0, 1].

        Raises:
            ValueError: the frames are not what is expected.
        """
        frames = self._checked(frames, (None, self.clip_length), "windows")
        return np.asarray(self._program("clips")(self._weights, frames))

    def scores(self, frames):
        """Scores of all frames of one recording, each with all that is around it.

        Args:
            frames: uint8 RGB (F, L, L, 3), one face without a gap; an array, or frames that come one by one.

        Returns:
            float32 (F, N), in [0, 1].

        Raises:
            ValueError: the frames are not what is expected.
        """
        stream = self.stream(places=max(self.places))
        found = [one for frame in frames for one in stream.push(frame)] + stream.flush()
        return np.asarray([scores for _, scores in found], np.float32).reshape(-1, len(self.au_names))

    def present(self, scores):
        """Whether the AUs are present: which scores reach their thresholds.

        Args:
            scores: float32 (..., N).
        """
        return np.asarray(scores) >= self.thresholds

    def stream(self, places=1):
        """A stream of single frames.

        Args:
            places: frames that are computed at a time, one of `places`; 1 gives scores as early as can be.
        """
        return Stream(self, places)

    @property
    def places(self):
        """Numbers of frames for which there is a program of `step`."""
        return tuple(self.meaning["places"])

    def init(self, streams):
        """State of streams that have not begun: arrays by name, first axis S.

        Args:
            streams: S.
        """
        kept = self.meaning["state"]
        return {
            name: np.zeros((streams, *one["shape"][1:]), jax.numpy.dtype(one["dtype"]))
            for name, one in kept.items()
        }

    def step(self, state, frames, real, behind, fresh):
        """Takes up to F more frames of each of S streams.

        Args:
            state: as `init` or the last step gave it.
            frames: uint8 RGB (S, F, L, L, 3), F one of `places`.
            real: int32 (S,), how many of a stream's F places are frames; they come first.
            behind: int32 (S,), places after those that stand for what comes behind the stream's end. A stream
                is ended by `look_ahead` of them.
            fresh: bool (S,), streams that begin here, whatever their state.

        Returns:
            The next state; and scores, float32 (S, F, N): at place j those of the stream's frame
            ``frames taken before + j - look_ahead``, where there is one and ``j < real + behind``. Places
            behind the end count as taken.

        Raises:
            ValueError: the frames are not what is expected.
        """
        frames = self._checked(frames, (None, None), "chunks of frames")
        if frames.shape[1] not in self.places:
            raise ValueError(f"expected {self.places} frames a step, found {frames.shape[1]}")
        counts = (np.asarray(real, np.int32), np.asarray(behind, np.int32), np.asarray(fresh, bool))
        return self._program(f"step{frames.shape[1]}")(self._weights, state, frames, *counts)

    def _checked(self, frames, leading, what):
        frames = np.asarray(frames)
        expected = (*leading, self.edge, self.edge, 3)
        fits = len(frames.shape) == len(expected) and all(
            want in (None, found)
            for want, found in zip(expected, frames.shape)  # noqa: B905 (Python 3.9)
        )
        if frames.dtype != np.uint8 or not fits:
            shape = ", ".join("any" if want is None else str(want) for want in expected)
            raise ValueError(
                f"{what} are uint8 RGB of ({shape}), found {frames.dtype} of {frames.shape}; "
                "faces are cut out by the crop_recipe of meaning.json"
            )
        return frames

    def _program(self, name):
        """A program, read and compiled when it is first used."""
        if name not in self._programs:
            content = self._read(self.meaning["programs"][name])
            # Under jit it is compiled once for each number of clips or streams.
            self._programs[name] = jax.jit(jax.export.deserialize(bytearray(content)).call)
        return self._programs[name]

    def _read_weights(self):
        path = self._folder / self.meaning["weights"]["file"]
        self._check(path, self.meaning["weights"]["sha256"])
        try:
            with np.load(path) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged ({error}); export the checkpoint again") from error

    def _read(self, entry):
        path = self._folder / entry["file"]
        self._check(path, entry["sha256"])
        return path.read_bytes()

    def _check(self, path, wanted):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there; copy the whole folder, or export again")
        if sha256(path) != wanted:
            raise ValueError(
                f"{path} is not the file that was written; copy the whole folder, or export again"
            )


class Stream:
    """Scores of the frames of one face, frame after frame; made by `ExportedModel.stream`."""

    def __init__(self, model, places=1):
        if places not in model.places:
            raise ValueError(f"expected {model.places} frames at a time, found {places}")
        self._model, self._places = model, places
        self._still = model.meaning["still_frames"]
        self._restart()

    def push(self, frame):
        """Takes the next frame.

        Args:
            frame: uint8 RGB (L, L, 3).

        Returns:
            What became known: numbers of frames, from 0, with their scores, float32 (N,).

        Raises:
            ValueError: the frame is not what is expected.
        """
        frame = self._model._checked(frame, (), "aligned faces")
        if not self._pushed:
            self._first = frame
        self._pushed += 1
        self._waiting.append(frame)
        return self._run(0) if len(self._waiting) == self._places else []

    def flush(self):
        """Ends the stream: the scores that still wait. What is pushed next begins another."""
        shown, found = self._pushed, []
        if shown == 1:
            # Nothing can move in a single frame: it is scored as the first of a clip of such frames.
            first = self._first
            for _ in range(self._still - 1):
                found += self.push(first)
        behind = self._model.look_ahead if self._pushed else 0
        while self._waiting or behind:
            now = min(behind, self._places - len(self._waiting))
            found += self._run(now)
            behind -= now
        self._restart()
        return [one for one in found if one[0] < shown]

    def _restart(self):
        self._state = self._model.init(1)
        self._waiting, self._first = [], None
        self._pushed = self._taken = self._behind = 0

    def _run(self, behind):
        frames = np.zeros((1, self._places, self._model.edge, self._model.edge, 3), np.uint8)
        real = len(self._waiting)
        for place, frame in enumerate(self._waiting):
            frames[0, place] = frame
        self._waiting = []
        self._state, scores = self._model.step(self._state, frames, [real], [behind], [self._taken == 0])
        first = self._taken - self._model.look_ahead
        self._taken += real + behind
        values = np.asarray(scores)[0]
        return [(first + j, values[j]) for j in range(real + behind) if 0 <= first + j < self._pushed]


def sha256(path):
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
