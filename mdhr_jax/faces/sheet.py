"""A contact sheet: crops side by side, with the line on which their eyes should be."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from mdhr_jax.faces.recipe import AlignmentRecipe

COLUMNS = 8
CELL = 160
"""Side of a crop on the sheet, pixels."""

_LINE = (0, 255, 90)


def draw(crops: Sequence[tuple[str, UInt8[np.ndarray, "S S 3"]]], recipe: AlignmentRecipe) -> Image.Image:
    """Draws crops in rows.

    Args:
        crops: with a short text each.
        recipe: that they were cut out by.

    Raises:
        ValueError: there are none.
    """
    if not crops:
        raise ValueError("there is no crop to draw")
    columns = min(COLUMNS, len(crops))
    sheet = Image.new("RGB", (columns * CELL, -(-len(crops) // columns) * CELL))
    for i, (text, crop) in enumerate(crops):
        cell = Image.fromarray(crop).resize((CELL, CELL), Image.Resampling.BICUBIC)
        pen = ImageDraw.Draw(cell)
        height = round(recipe.eye_height * CELL)
        pen.line([(0, height), (CELL, height)], fill=_LINE)
        for side in (-0.5, 0.5):
            x = round((0.5 + side * recipe.eye_distance) * CELL)
            pen.line([(x, height - 4), (x, height + 4)], fill=_LINE)
        pen.text((3, CELL - 13), text, fill=_LINE)
        sheet.paste(cell, (i % columns * CELL, i // columns * CELL))
    return sheet
