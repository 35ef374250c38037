"""A recording on its way through the model: frame after frame, beside others that share the batches."""

from collections.abc import Generator, Sequence
from types import TracebackType

from mdhr_jax.predict.rows import FaceInFrame, Row, RowMaker
from mdhr_jax.predict.sharing import PartOfScorer

Found = Sequence[tuple[float | None, list[FaceInFrame]]]
"""Frames whose faces are known now, in order: when each is shown, and the faces."""


class Scoring:
    """Scores a recording step by step; a context that drops what is not done when it is left.

        with predictor.scoring(frames) as scoring:
            while not scoring.done:
                rows = scoring.finish() if scoring.ended else scoring.step()

    Args:
        frames: for every frame of the recording, those whose faces became known with it.
        maker: of its rows.
        part: of the scorer that the maker uses.

    Attributes:
        ended: whether there are no more frames; rows may still wait for a batch to fill.
        done: whether all rows have been given.
    """

    def __init__(self, frames: Generator[Found], maker: RowMaker, part: PartOfScorer):
        self.ended = self.done = False
        self._frames, self._maker, self._part = frames, maker, part

    def step(self) -> list[Row]:
        """Takes the next frame; returns the rows that became final, in order.

        When the recording has ended, the rows that became final since, as others filled the batch.

        Raises:
            ValueError: the recording cannot be read, a frame is not what is expected, or scores are not
                finite.
        """
        rows: list[Row] = []
        if self.ended:
            rows = self._maker.poll()
        else:
            found = next(self._frames, None)
            if found is None:
                rows, self.ended = self._maker.end(), True
            for timestamp, faces in found or ():
                rows += self._maker.add(timestamp, faces)
        self.done = self.ended and not self._maker.waits
        return rows

    def finish(self) -> list[Row]:
        """The rows that are left of a recording that has ended, without waiting for others.

        Raises:
            ValueError: scores are not finite.
        """
        if not self.ended:
            raise RuntimeError("there may be more frames; step until the end")
        rows = self._maker.finish()
        self.done = True
        return rows

    def close(self) -> None:
        """Drops what is not done; what others share is as it would be without."""
        self._maker.forget()
        self._part.close()
        self._frames.close()

    def __enter__(self) -> "Scoring":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
