"""A run's directory: where it is, and whether it belongs to this configuration."""

import json
import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mdhr_jax import config as config_lib

CONFIG_FILE = "config.json"
CHECKPOINTS = "checkpoints"
RESULT_FILE = "result.json"


def default_workdir(config: ConfigDict) -> Path:
    """``runs/<dataset>-fold<n>``."""
    return Path("runs") / f"{config.dataset.lower()}-fold{config.fold}"


def claim(workdir: Path, config: ConfigDict) -> None:
    """Makes the directory this configuration's, or checks that it is.

    Only keys that change results are compared (see `mdhr_jax.config.identity`).

    Raises:
        ValueError: the directory holds a run of another configuration; the differing keys are named.
        OSError: the directory cannot be made or written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / CONFIG_FILE
    if path.exists():
        lines = config_lib.differences(read_config(path), config.to_dict())
        if lines:
            raise ValueError(
                f"{workdir} holds a run with another configuration:\n"
                + "\n".join(f"  {line}" for line in lines)
                + "\nChoose another --workdir, or the configuration of that run."
            )
        return
    write_json(path, config_lib.as_json(config))


def read_config(path: Path) -> dict[str, Any]:
    """The configuration that a run was started with.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); remove it if the directory holds no run") from error


def write_json(path: Path, content: Any) -> None:
    """Writes strict JSON atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    os.replace(temporary, path)
