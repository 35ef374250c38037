"""Which of the paper's orderings of its rows are seen here: told from paired intervals, nothing else.

Every difference is a row's number minus that of its reference row, which is the one printed further up.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mdhr_jax.paper import SWITCHES, Row
from mdhr_jax.report import evidence, numbers
from mdhr_jax.report.evidence import Difference, Entry

Verdict = Literal["seen", "reversed", "undecided", "cannot be told", ""]

VERDICTS: tuple[Verdict, ...] = ("seen", "reversed", "undecided", "cannot be told")
"""``seen``: the interval of the difference excludes zero, on the paper's side; ``reversed``: on the other
side; ``undecided``: it does not; ``cannot be told``: there is no such interval. Empty where the paper has
no order."""

# Switches that mean nothing where a module is off.
_OF_MODULES = {"mfd": ("mfd_scales", "fusion", "neighbors"), "crm": ("edges",)}
_SCALES = "mfd_scales"
_START = "start"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two rows of a table.

    Attributes:
        row: the one printed further down.
        reference: the one printed further up.
        paper: the paper's difference in percent, row minus reference; None where it does not print both.
        differences: row minus reference, by protocol.
    """

    row: Row
    reference: Row
    paper: float | None
    differences: Mapping[str, Difference]

    @property
    def title(self) -> str:
        """Such as ``AFE minus Backbone``."""
        return f"{self.row.title} minus {self.reference.title}"

    @property
    def is_step(self) -> bool:
        """Whether the rows differ by one module, or by the one setting that their table is about.

        Which scales the dynamics look at is not such a setting: of it alone there are more pairs than the
        paper speaks of.
        """
        one, other = _effective(self.row), _effective(self.reference)
        changed = [key for key in one.keys() & other.keys() if one[key] != other[key]]
        return len(changed) == 1 and changed != [_SCALES]

    def verdict(self, arm: str) -> Verdict:
        """Whether the paper's order is seen under a protocol."""
        if not self.paper:
            return ""
        found = self.differences[arm]
        if found.number is None or found.number.interval is None:
            return "cannot be told"
        if not found.excludes_zero:
            return "undecided"
        return "seen" if (found.number.interval[0] > 0) == (self.paper > 0) else "reversed"

    def describe(self, arm: str) -> str:
        """What the paper has above what and what was found here, each with its difference."""
        above, below = self.row.title, self.reference.title
        if (self.paper or 0) < 0:
            above, below = below, above
        found = (
            f"{self.title} is {numbers.difference(self.differences[arm].number)} here, "
            f"{numbers.signed((self.paper or 0) / 100)} in the paper"
        )
        if self.verdict(arm) == "reversed":
            return f"the paper has {above} above {below}; here {below} is above {above}: {found}"
        return f"{above} is above {below}, as the paper has it: {found}"


def _effective(row: Row) -> dict[str, Any]:
    """A row's switches that have an effect, and what it starts from."""
    switches = dict(row.settings or SWITCHES) | {_START: row.finetuned}
    for module, of_module in _OF_MODULES.items():
        if not switches[module]:
            for name in of_module:
                del switches[name]
    return switches


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
    for reference, row in itertools.combinations(rows, 2):
        paper = None
        if row.average is not None and reference.average is not None:
            # Printed with one place; what is left of a difference behind it is binary noise.
            paper = round(row.average - reference.average, 1)
        differences = {
            arm: evidence.compare(of_rows.get(row.name), of_rows.get(reference.name), folds)
            for arm, of_rows in entries.items()
        }
        comparisons.append(Comparison(row, reference, paper, differences))
    return comparisons


def summary(comparisons: Sequence[Comparison], arm: str) -> str:
    """How many of the paper's orderings are seen under a protocol; empty where it has none of these pairs."""
    verdicts = [verdict for comparison in comparisons if (verdict := comparison.verdict(arm))]
    if not verdicts:
        return ""
    parts = [f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts]
    return f"of {len(verdicts)} orderings of the paper {', '.join(parts)}"


def sentences(comparisons: Sequence[Comparison], arm: str, which: str) -> list[str]:
    """What a protocol's intervals say of the paper's orderings, in sentences; none where there are none.

    Args:
        comparisons: that are spoken of.
        arm: the protocol.
        which: what they are, to begin with: ``Steps``.
    """
    counts = summary(comparisons, arm)
    if not counts:
        return []
    return [
        f"{which}, protocol {arm}: {counts}.",
        *(
            f"{verdict.capitalize()} under {arm}: {found.describe(arm)}."
            for verdict in ("seen", "reversed")
            for found in comparisons
            if found.verdict(arm) == verdict
        ),
    ]
