"""The tables of a study as document tables; no two protocols in one column."""

from collections.abc import Iterable, Mapping, Sequence

from mdhr_jax.paper import Row
from mdhr_jax.report import numbers, orderings
from mdhr_jax.report.document import Cell, Grid
from mdhr_jax.report.evidence import NOT_STARTED, Entry, Number, Settings
from mdhr_jax.report.measures import F1, MEASURES
from mdhr_jax.report.numbers import UNDEFINED
from mdhr_jax.report.orderings import Comparison
from mdhr_jax.report.results import StudyResult, TableResult
from mdhr_jax.tables import rows as table_rows
from mdhr_jax.training import protocols

DAGGER = " †"
"""Behind the number of an AU that is undefined in some folds."""

_GAP = "gap"
_PAIRS = (
    "A difference is made from the runs of both rows with these seeds, which the table of each fold names."
)
_BASELINE = "Always present"


def main(result: TableResult, study: StudyResult) -> Grid:
    """Every row's mean F1 beside the paper's."""
    arms = study.study.arms
    header = ["Row", "Printed"]
    for arm in arms:
        header.append(f"Protocol {arm}: F1 (95 %)")
        if result.compares(arm):
            header.append("Minus the printed (95 %)")
        header.append(f"Seeds and runs of {arm}")
    lines = []
    for row in result.rows:
        line = [Cell(row.title), Cell(_printed(row.average))]
        for arm in arms:
            entry = result.entries[arm].get(row.name)
            line.append(Cell(_mean(entry)))
            if result.compares(arm):
                line.append(Cell(numbers.difference(result.minus_paper(arm, row))))
            seeds = ", ".join(map(str, entry.seeds)) if entry else ""
            used = entry.means[F1.key].runs if entry and entry.seeds else ()
            line.append(Cell(seeds or UNDEFINED, used))
        lines.append(tuple(line))
    baseline = [Cell(_BASELINE), Cell(UNDEFINED)]
    for arm in arms:
        of_labels = study.baseline[0] if study.baseline else None
        baseline.append(Cell(numbers.with_interval(of_labels)))
        baseline += [Cell(UNDEFINED)] * result.compares(arm)
        baseline.append(Cell(UNDEFINED if of_labels is None else "", of_labels.runs if of_labels else ()))
    return Grid(
        f"{_name(result)}: mean F1 in percent{_on(result)}",
        tuple(header),
        (*lines, tuple(baseline)),
        notes=(*_gaps(result), *_inferred(result.rows)),
    )


def _mean(entry: Entry | None) -> str:
    if entry is None or (not entry.runs and not entry.seeds):
        return NOT_STARTED if entry is None else _GAP
    return numbers.with_interval(entry.means[F1.key]) if entry.seeds else _GAP


def per_au(result: TableResult, study: StudyResult, arm: str) -> Grid:
    """F1 of each AU in the paper's layout under one protocol; under the paper's with all of its rows."""
    names = study.study.au_set.au_names
    # What other papers print was made by their own protocols; it stands beside the paper's only.
    printed_rows = result.printed if arm == protocols.PAPER else ()
    lines = []
    for row in printed_rows:
        values = [_printed(value) for value in row.per_au] or [UNDEFINED] * len(names)
        lines.append(_line(f"{row.title}, printed", [*values, _printed(row.average)]))
    for row in result.rows:
        entry = result.entries[arm].get(row.name)
        if entry is None or not entry.seeds:
            lines.append(_line(f"{row.title}, this project", [_GAP] * (len(names) + 1)))
            continue
        of_aus, marks = entry.of_aus[F1.key], entry.undefined[F1.key]
        values = [*of_aus, entry.means[F1.key]]
        texts = [numbers.percent(value.value) + DAGGER * (n in marks) for n, value in enumerate(values)]
        lines.append(_line(f"{row.title}, this project", texts, values[-1].runs))
        intervals = [UNDEFINED if v.interval is None else numbers.between(v.interval) for v in values]
        lines.append(_line(f"{row.title}, 95 %", intervals))
        if result.compares(arm) and row.per_au and row.average is not None:
            printed = (*row.per_au, row.average)
            minus = [numbers.minus(v, paper) for v, paper in zip(values, printed, strict=True)]
            lines.append(_line(f"{row.title}, minus the printed", map(_short_difference, minus)))
    if study.baseline is not None:
        mean, of_aus = study.baseline
        texts = [numbers.percent(value.value) for value in (*of_aus, mean)]
        lines.append(_line(_BASELINE, texts, mean.runs))
    departing = [row.title for row in printed_rows if row.average_departs]
    return Grid(
        f"{_name(result)}: F1 of each AU in percent, protocol {arm}{_on(result)}",
        ("Row", *names, "Mean"),
        tuple(lines),
        notes=(
            *_undefined_notes(result.rows, result.entries[arm], names),
            *(
                [f"The printed mean of {', '.join(departing)} is not the mean of the printed values."]
                if departing
                else []
            ),
        ),
    )


