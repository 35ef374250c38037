"""Two subjects in view: told by file and frame, and left out where it is a guess who is meant."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from data_prep import archives, bp4d, bystanders
from mdhr_jax.data import video_files
from mdhr_jax.data.alignment_record import AlignmentRecord
from mdhr_jax.faces.aligner import VideoAligner
from mdhr_jax.faces.recipe import AlignmentRecipe
from tests.faces import scene

from . import prepared, raw_trees

SIZE = (208, 278)
FRAMES = range(10, 40)
# In which frames somebody else is in view.
OTHERS = {"F001_T1": (20, 21), "F001_T2": range(12, 17), "M011_T1": (10,), "F007_T1": ()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Raw videos and the faces that another program found in them."""
    root = tmp_path_factory.mktemp("two")
    frames, points = prepared.numbered_faces(FRAMES)
    places = prepared.in_picture(points, SIZE)
    videos = [raw_trees.Bp4dVideo(name, FRAMES, faces=frames) for name in OTHERS]
    raw_trees.write_bp4d(root / "raw", videos, SIZE)
    for name, others in OTHERS.items():
        prepared.write_detections(root / "found", name, FRAMES, places)
        with (root / f"found/{name}.csv").open("a", newline="") as file:
            for number in others:
                face = prepared.face(0.6 * places[number - FRAMES[0]])
                values = [*face.box.tolist(), *face.points.ravel().tolist(), face.confidence]
                csv.writer(file).writerow([number, *values])
    return root


def run(root, out, *more):
    arguments = ["--raw", str(root / "raw"), "--detections", str(root / "found"), "--out", str(out)]
    return bp4d.main([*arguments, "--workers", "1", *more])


def described(out):
    return json.loads((out / "bp4d/1.0.0/manifest.json").read_text())["videos"]


def used(out):
    return set(described(out))


def test_a_guess_who_the_subject_is_costs_the_video(root, tmp_path, capfd):
    assert run(root, tmp_path) == 1
    told = capfd.readouterr().err
    assert told.count("another face is in view in 2 ") == 1
    folder = root / "raw/2D+3D"
    assert (
        f"F001_T1: another face is in view in 2 of 30 frames, first in {folder}/F001/T1/20.jpg, frame 20; "
        "the subject's track is followed" in told
    )
    assert f"F001_T2: {folder}/F001/T2/12.jpg, frame 12: another face is in view in 5 of 30 frames" in told
    assert "more than 10%: who is the subject is a guess" in told
    assert f"M011_T1: {folder}/M011/T1/10.jpg, frame 10: another face is in view in 1 of 30 frames" in told
    assert "also where the subject's face begins to be followed (frame 10): who is the subject" in told
    assert used(tmp_path) == {"F001_T1", "F007_T1"}
    notes = {name: video["notes"] for name, video in described(tmp_path).items()}
    found = "another face is in view in 2 of 30 frames, first in frame 20"
    assert notes == {"F001_T1": [found], "F007_T1": []}
    with_note_of_earlier_versions(tmp_path / "bp4d-aligned/F001_T1.zip")
    # What is there already is judged alike, also without the recordings.
    assert run(root, tmp_path) == 1
    only = ["--aligned", str(tmp_path / "bp4d-aligned"), "--out"]
    assert bp4d.main([*only, str(tmp_path / "again")]) == 1
    assert used(tmp_path / "again") == {"F001_T1", "F007_T1"}
    assert described(tmp_path / "again")["F001_T1"]["notes"] == [found]


def with_note_of_earlier_versions(path):
    """Lets an archive say in words that there are other faces."""
    archive = video_files.ArchiveFiles(path)
    with archive.opened() as reading:
        files = {name: reading(name) for name in archive.sizes()}
    record = archives.read_record(archive)
    assert record is not None
    notes = [*record.provenance["notes"], "another face is in view in 2 frames"]
    changed = dataclasses.replace(record, provenance={**record.provenance, "notes": notes})
    video_files.write_archive(path, (files | dict(changed.to_files())).items())


def test_archives_that_were_made_with_other_faces_allowed_are_judged_again(root, tmp_path, capfd):
    assert run(root, tmp_path, "--other-faces-ok") == 0
    capfd.readouterr()
    only = ["--aligned", str(tmp_path / "bp4d-aligned"), "--out"]
    assert bp4d.main([*only, str(tmp_path / "again")]) == 1
    assert "M011_T1.zip, frame 10: another face" in capfd.readouterr().err
    assert used(tmp_path / "again") == {"F001_T1", "F007_T1"}
    assert bp4d.main([*only, str(tmp_path / "strict"), "--strict"]) == 2
    assert not (tmp_path / "strict").exists()


def test_strict_stops_at_any_other_face(root, tmp_path, capfd):
    assert run(root, tmp_path, "--strict") == 2
    message = f"stopped (--strict): F001_T1: {root}/raw/2D+3D/F001/T1/20.jpg, frame 20: another face is in"
    assert message in capfd.readouterr().err
    assert not (tmp_path / "bp4d").exists()


@pytest.mark.parametrize("strict", [[], ["--strict"]])
def test_other_faces_can_be_allowed(root, tmp_path, capfd, strict):
    assert run(root, tmp_path, "--other-faces-ok", *strict) == 0
    assert capfd.readouterr().err.count("the subject's track is followed") == 3
    assert used(tmp_path) == set(OTHERS)


def record(others, track):
    """What an archive knows of such frames."""
    count = len(track)
    return AlignmentRecord(
        np.arange(count, dtype=np.int32),
        ("detected",) * count,
        np.asarray(track, np.int32),
        np.ones(count, np.float32),
        np.isin(np.arange(count), others).astype(np.int32),
        np.zeros((count, 5, 2), np.float32),
        np.zeros((count, 2, 3), np.float32),
        {},
    )


def test_where_the_subject_is_chosen_another_face_makes_it_a_guess():
    track = [0] * 20 + [-1] * 10 + [1] * 30
    assert bystanders.find(record([], track)) is None
    for others, guess in (
        ([3, 19, 31, 40], ""),
        ([0], "(frame 0)"),
        ([24], "(frame 30)"),
        ([30], "(frame 30)"),
        (range(1, 7), ""),
        (range(1, 8), "more than 10%"),
    ):
        found = bystanders.find(record(others, track))
        assert found is not None
        assert (found.count, found.frames, found.first) == (len(others), 60, others[0])
        assert guess in found.guess
        assert bool(guess) == bool(found.guess)


@pytest.mark.parametrize(("scale", "counted"), [(0.35, 0), (0.45, 1), (2.0, 1)])
def test_faces_of_a_comparable_size_count(scale, counted):
    faces = [scene.face(100)], [scene.face(100), scene.face(300, scale=scale)]
    aligner = VideoAligner(AlignmentRecipe(detect_every=1, max_gap=0), scene.Known(faces))
    out = [*aligner.push(scene.BLANK), *aligner.push(scene.BLANK), *aligner.flush()]
    assert [frame.other_faces for frame in out] == [0, counted]
