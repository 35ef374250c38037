"""The page of a recording: one HTML file that needs nothing else, neither network nor other files.

``page.html``, ``page.css`` and ``page.js`` are its parts; `mdhr_jax.predict.page.data` is what the script
shows. Facts and the table of people are text that can be read without the script.
"""

import html
import importlib.resources
import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdhr_jax.predict.output import Place
from mdhr_jax.predict.page import data as page_data
from mdhr_jax.predict.page import moments
from mdhr_jax.predict.second_look import Source
from mdhr_jax.progress import counted


def write(part: Path, place: Place, source: Source) -> None:
    """Writes the page.

    Args:
        part: where to write.
        place: of the table; its JSON file says what the numbers mean.
        source: what is shown.

    Raises:
        ValueError: the recording cannot be read again, or table and faces are not of it.
        OSError: the file cannot be written.
        ImportError: PyAV is missing.
    """
    facts = json.loads(place.json.read_text(encoding="utf-8"))
    data = page_data.collect(source)
    parts = {name: _part(f"page.{name}") for name in ("css", "js")}
    name = _readable(source.recording.name)
    text = string.Template(_part("page.html")).substitute(
        parts,
        title=html.escape(name),
        lead=html.escape(_lead(source)),
        warning=_warning(source),
        people=_people(source),
        facts=_facts(facts, source),
        # Nothing in it can end the element that it stands in.
        data=json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
    )
    part.write_text(text, encoding="utf-8")


def _part(name: str) -> str:
    return importlib.resources.files("mdhr_jax.predict.page").joinpath(name).read_text(encoding="utf-8")


def _readable(text: str) -> str:
    """A file's name as text, whatever its bytes are."""
    return text.encode("utf-8", "replace").decode()


def _lead(source: Source) -> str:
    overview = source.overview
    text = counted(overview.frames, "frame")
    if overview.timed and overview.frames > 1:
        text += f", {overview.end:.1f} s"
    if not overview.people:
        return f"{text}. No face was found in any of them, so there is nothing to score."
    people = "1 person" if len(overview.people) == 1 else f"{len(overview.people)} people"
    text += f", {people}"
    text += f"; {overview.with_face} with a face." if overview.frames > 1 else "."
    if len(overview.people) > moments.MOST_FACES:
        text += f" The {moments.MOST_FACES} that are seen longest are shown; the table has all."
    return text


def _warning(source: Source) -> str:
    if not source.drawn_faces:
        return ""
    return (
        '<p class="warning" role="note"><strong>Not valid for real faces.</strong> The model was trained on '
        f"drawn faces, {html.escape(source.trained.au_set.title)}: it shows how things work, and its scores "
        "of people mean nothing.</p>"
    )


def _people(source: Source) -> str:
    """Of each person and AU the share of frames with it, and the mean score."""
    people = moments.people_shown(source.overview)
    if not people:
        return "<p>Nobody was seen.</p>"
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in source.trained.au_set.au_names)
    rows = []
    for person in people:
        cells = "".join(
            f"<td>{present / person.frames:.0%}<br><small>{mean:.2f}</small></td>"
            for present, mean in zip(person.present, person.mean, strict=True)
        )
        frames = f"{person.first}&ndash;{person.last}" if person.last > person.first else f"{person.first}"
        seen = f"{frames}<br><small>{person.frames} seen</small>"
        rows.append(f'<tr><th scope="row">face {person.face_id}</th><td>{seen}</td>{cells}</tr>')
    return (
        '<div class="wide"><table><thead><tr><th scope="col">person</th><th scope="col">frames</th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _facts(facts: Mapping[str, Any], source: Source) -> str:
    """What the numbers mean and where they come from."""
    checkpoint = facts["checkpoint"]
    work = facts.get("work", {})
    detector = work.get("detector", {})
    limits = ", ".join(f"{name} {value:g}" for name, value in facts["thresholds"].items())
    chosen = {
        "fixed": "the same for all AUs, not chosen on data",
        "validation": "chosen on subjects kept out of training",
    }.get(facts["thresholds_chosen_on"], f"chosen on {facts['thresholds_chosen_on']}")
    ahead = facts["look_ahead"]
    rows = {
        "Scores": "from 0 to 1: how sure the model is that the action unit is present in the frame. They are "
        "no intensities, and as probabilities they are not calibrated.",
        "Present": f"where the score reaches the threshold of the AU. Thresholds ({chosen}): {limits}",
        "Gaps": "frames in which no face was measured have no scores; nothing is interpolated.",
        "Checkpoint": f"{checkpoint['path']}, step {checkpoint['step']}, fold {checkpoint['fold']}; "
        f"SHA-256 {checkpoint['sha256']}",
        "Trained on": source.trained.au_set.title,
        "Action units": ", ".join(facts["au_names"]),
        "Protocol": facts.get("protocol"),
        "Mode": f"{facts['mode']}; look-ahead {ahead['model']} frames of the model, {ahead['alignment']} of "
        "the alignment",
        "Faces found by": " ".join(str(detector[key]) for key in ("name", "version") if key in detector),
        "Crop recipe": ", ".join(f"{key} {value}" for key, value in facts["crop_recipe"].items()),
        "Recording": (work.get("input") or {}).get("path"),
        "Versions": ", ".join(f"{key} {value}" for key, value in facts["versions"].items()),
    }
    return "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(_readable(str(value)))}</dd>"
        for name, value in rows.items()
        if value not in (None, "")
    )