def _short_difference(number: Number | None) -> str:
    """Without the interval, which stands a line above, but with the mark."""
    text = numbers.difference(number)
    return text.split(" (")[0] + (numbers.MARK if text.endswith(numbers.MARK) else "")


def folds(result: TableResult, study: StudyResult, arm: str, settings: Settings) -> Grid:
    """Mean F1 of every single run under one protocol."""
    seeds = sorted(study.study.asked[arm])
    lines = []
    for row in result.rows:
        entry = result.entries[arm].get(row.name)
        for seed in seeds:
            line = [Cell(row.title), Cell(str(seed))]
            values = []
            for fold in settings.folds:
                number = entry.by_run[F1.key].get((seed, fold)) if entry else None
                values.append(number)
                text = numbers.with_interval(number) if number else _state(entry, seed, fold)
                line.append(Cell(text, number.runs if number else ()))
            line.append(Cell(_plain_mean(values)))
            lines.append(tuple(line))
    return Grid(
        f"{_name(result)}: mean F1 in percent of each fold (95 %), protocol {arm}{_on(result)}",
        ("Row", "Seed", *(f"Fold {fold}" for fold in settings.folds), "Mean of folds"),
        tuple(lines),
    )


def _plain_mean(values: Sequence[Number | None]) -> str:
    known = [value.value for value in values if value is not None and value.value is not None]
    return numbers.percent(sum(known) / len(known)) if len(known) == len(values) else _GAP


def _state(entry: Entry | None, seed: int, fold: int) -> str:
    """Why a fold has no number."""
    if entry is None:
        return NOT_STARTED
    start = f"fold {fold}, seed {seed}: "
    return next((gap.removeprefix(start) for gap in entry.gaps if gap.startswith(start)), NOT_STARTED)


def comparisons(result: TableResult, study: StudyResult, *, steps: bool) -> Grid | None:
    """The pairs of rows that are steps, or all others; None where none of them can be compared."""
    arms = study.study.arms
    pairs = [found for found in result.comparisons if found.is_step == steps]
    if not any(of.number for found in pairs for of in found.differences.values()):
        return None
    lines = []
    for found in pairs:
        order = UNDEFINED if found.paper is None else numbers.signed(found.paper / 100)
        line = [Cell(found.title), Cell(order)]
        for arm in arms:
            line.append(Cell(numbers.difference(found.differences[arm].number)))
            seeds = found.differences[arm].seeds if found.differences[arm].number else ()
            line.append(Cell(", ".join(map(str, seeds)) or UNDEFINED))
            line.append(Cell(found.verdict(arm) or UNDEFINED))
        lines.append(tuple(line))
    header = ["Row minus reference row", "Printed"]
    for arm in arms:
        header += [f"Protocol {arm}: difference (95 %)", f"Seeds of {arm}", f"Printed order under {arm}"]
    which = "steps" if steps else "all other pairs"
    return Grid(
        f"{_name(result)}, {which}: mean F1 of a row minus that of its reference row, in percentage points, "
        f"paired by subject{_on(result)}",
        tuple(header),
        tuple(lines),
        notes=(_PAIRS, *_not_compared(pairs, arms)),
        folded=not steps,
    )


def _not_compared(pairs: Sequence[Comparison], arms: Sequence[str]) -> tuple[str, ...]:
    """Pairs whose runs are there and still do not make one."""
    return tuple(
        f"{found.title}, {arm}: {found.differences[arm].reason}."
        for found in pairs
        for arm in arms
        if found.differences[arm].reason.startswith("not tested")
    )


def verdicts(result: TableResult, arms: Sequence[str], *, steps: bool) -> list[str]:
    """Sentences on the paper's orderings of the rows that are a step apart, or of all other pairs."""
    pairs = [found for found in result.comparisons if found.is_step == steps]
    which = "Steps" if steps else "Other pairs"
    return [sentence for arm in arms for sentence in orderings.sentences(pairs, arm, which)]


