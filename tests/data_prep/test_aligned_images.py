import re

import numpy as np
import pytest
from PIL import Image

from data_prep import aligned_images, reference_lists
from mdhr_jax import facs
from tests.data_prep import list_trees, raw_trees

BP4D = {"F001_T1": range(98, 103), "F001_T10": range(3), "M011_T1": [1, 2, 3, 7], "F007_T2": range(640, 643)}
DISFA = {"SN002": range(4), "SN013": range(3), "SN003": range(5)}
SETS = {"bp4d": (facs.BP4D, list_trees.BP4D, BP4D), "disfa": (facs.DISFA, list_trees.DISFA, DISFA)}


@pytest.fixture(params=SETS)
def prepared(request, tmp_path):
    """What somebody has who ran the reference: lists, and images beside them."""
    au_set, spelling, videos = SETS[request.param]
    root = list_trees.write(tmp_path, au_set, spelling, videos)
    for name, numbers in videos.items():
        subject, _, task = name.partition("_")
        for number in numbers:
            image = spelling.image.format(subject=subject, task=task, number=number)
            file = root / aligned_images.IMAGE_FOLDERS[au_set.name] / image
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(raw_trees.frame(number, (200, 200))).save(file)
    return request.param, root, reference_lists.read_lists(root)


def test_labels_end_on_the_images_of_their_number(prepared):
    name, root, lists = prepared
    au_set, _, videos = SETS[name]
    scan = aligned_images.videos(lists, root)
    assert not scan.problems
    assert [video.name for video in scan.videos] == (
        ["F001_T1", "F001_T10", "F007_T2", "M011_T1"] if name == "bp4d" else ["SN002", "SN003", "SN013"]
    )
    for video in scan.videos:
        frames = list(video.frames())
        assert [raw_trees.read_number(frame) for frame in frames] == list(videos[video.name])
        assert frames[0].shape == (200, 200, 3)
        np.testing.assert_array_equal(video.frame_numbers, videos[video.name])
        expected = list_trees.video(au_set, video.name, videos[video.name])
        np.testing.assert_array_equal(video.labels, expected.labels)
        assert (video.subject, video.fps) == (expected.subject, au_set.fps)
    assert f"subjects of {au_set.title} are missing" in scan.notes[0]
    assert len(aligned_images.videos(lists, root / aligned_images.IMAGE_FOLDERS[name]).videos) == len(videos)


def image_of(name, root):
    return root / ("img/F001/T1/99.jpg" if name == "bp4d" else "img_o/SN002/SN002_1.png")


def test_images_are_found_by_number_under_another_spelling(prepared):
    name, root, lists = prepared
    file = image_of(name, root)
    file.rename(file.with_name(file.name.replace("99", "00099").replace("_1", "_0001").replace(".p", ".P")))
    scan = aligned_images.videos(lists, root)
    assert not scan.problems
    assert [raw_trees.read_number(frame) for frame in scan.videos[0].frames()] == list(
        SETS[name][2][scan.videos[0].name]
    )


def test_a_missing_image_leaves_its_video_out(prepared):
    name, root, lists = prepared
    image_of(name, root).unlink()
    scan = aligned_images.videos(lists, root)
    (problem,) = scan.problems
    assert len(scan.videos) == len(SETS[name][2]) - 1
    assert re.search(r"images of 1 of \d listed frames are missing: (99|1)$", str(problem))


def test_two_images_of_a_frame_are_ambiguous(prepared):
    name, root, lists = prepared
    file = image_of(name, root)
    for zeros in ("0", "00"):
        copy = file.with_name(file.name.replace("99", f"{zeros}99").replace("_1", f"_{zeros}1"))
        copy.write_bytes(file.read_bytes())
    # The name that is listed decides.
    assert not aligned_images.videos(lists, root).problems
    file.unlink()
    (problem,) = aligned_images.videos(lists, root).problems
    assert "there are several images of this frame: " in str(problem)


def test_a_missing_folder_leaves_its_video_out(prepared):
    name, root, lists = prepared
    folder = image_of(name, root).parent
    folder.rename(folder.with_name("elsewhere"))
    (problem,) = aligned_images.videos(lists, root).problems
    assert str(problem).endswith(f"{folder}: the folder of its images is missing")


def test_folders_without_images_and_lists_with_problems_are_refused(prepared):
    _, root, lists = prepared
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        aligned_images.videos(lists, root / "nowhere")
    (root / "other").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"holds none of the listed videos; expected images such as .*(jpg|png) or"
    ):
        aligned_images.videos(lists, root / "other")
    next(root.glob("*_test_label_fold1.txt")).unlink()
    with pytest.raises(ValueError, match="the list is missing"):
        aligned_images.videos(reference_lists.read_lists(root), root)


def spoilt_lists(root, kind, change, side="train"):
    """Lists of which one line of fold 1 was changed."""
    (file,) = (f for f in root.glob(f"*_{side}_*fold1.txt") if re.search(rf"{side}_{kind}_", f.name))
    lines = file.read_text().splitlines()
    change(lines)
    file.write_text("\n".join(lines))
    return file, reference_lists.read_lists(root)


def first_line_of(prepared, video):
    """Place of a video's first line in the training list of fold 1."""
    listed = {entry.video.name: entry for entry in prepared[2].folds[1].train.listed}
    return listed[video].first_line - 1


@pytest.mark.parametrize("kind", ["(img_)?path", "label", "sub_label"])
def test_a_line_that_cannot_be_read_leaves_its_video_out(prepared, kind):
    name, root, lists = prepared
    video = lists.folds[1].train.listed[0].video.name
    place = first_line_of(prepared, video) + 1
    file, lists = spoilt_lists(root, kind, lambda lines: lines.__setitem__(place, "?"))
    scan = aligned_images.videos(lists, root)
    assert [found.name for found in scan.videos] == sorted(SETS[name][2].keys() - {video})
    (problem,) = scan.problems
    assert str(problem).startswith(f"{video}: {file}, line {place + 1}: found '?', expected")
    with pytest.raises(ValueError, match="1 problem"):
        scan.raise_if_any(root)


def test_a_line_between_two_videos_may_be_of_either(prepared):
    name, root, lists = prepared
    first, second = (listed.video.name for listed in lists.folds[1].train.listed[:2])
    place = first_line_of(prepared, second)
    _, lists = spoilt_lists(root, "(img_)?path", lambda lines: lines.__setitem__(place, "?"))
    scan = aligned_images.videos(lists, root)
    assert [video.name for video in scan.videos] == sorted(SETS[name][2].keys() - {first, second})


def test_lists_that_disagree_leave_the_video_out(prepared):
    name, root, lists = prepared
    video = lists.folds[1].train.listed[0].video.name
    place = first_line_of(prepared, video) + 1

    def other(lines):
        lines[place] = " ".join("1" if cell == "0" else "0" for cell in lines[place].split())

    _, lists = spoilt_lists(root, "label", other)
    scan = aligned_images.videos(lists, root)
    assert [found.name for found in scan.videos] == sorted(SETS[name][2].keys() - {video})
    assert {problem.video for problem in scan.problems} == {video}


def test_lists_of_different_lengths_cannot_be_used(prepared):
    _, root, _ = prepared
    _, lists = spoilt_lists(root, "label", lambda lines: lines.pop())
    with pytest.raises(ValueError, match="they must go together"):
        aligned_images.videos(lists, root)
