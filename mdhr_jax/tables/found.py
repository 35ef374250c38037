"""What a folder of runs holds, told by the names of its directories: for who asks without saying of which."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax.tables import plan
from mdhr_jax.tables.plan import PROTOCOLS, Request, Run

_NAME = re.compile(r"fold(\d+)-seed(\d+)-(\w+)")


@dataclasses.dataclass(frozen=True)
class Choice:
    """Folds, seeds and protocols that there are runs of; of a folder without runs, the usual ones."""

    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    protocols: tuple[str, ...]


def choice(runs: Path) -> Choice:
    """Looks for directories that are named as `plan` names them.

    Args:
        runs: directory of all runs; may be missing.
    """
    named = [match for path in runs.glob("*/*/*") if (match := _NAME.fullmatch(path.name))]
    known = [match for match in named if match[3] in PROTOCOLS and int(match[1]) in (1, 2, 3)]
    usual = Request((), runs, data=runs)
    return Choice(
        tuple(sorted({int(match[1]) for match in known})) or usual.folds,
        tuple(sorted({int(match[2]) for match in known})) or usual.seeds,
        tuple(name for name in PROTOCOLS if any(match[3] == name for match in known)) or usual.protocols,
    )


def other_scale(request: Request, planned: Sequence[Run]) -> str:
    """A hint where none of the runs asked for is there and the same of the other scale are; else empty.

    Args:
        request: what was asked for.
        planned: its runs.
    """
    if any(run.directory.exists() for run in planned) or not request.runs.is_dir():
        return ""
    try:
        others = plan.make(dataclasses.replace(request, laptop=not request.laptop))
    except ValueError:  # What was asked for has no other scale.
        return ""
    if not any(run.directory.exists() for run in others):
        return ""
    if request.laptop:
        return f"the runs in {request.runs} are of full scale; without --laptop they are meant"
    return f"the runs in {request.runs} are of laptop scale; with --laptop they are meant"
