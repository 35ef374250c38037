"""Files that are being written say in their names by which process; what killed processes left is removed.

Array jobs write into one folder from many machines. Of a process on this machine it is known whether it
lives; what others write is left alone until it is old.
"""

import contextlib
import functools
import hashlib
import os
import platform
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

_STALE_SECONDS = 3600.0
"""Age from which a file is taken for one that nobody writes any more, whoever began it."""

_STALE_FOLDER_SECONDS = 24 * 3600.0
"""The same for folders: the files in them are written with pauses."""

_NAME = re.compile(r"\.([0-9a-f]{12})-(\d+)-[0-9a-f]{12}\.tmp$")


def beside(path: Path) -> Path:
    """Another name in the same folder, hidden, under which a file is written before it is renamed."""
    return path.with_name(f".{path.name}.{_here()}-{os.getpid()}-{uuid.uuid4().hex[:12]}.tmp")


def sweep(folder: Path) -> None:
    """Removes the temporaries of a folder that nobody writes any more.

    Args:
        folder: looked into, not below. Temporary folders in it are removed too, but only those of processes
            of this machine that have ended.
    """
    for path in folder.glob(".*.tmp"):
        # Another job may be faster.
        with contextlib.suppress(OSError):
            if path.is_dir():
                if _ended(path):
                    shutil.rmtree(path)
            elif is_left(path):
                path.unlink()


def is_left(path: Path) -> bool:
    """Whether nobody writes a file any more that is named as by `beside`, or otherwise.

    Raises:
        OSError: it is gone.
    """
    age = time.time() - path.stat().st_mtime
    return _ended(path) or age > _STALE_SECONDS


@contextlib.contextmanager
def marked(folder: Path) -> Iterator[None]:
    """Within it a hidden file says which process writes a folder, for `folder_is_left`."""
    mark = beside(folder / "writer")
    mark.touch()
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def folder_is_left(folder: Path) -> bool:
    """Whether nobody writes a folder any more, see `marked`.

    Raises:
        OSError: it is gone.
    """
    entries = list(folder.iterdir())
    newest = max(path.stat().st_mtime for path in (folder, *entries))
    return any(map(_ended, entries)) or time.time() - newest > _STALE_FOLDER_SECONDS


def _ended(path: Path) -> bool:
    """Whether the process of this machine that named a file has ended; False of other machines."""
    match = _NAME.search(path.name)
    return match is not None and match[1] == _here() and not _lives(int(match[2]))


@functools.cache
def _here() -> str:
    """Identifies where a process number means something: this machine since its start, this container."""
    where = [platform.node()]
    with contextlib.suppress(OSError):
        where.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        where.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(where).encode()).hexdigest()[:12]


def _lives(process: int) -> bool:
    if os.name != "posix":
        # There is no asking without harm.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    with contextlib.suppress(OSError, IndexError):
        # What has ended and was not collected by its parent has a number still.
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
