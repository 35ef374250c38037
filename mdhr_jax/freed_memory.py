"""Memory that a step has freed is kept for the next one, on CPUs."""

import ctypes
import importlib.util
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = -1
_ACCELERATORS = ("jax_plugins", "libtpu")


def keep() -> bool:
    """Makes this process keep the memory that it frees, to be called before JAX has started its threads.

    A step on CPUs asks for its intermediate values in one piece of some gigabytes and gives it back at its
    end; the C library then returns it to the system, which clears it page by page in the next step. Kept,
    it stays with the process until its end; where a small object has come to lie in the freed piece, another
    piece is taken, so that a process may need up to twice the intermediate values.

    Does nothing without the GNU C library, where an accelerator's plugin is installed, or where the
    environment has settings of its own for the allocator (MALLOC_..., GLIBC_TUNABLES).

    Returns:
        Whether memory is kept from now on.
    """
    told = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if told or not _is_gnu() or any(map(importlib.util.find_spec, _ACCELERATORS)):
        return False
    # One heap for all threads, grown and never mapped apart: only that one serves and keeps large pieces.
    settings = {_ARENA_MAX: 1, _MMAP_MAX: 0, _TRIM_THRESHOLD: _NEVER}
    library = ctypes.CDLL(None)
    return all(bool(library.mallopt(name, value)) for name, value in settings.items())


def _is_gnu() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (OSError, ValueError):
        return False
