"""A small synthetic data set, and the environment of commands that tests run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which processes share what they compile."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }


@pytest.fixture(scope="session")
def environment(compile_cache: dict[str, str]) -> dict[str, str]:
    """Environment of the commands that tests run: one CPU device."""
    inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return inherited | compile_cache | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(REPOSITORY)}


@pytest.fixture(scope="session")
def synthetic_data(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """A synthetic BP4D-like data set of six videos; read it only."""
    out = tmp_path_factory.mktemp("synthetic")
    size = ["--subjects", "6", "--videos", "1", "--frames", "24", "--workers", "1"]
    subprocess.run(
        [sys.executable, "-m", "mdhr_jax.data.synthetic", "--out", str(out), *size],
        check=True,
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
    )
    return out
