"""A record of measurements as text for a terminal, and as a part of a Markdown document."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdhr_jax.interop.comparison_report import Table
from mdhr_jax.interop.comparison_report import as_text as _text
from mdhr_jax.progress import counted

FORMAT = 1
"""Of records; another number where a reader must know."""

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
"""Between these lines a document is rewritten."""

TITLES = {
    "train": "Training step",
    "eval": "Forward pass, evaluation",
    "predict": "Step on streams of frames",
    "predicting": "Predicting",
    "ceilings": "What the device reaches",
    "counting": "Counting of an evaluation",
    "input": "Input alone",
    "epochs": "Training with input",
}


def as_text(record: Mapping[str, Any], place: str) -> str:
    """The newest result of a place of the record, for a terminal."""
    found = record[place]
    part = dict(record) | {place: found[-1:] if place in ("cases", "predicting", "epochs") else found}
    return "\n\n".join(_text(table) for table in tables(part, (place,)))


def tables(record: Mapping[str, Any], places: Sequence[str] | None = None) -> list[Table]:
    """Tables of a record.

    Args:
        record: as `plan.measure` gives it.
        places: of the record; all by default.
    """
    made = []
    for place in places or ("ceilings", "cases", "predicting", "counting", "input", "epochs"):
        found = record.get(place)
        if not found:
            continue
        if isinstance(found, Mapping) and "failed" in found:
            made.append(_failed(TITLES[place], found["failed"]))
        elif place == "cases":
            for kind in ("train", "eval", "predict"):
                if chosen := [case for case in found if case["case"]["kind"] == kind]:
                    made += _cases(kind, chosen, _reached(record))
        elif place == "predicting":
            made += [_predicting(one) for one in found]
        else:
            made.append(_TABLES[place](record, found))
    return made


def _reached(record: Mapping[str, Any]) -> dict[str, float]:
    """Ceilings that were measured, by name."""
    found = record.get("ceilings") or ()
    return {} if isinstance(found, Mapping) else {one["name"]: one["value"] for one in found}


def _cases(kind: str, cases: Sequence[Mapping[str, Any]], reached: Mapping[str, float]) -> list[Table]:
    times: list[tuple[str, ...]] = []
    costs: list[tuple[str, ...]] = []
    for case in cases:
        fields = case["case"]
        name = f"{fields['backbone']}, {fields['precision']}, {fields['batch']} x {fields['clip_length']}"
        if "failed" in case:
            times.append((name, "", "", "", "", f"failed: {case['failed']}"))
            continue
        ours = case["ours"]
        times.append(
            (name, f"{1000 * ours['median']:.1f}", f"{ours['frames_per_second']:.1f}", "", "", "ours")
        )
        for form in case["reference"]:
            if "skipped" in form:
                times.append(("", "", "", "", "", f"{form['form']}: {form['skipped']}"))
                continue
            low, high = form["spread"]
            numbers = f"{1000 * form['median']:.1f}", f"{form['frames_per_second']:.1f}"
            times.append(
                ("", *numbers, f"{form['ratio']:.2f}", f"{low:.2f}-{high:.2f}", f"reference, {form['form']}")
            )
        again = ours["compile_again_seconds"]
        costs.append(
            (
                name,
                f"{ours['flops'] / 1e9:.0f}",
                f"{ours['flops_per_second'] / 1e9:.0f}",
                _share(
                    ours["share_of_peak_flops"],
                    ours["flops_per_second"],
                    reached.get(f"matrix product, {fields['precision']}"),
                ),
                "-" if ours["bytes_per_second"] is None else f"{ours['bytes_per_second'] / 1e9:.1f}",
                _share(ours["share_of_peak_bandwidth"], ours["bytes_per_second"], reached.get("copy")),
                f"{ours['compile_seconds']:.1f}",
                "-" if again is None else f"{again:.1f}",
                "-" if ours["planned_bytes"] is None else f"{ours['planned_bytes'] / 2**20:.0f}",
                f"{ours['peak_bytes'] / 2**20:.0f}",
                ", ".join(text for form in case["reference"] if (text := _peak(form))),
            )
        )
    title = TITLES[kind]
    repeats = cases[0]["case"]["repeats"]
    beside = any(case.get("reference") for case in cases)
    note = f"medians of {counted(repeats, 'measurement')}" + (
        " of each side in turn, each side in a process of its own, after compilation and a run that is not "
        "counted; a form's ratio is that of the medians of its measurements and of those of ours that lie "
        "between them, ours' own line has the median of all of ours"
        if beside
        else ", after compilation"
    )
    made = [Table(title, ("", "ms", "frames/s", "reference / ours", "spread", ""), tuple(times), (note,))]
    if costs:
        columns = (
            *("", "GFLOP", "GFLOP/s", "of peak", "GB/s", "of peak", "compile, s", "again, s"),
            *("planned, MiB", "peak, MiB", "reference's peak, MiB"),
        )
        notes = (
            "GFLOP of one run before optimisation; GB/s by the bytes that XLA counts; again: compiled once "
            "more with what is kept on disk; planned: arguments, results and intermediate values; peak: of "
            "the device where it tells, else of a process that has only ours or only the reference's form; "
            "of peak: of the data sheet's, or of what products and copies reached",
        )
        made.append(Table(f"{title}: what ours costs", columns, tuple(costs), notes))
    return made


def _peak(form: Mapping[str, Any]) -> str:
    """What a form of the reference needed at most."""
    return f"{form['form']} {form['peak_bytes'] / 2**20:.0f}" if form.get("peak_bytes") else ""


def _ceilings(_: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple((x["name"], f"{x['value'] / 1e9:.1f}", f"G{x['unit']}", x["size"]) for x in found)
    return Table(TITLES["ceilings"], ("", "value", "unit", "size"), rows)


def _predicting(found: Mapping[str, Any]) -> Table:
    if "failed" in found:
        return _failed(f"{TITLES['predicting']}, {found['arguments']['backbone']}", found["failed"])
    rows = []
    for row in found["rows"]:
        low, high = row["spread"]
        ratio = f"{row['ratio']:.2f}", f"{low:.2f}-{high:.2f}"
        rows.append((row["name"], str(row["frames"]), f"{row['frames_per_second']:.2f}", *ratio))
    notes = (
        f"float32 on {found['device']}, PyTorch with {found['threads']} threads; ratio: frames/s against the "
        "reference's where every frame has its full context; its times leave out resizing and normalising, "
        f"ours do not; scores of both differ by at most {found['apart']:.1e}",
    )
    columns = ("", "frames of a run", "frames/s", "ratio", "spread")
    return Table(f"{TITLES['predicting']}, {found['backbone']}", columns, tuple(rows), notes)


def _counting(record: Mapping[str, Any], found: Mapping[str, Any]) -> Table:
    rows = [("ours", f"{found['ours']:.3f}", _of_evaluations(record, found["frames"], found["ours"]))]
    if found["theirs"] is not None:
        rows.append(("reference's loops", f"{found['theirs']:.3f}", ""))
    note = f"{found['frames']:,} frames in batches of {found['windows']} windows of 16"
    columns = "", "seconds", "share of the time of an evaluation"
    if rows[0][2]:
        note += "; an evaluation's time is that of its forward passes, by the frames/s above"
    else:
        columns, rows = columns[:2], [row[:2] for row in rows]
    return Table(TITLES["counting"], columns, tuple(rows), (note,))


def _of_evaluations(record: Mapping[str, Any], frames: int, seconds: float) -> str:
    """Shares of forward passes over as many frames, where they were measured too."""
    shares = []
    for case in record["cases"]:
        if case["case"]["kind"] == "eval" and "ours" in case:
            whole = frames / case["ours"]["frames_per_second"] + seconds
            shares.append(f"{seconds / whole:.4%} ({case['case']['backbone']}, {case['case']['precision']})")
    return ", ".join(shares)


def _input(_: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (str(x["threads"]), f"{x['frames_per_second']:.0f}", f"{x['frames_per_core_second']:.0f}")
        for x in found
    )
    note = "a core: per second of CPU time of all threads"
    return Table(TITLES["input"], ("threads", "frames/s", "frames/s a core"), rows, (note,))


def _epochs(_: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for x in found:
        if "failed" in x:
            rows.append((str(x["arguments"]["backbone"]), "", "", "", f"failed: {x['failed']}"))
            continue
        name = f"{x['backbone']}, {x['precision']}, {counted(x['batch'], 'clip')}"
        times = f"{1000 * x['one_batch']:.1f}", f"{1000 * x['with_input']:.1f}"
        rows.append((name, *times, f"{x['frames_per_second']:.1f}", f"{x['waiting']:.1%}{_spread(x)}"))
    columns = ("", "step on one batch, ms", "with input, ms", "frames/s", "waits")
    note = (
        "whole training steps, augmentation included, with frames from the loader and without, in turn; "
        "waits: the part of a step's time that goes away where one batch is used over and over"
    )
    return Table(TITLES["epochs"], columns, tuple(rows), (note,))


_TABLES = {"ceilings": _ceilings, "counting": _counting, "input": _input, "epochs": _epochs}


def _spread(found: Mapping[str, Any]) -> str:
    low, high = found.get("spread", (0.0, 0.0))
    return f" ({low:.1%} to {high:.1%})" if low < high else ""


def _failed(title: str, why: str) -> Table:
    return Table(title, ("", ""), ((f"failed: {why}", ""),))


def _share(of_peak: float | None, rate: float | None, reached: float | None) -> str:
    """Of the data sheet's peak; where it is not known, of what was measured."""
    if of_peak is None and rate is not None and reached:
        return f"{rate / reached:.0%} of reached"
    return "-" if of_peak is None else f"{of_peak:.1%}"


