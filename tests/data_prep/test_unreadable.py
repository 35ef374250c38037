"""What cannot be read in a tree costs its own video, is told by path, and the others are used."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from data_prep import (
    aligned_images,
    archives,
    bp4d,
    bp4d_raw,
    disfa_raw,
    own_videos,
    raw_folders,
    reference_lists,
)
from data_prep.archives import Job
from mdhr_jax import facs
from mdhr_jax.data import aligned

from . import list_trees, raw_trees

NAMES = ("F001_T1", "F001_T2", "M011_T1")


@pytest.fixture
def forbid(monkeypatch):
    """Makes a folder one that may not be read; root, who may run the tests, reads all."""
    forbidden = set()
    scandir = os.scandir

    def guarded(folder):
        if not isinstance(folder, int) and os.path.abspath(folder) in forbidden:
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(raw_folders.os, "scandir", guarded)
    return lambda folder: forbidden.add(os.path.abspath(folder))


@pytest.fixture
def tree(tmp_path):
    videos = [raw_trees.Bp4dVideo(name, range(3, 6)) for name in NAMES]
    return raw_trees.write_bp4d(tmp_path / "raw", videos, (104, 139))


def told(scan, path):
    """The problems are those of one path, which may not be read."""
    assert {problem.file for problem in scan.problems} == {path}
    assert all("cannot be read (Permission denied); see to it" in str(problem) for problem in scan.problems)
    return [problem.video for problem in scan.problems]


@pytest.mark.parametrize(
    ("folder", "videos"), [("2D+3D/F001/T1", ["F001_T1"]), ("2D+3D/F001", ["F001_T1", "F001_T2"])]
)
def test_a_folder_of_bp4d(tree, forbid, folder, videos):
    forbid(tree / folder)
    scan = bp4d_raw.scan(tree)
    assert told(scan, tree / folder) == videos
    assert [video.name for video in scan.videos] == [name for name in NAMES if name not in videos]
    with pytest.raises(ValueError, match="Permission denied"):
        scan.raise_if_any(tree)


def test_a_folder_of_which_nothing_else_is_known(tree, forbid):
    for name in ("F001_T1", "F001_T2"):
        (tree / f"AUCoding/AU_OCC/{name}.csv").unlink()
    forbid(tree / "2D+3D/F001")
    scan = bp4d_raw.scan(tree)
    assert told(scan, tree / "2D+3D/F001") == [""]
    assert [video.name for video in scan.videos] == ["M011_T1"]


def test_folders_that_hide_what_is_looked_for_are_named(tree, forbid):
    forbid(tree / "AUCoding")
    with pytest.raises(
        FileNotFoundError, match=r"holds no labels such as .*AUCoding cannot be read \(Permission"
    ):
        bp4d_raw.scan(tree)


@pytest.mark.parametrize("strict", [False, True])
def test_the_command_goes_on_and_ends_with_an_error(tree, forbid, tmp_path, capfd, strict):
    forbid(tree / "2D+3D/M011/T1")
    lists = ["--raw", str(tree), "--out", str(tmp_path), "--detections", "none"]
    assert bp4d.main([*lists, "--strict"] if strict else lists) == 2
    err = capfd.readouterr().err
    assert f"M011_T1: {tree}/2D+3D/M011/T1: cannot be read (Permission denied)" in err
    assert "Traceback" not in err
    assert (tmp_path / "bp4d-aligned").exists() != strict


def test_a_label_file_that_is_a_folder(tree):
    codes = tree / "AUCoding/AU_OCC/F001_T2.csv"
    codes.unlink()
    codes.mkdir()
    scan = bp4d_raw.scan(tree)
    assert scan.skipped == ("F001_T2",)
    assert "F001_T2.csv: is a folder, expected the label file; " in str(scan.problems[0])


def test_a_folder_of_frames_that_is_a_file(tree):
    shutil.rmtree(tree / "2D+3D/F001/T2")
    (tree / "2D+3D/F001/T2").write_text("")
    (problem,) = bp4d_raw.scan(tree).problems
    assert str(problem).endswith("F001/T2: is a file, expected the folder of its frames")


def test_labels_of_disfa(tmp_path, forbid):
    videos = [raw_trees.DisfaVideo(name, 3) for name in ("SN001", "SN002")]
    root = raw_trees.write_disfa(tmp_path, videos, (64, 48))
    forbid(root / "ActionUnit_Labels/SN001")
    scan = disfa_raw.scan(root)
    assert told(scan, root / "ActionUnit_Labels/SN001") == ["SN001"]
    assert [video.name for video in scan.videos] == ["SN002"]


def test_ones_own_pictures_and_labels(tmp_path, forbid):
    for name in ("anna", "bert", "carl"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        Image.new("RGB", (32, 24)).save(tmp_path / "raw" / name / "1.png")
    (tmp_path / "labels/bert.csv").mkdir(parents=True)
    forbid(tmp_path / "raw/anna")
    persons = own_videos.read_persons(tmp_path / "raw", None)
    scan = own_videos.scan(
        tmp_path / "raw",
        tmp_path / "labels",
        own_videos.make_set("mine", facs.BP4D, persons),
        persons,
        unlabelled_ok=True,
    )
    assert [video.name for video in scan.videos] == ["carl"]
    assert next(problem.file for problem in scan.problems if problem.video == "anna") == tmp_path / "raw/anna"
    (problem,) = (problem for problem in scan.problems if problem.video == "bert")
    assert "bert.csv: cannot be read (Is a directory)" in str(problem)


def test_pictures_of_lists(tmp_path, forbid):
    numbers = {"F001_T1": range(3), "M011_T1": range(2), "F007_T1": range(2)}
    list_trees.write(tmp_path, facs.BP4D, list_trees.BP4D, numbers)
    for name, of_video in numbers.items():
        folder = tmp_path / "img" / name.replace("_", "/")
        folder.mkdir(parents=True)
        for number in of_video:
            Image.new("RGB", (8, 8)).save(folder / f"{number}.jpg")
    forbid(tmp_path / "img/M011/T1")
    scan = aligned_images.videos(reference_lists.read_lists(tmp_path), tmp_path)
    assert told(scan, tmp_path / "img/M011/T1") == ["M011_T1"]
    assert [video.name for video in scan.videos] == ["F001_T1", "F007_T1"]


def test_a_picture_that_is_gone_when_its_archive_is_made(tree, tmp_path):
    job = Job(facs.BP4D, tmp_path / "out", None)
    job.out.mkdir()
    video = bp4d_raw.scan(tree).videos[0]
    archives.make(job, video, lambda: None)
    shutil.rmtree(tree / "2D+3D/F001/T1")
    # A file where the folder was: what is below it cannot be reached.
    (tree / "2D+3D/F001/T1").write_text("")
    outcome = archives.make(dataclasses.replace(job, quality=96), video, lambda: None)
    assert outcome.problem is not None
    assert "F001/T1/3.jpg" in str(outcome.problem)
    assert not outcome.kept


def test_an_aligned_tree_names_what_it_cannot_read(tmp_path):
    aligned.write_recipe(tmp_path, {"name": "none"})
    aligned.write_video(
        tmp_path, "F001_T1", [np.zeros((256, 256, 3), np.uint8)], np.zeros((1, 12), int), facs.BP4D.aus
    )
    (tmp_path / "F001_T1/labels.csv").unlink()
    (tmp_path / "F001_T1/labels.csv").mkdir()
    with pytest.raises(
        ValueError, match=r"1 problem\(s\) in (.|\n)*labels.csv: cannot be read: .*Is a directory"
    ):
        aligned.read_tree(facs.BP4D, tmp_path)
