"""Action units of videos, pictures and aligned faces from a checkpoint: `mdhr_jax.Predictor`."""

import dataclasses
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from mdhr_jax.faces import media, mtcnn, options, precomputed
from mdhr_jax.faces.detector import Detector
from mdhr_jax.faces.people import PeopleAligner, PeopleFrame
from mdhr_jax.faces.recipe import AlignmentRecipe
from mdhr_jax.predict import table
from mdhr_jax.predict.checkpoint import Trained, load
from mdhr_jax.predict.rows import FaceInFrame, Row, RowMaker
from mdhr_jax.predict.scorers import ClipScorer, Scorer
from mdhr_jax.predict.scoring import Found, Scoring
from mdhr_jax.predict.sharing import SharedScorer
from mdhr_jax.predict.streams import StreamScorer

if TYPE_CHECKING:
    import pandas

Picture = UInt8[np.ndarray, "H W 3"]
TimedFrames = Iterable[tuple[float | None, np.ndarray]]


MODES = ("stream", "clips")
"""How frames are scored: each with all that is around it, or in the windows of evaluation."""


class Predictor:
    """Scores of action units for recordings and for single frames.

        predictor = mdhr_jax.Predictor("runs/bp4d-1")
        table = predictor("interview.mp4")
        table.loc[table.success == 1, "AU12_p"].mean()

        for frame in camera:                     # aligned faces
            for row in predictor.push(frame):    # rows of earlier frames, `look_ahead` frames later
                print(row.frame, dict(zip(predictor.au_names, row.scores)))
        rows = predictor.flush()

    Several recordings may be on their way at the same time, as may a pushed stream: iterators of `rows` and
    `rows_of` can be taken from in turn, and scores are those of each alone, to rounding. One predictor
    belongs to one thread.

    Args:
        checkpoint: a run's directory, its ``checkpoints`` directory or one step's directory. Of several steps
            the best is taken. Or one that is loaded already.
        mode: ``stream``: each frame is scored with all frames around it that the model can see, as if the
            recording were one clip; or ``clips``: in windows of consecutive frames, as evaluation has them
            (16 in the reference), beyond which nothing is seen.
        batch: what is computed at a time for whole recordings: frames, or windows in mode ``clips``. Larger
            ones suit accelerators.

    Attributes:
        trained: the model and what its scores mean.
        mode: as given.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the checkpoint does not say how the faces that it was trained on were cut out, or is no
            checkpoint of this project; an argument is out of range.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] | Trained,
        *,
        mode: str = "stream",
        batch: int | None = None,
    ):
        self.trained = checkpoint if isinstance(checkpoint, Trained) else load(Path(checkpoint))
        self.mode = mode
        self._scorer = make_scorer(self.trained, mode, batch)
        self._shared = SharedScorer(self._scorer)
        self._pushed: RowMaker | None = None
        self._push_scorer: Scorer | None = None
        self._run = 0

    @property
    def au_names(self) -> tuple[str, ...]:
        """Names of the AUs in the order of the scores, such as ``AU12``."""
        return self.trained.au_set.au_names

    @property
    def thresholds(self) -> dict[str, float]:
        """What a score must reach for present, by AU name."""
        return dict(self.trained.thresholds)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the tables, see `mdhr_jax.predict.table`."""
        return table.columns(self.trained.au_set.aus)

    @property
    def look_ahead(self) -> int:
        """Frames after a pushed frame until its scores are there, at most.

        k for the dynamics and 2 for the temporal convolution, as far as the model has them; in mode ``clips``
        a window less one.
        """
        return self._scorer.look_ahead

    @property
    def frames_a_batch(self) -> int:
        """Frames of recordings that are computed at a time."""
        return self._scorer.frames_a_batch

    def __call__(
        self,
        source: str | os.PathLike[str] | Iterable[np.ndarray],
        *,
        aligned: bool = False,
        fps: float | None = None,
        detector: Detector | None = None,
    ) -> "pandas.DataFrame":
        """Scores of everybody in a recording.

        Args:
            source: path of a video file, a picture or a folder of pictures; or frames, uint8 RGB of
                (H, W, 3), such as an array of (F, H, W, 3).
            aligned: whether each frame is one aligned face already, see `push`; faces are not looked for
                then.
            fps: frames a second, for timestamps where the source has none.
            detector: that finds the faces; by default MTCNN.

        Returns:
            A row a face and frame, and one for each frame without a face; see `mdhr_jax.predict.table`.

        Raises:
            FileNotFoundError: there is no such recording.
            ValueError: it cannot be read, or the frames are not what is expected.
            ImportError: what is needed to read videos, to find faces or for tables is missing.
        """
        table.require_pandas()
        rows = self.rows(source, aligned=aligned, fps=fps, detector=detector)
        return table.data_frame(rows, self.trained.au_set.aus)

    def rows(
        self,
        source: str | os.PathLike[str] | Iterable[np.ndarray],
        *,
        aligned: bool = False,
        fps: float | None = None,
        detector: Detector | None = None,
    ) -> Iterator[Row]:
        """The same one after the other, in order and in bounded memory.

        Args:
            source, aligned, fps, detector: as in a call.

        Raises:
            FileNotFoundError, ValueError, ImportError: as in a call.
        """
        return self.rows_of(_timed(source), aligned=aligned, fps=fps, detector=detector)

    def rows_of(
        self,
        frames: TimedFrames,
        *,
        aligned: bool = False,
        fps: float | None = None,
        detector: Detector | None = None,
        watch: Callable[[PeopleFrame], None] | None = None,
    ) -> Iterator[Row]:
        """The same of frames with their times.

        Args:
            frames: seconds, or None, and RGB frames.
            aligned, fps, detector: as in a call.
            watch: is told where the faces of each frame were found, in order, before its rows come.

        Raises:
            ValueError, ImportError: as in a call.
        """
        with self.scoring(frames, aligned=aligned, fps=fps, detector=detector, watch=watch) as scoring:
            while not scoring.done:
                yield from scoring.finish() if scoring.ended else scoring.step()

    def scoring(
        self,
        frames: TimedFrames,
        *,
        aligned: bool = False,
        fps: float | None = None,
        detector: Detector | None = None,
        watch: Callable[[PeopleFrame], None] | None = None,
    ) -> Scoring:
        """The same step by step, a frame at a time: to work on several recordings in turn.

        The last rows of a recording that has ended may then wait until the others have filled a batch, where
        `rows_of` computes what there is.

        Args:
            frames, aligned, fps, detector, watch: as for `rows_of`.

        Returns:
            A context to be left at the end, see `Scoring`.

        Raises:
            ValueError: fps is out of range, or the recipe's detector is unknown.
            ImportError: MTCNN is missing.
        """
        if fps is not None and not fps > 0:
            raise ValueError(f"fps is frames a second, more than 0, found {fps}")
        timed = ((i / fps if time is None and fps else time, frame) for i, (time, frame) in enumerate(frames))
        if aligned:
            found = self._of_aligned(timed)
        else:
            found = self._of_pictures(timed, detector or make_detector(self.trained.recipe), watch)
        part = self._shared.part()
        return Scoring(found, RowMaker(part, self.au_names, self.trained.thresholds), part)

    def push(self, frame: np.ndarray | None, timestamp: float | None = None) -> list[Row]:
        """Takes the next frame of a stream of aligned faces of one person.

        Args:
            frame: the aligned face, uint8 RGB (S, S, 3), cut out by `trained.recipe` (256 x 256 pixels by
                default), as `mdhr_jax.faces` does; None for a frame without a face, after which the model
                begins anew.
            timestamp: of the frame, seconds; passed on to its row.

        Returns:
            The rows that became final, in order: scores of a frame come with the frame that is `look_ahead`
            after it, frames without a face as soon as those before them are final.

        Raises:
            ValueError: the frame is not what is expected.
        """
        if self._pushed is None:
            self._push_scorer = self._push_scorer or make_scorer(self.trained, self.mode, 1)
            self._pushed = RowMaker(self._push_scorer, self.au_names, self.trained.thresholds)
        if frame is None:
            self._run += 1
            return self._pushed.add(timestamp, [])
        return self._pushed.add(timestamp, [FaceInFrame(0, self._run, self._checked(frame), None)])

    def flush(self) -> list[Row]:
        """Ends the stream that was pushed: its last rows. What is pushed next is frame 1 of another."""
        rows = [] if self._pushed is None else self._pushed.finish()
        self.reset()
        return rows

    def reset(self) -> None:
        """Forgets the stream that was pushed; rows that are not final are lost."""
        if self._pushed is not None:
            self._pushed.forget()
        self._pushed = None
        self._run += 1

    def _of_aligned(self, timed: TimedFrames) -> Generator[Found]:
        for timestamp, frame in timed:
            yield [(timestamp, [FaceInFrame(0, 0, self._checked(frame), None)])]

    def _of_pictures(
        self, timed: TimedFrames, detector: Detector, watch: Callable[[PeopleFrame], None] | None
    ) -> Generator[Found]:
        aligner = PeopleAligner(self.trained.recipe, detector)
        times: dict[int, float | None] = {}

        def known(frames: list[PeopleFrame]) -> Found:
            found = []
            for frame in frames:
                if watch is not None:
                    watch(frame)
                faces = [FaceInFrame(f.track, f.run, f.image, f.confidence) for f in frame.faces]
                found.append((times.pop(frame.index), faces))
            return found

        for index, (timestamp, frame) in enumerate(timed):
            times[index] = timestamp
            yield known(aligner.push(_checked_picture(frame)))
        yield known(aligner.flush())

    def _checked(self, frame: Any) -> Picture:
        """An aligned face.

        Raises:
            ValueError: it is none.
        """
        picture = _checked_picture(frame)
        height, width = picture.shape[:2]
        least = self.trained.image_size
        if height != width or height < least:
            raise ValueError(
                f"an aligned face is square, of {self.trained.recipe.size} x {self.trained.recipe.size} "
                f"pixels (at least {least} x {least}); found {width} x {height}"
            )
        return picture


