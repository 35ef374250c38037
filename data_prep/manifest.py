"""What is written down beside the records of a prepared data set.

    manifest.json    videos, frames, what was left out and why, statistics of the folds, recipe, checksums
    alignment.npz    how the face of every frame was found

Both depend on the data and on the versions of the packages that prepared them alone: doing it again gives
the same bytes.
"""

import collections
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import mdhr_jax
from data_prep import archives, bystanders, checksums, statistics, versions
from data_prep.plan import Plan
from mdhr_jax import facs
from mdhr_jax.data import layout, record_index
from mdhr_jax.data.aligned import AlignedTree, AlignedVideo
from mdhr_jax.data.alignment_record import AlignmentRecord
from mdhr_jax.data.records import Video, read_info

MANIFEST_FILE = "manifest.json"
ALIGNMENT_FILE = "alignment.npz"

_COUNTS = ("unlabelled", "unlabelled_at_end")
"""Pictures of a recording without a label, and those after its last label."""


def files_beside(au_set: facs.AUSet, tree: AlignedTree, planned: Plan, directory: Path) -> dict[str, bytes]:
    """The two files, for `mdhr_jax.data.builders.write_aligned`.

    Checksums are taken only of files that are whole: as the manifest says that is there already, or else as
    every record says of itself.

    Args:
        au_set: the data set.
        tree: what was written.
        planned: what was to be written, and what was left out.
        directory: of the records.

    Raises:
        ValueError: the alignment of a video cannot be read, the videos were labelled in different ways, or
            the records are damaged.
    """
    signed = _checksums(directory)
    alignments = {video.name: archives.read_record(video.files) for video in tree.videos}
    _check_labelling(alignments)
    manifest = _manifest(au_set, tree, alignments, planned)
    manifest["versions"] |= {"faces": _versions_of(alignments), "records": _versions_of_records(directory)}
    manifest["checksums"] = signed
    files = {MANIFEST_FILE: (json.dumps(manifest, indent=1) + "\n").encode()}
    if any(alignments.values()):
        files[ALIGNMENT_FILE] = _alignments(alignments)
    return files


def read(directory: Path) -> dict[str, Any] | None:
    """The manifest of a data set; None if it has none.

    Args:
        directory: of the records.

    Raises:
        ValueError: it cannot be read.
    """
    path = directory / MANIFEST_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}); {_RENEW}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds {type(found).__name__}, expected a JSON object; {_RENEW}")
    return found


_RENEW = "delete it and run the command that wrote the data set again, which makes it anew"


def check(directory: Path) -> dict[str, str]:
    """Holds the records of a data set against the checksums in its manifest, if it has one.

    Args:
        directory: of the records.

    Returns:
        The checksums, SHA-256 by file name; empty if there are none.

    Raises:
        ValueError: a file has changed, is missing or was not there, or the manifest cannot be read.
    """
    signed = (read(directory) or {}).get("checksums") or {}
    if signed:
        checksums.compare(directory, signed)
    return signed


def _versions_of(alignments: Mapping[str, AlignmentRecord | None]) -> dict[str, list[str]]:
    """All versions of each package with which faces were cut out."""
    found: dict[str, set[str]] = {}
    for record in alignments.values():
        for package, version in (record.provenance.get("versions", {}) if record else {}).items():
            found.setdefault(package, set()).add(version)
    return {package: sorted(several) for package, several in sorted(found.items())}


def _versions_of_records(directory: Path) -> dict[str, str]:
    """Of the packages that wrote the records; empty where it is not known any more."""
    before = read(directory)
    if before is not None:
        return before.get("versions", {}).get("records", {})
    # A set that is being written, by what is installed now, is not described yet.
    return {} if (directory / "dataset_info.json").exists() else versions.of(*versions.RECORDS)


def _checksums(directory: Path) -> dict[str, str]:
    """Of the records, which are whole."""
    if signed := check(directory):
        return signed
    # A set that is being written is not described yet.
    announced = None
    if (directory / "dataset_info.json").exists():
        expected = record_index.expected_shards(read_info(directory), directory)
        announced = {shard.name: shard.records for shard in expected}
    return checksums.of_whole_records(directory, announced)


