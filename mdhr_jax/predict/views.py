"""What can be looked at beside a table: an overlay of the recording, and a page.

    overlay    NAME.mp4, of a single picture NAME.png
    report     NAME.html

They are made from a complete table and a second reading of the recording; where its faces were is known from
the scoring, or looked for again if the table is of an earlier run. Each ends in ``.part`` until it is
complete, and is then listed in ``NAME.json`` with its size: a file of the same name that is not is somebody
else's.
"""

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mdhr_jax.faces import media
from mdhr_jax.faces.detector import Detector
from mdhr_jax.faces.people import align_people
from mdhr_jax.predict import reading, second_look
from mdhr_jax.predict.checkpoint import Trained
from mdhr_jax.predict.output import Place, facts_of, part_of, write_json
from mdhr_jax.predict.overlay import file as overlay_file
from mdhr_jax.predict.overlay import film
from mdhr_jax.predict.page import file as page_file
from mdhr_jax.predict.predictor import Predictor
from mdhr_jax.predict.second_look import Source
from mdhr_jax.predict.trail import Trail
from mdhr_jax.progress import Progress, announce

KEY = "views"
"""Of the JSON file."""

OVERLAY, REPORT = "overlay", "report"


class Views:
    """Overlay and page of one recording, as far as they are asked for.

    Args:
        recording: of which.
        folder: of the results.
        overlay, report: what is asked for.

    Raises:
        ValueError: the recording is no file and cannot be read a second time.
        ImportError: PyAV is missing, or cannot write videos.
    """

    def __init__(self, recording: media.Recording, folder: Path, *, overlay: bool, report: bool):
        self._recording, self._folder = recording, folder
        self._wanted: dict[str, str] = {}
        if overlay:
            moving = recording.is_video or len(recording.paths) > 1
            self._wanted[OVERLAY] = ".mp4" if moving else ".png"
        if report:
            self._wanted[REPORT] = ".html"
        if self._wanted:
            # What cannot be done is said before hours are spent.
            second_look.check(recording)
        if self._wanted.get(OVERLAY) == ".mp4":
            film.codec()
        self._trail: Trail | None = None

    def free(self, stem: str) -> bool:
        """Whether no file of somebody else is in the way.

        Args:
            stem: name that the files would have.
        """
        return not any(
            (self._folder / f"{stem}{ending}").exists()
            for kind, ending in self._wanted.items()
            if not _is_listed(self._folder / f"{stem}.json", kind, self._folder / f"{stem}{ending}")
        )

    def missing(self, place: Place) -> dict[str, Path]:
        """The files that are asked for and not there, by kind.

        Args:
            place: of the table.
        """
        paths = {kind: place.csv.with_name(place.csv.stem + end) for kind, end in self._wanted.items()}
        return {kind: path for kind, path in paths.items() if not _is_listed(place.json, kind, path)}

    def watching(self, place: Place) -> dict[str, Any]:
        """What `Predictor.rows_of` must be told, so that the faces are known afterwards.

        Args:
            place: of the table.
        """
        if not self.missing(place):
            return {}
        self._trail = Trail(self._folder)
        return {"watch": self._trail.add}

    def listed(self, place: Place) -> dict[str, Any]:
        """What the JSON file of a table that is made anew goes on to list.

        Args:
            place: of the table.
        """
        kept = _listed(place.json)
        return {KEY: kept} if kept else {}

    def make(self, place: Place, predictor: Predictor, fps: float | None, detector: Detector) -> str:
        """Writes what is missing.

        Args:
            place: of the complete table.
            predictor: that made it.
            fps: of pictures.
            detector: as for the table; finds the faces again if nobody watched.

        Returns:
            The files that were written, for a message.

        Raises:
            ValueError: the recording cannot be read again, or table and faces are not of it.
            OSError: a file cannot be written.
            ImportError: PyAV is missing, or cannot write videos.
        """
        missing = self.missing(place)
        if not missing:
            return ""
        trained = predictor.trained
        overview = reading.overview(place.csv, trained.au_set.aus)
        if self._trail is None:
            announce(f"{place.csv} is there; where its faces are is looked for again")
            self._trail = self._find_again(overview.frames, trained, detector)
        trail, self._trail = self._trail, None
        if trail.frames != overview.frames:
            raise ValueError(
                f"{place.csv} has {overview.frames} frames, faces were looked for in {trail.frames}; was the "
                "recording changed? Delete the table, it is made anew"
            )
        source = Source(self._recording, place.csv, overview, trail, trained, predictor.mode, fps)
        for kind, path in missing.items():
            with _writing(path, place, kind) as part:
                if kind == OVERLAY:
                    overlay_file.write(part, path.suffix, source)
                else:
                    page_file.write(part, place, source)
        return "".join(f", {path}" for path in missing.values())

    def _find_again(self, count: int, trained: Trained, detector: Detector) -> Trail:
        trail = Trail(self._folder)
        with Progress(count, unit="frames", label=f"{self._recording.name}, faces") as progress:
            frames = itertools.islice(self._recording.frames(), count)
            for frame in align_people(frames, trained.recipe, detector):
                trail.add(frame)
                progress.update()
        return trail


def _listed(json_path: Path) -> dict[str, Any]:
    """What a table's JSON file lists, by kind; nothing where there is none."""
    found = facts_of(json_path).get(KEY)
    return found if isinstance(found, dict) else {}


def _is_listed(json_path: Path, kind: str, path: Path) -> bool:
    """Whether a file is there and the one that the table's JSON file lists."""
    entry = _listed(json_path).get(kind)
    if not isinstance(entry, dict) or not path.is_file():
        return False
    return entry.get("file") == path.name and entry.get("bytes") == path.stat().st_size


@contextlib.contextmanager
def _writing(path: Path, place: Place, kind: str) -> Iterator[Path]:
    """A file to write that gets its name, and is listed, only when nothing went wrong.

    Args:
        path: its name.
        place: of the table, claimed.
        kind: what it is.

    Yields:
        Where to write.
    """
    part = part_of(path)
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        _list(place, kind, path.name, part.stat().st_size)
        os.replace(part, path)
    finally:
        # Nobody else writes it meanwhile, and there is none any more where all went well.
        part.unlink(missing_ok=True)


def _list(place: Place, kind: str, name: str, size: int) -> None:
    """Adds a file to the table's JSON."""
    content = json.loads(place.json.read_text(encoding="utf-8"))
    write_json(place.json, content | {KEY: {**(content.get(KEY) or {}), kind: {"file": name, "bytes": size}}})
