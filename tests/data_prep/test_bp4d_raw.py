import pickle
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from data_prep import bp4d_raw
from data_prep.raw import unlabelled_notes
from mdhr_jax import facs
from mdhr_jax.faces.video_file import FrameError
from tests.data_prep import raw_trees
from tests.data_prep.raw_trees import Bp4dVideo, read_number

VIDEOS = (
    Bp4dVideo("F001_T1", range(2440, 2446), unlabelled=range(2430, 2440)),
    Bp4dVideo("F001_T2", range(5), unlabelled=[5, 6, 10], width=4),
    Bp4dVideo("F001_T10", range(640, 646), suffix=".JPG"),
    Bp4dVideo("M011_T1", range(8, 13), width=3, suffix=".jpeg"),
)


@pytest.fixture
def tree(tmp_path):
    return raw_trees.write_bp4d(tmp_path / "BP4D", VIDEOS, size=(104, 139))


def codes(tree, name="F001_T1"):
    return tree / f"AUCoding/AU_OCC/{name}.csv"


def change_lines(file, change):
    lines = file.read_text().splitlines()
    change(lines)
    file.write_text("\n".join(lines) + "\n")


def column(au):
    return 1 + raw_trees.BP4D_COLUMNS.index(au)


def set_cell(lines, line, column, value):
    cells = lines[line - 1].split(",")
    cells[column] = value
    lines[line - 1] = ",".join(cells)


def texts(scan):
    return [str(problem) for problem in scan.problems]


def test_labels_end_on_the_frames_of_their_number(tree):
    scan = bp4d_raw.scan(tree)
    assert scan.au_set is facs.BP4D
    assert not scan.problems
    assert [video.name for video in scan.videos] == ["F001_T1", "F001_T2", "F001_T10", "M011_T1"]
    for video, written in zip(scan.videos, VIDEOS, strict=True):
        assert (video.subject, video.fps) == (written.name.split("_")[0], 25.0)
        assert [read_number(frame) for frame in video.frames()] == list(written.numbers)
        np.testing.assert_array_equal(video.frame_numbers, written.numbers)
        np.testing.assert_array_equal(video.labels, written.all_labels())
        assert not video.notes
        assert video.sources[0] == codes(tree, written.name)
    missing = "F002, F003, F004, F005, F006 and 34 more"
    assert scan.notes == (f"39 of the 41 subjects of BP4D are missing: {missing}",)


