"""Draws figures of finished runs: ``python -m mdhr_jax.figures RUN --out DIR``.

Each figure is written as PNG and as PDF (or SVG), those of a run into a folder of its own in DIR, named by
what the run is. Learning curves of several runs are drawn over each other, into DIR itself; all other figures
are of one run each. ``weights`` and ``graph`` need the run's checkpoint and its data, the others only what
the run wrote beside its result.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax import commands
from mdhr_jax.figures import FIGURES


def _figures(text: str) -> list[str]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := [name for name in names if name not in FIGURES]:
        raise argparse.ArgumentTypeError(
            f"there is no figure {', '.join(unknown)}; choose from {', '.join(FIGURES)}, separated by commas"
        )
    return names


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:14}{text}" for name, text in FIGURES.items())
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.figures",
        description=f"{__doc__}\nfigures:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="directory of a run")
    add("--out", type=Path, required=True, metavar="DIR", help="directory for the files")
    add("--data", type=Path, metavar="DIR", help="the data directory (the one that the run was trained on)")
    add(
        "--video",
        action="append",
        default=[],
        metavar="NAME",
        help="of timeline, weights and graph; repeatable (the one of the test part whose labels change most)",
    )
    add(
        "--only",
        type=_figures,
        action="extend",
        metavar="A,B",
        help="only these figures; repeatable",
    )
    add("--vector", choices=("pdf", "svg"), default="pdf", help="format beside PNG (pdf)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 where a figure could not be drawn, 2 after a mistake."""
    parser = _parser()
    # Intermixed: runs may stand behind options too.
    arguments = parser.parse_intermixed_args(argv)
    if figures := [str(run) for run in arguments.runs if str(run) in FIGURES and not run.exists()]:
        parser.error(f"{', '.join(figures)}: there is no such run; several figures are --only A,B")

    # Imported late: wrong arguments are reported at once.
    from mdhr_jax.figures import catalogue, style
    from mdhr_jax.figures.runs import NotApplicableError, open_runs
    from mdhr_jax.progress import Progress, announce

    def run() -> int:
        written, left_out, failed = [], [], []
        with style.settings():
            runs, wanted = open_runs(arguments.runs), tuple(dict.fromkeys(arguments.only or FIGURES))
            drawings = list(catalogue.drawings(runs, wanted, arguments.video, arguments.data))
            with Progress(len(drawings), unit="figures", label="drawing") as progress:
                for name, draw in drawings:
                    try:
                        stem, made = draw()
                        written += style.write(arguments.out, stem, made, arguments.vector)
                    except NotApplicableError as error:
                        left_out.append(f"{name}: not applicable: {error}")
                    except FileNotFoundError as error:
                        # Nobody misses a figure that was not asked for.
                        (failed if arguments.only else left_out).append(f"{name}: {error}")
                    except ValueError as error:
                        failed.append(f"{name}: {error}")
                    progress.update(note=name)
        for line in left_out:
            announce(f"left out: {line}")
        for path in written:
            print(path)
        if failed or not (written or left_out):
            print("\n".join(f"error: {line}" for line in failed), file=sys.stderr)
            return commands.FAILED
        return commands.DONE

    return commands.finish(run, interrupted="files already written are whole")


if __name__ == "__main__":
    sys.exit(main())
