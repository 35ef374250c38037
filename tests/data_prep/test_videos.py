"""Anybody's videos: labels, subjects and parts from CSV files, an AU set of their own to train on."""

import functools
import json
import re
import shutil

import av
import numpy as np
import pytest
from PIL import Image

from data_prep import archives, bystanders, inspect, own_videos, raw, videos
from mdhr_jax import facs
from mdhr_jax.data import layout, own_sets, records
from mdhr_jax.faces import video_file

from . import prepared, raw_trees

SIZE = (320, 240)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two video files and a folder of pictures, two with labels, and the faces in them."""
    root = tmp_path_factory.mktemp("own")
    faces, points = prepared.numbered_faces(range(1, 21))
    (root / "raw").mkdir()
    pictures = [raw_trees.frame(number, SIZE, face) for number, face in enumerate(faces, start=1)]
    raw_trees.write_avi(root / "raw/anna_1.avi", iter(pictures), SIZE)
    raw_trees.write_avi(root / "raw/anna_2.avi", iter(pictures[:9]), SIZE)
    (root / "raw/bert_1").mkdir()
    for number in range(3, 13):
        Image.fromarray(pictures[number - 1]).save(root / f"raw/bert_1/frame_{number:05d}.png")
    (root / "labels").mkdir()
    (root / "labels/anna_1.csv").write_text(
        "frame,AU12_c,AU01,AU45\n" + "".join(f"{n},{n % 2},{'' if n == 5 else 1},1\n" for n in range(4, 15))
    )
    (root / "labels/bert_1.csv").write_text("frame,AU12\n3,1\n4,9\n5,-1\n")
    for name, first, last in (("anna_1", 1, 20), ("anna_2", 1, 9), ("bert_1", 3, 12)):
        places = prepared.in_picture(points[first - 1 : last], SIZE)
        prepared.write_detections(root / "found", name, range(first, last + 1), places)
    return root


def run(root, out, *more):
    arguments = ["--raw", root / "raw", "--labels", root / "labels", "--detections", root / "found"]
    return videos.main([*map(str, arguments), "--name", "mine", "--out", str(out), *more])


def test_labels_subjects_and_an_au_set_of_ones_own(recordings, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(facs, "AU_SETS", dict(facs.AU_SETS))
    assert run(recordings, tmp_path, "--unlabelled-ok") == 0
    told = capfd.readouterr().err
    assert "anna_2: warning: there is no " in told
    assert "anna_1: warning: anna_1.csv has no column of AU2, AU4" in told
    own_sets.register(tmp_path, "mine")
    au_set = facs.get("mine")
    assert au_set.parts == (("anna",), ("bert",), ())
    assert (au_set.aus, au_set.regions) == (facs.BP4D.aus, facs.BP4D.regions)
    opened = records.open_dataset(tmp_path, au_set, ("part1", "part2"))
    by_name = {video.name: video for video in opened.videos}
    assert by_name["anna_1"].frame_numbers.tolist() == list(range(4, 15))
    columns = [au_set.aus.index(au) for au in (1, 12)]
    expected = [[-1 if n == 5 else 1, n % 2] for n in range(4, 15)]
    assert by_name["anna_1"].labels[:, columns].tolist() == expected
    assert (np.delete(by_name["anna_1"].labels, columns, axis=1) == facs.UNKNOWN).all()
    assert by_name["anna_2"].frame_numbers.tolist() == list(range(1, 10))
    assert (by_name["anna_2"].labels == facs.UNKNOWN).all()
    assert by_name["bert_1"].frame_numbers.tolist() == [3, 4, 5]
    assert by_name["bert_1"].labels[:, columns[1]].tolist() == [1, -1, -1]
    assert inspect.main([str(tmp_path)]) == 0
    assert layout.read_metadata(tmp_path / "mine/1.0.0")["au_set"] == "mine"


def label_all(folder, names, aus=facs.BP4D.aus):
    """Labels with a column for each AU, of frames 3 and 4."""
    folder.mkdir()
    header = ",".join(["frame", *(f"AU{au}" for au in aus)])
    rows = [f"{number}" + ",1" * len(aus) for number in (3, 4)]
    for name in names:
        (folder / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize("strict", [False, True])
def test_labels_that_are_missing_are_not_taken_for_unknown(recordings, tmp_path, capfd, monkeypatch, strict):
    monkeypatch.setattr(facs, "AU_SETS", dict(facs.AU_SETS))
    label_all(tmp_path / "labels", ["anna_1", "anna_02"])
    label_all(tmp_path / "some", ["bert_1"], [au for au in facs.BP4D.aus if au != 12])
    shutil.move(tmp_path / "some/bert_1.csv", tmp_path / "labels")
    arguments = ["--raw", recordings / "raw", "--labels", tmp_path / "labels"]
    arguments += ["--detections", recordings / "found", "--out", tmp_path]
    more = ["--strict"] if strict else []
    assert videos.main([*map(str, arguments), "--name", "mine", *more]) == (2 if strict else 1)
    told = capfd.readouterr().err
    assert f"anna_2: {tmp_path}/labels/anna_2.csv: the label file is missing; " in told
    assert "bert_1.csv, line 1: has no column of AU12; " in told
    assert "no video has the name of anna_02.csv; not used" in told
    assert (tmp_path / "mine").exists() != strict
    if not strict:
        assert json.loads((tmp_path / "mine/1.0.0/manifest.json").read_text())["videos"].keys() == {"anna_1"}


def test_label_files_that_all_have_other_names_give_no_data_set(recordings, tmp_path, capfd):
    label_all(tmp_path / "labels", ["clip1", "clip2", "clip3", "clip4", "clip5", "clip6"])
    arguments = ["--raw", recordings / "raw", "--labels", tmp_path / "labels"]
    arguments += ["--detections", recordings / "found", "--out", tmp_path / "out"]
    assert videos.main([*map(str, arguments), "--name", "mine"]) == 2
    assert "clip4.csv, clip5.csv and 1 more; not used" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_among_the_videos_is_told(recordings, tmp_path):
    shutil.copytree(recordings / "raw", tmp_path / "raw")
    (tmp_path / "raw/carl_1").mkdir()
    (tmp_path / "raw/dora_1.avi").mkdir()
    # Not meant to be a video.
    (tmp_path / "raw/notes").mkdir()
    (tmp_path / "raw/notes/read.me").write_text("")
    persons = own_videos.read_persons(tmp_path / "raw", None)
    au_set = own_videos.make_set("mine", facs.BP4D, persons)
    scan = own_videos.scan(tmp_path / "raw", None, au_set, persons)
    assert [video.name for video in scan.videos] == ["anna_1", "anna_2", "bert_1"]
    (problem, other) = scan.problems
    assert str(problem).startswith(f"carl_1: {tmp_path}/raw/carl_1: the folder is empty, expected pictures")
    assert str(other).startswith(f"dora_1.avi: {tmp_path}/raw/dora_1.avi: is a folder, expected a video file")


def test_help_needs_nothing_else(capsys):
    with pytest.raises(SystemExit) as left:
        videos.main(["--help"])
    assert left.value.code == 0
    told = capsys.readouterr()
    assert not told.err
    for option in ("--name", "--raw", "--out", "--subjects", "--shard"):
        assert option in told.out


@pytest.mark.parametrize("missing", ["--raw", "--name", "--out"])
def test_what_must_be_given(missing, tmp_path, capsys):
    given = {"--raw": str(tmp_path), "--name": "mine", "--out": str(tmp_path / "out")}
    del given[missing]
    with pytest.raises(SystemExit) as left:
        videos.main([text for pair in given.items() for text in pair])
    assert left.value.code == 2
    assert f"the following arguments are required: {missing}" in capsys.readouterr().err


def test_subjects_and_parts_from_a_file(recordings, tmp_path, capsys):
    table = tmp_path / "subjects.csv"
    table.write_text("video,subject,part\nanna_1,A,part3\nanna_2,A,part3\nbert_1,B,\n")
    persons = own_videos.read_persons(recordings / "raw", table)
    au_set = own_videos.make_set("mine", facs.DISFA, persons)
    assert au_set.parts == (("B",), (), ("A",))
    told = capsys.readouterr().err
    assert "parts of the subjects, since no file says them: B part1" in told
    assert "nobody is in part2; folds that train or test on it cannot be run" in told
    assert au_set.aus == facs.DISFA.aus


def test_videos_that_are_not_named_after_their_subject(recordings, tmp_path, monkeypatch):
    # `data_prep.command` says the subjects when it calls `aligned.read_tree`.
    monkeypatch.setattr(facs, "AU_SETS", dict(facs.AU_SETS))
    (tmp_path / "raw").mkdir()
    shutil.copy(recordings / "raw/anna_2.avi", tmp_path / "raw/clip1.avi")
    (tmp_path / "found").mkdir()
    shutil.copy(recordings / "found/anna_2.csv", tmp_path / "found/clip1.csv")
    (tmp_path / "subjects.csv").write_text("video,subject,part\nclip1,anna,part2\n")
    named = {"raw": "raw", "subjects": "subjects.csv", "detections": "found", "out": "out"}
    arguments = [text for option, path in named.items() for text in (f"--{option}", str(tmp_path / path))]
    assert videos.main([*arguments, "--name", "mine"]) == 0
    own_sets.register(tmp_path / "out", "mine")
    (video,) = records.open_dataset(tmp_path / "out", facs.get("mine"), ("part2",)).videos
    assert (video.name, video.subject) == ("clip1", "anna")


WRONG_SUBJECTS = {
    "columns": ("video,person\n", r"lacks the column\(s\) subject"),
    "semicolons": ("video;subject\nanna_1;A\n", "video;subject; its columns are separated by semicolons"),
    "a video not named": ("video,subject\nanna_1,A\n", "does not name the video"),
    "twice": ("video,subject\nanna_1,A\nanna_1,A\n", "line 3: anna_1 is there a second time"),
    "a short row": ("video,subject\n\nclip1\n", "csv, line 3: found video 'clip1' and subject ''; give both"),
    "no video": ("video,subject\n,A\n", "line 2: found video '' and subject 'A'; give both"),
    "no CSV": ('video,subject\n"' + "x" * 200_000, r"subjects.csv cannot be read as CSV \(field larger"),
    "no such part": ("video,subject,part\nanna_1,A,part9\n", "line 2: part 'part9', expected one of part1"),
}


@pytest.mark.parametrize("case", WRONG_SUBJECTS)
def test_a_file_of_subjects_that_does_not_fit(recordings, tmp_path, case):
    text, message = WRONG_SUBJECTS[case]
    (tmp_path / "subjects.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        own_videos.read_persons(recordings / "raw", tmp_path / "subjects.csv")


def test_a_file_of_subjects_that_is_no_text(recordings, tmp_path):
    (tmp_path / "subjects.csv").write_bytes(b"video,subject\nanna_1,J\xf6rg\n")
    with pytest.raises(ValueError, match=r"subjects.csv cannot be read as CSV .*save it as CSV in UTF-8"):
        own_videos.read_persons(recordings / "raw", tmp_path / "subjects.csv")


def test_names_and_parts_that_cannot_be():
    persons = {"a": own_videos.Person("A", "part1"), "b": own_videos.Person("A", "part2")}
    with pytest.raises(ValueError, match="subject A is in part1 and, with video b, in part2"):
        own_videos.make_set("mine", facs.BP4D, persons)
    for name in ("bp4d", "My Videos", "1st"):
        with pytest.raises(ValueError, match="cannot be the name of a data set"):
            own_videos.make_set(name, facs.BP4D, {})


WRONG_LABELS = {
    "no frame column": ("AU1\n1\n", "line 1: the header must have the column frame once, found AU1"),
    "not a number": ("frame,AU1\nx,1\n", "line 2: 'x' is not a frame number, expected"),
    "semicolons": (
        "frame;AU1\n1;1\n",
        "line 1: .*found frame;AU1; its columns are separated by semicolons: save the file with commas",
    ),
    "tabulators": ("frame\tAU1\n1\t1\n", "separated by tabulators"),
    "a time": (
        "frame,AU1\n1706700000123,1\n",
        "csv, line 2: '1706700000123' is not a frame number, expected at most 9 digits",
    ),
    "twice": ("frame,AU1\n1,1\n1,1\n", "line 3: '1' is not a frame number of its own"),
    "cut off": ("frame,AU1,AU2\n1,1,1\n2,0", "line 3: has 2 columns, the header 3; an unknown label is an"),
    "too long": ("frame,AU1\n1,1,1\n", "line 2: has 3 columns, the header 2"),
    "an AU twice": (
        "frame,AU1,AU01_c\n1,1,1\n",
        "the columns AU1 and AU01_c are both AU1; leave one",
    ),
    "no AU": ("frame,smile\n1,1\n", "csv, line 1: has no column of any AU; expected some of AU1, AU2"),
    "strange label": ("frame,AU1\n1,2\n", "line 2: label '2', expected 0, 1, or 9 or -1"),
    "beyond the video": (
        "frame,AU1\n9,1\n10,1\n",
        "csv, line 3: frame 10 has labels, but .* has only 9 frames, the last 9; delete these",
    ),
    "far beyond the video": (
        "frame,AU1\n17,1\n9,1\n" + "".join(f"{n},1\n" for n in range(16, 9, -1)),
        "csv, line 10: frames 10, 11, 12, 13, 14 and 3 more have labels, but .* has only 9 frames",
    ),
    "nothing": ("frame,AU1\n", "there are no frames to use; expected a row for each"),
}


@pytest.mark.parametrize("case", WRONG_LABELS)
def test_labels_that_do_not_fit(recordings, tmp_path, case):
    text, message = WRONG_LABELS[case]
    shutil.copytree(recordings / "labels", tmp_path / "labels")
    (tmp_path / "labels/anna_2.csv").write_text(text)
    persons = own_videos.read_persons(recordings / "raw", None)
    au_set = own_videos.make_set("mine", facs.BP4D, persons)
    scan = own_videos.scan(recordings / "raw", tmp_path / "labels", au_set, persons, unlabelled_ok=True)
    assert [video.name for video in scan.videos] == ["anna_1", "bert_1"]
    (problem,) = scan.problems
    assert problem.video == "anna_2"
    assert re.search(message, str(problem)), str(problem)


def scan_of_pictures(folder, *names):
    """What is found in a folder with one video, of grey pictures with these names."""
    (folder / "clip1").mkdir()
    for name in names:
        Image.new("RGB", (32, 24)).save(folder / "clip1" / name)
    persons = own_videos.read_persons(folder, None)
    return own_videos.scan(folder, None, own_videos.make_set("mine", facs.BP4D, persons), persons)


def test_pictures_that_are_not_numbered(tmp_path):
    scan = scan_of_pictures(tmp_path, "1706700000123.jpg", "00000000000007.jpg", "front.jpg")
    assert not scan.videos
    assert [problem.file.name for problem in scan.problems] == ["1706700000123.jpg", "front.jpg"]
    message = r"clip1: .*does not end with a frame number of at most 9 digits; number the pictures: 1.jpg"
    assert all(re.match(message, str(problem)) for problem in scan.problems)


def test_the_largest_number_of_a_picture(tmp_path):
    (video,) = scan_of_pictures(tmp_path, "999999999.jpg", "at_00000000000007.jpg").videos
    assert video.frame_numbers.tolist() == [7, 999_999_999]


def write_video(path, codec, count=24, **options):
    """A video of frames that say their numbers, from 1; of an MP4 file the pictures come last."""
    with av.open(
        str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}
    ) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(1, count + 1):
            picture = av.VideoFrame.from_ndarray(raw_trees.frame(number, SIZE), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def begin_later(path, frames):
    """Makes the edit list of an MP4 file begin so many frames later; all stay in the file."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        ticks = round(frames / (stream.average_rate * stream.time_base))
    data = bytearray(path.read_bytes())
    # Version and flags, number of edits, duration and beginning of the first.
    place = data.index(b"elst") + 16
    data[place : place + 4] = (int.from_bytes(data[place : place + 4]) + ticks).to_bytes(4)
    path.write_bytes(data)