def as_video(video: AlignedVideo) -> Video:
    """An aligned video as the statistics take it."""
    return Video(video.name, video.subject, video.part, video.frame_numbers, video.labels)


def _manifest(
    au_set: facs.AUSet, tree: AlignedTree, records: Mapping[str, AlignmentRecord | None], planned: Plan
) -> dict[str, Any]:
    videos, totals, statuses = {}, {}, collections.Counter()
    for video in tree.videos:
        record = records[video.name]
        dropped = record.dropped() if record is not None else {}
        found = collections.Counter(record.status if record is not None else ())
        statuses += found
        videos[video.name] = {
            "subject": video.subject,
            "part": video.part,
            "frames": len(video.labels),
            **{key: record.provenance[key] for key in _COUNTS if record is not None},
            "gaps": int((np.diff(video.frame_numbers) != 1).sum()),
            "dropped": dropped,
            "status": dict(sorted(found.items())),
            "notes": _notes(record) if record is not None else [],
        }
        for reason, numbers in dropped.items():
            totals[reason] = totals.get(reason, 0) + len(numbers)
    listed = [as_video(video) for video in tree.videos]
    return {
        "dataset": au_set.name,
        "aus": list(au_set.au_names),
        "frames": sum(video.num_frames for video in listed),
        "dropped_frames": totals,
        "unlabelled_frames": sum(record.provenance["unlabelled"] for record in records.values() if record),
        "status": dict(sorted(statuses.items())),
        "skipped_videos": {name: list(reasons) for name, reasons in sorted(planned.left.items())},
        "notes": list(planned.notes),
        "source": dict(planned.source),
        "labelling": dict(planned.labelling),
        "parts": {
            part: statistics.of_videos(au_set, [video for video in listed if video.part == part])
            for part in facs.PARTS
        },
        "folds": statistics.of_folds(au_set, statistics.in_folds(listed))["folds"],
        "crop_recipe": tree.crop_recipe,
        "versions": {"mdhr_jax": mdhr_jax.__version__, "format": layout.FORMAT_VERSION},
        "videos": videos,
    }


def _notes(record: AlignmentRecord) -> list[str]:
    """What a user should know about a video, other faces in it included."""
    others = bystanders.find(record)
    if others is None:
        return list(record.notes)
    return [*record.notes, others.text(f", first in frame {record.frame_numbers[others.first]}")]


def _check_labelling(records: Mapping[str, AlignmentRecord | None]) -> None:
    """Refuses archives whose labels were made in different ways, as by jobs with different options."""
    ways: dict[str, str] = {}
    for name, record in records.items():
        if record is not None:
            ways.setdefault(json.dumps(record.provenance["labelling"], sort_keys=True), name)
    if len(ways) > 1:
        listed = "; ".join(f"{name}: {way}" for way, name in ways.items())
        raise ValueError(
            f"the videos were labelled in different ways ({listed}); run again with --raw and one choice, "
            "which exchanges the labels"
        )


def _alignments(records: Mapping[str, AlignmentRecord | None]) -> bytes:
    """All records in one file; ``video`` says for every row which of ``videos`` it belongs to."""
    known = {name: record for name, record in records.items() if record is not None}
    arrays = {
        "videos": np.array(list(known)),
        "video": np.concatenate([np.full(len(r.status), i, np.int32) for i, r in enumerate(known.values())]),
        "frame_number": np.concatenate([r.frame_numbers for r in known.values()]),
        "status": np.concatenate([np.array(r.status) for r in known.values()]),
        "track": np.concatenate([r.track for r in known.values()]),
        "confidence": np.concatenate([r.confidence for r in known.values()]),
        "other_faces": np.concatenate([r.other_faces for r in known.values()]),
        "points": np.concatenate([r.points for r in known.values()]),
        "matrices": np.concatenate([r.matrices for r in known.values()]),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
