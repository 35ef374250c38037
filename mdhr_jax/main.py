"""Trains or evaluates MDHR: ``python -m mdhr_jax.main --config configs/quickstart.py``."""

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from mdhr_jax import commands, freed_memory

_CONFIG = config_flags.DEFINE_config_file(
    "config", help_string="Configuration file, such as configs/bp4d.py."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run; runs/<dataset>-fold<n> by default.")
_TRACEBACK = flags.DEFINE_bool("traceback", False, "Show where in the code an error arose.")

_EXPECTED = (ValueError, OSError, RuntimeError, FloatingPointError)


def main(argv: Sequence[str]) -> int:
    """Runs what the flags say and returns the exit code."""
    if len(argv) > 1 or _CONFIG.value is None:
        found = f"unexpected: {' '.join(argv[1:])}" if len(argv) > 1 else "--config is missing"
        return _complain(f"{found}; try: --config configs/quickstart.py", commands.MISTAKE)
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    config = _CONFIG.value
    if config.debug.deterministic:
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"

    freed_memory.keep()
    # Imported late: JAX reads the environment when it starts, and wrong flags are reported at once.
    from mdhr_jax import distributed
    from mdhr_jax.training import protocols, results, run, workdir
    from mdhr_jax.training.interrupt import SAVED

    directory = Path(_WORKDIR.value) if _WORKDIR.value else workdir.default_workdir(config)
    try:
        outcome = run.run(config, directory)
    except (KeyboardInterrupt, Exception) as error:
        return _end(error)
    if outcome is not None and distributed.is_first():
        result, path = outcome
        print(results.format_table(result))
        print(protocols.describe(result))
        print(f"written to {path}")
    distributed.finish()
    return commands.DONE if outcome is not None else SAVED


def _end(error: BaseException) -> int:
    """Says what is wrong and returns the exit code; of several processes, ends all."""
    import jax

    from mdhr_jax import distributed
    from mdhr_jax.training.checkpoints import CheckpointError
    from mdhr_jax.training.interrupt import SAVED, ToldToStop

    own = distributed.name_self()
    if isinstance(error, ToldToStop):
        message, code = f"told to stop ({error}) with nothing to save; the same command begins anew", SAVED
    elif isinstance(error, KeyboardInterrupt):
        message, code = "interrupted; the same command goes on from what is saved", commands.INTERRUPTED
    else:
        if _TRACEBACK.value or not isinstance(error, _EXPECTED):
            if not own:
                raise error
            traceback.print_exception(error)
        who = "" if not own or isinstance(error, distributed.TogetherError) else f"{own}: "
        message, code = f"{who}{error}\n(--traceback shows where in the code)", commands.FAILED
    # Otherwise threads of a write that failed midway, or other processes, would hold this one up for minutes.
    if own or isinstance(error, CheckpointError):
        # Devices, and those who write a checkpoint, wait for each other.
        perhaps_lost = isinstance(error, jax.errors.JaxRuntimeError | CheckpointError)
        distributed.end(message, code, perhaps_lost=perhaps_lost)
    return _complain(message, code)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line; a mistake in it ends the process with a message."""
    try:
        rest = flags.FLAGS(argv)
        if _CONFIG.value is not None:
            _CONFIG.value.lock()  # A file that could not be loaded shows only when it is looked at.
    except (flags.Error, ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        sys.exit(_complain(_reason(error), commands.MISTAKE))
    return rest


def _reason(error: Exception) -> str:
    """What is wrong, without the traceback that the parser puts into its words."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    # The parser quotes what it passes on, quotation marks and line ends included.
    text = text.replace("\\n", "\n").replace("\\'", "'").replace("''", "'").strip("' \n")
    if isinstance(error, KeyError | AttributeError):
        text = f"config key {text} does not exist; mdhr_jax/config.py lists all keys"
    if "Traceback (most recent call last)" in text:
        text = text.splitlines()[-1].partition(": ")[2]
    return text


def _complain(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
