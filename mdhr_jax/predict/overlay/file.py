"""The overlay of a recording as a file: a video with the recording's own times, or a picture."""

import fractions
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from mdhr_jax.predict import second_look
from mdhr_jax.predict.overlay.canvas import Pixels
from mdhr_jax.predict.overlay.film import Film
from mdhr_jax.predict.overlay.layout import layout
from mdhr_jax.predict.overlay.painter import Painter, history, slots
from mdhr_jax.predict.rows import Row
from mdhr_jax.predict.second_look import Shown, Source
from mdhr_jax.predict.trail import Spot
from mdhr_jax.progress import Progress

PICTURES_RATE = 10
"""Pictures a second of a folder whose pictures have no times."""

_USUAL_RATE = fractions.Fraction(25)
_TICKS = fractions.Fraction(1, 90_000)


def write(part: Path, kind: str, source: Source) -> None:
    """Draws and writes an overlay, in memory that does not depend on its length.

    Args:
        part: where to write.
        kind: ``.mp4`` or ``.png``.
        source: what is shown.

    Raises:
        ValueError: the recording cannot be read again, or table and faces are not of it.
        OSError: the file cannot be written.
        ImportError: PyAV is missing, or cannot write videos.
    """
    recording, overview, trained, fps = source.recording, source.overview, source.trained, source.fps
    note = "model trained on drawn faces: not valid for real ones" if source.drawn_faces else ""
    painter: Painter | None = None

    def paint(shown: Shown, spots: Sequence[Spot], rows: Sequence[Row]) -> Pixels:
        nonlocal painter
        if painter is None:
            at_a_time = max(slots(overview.people).values(), default=0) + 1
            size = (shown.width, shown.height)
            arranged = layout(*size, at_a_time, trained.au_set.num_aus, timeline=kind == ".mp4")
            names, limits = trained.au_set.au_names, trained.thresholds
            painter = Painter(arranged, overview.people, names, limits, history(overview), note)
        *_, wide, high = painter.layout.fit(shown.width, shown.height)
        return painter.draw(shown.resized(wide, high), wide / shown.width, spots, rows)

    frames = source.together()
    with Progress(overview.frames, unit="frames", label=f"{recording.name}, overlay") as progress:
        if kind == ".png":
            for one in frames:
                Image.fromarray(paint(*one)).save(part, "PNG")
                progress.update()
            return
        rate = second_look.rate(recording) or (_USUAL_RATE if recording.is_video else None)
        if rate is None:
            rate = fractions.Fraction(PICTURES_RATE if fps is None else fps).limit_denominator(1001)
        _film(part, ((one[0], paint(*one)) for one in frames), rate, progress)


def _film(
    part: Path, pictures: Iterator[tuple[Shown, Pixels]], rate: fractions.Fraction, progress: Progress
) -> None:
    """Writes pictures at the times of their frames, counted from the first."""
    shown, waiting = next(pictures)
    base = shown.time_base or _TICKS
    usual = max(1, round(1 / (rate * base)))
    start, now = shown.pts, 0
    with Film(part, waiting.shape[1], waiting.shape[0], rate, base) as film:
        number = 0
        for number, (shown, picture) in enumerate(pictures, 1):
            if start is None or shown.pts is None or shown.time_base is None:
                # Without rounding piling up.
                then = now + usual if start is not None else round(number / (rate * base))
            else:
                then = max(now + 1, round((shown.pts - start) * shown.time_base / base))
            film.write(waiting, now, then - now)
            progress.update()
            now, waiting = then, picture
        film.write(waiting, now, usual)
        progress.update()
