"""BP4D as TFRecord: ``python -m data_prep.bp4d --raw RAW --out DATA_DIR``."""

import sys
from collections.abc import Sequence

from data_prep import start


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; see `data_prep.command`."""
    with start.quiet("data_prep.bp4d"):
        from data_prep import bp4d_raw, command
        from mdhr_jax import facs
    made = command.parser("bp4d", facs.BP4D.title)
    return command.main(facs.BP4D, made, lambda chosen: bp4d_raw.scan(chosen.raw), arguments)


if __name__ == "__main__":
    sys.exit(main())