def make_scorer(trained: Trained, mode: str, batch: int | None = None) -> Scorer:
    """The scorer of a mode.

    Args:
        trained: the model.
        mode: one of `MODES`.
        batch: see `StreamScorer` (frames) and `ClipScorer` (windows); by default theirs.

    Raises:
        ValueError: the mode is unknown, or the batch too small.
    """
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is unknown; expected one of {', '.join(MODES)}")
    chosen = {} if batch is None else {"batch": batch}
    return StreamScorer(trained, **chosen) if mode == "stream" else ClipScorer(trained, **chosen)


def make_detector(recipe: AlignmentRecipe) -> Detector:
    """The detector of a recipe for recordings of one's own.

    Where another program found the faces of the training data, MTCNN looks for those of other recordings.

    Raises:
        ValueError: the recipe's detector is unknown.
        ImportError: MTCNN is missing.
    """
    return options.detector(searching(recipe), None, "")


def searching(recipe: AlignmentRecipe) -> AlignmentRecipe:
    """The recipe, with MTCNN in place of another program that nobody can ask."""
    if recipe.detector != precomputed.NAME:
        return recipe
    usual = AlignmentRecipe()
    return dataclasses.replace(
        recipe, detector=mtcnn.NAME, short_side=usual.short_side, detect_every=usual.detect_every
    )


