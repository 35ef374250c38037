"""A checkpoint as StableHLO: ``python -m mdhr_jax.export CHECKPOINT --out DIR``.

DIR gets the clip model and the streaming step, each one program for CPUs, CUDA and TPUs; the weights;
``meaning.json``, which says what the numbers mean; and ``loader.py``, which runs it all with JAX and NumPy
alone.

The exit code is 0, 2 after a mistake (nothing is written then), 130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax import commands


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT", help="directory of a run or of a checkpoint")
    add("--out", type=Path, required=True, metavar="DIR", help="folder to make; it must not be there")
    add(
        "--verify",
        action="store_true",
        help="run the programs on this machine, and write nothing unless they give what the model gives",
    )
    return parser


def run(arguments: argparse.Namespace) -> str:
    """Exports, and says what was done.

    Raises:
        ValueError, OSError: with what is wrong; nothing is written then.
    """
    # JAX takes seconds to start; wrong options are told at once.
    from mdhr_jax.export import folder, verify
    from mdhr_jax.predict import checkpoint

    folder.refuse(arguments.out)
    trained = checkpoint.load(arguments.checkpoint)
    found: list[float] = []

    def check(path: Path) -> None:
        found.append(verify.difference(path, trained))

    folder.write(arguments.out, trained, check if arguments.verify else None)
    verified = f"; scores differ from the model's by at most {found[0]:.1e}" if found else ""
    return (
        f"{arguments.checkpoint}: {', '.join(trained.au_set.au_names)}\nwritten to {arguments.out}{verified}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code, see the module's description."""
    arguments = _parser().parse_args(argv)
    return commands.finish(lambda: print(run(arguments)))


if __name__ == "__main__":
    sys.exit(main())