def without_runs(name: str) -> Grid:
    """A table of which there is no run: the paper's numbers, and gaps."""
    lines = [
        (Cell(row.title), Cell(_printed(row.average)), Cell(NOT_STARTED)) for row in table_rows.ROWS[name]
    ]
    return Grid(
        f"Table {name}: mean F1 in percent",
        ("Row", "Printed", "F1 (95 %)"),
        tuple(lines),
        notes=_inferred(table_rows.ROWS[name]),
    )


def all_measures(study: StudyResult, arm: str, titles: Mapping[str, str]) -> Grid:
    """The mean over AUs of every measure, of each model under one protocol."""
    lines = []
    for model, title in titles.items():
        entry = study.entries.get((arm, model))
        if entry is not None and entry.seeds:
            cells = [Cell(numbers.with_interval(entry.means[measure.key])) for measure in MEASURES]
            lines.append((Cell(title, entry.means[F1.key].runs), *cells))
    return Grid(
        f"Measures beside F1, means over AUs and folds in percent (95 %), protocol {arm}",
        ("Row", *(measure.title for measure in MEASURES)),
        tuple(lines),
    )


def of_model(study: StudyResult, entry: Entry, title: str) -> Grid:
    """Every measure of each AU of a model under one protocol."""
    names = study.study.au_set.au_names
    lines = []
    for n, name in enumerate(names):
        cells = []
        for measure in MEASURES:
            text = numbers.with_interval(entry.of_aus[measure.key][n])
            cells.append(Cell(text + DAGGER * (n in entry.undefined[measure.key])))
        lines.append((Cell(name), *cells))
    runs = entry.means[F1.key].runs
    lines.append((Cell("Mean", runs), *(Cell(numbers.with_interval(entry.means[m.key])) for m in MEASURES)))
    notes = [
        f"{measure.title} of {names[n]} is undefined in {where}."
        for measure in MEASURES
        for n, where in entry.undefined[measure.key].items()
    ]
    return Grid(
        f"{title}: every measure in percent (95 %), protocol {entry.arm}",
        ("AU", *(measure.title for measure in MEASURES)),
        tuple(lines),
        notes=tuple(notes),
        folded=True,
        where="screen",
    )


def _line(title: str, texts: Iterable[str], runs: tuple[str, ...] = ()) -> tuple[Cell, ...]:
    return (Cell(title, runs), *map(Cell, texts))


def _printed(percent: float | None) -> str:
    return UNDEFINED if percent is None else f"{percent:.1f}"


def _name(result: TableResult) -> str:
    return f"Table {result.name}"


def _on(result: TableResult) -> str:
    return ", on drawn faces" if result.study.synthetic else ""


def _gaps(result: TableResult) -> tuple[str, ...]:
    # Rows that lack the same have one note.
    titles: dict[tuple[str, str], list[str]] = {}
    for row in result.rows:
        for arm, of_rows in result.entries.items():
            if (entry := of_rows.get(row.name)) is not None and entry.gaps:
                titles.setdefault((arm, "; ".join(entry.gaps)), []).append(row.title)
    return tuple(f"{', '.join(of)}, protocol {arm}: {gaps}." for (arm, gaps), of in titles.items())


def _inferred(rows: Sequence[Row]) -> tuple[str, ...]:
    texts: dict[str, list[str]] = {}
    for row in rows:
        if row.inferred:
            texts.setdefault(row.inferred, []).append(row.title)
    return tuple(f"{', '.join(titles)}: {text}" for text, titles in texts.items())


def _undefined_notes(
    rows: Sequence[Row], entries: Mapping[str, Entry], names: Sequence[str]
) -> tuple[str, ...]:
    notes = []
    for row in rows:
        entry = entries.get(row.name)
        if entry is None or not entry.seeds:
            continue
        notes += [
            f"{row.title}: {names[n]} is neither present nor predicted in {where}, which counts 0 there."
            for n, where in entry.undefined[F1.key].items()
        ]
        nowhere = [
            name for name, number in zip(names, entry.of_aus[F1.key], strict=True) if number.value is None
        ]
        if nowhere:
            notes.append(
                f"{row.title}: {', '.join(nowhere)} is neither present nor predicted in any fold; F1 is "
                "undefined, and counts 0 in the mean."
            )
    return tuple(notes)
