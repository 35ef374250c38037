"""What a report says at its top: what was run, what is missing, and the headline orderings."""

from collections.abc import Sequence

from mdhr_jax.report import tables
from mdhr_jax.report.document import Block, Bullets, Cell, Grid, Heading, Paragraph
from mdhr_jax.report.evidence import NOT_STARTED, Entry
from mdhr_jax.report.numbers import UNDEFINED
from mdhr_jax.report.orderings import VERDICTS
from mdhr_jax.report.results import Results, StudyResult, TableResult
from mdhr_jax.tables import rows

STEP = "A step is a pair of rows that differ by one module, or by the one setting that their table is about."


def write(results: Results) -> list[Block]:
    """The section."""
    blocks: list[Block] = [Heading(2, "Summary")]
    if results.studies:
        blocks += [_studies(results), _tables(results)]
    for result in results.studies:
        for table in result.tables:
            arms = result.study.arms
            sentences = tables.verdicts(table, arms, steps=True)
            told = any(found.differences[arm].number for found in table.comparisons for arm in arms)
            if told and sentences:
                where = f"Study {result.study.number}, Table {table.name}"
                on = ", on drawn faces" if result.study.synthetic else ""
                blocks += [Paragraph(f"{where}, the paper's orderings{on}:"), Bullets(tuple(sentences))]
    if results.without_runs:
        listed = "; ".join(f"{name} ({rows.TITLES[name]})" for name in results.without_runs)
        blocks.append(Paragraph(f"No run is of table {listed}."))
    blocks += [Paragraph(f"{hint[0].upper()}{hint[1:]}.", warning=True) for hint in hints(results)]
    return blocks


def _studies(results: Results) -> Grid:
    lines = []
    for result in results.studies:
        study = result.study
        used = [run for models in study.used.values() for runs in models.values() for run in runs]
        arms = ", ".join(study.arms)
        seeds, folds = ({key[n] for key in used} for n in (0, 1))
        unfinished = sum(run.id in study.places and run.outcome is None for run in results.found)
        lines.append(
            tuple(
                map(
                    Cell,
                    (
                        f"{study.number}: {study.title}",
                        arms,
                        _listed(folds),
                        _listed(seeds),
                        str(len(used)),
                        str(unfinished),
                    ),
                )
            )
        )
    return Grid(
        "What was run",
        ("Study", "Protocols", "Folds", "Seeds", "Runs used", "Runs not finished"),
        tuple(lines),
        numeric=False,
    )


def _tables(results: Results) -> Grid:
    lines = [
        tuple(map(Cell, _of_table(result, table, arm)))
        for result in results.studies
        for table in result.tables
        for arm in result.study.arms
    ]
    header = ("Study", "Table", "Protocol", "Rows with a mean", "Rows without", *map(_heading, VERDICTS))
    return Grid(
        "What there is of each table, and how many of the paper's orderings between steps are seen",
        header,
        tuple(lines),
        notes=(STEP,),
        numeric=False,
    )


def _heading(verdict: str) -> str:
    return f"Steps {verdict}"


def _of_table(result: StudyResult, table: TableResult, arm: str) -> tuple[str, ...]:
    entries = table.entries[arm]
    complete = [row for row in table.rows if (entry := entries.get(row.name)) and entry.seeds]
    gaps: dict[str, list[str]] = {}
    for row in table.rows:
        if row not in complete:
            gaps.setdefault("gap" if row.name in entries else NOT_STARTED, []).append(row.title)
    missing = "; ".join(
        f"{'all' if len(titles) == len(table.rows) else ', '.join(titles)}: {kind}"
        for kind, titles in gaps.items()
    )
    steps = [found.verdict(arm) for found in table.comparisons if found.is_step]
    told = [str(steps.count(verdict)) if any(steps) else UNDEFINED for verdict in VERDICTS]
    count = f"{len(complete)} of {len(table.rows)}"
    return (str(result.study.number), table.name, arm, count, missing or UNDEFINED, *told)


def fold_hint(table: TableResult) -> str:
    """What to do where every row of a table is a gap because folds are missing; empty elsewhere."""
    advice = _of_folds([entry for of_rows in table.entries.values() for entry in of_rows.values()])
    return f"Every row of this table is a gap, because no seed has every fold; {advice}." if advice else ""


def hints(results: Results) -> Sequence[str]:
    """What whoever ran the command may want to know at once."""
    return [
        f"study {result.study.number} has no row with every fold; {advice}"
        for result in results.studies
        if (advice := _of_folds(list(result.entries.values())))
    ]


def _of_folds(entries: Sequence[Entry]) -> str:
    """Which folds to ask for, where no row has a mean and all have some fold in common; else empty."""
    folds = [{fold for _, fold in entry.runs} for entry in entries if entry.runs]
    common = sorted(set.intersection(*folds)) if folds else []
    if not common or any(entry.seeds for entry in entries):
        return ""
    listed = ",".join(map(str, common))
    return f"--folds {listed} takes means over fold {listed} alone"


def _listed(values: set[int]) -> str:
    return ", ".join(map(str, sorted(values))) or UNDEFINED
