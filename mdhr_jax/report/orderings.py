"""Which of the paper's orderings of its rows are seen here: told from paired intervals, nothing else."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

from mdhr_jax.paper import Row
from mdhr_jax.report import evidence
from mdhr_jax.report.evidence import Difference, Entry

Verdict = Literal["seen", "reversed", "undecided", "cannot be told", ""]

VERDICTS: tuple[Verdict, ...] = ("seen", "reversed", "undecided", "cannot be told")
"""``seen``: the interval of the difference excludes zero, on the paper's side; ``reversed``: on the other
side; ``undecided``: it does not; ``cannot be told``: there is no such interval. Empty where the paper has
no order."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two rows of a table.

    Attributes:
        higher, lower: as the paper has them; as they are printed where it has no order.
        paper: the paper's difference in percent; None where it does not print both.
        differences: higher less lower, by protocol.
    """

    higher: Row
    lower: Row
    paper: float | None
    differences: Mapping[str, Difference]

    def verdict(self, arm: str) -> Verdict:
        """Whether the paper's order is seen under a protocol."""
        if not self.paper:
            return ""
        found = self.differences[arm]
        if found.number is None or found.number.interval is None:
            return "cannot be told"
        if not found.excludes_zero:
            return "undecided"
        return "seen" if found.number.interval[0] > 0 else "reversed"


def compare_all(
    rows: Sequence[Row],
    entries: Mapping[str, Mapping[str, Entry]],
    folds: Sequence[int],
) -> list[Comparison]:
    """Every pair of rows.

    Args:
        rows: of one table, those that can be trained, in the printed order.
        entries: by protocol, then by the row's name; rows without runs may be absent.
        folds: over which means are taken.
    """
    comparisons = []
    for later, earlier in ((b, a) for a, b in itertools.combinations(rows, 2)):
        paper = None
        if later.average is not None and earlier.average is not None:
            # Printed with one place; what is left of a difference behind it is binary noise.
            paper = round(later.average - earlier.average, 1)
        higher, lower = (earlier, later) if paper is not None and paper < 0 else (later, earlier)
        differences = {
            arm: evidence.compare(of_rows.get(higher.name), of_rows.get(lower.name), folds)
            for arm, of_rows in entries.items()
        }
        comparisons.append(Comparison(higher, lower, None if paper is None else abs(paper), differences))
    return comparisons


def summary(comparisons: Sequence[Comparison], arm: str) -> str:
    """How many of the paper's orderings are seen under a protocol, in a sentence; empty where it has none."""
    verdicts = [verdict for comparison in comparisons if (verdict := comparison.verdict(arm))]
    if not verdicts:
        return ""
    parts = [f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts]
    return f"Protocol {arm}: of {len(verdicts)} orderings of the paper {', '.join(parts)}."
