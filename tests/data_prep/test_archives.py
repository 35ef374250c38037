"""One recording to one archive: what is in it, when it is made again, frames without a face."""

import dataclasses
import io
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from data_prep import archives, bp4d_raw
from data_prep.archives import Job
from data_prep.raw import VideoFrames
from mdhr_jax import facs
from mdhr_jax.data import aligned, video_files
from mdhr_jax.faces.recipe import AlignmentRecipe

from . import prepared, raw_trees

NUMBERS = (*range(8, 14), *range(20, 32))
SIZE = (416, 556)
# Means of the astronaut's colours and of what neighbouring rows differ, by version of the recipe.
RESIZED = {1: (141.569, 105.767, 96.486, 8.326)}
RECIPE = AlignmentRecipe(detector="scripted", detector_version="1", detect_every=1, max_gap=2)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A raw BP4D tree of one video, and the points of its faces in the pictures."""
    root = tmp_path_factory.mktemp("raw")
    frames, points = prepared.numbered_faces(NUMBERS)
    video = raw_trees.Bp4dVideo("F001_T1", NUMBERS, width=4, unlabelled=(7, 14), faces=frames)
    raw_trees.write_bp4d(root, [video], SIZE)
    return root, frames, prepared.in_picture(points, SIZE)


@pytest.fixture
def job(tmp_path):
    return Job(facs.BP4D, tmp_path, RECIPE)


def scanned(root):
    (video,) = bp4d_raw.scan(root).videos
    return video


def detector(points, without=(), also=None):
    """Finds the faces except in some frames, by position, and perhaps another in all of them."""
    faces = [[] if i in without else [prepared.face(p)] for i, p in enumerate(points)]
    return prepared.Scripted([found + ([also] if also else []) for found in faces])


def read(path):
    with video_files.ArchiveFiles(path).opened() as opened:
        names = video_files.ArchiveFiles(path).sizes()
        return {name: opened(name) for name in names}


def never():
    raise AssertionError("nothing needs to be detected")


def test_crops_lie_in_the_canonical_place_and_labels_end_on_their_frames(recording, job):
    root, faces, points = recording
    video = scanned(root)
    outcome = archives.make(job, video, lambda: detector(points))
    assert (outcome.problem, outcome.frames, outcome.dropped) == (None, 18, {})
    files = read(job.path(video))
    rows = files["labels.csv"].decode().splitlines()
    assert rows[0] == "frame,AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU14,AU15,AU17,AU23,AU24"
    for i, number in enumerate(NUMBERS):
        crop = np.asarray(Image.open(io.BytesIO(files[f"frames/{number}.jpg"])))
        assert raw_trees.read_number(crop, prepared.NUMBER_BOX) == number
        # The head moves a little against its canonical place, which the crop takes back.
        apart = np.abs(crop[20:220].astype(int) - faces[i][20:220]).mean()
        assert 2 * apart < np.abs(np.roll(crop, 20, axis=0)[20:220].astype(int) - faces[i][20:220]).mean()
        assert rows[1 + i] == ",".join(map(str, [number, *video.labels[i].tolist()]))
    record = archives.read_record(video_files.ArchiveFiles(job.path(video)))
    assert record is not None
    assert record.frame_numbers.tolist() == list(NUMBERS)
    assert set(record.status) == {"detected"}
    np.testing.assert_allclose(record.points, points, atol=1e-3)
    eyes = np.einsum("fij,fpj->fpi", record.matrices[..., :2], points[:, :2]) + record.matrices[:, None, :, 2]
    # Smoothing leaves a head that moves a little out of place.
    np.testing.assert_allclose(eyes[..., 1], 0.29 * 256, atol=2)
    np.testing.assert_allclose(eyes.mean(1)[:, 0], 128, atol=2)
    assert record.provenance["crop_recipe"] == job.crop_recipe
    assert any("gap" in note for note in record.notes)


def test_a_finished_archive_is_kept(recording, job):
    root, _, points = recording
    video = scanned(root)
    steps = []
    archives.make(job, video, lambda: detector(points), steps.append)
    before, written = job.path(video).read_bytes(), job.path(video).stat().st_mtime_ns
    assert steps == [1] * 18
    steps.clear()
    outcome = archives.make(job, video, never, steps.append)
    assert outcome.kept
    assert outcome.notes
    assert steps == [18]
    assert job.path(video).stat().st_mtime_ns == written
    job.path(video).unlink()
    archives.make(job, video, lambda: detector(points))
    assert job.path(video).read_bytes() == before


def test_other_labels_are_exchanged_without_looking_for_faces(recording, job):
    root, _, points = recording
    video = scanned(root)
    archives.make(job, video, lambda: detector(points, without=range(6, 12)))
    before = read(job.path(video))
    other = dataclasses.replace(video, labels=1 - video.labels)
    outcome = archives.make(job, other, never)
    assert outcome.kept
    after = read(job.path(video))
    rows = after.pop("labels.csv").decode().splitlines()
    before.pop("labels.csv")
    assert after == before
    kept = [0, 1, 2, 3, 4, 5, *range(12, 18)]
    assert rows[1:] == [",".join(map(str, [NUMBERS[i], *other.labels[i].tolist()])) for i in kept]


CHANGED = {
    "recipe": lambda job, video: (dataclasses.replace(job, recipe=AlignmentRecipe(max_gap=0)), video),
    "quality": lambda job, video: (dataclasses.replace(job, quality=97), video),
    "frames": lambda job, video: (
        job,
        dataclasses.replace(
            video,
            frame_numbers=video.frame_numbers[1:],
            labels=video.labels[1:],
            source=type(video.source)(video.source.files[1:]),
        ),
    ),
}


@pytest.mark.parametrize("what", CHANGED)
def test_what_was_made_from_other_things_is_made_again(recording, job, what):
    root, _, points = recording
    video = scanned(root)
    archives.make(job, video, lambda: detector(points))
    job, video = CHANGED[what](job, video)
    again = detector(points[-video.num_frames :])
    assert not archives.make(job, video, lambda: again).kept
    assert again.asked == video.num_frames


def of_equal_size(files):
    """Makes all of these files equally long, by bytes behind the end of the picture."""
    longest = max(file.stat().st_size for file in files)
    for file in files:
        file.write_bytes(file.read_bytes().ljust(longest, b"\0"))


def test_pictures_of_equal_size_are_told_apart_and_a_copy_is_not(recording, job, tmp_path):
    root, _, points = recording
    shutil.copytree(root, tmp_path / "raw")
    files = scanned(tmp_path / "raw").source.files
    of_equal_size(files)
    job = dataclasses.replace(job, out=tmp_path / "out")
    job.out.mkdir()
    archives.make(job, scanned(tmp_path / "raw"), lambda: detector(points))
    # Other times, the same content.
    for file in shutil.copytree(tmp_path / "raw", tmp_path / "copy").rglob("*.jpg"):
        os.utime(file, (1, 1))
    assert archives.make(job, scanned(tmp_path / "copy"), never).kept
    first, second = files[2].read_bytes(), files[3].read_bytes()
    assert len(first) == len(second)
    files[2].write_bytes(second)
    files[3].write_bytes(first)
    assert not archives.make(job, scanned(tmp_path / "raw"), lambda: detector(points)).kept


@pytest.mark.parametrize("size", [0, 5, 4096, 6000, 20_000])
def test_the_beginning_middle_and_end_of_a_file_are_known_again(tmp_path, size):
    file = tmp_path / "video.avi"
    content = np.random.default_rng(0).bytes(size)
    file.write_bytes(content)
    known = {archives._sampled(file)}
    for place in {0, size // 2, size - 1} if size else ():
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        known.add(archives._sampled(file))
    file.write_bytes(content + b"x")
    known.add(archives._sampled(file))
    assert len(known) == (5 if size else 2)


def test_versions_are_of_what_was_used(recording, job):
    video = scanned(recording[0])
    assert archives._versions(job, video).keys() == {"numpy", "pillow"}
    found = dataclasses.replace(job, recipe=AlignmentRecipe(detector="mtcnn"))
    decoded = dataclasses.replace(video, source=VideoFrames(Path("video.avi")))
    used = archives._versions(found, decoded)
    assert used.keys() == {"numpy", "pillow", "av", "mtcnn", "tensorflow"}
    assert all(used.values())


def test_a_damaged_archive_is_made_again(recording, job):
    root, _, points = recording
    video = scanned(root)
    archives.make(job, video, lambda: detector(points))
    good = job.path(video).read_bytes()
    picture = good.index(b"frames/20.jpg") + 5000
    rotten = good[:picture] + bytes(50) + good[picture + 50 :]
    # One that asks for a password, in the directory at the end.
    entry = good.index(b"PK\x01\x02")
    locked = good[: entry + 8] + b"\x01" + good[entry + 9 :]
    for spoilt in (good[: len(good) // 2], b"", good.replace(b"frame,AU1", b"frame,AU9"), rotten, locked):
        job.path(video).write_bytes(spoilt)
        assert not archives.make(job, video, lambda: detector(points)).kept
        assert job.path(video).read_bytes() == good


def test_short_gaps_are_bridged_and_longer_ones_left_out_and_listed(recording, job):
    root, _, points = recording
    video = scanned(root)
    outcome = archives.make(job, video, lambda: detector(points, without=(2, 3, 8, 9, 10)))
    assert outcome.dropped == {"no face": [22, 23, 24]}
    assert "the face was lost and followed anew 1 time(s); check that it is the subject's" in outcome.notes
    record = archives.read_record(video_files.ArchiveFiles(job.path(video)))
    assert record is not None
    assert [record.status[i] for i in (1, 2, 3, 4)] == [
        "detected",
        "interpolated",
        "interpolated",
        "detected",
    ]
    assert record.dropped() == outcome.dropped
    # The second run of numbers begins with frame 20; there the face is lost and followed anew.
    assert record.track.tolist() == [0] * 6 + [10_000] * 2 + [-1] * 3 + [10_001] * 7
    files = read(job.path(video))
    assert not any(f"frames/{number}.jpg" in files for number in (22, 23, 24))
    rows = files["labels.csv"].decode().splitlines()
    assert [int(row.split(",")[0]) for row in rows[1:]] == [n for n in NUMBERS if n not in (22, 23, 24)]
    assert np.isnan(record.points[2]).all()
    assert np.isfinite(record.matrices[2]).all()
    assert np.isnan(record.matrices[8]).all()


def test_nothing_is_smoothed_or_bridged_across_a_jump_of_the_numbers(recording, job):
    root, _, points = recording
    video = scanned(root)
    # The head is elsewhere after the jump from 13 to 20, and no face is found at either end of it.
    moved = points.copy()
    moved[6:] += (30, 20)
    archives.make(job, video, lambda: detector(moved))
    record = archives.read_record(video_files.ArchiveFiles(job.path(video)))
    assert record is not None
    eyes = np.einsum("fij,fpj->fpi", record.matrices[..., :2], moved[:, :2]) + record.matrices[:, None, :, 2]
    np.testing.assert_allclose(eyes[..., 1], 0.29 * 256, atol=2)
    assert not any("followed anew" in note for note in record.notes)
    job.path(video).unlink()
    outcome = archives.make(job, video, lambda: detector(points, without=(5, 6)))
    assert outcome.dropped == {"no face": [13, 20]}


def test_what_one_video_provokes_does_not_end_the_run(recording, job):
    root, *_ = recording

    class Failing(prepared.Scripted):
        def detect(self, frames):
            raise IndexError("out of the network")

    outcome = archives.make(job, scanned(root), lambda: Failing([]))
    assert "could not be aligned (IndexError: out of the network)" in str(outcome.problem)
    assert list(job.out.iterdir()) == []


def test_a_full_disk_is_an_error_that_names_the_archive(recording, job):
    root, _, points = recording
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"F001_T1\.zip could not be written .*nothing was left there"):
            archives.make(job, scanned(root), lambda: detector(points))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(job.out.iterdir()) == []


def test_notes_of_the_labels_change_with_the_labels(recording, job):
    root, _, points = recording
    video = scanned(root)
    archives.make(job, video, lambda: detector(points))
    other = dataclasses.replace(job, labelling={"present_from_intensity": 3})
    archives.make(other, dataclasses.replace(video, notes=("labelled anew",)), never)
    record = archives.read_record(video_files.ArchiveFiles(job.path(video)))
    assert record is not None
    assert record.notes == ("labelled anew",)
    assert record.provenance["labelling"] == {"present_from_intensity": 3}


def test_a_video_without_a_face_is_a_problem_and_leaves_nothing(recording, job):
    root, _, points = recording
    outcome = archives.make(job, scanned(root), lambda: detector(points, without=range(18)))
    assert "no face was found in any of its frames" in str(outcome.problem)
    assert list(job.out.iterdir()) == []


def test_another_face_in_view_is_kept_as_data(recording, job):
    root, _, points = recording
    video = scanned(root)
    other = prepared.face(points[0] * 0.5)
    outcome = archives.make(job, video, lambda: detector(points, also=other))
    record = archives.read_record(video_files.ArchiveFiles(job.path(video)))
    assert record is not None
    assert record.other_faces.tolist() == [1] * 18
    # Words are found where they are said, see test_bystanders.py.
    assert outcome.notes == record.notes == video.notes
    assert record.provenance["notes"] == []
    np.testing.assert_allclose(record.points, points, atol=1e-3)


def test_a_frame_that_cannot_be_read_is_a_problem_and_leaves_nothing(recording, job, tmp_path):
    root, _, points = recording
    video = scanned(root)
    spoilt = tmp_path / "0025.jpg"
    spoilt.write_bytes(video.source.files[11].read_bytes()[:3000])
    files = (*video.source.files[:11], spoilt, *video.source.files[12:])
    broken = dataclasses.replace(video, source=type(video.source)(files))
    out = dataclasses.replace(job, out=tmp_path / "out")
    out.out.mkdir()
    outcome = archives.make(out, broken, lambda: detector(points))
    assert outcome.problem is not None
    assert outcome.problem.frame == NUMBERS[11]
    assert "0025.jpg" in str(outcome.problem)
    assert "is not a readable picture" in str(outcome.problem)
    assert list(out.out.iterdir()) == []


def test_pictures_aligned_by_others_are_only_resized(recording, tmp_path):
    root, *_ = recording
    job, video = Job(facs.BP4D, tmp_path, None), scanned(root)
    archives.make(job, video, never)
    (crop,) = {
        Image.open(io.BytesIO(data)).size for name, data in read(job.path(video)).items() if "frames" in name
    }
    assert crop == (256, 256)
    assert job.crop_recipe == {"name": "as is", "recipe_version": 1, "size": 256}
    aligned.write_recipe(tmp_path, job.crop_recipe)
    (again,) = aligned.read_tree(facs.BP4D, tmp_path).videos
    np.testing.assert_array_equal(again.labels, video.labels)
    assert len(list(again.jpegs())) == 18


def test_the_recipe_of_pictures_aligned_by_others_means_the_same_pixels():
    crop = archives._resized(data.astronaut()).astype(float)
    found = [*crop.mean((0, 1)), np.abs(np.diff(crop, axis=0)).mean()]
    message = "raise archives.AS_IS_VERSION, and write down here what it gives now"
    np.testing.assert_allclose(found, RESIZED[archives.AS_IS_VERSION], atol=0.05, err_msg=message)


@pytest.mark.parametrize("stored", [{}, {"recipe_version": 0}])
def test_an_archive_of_another_version_of_the_recipe_is_made_again(recording, job, monkeypatch, stored):
    root, _, points = recording
    video = scanned(root)
    recipe = {**job.crop_recipe, **stored}
    if not stored:
        del recipe["recipe_version"]
    with monkeypatch.context() as patch:
        patch.setattr(AlignmentRecipe, "to_json", lambda _: recipe)
        archives.make(job, video, lambda: detector(points))
    again = detector(points)
    assert not archives.make(job, video, lambda: again).kept
    assert again.asked == video.num_frames


def test_an_archive_that_cannot_be_written_is_an_error(recording, tmp_path):
    root, _, points = recording
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(OSError, match=r"F001_T1\.zip could not be written"):
        archives.make(Job(facs.BP4D, tmp_path / "out", RECIPE), scanned(root), lambda: detector(points))
    assert Path(tmp_path / "out").read_text() == "a file in the way"
    assert os.listdir(tmp_path) == ["out"]
