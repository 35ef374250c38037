import csv
import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdhr_jax import facs
from mdhr_jax.data import aligned, video_files


@pytest.fixture
def tree(tmp_path):
    """One video of two frames that can be spoilt."""
    aligned.write_recipe(tmp_path, {"name": "canonical"})
    frames = [np.zeros((256, 256, 3), np.uint8)] * 2
    aligned.write_video(tmp_path, "F001_T1", frames, np.zeros((2, 12), int), facs.BP4D.aus, (9, 10))
    return tmp_path


def rewrite(path, change):
    rows = list(csv.reader(path.read_text().splitlines()))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_videos_come_part_by_part_in_the_order_of_the_folds(aligned_tree):
    tree = aligned.read_tree(facs.BP4D, aligned_tree)
    assert [(v.name, v.part) for v in tree.videos] == [
        ("F001_T1", "part1"),
        ("F001_T2", "part1"),
        ("M011_T1", "part2"),
        ("F007_T2", "part3"),
        ("F007_T10", "part3"),
    ]
    assert tree.crop_recipe == {"name": "canonical", "eye_height": 0.29}


def test_the_subject_of_a_video_can_be_said(tree):
    (tree / "F001_T1").rename(tree / "clip1")
    with pytest.raises(ValueError, match="BP4D has no subject 'clip1'"):
        aligned.read_tree(facs.BP4D, tree)
    (video,) = aligned.read_tree(facs.BP4D, tree, subjects={"clip1": "M011", "clip2": "F001"}).videos
    assert (video.name, video.subject, video.part) == ("clip1", "M011", "part2")
    with pytest.raises(ValueError, match="BP4D has no subject 'X001'"):
        aligned.read_tree(facs.BP4D, tree, subjects={"clip1": "X001"})


def test_videos_whose_subject_is_not_said_are_named_after_it(tree):
    (video,) = aligned.read_tree(facs.BP4D, tree, subjects={"clip1": "M011"}).videos
    assert (video.subject, video.part) == ("F001", "part1")


def test_columns_in_any_order_more_aus_and_both_spellings_of_unknown(tree):
    def change(rows):
        names = ["AU45", *reversed(facs.BP4D.au_names)]
        rows[:] = [
            ["frame", *names],
            ["10", "1", *("1" if name == "AU24" else "9" if name == "AU1" else "0" for name in names[1:])],
            ["0009", "1", *("-1" if name == "AU2" else "0" for name in names[1:])],
        ]

    rewrite(tree / "F001_T1/labels.csv", change)
    (video,) = aligned.read_tree(facs.BP4D, tree).videos
    np.testing.assert_array_equal(video.frame_numbers, [9, 10])
    expected = np.zeros((2, 12), int)
    expected[0, 1] = facs.UNKNOWN
    expected[1, 0], expected[1, 11] = facs.UNKNOWN, 1
    np.testing.assert_array_equal(video.labels, expected)


def test_frames_are_matched_by_number_and_unlabelled_ones_left_out(tree):
    frames = tree / "F001_T1/frames"
    (frames / "9.jpg").rename(frames / "0009.jpg")
    (frames / "100.jpg").write_bytes((frames / "10.jpg").read_bytes())
    (video,) = aligned.read_tree(facs.BP4D, tree).videos
    assert video.frames == ("frames/0009.jpg", "frames/10.jpg")


def test_the_largest_frame_number(tree):
    (tree / "F001_T1/frames/10.jpg").rename(tree / "F001_T1/frames/999999999.jpg")
    rewrite(tree / "F001_T1/labels.csv", lambda rows: rows[2].__setitem__(0, "000999999999"))
    (video,) = aligned.read_tree(facs.BP4D, tree).videos
    np.testing.assert_array_equal(video.frame_numbers, [9, 999_999_999])


