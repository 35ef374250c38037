"""One scorer for several recordings: their frames fill batches together, and each gets its own scores."""

from collections.abc import Hashable, Iterable
from typing import cast

from mdhr_jax.predict.scorers import AlignedImage, Scored, Scorer


class SharedScorer:
    """Hands out parts of a scorer.

    Args:
        scorer: that nobody else uses.
    """

    def __init__(self, scorer: Scorer):
        self.scorer = scorer
        self._parts: dict[int, list[Scored]] = {}
        self._next = 0

    def part(self) -> "PartOfScorer":
        """What another recording may use as if it were its own scorer."""
        self._next += 1
        self._parts[self._next] = []
        return PartOfScorer(self, self._next)

    def sort(self, scored: Iterable[Scored]) -> None:
        """Lays scores where the recordings that they are of find them."""
        for one in scored:
            number, stream = cast(tuple[int, Hashable], one.stream)
            self._parts[number].append(Scored(stream, one.index, one.scores))

    def give(self, number: int) -> list[Scored]:
        """The scores of a part that have been computed."""
        found, self._parts[number] = self._parts[number], []
        return found

    def forget(self, number: int, stream: Hashable) -> None:
        """Drops a stream of a part."""
        self.scorer.forget((number, stream))
        self._parts[number] = [one for one in self._parts[number] if one.stream != stream]

    def close(self, number: int) -> None:
        """Ends a part, whose streams have been scored or forgotten."""
        self._parts.pop(number, None)


class PartOfScorer:
    """A scorer whose streams have names of their own, and whose batches others help to fill.

    Args:
        shared: of which it is a part.
        number: of the part.
    """

    def __init__(self, shared: SharedScorer, number: int):
        self._shared, self._number = shared, number

    @property
    def look_ahead(self) -> int:
        """See `Scorer`."""
        return self._shared.scorer.look_ahead

    @property
    def frames_a_batch(self) -> int:
        """See `Scorer`."""
        return self._shared.scorer.frames_a_batch

    def push(self, stream: Hashable, image: AlignedImage) -> None:
        """Takes the next frame of a stream, see `Scorer`."""
        self._shared.scorer.push((self._number, stream), image)

    def end(self, stream: Hashable) -> None:
        """Says that a stream has no more frames."""
        self._shared.scorer.end((self._number, stream))

    def take(self) -> list[Scored]:
        """This part's scores that are there; those of others are kept for them."""
        self._shared.sort(self._shared.scorer.take())
        return self._shared.give(self._number)

    def drain(self) -> list[Scored]:
        """All scores of this part that can be had without further frames; others get theirs too."""
        self._shared.sort(self._shared.scorer.drain())
        return self._shared.give(self._number)

    def forget(self, stream: Hashable) -> None:
        """Drops a stream with all of its scores that were not taken."""
        self._shared.forget(self._number, stream)

    def close(self) -> None:
        """Ends this part: nothing is asked of it any more."""
        self._shared.close(self._number)
