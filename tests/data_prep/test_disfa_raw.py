import pickle
import re
import shutil
import sys

import numpy as np
import pytest

from data_prep import disfa_raw
from mdhr_jax import facs
from mdhr_jax.faces import video_file
from mdhr_jax.faces.video_file import FrameError
from tests.data_prep import raw_trees
from tests.data_prep.raw_trees import DisfaVideo, read_number

VIDEOS = (
    DisfaVideo("SN001", 12),
    DisfaVideo("SN002", 10, suffix="_Comp.AVI", codec="mjpeg", line_end="\r\n", final_line_end=False),
)


@pytest.fixture
def tree(tmp_path):
    return raw_trees.write_disfa(tmp_path / "DISFA", VIDEOS)


def video_of(tree, name="SN001"):
    return tree / f"Videos_LeftCamera/LeftVideo{name}_comp.avi"


def labels_of(tree, au=1, name="SN001"):
    return tree / f"ActionUnit_Labels/{name}/{name}_au{au}.txt"


def in_its_place(path, name=None):
    """A folder in place of a file, or the other way round, perhaps of another name."""
    to = path.with_name(name or path.name)
    if path.is_dir():
        shutil.rmtree(path)
        to.write_text("")
    else:
        path.unlink()
        to.mkdir()


def change_lines(file, change):
    lines = file.read_text().splitlines()
    change(lines)
    file.write_text("\n".join(lines))


def change_all(tree, change, name="SN001"):
    for au in raw_trees.DISFA_AUS:
        change_lines(labels_of(tree, au, name), change)


def numbers_read(video):
    return [read_number(frame) for frame in video.frames()]


def announce(file, frames):
    """Writes another number of frames into the header of the stream, where the demuxer reads it."""
    content = bytearray(file.read_bytes())
    place = content.index(b"strh") + 8 + 32
    content[place : place + 4] = frames.to_bytes(4, "little")
    file.write_bytes(content)


def test_labels_end_on_the_frames_of_their_number(tree):
    scan = disfa_raw.scan(tree)
    assert scan.au_set is facs.DISFA
    assert not scan.problems
    assert [video.name for video in scan.videos] == ["SN001", "SN002"]
    for video, written in zip(scan.videos, VIDEOS, strict=True):
        assert (video.subject, video.fps, video.notes) == (written.name, 20.0, ())
        assert numbers_read(video) == video.frame_numbers.tolist() == list(range(1, written.num_frames + 1))
        np.testing.assert_array_equal(video.labels, written.labels())
        assert [file.name for file in video.sources][1:] == [
            f"{video.name}_au{au}.txt" for au in facs.DISFA.aus
        ]
    assert "25 of the 27 subjects of DISFA are missing: SN003" in scan.all_notes[0]


def test_frames_have_the_size_of_the_recording(tmp_path):
    faces = raw_trees.faces(3, like="disfa")
    raw_trees.write_disfa(tmp_path, [DisfaVideo("SN001", 3, faces=faces)], size=raw_trees.DISFA_SIZE)
    (video,) = disfa_raw.scan(tmp_path).videos
    whole = list(video.frames())
    assert [frame.shape for frame in whole] == [(768, 1024, 3)] * 3
    for number, frame in enumerate(whole, start=1):
        expected = raw_trees.frame(number, raw_trees.DISFA_SIZE, faces[number - 1])
        assert np.abs(frame.astype(int) - expected).mean() < 4
    assert [frame.shape for frame in video.frames(4)] == [(192, 256, 3)] * 3


def test_frames_that_are_stored_out_of_order_come_in_order(tree):
    pictures = (raw_trees.frame(number, (256, 192)) for number in range(1, 13))
    raw_trees.write_avi(video_of(tree), pictures, (256, 192), b_frames=2)
    assert numbers_read(disfa_raw.scan(tree).videos[0]) == list(range(1, 13))


@pytest.mark.parametrize("threshold", [1, 3, 5])
def test_an_au_is_present_from_the_threshold_on(tree, threshold):
    for video, written in zip(disfa_raw.scan(tree, threshold=threshold).videos, VIDEOS, strict=True):
        np.testing.assert_array_equal(video.labels, written.labels(threshold))


