"""How far the command is with all of its inputs: one bar, whichever of them are being worked on."""

import contextlib
from collections.abc import Hashable, Iterator
from types import TracebackType

from mdhr_jax.progress import Progress


class Bar:
    """Counts frames of all inputs; nothing is shown before the first of them is begun.

    The bar of a single input has its name. Of several, how many frames there are in all is known as soon as
    the last one is begun.

    Args:
        inputs: how many there are.
    """

    def __init__(self, inputs: int):
        self._inputs = inputs
        self._progress: Progress | None = None
        self._counting = False
        # Frames that each input has or had, and those counted of the ones that are worked on.
        self._lengths: dict[Hashable, int] = {}
        self._counted: dict[Hashable, int] = {}
        self._over = 0

    def begin(self, one: Hashable, name: str, length: int) -> None:
        """Begins an input.

        Args:
            one: by what it is known here.
            name: as it is called.
            length: frames that it says it has; 0 where nobody knows.
        """
        self._lengths[one], self._counted[one] = length, 0
        if self._progress is None:
            label = name if self._inputs == 1 else "predicting"
            self._progress = Progress(0, unit="frames", label=label)
        self._tell()

    def add(self, one: Hashable, frames: int) -> None:
        """Counts frames of an input that got their rows."""
        if self._progress is None or not frames:
            return
        self._counted[one] += frames
        if not self._counting:
            # Before the first rows networks are read and compiled.
            self._counting = True
            self._progress.restart(frames)
        self._progress.update(frames)

    def end(self, one: Hashable) -> None:
        """Says that an input counts no more, begun or not; more than once is as good as once."""
        counted = self._counted.pop(one, None)
        if counted is None and one in self._lengths:
            return
        if self._inputs > 1:
            self._lengths[one] = counted or 0
        self._over += 1
        self._tell()
        if self._over == self._inputs:
            self.close()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Other work that has a progress of its own."""
        with contextlib.nullcontext() if self._progress is None else self._progress.paused():
            yield

    def close(self) -> None:
        """Ends the bar."""
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tell(self) -> None:
        if self._progress is None:
            return
        known = len(self._lengths) == self._inputs and all(self._lengths[one] > 0 for one in self._counted)
        self._progress.total = sum(self._lengths.values()) if known else 0
        if self._inputs > 1:
            self._progress.note = f"{self._over} of {self._inputs} inputs"
            self._progress.fraction = self._over / self._inputs
