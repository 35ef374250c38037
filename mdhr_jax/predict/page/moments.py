"""Which frames of which faces a page shows, and what the model looked at in them."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from mdhr_jax.faces.alignment import warp
from mdhr_jax.models.explain import explain
from mdhr_jax.models.functional import Arrays
from mdhr_jax.predict.checkpoint import Trained
from mdhr_jax.predict.reading import Overview, Person
from mdhr_jax.predict.rows import Row
from mdhr_jax.predict.scorers import as_input
from mdhr_jax.predict.second_look import Shown, Source
from mdhr_jax.predict.trail import Spot

MOST = 60
"""Moments of a page, so that it stays small; in a crowd one more for each person."""

MOST_FACES = 24
"""People of a page: those who are seen longest."""

_PICTURE_EDGE = 560
_MOST_PEAKS = 20
_WITHOUT_FACES = 3

Crop = UInt8[np.ndarray, "S S 3"]


@dataclasses.dataclass(frozen=True)
class Moment:
    """A face in a frame, or a frame without one.

    Attributes:
        frame: its number, from 1.
        face_id: whose face; None where nobody is seen in the whole recording.
        strongest: columns of the AUs that have their highest score here.
    """

    frame: int
    face_id: int | None
    strongest: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Looked:
    """A moment, seen.

    Attributes:
        moment: which.
        extent: width and height of the frame, pixels.
        picture: the frame, reduced.
        spots, rows: of everybody in it.
        spot, row: of the face; None without one.
        crop: the aligned face; None without one.
        scale_weights: of the L scales at every position of the map; None where the model has none.
        active: what the region classifiers take for active; None without them.
        attention: weight with which an AU (row) receives from another (column); None without the graph.
    """

    moment: Moment
    extent: tuple[int, int]
    picture: UInt8[np.ndarray, "height width 3"]
    spots: tuple[Spot, ...]
    rows: tuple[Row, ...]
    spot: Spot | None = None
    row: Row | None = None
    crop: Crop | None = None
    scale_weights: Float[np.ndarray, "h w L"] | None = None
    active: Any = None
    attention: Float[np.ndarray, "N N"] | None = None


def people_shown(overview: Overview) -> list[Person]:
    """Those who are seen longest, in the order of their numbers.

    Args:
        overview: of the table.
    """
    longest = sorted(overview.people.values(), key=lambda p: (-p.frames, p.face_id))[:MOST_FACES]
    return sorted(longest, key=lambda p: p.face_id)


def choose(overview: Overview, trail: Iterable[tuple[Spot, ...]]) -> list[Moment]:
    """Moments spread over every face's frames, and those in which AUs are strongest; in order.

    Args:
        overview: of the table.
        trail: where the faces are.
    """
    people = people_shown(overview)
    if not people:
        count = min(_WITHOUT_FACES, overview.frames)
        frames = np.round(np.linspace(1, overview.frames, count + 2)[1:-1]).astype(int).tolist()
        return [Moment(frame, None) for frame in sorted(set(frames))]
    best = np.stack([person.best for person in people])
    strongest: dict[tuple[int, int], list[int]] = {}
    for au in np.argsort(-best.max(0), kind="stable")[:_MOST_PEAKS].tolist():
        person = people[int(best[:, au].argmax())]
        strongest.setdefault((int(person.best_frame[au]), person.face_id), []).append(au)
    left = MOST - len(strongest)
    total = sum(person.frames for person in people)
    wanted = {
        person.face_id: _evenly(person.frames, max(1, int(left * person.frames / total))) for person in people
    }
    found = set(strongest)
    seen: collections.Counter[int] = collections.Counter()
    for number, spots in enumerate(trail, 1):
        for spot in spots:
            if seen[spot.face_id] in wanted.get(spot.face_id, ()):
                found.add((number, spot.face_id))
            seen[spot.face_id] += 1
    return [Moment(*key, tuple(sorted(strongest.get(key, ())))) for key in sorted(found)]


def _evenly(count: int, most: int) -> set[int]:
    """At most so many of `count` numbers, in the middles of equal parts."""
    if count <= most:
        return set(range(count))
    return {int((i + 0.5) * count / most) for i in range(most)}


@dataclasses.dataclass(frozen=True)
class _Window:
    """The frames that the model is shown for a moment: their numbers, and the moment's place among them."""

    frames: tuple[int, ...]
    place: int


