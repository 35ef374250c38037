import re
import shutil

import numpy as np
import pytest

from data_prep import reference_lists, statistics
from mdhr_jax import facs
from tests.data_prep import list_trees
from tests.data_prep.list_trees import list_file

# Two subjects a part; F007 and SN003 are tested in fold 1.
BP4D = {
    "F001_T1": range(2440, 2460),
    "F001_T2": range(9),
    "M007_T10": range(1, 34),
    "M011_T1": [*range(5, 25), *range(40, 60)],
    "F003_T8": range(16),
    "F007_T1": range(643, 680),
    "F015_T2": range(1, 18),
}
DISFA = {"SN002": range(40), "SN010": range(39), "SN013": range(40), "SN018": range(7), "SN003": range(17)}
SETS = {
    "bp4d": (facs.BP4D, list_trees.BP4D, BP4D),
    "disfa": (facs.DISFA, list_trees.DISFA, DISFA),
}


@pytest.fixture
def lists_dir(tmp_path):
    return list_trees.write(tmp_path / "lists", facs.BP4D, list_trees.BP4D, BP4D)


def change(root, side, kind, fold, edit):
    file = list_file(root, list_trees.BP4D, side, kind, fold)
    lines = file.read_text().splitlines()
    edit(lines)
    file.write_text("\n".join(lines) + "\n")


def line_of(root, side, fold, image):
    file = list_file(root, list_trees.BP4D, side, "img_path", fold)
    return 1 + file.read_text().splitlines().index(image)


def texts(lists):
    return [str(problem) for problem in lists.problems]


@pytest.mark.parametrize("name", SETS)
def test_lists_give_back_the_videos_that_they_were_written_from(name, tmp_path):
    au_set, spelling, videos = SETS[name]
    lists = reference_lists.read_lists(list_trees.write(tmp_path, au_set, spelling, videos))
    assert lists.au_set == au_set
    assert not lists.problems
    assert not lists.notes
    assert lists.region_mismatches == ()
    everything = {v: list_trees.video(au_set, v, numbers) for v, numbers in videos.items()}
    for fold, halves in statistics.in_folds(list(everything.values())).items():
        read = lists.folds[fold]
        for half, expected in zip((read.train, read.test), halves, strict=True):
            assert [v.name for v in half.videos] == [v.name for v in expected]
            for video, wanted in zip(half.videos, expected, strict=True):
                assert (video.subject, video.part) == (wanted.subject, wanted.part)
                np.testing.assert_array_equal(video.frame_numbers, wanted.frame_numbers)
                np.testing.assert_array_equal(video.labels, wanted.labels)
        rates = np.concatenate([v.labels for v in halves[0]]).mean(0)
        np.testing.assert_allclose(read.weights, (1 / rates) / (1 / rates).mean(), atol=5e-7)
    first = lists.folds[1].test.listed[0]
    assert first.images[0] == ("F007/T1/643.jpg" if name == "bp4d" else "SN003/SN003_0.png")
    assert first.first_line == 1


@pytest.mark.parametrize("path", ["img_path", "path"])
@pytest.mark.parametrize("prefix", ["DISFA", "disfa", "Disfa"])
def test_both_names_of_the_image_lists_and_any_case_are_understood(tmp_path, prefix, path):
    spelling = list_trees.Spelling(
        prefix, path, list_trees.DISFA.image, line_end="\r\n", final_line_end=False
    )
    lists = reference_lists.read_lists(list_trees.write(tmp_path, facs.DISFA, spelling, DISFA))
    assert not lists.problems
    assert len(lists.folds) == 3


def test_labels_may_be_written_as_decimals(lists_dir):
    file = list_file(lists_dir, list_trees.BP4D, "test", "label", 1)
    file.write_text(file.read_text().replace("0", "0.0").replace("1", "1.000000e+00"))
    assert not reference_lists.read_lists(lists_dir).problems


def test_region_labels_and_weights_may_be_missing(lists_dir):
    for file in [*lists_dir.glob("*sub_label*"), *lists_dir.glob("*weight*")]:
        file.unlink()
    lists = reference_lists.read_lists(lists_dir)
    assert not lists.problems
    assert lists.region_mismatches is None
    assert lists.folds[1].weights is None


