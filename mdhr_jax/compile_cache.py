"""Compiled programs kept on disk, so that a run which goes on does not compile them again."""

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import jax
from jax._src import lru_cache
from jax.experimental.compilation_cache import compilation_cache

AUTO, OFF = "auto", "off"
FOLDER = "compiled"
"""Within a run's directory."""

_MIN_COMPILE_SECONDS = 0.5
_UNFINISHED = "unfinished"
_LEFT_SECONDS = 3600


def use(where: str, directory: Path) -> None:
    """Makes JAX keep what it compiles from now on, and take what is there.

    Of several processes the first writes and all read. The folder is made when something is written.

    Args:
        where: ``auto``: ``compiled`` in the run's directory, unless JAX_COMPILATION_CACHE_DIR of the
            environment says where; ``off``; or a folder, which any number of runs may share.
        directory: of the run.
    """
    if where == OFF:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    _write_whole_files()
    if where == AUTO and os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    folder = directory / FOLDER if where == AUTO else Path(where).expanduser()
    _remove_unfinished(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_SECONDS)
    compilation_cache.reset_cache()  # What was compiled before has made up its mind.


def _write_whole_files() -> None:
    """Has entries written under another name first.

    JAX writes them in place and never again: what a killed process has left half-written would be read in
    vain at every start, and processes that start together would read what the first has not finished.
    """
    cache: Any = lru_cache.LRUCache
    if hasattr(cache.put, "of_mdhr_jax"):
        return
    write = cache.put

    def put(self: Any, key: str, value: bytes) -> None:
        name = f"{_UNFINISHED}-{os.getpid()}-{key}"
        if self.eviction_enabled:  # It then locks, and counts what is there.
            write(self, key, value)
        elif not list(self.path.glob(f"{key}-cache")):
            write(self, name, value)
            (self.path / f"{name}-cache").replace(self.path / f"{key}-cache")

    put.of_mdhr_jax = True  # pyright: ignore[reportFunctionMemberAccess]
    cache.put = put


def _remove_unfinished(folder: Path) -> None:
    for path in folder.glob(f"{_UNFINISHED}-*"):
        with contextlib.suppress(OSError):  # Another process has.
            if time.time() - path.stat().st_mtime > _LEFT_SECONDS:
                path.unlink()
