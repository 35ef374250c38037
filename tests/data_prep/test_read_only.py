"""An output disk that cannot be written to: one message with the path, nothing half-written."""

import errno
import os
from pathlib import Path

import pytest

from data_prep import bp4d

from . import prepared, raw_trees

SIZE = (208, 278)
NUMBERS = range(3, 7)


@pytest.fixture
def run(tmp_path):
    """Runs the command on a tree of one video, with a folder to write to."""
    frames, points = prepared.numbered_faces(NUMBERS)
    raw_trees.write_bp4d(tmp_path / "raw", [raw_trees.Bp4dVideo("F001_T1", NUMBERS, faces=frames)], SIZE)
    prepared.write_detections(tmp_path / "found", "F001_T1", NUMBERS, prepared.in_picture(points, SIZE))
    given = {"raw": "raw", "detections": "found", "out": "out"}
    arguments = [text for name, path in given.items() for text in (f"--{name}", str(tmp_path / path))]
    (tmp_path / "out").mkdir()
    return lambda: bp4d.main([*arguments, "--workers", "1"])


def refused(told, path):
    """One message, with the path."""
    assert "Traceback" not in told
    (message,) = [line for line in told.splitlines() if line.startswith("python -m data_prep.bp4d: ")]
    assert str(path) in message


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_folder_that_may_not_be_written_to(run, tmp_path, capfd):
    out = tmp_path / "out"
    out.chmod(0o555)
    try:
        if os.access(out, os.W_OK):
            pytest.skip("root may write everywhere")
        assert run() == 2
        refused(capfd.readouterr().err, out)
        assert not files(out)
    finally:
        out.chmod(0o755)


def test_a_disk_that_is_read_only_from_the_start(run, tmp_path, capfd, monkeypatch):
    out = tmp_path / "out"
    mkdir = Path.mkdir

    def refuse(path, *args, **options):
        if out in path.parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert run() == 2
    refused(capfd.readouterr().err, out / "bp4d-aligned")
    assert not files(out)


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
def test_a_disk_that_becomes_read_only_or_full_at_the_archive(run, tmp_path, capfd, monkeypatch, code):
    out = tmp_path / "out"
    fsync = os.fsync

    def refuse(descriptor):
        if out in Path(os.readlink(f"/proc/self/fd/{descriptor}")).parents:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    assert run() == 2
    told = capfd.readouterr().err
    refused(told, out / "bp4d-aligned/F001_T1.zip")
    assert os.strerror(code) in told
    assert {path.name for path in files(out)} == {"recipe.json", "plan.json"}
    # What stopped it is gone: the same command goes on.
    monkeypatch.undo()
    assert run() == 0
