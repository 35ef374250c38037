import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.data import record_index, records

CACHE = record_index._CACHE_NAME


@pytest.fixture
def copy(data_dir, tmp_path, monkeypatch):
    """The data set's folder, free to be spoilt, without an index."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "bp4d/1.0.0"
    shutil.copytree(data_dir / "bp4d/1.0.0", folder, ignore=shutil.ignore_patterns(CACHE))
    return folder


def open_all(folder):
    return records.open_dataset(folder, facs.BP4D, facs.PARTS)


def same_videos(one, other):
    assert [(v.name, v.subject, v.part) for v in one.videos] == [
        (v.name, v.subject, v.part) for v in other.videos
    ]
    for a, b in zip(one.videos, other.videos, strict=True):
        np.testing.assert_array_equal(a.frame_numbers, b.frame_numbers)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert a.labels.dtype == b.labels.dtype == np.int8


@pytest.fixture
def builds(monkeypatch):
    """Counts how often an index is built."""
    calls = []
    build = record_index._build
    monkeypatch.setattr(record_index, "_build", lambda *args: calls.append(args) or build(*args))
    return calls


def test_the_index_is_built_once_and_holds_the_same_when_read_back(copy, builds):
    first = open_all(copy)
    second = open_all(copy)
    assert len(builds) == 1
    assert (copy / CACHE).is_file()
    same_videos(first, second)
    assert first.fingerprint == second.fingerprint
    np.testing.assert_array_equal(first.read_frames(0, 30, 40), second.read_frames(0, 30, 40))


def test_a_stale_index_is_rebuilt(copy, builds):
    before = open_all(copy)
    shard = copy / "bp4d-part1.tfrecord-00000-of-00001"
    shutil.copy(copy / "bp4d-part3.tfrecord-00000-of-00001", shard)
    info = json.loads((copy / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = info["splits"][2]["shardLengths"]
    info["splits"].pop(2)
    (copy / "dataset_info.json").write_text(json.dumps(info))
    after = records.open_dataset(copy, facs.BP4D, ("part1",))
    assert len(builds) == 2
    assert [video.name for video in after.videos] == ["F007_T2", "F007_T10"]
    assert after.fingerprint != before.fingerprint


def test_a_touched_shard_is_read_again_and_has_the_same_fingerprint(copy, builds):
    before = open_all(copy)
    os.utime(copy / "bp4d-part2.tfrecord-00000-of-00001", ns=(1, 1))
    assert open_all(copy).fingerprint == before.fingerprint
    assert len(builds) == 2


@pytest.mark.parametrize(
    "spoil", [lambda b: b"", lambda b: b[:-200], lambda b: b[:300] + b"\xff" * 50 + b[350:]]
)
def test_a_damaged_index_is_rebuilt(copy, builds, spoil):
    before = open_all(copy)
    (copy / CACHE).write_bytes(spoil((copy / CACHE).read_bytes()))
    same_videos(open_all(copy), before)
    assert len(builds) == 2
    same_videos(open_all(copy), before)
    assert len(builds) == 2


def test_folders_that_cannot_be_written(copy, builds, monkeypatch, tmp_path):
    """Root may write anywhere, so the refusal is made here."""
    save = record_index._save

    def refuse(place: Path, index: record_index.RecordIndex) -> None:
        if place.parent == copy:
            raise PermissionError("read-only")
        save(place, index)

    monkeypatch.setattr(record_index, "_save", refuse)
    before = open_all(copy)
    same_videos(open_all(copy), before)
    assert len(builds) == 1
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 1
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("no folder")
    same_videos(open_all(copy), before)
    same_videos(open_all(copy), before)
    assert len(builds) == 3


def spoil_shard(copy, change, part="part2"):
    shard = copy / f"bp4d-{part}.tfrecord-00000-of-00001"
    shard.write_bytes(change(shard.read_bytes()))


def flip(position):
    def change(content):
        changed = bytearray(content)
        changed[position] ^= 4
        return bytes(changed)

    return change


def second_record(content):
    return 16 + int.from_bytes(content[:8], "little")


DAMAGE = {
    "empty": (lambda b: b"", r"part2.*damaged at byte 0: the file is empty"),
    "truncated": (lambda b: b[:-1000], r"part2.*damaged at byte \d\d\d+: a record of \d+ bytes does not fit"),
    "a record missing": (
        lambda b: b[: second_record(b)],
        r"part2.*it holds 1 records, dataset_info.json announces 2",
    ),
    "bit of a picture": (flip(5000), r"part2.*damaged at byte 0: the checksum of a record"),
    "bit of a length": (flip(3), r"part2.*damaged at byte 0: the checksum of the record's length"),
    "not a TFRecord": (lambda b: b"hello, this is a text file" * 100, r"part2.*damaged at byte 0"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_shards_name_file_and_byte(copy, case):
    change, message = DAMAGE[case]
    spoil_shard(copy, change)
    with pytest.raises(ValueError, match=message + ".*write the set again"):
        open_all(copy)
    assert not (copy / CACHE).exists()


def test_damage_behind_the_back_of_the_index_is_found_when_read(copy):
    opened = open_all(copy)
    shard = copy / "bp4d-part2.tfrecord-00000-of-00001"
    times = shard.stat()
    spoil_shard(copy, flip(5000))
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ValueError, match=r"part2.*damaged at byte 0: the checksum"):
        open_all(copy).read_frames(2, 0, 3)
    assert opened.read_frames(0, 0, 1).shape == (1, 256, 256, 3)


def test_a_missing_shard(copy):
    (copy / "bp4d-part2.tfrecord-00000-of-00001").unlink()
    with pytest.raises(ValueError, match=r"part2.* is missing, though dataset_info\.json names it"):
        open_all(copy)


def test_records_out_of_order(copy):
    def swap(content):
        cut = second_record(content)
        return content[cut:] + content[:cut]

    spoil_shard(copy, swap)
    with pytest.raises(
        ValueError, match="record of video M011_T1 at byte 0 has chunk 1 of part2, expected chunk 0"
    ):
        open_all(copy)


def test_several_processes_may_start_at_once(copy):
    code = (
        "import sys; from mdhr_jax import facs; from mdhr_jax.data import records;"
        "r = records.open_dataset(sys.argv[1], facs.BP4D, facs.PARTS);"
        "print(r.fingerprint, r.read_frames(1, 0, 3).sum())"
    )
    root = Path(__file__).parents[2]
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(copy)], cwd=root, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = {process.communicate(timeout=300)[0] for process in started}
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(printed) == 1
    assert sorted(path.name for path in copy.iterdir() if path.name.startswith(".")) == []
    assert (copy / CACHE).is_file()
