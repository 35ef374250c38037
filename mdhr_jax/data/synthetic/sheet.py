"""Pictures to look at: the contact sheet of subjects and AUs, and a strip of one video with its labels."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from mdhr_jax.data.synthetic import actions
from mdhr_jax.data.synthetic.generator import (
    SyntheticSpec,
    SyntheticVideo,
    VideoId,
    apex_picture,
    render_video,
)
from mdhr_jax.progress import Progress

Picture = UInt8[np.ndarray, "H W 3"]

_PAPER, _INK, _FAINT, _GRID = (252, 252, 250), (34, 38, 44), (128, 134, 142), (226, 228, 230)
_BANDS = {"upper": (58, 110, 165), "middle": (46, 139, 112), "lower": (196, 98, 45)}


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _centred(draw: ImageDraw.ImageDraw, x: float | int, y: float | int, text: str, size: int, fill) -> None:
    draw.text((x, y), text, font=_font(size), fill=fill, anchor="mm")


def _row_title(draw: ImageDraw.ImageDraw, au: int, y: float | int, colour: tuple[int, int, int]) -> None:
    number, name = actions.title(au).split(" ", 1)
    draw.text((14, y - 12), number, font=_font(22), fill=colour, anchor="lm")
    draw.text((14, y + 14), name, font=_font(16), fill=_INK, anchor="lm")


def contact_sheet(
    spec: SyntheticSpec, subjects: Sequence[int] | int = 8, *, cell: int = 160, progress: bool = False
) -> Picture:
    """Rows: the neutral face, then every AU alone at its apex; columns: subjects.

    Args:
        spec: the data set.
        subjects: numbers of subjects from 0, or how many of the first ones.
        cell: side of a picture on the sheet, pixels.
        progress: whether to show a progress bar.

    Raises:
        ValueError: no subject is asked for, or one that the data set lacks.
    """
    chosen = list(range(min(subjects, spec.subjects))) if isinstance(subjects, int) else list(subjects)
    if not chosen or min(chosen) < 0 or max(chosen) >= spec.subjects:
        raise ValueError(
            f"the data set has subjects 0 to {spec.subjects - 1}, the sheet was asked for {chosen}"
        )
    aus = spec.au_set.aus
    margin, head, gap = 196, 34, 3
    width, height = margin + len(chosen) * (cell + gap) + gap, head + (1 + len(aus)) * (cell + gap) + gap
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    bands = {au: region.band for region in spec.au_set.regions for au in region.aus}
    _centred(draw, margin / 2, head / 2, spec.au_set.title, 15, _FAINT)
    for row, au in enumerate((None, *aus)):
        y = head + row * (cell + gap) + cell / 2
        if au is None:
            draw.text((14, y), "neutral", font=_font(17), fill=_INK, anchor="lm")
            continue
        _row_title(draw, au, y, _BANDS[bands[au]])
    videos = {video.subject_index: video for video in spec.videos() if video.video_index == 0}
    # Without a bar the count still runs, into a stream that nobody reads.
    with open(os.devnull, "w") as nowhere:
        stream = None if progress else nowhere
        with Progress(len(chosen), unit="subjects", label="contact sheet", stream=stream) as bar:
            for column, subject in enumerate(chosen):
                x = margin + column * (cell + gap)
                video = videos[subject]
                _centred(draw, x + cell / 2, head / 2, f"{video.subject} ({video.part})", 14, _FAINT)
                for row, au in enumerate((None, *aus)):
                    face = apex_picture(spec, video, {} if au is None else {au: 1.0})
                    small = Image.fromarray(face).resize((cell, cell), Image.Resampling.LANCZOS)
                    sheet.paste(small, (x, head + row * (cell + gap)))
                bar.update()
    return np.asarray(sheet)


_EVENT = (0.0, 0.25, 0.5, 0.75, 1.0, 0.7, 0.4, 0.15)
"""Intensities of a strip of one AU: it rises, reaches its apex and falls."""


def au_strips(spec: SyntheticSpec, *, cell: int = 144) -> Picture:
    """Rows: one AU each, from rest to its apex and back, on a subject of its own.

    Args:
        spec: the data set.
        cell: side of a picture, pixels.
    """
    aus = spec.au_set.aus
    margin, head, gap = 196, 34, 3
    width = margin + len(_EVENT) * (cell + gap) + gap
    strips = Image.new("RGB", (width, head + len(aus) * (cell + gap) + gap), _PAPER)
    draw = ImageDraw.Draw(strips)
    draw.text((14, head / 2), f"{spec.au_set.title}, {spec.preset}", font=_font(12), fill=_FAINT, anchor="lm")
    for column, intensity in enumerate(_EVENT):
        x = margin + column * (cell + gap) + cell / 2
        _centred(draw, x, head / 2, f"{intensity:.0%}", 14, _FAINT)
    bands = {au: region.band for region in spec.au_set.regions for au in region.aus}
    videos = [video for video in spec.videos() if video.video_index == 0]
    for row, au in enumerate(aus):
        y = head + row * (cell + gap)
        _row_title(draw, au, y + cell / 2, _BANDS[bands[au]])
        video = videos[row % len(videos)]
        for column, intensity in enumerate(_EVENT):
            face = Image.fromarray(apex_picture(spec, video, {au: intensity}))
            place = (margin + column * (cell + gap), y)
            strips.paste(face.resize((cell, cell), Image.Resampling.LANCZOS), place)
    return np.asarray(strips)


def clip_strip(
    spec: SyntheticSpec,
    video: VideoId,
    *,
    rendered: SyntheticVideo | None = None,
    shots: int = 8,
    cell: int = 176,
) -> Picture:
    """Frames of one video side by side above a chart of when each AU is active.

    The curve of an AU is its intensity; the bar under it marks the frames labelled present.

    Args:
        spec: the data set.
        video: one of `spec.videos()`.
        rendered: the video where it has been drawn already.
        shots: how many evenly spaced frames to show.
        cell: side of a frame in the strip, pixels.

    Raises:
        ValueError: more shots are asked for than the video has frames.
    """
    clip = rendered if rendered is not None else render_video(spec, video)
    count = len(clip.frames)
    if not 1 <= shots <= count:
        raise ValueError(f"a video of {count} frames can show 1 to {count} shots, found {shots}")
    aus = spec.au_set.aus
    margin, gap, lane, axis = 206, 4, 25, 34
    chart = shots * (cell + gap) - gap
    width, top = margin + chart + 16, cell + 46
    height = top + lane * len(aus) + axis
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    # A frame's picture stands above its place in the chart.
    column = chart / count
    shown = [int((i + 0.5) * count / shots) for i in range(shots)]
    draw.text((14, 26), spec.au_set.title, font=_font(18), fill=_INK, anchor="lm")
    draw.text((14, 52), f"video {video.name}", font=_font(15), fill=_FAINT, anchor="lm")
    draw.text((14, 74), f"{count} frames, {spec.au_set.fps:g}/s", font=_font(15), fill=_FAINT, anchor="lm")
    draw.text((14, cell - 22), "curve: intensity", font=_font(14), fill=_FAINT, anchor="lm")
    draw.text((14, cell - 4), "filled: labelled present", font=_font(14), fill=_FAINT, anchor="lm")
    for i, frame in enumerate(shown):
        small = Image.fromarray(clip.frames[frame]).resize((cell, cell), Image.Resampling.LANCZOS)
        picture.paste(small, (margin + i * (cell + gap), 8))
        x = margin + (frame + 0.5) * column
        draw.line((x, cell + 32, x, top + lane * len(aus)), fill=_GRID, width=2)
        active = "+".join(str(au) for au, label in zip(aus, clip.labels[frame], strict=True) if label)
        middle = margin + i * (cell + gap) + cell / 2
        _centred(draw, middle, cell + 20, f"AU{active}" if active else "neutral", 15, _INK)
    bands = {au: region.band for region in spec.au_set.regions for au in region.aus}
    for row, au in enumerate(aus):
        base = top + (row + 1) * lane - 4
        colour = _BANDS[bands[au]]
        draw.text((14, base - lane / 2 + 3), actions.title(au), font=_font(14), fill=_INK, anchor="lm")
        draw.line((margin, base, margin + chart, base), fill=_GRID)
        _lane(draw, clip, row, (margin, base, column, lane - 6), colour)
    foot = top + lane * len(aus) + 6
    for frame in range(0, count + 1, max(1, count // 8)):
        x = margin + frame * column
        draw.line((x, foot - 6, x, foot - 2), fill=_FAINT)
        _centred(draw, x, foot + 8, str(frame), 13, _FAINT)
    draw.text((14, foot + 8), "frame", font=_font(13), fill=_FAINT, anchor="lm")
    return np.asarray(picture)


def _lane(
    draw: ImageDraw.ImageDraw,
    clip: SyntheticVideo,
    row: int,
    place: tuple[float | int, float | int, float | int, float | int],
    colour: tuple[int, int, int],
) -> None:
    left, base, column, tall = place
    track, present = clip.intensities[:, row], clip.labels[:, row] > 0
    tops = [(left + (i + 0.5) * column, base - tall * float(value)) for i, value in enumerate(track)]
    pale = tuple(int(0.45 * c + 0.55 * 255) for c in colour)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], present, [0]])))
    for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        run = tops[first:stop]
        start_x, end_x = run[0][0] - column / 2, run[-1][0] + column / 2
        outline = [(start_x, base), (start_x, run[0][1]), *run, (end_x, run[-1][1]), (end_x, base)]
        draw.polygon(outline, fill=pale)
    draw.line(tops, fill=colour, width=2)


def save(picture: Picture, path: Path) -> None:
    """Writes a picture as PNG or JPEG by the name's ending, atomically.

    Raises:
        ValueError: the name does not end in .png, .jpg or .jpeg.
        FileNotFoundError: the directory does not exist.
    """
    kinds = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
    if path.suffix.lower() not in kinds:
        raise ValueError(f"a picture's name must end in {', '.join(kinds)}; found {str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {path}: the directory {path.parent} does not exist; create it first"
        )
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            Image.fromarray(picture).save(file, kinds[path.suffix.lower()])
        # mkstemp makes private files; a picture may be read by whom the umask allows.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
