"""Memory that a step has freed is kept for the next one, on CPUs.

A step asks for its intermediate values in one piece of some gigabytes and gives it back at its end; the C
library then returns it to the system, which clears it page by page in the next step. `keep` makes the process
hold on to it.

Where a small object has come to lie in the freed piece, the next step takes another piece, while the old one
is still held. `settle`, called from step to step, gives that back: for the length of a step the process has
its intermediate values twice, and not more often.
"""

import ctypes
import importlib.util
import os
import resource
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = -1
_ACCELERATORS = ("jax_plugins", "libtpu")
_MORE, _SOME = 1.25, 256 * 2**20
"""How much more than usual, by factor and in bytes besides, is too much."""

_kept = False
_usual: int | None = None
"""Bytes of resident memory that the process has had for good; None before its first step."""
_returned = False
"""Whether memory was given back since the last look, so that what there is now is in use."""


def keep(*, overlap: bool = False) -> bool:
    """Makes this process keep the memory that it frees, to be called before JAX has started its threads.

    Does nothing without the GNU C library, where an accelerator's plugin is installed, or where the
    environment has settings of its own for the allocator (MALLOC_..., GLIBC_TUNABLES).

    Args:
        overlap: whether the host may go on while a step runs. A step that is begun before the one before it
            has ended takes memory of its own, so that steps of gigabytes are better called one by one. Runs
            of several processes (`distributed.start`) overlap anyway.

    Returns:
        Whether memory is kept from now on.
    """
    told = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if told or not _is_gnu() or any(map(importlib.util.find_spec, _ACCELERATORS)):
        return False
    # One heap for all threads, grown and never mapped apart: only that one serves and keeps large pieces.
    global _kept
    settings = {_ARENA_MAX: 1, _MMAP_MAX: 0, _TRIM_THRESHOLD: _NEVER}
    library = ctypes.CDLL(None)
    _kept = all(bool(library.mallopt(name, value)) for name, value in settings.items())
    if _kept and not overlap:
        import jax  # Late: before this, the environment may still be set.

        jax.config.update("jax_cpu_enable_async_dispatch", False)
    return _kept


def settle() -> None:
    """Gives free memory back where the process has come to hold much more than at earlier calls.

    To be called after every step; without `keep` it does nothing.
    """
    global _usual, _returned
    if not _kept:
        return
    resident = _resident()
    if _usual is None or _returned:
        _usual, _returned = max(resident, _usual or 0), False
    elif resident > _MORE * _usual + _SOME:
        ctypes.CDLL(None).malloc_trim(0)
        _returned = True


def _resident() -> int:
    """Bytes of resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as numbers:
        return int(numbers.read().split()[1]) * resource.getpagesize()


def _is_gnu() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (OSError, ValueError):
        return False
