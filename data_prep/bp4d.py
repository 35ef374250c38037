"""BP4D as TFRecord: ``python -m data_prep.bp4d --aligned ALIGNED --out DATA_DIR``."""

import sys

from data_prep.aligned_cli import main
from mdhr_jax import facs

if __name__ == "__main__":
    sys.exit(main(facs.BP4D))