def test_region_labels_that_do_not_follow_are_told_by_line(lists_dir):
    def edit(lines):
        cells = lines[4].split()
        cells[2] = str((int(cells[2]) + 1) % 8)
        lines[4] = " ".join(cells)

    change(lists_dir, "train", "sub_label", 2, edit)
    lists = reference_lists.read_lists(lists_dir)
    assert not lists.problems
    (mismatch,) = lists.region_mismatches
    assert (mismatch.video, mismatch.line) == ("F001_T1", 5)
    assert re.search(
        r"train_sub_label_fold2.txt, line 5: region label down1 is \d, but AU12=\d AU14=", str(mismatch)
    )


def test_parts_other_than_the_tables_are_a_note(tmp_path):
    # The folds of another study: F007 is tested where the table tests part 1.
    videos = {name: numbers for name, numbers in BP4D.items() if not name.startswith("F007")}
    au_set, spelling, _ = SETS["bp4d"]
    root = list_trees.write(tmp_path, au_set, spelling, videos)
    for file in root.glob("*path*"):
        file.write_text(file.read_text().replace("M007/", "F007/"))
    lists = reference_lists.read_lists(root)
    assert not lists.problems
    assert lists.notes == ("subject F007 is in part1 of the lists, but in part3 of the AU table",)


def append(line):
    return lambda lines: lines.append(line)


def test_more_images_than_labels(lists_dir):
    change(lists_dir, "train", "img_path", 1, append("M005/T1/1.jpg"))
    found = texts(reference_lists.read_lists(lists_dir))
    count = sum(map(len, (numbers for name, numbers in BP4D.items() if name[:4] not in ("F007", "F015"))))
    expected = (
        f"train_label_fold1.txt, line {count + 1}: has {count} lines, but BP4D_train_img_path_fold1.txt has"
    )
    assert any(expected in text for text in found), found
    assert any("train_sub_label_fold1.txt" in text for text in found), found


