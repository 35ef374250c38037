"""The command line that the data sets share: an aligned tree in, TFRecord out."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax import facs


def main(au_set: facs.AUSet, arguments: Sequence[str] | None = None) -> int:
    """Runs the command of one data set.

    Args:
        au_set: the data set.
        arguments: by default those of the process.

    Returns:
        Exit code: 0, or 1 after a problem, which is printed.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m data_prep.{au_set.name}",
        description=f"Writes aligned {au_set.title} faces and their AU labels as TFRecord.",
    )
    parser.add_argument(
        "--aligned",
        type=Path,
        required=True,
        help="folder with recipe.json and, for each video, frames/<number>.jpg (256x256) and labels.csv",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help=f"data directory; the set goes to OUT/{au_set.name}/<version>",
    )
    chosen = parser.parse_args(arguments)
    from mdhr_jax.data import aligned, builders

    try:
        written = builders.write_aligned(au_set, aligned.read_tree(au_set, chosen.aligned), chosen.out)
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    print(written)
    return 0
