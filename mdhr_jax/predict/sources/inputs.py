"""What the command is to work on: files, folders and patterns as recordings; a problem stays with its own."""

import dataclasses
import glob
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mdhr_jax.faces import media
from mdhr_jax.predict.sources import camera


@dataclasses.dataclass(frozen=True)
class Input:
    """A recording, or why there is none.

    Attributes:
        given: as it is called in messages.
        recording: what to work on; None where there is a problem.
        problem: what is wrong; None where there is nothing.
    """

    given: str
    recording: media.Recording | None = None
    problem: str | None = None


def find(arguments: Sequence[str]) -> list[Input]:
    """The recordings that the arguments of a command name, in their order.

    A folder of pictures is one recording, the pictures in the order of the numbers in their names; a folder
    of videos is each of them. Patterns (``*``, ``?``, ``[...]``, and ``**`` for folders below) are what
    matches, in order of the names. Cameras are as in `mdhr_jax.predict.sources.camera`. What is named twice
    is taken once.

    Args:
        arguments: paths, patterns and cameras.
    """
    known: set[Path] = set()
    found: list[Input] = []
    for argument in arguments:
        seen_live = camera.named(argument)
        if seen_live is not None:
            if all(one.recording != seen_live for one in found):
                found.append(Input(argument, seen_live))
            continue
        paths = [Path(argument).expanduser()]
        if glob.has_magic(argument) and not os.path.exists(paths[0]):
            paths = [Path(match) for match in sorted(glob.glob(str(paths[0]), recursive=True))]
            if not paths:
                found.append(Input(argument, problem="nothing matches"))
        for path in paths:
            for one in _of_path(path):
                if Path(one.given).resolve() not in known:
                    known.add(Path(one.given).resolve())
                    found.append(one)
    return found


def _of_path(path: Path) -> list[Input]:
    try:
        path.stat()
        if path.is_dir():
            files = media.listed(path)
            videos = [file for file in files if file.suffix.lower() in media.VIDEOS]
            if videos and all(file.suffix.lower() not in media.IMAGES for file in files):
                return [one for file in videos for one in _of_path(file)]
            if not any(file.suffix.lower() in media.IMAGES for file in files):
                kinds = ", ".join((*media.IMAGES, *media.VIDEOS))
                return [Input(str(path), problem=f"is a folder with no pictures and no videos ({kinds})")]
        (recording,) = media.recordings([path])
        return [Input(str(path), recording)]
    except FileNotFoundError:
        return [Input(str(path), problem="is not there")]
    except OSError as error:
        return [Input(str(path), problem=f"cannot be read ({error.strerror})")]
    except ValueError as error:
        return [Input(str(path), problem=str(error))]


def fingerprint(recording: media.Recording) -> dict[str, Any]:
    """By what a recording is known again: where its files are, how large, and when they were changed.

    Raises:
        OSError: a file is gone.
    """
    files = [(str(path.resolve()), path.stat()) for path in recording.paths]
    facts = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in files]
    return {
        "path": files[0][0] if len(files) == 1 else str(Path(files[0][0]).parent),
        "files": len(files),
        "bytes": sum(stat.st_size for _, stat in files),
        "fingerprint": hashlib.sha256(repr(facts).encode()).hexdigest()[:16],
    }
