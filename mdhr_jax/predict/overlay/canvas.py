"""Text and rectangles on arrays of pixels, fast enough for every frame of a video."""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

Pixels = UInt8[np.ndarray, "H W 3"]
Colour = tuple[int, int, int]


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ImportError("text needs a Pillow that was built with FreeType: pip install --upgrade Pillow")
    return font


@functools.lru_cache(maxsize=4096)
def glyphs(text: str, size: int) -> Float32[np.ndarray, "h w"]:
    """How much of each pixel a text covers; all texts of a size have one height.

    Args:
        text: a line.
        size: of the letters, pixels.

    Raises:
        ImportError: Pillow cannot draw text.
    """
    font = _font(size)
    ascent, descent = font.getmetrics()
    width = max(1, int(np.ceil(font.getlength(text))))
    image = Image.new("L", (width, ascent + descent))
    ImageDraw.Draw(image).text((0, 0), text, fill=255, font=font)
    return np.asarray(image, np.float32)[..., None][..., 0] / 255


def text_width(text: str, size: int) -> int:
    """Pixels that a text takes."""
    return glyphs(text, size).shape[1]


def write(
    canvas: Pixels, x: int, y: int, text: str, size: int, colour: Colour, *, right: bool = False
) -> None:
    """Writes a line of text; what does not fit on the canvas is cut off.

    Args:
        canvas: changed in place.
        x: its left edge, or with `right` its right edge, pixels.
        y: the middle of its height.
        text: the line.
        size: of the letters, pixels.
        colour: of the letters.
        right: whether it ends at `x`.
    """
    cover = glyphs(text, size)
    left, top = (x - cover.shape[1] if right else x), y - cover.shape[0] // 2
    first_x, first_y = max(0, -left), max(0, -top)
    place = canvas[top + first_y : top + cover.shape[0], left + first_x : left + cover.shape[1]]
    cover = cover[first_y : first_y + place.shape[0], first_x : first_x + place.shape[1], None]
    place[:] = (place * (1 - cover) + np.asarray(colour, np.float32) * cover + 0.5).astype(np.uint8)


def fill(
    canvas: Pixels, x0: float | int, y0: float | int, x1: float | int, y1: float | int, colour: Colour
) -> None:
    """Fills a rectangle; what is beyond the canvas is left out.

    Args:
        canvas: changed in place.
        x0, y0, x1, y1: pixels.
        colour: of it.
    """
    height, width = canvas.shape[:2]
    left, right = (int(np.clip(round(x), 0, width)) for x in (x0, x1))
    top, bottom = (int(np.clip(round(y), 0, height)) for y in (y0, y1))
    canvas[top:bottom, left:right] = colour


def frame(canvas: Pixels, box: Sequence[float | int], thickness: int, colour: Colour) -> None:
    """Draws the sides of a rectangle, inside of it.

    Args:
        canvas: changed in place.
        box: x0, y0, x1, y1, pixels.
        thickness: of the sides, pixels.
        colour: of them.
    """
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    fill(canvas, x0, y0, x1, y0 + thickness, colour)
    fill(canvas, x0, y1 - thickness, x1, y1, colour)
    fill(canvas, x0, y0, x0 + thickness, y1, colour)
    fill(canvas, x1 - thickness, y0, x1, y1, colour)


def disc(canvas: Pixels, x: int, y: int, size: int, colour: Colour, *, hollow: bool) -> None:
    """Draws a disc or, hollow, a ring.

    Args:
        canvas: changed in place.
        x, y: its middle, pixels.
        size: its diameter.
        colour: of it.
        hollow: whether it is a ring.
    """
    cover = _disc(size, hollow)[..., None]
    top, left = y - size // 2, x - size // 2
    place = canvas[top : top + size, left : left + size]
    place[:] = (place * (1 - cover) + np.asarray(colour, np.float32) * cover + 0.5).astype(np.uint8)


@functools.cache
def _disc(size: int, hollow: bool) -> Float32[np.ndarray, "s s"]:
    away = np.arange(size) + 0.5 - size / 2
    radius = np.hypot(away[:, None], away[None])
    cover = np.clip(size / 2 - radius + 0.5, 0, 1)
    if hollow:
        cover *= np.clip(radius - (size / 2 - 1.5) + 0.5, 0, 1)
    return cover.astype(np.float32)