@pytest.mark.parametrize("threshold", [0, 6])
def test_a_threshold_outside_the_intensities_is_refused(tree, threshold):
    with pytest.raises(ValueError, match=f"must be 1 to 5: {threshold}"):
        disfa_raw.scan(tree, threshold=threshold)


def test_the_right_camera_is_an_option(tree):
    with pytest.raises(FileNotFoundError, match="no videos such as Videos_RightCamera/RightVideoSN001"):
        disfa_raw.scan(tree, "right")
    raw_trees.write_disfa(tree, [VIDEOS[0]], camera="Right")
    scan = disfa_raw.scan(tree, "right")
    assert scan.videos[0].sources[0].name == "RightVideoSN001_comp.avi"
    # Labels without a video of that camera.
    assert scan.skipped == ("SN002",)
    assert [video.name for video in disfa_raw.scan(tree).videos] == ["SN001", "SN002"]
    with pytest.raises(ValueError, match="left or right, found 'both'"):
        disfa_raw.scan(tree, "both")


@pytest.mark.parametrize("given", ["..", ".", "Videos_LeftCamera", "ActionUnit_Labels"])
def test_the_tree_is_found_from_around_and_from_inside(tree, given):
    # The distribution has other folders with a folder for each subject.
    (tree / "Landmark_Points/SN001").mkdir(parents=True)
    (tree / "Landmark_Points/SN001/SN001_0000_lm.txt").write_text("")
    assert len(disfa_raw.scan(tree / given).videos) == 2


def test_videos_can_be_sent_to_other_processes(tree):
    video = pickle.loads(pickle.dumps(disfa_raw.scan(tree).videos[0]))
    assert numbers_read(video) == list(range(1, 13))


def test_a_video_longer_than_its_labels_is_cut_at_the_end_and_told(tmp_path):
    written = DisfaVideo("SN010", 11, num_labels=10)
    (video,) = disfa_raw.scan(raw_trees.write_disfa(tmp_path, [written])).videos
    assert numbers_read(video) == list(range(1, 11))
    np.testing.assert_array_equal(video.labels, written.labels())
    assert video.notes == ("the video has 11 frames, the labels 10: the last frames are left out",)


def test_labels_longer_than_their_video_are_cut_at_the_end_and_told(tmp_path):
    written = DisfaVideo("SN010", 10, num_labels=11)
    (video,) = disfa_raw.scan(raw_trees.write_disfa(tmp_path, [written])).videos
    assert numbers_read(video) == list(range(1, 11))
    np.testing.assert_array_equal(video.labels, written.labels()[:10])
    assert video.notes == ("the video has 10 frames, the labels 11: the last labels are left out",)


@pytest.mark.parametrize(("labels", "line"), [(4, 4), (8, 8), (12, 11), (13, 11)])
def test_videos_and_labels_more_than_a_frame_apart_do_not_belong_together(tmp_path, labels, line):
    tree = raw_trees.write_disfa(tmp_path, [DisfaVideo("SN010", 10, num_labels=labels)])
    scan = disfa_raw.scan(tree)
    assert not scan.videos
    (problem,) = scan.problems
    where = f"SN010: {labels_of(tree, 1, 'SN010')}, line {line}: "
    assert str(problem).startswith(
        f"{where}the labels of this and the other AUs go up to frame {labels}, but "
    )
    assert "SN010_comp.avi 10 frames could be read; video and labels do not" in str(problem)
    # In another order the line is that of the label all the same.
    change_all(tree, lambda lines: lines.reverse(), "SN010")
    (problem,) = disfa_raw.scan(tree).problems
    assert problem.line == labels + 1 - line


@pytest.mark.parametrize("decoding", [False, True])
@pytest.mark.parametrize("announced", [0, 9, 14, 4000])
def test_a_header_that_lies_is_told_and_not_believed(tree, announced, decoding):
    announce(video_of(tree), announced)
    assert video_file.length(video_of(tree)).announced == announced
    video = disfa_raw.scan(tree, count_by_decoding=decoding).videos[0]
    assert numbers_read(video) == list(range(1, 13))
    expected = (
        () if not announced else (f"12 frames could be read of the {announced} that its header announces",)
    )
    assert video.notes == expected


