"""Trains the rows of the paper's tables: ``python -m mdhr_jax.tables run --table 3 --data DIR --runs DIR``.

``run`` trains what is missing and goes on with what was interrupted, one run after the other. ``plan`` prints
the commands that this would take, or writes them as a Slurm array. ``status`` shows how far each run is.
"""

import argparse
import collections
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mdhr_jax import commands


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in _names(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers such as 1,2,3, found {text!r}") from None


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    add = shared.add_argument
    add("--table", type=_names, action="append", required=True, metavar="N", help="1 to 5, or k; repeatable")
    add("--rows", type=_names, default=(), metavar="A,B", help="only these rows (all)")
    add("--folds", type=_numbers, default=(1, 2, 3), metavar="1,2", help="(1,2,3)")
    add("--seeds", type=_numbers, default=(0,), metavar="0,1", help="(0)")
    add(
        "--protocol",
        type=_names,
        default=("paper",),
        metavar="A,B",
        help="paper, honest or paper,honest (paper)",
    )
    add("--data", type=Path, default=Path("data"), metavar="DIR", help="the data directory (data)")
    add("--runs", type=Path, default=Path("runs/tables"), metavar="DIR", help="of all runs (runs/tables)")
    add(
        "--weights",
        default="weights",
        metavar="DIR",
        help="ImageNet weights, in a folder a backbone; none: random ones (weights)",
    )
    add("--laptop", action="store_true", help="small models on drawn faces, minutes a run on two CPU cores")
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.tables",
        description=__doc__,
        epilog="Further options --config.KEY=VALUE are for every run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", parents=[shared], help="train what is not finished")
    run.add_argument("--keep-going", action="store_true", help="go on after a run that failed")
    plan = commands.add_parser("plan", parents=[shared], help="print the commands of what is not finished")
    plan.add_argument("--slurm", type=Path, metavar="FILE", help="write them as a Slurm array instead")
    commands.add_parser("status", parents=[shared], help="how far each run is")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 where a run failed or is unfinished, 2 after a mistake."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    arguments, overrides = parser.parse_known_args(given)
    if strange := [option for option in overrides if not option.startswith("--config.")]:
        parser.error(f"unexpected: {' '.join(strange)}")

    # Imported late: wrong arguments are reported at once.
    from mdhr_jax.progress import announce
    from mdhr_jax.tables import plan

    def run() -> int:
        request = plan.Request(
            tables=tuple(name for names in arguments.table for name in names),
            runs=arguments.runs,
            data=arguments.data,
            weights=arguments.weights,
            rows=arguments.rows,
            folds=arguments.folds,
            seeds=arguments.seeds,
            protocols=arguments.protocol,
            laptop=arguments.laptop,
            overrides=tuple(overrides),
        )
        planned = plan.make(request)
        for name in plan.left_out(request):
            announce(f"left out: {name}, which has no laptop scale (it takes images of 224 pixels only)")
        commands: dict[str, Callable[..., int]] = {"run": _run, "plan": _plan, "status": _status}
        return commands[arguments.command](arguments, planned, given)

    return commands.finish(run, interrupted="the same command goes on from what is saved")


def _run(arguments: argparse.Namespace, planned: list, given: list[str]) -> int:
    from mdhr_jax.progress import announce
    from mdhr_jax.tables import plan, runner, state

    runner.refuse_foreign(planned)
    plan.check_ingredients(
        (run for run in planned if state.inspect(run).kind not in ("finished", "running")), arguments.weights
    )
    tables = ", ".join(dict.fromkeys(table for run in planned for table, _ in run.rows))
    outcome = runner.run_all(
        planned, f"table {tables}", cache=arguments.runs / ".compiled", keep_going=arguments.keep_going
    )
    announce(
        f"{len(outcome.finished)} of {len(planned)} runs finished"
        + (f", {len(outcome.failed)} failed" if outcome.failed else "")
        + (f", {len(outcome.left)} not started or stopped" if outcome.left else "")
        + f"; in {arguments.runs}"
    )
    if outcome.stopped:
        return commands.INTERRUPTED
    return commands.FAILED if outcome.failed or outcome.left else 0


def _plan(arguments: argparse.Namespace, planned: list, given: list[str]) -> int:
    from mdhr_jax.progress import announce
    from mdhr_jax.tables import runner, slurm, state

    runner.refuse_foreign(planned)
    left = [run for run in planned if state.inspect(run).kind != "finished"]
    announce(f"{len(planned) - len(left)} of {len(planned)} runs are finished")
    if arguments.slurm is None:
        for run in left:
            print(f"{run.condition} && {run.command}" if run.condition else run.command)
    elif left:
        tasks = slurm.write(arguments.slurm, left, ["python", "-m", "mdhr_jax.tables", *given])
        announce(f"written to {arguments.slurm}: {tasks} tasks for {len(left)} runs")
    else:
        announce("nothing is left to run, and nothing was written")
    return 0


def _status(arguments: argparse.Namespace, planned: list, given: list[str]) -> int:
    from mdhr_jax.tables import state

    found = [(run, state.inspect(run)) for run in planned]
    lines = [("state", "F1", "fold", "seed", "protocol", "rows", "directory")]
    for run, now in found:
        names = ", ".join(f"{table}:{row}" for table, row in run.rows) or "(needed by others)"
        mean = "" if now.f1_mean is None else f"{now.f1_mean:.2f}"
        directory = str(run.directory.relative_to(arguments.runs))
        lines.append((now.kind, mean, str(run.fold), str(run.seed), run.protocol, names, directory))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    print()
    counts = collections.Counter(now.kind for _, now in found)
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for run, now in found:
        if now.detail:
            print(f"{now.kind}: {run.directory}: {now.detail}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
