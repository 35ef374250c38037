"""Data sets that are not in the AU table of the code: their entry travels with their records."""

import dataclasses
from pathlib import Path
from typing import Any

from mdhr_jax import facs
from mdhr_jax.data import layout
from mdhr_jax.facs import AUSet, RegionGroup

ENTRY_KEY = "au_set_entry"
"""Where the entry stands in the metadata of the records."""


def to_json(au_set: AUSet) -> dict[str, Any]:
    """An entry of the AU table as JSON."""
    return dataclasses.asdict(au_set)


def from_json(entry: dict[str, Any]) -> AUSet:
    """The entry that `to_json` wrote.

    Raises:
        ValueError: it is not one.
    """
    try:
        regions = tuple(RegionGroup(r["name"], r["band"], tuple(r["aus"])) for r in entry["regions"])
        parts = tuple(tuple(part) for part in entry["parts"])
        return AUSet(
            name=entry["name"],
            title=entry["title"],
            aus=tuple(entry["aus"]),
            regions=regions,
            region_blocks=entry["region_blocks"],
            fps=entry["fps"],
            parts=parts,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is not an entry of the AU table (lacks or cannot read {error})") from error


def register(data_dir: str | Path, name: str) -> None:
    """Adds a data set to the AU table of this process, if its records say what it is.

    Nothing happens where the table has that name already, or where there are no such records.

    Args:
        data_dir: the data directory.
        name: of the data set.

    Raises:
        ValueError: the metadata of the records cannot be read.
    """
    folder = Path(data_dir).expanduser() / name.lower() / layout.TFDS_VERSION
    if name.lower() in facs.AU_SETS or not (folder / "metadata.json").is_file():
        return
    entry = layout.read_metadata(folder).get(ENTRY_KEY)
    if entry is not None:
        facs.register(from_json(entry))