def cut(path, to, packets):
    """Copies a video without its first packets, as programs cut that do not encode anew."""
    with av.open(str(path)) as source, av.open(str(to), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in [p for p in source.demux(video=0) if p.size][packets:]:
            packet.stream = stream
            target.mux(packet)
    return to


def numbers_shown(path, count):
    frames = raw.VideoFrames(path)(np.arange(1, count + 1, dtype=np.int32), 1)
    return [raw_trees.read_number(frame) for frame in frames]


@pytest.mark.parametrize(
    ("name", "codec"), [("x.mp4", "libx264"), ("x.mkv", "libx264"), ("x.mov", "mjpeg"), ("x.avi", "mjpeg")]
)
def test_a_video_is_not_decoded_for_its_length(tmp_path, monkeypatch, name, codec):
    path = write_video(tmp_path / name, codec, bf="2" if codec == "libx264" else "0")
    assert numbers_shown(path, 24) == list(range(1, 25))
    monkeypatch.setattr(video_file, "decode", lambda file: pytest.fail(f"{file} was decoded"))
    persons = own_videos.read_persons(tmp_path, None)
    scan = own_videos.scan(tmp_path, None, own_videos.make_set("mine", facs.BP4D, persons), persons)
    assert scan.videos[0].frame_numbers.tolist() == list(range(1, 25))
    assert scan.videos[0].fps == 25


def test_fewer_frames_than_the_header_announces_are_told(tmp_path):
    path = write_video(tmp_path / "x.avi", "mjpeg")
    persons = own_videos.read_persons(tmp_path, None)
    au_set = own_videos.make_set("mine", facs.BP4D, persons)
    assert own_videos.scan(tmp_path, None, au_set, persons).videos[0].notes == ()
    content = bytearray(path.read_bytes())
    # The length of the stream in its header.
    place = content.index(b"strh") + 8 + 32
    content[place : place + 4] = (27).to_bytes(4, "little")
    path.write_bytes(content)
    (video,) = own_videos.scan(tmp_path, None, au_set, persons).videos
    assert video.num_frames == 24
    assert video.notes == ("x.avi announces 27 frames, but only 24 come; see that it was not cut off",)


def test_frames_before_an_edit_list_are_not_counted(tmp_path):
    path = write_video(tmp_path / "x.mp4", "libx264", bf="2")
    begin_later(path, 5)
    length = video_file.length(path)
    assert (length.announced, length.found, length.certain) == (24, 19, True)
    assert video_file.length(path, decoding=True).found == 19
    assert numbers_shown(path, 19) == list(range(6, 25))
    with pytest.raises(
        ValueError, match=r"frame 20: the video has only 19 frames\. Copy .* or encode it anew"
    ):
        numbers_shown(path, 20)


def test_a_video_that_was_cut_is_decoded_for_its_length(tmp_path):
    # Two B frames after the first key frame belong before it, and refer to a frame that is cut off.
    whole = write_video(tmp_path / "whole.mkv", "mpeg2video", g="12", bf="2")
    with av.open(str(whole)) as container:
        keys = [i for i, packet in enumerate(container.demux(video=0)) if packet.is_keyframe]
    (tmp_path / "raw").mkdir()
    path = cut(whole, tmp_path / "raw/x.mkv", keys[1])
    counted, shown = video_file.length(path), video_file.length(path, decoding=True)
    assert (counted.found - shown.found, counted.certain, shown.certain) == (2, False, True)
    persons = own_videos.read_persons(tmp_path / "raw", None)
    au_set = own_videos.make_set("mine", facs.BP4D, persons)
    (video,) = own_videos.scan(tmp_path / "raw", None, au_set, persons).videos
    assert video.num_frames == shown.found
    assert numbers_shown(path, shown.found)[-1] == 24


def test_array_jobs_look_at_their_own_videos_only(tmp_path, monkeypatch, capfd):
    (tmp_path / "raw").mkdir()
    for name in "abc":
        write_video(tmp_path / f"raw/{name}.mkv", "mpeg2video", 3)
    (tmp_path / "raw/d.mp4").write_bytes(b"no video")
    assert not video_file.length(tmp_path / "raw/a.mkv").certain
    decoded = []
    decode = video_file.decode
    monkeypatch.setattr(video_file, "decode", lambda file: decoded.append(file.stem) or decode(file))
    monkeypatch.setattr(archives, "make", lambda job, video, *_: archives.Outcome(video.name, 3))
    monkeypatch.setattr(bystanders, "judged", lambda policy, job, video, outcome: outcome)
    codes = {}
    for number in range(1, 6):
        decoded.clear()
        arguments = [
            "--raw",
            tmp_path / "raw",
            "--detections",
            "x",
            "--out",
            tmp_path,
            "--shard",
            f"{number}/5",
        ]
        codes[number] = (videos.main([*map(str, arguments), "--name", "mine", "--workers", "1"]), [*decoded])
        planned = json.loads((tmp_path / "mine-aligned/plan.json").read_text())
        assert sorted(planned["videos"]) == ["a", "b", "c", "d"][: 3 if number == 4 else 4]
    assert codes == {1: (0, ["a"]), 2: (0, ["b"]), 3: (0, ["c"]), 4: (2, []), 5: (0, [])}
    assert capfd.readouterr().err.count("d.mp4: cannot be read as a video") > 0


def test_a_video_is_decoded_for_its_length_once(tmp_path, monkeypatch):
    """By the job that aligns it; the run that writes the records need not."""
    monkeypatch.setattr(facs, "AU_SETS", dict(facs.AU_SETS))
    _, points = prepared.numbered_faces(range(1, 6))
    (tmp_path / "raw").mkdir()
    for name in ("a_1", "b_1"):
        write_video(tmp_path / f"raw/{name}.mkv", "mpeg2video", 5)
        prepared.write_detections(tmp_path / "found", name, range(1, 6), prepared.in_picture(points, SIZE))
    decoded = []
    decode = video_file.decode
    monkeypatch.setattr(video_file, "decode", lambda file: decoded.append(file.stem) or decode(file))
    arguments = ["--raw", tmp_path / "raw", "--detections", tmp_path / "found", "--out", tmp_path]
    arguments = [*map(str, arguments), "--name", "mine", "--workers", "1"]
    for number, name in ((1, "a_1"), (2, "b_1")):
        decoded.clear()
        assert videos.main([*arguments, "--shard", f"{number}/2"]) == 0
        assert decoded == [name] * 2
    decoded.clear()
    assert videos.main(arguments) == 0
    assert decoded == []
    opened = json.loads((tmp_path / "mine/1.0.0/manifest.json").read_text())
    assert {name: video["frames"] for name, video in opened["videos"].items()} == {"a_1": 5, "b_1": 5}
    # Of another file the count is not taken.
    write_video(tmp_path / "raw/b_1.mkv", "mpeg2video", 4)
    scan = own_videos.scan(
        tmp_path / "raw",
        None,
        own_videos.make_set("other", facs.BP4D, own_videos.read_persons(tmp_path / "raw", None)),
        own_videos.read_persons(tmp_path / "raw", None),
        decoded_length=functools.partial(archives.decoded_length, tmp_path / "mine-aligned"),
    )
    assert decoded == ["b_1"]
    assert [(video.name, video.num_frames) for video in scan.videos] == [("a_1", 5), ("b_1", 4)]


@pytest.mark.parametrize("packets", [0, 3])
def test_leading_frames_make_a_length_uncertain(tmp_path, monkeypatch, packets):
    # As of H.264 and H.265, of which there is no encoder everywhere that leaves groups of pictures open.
    monkeypatch.setattr(video_file, "_ALL_SHOWN", frozenset({"mpeg2video"}))
    whole = write_video(tmp_path / "whole.mkv", "mpeg2video", g="12", bf="2")
    assert video_file.length(whole).certain
    with av.open(str(whole)) as container:
        keys = [i for i, packet in enumerate(container.demux(video=0)) if packet.is_keyframe]
    assert not video_file.length(cut(whole, tmp_path / "cut.mkv", keys[1])).certain
    # Without any key frame at its start.
    assert video_file.length(cut(whole, tmp_path / "late.mkv", packets)).certain == (packets == 0)


def write_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())


