"""Draws figures of finished runs: ``python -m mdhr_jax.figures RUN --out DIR``.

Each figure is written as PNG and as PDF (or SVG). Learning curves of several runs are drawn over each other;
all other figures are of one run each. ``weights`` and ``graph`` need the run's checkpoint and its data, the
others only what the run wrote beside its result.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax import commands
from mdhr_jax.figures import FIGURES


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
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="of timeline, weights and graph (the video of the test part whose labels change most)",
    )
    add(
        "--only",
        nargs="+",
        action="extend",
        choices=tuple(FIGURES),
        metavar="FIGURE",
        help="only these figures",
    )
    add("--vector", choices=("pdf", "svg"), default="pdf", help="format beside PNG (pdf)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 where a figure could not be drawn, 2 after a mistake."""
    arguments = _parser().parse_args(argv)

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