def _windows(moments: Sequence[Moment], source: Source) -> dict[Moment, _Window]:
    """What the model saw of each face when it scored it.

    Around a frame of a stream that is as many frames on either side as the dynamics reach; beyond the ends of
    a run there is nothing in the one case as in the other.
    """
    wanted: dict[tuple[int, int], int] = {}
    runs: dict[int, list[int]] = {}
    keys = {(moment.frame, moment.face_id) for moment in moments}
    for number, spots in enumerate(source.trail, 1):
        for spot in spots:
            runs.setdefault(spot.run, [number, number])[1] = number
            if (number, spot.face_id) in keys:
                wanted[number, spot.face_id] = spot.run
    trained = source.trained
    reach = trained.model.config.neighbors if trained.model.config.uses_dynamics else 0
    found = {}
    for moment in moments:
        if moment.face_id is None:
            continue
        first, last = runs[wanted[moment.frame, moment.face_id]]
        length = last - first + 1
        if source.mode == "clips":
            start = first + (moment.frame - first) // trained.clip_length * trained.clip_length
            frames = [min(start + i, last) for i in range(trained.clip_length)]
        elif length == 1 and reach:
            frames = [first] * trained.clip_length
        else:
            wide = min(2 * reach + 1, length)
            start = min(max(moment.frame - reach, first), last - wide + 1)
            frames = list(range(start, start + wide))
        found[moment] = _Window(tuple(frames), frames.index(moment.frame))
    return found


@dataclasses.dataclass
class _Open:
    """A moment whose window is not complete."""

    moment: Moment
    window: _Window
    crops: dict[int, Crop]
    seen: Looked | None = None


def look(moments: Sequence[Moment], source: Source) -> Iterator[Looked]:
    """Looks at moments, in the order in which their windows are complete; memory does not grow with length.

    Args:
        moments: see `choose`.
        source: the recording, read once more.

    Raises:
        ValueError, ImportError: as `Source.together`.
    """
    windows = _windows(moments, source)
    explainer = _explainer(source.trained)
    beginning: dict[int, list[Moment]] = {}
    for moment in moments:
        first = windows[moment].frames[0] if moment in windows else moment.frame
        beginning.setdefault(first, []).append(moment)
    opened: list[_Open] = []
    size = source.trained.recipe.size
    for number, (shown, spots, rows) in enumerate(source.together(), 1):
        for moment in beginning.pop(number, []):
            if moment.face_id is None:
                yield _seen(moment, shown, spots, rows)
            else:
                opened.append(_Open(moment, windows[moment], {}))
        if not opened and not beginning:
            # The rest is read for nothing but to see that it is there.
            continue
        by_face = {spot.face_id: spot for spot in spots}
        cut: dict[int | None, Crop] = {}
        frame = shown.whole() if opened else None
        for one in opened:
            face_id = one.moment.face_id
            spot = by_face.get(-1 if face_id is None else face_id)
            if spot is None or frame is None:
                continue
            if face_id not in cut:
                cut[face_id] = warp(frame, spot.matrix, size)
            one.crops[number] = cut[face_id]
            if number == one.moment.frame:
                (row,) = [row for row in rows if row.face_id == face_id]
                seen = _seen(one.moment, shown, spots, rows)
                one.seen = dataclasses.replace(seen, spot=spot, row=row, crop=cut[face_id])
        for one in [one for one in opened if one.window.frames[-1] == number]:
            opened.remove(one)
            yield explainer.explained(one)


def _seen(moment: Moment, shown: Shown, spots: tuple[Spot, ...], rows: Sequence[Row]) -> Looked:
    extent = shown.width, shown.height
    scale = min(1.0, _PICTURE_EDGE / max(extent))
    small = [max(1, round(side * scale)) for side in extent]
    return Looked(moment, extent, shown.resized(small[0], small[1]), spots, tuple(rows))


_made: "list[_Explainer]" = []


def _explainer(trained: Trained) -> "_Explainer":
    """That of a model; for recording after recording it is compiled once."""
    if not _made or _made[0].trained is not trained:
        _made[:] = [_Explainer(trained)]
    return _made[0]


class _Explainer:
    """What the model looked at, window after window."""

    def __init__(self, trained: Trained):
        self.trained = trained
        self._weights = jax.device_put((trained.params, trained.batch_stats))
        self._look = jax.jit(self._compute)

    def _compute(self, params: Arrays, batch_stats: Arrays, images: Any) -> Any:
        return explain(self.trained.model, params, batch_stats, as_input(images, self.trained))

    def explained(self, one: _Open) -> Looked:
        if one.seen is None:
            raise RuntimeError(f"frame {one.moment.frame} was not seen")
        images = np.stack([one.crops[number] for number in one.window.frames])[None]
        found = self._look(*self._weights, images)

        def of_frame(value: Any, dtype: Any = np.float32) -> Any:
            return None if value is None else np.asarray(value, dtype)[0, one.window.place]

        return dataclasses.replace(
            one.seen,
            scale_weights=of_frame(found.scale_weights),
            active=of_frame(found.active, bool),
            attention=of_frame(found.attention),
        )


def absent(trained: Trained) -> Mapping[str, str]:
    """Why a model has no weights of scales (``weights``) or no graph (``graph``); without those that it has.

    Args:
        trained: the model.
    """
    from mdhr_jax.figures import relations, weights
    from mdhr_jax.figures.runs import NotApplicableError

    config = trained.model.config
    fields = {name: getattr(config, name) for name in ("mfd", "mfd_scales", "fusion", "crm")}
    found = {}
    for name, check in {"weights": weights.check, "graph": relations.check}.items():
        try:
            check(fields)
        except NotApplicableError as error:
            found[name] = str(error)
    return found