def test_au_files_are_read_by_name_not_by_order(tree):
    # By directory order AU12 would come before AU2; an AU of no interest may be missing.
    labels_of(tree, 5).unlink()
    labels_of(tree, 12).rename(labels_of(tree, 12).with_name("sn001_AU012.TXT"))
    video = disfa_raw.scan(tree).videos[0]
    np.testing.assert_array_equal(video.labels, VIDEOS[0].labels())


def test_lines_may_be_in_any_order_and_have_gaps(tree):
    def change(lines):
        del lines[4]
        lines.reverse()
        lines += ["", "  "]

    change_all(tree, change)
    video = disfa_raw.scan(tree).videos[0]
    assert numbers_read(video) == [1, 2, 3, 4, *range(6, 13)]
    np.testing.assert_array_equal(video.labels, np.delete(VIDEOS[0].labels(), 4, 0))
    assert video.notes == ("the labels begin at frame 1 and have 1 gap(s)",)


SPOILT = {
    "no video": (lambda t: video_of(t).unlink(), r"LeftVideoSN001_comp.avi: the video is missing"),
    "two videos": (
        lambda t: shutil.copy(video_of(t), video_of(t).with_name("LeftVideoSN001.avi")),
        r"SN001_comp.avi: there is another video of this subject: .*SN001.avi",
    ),
    "no labels": (
        lambda t: shutil.rmtree(labels_of(t).parent),
        r"Labels/SN001: the folder of its labels is missing",
    ),
    "no AU file": (
        lambda t: labels_of(t, 25).unlink(),
        r"au25.txt: the file of the labels of AU25 is missing",
    ),
    "an AU file that is a folder": (
        lambda t: in_its_place(labels_of(t, 25)),
        r"SN001_au25.txt: is a folder, expected the file of the labels of AU25",
    ),
    "an AVI that is a folder": (
        lambda t: in_its_place(video_of(t), "LeftVideoSN001_Comp.avi"),
        r"LeftVideoSN001_Comp.avi: is a folder, expected the video",
    ),
    "labels in a file": (
        lambda t: in_its_place(labels_of(t).parent),
        r"Labels/SN001: is a file, expected the folder of its labels",
    ),
    "AU file of another subject": (
        lambda t: shutil.copy(labels_of(t, 1, "SN002"), labels_of(t).with_name("SN002_au1.txt")),
        r"SN002_au1.txt: labels of SN002 in the folder of SN001",
    ),
    "AU file twice": (
        lambda t: shutil.copy(labels_of(t, 1), labels_of(t).with_name("SN001_au01.txt")),
        r"SN001_au1.txt: there is another file of this AU: SN001_au01.txt",
    ),
    "shorter AU file": (
        lambda t: change_lines(labels_of(t, 6), lambda lines: lines.pop()),
        r"SN001_au6.txt: has 11 frames, up to 11, but SN001_au1.txt has 12, up to 12; .* frame 12$",
    ),
    "other numbers": (
        lambda t: change_lines(labels_of(t, 1), lambda lines: lines.__setitem__(0, "13,0")),
        r"SN001_au1.txt: has 12 frames, up to 13, but SN001_au2.txt has 12, up to 12; .* frame 1$",
    ),
    "from zero": (
        lambda t: change_lines(labels_of(t, 9), lambda lines: lines.insert(0, "0,0")),
        r"SN001_au9.txt, line 1: frames are numbered from 1, found 0",
    ),
    "no number": (
        lambda t: change_lines(labels_of(t, 4), lambda lines: lines.__setitem__(2, "3,x")),
        r"SN001_au4.txt, line 3: found '3,x', expected 'frame,intensity'",
    ),
    "negative": (
        lambda t: change_lines(labels_of(t, 4), lambda lines: lines.__setitem__(2, "3,-1")),
        r"SN001_au4.txt, line 3: found '3,-1'",
    ),
    "too strong": (
        lambda t: change_lines(labels_of(t, 4), lambda lines: lines.__setitem__(2, "3,6")),
        r"SN001_au4.txt, line 3: the intensity is 6, expected 0 to 5",
    ),
    "frame twice": (
        lambda t: change_lines(labels_of(t, 4), lambda lines: lines.append("3,2")),
        r"SN001_au4.txt, line 13: frame 3 is in line 3 already",
    ),
    "empty AU file": (lambda t: labels_of(t, 2).write_text("\n"), r"SN001_au2.txt: holds no labels"),
    "not text": (
        lambda t: labels_of(t, 2).write_bytes(b"\xff\xfe"),
        r"SN001_au2.txt: cannot be read as text",
    ),
    "no AVI": (
        lambda t: video_of(t).write_bytes(b"not a video" * 100),
        r"SN001_comp.avi: cannot be read as a video \(Invalid data",
    ),
    "empty AVI": (lambda t: video_of(t).write_bytes(b""), r"SN001_comp.avi: is empty \(0 bytes\)"),
    "truncated AVI": (
        lambda t: video_of(t).write_bytes(video_of(t).read_bytes()[: video_of(t).stat().st_size * 3 // 4]),
        r"SN001_comp.avi: .*it is cut off: \d+ of \d+ bytes are there; \d+ frames could be read of the 12",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_only_a_spoilt_video_is_left_out_and_the_file_and_line_are_told(tree, case):
    spoil, message = SPOILT[case]
    spoil(tree)
    scan = disfa_raw.scan(tree)
    texts = [str(problem) for problem in scan.problems]
    assert scan.skipped == ("SN001",)
    assert [video.name for video in scan.videos] == ["SN002"]
    assert any(re.search(message, text) for text in texts), texts
    with pytest.raises(ValueError, match=message):
        scan.raise_if_any(tree)


def test_many_bad_lines_are_counted_not_all_listed(tree):
    change_lines(labels_of(tree), lambda lines: lines.extend(["?"] * 9))
    texts = [str(problem) for problem in disfa_raw.scan(tree).problems]
    assert len(texts) == 6
    assert texts[-1].endswith("and 4 more lines that cannot be read")


def test_subjects_that_no_fold_knows_are_left_out(tmp_path):
    scan = disfa_raw.scan(raw_trees.write_disfa(tmp_path, [VIDEOS[0], DisfaVideo("SN099", 2)]))
    assert scan.skipped == ("SN099",)
    assert "no subject 'SN099'" in str(scan.problems[0])


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
def test_a_video_cut_off_since_the_scan_gives_its_whole_frames_and_an_error(tmp_path, codec):
    tree = raw_trees.write_disfa(tmp_path, [DisfaVideo("SN001", 40, codec=codec)])
    (video,) = disfa_raw.scan(tree).videos
    file = video.sources[0]
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 3 // 4])
    read = []
    with pytest.raises(FrameError) as stopped:
        read.extend(read_number(frame) for frame in video.frames())
    assert 10 <= len(read) < video.num_frames
    assert read == list(range(1, len(read) + 1))
    message = f"{file}, frame {len(read) + 1}: is not complete; frames read before it: {len(read)}. Copy"
    assert str(stopped.value).startswith(message)


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
def test_frames_lost_in_the_middle_do_not_shift_the_labels(tmp_path, codec):
    tree = raw_trees.write_disfa(tmp_path, [DisfaVideo("SN001", 40, codec=codec)])
    content = bytearray(video_of(tree).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
    video_of(tree).write_bytes(content)
    # All but a few frames can be decoded, but those behind the damage have lost their numbers.
    scan = disfa_raw.scan(tree)
    assert not scan.videos
    assert re.search(
        r"damaged: bytes \d+ to \d+, after frame \d+, are no frames; \d+ frames could be",
        str(scan.problems[0]),
    )


def test_without_pyav_the_extra_is_named(tree, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install mdhr_jax\[faces\]"):
        disfa_raw.scan(tree)


def test_folders_that_hold_no_disfa_are_refused(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder: there is nothing of that"):
        disfa_raw.scan(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"avi is not a folder but a file; expected the folder"):
        disfa_raw.scan(video_of(tree))
    shutil.rmtree(tree / "ActionUnit_Labels")
    with pytest.raises(
        FileNotFoundError, match=r"holds no labels such as ActionUnit_Labels/SN001/SN001_au1.txt"
    ):
        disfa_raw.scan(tree)
    shutil.rmtree(tree / "Videos_LeftCamera")
    with pytest.raises(ValueError, match="is empty"):
        disfa_raw.scan(tree)
