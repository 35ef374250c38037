"""Which commit of the project a process runs, where it runs from a clone."""

import functools
import os
import subprocess
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_SECONDS = 20  # For git, which waits for a slow file system.

DIRTY = "-dirty"
"""Behind a commit from which the files that are run differ, as `git describe` has it."""


@functools.cache
def commit() -> str | None:
    """Hash of the commit that is checked out, with `DIRTY` where files of the project differ from it.

    As it was when the process first asked. None where the package lies in no clone of its own, or where git
    is missing or refuses.
    """
    return commit_of(_PACKAGE)


def commit_of(package: Path) -> str | None:
    """See `commit`.

    Args:
        package: directory of a package that lies at the top of its clone.
    """
    top = _git(package, "rev-parse", "--show-toplevel")
    # An environment with the package in it may lie within a clone of something else.
    if top is None or Path(top).resolve() != package.resolve().parent:
        return None
    if not _git(package, "ls-files", "--", "__init__.py"):
        return None
    head = _git(package, "rev-parse", "HEAD")
    changed = _git(package.parent, "status", "--porcelain", "--", package.name, "configs")
    if not head or changed is None:
        return None
    return head + DIRTY * bool(changed)


def _git(directory: Path, *arguments: str) -> str | None:
    """What git prints, or None where it cannot tell."""
    # Variables that name another repository, as hooks of git set them, would answer for that one.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
