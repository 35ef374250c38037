"""Where a data set lies on disk and what its records hold; shared by the code that writes and reads.

A record holds up to `CHUNK_FRAMES` consecutive list entries of one video, without overlap; only a
video's last record is shorter. Records of a split are in list order: video after video, chunk after
chunk. One split holds one part of the cross-validation, so that a fold is a choice of splits.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mdhr_jax import facs

FORMAT_VERSION = 1
"""Version of the record layout and of the metadata; a reader refuses any other."""

TFDS_VERSION = "1.0.0"
"""Name of the versioned folder that TFDS makes for `FORMAT_VERSION`."""

CHUNK_FRAMES = 32
"""List entries in a record."""

IMAGE_EDGE = 256
"""Height and width of a stored frame, in pixels."""

CARD_FILE = "DATA_CARD.md"
"""Beside the records of a synthetic set: what it is and what it cannot show."""

CACHE_PREFIX = "mdhr_index"
"""Start of the name of the byte-offset index that lies beside the shards."""

_VERSION_FOLDER = re.compile(r"\d+\.\d+\.\d+")

_ACCESS = {
    "bp4d": (
        "BP4D is licensed by Binghamton University (Lijun Yin's group): follow the licence request on the "
        "page of BP4D-Spontaneous."
    ),
    "disfa": "DISFA is given out by the University of Denver: request it from Mohammad Mahoor's group.",
}


class DataNotFound(FileNotFoundError):  # noqa: N818
    """A data set is not where it was looked for; the message says how to get it."""


def relative_dir(au_set: facs.AUSet) -> Path:
    """Folder of a data set below the data directory, without the version.

    ``bp4d`` and ``disfa`` for the recordings, ``synthetic/bp4d`` for the synthetic set like BP4D.
    """
    like = au_set.name.removeprefix("synthetic_")
    return Path("synthetic", like) if like != au_set.name else Path(like)


def version_dir(data_dir: str | Path, au_set: facs.AUSet) -> Path:
    """Folder that a writer fills: DATA_DIR/bp4d/1.0.0, DATA_DIR/synthetic/bp4d/1.0.0."""
    return Path(data_dir) / relative_dir(au_set) / TFDS_VERSION


def find_dataset(data_dir: str | Path, au_set: facs.AUSet) -> Path:
    """Folder with the shards of a data set.

    Args:
        data_dir: the data directory, or a versioned folder itself.
        au_set: which data set.

    Raises:
        DataNotFound: there is none, with what is missing, where, and how to get or make it.
    """
    root = Path(data_dir).expanduser()
    for candidate in (root, version_dir(root, au_set)):
        if (candidate / "dataset_info.json").is_file():
            return candidate
    raise DataNotFound(_how_to_get(root, au_set))


def _how_to_get(root: Path, au_set: facs.AUSet) -> str:
    lines = [f"no {au_set.title} data set in {root}: looked for {version_dir(root, au_set)}"]
    others = sorted(
        p.name for p in (root / relative_dir(au_set)).glob("*") if _VERSION_FOLDER.fullmatch(p.name)
    )
    if others:
        lines.append(f"other versions are there ({', '.join(others)}); this code reads {TFDS_VERSION}")
    if au_set.name.startswith("synthetic_"):
        like = au_set.name.removeprefix("synthetic_")
        lines.append(
            "make it with: "
            f"python -m mdhr_jax.data.synthetic --out {root} --like {like} --preset easy --seed 0"
        )
        return "\n".join(lines)
    if au_set.name in _ACCESS:
        lines.append(_ACCESS[au_set.name])
        lines.append(f"prepare it with: python -m data_prep.{au_set.name} --raw RAW --out {root}")
    else:
        lines.append("videos of your own are prepared with python -m data_prep.videos")
    lines.append("without any data at hand, --config configs/quickstart.py runs on a synthetic set")
    return "\n".join(lines)


def read_metadata(directory: Path) -> dict[str, Any]:
    """What the writer of a data set recorded beside it (TFDS's metadata).

    Raises:
        ValueError: it is missing or cannot be read.
    """
    path = directory / "metadata.json"
    try:
        metadata = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); delete the folder {directory} and write the data set again"
        ) from error
    if not isinstance(metadata, dict):
        raise ValueError(
            f"{path} holds {type(metadata).__name__}, expected a JSON object; write the set again"
        )
    return metadata


def check_metadata(metadata: dict[str, Any], au_set: facs.AUSet, where: Path) -> None:
    """Refuses a data set that this code or this AU table cannot read.

    Raises:
        ValueError: another format version, or other AUs or another order of them than the table's.
    """
    version = metadata.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{where} has format version {version!r}, this code reads {FORMAT_VERSION}; write the set again"
        )
    stored = tuple(metadata.get("aus", ()))
    if stored != au_set.aus:
        raise ValueError(
            f"{where} holds the AUs {_au_list(stored)}, but the table's entry {au_set.name!r} has "
            f"{_au_list(au_set.aus)}; choose the entry that the data were written with, or write them again"
        )


def _au_list(aus: Sequence[int]) -> str:
    return " ".join(map(str, aus)) or "none"