def as_markdown(record: Mapping[str, Any]) -> str:
    """The part of a document that a record makes, without the lines around it."""
    facts = record["facts"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    lines = [
        f"* command: `{record['command']}`",
        f"* date: {record['date']}",
        f"* device: {facts['devices']} x {facts['device']} ({facts['platform']}); processor "
        f"{facts['processor']}, {facts['cores']} cores",
        f"* versions: {versions}",
    ]
    blocks = ["\n".join(lines)]
    for table in tables(record):
        blocks.append(f"### {table.title}")
        last = len(table.columns) - 1
        rule = tuple("---" if i in (0, last) else "---:" for i in range(len(table.columns)))
        rows = (table.columns, rule, *table.rows)
        blocks.append("\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows))
        blocks += [note[0].upper() + note[1:] + "." for note in table.notes]
    return "\n\n".join(blocks)


def read(path: Path) -> dict[str, Any]:
    """A record that was written before.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no record of this kind.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no record {path}; --also takes files that --json has written")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        known = record["format"] == FORMAT and "facts" in record
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise ValueError(
            f"{path} is no record of format {FORMAT}; --also takes files that --json has written"
        )
    return record


def write(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Puts records of one device into a Markdown document, between the lines `BEGIN` and `END`.

    What was measured on another kind of device stays: each kind has a section of its own there.

    Args:
        path: of the document; made where there is none.
        records: as `plan.measure` gives them, at least one; each keeps its command.

    Raises:
        ValueError: the document has no such lines, or records are of different devices.
    """
    titles = list(dict.fromkeys(_section(record) for record in records))
    if len(titles) != 1:
        raise ValueError(f"records of one device belong together, found {', '.join(t[3:] for t in titles)}")
    title = titles[0]
    section = "\n\n".join([title, *(as_markdown(record) for record in records)])
    text = path.read_text(encoding="utf-8") if path.exists() else f"# Performance\n\n{BEGIN}\n\n{END}\n"
    before, begin, rest = text.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(
            f"{path} has no lines {BEGIN} and {END} between which to write; add them where results belong"
        )
    sections = [part.strip() for part in re.split(r"(?m)^(?=## )", inside) if part.strip()]
    kept = [part for part in sections if part.partition("\n")[0] != title]
    path.write_text(
        before + begin + "\n\n" + "\n\n".join([*kept, section]) + "\n\n" + end + after, encoding="utf-8"
    )


def _section(record: Mapping[str, Any]) -> str:
    facts = record["facts"]
    if facts["platform"] == "cpu":
        return f"## Measured on {facts['cores']} cores of {facts['processor']}"
    return f"## Measured on {facts['device']}"


def check_path(path: Path) -> None:
    """Refuses a document that could not be written later.

    Raises:
        ValueError: it is no Markdown, or has no place for results.
        FileNotFoundError: there is no such folder.
    """
    if path.suffix != ".md":
        raise ValueError(f"--report names a Markdown file (.md), found {path}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for the report {path.name}")
    if path.exists() and not (BEGIN in (text := path.read_text(encoding="utf-8")) and END in text):
        raise ValueError(
            f"{path} has no lines {BEGIN} and {END} between which to write; add them where results belong"
        )
