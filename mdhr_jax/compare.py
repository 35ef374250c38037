"""Compares with a checkout of the PyTorch reference: ``python -m mdhr_jax.compare --reference CHECKOUT``.

Both models get the same weights and clips. Differences of every stage of the forward pass, of losses,
gradients, running statistics and a short training are printed in the order in which data flow; the first
one beyond its limit is marked, and the exit code is then 1. The checkout is not changed, and neither a GPU
nor ImageNet weights, torchvision or timm are needed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax import commands


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {number}")
    return number


def _not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, found {number}")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--reference", type=Path, required=True, metavar="CHECKOUT", help="clone of CVI-SZU/MDHR")
    add("--dataset", choices=("bp4d", "disfa"), default="bp4d", help="whose AUs (bp4d)")
    add("--backbone", choices=("resnet50", "swin_base"), default="resnet50", help="(resnet50)")
    add("--neighbors", type=_positive, default=5, metavar="K", help="frames looked at on either side (5)")
    add("--weights", type=Path, metavar="PTH", help="weights of the reference; made-up ones by default")
    add("--float64", action="store_true", help="compute in float64, with fixed limits")
    add("--clip-length", type=_positive, default=16, metavar="T", help="frames of a clip (16)")
    add("--batch", type=_positive, default=1, metavar="B", help="clips (1)")
    add("--seed", type=_not_negative, default=0, help="of clips and labels (0)")
    add("--device", choices=("auto", "cpu", "gpu"), default="auto", help="both on the GPU where both can")
    add("--report", type=Path, metavar="FILE", help="also write a report, .md or .html")
    add("--skip-parity", dest="parity", action="store_false", help="only --speed and --train")
    add("--evaluation-only", action="store_true", help="no training steps: a third of the memory")
    add("--speed", action="store_true", help="time both in turn")
    add("--repeats", type=_positive, default=5, help="repetitions of the timing (5)")
    training = parser.add_argument_group("training side by side")
    add = training.add_argument
    add("--train", type=_not_negative, default=0, metavar="N", help="train both for N steps")
    add("--data", type=Path, metavar="DIR", help="data directory; synthetic faces by default")
    add("--subjects", type=_positive, default=6, help="of the synthetic faces (6)")
    add("--frames", type=_positive, default=32, help="of each subject's video (32)")
    add("--eval-every", type=_not_negative, default=0, metavar="STEPS", help="(a quarter of N)")
    add("--learning-rate", type=float, default=1e-4, help="first one of the cosine (1e-4)")
    add("--curves", type=Path, default=Path("curves.csv"), metavar="CSV", help="(curves.csv; also as .md)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 where something departs, 2 after a user's mistake."""
    arguments = _parser().parse_args(argv)
    given = list(sys.argv[1:] if argv is None else argv)

    # Imported late: wrong arguments are reported at once.
    from mdhr_jax.interop import comparison_run

    def run() -> int:
        options = comparison_run.options_from(arguments)
        agrees = comparison_run.run(options, ["python", "-m", "mdhr_jax.compare", *given])
        return commands.DONE if agrees else commands.FAILED

    return commands.finish(run)


if __name__ == "__main__":
    sys.exit(main())
