"""Draws a recording with everybody's box, number and action units: one picture a frame.

What is told by colour is told by form too: bars of present AUs are filled and have a disc, others are
outlines with a ring. Colours are Okabe and Ito's (2008), as in all figures of the project.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32, UInt8

from mdhr_jax.predict.overlay import canvas
from mdhr_jax.predict.overlay.canvas import Colour, Pixels
from mdhr_jax.predict.overlay.layout import FOOTER, MARGIN, Layout
from mdhr_jax.predict.reading import Overview, Person
from mdhr_jax.predict.rows import Row
from mdhr_jax.predict.trail import Spot

HISTORY_SECONDS = 10.0
"""Of the scrolling timeline, at most."""

HISTORY_FRAMES = 100
"""Of it, where frames have no times."""


def history(overview: Overview) -> float:
    """What a recording's scrolling timelines show: seconds, or frames where those have no times.

    Args:
        overview: of the table.
    """
    if not overview.timed:
        return float(min(HISTORY_FRAMES, overview.frames))
    whole = overview.end * overview.frames / max(1, overview.frames - 1)
    return min(HISTORY_SECONDS, whole) or HISTORY_SECONDS


_MOST_KEPT = 4096

GROUND: Colour = (22, 24, 29)
TEXT: Colour = (236, 236, 236)
FAINT: Colour = (158, 164, 174)
PRESENT: Colour = (230, 159, 0)
ABSENT: Colour = (118, 128, 142)
LIMIT: Colour = (255, 255, 255)
EMPTY: Colour = (44, 48, 56)
NO_FACE: Colour = (10, 11, 14)
BOXES: tuple[Colour, ...] = (
    (86, 180, 233),
    (240, 228, 66),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
    (255, 255, 255),
)


def slots(people: Mapping[int, Person]) -> dict[int, int]:
    """Which section is whose: the first one free, from a face's first frame to its last.

    Args:
        people: of the table.
    """
    free: list[int] = []
    open_until: list[tuple[int, int]] = []
    made = 0
    found: dict[int, int] = {}
    for person in sorted(people.values(), key=lambda person: (person.first, person.face_id)):
        free += [slot for last, slot in open_until if last < person.first]
        open_until = [(last, slot) for last, slot in open_until if last >= person.first]
        free.sort()
        if free:
            slot = free.pop(0)
        else:
            slot, made = made, made + 1
        found[person.face_id] = slot
        open_until.append((person.last, slot))
    return found


@dataclasses.dataclass
class _Section:
    """What a section shows: whose it is, and the last seconds as times and scores, NaN without a face."""

    face_id: int | None
    times: collections.deque[float]
    scores: collections.deque[Float32[np.ndarray, "N"]]


class Painter:
    """Draws the frames of a recording one after the other.

    Args:
        layout: of the overlay.
        people: of the table.
        au_names: of the scores.
        thresholds: what a score must reach for present, by AU name.
        span: of the scrolling timelines, see `history`.
        note: small print that every frame shows; empty for none.
    """

    def __init__(
        self,
        layout: Layout,
        people: Mapping[int, Person],
        au_names: Sequence[str],
        thresholds: Mapping[str, float],
        span: float = HISTORY_SECONDS,
        note: str = "",
    ):
        self.layout = self._layout = layout
        self._people, self._names = people, tuple(au_names)
        self._limits = np.asarray([thresholds[name] for name in au_names], np.float32)
        self._slots, self._span = slots(people), span
        self._sections = [
            _Section(None, collections.deque(maxlen=_MOST_KEPT), collections.deque(maxlen=_MOST_KEPT))
            for _ in layout.sections
        ]
        self._base = self._draw_base(note)

    def draw(
        self, picture: UInt8[np.ndarray, "h w 3"], scale: float, spots: Sequence[Spot], rows: Sequence[Row]
    ) -> Pixels:
        """The next frame.

        Args:
            picture: the frame, of the size that the layout fits it in.
            scale: the picture's pixels in one of the frame.
            spots: where faces are in the frame.
            rows: of the table, the frame's.
        """
        out = self._base.copy()
        layout = self._layout
        high, wide = picture.shape[:2]
        left, top = (layout.picture[0] - wide) // 2, (layout.picture[1] - high) // 2
        out[top : top + high, left : left + wide] = picture
        place = out[: layout.picture[1], : layout.picture[0]]
        number, timestamp = rows[0].frame, rows[0].timestamp
        for spot in spots:
            box = spot.box.astype(np.float64) * scale + np.asarray([left, top, left, top])
            self._draw_box(place, box, spot.face_id)
        now = float(number) if timestamp is None else timestamp
        by_slot = {self._slots[row.face_id]: row for row in rows if row.face_id is not None}
        for slot, section in enumerate(self._sections):
            self._draw_section(out, slot, section, by_slot.get(slot), now)
        hidden = sum(slot >= len(self._sections) for slot in by_slot)
        text = f"frame {number}" + ("" if timestamp is None else f"   {timestamp:.3f} s")
        text += f"   {hidden} more faces" if hidden else ""
        text += "" if by_slot else "   no face"
        canvas.write(out, MARGIN, layout.height - FOOTER // 2, text, 14, TEXT)
        return out

    def _draw_base(self, note: str) -> Pixels:
        """What is the same in all frames."""
        layout, style = self._layout, self._layout.style
        base = np.empty((layout.height, layout.width, 3), np.uint8)
        base[:] = GROUND
        for x, y in layout.sections:
            for i, name in enumerate(self._names):
                canvas.write(base, x + MARGIN, self._row(y, i), name, style.letters, TEXT)
        middle = layout.height - FOOTER // 2
        limit = layout.width - MARGIN
        key = "disc, filled: present   ring, outline: absent   white line: threshold"
        room = limit - 260
        for text, colour in ((note, PRESENT), (key, FAINT)):
            needed = canvas.text_width(text, 13) + 24 if text else 0
            if text and needed <= room:
                canvas.write(base, limit, middle, text, 13, colour, right=True)
                limit, room = limit - needed, room - needed
        return base

    def _row(self, top: int, au: int) -> int:
        style = self._layout.style
        return top + style.head + au * style.row + style.row // 2

    def colour(self, face_id: int) -> Colour:
        """Of a face's box."""
        return BOXES[self._slots.get(face_id, 0) % len(BOXES)]

    def _draw_box(self, place: Pixels, box: Float[np.ndarray, "4"], face_id: int) -> None:
        colour = self.colour(face_id)
        canvas.frame(place, (box + np.asarray([-1, -1, 1, 1])).tolist(), 5, (0, 0, 0))
        canvas.frame(place, box.tolist(), 3, colour)
        text, size = f"face {face_id}", self._layout.style.letters
        if canvas.text_width(text, size) + 10 > box[2] - box[0]:
            # In a crowd labels must not cover each other.
            text = f"{face_id}"
        wide, high = canvas.text_width(text, size) + 10, size + 8
        x = int(np.clip(box[0], 0, max(0, place.shape[1] - wide)))
        # Above the box, or inside of it where there is no room.
        y = int(box[1]) - high if box[1] >= high else int(max(0, box[1]))
        y = min(y, place.shape[0] - high)
        canvas.fill(place, x, y, x + wide, y + high, colour)
        dark = sum(colour) < 380
        canvas.write(place, x + 5, y + high // 2, text, size, (255, 255, 255) if dark else (0, 0, 0))

    def _draw_section(
        self,
        out: Pixels,
        slot: int,
        section: _Section,
        row: Row | None,
        now: float,
    ) -> None:
        layout, style = self._layout, self._layout.style
        x, y = layout.sections[slot]
        if row is not None and row.face_id != section.face_id:
            section.face_id = row.face_id
            section.times.clear()
            section.scores.clear()
        person = None if section.face_id is None else self._people[section.face_id]
        if person is None:
            canvas.write(out, x + MARGIN, y + style.head // 2 + 2, "no face", style.letters, FAINT)
            self._draw_history(out, section, x, y, now)
            return
        scores = None if row is None else row.scores
        section.times.append(now)
        section.scores.append(np.full(len(self._names), np.nan, np.float32) if scores is None else scores)
        while section.times and section.times[0] < now - self._span - 1:
            section.times.popleft()
            section.scores.popleft()
        colour = self.colour(person.face_id)
        size = style.letters
        middle = y + style.head // 2 + 2
        canvas.fill(out, x + MARGIN, middle - size // 2, x + MARGIN + size, middle + size // 2, colour)
        text = f"face {person.face_id}" + ("" if scores is not None else ", not seen")
        canvas.write(out, x + MARGIN + size + 6, middle, text, size, TEXT)
        bars = x + MARGIN + style.names + style.marks
        for i in range(len(self._names)):
            middle = self._row(y, i)
            self._draw_bar(out, bars, middle, None if row is None else row, i)
        self._draw_history(out, section, x, y, now)

    def _draw_bar(self, out: Pixels, x: int, middle: int, row: Row | None, au: int) -> None:
        style = self._layout.style
        half = max(3, style.row // 2 - 3)
        wide = style.bars - 8
        canvas.fill(out, x, middle - half, x + wide, middle + half, EMPTY)
        limit = x + float(self._limits[au]) * wide
        if row is not None and row.scores is not None and row.present is not None:
            score, present = float(row.scores[au]), bool(row.present[au])
            colour = PRESENT if present else ABSENT
            end = x + max(1.0, score * wide)
            if present:
                canvas.fill(out, x, middle - half, end, middle + half, colour)
            else:
                canvas.frame(out, (x, middle - half, max(end, x + 2), middle + half), 2, colour)
            diameter = min(style.letters - 2, style.row - 4)
            canvas.disc(out, x - style.marks // 2 - 2, middle, diameter, colour, hollow=not present)
            ink = TEXT if present else FAINT
            right = x + style.bars + style.numbers - 12
            canvas.write(out, right, middle, f"{score:.2f}", style.letters, ink, right=True)
        canvas.fill(out, limit - 1, middle - half - 1, limit + 1, middle + half + 1, LIMIT)

    def _draw_history(self, out: Pixels, section: _Section, x: int, y: int, now: float) -> None:
        """The last seconds of every AU, now at the right; dark where there was no face."""
        layout, style = self._layout, self._layout.style
        if not layout.timeline:
            return
        wide, high = style.history - 4, style.row - 3
        left = x + MARGIN + style.names + style.marks + style.bars + style.numbers
        values = _columns(section, now, self._span, wide, len(self._names))
        for i in range(len(self._names)):
            top = self._row(y, i) - high // 2
            place = out[top : top + high, left : left + wide]
            of_au = values[:, i]
            seen = np.isfinite(of_au)
            level = np.where(seen, np.round(np.nan_to_num(of_au) * (high - 1)), -1)
            # Rows count from the top.
            filled = (high - 1 - np.arange(high))[:, None] <= level[None]
            present = of_au >= self._limits[i]
            place[:] = np.where(seen[:, None], EMPTY, NO_FACE)[None]
            place[filled & present[None]] = PRESENT
            place[filled & ~present[None]] = ABSENT
            place[high - 1 - round(float(self._limits[i]) * (high - 1)), ::4] = LIMIT


def _columns(section: _Section, now: float, span: float, wide: int, num: int) -> Float32[np.ndarray, "w N"]:
    """The highest scores in each column of a timeline; NaN where there is no face."""
    out = np.full((wide, num), np.nan, np.float32)
    if not section.times:
        return out
    times = np.asarray(section.times)
    scores = np.stack(section.scores)
    edges = now - span + span * (np.arange(wide) + 1) / wide
    edges[-1] = now
    inside = times > now - span
    np.fmax.at(out, np.searchsorted(edges, times[inside]), scores[inside])
    # A frame is shown until the next one is.
    last = np.searchsorted(times, edges, side="right") - 1
    held = (last >= 0) & np.isnan(out[:, 0])
    out[held] = scores[last[held]]
    return out
