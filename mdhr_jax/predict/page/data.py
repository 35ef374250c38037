"""What a page holds for its script: series of scores, key frames as pictures, what the model looked at.

Arrays are little-endian bytes in base 64. Scores are the table's own float32 numbers as long as there are
not too many; of longer recordings equal numbers of frames are put together, of which the lowest and the
highest score and the share of frames with the AU present are kept.
"""

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mdhr_jax.au_titles import TITLES
from mdhr_jax.figures.places import places_in_crop
from mdhr_jax.predict import reading
from mdhr_jax.predict.page import moments
from mdhr_jax.predict.page.moments import Looked
from mdhr_jax.predict.reading import Person
from mdhr_jax.predict.second_look import Source
from mdhr_jax.progress import Progress

MOST_SCORES = 1_200_000
"""Scores of a page; 6.4 MB."""

MOST_STEPS = 100_000
"""Points in time of a page."""

_CROP_EDGE = 224
_QUALITY = 82
_DIGITS = 4


def collect(source: Source) -> dict[str, Any]:
    """Everything, as JSON.

    Args:
        source: the recording with table and faces.

    Raises:
        ValueError, ImportError: as `Source.together`.
    """
    trained, overview = source.trained, source.overview
    people = moments.people_shown(overview)
    absent = moments.absent(trained)
    aus = trained.au_set.aus
    regions = trained.model.config.regions
    group = np.empty(len(aus), int)
    for i, region in enumerate(regions.regions):
        group[list(regions.columns(region))] = i
    return {
        "frames": overview.frames,
        "timed": overview.timed,
        "aus": [
            {
                "name": name,
                "title": TITLES.get(au, ""),
                "threshold": float(np.float32(trained.thresholds[name])),
            }
            for au, name in zip(aus, trained.au_set.au_names, strict=True)
        ],
        **_series(source, people),
        **_moments(source),
        "absent": dict(absent),
        "scales": list(trained.model.config.mfd_scales),
        "graph": {
            "places": places_in_crop(aus, trained.meta["crop_recipe"]).round(4).tolist(),
            "group": group.tolist(),
            "bands": [region.band for region in regions.regions],
            "activated": trained.model.config.edges == "cross_activated",
        },
    }


def _series(source: Source, people: Sequence[Person]) -> dict[str, Any]:
    """Times and scores."""
    overview, num = source.overview, source.trained.au_set.num_aus
    scores = sum(person.last - person.first + 1 for person in people) * num
    # Two numbers, lowest and highest, of each bin.
    together = 1 if scores <= MOST_SCORES else math.ceil(2 * scores / MOST_SCORES)
    together = max(together, math.ceil(overview.frames / MOST_STEPS))
    times = np.full(math.ceil(overview.frames / together), np.nan)
    found = {person.face_id: _Series(person, together, num) for person in people}
    for rows in reading.frames(source.csv, source.trained.au_set.aus):
        place, first = divmod(rows[0].frame - 1, together)
        if first == 0 and rows[0].timestamp is not None:
            times[place] = rows[0].timestamp
        for row in rows:
            if row.face_id in found and row.scores is not None and row.present is not None:
                found[row.face_id].add(place, row.scores, row.present)
    return {
        "together": together,
        "times": _packed(times, "<f8") if overview.timed else None,
        "end": overview.end,
        "faces": [found[person.face_id].to_json() for person in people],
    }


class _Series:
    """One person's scores."""

    def __init__(self, person: Person, together: int, num: int):
        self._person, self._together = person, together
        self._first = (person.first - 1) // together
        steps = (person.last - 1) // together - self._first + 1
        self._low = np.full((steps, num), np.nan, np.float32)
        self._high = self._low.copy()
        self._present = np.zeros((steps, num), np.int32)
        self._seen = np.zeros((steps, 1), np.int32)

    def add(self, place: int, scores: np.ndarray, present: np.ndarray) -> None:
        place -= self._first
        self._low[place] = np.fmin(self._low[place], scores)
        self._high[place] = np.fmax(self._high[place], scores)
        self._present[place] += present
        self._seen[place] += 1

    def to_json(self) -> dict[str, Any]:
        person = self._person
        made: dict[str, Any] = {
            "id": person.face_id,
            "first": person.first,
            "last": person.last,
            "frames": person.frames,
            "start": self._first,
            "low": _packed(self._low, "<f4"),
        }
        if self._together > 1:
            share = self._present / np.maximum(self._seen, 1)
            made |= {"high": _packed(self._high, "<f4"), "share": _packed(np.round(255 * share), "u1")}
        return made


def _moments(source: Source) -> dict[str, Any]:
    """Key frames: each picture once, and the faces in them."""
    chosen = moments.choose(source.overview, source.trail)
    pictures: dict[int, dict[str, Any]] = {}
    shown: list[dict[str, Any]] = []
    names = source.trained.au_set.au_names
    label = f"{source.recording.name}, report"
    with Progress(len(chosen), unit="key frames", label=label) as progress:
        for looked in moments.look(chosen, source):
            frame = looked.moment.frame
            if frame not in pictures:
                pictures[frame] = _picture(looked)
            shown.append(_moment(looked, names))
            progress.update()
    shown.sort(key=lambda one: (one["frame"], -1 if one["face"] is None else one["face"]))
    return {"moments": shown, "pictures": {str(frame): pictures[frame] for frame in sorted(pictures)}}


def _picture(looked: Looked) -> dict[str, Any]:
    extent = np.asarray(looked.extent * 2)
    return {
        "src": data_uri(looked.picture),
        "width": looked.picture.shape[1],
        "height": looked.picture.shape[0],
        "boxes": [
            {"face": spot.face_id, "box": (spot.box / extent).round(5).tolist()} for spot in looked.spots
        ],
    }


def _moment(looked: Looked, names: Sequence[str]) -> dict[str, Any]:
    row = looked.row or looked.rows[0]
    made: dict[str, Any] = {
        "frame": looked.moment.frame,
        "time": row.timestamp,
        "face": looked.moment.face_id,
        "strongest": [names[i] for i in looked.moment.strongest],
    }
    if looked.crop is None or row.scores is None or row.present is None:
        return made
    crop = Image.fromarray(looked.crop)
    if crop.width > _CROP_EDGE:
        crop = crop.resize((_CROP_EDGE, _CROP_EDGE), Image.Resampling.LANCZOS)
    made |= {
        "confidence": row.confidence,
        "scores": [float(score) for score in row.scores],
        "present": [bool(on) for on in row.present],
        "crop": data_uri(np.asarray(crop)),
    }
    if looked.scale_weights is not None:
        # Scale, row, column.
        made["weights"] = np.moveaxis(looked.scale_weights, -1, 0).astype(float).round(_DIGITS).tolist()
    if looked.attention is not None:
        made["attention"] = looked.attention.astype(float).round(_DIGITS).tolist()
    return made


def data_uri(pixels: UInt8[np.ndarray, "H W 3"]) -> str:
    """A picture as the address of an image that holds it.

    Args:
        pixels: RGB.
    """
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _packed(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()