SPOILT = {
    "no such AU": (
        lambda t: rewrite(t / "F001_T1/labels.csv", lambda rows: rows[0].__setitem__(3, "AU99")),
        "F001_T1/labels.csv: .*column.* AU4 ",
    ),
    "label without frame": (
        lambda t: (t / "F001_T1/frames/10.jpg").unlink(),
        "labels.csv: frame 10 .*10.jpg",
    ),
    "strange label": (
        lambda t: rewrite(t / "F001_T1/labels.csv", lambda rows: rows[2].__setitem__(1, "2")),
        "labels.csv: line 3: label '2'",
    ),
    "frame twice": (
        lambda t: rewrite(t / "F001_T1/labels.csv", lambda rows: rows.append(rows[1])),
        "labels.csv: line 4: '9'",
    ),
    "no frame number": (
        lambda t: rewrite(t / "F001_T1/labels.csv", lambda rows: rows[1].__setitem__(0, "x")),
        "labels.csv: line 2: 'x' is not a frame number, expected at most 9 digits",
    ),
    "time as frame number": (
        lambda t: rewrite(t / "F001_T1/labels.csv", lambda rows: rows[1].__setitem__(0, "1706700000123")),
        "labels.csv: line 2: '1706700000123' is not a frame number, expected at most 9 digits",
    ),
    "short row": (
        lambda t: rewrite(t / "F001_T1/labels.csv", lambda rows: rows[1].pop()),
        "labels.csv: line 2: has 12 columns",
    ),
    "no labels": (lambda t: (t / "F001_T1/labels.csv").unlink(), "F001_T1/labels.csv: the file is missing"),
    "no rows": (
        lambda t: rewrite(t / "F001_T1/labels.csv", lambda rows: rows.__delitem__(slice(1, None))),
        "no labels",
    ),
    "empty labels": (lambda t: (t / "F001_T1/labels.csv").write_text(""), "the header must have"),
    "no frames": (
        lambda t: [p.unlink() for p in (t / "F001_T1/frames").iterdir()],
        "frames: there are no frames",
    ),
    "no folder": (
        lambda t: (t / "F001_T1/frames").rename(t / "F001_T1/images"),
        "frames: there are no frames",
    ),
    "two names of a frame": (
        lambda t: (t / "F001_T1/frames/010.jpg").write_bytes(b""),
        "10.jpg: is the same frame as 010.jpg",
    ),
    "other file": (lambda t: (t / "F001_T1/frames/a.png").write_bytes(b""), "a.png: expected"),
    "unknown subject": (
        lambda t: (t / "F001_T1").rename(t / "X001_T1"),
        "X001_T1: BP4D has no subject 'X001'",
    ),
    "recipe no JSON": (lambda t: (t / "recipe.json").write_text("{"), "recipe.json is not JSON"),
    "recipe no object": (lambda t: (t / "recipe.json").write_text("[]"), "recipe.json holds list"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_every_problem_is_reported_by_file_name(tree, case):
    spoil, message = SPOILT[case]
    spoil(tree)
    with pytest.raises(ValueError, match=message):
        aligned.read_tree(facs.BP4D, tree)


def test_problems_are_reported_together(tree):
    (tree / "F001_T1/frames/9.jpg").unlink()
    (tree / "F999_T1").mkdir()
    with pytest.raises(ValueError, match=r"2 problem\(s\)(.|\n)*frame 9(.|\n)*F999"):
        aligned.read_tree(facs.BP4D, tree)


def test_missing_tree_or_recipe_or_videos(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        aligned.read_tree(facs.BP4D, tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"recipe\.json is missing"):
        aligned.read_tree(facs.BP4D, tmp_path)
    aligned.write_recipe(tmp_path, {})
    with pytest.raises(ValueError, match="there is no video"):
        aligned.read_tree(facs.BP4D, tmp_path)


def test_frames_that_cannot_be_used(tree):
    path = tree / "F001_T1/frames/9.jpg"
    good = path.read_bytes()

    def first_frame():
        (video,) = aligned.read_tree(facs.BP4D, tree).videos
        return next(video.jpegs())

    assert first_frame() == good
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError, match=r"9\.jpg is not a readable JPEG"):
        first_frame()
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"9\.jpg is not a readable JPEG"):
        first_frame()
    Image.fromarray(np.zeros((128, 256, 3), np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"9\.jpg is 256x128 RGB, expected 256x256"):
        first_frame()
    Image.fromarray(np.zeros((256, 256), np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"9\.jpg is 256x256 L, expected 256x256 RGB"):
        first_frame()


def test_digest_follows_labels_frames_and_recipe(tree):
    digest = aligned.read_tree(facs.BP4D, tree).digest
    assert aligned.read_tree(facs.BP4D, tree).digest == digest
    found = {digest}
    rewrite(tree / "F001_T1/labels.csv", lambda rows: rows[1].__setitem__(1, "1"))
    found.add(aligned.read_tree(facs.BP4D, tree).digest)
    path = tree / "F001_T1/frames/9.jpg"
    with path.open("ab") as file:
        file.write(b"\0")
    found.add(aligned.read_tree(facs.BP4D, tree).digest)
    # Another picture of the same size, which differs in one byte in its middle.
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found.add(aligned.read_tree(facs.BP4D, tree).digest)
    aligned.write_recipe(tree, {"name": "other"})
    found.add(aligned.read_tree(facs.BP4D, tree).digest)
    assert len(found) == 5


def test_a_video_has_the_same_digest_in_a_folder_and_in_an_archive(tree):
    digest = aligned.read_tree(facs.BP4D, tree).digest
    folder = tree / "F001_T1"
    files = [(f"frames/{path.name}", path.read_bytes()) for path in (folder / "frames").iterdir()]
    video_files.write_archive(
        tree / "F001_T1.zip", [*files, ("labels.csv", (folder / "labels.csv").read_bytes())]
    )
    shutil.rmtree(folder)
    assert aligned.read_tree(facs.BP4D, tree).digest == digest


def test_a_frame_that_may_not_be_read_is_named(tree, monkeypatch):
    path, read = tree / "F001_T1/frames/9.jpg", Path.read_bytes

    def refused(asked):
        if asked == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(asked)

    # The user of a container may read everything.
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(ValueError, match=r"1 problem.*\n.*F001_T1: .*Permission denied: .*9\.jpg"):
        aligned.read_tree(facs.BP4D, tree)