BROKEN_VIDEOS = {
    "no video at all": (lambda p: p.write_bytes(b"text"), r"cannot be read as a video \(.*\)"),
    "only sound": (write_sound, "holds no video, only sound"),
    "nothing is shown": (
        lambda p: begin_later(write_video(p, "libx264", bf="2"), 500),
        "holds no frame that can be shown",
    ),
    "cut off": (
        lambda p: p.write_bytes(write_video(p, "libx264").read_bytes()[:-900]),
        r"is damaged: it is cut off: \d+ of \d+ bytes are there",
    ),
}


@pytest.mark.parametrize("case", BROKEN_VIDEOS)
def test_a_broken_video_is_told_with_what_to_do(tmp_path, case):
    spoil, message = BROKEN_VIDEOS[case]
    spoil(tmp_path / "x.mp4")
    persons = own_videos.read_persons(tmp_path, None)
    scan = own_videos.scan(tmp_path, None, own_videos.make_set("mine", facs.BP4D, persons), persons)
    assert not scan.videos
    (problem,) = scan.problems
    remedy = r"\. Copy the video anew from where it comes from"
    assert re.match(rf"x: .*x\.mp4: {message}{remedy}", str(problem)), str(problem)


def test_folders_without_videos(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        own_videos.read_persons(tmp_path / "nowhere", None)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match="holds no video; expected files ending in"):
        own_videos.read_persons(tmp_path, None)
