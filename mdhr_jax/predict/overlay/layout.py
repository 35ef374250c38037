"""Where everything is in an overlay: the recording, and beside it a section for each face.

    picture      panel: a section for every face that is seen at one time
    footer       frame and time, what the marks mean

A section has a row for each AU: its name, whether it is present, a bar, the score, the last seconds.
"""

import dataclasses
import math

MOST = (1920, 1080)
"""Width and height of an overlay at most, pixels: what players show everywhere."""

_LEAST_HEIGHT = 480
_MOST_ENLARGED = 3.0
_PICTURE = (1280, 1000)
_MOST_PANEL = 1150

FOOTER = 26
MARGIN = 8


@dataclasses.dataclass(frozen=True)
class Style:
    """How large a section's parts are, pixels.

    Attributes:
        row: height of an AU's row.
        letters: size of the text.
        names, marks, bars, numbers, history: widths, in the order of a row.
    """

    row: int
    letters: int
    names: int
    marks: int
    bars: int
    numbers: int
    history: int

    @property
    def head(self) -> int:
        """Height of a section's head."""
        return self.letters + 10

    def width(self, timeline: bool) -> int:
        """Of a section with its margins."""
        parts = self.names + self.marks + self.bars + self.numbers
        return parts + (self.history if timeline else 0) + 2 * MARGIN

    def height(self, num_aus: int) -> int:
        """Of a section with its margin."""
        return self.head + num_aus * self.row + MARGIN


_STYLES = (
    Style(row=28, letters=16, names=52, marks=22, bars=130, numbers=48, history=220),
    Style(row=22, letters=14, names=46, marks=20, bars=110, numbers=42, history=170),
    Style(row=17, letters=12, names=40, marks=17, bars=84, numbers=36, history=130),
    Style(row=13, letters=11, names=36, marks=15, bars=60, numbers=33, history=80),
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Sizes and places, pixels.

    Attributes:
        width, height: of the whole, even.
        picture: width and height of the place that pictures are fitted into, at the upper left.
        style: of the sections.
        sections: left upper corner of each.
        timeline: whether sections have one.
    """

    width: int
    height: int
    picture: tuple[int, int]
    style: Style
    sections: tuple[tuple[int, int], ...]
    timeline: bool

    def fit(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Where a picture of some size is shown: left, top, width, height.

        Args:
            width, height: of the frame.
        """
        scale = min(self.picture[0] / width, self.picture[1] / height)
        wide = min(self.picture[0], max(1, round(width * scale)))
        high = min(self.picture[1], max(1, round(height * scale)))
        return (self.picture[0] - wide) // 2, (self.picture[1] - high) // 2, wide, high


def layout(width: int, height: int, faces: int, num_aus: int, *, timeline: bool) -> Layout:
    """Arranges an overlay. Large recordings are reduced, small ones enlarged, in proportion to the text.

    Args:
        width, height: of the recording, pixels.
        faces: how many are seen at one time; of many, as many as fit have a section.
        num_aus: rows of a section.
        timeline: whether time passes.
    """
    faces = max(1, faces)
    wanted = min(
        _PICTURE[0] / width,
        _PICTURE[1] / height,
        min(_MOST_ENLARGED, max(1.0, _LEAST_HEIGHT / height)),
    )
    ideal = height * wanted
    chosen = None
    for style in _STYLES:
        section = style.height(num_aus)
        # The panel may be higher than the picture, but not by much where there is another way.
        last = style is _STYLES[-1]
        room = MOST[1] - FOOTER if last else max(ideal, _LEAST_HEIGHT)
        rows = int(room // section)
        columns = math.ceil(faces / rows) if rows else 0
        if rows and columns * style.width(timeline) <= _MOST_PANEL * (0.5 if not last else 1.0):
            chosen = style, rows, columns
            break
    if chosen is None:
        style = _STYLES[-1]
        rows = max(1, (MOST[1] - FOOTER) // style.height(num_aus))
        columns = max(1, _MOST_PANEL // style.width(timeline))
    else:
        style, rows, columns = chosen
    shown = min(faces, rows * columns)
    rows = min(rows, shown)
    panel = columns * style.width(timeline)
    room = MOST[0] - panel, MOST[1] - FOOTER
    scale = min(wanted, room[0] / width, room[1] / height)
    picture = max(16, round(width * scale)), max(16, round(height * scale))
    high = max(picture[1], rows * style.height(num_aus))
    picture = picture[0], high
    sections = tuple(
        (picture[0] + (i // rows) * style.width(timeline), (i % rows) * style.height(num_aus))
        for i in range(shown)
    )
    # The codec wants even numbers.
    return Layout(
        width=picture[0] + panel + (picture[0] + panel) % 2,
        height=high + FOOTER + (high + FOOTER) % 2,
        picture=picture,
        style=style,
        sections=sections,
        timeline=timeline,
    )
