"""DISFA as TFRecord: ``python -m data_prep.disfa --aligned ALIGNED --out DATA_DIR``."""

import sys

from data_prep.aligned_cli import main
from mdhr_jax import facs

if __name__ == "__main__":
    sys.exit(main(facs.DISFA))
