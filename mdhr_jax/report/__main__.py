"""The paper's tables from finished runs: ``python -m mdhr_jax.report RUNS --out DIR``.

Writes report.md, report.tex, report.html and report.json: our numbers beside the paper's, with intervals,
gaps where runs are missing, and where every number comes from. docs/report.md says how they are made.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax import commands


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in _names(text)}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers such as 1,2,3, found {text!r}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("runs", type=Path, metavar="RUNS", help="directory below which the runs lie")
    add("--out", type=Path, required=True, metavar="DIR", help="where the report is written")
    add(
        "--table",
        type=_names,
        action="append",
        default=[],
        metavar="N",
        help="1 to 5, or k; repeatable (1 to 5, and k where there are runs of it alone)",
    )
    add("--folds", type=_numbers, default=(1, 2, 3), metavar="1,2", help="means are over these (1,2,3)")
    add("--resamples", type=int, default=10_000, metavar="N", help="of the bootstrap (10000)")
    add("--seed", type=int, default=0, metavar="N", help="of what the bootstrap draws (0)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 2 after a mistake, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)

    # Imported late: wrong arguments are reported at once.
    from mdhr_jax.progress import announce
    from mdhr_jax.report import collect, files, results, summary
    from mdhr_jax.report.evidence import Settings

    def run() -> None:
        settings = Settings(arguments.folds, arguments.resamples, arguments.seed)
        found = collect.collect(arguments.runs, skip=arguments.out)
        if all(run.kind == "not a run" for run in found):
            raise ValueError(
                f"no run lies in {arguments.runs}; `python -m mdhr_jax.tables run --runs {arguments.runs}` "
                "makes some"
            )
        tables = tuple(name for names in arguments.table for name in names)
        made = results.make(found, settings, tables)
        written = files.write(made, arguments.out)
        for hint in summary.hints(made):
            announce(hint)
        used = len(found) - len(made.reasons)
        announce(f"{used} of {len(found)} directories used; written: {', '.join(map(str, written))}")

    return commands.finish(run)


if __name__ == "__main__":
    sys.exit(main())
