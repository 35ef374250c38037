"""SHA-256 of the TFRecord files of a data set, and whether the files are those that were written.

What once has a manifest is held against its checksums. Where none is there yet, the checksums within the
records, which TFRecord brings along, decide whether a file may be signed.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from mdhr_jax.data import tfrecord
from mdhr_jax.progress import Progress

_BLOCK = 1 << 20


def compare(directory: Path, signed: Mapping[str, str]) -> None:
    """Holds the files of a data set against their checksums.

    Args:
        directory: of the records.
        signed: SHA-256 of each file, by name.

    Raises:
        ValueError: a file has changed, is missing or was not there; all such files are named.
    """
    paths = _paths(directory)
    found = {}
    with _progress(paths, "comparing checksums") as bar:
        for path in paths:
            digest = hashlib.sha256()
            for block in _blocks(path):
                digest.update(block)
                bar.update(len(block))
            found[path.name] = digest.hexdigest()
    damage = [f"{name} is missing" for name in sorted(signed.keys() - found.keys())]
    damage += [f"{name} is none of its files" for name in sorted(found.keys() - signed.keys())]
    damage += [
        f"{name} has changed since it was written (its SHA-256 is another)"
        for name in sorted(found.keys() & signed.keys())
        if found[name] != signed[name]
    ]
    if damage:
        raise ValueError(damaged(directory, "; ".join(damage)))


def of_whole_records(directory: Path, announced: Mapping[str, int] | None = None) -> dict[str, str]:
    """SHA-256 of each file of a data set, after every checksum within has been verified.

    Args:
        directory: of the records.
        announced: how many records each file must hold, by name; None where nobody says.

    Raises:
        ValueError: a file is damaged, or is missing.
    """
    paths = _paths(directory)
    names = {path.name for path in paths}
    if announced is not None and names != announced.keys():
        lacking = [f"{name} is missing" for name in sorted(announced.keys() - names)]
        strange = [f"{name} is none of its files" for name in sorted(names - announced.keys())]
        raise ValueError(damaged(directory, "; ".join([*lacking, *strange])))
    found = {}
    with _progress(paths, "verifying records") as bar:
        for path in paths:
            digest, count = hashlib.sha256(), 0
            try:
                for _, payload in tfrecord.scan(path, digest.update):
                    count += 1
                    bar.update(len(payload) + tfrecord.OVERHEAD)
            except tfrecord.CorruptRecordError as error:
                raise ValueError(damaged(directory, str(error))) from error
            if announced is not None and count != announced[path.name]:
                text = (
                    f"{path.name} holds {count} records, dataset_info.json announces {announced[path.name]}"
                )
                raise ValueError(damaged(directory, text))
            found[path.name] = digest.hexdigest()
    return found


def damaged(directory: Path, found: str) -> str:
    """The message about a damaged data set.

    Args:
        directory: of the records.
        found: which file, and what is wrong with it.
    """
    return (
        f"the data set in {directory} is damaged: {found}. Delete that folder and run the command that wrote "
        "it again (the aligned faces are kept), or copy the folder again from its source"
    )


def _paths(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*.tfrecord*") if path.is_file())


def _progress(paths: list[Path], label: str) -> Progress:
    return Progress(sum(path.stat().st_size for path in paths), unit="bytes", label=label)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block
