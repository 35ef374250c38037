"""Everything that a report says, before it is put into words: the tables of each study."""

import dataclasses
from collections.abc import Mapping, Sequence

from mdhr_jax import facs, paper
from mdhr_jax.paper import Row
from mdhr_jax.report import evidence, orderings, studies
from mdhr_jax.report.collect import Found
from mdhr_jax.report.evidence import Entry, Number, Settings
from mdhr_jax.report.numbers import less
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

    def less_paper(self, arm: str, row: Row) -> Number | None:
        """Our mean F1 less the paper's, where the two were made alike."""
        entry = self.entries[arm].get(row.name)
        if entry is None or not self.compares(arm):
            return None
        return less(entry.means.get("f1"), row.average)

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
        tables: those that any of its runs is of.
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
    """

    settings: Settings
    found: tuple[Found, ...]
    reasons: Mapping[str, str]
    studies: tuple[StudyResult, ...]


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
    return Results(
        settings,
        tuple(found),
        ordered.reasons,
        tuple(
            StudyResult(study, entries, evidence.baseline(entries), _tables(study, entries, settings, tables))
            for study, entries in zip(ordered.studies, gathered, strict=True)
        ),
    )


def _tables(
    study: Study,
    entries: Mapping[tuple[str, str], Entry],
    settings: Settings,
    wanted: Sequence[str],
) -> tuple[TableResult, ...]:
    made = []
    for name, own in rows.ROWS.items():
        models = {row: p.model for p in study.places.values() for table, row in p.rows if table == name}
        if not models or (wanted and name not in wanted):
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
