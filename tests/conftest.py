"""Shared by all tests: 8 simulated CPU devices, and small data sets written by the project's own commands."""

import contextlib
import ctypes
import gc
import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image
from skimage import data
from xdist.scheduler import LoadScopeScheduling

from mdhr_jax import facs
from mdhr_jax.data import aligned, records

REPOSITORY = Path(__file__).parents[1]

# Frame numbers of each video: chunks of 32 + 32 + 6; shorter than a clip; with a jump; far from 1.
VIDEOS = {
    "F001_T1": range(1, 71),
    "F001_T2": range(1, 11),
    "M011_T1": [*range(5, 25), *range(40, 60)],
    "F007_T2": range(1000, 1032),
    "F007_T10": range(1, 34),
}


def run_in_repository(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python from the repository; TensorFlow stays out of the process of the tests."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=600,
    )


def frame(video: int, number: int) -> np.ndarray:
    """A picture that differs from frame to frame and from video to video."""
    face = Image.fromarray(data.astronaut()).resize((256, 256))
    pixels = np.roll(np.asarray(face), 5 * number, axis=1)
    pixels[:40, :40] = 40 * video
    return pixels


def labels_of(video: int, count: int, num_aus: int) -> np.ndarray:
    """Labels 0, 1 and unknown; the fourth AU is never present."""
    labels = np.random.default_rng(video).integers(-1, 2, (count, num_aus))
    labels[:, 3] = np.minimum(labels[:, 3], 0)
    return labels


def write_tree(root: Path, au_set: facs.AUSet, videos: dict) -> None:
    aligned.write_recipe(root, {"name": "canonical", "eye_height": 0.29})
    for i, (name, numbers) in enumerate(videos.items()):
        numbers = list(numbers)
        pictures = [frame(i, number) for number in numbers]
        labels = labels_of(i, len(numbers), au_set.num_aus)
        aligned.write_video(root, name, pictures, labels, au_set.aus, numbers)


# Files that one worker gets as if they were one.
TOGETHER = {
    # One test at a time, for their memory.
    "tests/interop/test_golden.py": "large",
    "tests/training/test_full_size.py": "large",
    # What the same command compiles is compiled once.
    "tests/training/test_loop.py": "runs",
    "tests/training/test_protocol_runs.py": "runs",
    "tests/training/test_full_disk.py": "runs",
    # The run that is looked at is made once.
    "tests/figures/test_command.py": "figures",
    "tests/figures/test_network.py": "figures",
    # Overlays and pages that are looked at are made once.
    "tests/predict/test_overlay.py": "looks",
    "tests/predict/test_page.py": "looks",
    "tests/predict/test_page_browser.py": "looks",
}


def _group(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    return TOGETHER.get(file, file)


class _ByFile(LoadScopeScheduling):
    """The tests of a file go to one worker: what it made and compiled for one of them serves the others.

    The groups of pytest-xdist 3.8 would do it too, but pytest 9.2 has left them without effect.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByFile:
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with most slow tests come first, so that no worker is left with one when the others are done."""
    groups = {item: _group(item.nodeid) for item in items}
    slow = Counter(groups[item] for item in items if item.get_closest_marker("slow"))
    first: dict[str, int] = {}
    for number, group in enumerate(groups.values()):
        first.setdefault(group, number)
    items.sort(key=lambda item: (-slow[groups[item]], first[groups[item]]))


def _resident() -> float:
    """Memory that this process holds, GiB; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**30
    return 0.0


@pytest.fixture(scope="module", autouse=True)
def memory_given_back() -> Iterator[None]:
    """What the tests of a module have freed goes back to the system: workers share it with large runs."""
    yield
    # Others use again what was compiled, so that only a worker that has grown large forgets it.
    if _resident() > 2.5:
        jax.clear_caches()
    gc.collect()
    # Only glibc has it; elsewhere nothing is lost but memory.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python with some arguments, from the repository, in a process of its own."""
    return run_in_repository


@pytest.fixture(scope="session", autouse=True)
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What this process or one that it starts has compiled, none of them compiles again.

    Each worker has its own cache, because JAX does not write to it in one go: another might read half a file.
    """
    directory = tmp_path_factory.mktemp("compiled")
    options = {"jax_compilation_cache_dir": str(directory), "jax_persistent_cache_min_compile_time_secs": 0.2}
    for name, value in options.items():
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)
    yield
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def environment(compile_cache: None) -> dict[str, str]:
    """Environment of the commands that tests run: one CPU device."""
    inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return inherited | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(REPOSITORY)}


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


@pytest.fixture(scope="session")
def aligned_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("aligned")
    write_tree(root, facs.BP4D, VIDEOS)
    return root


@pytest.fixture(scope="session")
def data_dir(aligned_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the small ``bp4d``, written by the command; read it only."""
    out = tmp_path_factory.mktemp("data")
    done = run_in_repository("-m", "data_prep.bp4d", "--aligned", str(aligned_tree), "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def train_records(data_dir: Path) -> records.ClipRecords:
    return records.open_dataset(data_dir, facs.BP4D, ("part1", "part3"))


@pytest.fixture
def float64():
    """Computes in float64 for the length of a test."""
    with jax.enable_x64(True):
        yield


@contextlib.contextmanager
def without_optimization() -> Iterator[None]:
    """Nothing is compiled for speed, which saves a third of the time that compiling takes.

    For programs that are looked at and hardly run: a training step loses by running what it saves.
    """
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def unoptimized() -> Iterator[None]:
    with without_optimization():
        yield
