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
    add("--rows", type=_names, default=(), metavar="A,B", help="only these rows (all)")
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
    _add_choice(run)
    run.add_argument("--keep-going", action="store_true", help="go on after a run that failed")
    plan = commands.add_parser("plan", parents=[shared], help="print the commands of what is not finished")
    _add_choice(plan)
    _add_slurm(plan)
    status = commands.add_parser("status", parents=[shared], help="how far each run is")
    _add_choice(status, default_is_there=True)
    return parser


def _add_choice(parser: argparse.ArgumentParser, *, default_is_there: bool = False) -> None:
    """Which runs are meant; by default those of a first look, or all that there are."""
    there = "all that there are"
    parser.add_argument(
        "--table",
        type=_names,
        action="append",
        required=not default_is_there,
        metavar="N",
        help="1 to 5, or k; repeatable" + f" ({there})" * default_is_there,
    )
    for name, kind, default, metavar, text in (
        ("--folds", _numbers, (1, 2, 3), "1,2", ""),
        ("--seeds", _numbers, (0,), "0,1", ""),
        ("--protocol", _names, ("paper",), "A,B", "paper, honest or paper,honest "),
    ):
        parser.add_argument(
            name,
            type=kind,
            default=None if default_is_there else default,
            metavar=metavar,
            help=f"{text}({there if default_is_there else ','.join(map(str, default))})",
        )


def _add_slurm(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slurm", type=Path, metavar="FILE", help="write them as a Slurm array instead")
    group = parser.add_argument_group("of the Slurm array, each task of it")
    group.add_argument("--slurm-time", metavar="HH:MM:SS", help="at most (08:00:00)")
    group.add_argument("--slurm-mem", metavar="SIZE", help="of the host (32G)")
    group.add_argument("--slurm-cpus", type=int, metavar="N", help="cores, which read and decode frames (8)")
    group.add_argument("--slurm-at-once", type=int, metavar="N", help="tasks at a time (4)")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 where a run failed or is unfinished, 2 after a mistake."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    arguments, overrides = parser.parse_known_args(given)
    if strange := [option for option in overrides if not option.startswith("--config.")]:
        parser.error(f"unexpected: {' '.join(strange)}")

    # Imported late: wrong arguments are reported at once.
    from mdhr_jax.progress import announce
    from mdhr_jax.tables import found, plan, rows

    def run() -> int:
        # Only `status` leaves these open.
        there = found.choice(arguments.runs)
        request = plan.Request(
            tables=tuple(name for names in arguments.table or (tuple(rows.ROWS),) for name in names),
            runs=arguments.runs,
            data=arguments.data,
            weights=arguments.weights,
            rows=arguments.rows,
            folds=there.folds if arguments.folds is None else arguments.folds,
            seeds=there.seeds if arguments.seeds is None else arguments.seeds,
            protocols=there.protocols if arguments.protocol is None else arguments.protocol,
            laptop=arguments.laptop,
            overrides=tuple(overrides),
        )
        planned = plan.make(request)
        if arguments.table is not None:
            for name in plan.left_out(request):
                announce(f"left out: {name}, which has no laptop scale (it takes images of 224 pixels only)")
        if hint := found.other_scale(request, planned):
            announce(hint)
        commands: dict[str, Callable[..., int]] = {"run": _run, "plan": _plan, "status": _status}
        return commands[arguments.command](arguments, planned, given)

    return commands.finish(run, interrupted="the same command goes on from what is saved")


def _run(arguments: argparse.Namespace, planned: list, given: list[str]) -> int:
    from mdhr_jax.progress import announce
    from mdhr_jax.tables import plan, runner, state

    runner.refuse_blocked(planned)
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
    return commands.FAILED if outcome.failed or outcome.left else commands.DONE


def _plan(arguments: argparse.Namespace, planned: list, given: list[str]) -> int:
    from mdhr_jax.progress import announce
    from mdhr_jax.tables import runner, slurm, state

    options = {
        "time": arguments.slurm_time,
        "memory": arguments.slurm_mem,
        "cpus": arguments.slurm_cpus,
        "at_once": arguments.slurm_at_once,
    }
    options = {name: value for name, value in options.items() if value is not None}
    if options and arguments.slurm is None:
        raise ValueError("--slurm-time, --slurm-mem, --slurm-cpus and --slurm-at-once need --slurm FILE")
    needs = slurm.Needs(**options)
    runner.refuse_blocked(planned)
    states = [(run, state.inspect(run)) for run in planned]
    left = [run for run, now in states if now.kind != "finished"]
    announce(f"{len(planned) - len(left)} of {len(planned)} runs are finished")
    if arguments.slurm is None:
        for run in left:
            print(f"{run.condition} && {run.command}" if run.condition else run.command)
    elif left:
        hint = slurm.hours([now.seconds for _, now in states if now.seconds is not None])
        command = ["python", "-m", "mdhr_jax.tables", *given]
        tasks = slurm.write(arguments.slurm, left, command, needs, hint)
        announce(f"written to {arguments.slurm}: {tasks} tasks for {len(left)} runs, {needs}\n{hint}")
    else:
        announce("nothing is left to run, and nothing was written")
    return commands.DONE


def _status(arguments: argparse.Namespace, planned: list, given: list[str]) -> int:
    from mdhr_jax.tables import state

    shown = planned
    if arguments.table is None:
        shown = [run for run in planned if run.directory.exists()]
    if not shown:
        print(f"no run of the tables is in {arguments.runs}")
        return commands.DONE
    states = [(run, state.inspect(run)) for run in shown]
    lines = [("state", "done", "F1", "fold", "seed", "protocol", "rows", "directory")]
    for run, now in states:
        names = ", ".join(f"{table}:{row}" for table, row in run.rows) or "(needed by others)"
        mean = "" if now.f1_mean is None else f"{now.f1_mean:.2f}"
        directory = str(run.directory.relative_to(arguments.runs))
        lines.append((now.kind, now.done, mean, str(run.fold), str(run.seed), run.protocol, names, directory))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    print()
    counts = collections.Counter(now.kind for _, now in states)
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for kind, meaning in state.MEANINGS.items():
        if kind in counts and kind != "finished":
            print(f"{kind}: {meaning}")
    for run, now in states:
        if now.detail:
            print(f"{now.kind}: {run.directory}: {now.detail}")
    if len(shown) < len(planned):
        print(
            f"{len(planned) - len(shown)} more runs of these folds, seeds and protocols have no directory; "
            "--table N lists those of a table"
        )
    return commands.DONE


if __name__ == "__main__":
    sys.exit(main())
