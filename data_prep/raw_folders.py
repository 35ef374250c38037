"""Finds the folders of a raw distribution, wherever in it the user points.

A folder that cannot be read costs what is in it, not what is in others: it counts as empty, and the caller
is told.
"""

import os
from collections.abc import Callable, Collection
from pathlib import Path

_DEPTH = 3


def entry(raw: str | Path, inner: Collection[str]) -> Path:
    """The folder in which to look.

    Args:
        raw: what the user named: the distribution, a folder around it, or one inside.
        inner: lower-case names of the folders inside, from which the search starts above them.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is empty.
    """
    root = Path(raw).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{not_a_folder(root)}; expected the folder of the raw distribution")
    if not any(root.iterdir()):
        raise ValueError(f"{root} is empty; expected the folder of the raw distribution")
    absolute = root.absolute()
    while absolute.name.lower() in inner and absolute.parent != absolute:
        absolute = root = absolute.parent
    return root


def find(root: Path, is_it: Callable[[Path], bool], expected: str) -> Path:
    """The folder nearest to the root for which `is_it` holds.

    Args:
        root: where to look, at most three folders deep.
        is_it: whether a folder is the one.
        expected: what it looks like, for the message.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several that are equally near.
    """
    level = [root]
    unreadable: dict[Path, str] = {}
    for _ in range(_DEPTH + 1):
        found = [folder for folder in level if is_it(folder)]
        if len(found) > 1:
            raise ValueError(
                f"{root} holds {expected} more than once: {', '.join(map(str, found))}; "
                "name the folder that holds the right one"
            )
        if found:
            return found[0]
        level = [below for folder in level for below in subfolders(folder, unreadable)]
    seen = ", ".join(sorted(os.listdir(root))[:8]) or "nothing"
    raise FileNotFoundError(f"{root} holds no {expected}; found {seen}" + _told(unreadable))


def subfolders(folder: Path, unreadable: dict[Path, str] | None = None) -> list[Path]:
    """Its folders by name, without hidden ones.

    Args:
        folder: where to look.
        unreadable: receives the folder and the reason if it cannot be read.
    """
    return _entries(folder, unreadable, folders=True)


def files(folder: Path, unreadable: dict[Path, str] | None = None) -> list[Path]:
    """Its files by name, without hidden ones; see `subfolders`."""
    return _entries(folder, unreadable, folders=False)


def not_a_folder(path: Path) -> str:
    """What is said of a path where a folder must be and is not, with the path."""
    return f"{path} is not a folder" + (" but a file" if path.exists() else ": there is nothing of that name")


def missing_folder(path: Path, what: str) -> str:
    """What is said, after the path, where a folder must be and is not; `what` says which."""
    return f"is a file, expected {what}" if path.exists() else f"{what} is missing"


def missing_file(path: Path, what: str) -> str:
    """What is said, after the path, where a file must be and is not; `what` says which."""
    return f"is a folder, expected {what}" if path.is_dir() else f"{what} is missing"


def unreadable_text(error: OSError) -> str:
    """What is said of a file or folder that cannot be read."""
    return f"cannot be read ({error.strerror or error}); see to it that you may, or take it out"


def _entries(folder: Path, unreadable: dict[Path, str] | None, *, folders: bool) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if not e.name.startswith(".") and e.is_dir() == folders]
    except OSError as error:
        if unreadable is not None:
            unreadable[folder] = unreadable_text(error)
        return []
    return [folder / name for name in sorted(names)]


def _told(unreadable: dict[Path, str]) -> str:
    return "".join(f"; {folder} {text}" for folder, text in unreadable.items())