def test_frames_are_of_the_recording_and_may_be_reduced(tmp_path):
    faces = raw_trees.faces(2)
    tree = raw_trees.write_bp4d(
        tmp_path, [Bp4dVideo("F001_T1", [9, 10], faces=faces)], size=raw_trees.BP4D_SIZE
    )
    (video,) = bp4d_raw.scan(tree).videos
    whole = list(video.frames())
    assert [frame.shape for frame in whole] == [(1392, 1040, 3)] * 2
    assert whole[0].dtype == np.uint8
    expected = raw_trees.frame(9, raw_trees.BP4D_SIZE, faces[0])
    assert np.abs(whole[0].astype(int) - expected).mean() < 2
    for reduce in (2, 4, 8):
        reduced = list(video.frames(reduce))
        assert [frame.shape for frame in reduced] == [(1392 // reduce, 1040 // reduce, 3)] * 2
        assert [read_number(frame) for frame in reduced] == [9, 10]
    with pytest.raises(ValueError, match="not 3"):
        video.frames(3)


@pytest.mark.parametrize("size", [(7, 9), (101, 33), (16, 8)])
def test_reduced_sizes_are_rounded_up(tmp_path, size):
    tree = raw_trees.write_bp4d(tmp_path, [Bp4dVideo("F001_T1", [1])], size=size)
    (video,) = bp4d_raw.scan(tree).videos
    for reduce in (1, 2, 4, 8):
        (frame,) = video.frames(reduce)
        assert frame.shape == (-(-size[1] // reduce), -(-size[0] // reduce), 3)


def test_videos_can_be_sent_to_other_processes(tree):
    video = pickle.loads(pickle.dumps(bp4d_raw.scan(tree).videos[0]))
    assert [read_number(frame) for frame in video.frames()] == list(VIDEOS[0].numbers)


@pytest.mark.parametrize("given", ["..", ".", "2D+3D", "AUCoding", "AUCoding/AU_OCC"])
def test_the_tree_is_found_from_around_and_from_inside(tree, given):
    scan = bp4d_raw.scan(tree / given)
    assert len(scan.videos) == 4
    assert not scan.problems


@pytest.mark.parametrize(
    ("pictures", "labels"), [("2D+3D", "AU_OCC"), (".", "AUCoding/AU_OCC"), ("2d+3d", "aucoding/au_occ")]
)
def test_other_arrangements_are_found(tmp_path, pictures, labels):
    raw_trees.write_bp4d(tmp_path, VIDEOS[:2], size=(104, 139), pictures=pictures, codes=labels)
    assert len(bp4d_raw.scan(tmp_path).videos) == 2


def test_upper_and_lower_case_do_not_matter(tree):
    (tree / "2D+3D/F001/T1").rename(tree / "2D+3D/F001/t1")
    codes(tree).rename(tree / "AUCoding/AU_OCC/f001_t1.CSV")
    scan = bp4d_raw.scan(tree)
    assert not scan.problems
    assert scan.videos[0].name == "F001_T1"


def test_what_is_no_frame_is_left_alone(tree):
    folder = tree / "2D+3D/F001/T1"
    for name in ("Thumbs.db", "._2440.jpg", "2440.png", "2441_depth.jpg"):
        (folder / name).write_bytes(b"not a frame")
    scan = bp4d_raw.scan(tree)
    assert not scan.problems
    assert len(list(scan.videos[0].frames())) == 6


def test_nine_is_unknown_and_is_told(tmp_path):
    labels = np.ones((4, 12), np.int8)
    labels[1], labels[2, 3] = -1, -1
    raw_trees.write_bp4d(tmp_path, [Bp4dVideo("F001_T1", range(4), labels)], size=(104, 139))
    (video,) = bp4d_raw.scan(tmp_path).videos
    np.testing.assert_array_equal(video.labels, labels)
    assert "unknown) in 2 of 4 frames: AU1 1, AU2 1, AU4 1, AU6 2" in video.notes[0]
    assert video.notes[1] == "1 of 4 frames have no known label of these AUs"


def test_rows_out_of_order_are_sorted_with_their_frames(tree):
    def swap(lines):
        lines[1], lines[4] = lines[4], lines[1]

    change_lines(codes(tree), swap)
    video = bp4d_raw.scan(tree).videos[0]
    np.testing.assert_array_equal(video.labels, VIDEOS[0].all_labels())
    assert [read_number(frame) for frame in video.frames()] == list(range(2440, 2446))
    assert "sorted" in video.notes[0]


def test_headers_may_say_au_and_lines_end_as_in_windows(tree):
    file = codes(tree)
    lines = file.read_text().splitlines()
    lines[0] = ",".join(["frame", *(f"AU{au:02d}" for au in raw_trees.BP4D_COLUMNS)])
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    scan = bp4d_raw.scan(tree)
    assert not scan.problems
    np.testing.assert_array_equal(scan.videos[0].labels, VIDEOS[0].all_labels())


def test_gaps_of_the_labels_are_told(tree):
    change_lines(codes(tree), lambda lines: lines.pop(3))
    video = bp4d_raw.scan(tree).videos[0]
    assert video.frame_numbers.tolist() == [2440, 2441, 2443, 2444, 2445]
    assert video.notes == ("the labelled frames have 1 gap(s)",)


SPOILT = {
    "no label file": (lambda t: codes(t).unlink(), r"F001_T1.csv: the label file is missing"),
    "no frames folder": (
        lambda t: shutil.rmtree(t / "2D+3D/F001/T1"),
        r"2D\+3D/F001/T1: the folder .* missing",
    ),
    "no frames": (
        lambda t: [file.unlink() for file in (t / "2D+3D/F001/T1").iterdir()],
        r"2D\+3D/F001/T1: there are no frames",
    ),
    "no such AU": (
        lambda t: change_lines(codes(t), lambda lines: set_cell(lines, 1, column(12), "99")),
        r"F001_T1.csv, line 1: .*missing or there more than once: 12$",
    ),
    "AU twice": (
        lambda t: change_lines(codes(t), lambda lines: set_cell(lines, 1, column(5), "23")),
        r"F001_T1.csv, line 1: .*more than once: 23$",
    ),
    "empty file": (lambda t: codes(t).write_text(""), r"F001_T1.csv, line 1: the first row .* found nothing"),
    "no rows": (
        lambda t: change_lines(codes(t), lambda lines: lines.__delitem__(slice(1, None))),
        r"F001_T1.csv: there is no row of labels",
    ),
    "not text": (lambda t: codes(t).write_bytes(b"\xff\xfe\x00"), r"F001_T1.csv: cannot be read as CSV"),
    "frame twice": (
        lambda t: change_lines(codes(t), lambda lines: lines.append(lines[2])),
        r"F001_T1.csv, line 8: frame 2441 has labels in line 3 already",
    ),
    "file twice": (
        lambda t: shutil.copy(t / "2D+3D/F001/T1/2440.jpg", t / "2D+3D/F001/T1/02440.jpg"),
        r"2440.jpg, frame 2440: has the same frame number as 02440.jpg",
    ),
    "strange label": (
        lambda t: change_lines(codes(t), lambda lines: set_cell(lines, 4, column(10), "x")),
        r"F001_T1.csv, line 4: AU10 is 'x', expected 0, 1, or 9",
    ),
    "intensity instead of presence": (
        lambda t: change_lines(codes(t), lambda lines: set_cell(lines, 4, column(10), "3")),
        r"F001_T1.csv, line 4: AU10 is '3'",
    ),
    "strange number": (
        lambda t: change_lines(codes(t), lambda lines: set_cell(lines, 3, 0, "24x1")),
        r"F001_T1.csv, line 3: the frame number '24x1'",
    ),
    "huge number": (
        lambda t: change_lines(codes(t), lambda lines: set_cell(lines, 3, 0, "9" * 12)),
        r"F001_T1.csv, line 3: the frame number 9+ is too large",
    ),
    "short row": (
        lambda t: change_lines(codes(t), lambda lines: lines.__setitem__(5, lines[5].rpartition(",")[0])),
        r"F001_T1.csv, line 6: there are \d+ columns, but \d+ in the first row",
    ),
    "labels beyond the frames": (
        lambda t: [(t / f"2D+3D/F001/T1/{number}.jpg").unlink() for number in (2444, 2445)],
        r"F001_T1.csv, line 6: frames 2444 to 2445 have labels but no picture; the last frame .* is 2443.jpg",
    ),
    "a frame missing": (
        lambda t: (t / "2D+3D/F001/T1/2442.jpg").unlink(),
        r"F001_T1.csv, line 4: frame 2442 has labels but no picture in",
    ),
    "two folders": (
        lambda t: shutil.copytree(t / "2D+3D/F001/T1", t / "2D+3D/F001/t1"),
        r"t1: there is another folder of frames of this video",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_only_a_spoilt_video_is_left_out_and_the_file_and_line_are_told(tree, case):
    spoil, message = SPOILT[case]
    spoil(tree)
    scan = bp4d_raw.scan(tree)
    assert scan.skipped == ("F001_T1",)
    assert [video.name for video in scan.videos] == ["F001_T2", "F001_T10", "M011_T1"]
    assert any(re.search(message, text) for text in texts(scan)), texts(scan)
    with pytest.raises(ValueError, match=message) as stopped:
        scan.raise_if_any(tree)
    assert "problem(s) in" in str(stopped.value)


def test_many_bad_lines_are_counted_not_all_listed(tree):
    numbers = range(1, 31)
    raw_trees.write_bp4d(tree, [Bp4dVideo("F001_T3", numbers)], size=(104, 139))
    change_lines(
        codes(tree, "F001_T3"), lambda lines: [set_cell(lines, i, column(1), "?") for i in range(2, 22)]
    )
    problems = texts(bp4d_raw.scan(tree))
    assert len(problems) == 6
    assert problems[-1].endswith("and 15 more lines that cannot be read")


def test_subjects_that_no_fold_knows_are_left_out(tmp_path):
    raw_trees.write_bp4d(tmp_path, [Bp4dVideo("F001_T1", [1]), Bp4dVideo("F082_T1", [1])], size=(104, 139))
    scan = bp4d_raw.scan(tmp_path)
    assert scan.skipped == ("F082_T1",)
    assert "no subject 'F082'" in texts(scan)[0]


@pytest.mark.parametrize("keep", [0, 1, 20, 0.5, 0.95])
def test_damaged_pictures_are_told_by_file_and_frame(tree, keep):
    file = tree / "2D+3D/F001/T1/2442.jpg"
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    frames = bp4d_raw.scan(tree).videos[0].frames()
    assert [read_number(next(frames)) for _ in range(2)] == [2440, 2441]
    with pytest.raises(FrameError, match=r"T1/2442.jpg, frame 2442: is not a readable picture") as damaged:
        next(frames)
    copy = pickle.loads(pickle.dumps(damaged.value))
    assert (copy.file, copy.frame, str(copy)) == (file, 2442, str(damaged.value))


def test_a_picture_deleted_since_the_scan_is_told(tree):
    video = bp4d_raw.scan(tree).videos[0]
    (tree / "2D+3D/F001/T1/2440.jpg").unlink()
    with pytest.raises(FrameError, match=r"2440.jpg, frame 2440: .*No such file"):
        next(video.frames())


def test_grey_pictures_become_rgb(tree):
    file = tree / "2D+3D/F001/T1/2440.jpg"
    Image.open(file).convert("L").save(file)
    frame = next(bp4d_raw.scan(tree).videos[0].frames())
    assert frame.shape == (139, 104, 3)
    assert read_number(frame) == 2440


def test_folders_that_hold_no_bp4d_are_refused(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        bp4d_raw.scan(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is empty"):
        bp4d_raw.scan(tmp_path / "empty")
    shutil.rmtree(tree / "AUCoding")
    with pytest.raises(
        FileNotFoundError, match=r"holds no labels such as AUCoding/AU_OCC/F001_T1.csv; found 2D"
    ):
        bp4d_raw.scan(tree)
    shutil.rmtree(tree / "2D+3D")
    (tree / "readme.txt").write_text("")
    with pytest.raises(
        FileNotFoundError, match=r"holds no frames in folders such as 2D\+3D/F001/T1; found readme"
    ):
        bp4d_raw.scan(tree)


def test_two_trees_side_by_side_are_ambiguous(tree):
    shutil.copytree(tree, tree.parent / "copy")
    with pytest.raises(ValueError, match=r"more than once: .*BP4D.*copy"):
        bp4d_raw.scan(tree.parent)


def test_pictures_without_a_label_are_counted_and_a_cut_off_file_is_told(tmp_path):
    videos = [
        Bp4dVideo("F001_T1", range(10, 60), unlabelled=range(5)),
        Bp4dVideo("F001_T2", range(60), unlabelled=range(60, 85)),
        Bp4dVideo("M011_T1", range(60)),
    ]
    tree = raw_trees.write_bp4d(tmp_path, videos, size=(52, 70))
    found = bp4d_raw.scan(tree).videos
    assert [video.unlabelled.tolist() for video in found] == [[*range(5)], [*range(60, 85)], []]
    assert unlabelled_notes(found) == ("30 of 200 pictures, in 2 of 3 videos, have no label: not used",)
    change_lines(codes(tree, "M011_T1"), lambda lines: lines.__delitem__(slice(31, None)))
    found = bp4d_raw.scan(tree).videos
    assert [video.unlabelled_at_end for video in found] == [0, 25, 30]
    count, warning = unlabelled_notes(found)
    assert count.startswith("60 of 200 pictures")
    assert "(M011_T1 30 after 30 labelled)" in warning
    assert warning.startswith(
        "warning: labels end more than 1 s and 10% of their number before the pictures do"
    )
    assert unlabelled_notes(found[:0]) == ()