BAD_LINES = {
    "label of 2": (
        "label",
        lambda line: "2" + line[1:],
        r"label_fold1.txt, line 7: found '2 .*expected 12 of 0, 1",
    ),
    "label of -1": ("label", lambda line: "-1" + line[1:], r"label_fold1.txt, line 7: found '-1 "),
    "label of nan": ("label", lambda line: "nan" + line[1:], r"label_fold1.txt, line 7: found 'nan "),
    "a word": ("label", lambda line: "x" + line[1:], r"label_fold1.txt, line 7: found 'x "),
    "too few labels": (
        "label",
        lambda line: line[2:],
        r"label_fold1.txt, line 7: found .*expected 12 of 0, 1",
    ),
    "empty line": ("label", lambda line: "", r"label_fold1.txt, line 7: found ''"),
    "region too large": (
        "sub_label",
        lambda line: "16" + line[1:],
        r"sub_label_fold1.txt, line 7: .* 4 whole numbers",
    ),
    "other image": (
        "img_path",
        lambda line: "x.jpg",
        r"fold1.txt, line 7: found 'x.jpg', expected .* F007/T1/643.jpg",
    ),
    "out of order": (
        "img_path",
        lambda line: "F001/T1/2440.jpg",
        r"fold1.txt, line 7: frame 2440 follows frame 2445",
    ),
    "other video between": (
        "img_path",
        lambda line: "F001/T3/1.jpg",
        r"line 8: the video comes again after line 1",
    ),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_lines_are_told_by_file_and_line(lists_dir, case):
    kind, edit, message = BAD_LINES[case]
    change(lists_dir, "train", kind, 1, lambda lines: lines.__setitem__(6, edit(lines[6])))
    found = texts(reference_lists.read_lists(lists_dir))
    assert any(re.search(message, text) for text in found), found


def test_an_image_with_other_labels_in_another_list_is_told(lists_dir):
    line = line_of(lists_dir, "train", 2, "F007/T1/650.jpg")

    def flip(lines):
        lines[line - 1] = " ".join(str(1 - int(cell)) for cell in lines[line - 1].split())

    change(lists_dir, "train", "label", 2, flip)
    lists = reference_lists.read_lists(lists_dir)
    (text,) = texts(lists)
    assert f"train_img_path_fold2.txt, line {line}: F007/T1/650.jpg has other labels in " in text
    assert "BP4D_test_img_path_fold1.txt, line 8" in text
    # Its region labels are now wrong too.
    assert {mismatch.line for mismatch in lists.region_mismatches} == {line}


def test_a_frame_missing_from_one_list_is_told(lists_dir):
    line = line_of(lists_dir, "train", 2, "F007/T1/679.jpg")
    for kind in ("img_path", "label", "sub_label"):
        change(lists_dir, "train", kind, 2, lambda lines: lines.pop(line - 1))
    (text,) = texts(reference_lists.read_lists(lists_dir))
    assert "frames of this video differ from those in BP4D_test_img_path_fold1.txt, first frame 679" in text


def test_a_subject_in_training_and_test_of_a_fold_is_told(lists_dir):
    for kind in ("img_path", "label", "sub_label"):
        tested = list_file(lists_dir, list_trees.BP4D, "test", kind, 1).read_text().splitlines()
        change(lists_dir, "train", kind, 1, lambda lines, tested=tested: lines.extend(tested[:5]))
    found = texts(reference_lists.read_lists(lists_dir))
    assert any("subject F007 is in the training and in the test list of fold 1" in text for text in found), (
        found
    )


def test_a_subject_tested_twice_is_told(lists_dir):
    for kind in ("img_path", "label", "sub_label"):
        lines = list_file(lists_dir, list_trees.BP4D, "test", kind, 1).read_text().splitlines()[:37]
        change(lists_dir, "test", kind, 2, lambda found, lines=lines: found.extend(lines))
    found = texts(reference_lists.read_lists(lists_dir))
    assert any("subject F007 is tested in fold 1 already" in text for text in found), found


def test_a_video_missing_from_a_fold_is_told(lists_dir):
    for kind in ("img_path", "label", "sub_label"):
        # F015_T2 is the last video.
        change(lists_dir, "train", kind, 3, lambda lines: lines.__delitem__(slice(-17, None)))
    (text,) = texts(reference_lists.read_lists(lists_dir))
    assert text.startswith("F015_T2: ")
    assert text.endswith("the video is here, but in no list of fold 3")


def test_a_missing_list_is_told(lists_dir):
    list_file(lists_dir, list_trees.BP4D, "test", "label", 2).unlink()
    lists = reference_lists.read_lists(lists_dir)
    assert texts(lists)[0].endswith("BP4D_test_label_fold2.txt: the list is missing")
    assert sorted(lists.folds) == [1, 3]


def test_empty_lists_wrong_weights_and_unknown_folds_are_told(lists_dir):
    list_file(lists_dir, list_trees.BP4D, "test", "label", 3).write_text("")
    list_file(lists_dir, list_trees.BP4D, "train", "weight", 1).write_text("1.0\t2.0\n")
    list_file(lists_dir, list_trees.BP4D, "train", "label", 4).write_text("0\n")
    found = "\n".join(texts(reference_lists.read_lists(lists_dir)))
    assert "BP4D_test_label_fold3.txt: is empty" in found
    assert "BP4D_train_weight_fold1.txt, line 1: found '1.0 2.0', expected 12 positive numbers" in found
    assert "BP4D_train_label_fold4.txt: there are folds (1, 2, 3), not 4" in found


def test_the_same_list_under_two_names_is_told(lists_dir):
    file = list_file(lists_dir, list_trees.BP4D, "test", "img_path", 1)
    shutil.copy(file, file.with_name("BP4D_test_path_fold1.txt"))
    assert any("is the same list" in text for text in texts(reference_lists.read_lists(lists_dir)))


def test_many_bad_lines_are_counted_not_all_listed(lists_dir):
    change(lists_dir, "test", "label", 1, lambda lines: lines.__setitem__(slice(0, 20), ["?"] * 20))
    found = [text for text in texts(reference_lists.read_lists(lists_dir)) if "test_label_fold1" in text]
    assert len(found) == 6
    assert found[-1].endswith("line 6: and 15 more such lines")


def test_folders_without_lists_of_one_data_set_are_refused(lists_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        reference_lists.read_lists(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"holds no lists such as .*there are some in .*/lists"):
        reference_lists.read_lists(lists_dir.parent)
    list_trees.write(lists_dir, facs.DISFA, list_trees.DISFA, DISFA)
    with pytest.raises(ValueError, match="holds lists of bp4d, disfa; expected those of one"):
        reference_lists.read_lists(lists_dir)
    assert reference_lists.has_lists(lists_dir)
    assert not reference_lists.has_lists(lists_dir.parent)