def _timed(source: Any) -> TimedFrames:
    """Frames of a source with their times.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no recording.
    """
    if isinstance(source, str | os.PathLike):
        (recording,) = media.recordings([Path(source).expanduser()])
        return recording.timed_frames()
    if isinstance(source, np.ndarray) and source.ndim != 4:
        raise ValueError(f"frames are an array of (frames, height, width, 3), found {source.shape}")
    if not isinstance(source, Iterable) or isinstance(source, bytes):
        raise ValueError(
            "a source is the path of a video, a picture or a folder of pictures, or frames, uint8 RGB of "
            f"(height, width, 3); found {source!r}. Frames of a camera go to push or rows, one by one"
        )
    return ((None, frame) for frame in source)


def _checked_picture(frame: Any) -> Picture:
    """A picture.

    Raises:
        ValueError: it is none.
    """
    if isinstance(frame, str | bytes | os.PathLike):
        raise ValueError(
            f"a frame is a picture, uint8 RGB of (height, width, 3), found the path {os.fspath(frame)!r}; a "
            "path is a source of its own, give one at a time"
        )
    found = np.asarray(frame)
    if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] != 3 or not found.size:
        raise ValueError(
            f"a frame is RGB, uint8 of (height, width, 3), found {found.dtype} of {found.shape}; multiply "
            "values in [0, 1] by 255, repeat the channel of grey pictures"
        )
    return found
