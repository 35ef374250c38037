"""From raw trees to TFRecord by the commands: counts, labels by content, restarts, refusals."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from data_prep import bp4d, command, disfa, inspect, versions
from mdhr_jax import facs
from mdhr_jax.data import records, temporaries
from mdhr_jax.faces import precomputed

from . import prepared, raw_trees

SIZE = (208, 278)
# A width of its own for each video; gaps; a part each; the last has two frames without a face and six more.
BP4D = {
    "F001_T1": (4, range(40)),
    "F001_T2": (0, [*range(95, 105), *range(120, 126)]),
    "M011_T1": (0, range(2440, 2457)),
    "F007_T8": (6, range(8, 32)),
}
FACELESS = {"F007_T8": (10, 11, *range(20, 27))}


@pytest.fixture(scope="module")
def raw_bp4d(tmp_path_factory):
    """A raw tree and the faces that another program found in it."""
    root = tmp_path_factory.mktemp("bp4d")
    videos = []
    for i, (name, (width, numbers)) in enumerate(BP4D.items()):
        frames, points = prepared.numbered_faces(numbers, subject=i)
        videos.append(raw_trees.Bp4dVideo(name, numbers, width=width, unlabelled=(5000,), faces=frames))
        seen = [j for j, number in enumerate(numbers) if number not in FACELESS.get(name, ())]
        places = prepared.in_picture(points, SIZE)[seen]
        prepared.write_detections(root / "found", name, [numbers[j] for j in seen], places)
    raw_trees.write_bp4d(root / "raw", videos, SIZE)
    return root, {video.name: video for video in videos}


@pytest.fixture(scope="module")
def data(raw_bp4d, tmp_path_factory):
    """The tree as TFRecord, as the command makes it."""
    out = tmp_path_factory.mktemp("data")
    assert run(raw_bp4d[0], out) == 0
    return out


def run(root, out, *more):
    return bp4d.main(
        ["--raw", str(root / "raw"), "--out", str(out), "--detections", str(root / "found"), *more]
    )


def written(out, name="bp4d"):
    """Files of a data set without the index that reading it leaves there."""
    folder = out / name / "1.0.0"
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith("mdhr_index")}


def numbers_in(opened, size):
    """The number that each frame of a data set says, by video, read where the alignment put it."""
    found = {}
    corners = np.array(prepared.NUMBER_BOX).reshape(2, 2)
    with np.load(opened.directory / "alignment.npz") as stored:
        arrays = dict(stored)
    for i, video in enumerate(opened.videos):
        rows = arrays["video"] == arrays["videos"].tolist().index(video.name)
        matrices = dict(zip(arrays["frame_number"][rows].tolist(), arrays["matrices"][rows], strict=True))
        jpegs = [jpeg for chunk in range(-(-video.num_frames // 32)) for jpeg in opened.read_jpegs(i, chunk)]
        found[video.name] = []
        for number, jpeg in zip(video.frame_numbers.tolist(), jpegs, strict=True):
            matrix = matrices[number]
            box = prepared.in_picture(corners, size) @ matrix[:, :2].T + matrix[:, 2]
            picture = np.asarray(Image.open(io.BytesIO(jpeg)))
            found[video.name].append(raw_trees.read_number(picture, tuple(box.ravel().tolist())))
    return found


def test_every_label_ends_on_its_frame(raw_bp4d, data):
    videos = raw_bp4d[1]
    opened = records.open_dataset(data, facs.BP4D, facs.PARTS)
    assert [video.name for video in opened.videos] == ["F001_T1", "F001_T2", "M011_T1", "F007_T8"]
    said = numbers_in(opened, SIZE)
    for video in opened.videos:
        numbers = np.array(videos[video.name].numbers)
        kept = ~np.isin(numbers, FACELESS.get(video.name, ())[2:])
        assert video.frame_numbers.tolist() == numbers[kept].tolist()
        np.testing.assert_array_equal(video.labels, videos[video.name].all_labels()[kept])
        assert said[video.name] == numbers[kept].tolist()


def test_manifest_tells_what_is_there_and_what_is_not(raw_bp4d, data):
    folder = data / "bp4d/1.0.0"
    manifest = json.loads((folder / "manifest.json").read_text())
    opened = records.open_dataset(data, facs.BP4D, facs.PARTS)
    assert manifest["frames"] == opened.num_frames == 40 + 16 + 17 + 17
    assert manifest["dropped_frames"] == {"no face": 7}
    assert manifest["skipped_videos"] == {}
    # The picture 5000 of each video.
    assert manifest["unlabelled_frames"] == 4
    counts = [(v["unlabelled"], v["unlabelled_at_end"]) for v in manifest["videos"].values()]
    assert counts == [(1, 1)] * 4
    assert manifest["videos"]["F007_T8"]["dropped"] == {"no face": list(range(20, 27))}
    assert manifest["videos"]["F001_T2"]["gaps"] == 1
    assert any("38 of the 41 subjects of BP4D are missing" in note for note in manifest["notes"])
    assert set(manifest["checksums"]) == {path.name for path in folder.glob("*.tfrecord*")}
    assert manifest["crop_recipe"] == opened.crop_recipe
    assert manifest["crop_recipe"]["detector"] == precomputed.NAME
    labels = np.concatenate([v.labels for v in opened.videos if v.part in ("part1", "part2")])
    rates = (labels == 1).sum(0) / (labels >= 0).sum(0)
    weights = 1 / rates / (1 / rates).sum() * 12
    np.testing.assert_allclose(list(manifest["folds"]["1"]["class_weights"].values()), weights, atol=1e-6)
    assert manifest["folds"]["1"]["test"]["videos"] == 1
    with np.load(folder / "alignment.npz") as arrays:
        assert arrays["videos"].tolist() == [video.name for video in opened.videos]
        assert len(arrays["frame_number"]) == 97
        assert (arrays["status"] == "interpolated").sum() == 2


def test_inspect_counts_what_is_there(data, tmp_path, capsys):
    sheet, quality = tmp_path / "sheet.png", tmp_path / "quality.png"
    assert inspect.main([str(data), "--sheet", str(sheet), "--quality", str(quality)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["dataset"], report["videos"], report["frames"]) == ("bp4d", 4, 90)
    assert report["parts"]["part1"]["subjects"] == ["F001"]
    # F007_T8: 8 to 19 and 27 to 31.
    test = report["folds"]["1"]["test"]
    assert (test["windows"], test["padded_windows"], test["padded_frames"]) == (2, 2, 4 + 11)
    assert (report["dropped_frames"], report["unlabelled_frames"]) == ({"no face": 7}, 4)
    with Image.open(sheet) as picture:
        assert picture.size == (12 * 96, 4 * 108)
    with Image.open(quality) as picture:
        assert picture.size == (1430, 1100)


def test_array_jobs_and_a_restart_give_the_same_bytes(raw_bp4d, data, tmp_path, capfd):
    root = raw_bp4d[0]
    archives = tmp_path / "bp4d-aligned"
    for shard, expected in (("1/3", ["F001_T1", "M011_T1"]), ("3/3", ["F001_T1", "F007_T8", "M011_T1"])):
        assert run(root, tmp_path, "--shard", shard) == 0
        assert sorted(path.stem for path in archives.glob("*.zip")) == expected
        assert not (tmp_path / "bp4d").exists()
    capfd.readouterr()
    # What is not complete is not taken for complete.
    assert bp4d.main(["--aligned", str(archives), "--out", str(tmp_path / "early")]) == 2
    assert "1 of 4 videos are not aligned yet (F001_T2)" in capfd.readouterr().err
    assert not (tmp_path / "early").exists()
    assert run(root, tmp_path) == 0
    assert "1 video aligned, 3 were there already" in capfd.readouterr().err
    assert written(tmp_path) == written(data)
    shutil.rmtree(tmp_path / "bp4d")
    assert run(root, tmp_path) == 0
    assert "0 videos aligned, 4 were there already" in capfd.readouterr().err
    assert written(tmp_path) == written(data)
    # The second step alone, from the archives: the same records.
    assert bp4d.main(["--aligned", str(tmp_path / "bp4d-aligned"), "--out", str(tmp_path / "again")]) == 0
    assert written(tmp_path / "again") == written(data)


def test_a_killed_run_leaves_nothing_that_looks_complete_and_goes_on(raw_bp4d, data, tmp_path):
    root = raw_bp4d[0]
    command = [sys.executable, "-m", "data_prep.bp4d", "--raw", str(root / "raw"), "--out", str(tmp_path)]
    command += ["--detections", str(root / "found"), "--workers", "2"]
    archives = tmp_path / "bp4d-aligned"
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(archives.glob(".*.tmp")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    for path in archives.glob("*.zip"):
        assert path.read_bytes() == (data / "bp4d-aligned" / path.name).read_bytes()
    left = list(archives.glob(".*.tmp"))
    # Its worker processes end a moment after it.
    while not all(temporaries.is_left(path) for path in left):
        time.sleep(0.01)
    # What other machines may still write stays, what is old goes.
    foreign, old = archives / ".F001_T1.zip.000000000000-1-000000000000.tmp", archives / ".old.tmp"
    foreign.touch()
    old.touch()
    os.utime(old, (1, 1))
    assert run(root, tmp_path) == 0
    assert [path for path in archives.iterdir() if path.name.startswith(".")] == [foreign]
    assert written(tmp_path) == written(data)


def spoil(path, how):
    """Cuts a file short, zeroes 40 bytes in its middle, deletes it, or lays another beside it."""
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[:-100])
    elif how == "zeroed":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes(40) + content[middle + 40 :])
    elif how == "deleted":
        path.unlink()
    else:
        path.with_name("bp4d-part4.tfrecord-00000-of-00001").write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "zeroed", "deleted", "one more"])
@pytest.mark.parametrize("signed", [True, False])
def test_damaged_records_are_not_signed(raw_bp4d, data, tmp_path, capfd, how, signed):
    for name in ("bp4d", "bp4d-aligned"):
        shutil.copytree(data / name, tmp_path / name)
    folder = tmp_path / "bp4d/1.0.0"
    file = folder / "bp4d-part2.tfrecord-00000-of-00001"
    if not signed:
        # As if the run had been killed before.
        (folder / "manifest.json").unlink()
    spoil(file, how)
    before = written(tmp_path)
    again = ["--aligned", str(tmp_path / "bp4d-aligned"), "--out", str(tmp_path)]
    for attempt in (lambda: run(raw_bp4d[0], tmp_path), lambda: bp4d.main(again)):
        assert attempt() == 2
        told = capfd.readouterr().err
        assert f"the data set in {folder} is damaged: " in told
        assert ("part4" if how == "one more" else file.name) in told.splitlines()[-1]
        assert "Delete that folder and run" in told
        assert written(tmp_path) == before
    if signed:
        assert inspect.main([str(tmp_path)]) == 2
        told = capfd.readouterr()
        assert not told.out
        assert "is damaged: " in told.err
    shutil.rmtree(folder)
    assert bp4d.main(again) == 0
    assert written(tmp_path) == written(data)


def test_whole_records_without_a_manifest_are_signed(raw_bp4d, data, tmp_path, capfd):
    for name in ("bp4d", "bp4d-aligned"):
        shutil.copytree(data / name, tmp_path / name)
    (tmp_path / "bp4d/1.0.0/manifest.json").unlink()
    assert run(raw_bp4d[0], tmp_path) == 0
    assert "renewed manifest.json" in capfd.readouterr().out
    (ours, made), (theirs, whole) = (
        (json.loads(files.pop("manifest.json")), files) for files in (written(data), written(tmp_path))
    )
    assert made == whole
    # Nobody knows any more what wrote the records.
    assert ours["versions"].pop("records").keys() == {"numpy", "tensorflow", "tensorflow-datasets"}
    assert theirs["versions"].pop("records") == {}
    assert ours == theirs


def test_versions_are_those_that_made_the_faces_and_the_records(raw_bp4d, data, tmp_path, monkeypatch):
    before = json.loads((data / "bp4d/1.0.0/manifest.json").read_text())["versions"]
    assert before["records"] == versions.of(*versions.RECORDS)
    # Faces were given: no detector.
    assert before["faces"] == {"numpy": [np.__version__], "pillow": [PIL.__version__]}
    for name in ("bp4d", "bp4d-aligned"):
        shutil.copytree(data / name, tmp_path / name)
    (tmp_path / "bp4d-aligned/F001_T2.zip").unlink()
    monkeypatch.setattr(versions, "of", lambda *packages: dict.fromkeys(packages, "0.0.1"))
    assert run(raw_bp4d[0], tmp_path, "--workers", "1") == 0
    after = json.loads((tmp_path / "bp4d/1.0.0/manifest.json").read_text())["versions"]
    assert after["records"] == before["records"]
    assert after["faces"]["numpy"] == ["0.0.1", np.__version__]


def test_a_video_that_cannot_be_used_is_left_out_and_told(raw_bp4d, tmp_path, capfd):
    root = tmp_path / "root"
    shutil.copytree(raw_bp4d[0], root)
    (root / "raw/AUCoding/AU_OCC/M011_T1.csv").unlink()
    spoilt = root / "raw/2D+3D/F001/T2/97.jpg"
    spoilt.write_bytes(spoilt.read_bytes()[:500])
    out = tmp_path / "out"
    assert run(root, out) == 1
    told = capfd.readouterr().err
    assert "2 videos left out" in told
    assert "M011_T1.csv: the label file is missing" in told
    assert "97.jpg, frame 97: is not a readable picture" in told
    manifest = json.loads((out / "bp4d/1.0.0/manifest.json").read_text())
    assert set(manifest["skipped_videos"]) == {"M011_T1", "F001_T2"}
    assert "97.jpg, frame 97" in manifest["skipped_videos"]["F001_T2"][0]
    # The second step alone knows of them too.
    assert bp4d.main(["--aligned", str(out / "bp4d-aligned"), "--out", str(tmp_path / "again")]) == 1
    assert written(tmp_path / "again") == written(out)
    capfd.readouterr()
    assert set(manifest["videos"]) == {"F001_T1", "F007_T8"}
    assert [path.name for path in out.rglob("*.tmp")] == []
    # Another reason for the same records: the manifest follows, the records stay.
    records_before = {name: data for name, data in written(out).items() if name != "manifest.json"}
    spoilt.write_bytes(b"")
    assert run(root, out) == 1
    assert "renewed manifest.json" in capfd.readouterr().out
    assert {name: data for name, data in written(out).items() if name != "manifest.json"} == records_before
    # What was mended later is taken in; the data set that is there is not touched.
    shutil.copy(raw_bp4d[0] / "raw/AUCoding/AU_OCC/M011_T1.csv", root / "raw/AUCoding/AU_OCC")
    before = written(out)
    assert run(root, out) == 2
    told = capfd.readouterr().err
    assert "holds another data set" in told
    assert written(out) == before


def test_what_was_left_out_since_does_not_come_back(raw_bp4d, data, tmp_path, capfd):
    root = tmp_path / "root"
    shutil.copytree(raw_bp4d[0], root)
    archives = tmp_path / "out/bp4d-aligned"
    shutil.copytree(data / "bp4d-aligned", archives)
    (root / "raw/AUCoding/AU_OCC/M011_T1.csv").unlink()
    shutil.rmtree(root / "raw/2D+3D/F001/T2")
    (root / "raw/AUCoding/AU_OCC/F001_T2.csv").unlink()
    assert run(root, tmp_path / "out") == 1
    capfd.readouterr()
    assert bp4d.main(["--aligned", str(archives), "--out", str(tmp_path / "again")]) == 1
    told = capfd.readouterr().err
    assert f"{archives / 'M011_T1.zip'} is not taken: the video was left out" in told
    assert f"{archives / 'F001_T2.zip'} is not taken: the distribution that was last read has no such" in told
    manifest = json.loads((tmp_path / "again/bp4d/1.0.0/manifest.json").read_text())
    assert set(manifest["videos"]) == {"F001_T1", "F007_T8"}
    assert set(manifest["skipped_videos"]) == {"M011_T1"}
    assert written(tmp_path / "again") == written(tmp_path / "out")


def test_without_its_plan_a_folder_is_not_taken_for_complete(raw_bp4d, data, tmp_path, capfd):
    archives = tmp_path / "bp4d-aligned"
    shutil.copytree(data / "bp4d-aligned", archives)
    (archives / "plan.json").unlink()
    (archives / "F001_T2.zip").unlink()
    assert bp4d.main(["--aligned", str(archives), "--out", str(tmp_path)]) == 2
    told = capfd.readouterr().err
    assert f"{archives / 'plan.json'} is missing, though F001_T1.zip" in told
    assert not (tmp_path / "bp4d").exists()
    assert run(raw_bp4d[0], tmp_path) == 0
    assert written(tmp_path) == written(data)


def test_faces_that_are_not_of_the_recording_leave_their_video_out(raw_bp4d, tmp_path, capfd):
    root = tmp_path / "root"
    shutil.copytree(raw_bp4d[0], root)
    too_large, one_off, unreadable = (
        root / f"found/{name}.csv" for name in ("F001_T1", "M011_T1", "F001_T2")
    )
    header, *rows = one_off.read_text().splitlines()
    shifted = [f"{int(number) - 1},{rest}" for number, _, rest in (row.partition(",") for row in rows)]
    one_off.write_text("\n".join([header, *shifted]))
    header, *rows = too_large.read_text().splitlines()
    larger = [",".join([n, *(str(3 * float(v)) for v in c), s]) for n, *c, s in (r.split(",") for r in rows)]
    too_large.write_text("\n".join([header, *larger]))
    unreadable.unlink()
    unreadable.mkdir()
    out = tmp_path / "out"
    assert run(root, out, "--workers", "1") == 1
    told = capfd.readouterr().err
    assert "M011_T1.csv: the recording has no frame 2439: its frames are 2439 to 2455, " in told
    assert re.search(r"F001_T1: .*csv: frame 0: \w+ is at .*, outside of the picture of 208 x 278", told)
    assert re.search(r"F001_T2.csv cannot be read \(Is a directory\)", told)
    manifest = json.loads((out / "bp4d/1.0.0/manifest.json").read_text())
    assert set(manifest["videos"]) == {"F007_T8"}
    assert any("has no face in 9 of 24 frames" in note for note in manifest["videos"]["F007_T8"]["notes"])


def test_nothing_written_is_another_exit_code_than_something_left_out(raw_bp4d, tmp_path, capfd):
    root = tmp_path / "root"
    shutil.copytree(raw_bp4d[0], root)
    for table in (root / "found").iterdir():
        table.write_text("frame\n")
    assert (
        run(root, tmp_path, "--workers", "1", "--shard", "1/2") == run(root, tmp_path, "--workers", "1") == 2
    )
    assert "none of the videos could be aligned" in capfd.readouterr().err
    shutil.copy(raw_bp4d[0] / "found/M011_T1.csv", root / "found")
    # The second and the last of four videos, neither, and none at all.
    found = [run(root, tmp_path, "--workers", "1", "--shard", shard) for shard in ("2/2", "1/2", "9/9")]
    assert found == [1, 2, 0]


def test_strict_stops_before_anything_is_written(raw_bp4d, tmp_path, capfd):
    root = tmp_path / "root"
    shutil.copytree(raw_bp4d[0], root)
    (root / "raw/AUCoding/AU_OCC/M011_T1.csv").unlink()
    assert run(root, tmp_path / "out", "--strict") == 2
    assert "1 problem(s) in" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_faces_cut_out_otherwise_are_not_mixed(raw_bp4d, data, capfd):
    before = written(data)
    assert run(raw_bp4d[0], data, "--max-gap", "0") == 2
    assert "max_gap is 5 there, 0 here" in capfd.readouterr().err
    assert written(data) == before


WRONG = {
    "no input": ([], "give --raw RAW"),
    "two inputs": (["--raw", "a", "--lists", "b", "--images", "c"], "two kinds of input"),
    "lists without images": (["--lists", "a"], "belong together"),
    "shard of nothing": (["--aligned", "a", "--shard", "1/2"], "need"),
    "no such shard": (["--raw", "a", "--shard", "3/2"], "expected I/N"),
    "no worker": (["--raw", "a", "--workers", "0"], "--workers must be at least 1, found 0"),
    "poor pictures": (["--raw", "a", "--quality", "80"], "--quality must be from 95 to 100"),
}


@pytest.mark.parametrize("case", WRONG)
def test_arguments_that_make_no_sense(case, tmp_path, capsys):
    arguments, message = WRONG[case]
    with pytest.raises(SystemExit) as stopped:
        bp4d.main([*arguments, "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


BLOCKED = {
    "out": (["--out", "file"], "--out: {}/file is a file, expected a folder"),
    "the set in out": (["--out", "out"], "--out: {}/out/bp4d is a file, expected a folder"),
    "aligned": (["--out", "new", "--aligned", "file"], "--aligned: {}/file is a file, expected a folder"),
}


@pytest.mark.parametrize("case", BLOCKED)
def test_what_is_in_the_way_is_told_before_the_work(case, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/bp4d").touch()
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    arguments, message = BLOCKED[case]
    arguments = [str(tmp_path / word) if not word.startswith("--") else word for word in arguments]
    # That there is no such distribution would be told next.
    assert bp4d.main(["--raw", "none", "--detections", "none", *arguments]) == 2
    assert message.format(tmp_path) in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch, capsys):
    def refused(*, dir):
        raise PermissionError(13, "Permission denied", str(dir))

    # Root, who may run the tests, writes anywhere.
    monkeypatch.setattr(command.tempfile, "TemporaryFile", refused)
    assert bp4d.main(["--raw", "none", "--detections", "none", "--out", str(tmp_path / "new")]) == 2
    assert f"--out: {tmp_path} cannot be written (Permission denied)" in capsys.readouterr().err


def test_faces_in_a_file_are_told(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert bp4d.main(["--aligned", str(tmp_path / "file"), "--out", str(tmp_path)]) == 2
    assert f"--aligned {tmp_path / 'file'} is a file, expected a folder" in capsys.readouterr().err


def test_folders_that_hold_nothing(tmp_path, capsys):
    assert bp4d.main(["--raw", str(tmp_path / "none"), "--out", str(tmp_path), "--detections", "x"]) == 2
    assert "none is not a folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert bp4d.main(["--raw", str(tmp_path / "empty"), "--out", str(tmp_path), "--detections", "x"]) == 2
    assert "empty is empty" in capsys.readouterr().err


def test_disfa_from_video_files(tmp_path, capfd):
    size = (320, 240)
    faces, points = prepared.numbered_faces(range(1, 41))
    videos = [
        raw_trees.DisfaVideo("SN002", 40, suffix="_Comp.avi", faces=faces),
        raw_trees.DisfaVideo("SN013", 40, num_labels=39, faces=faces),
    ]
    root = raw_trees.write_disfa(tmp_path / "raw", videos, size)
    for video in videos:
        places = prepared.in_picture(points, size)
        prepared.write_detections(tmp_path / "found", video.name, range(1, 41), places)
    arguments = ["--raw", str(root), "--out", str(tmp_path), "--detections", str(tmp_path / "found")]
    assert disfa.main(arguments) == 0
    told = capfd.readouterr().err
    assert "SN013: " in told
    opened = records.open_dataset(tmp_path, facs.DISFA, ("part1", "part2"))
    said = numbers_in(opened, size)
    assert said == {"SN002": list(range(1, 41)), "SN013": list(range(1, 40))}
    for video, listed in zip(opened.videos, videos, strict=True):
        np.testing.assert_array_equal(video.labels, listed.labels()[: video.num_frames])
    # Another threshold changes labels alone: the crops stay as they are.
    shutil.rmtree(tmp_path / "disfa")
    assert disfa.main([*arguments, "--threshold", "4"]) == 0
    assert "0 videos aligned, 2 were there already" in capfd.readouterr().err
    opened = records.open_dataset(tmp_path, facs.DISFA, ("part1", "part2"))
    for video, listed in zip(opened.videos, videos, strict=True):
        np.testing.assert_array_equal(video.labels, listed.labels(4)[: video.num_frames])
    manifest = json.loads((tmp_path / "disfa/1.0.0/manifest.json").read_text())
    assert (manifest["source"], manifest["labelling"]) == ({"camera": "left"}, {"present_from_intensity": 4})
    # The other camera's faces are other faces.
    raw_trees.write_disfa(tmp_path / "raw", videos[:1], size, camera="Right")
    assert disfa.main([*arguments, "--camera", "right"]) == 2
    assert "holds other recordings (camera is 'left' there, 'right' here)" in capfd.readouterr().err
    # Archives of jobs that disagree are not mixed.
    aligned_dir = tmp_path / "disfa-aligned"
    (aligned_dir / "SN013.zip").rename(tmp_path / "SN013.zip")
    assert disfa.main([*arguments, "--threshold", "3", "--shard", "1/1"]) == 0
    (tmp_path / "SN013.zip").replace(aligned_dir / "SN013.zip")
    assert disfa.main(["--aligned", str(aligned_dir), "--out", str(tmp_path / "mixed")]) == 2
    assert "labelled in different ways" in capfd.readouterr().err
    assert not (tmp_path / "mixed/disfa/1.0.0").exists()
