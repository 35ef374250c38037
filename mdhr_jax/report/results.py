"""Everything that a report says, before it is put into words: the tables of each study."""

import dataclasses
from collections.abc import Mapping, Sequence

from mdhr_jax import facs, paper
from mdhr_jax.paper import Row
from mdhr_jax.report import evidence, orderings, studies
from mdhr_jax.report.collect import Found
from mdhr_jax.report.evidence import Entry, Number, Settings
from mdhr_jax.report.numbers import minus
from mdhr_jax.report.orderings import Comparison
from mdhr_jax.report.studies import Study
from mdhr_jax.tables import rows
from mdhr_jax.training import protocols


@dataclasses.dataclass(frozen=True)
class TableResult:
    """A table with what this project has for it.

    Attributes:
        name: its number, or ``k``.
        title: what it shows.
        study: whose runs.
        printed: all rows of the paper, other methods' included; none where the paper has no such table.
        rows: those that can be trained.
        entries: by protocol and name of the row.
        comparisons: of every two rows.
        against_paper: whether the paper's numbers and ours are of the same data, model and folds.
    """

    name: str
    title: str
    study: Study
    printed: tuple[Row, ...]
    rows: tuple[Row, ...]
    entries: Mapping[str, Mapping[str, Entry]]
    comparisons: tuple[Comparison, ...]
    against_paper: bool

    def minus_paper(self, arm: str, row: Row) -> Number | None:
        """Our mean F1 minus the paper's, where the two were made alike."""
        entry = self.entries[arm].get(row.name)
        if entry is None or not self.compares(arm):
            return None
        return minus(entry.means.get("f1"), row.average)

    @property
    def has_runs(self) -> bool:
        """Whether any run is of one of its rows, finished or not."""
        return any(self.entries.values())

    def compares(self, arm: str) -> bool:
        """Whether a difference from the paper may be given: its numbers are of its own protocol."""
        return self.against_paper and arm == protocols.PAPER


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """A study with its numbers.

    Attributes:
        study: its runs.
        entries: by protocol and model.
        baseline: F1 of always present: the mean, and of each AU; None where no row is complete.
        tables: those asked for that are about its data; where none is asked for, those that any of its
            runs is of.
    """

    study: Study
    entries: Mapping[tuple[str, str], Entry]
    baseline: tuple[Number, tuple[Number, ...]] | None
    tables: tuple[TableResult, ...]


@dataclasses.dataclass(frozen=True)
class Results:
    """All of a report.

    Attributes:
        settings: how numbers were made.
        found: every directory.
        reasons: why a directory is not used, by id.
        studies: with their tables.
        without_runs: tables of which no study has any run; of the paper's, or of those asked for.
    """

    settings: Settings
    found: tuple[Found, ...]
    reasons: Mapping[str, str]
    studies: tuple[StudyResult, ...]
    without_runs: tuple[str, ...]


def make(found: Sequence[Found], settings: Settings, tables: Sequence[str] = ()) -> Results:
    """Sorts runs, draws subjects and fills the tables.

    Args:
        found: every directory, see `collect.collect`.
        settings: how to make numbers.
        tables: only these; by default all.

    Raises:
        ValueError: there is no such table or fold, or too few resamples are asked for.
        FileNotFoundError: ``configs/tables.py`` is not here.
    """
    for table in tables:
        rows.check_table(table)
    for fold in settings.folds:
        facs.part_tested(fold)
    if settings.resamples < 1 or settings.seed < 0 or not settings.folds:
        raise ValueError(
            f"{settings.resamples} resamples from seed {settings.seed} over folds {list(settings.folds)}: "
            "expected at least one resample, a seed of 0 or more, and a fold"
        )
    ordered = studies.sort(found)
    gathered = evidence.gather(ordered.studies, found, settings)
    of_studies = tuple(
        StudyResult(study, entries, evidence.baseline(entries), _tables(study, entries, settings, tables))
        for study, entries in zip(ordered.studies, gathered, strict=True)
    )
    with_runs = {table.name for study in of_studies for table in study.tables if table.has_runs}
    return Results(
        settings,
        tuple(found),
        ordered.reasons,
        of_studies,
        tuple(name for name in dict.fromkeys(tables or paper.TABLES) if name not in with_runs),
    )


def _is_shown(study: Study, name: str) -> bool:
    """Whether a table is shown that nobody asked for: any run is of it.

    One of the sweep's rows is the full model, which other tables have too: its runs alone are no sweep.
    """
    places = [place.rows for place in study.places.values() if any(table == name for table, _ in place.rows)]
    if name in paper.TABLES:
        return bool(places)
    return any(all(table not in paper.TABLES for table, _ in of_run) for of_run in places)


def _tables(
    study: Study,
    entries: Mapping[tuple[str, str], Entry],
    settings: Settings,
    wanted: Sequence[str],
) -> tuple[TableResult, ...]:
    made = []
    for name, own in rows.ROWS.items():
        models = {row: p.model for p in study.places.values() for table, row in p.rows if table == name}
        if rows.dataset_of(name) != study.family:
            continue
        if name not in wanted if wanted else not _is_shown(study, name):
            continue
        by_arm = {
            arm: {
                row.name: entries[arm, models[row.name]]
                for row in own
                if row.name in models and (arm, models[row.name]) in entries
            }
            for arm in study.arms
        }
        made.append(
            TableResult(
                name=name,
                title=rows.TITLES[name],
                study=study,
                printed=paper.TABLES[name].rows if name in paper.TABLES else (),
                rows=own,
                entries=by_arm,
                comparisons=tuple(orderings.compare_all(own, by_arm, settings.folds)),
                against_paper=(
                    not study.synthetic and study.scale == "full" and settings.folds == facs.FOLDS
                ),
            )
        )
    return tuple(made)
