"""DISFA as TFRecord: ``python -m data_prep.disfa --raw RAW --out DATA_DIR``."""

import sys
from collections.abc import Sequence

from data_prep import start


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; see `data_prep.command`."""
    with start.quiet("data_prep.disfa"):
        from data_prep import command, disfa_raw
        from mdhr_jax import facs
    made = command.parser("disfa", facs.DISFA.title)
    made.add_argument("--camera", choices=("left", "right"), default="left", help="which of the two")
    made.add_argument(
        "--threshold", type=int, default=2, help="intensity from which an AU counts as present, 1 to 5"
    )
    return command.main(
        facs.DISFA,
        made,
        lambda chosen: disfa_raw.scan(chosen.raw, camera=chosen.camera, threshold=chosen.threshold),
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
