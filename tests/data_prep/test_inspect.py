import json
import re
import shutil

import numpy as np
import pytest

from data_prep import inspect, plan
from mdhr_jax import facs
from mdhr_jax.data import aligned, video_files
from tests.data_prep import list_trees
from tests.data_prep.list_trees import list_file

BP4D = {
    "F001_T1": range(2440, 2460),
    "M007_T1": range(9),
    "M011_T1": [*range(5, 25), *range(40, 60)],
    "F007_T1": range(17),
}
DISFA = {"SN002": range(40), "SN013": [*range(20), *range(30, 50)], "SN003": range(17)}


@pytest.fixture
def lists_dir(tmp_path):
    return list_trees.write(tmp_path / "lists", facs.BP4D, list_trees.BP4D, BP4D)


def test_lists_are_counted_as_the_reference_counts_them(lists_dir, capsys):
    assert inspect.main([str(lists_dir)]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert set(report) == {"dataset", "folds", "region_label_mismatches"}
    assert (report["dataset"], report["region_label_mismatches"]) == ("bp4d", 0)
    one, two = report["folds"]["1"], report["folds"]["2"]
    assert (one["train"]["videos"], one["train"]["frames"]) == (3, 69)
    assert (one["test"]["videos"], one["test"]["frames"]) == (1, 17)
    # The jump of M011_T1, tested in fold 2, ends a window.
    assert [two["test"][key] for key in ("windows", "padded_windows", "padded_frames")] == [4, 2, 24]
    train = [
        list_trees.video(facs.BP4D, name, BP4D[name]).labels for name in ("F001_T1", "M007_T1", "M011_T1")
    ]
    rates = np.concatenate(train).mean(0)
    np.testing.assert_allclose(list(one["train"]["rates"].values()), rates, atol=5e-7)
    written = list_file(lists_dir, list_trees.BP4D, "train", "weight", 1).read_text().split()
    assert [f"{weight:.6f}" for weight in one["class_weights"].values()] == written
    assert "6/6 lists" in printed.err


def test_jumps_end_no_window_of_disfa_as_in_the_reference(tmp_path, capsys):
    list_trees.write(tmp_path, facs.DISFA, list_trees.DISFA, DISFA)
    assert inspect.main([str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["dataset"] == "disfa"
    assert [report["folds"]["2"]["test"][key] for key in ("windows", "padded_windows", "padded_frames")] == [
        3,
        1,
        8,
    ]


def test_the_clip_length_can_be_chosen(lists_dir, capsys):
    assert inspect.main([str(lists_dir), "--clip-length", "20"]) == 0
    test = json.loads(capsys.readouterr().out)["folds"]["2"]["test"]
    assert [test[key] for key in ("windows", "padded_windows", "padded_frames")] == [2, 0, 0]
    assert inspect.main([str(lists_dir), "--clip-length", "0"]) == 2
    assert "at least 1, found 0" in capsys.readouterr().err


def test_the_report_may_go_to_a_file(lists_dir, tmp_path, capsys):
    out = tmp_path / "report.json"
    assert inspect.main([str(lists_dir), "--out", str(out)]) == 0
    assert capsys.readouterr().out == ""
    assert json.loads(out.read_text())["dataset"] == "bp4d"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lists", "report.json"]


def test_a_report_that_cannot_be_written_is_told_before_the_work(lists_dir, tmp_path, capsys):
    assert inspect.main([str(lists_dir), "--out", str(tmp_path / "no/report.json")]) == 2
    printed = capsys.readouterr().err
    assert "no/report.json cannot be written: its folder does not exist" in printed
    assert "reading" not in printed


def test_region_labels_that_do_not_follow_are_counted_and_told(lists_dir, capsys):
    file = list_file(lists_dir, list_trees.BP4D, "test", "sub_label", 1)
    lines = file.read_text().splitlines()
    lines[:12] = [re.sub(r"^\d+", lambda code: str(15 - int(code[0])), line) for line in lines[:12]]
    file.write_text("\n".join(lines))
    assert inspect.main([str(lists_dir)]) == 1
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["region_label_mismatches"] == 12
    details = report["first_region_label_mismatches"]
    assert len(details) == 10
    assert (details[0]["file"], details[0]["line"]) == ("BP4D_test_sub_label_fold1.txt", 1)
    assert "12 region labels do not follow from the AU labels" in printed.err


def test_weights_that_do_not_follow_are_told(lists_dir, capsys):
    file = list_file(lists_dir, list_trees.BP4D, "train", "weight", 3)
    weights = file.read_text().split()
    file.write_text("\t".join([weights[0], f"{float(weights[1]) + 2e-6:.6f}", *weights[2:]]))
    assert inspect.main([str(lists_dir)]) == 1
    printed = capsys.readouterr()
    expected = (
        f"BP4D_train_weight_fold3.txt, line 1: the weight of AU2 is .*, the training labels give {weights[1]}"
    )
    assert re.search(expected, printed.err)
    assert json.loads(printed.out)["folds"]["3"]["class_weights"]["AU2"] == float(weights[1])


def test_lists_that_do_not_fit_together_are_not_counted(lists_dir, tmp_path, capsys):
    file = list_file(lists_dir, list_trees.BP4D, "test", "label", 1)
    file.write_text(file.read_text().replace("\n", "\n2 ", 1))
    list_file(lists_dir, list_trees.BP4D, "train", "label", 2).write_text("0\n")
    out = tmp_path / "report.json"
    assert inspect.main([str(lists_dir), "--out", str(out)]) == 1
    printed = capsys.readouterr()
    assert "BP4D_test_label_fold1.txt, line 2: found '2 " in printed.err
    assert "BP4D_train_label_fold2.txt, line 1: found '0'" in printed.err
    assert not out.exists()


def test_a_folder_without_lists_ends_without_a_traceback(run_python, tmp_path):
    done = run_python("-m", "data_prep.inspect", str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"error: {tmp_path} holds neither a prepared data set nor list files of the reference"
    )
    assert "Traceback" not in done.stderr


def test_two_data_sets_of_one_name_are_told_apart_by_their_folders(data_dir, tmp_path, capsys):
    for name in ("first", "second"):
        (tmp_path / name / "bp4d").mkdir(parents=True)
        shutil.copytree(data_dir / "bp4d/1.0.0", tmp_path / name / "bp4d/1.0.0")
    for more in ([], ["--dataset", "bp4d"]):
        assert inspect.main([str(tmp_path), *more]) == 2
        told = capsys.readouterr()
        assert not told.out
        folders = [tmp_path / name / "bp4d/1.0.0" for name in ("first", "second")]
        assert (
            f"holds data sets of the same name ({folders[0]}, {folders[1]}); give the folder of one"
            in told.err
        )
    assert inspect.main([str(tmp_path / "first")]) == 0
    assert json.loads(capsys.readouterr().out)["dataset"] == "bp4d"


@pytest.mark.parametrize("content", ['{"dataset": "bp4d", "fra', "[]"])
def test_a_manifest_that_cannot_be_read_is_named(data_dir, tmp_path, capsys, content):
    folder = shutil.copytree(data_dir / "bp4d", tmp_path / "bp4d") / "1.0.0"
    (folder / "manifest.json").write_text(content)
    assert inspect.main([str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"error: {folder / 'manifest.json'} " in told.err
    assert "delete it and run the command that wrote the data set again" in told.err


@pytest.mark.parametrize("given", [".", "bp4d-aligned"])
def test_faces_without_records_are_told_from_an_empty_folder(tmp_path, capsys, given):
    folder = tmp_path / "bp4d-aligned"
    aligned.write_recipe(folder, {"name": "none"})
    plan.write(folder, plan.Plan(["F001_T1", "F001_T2", "M011_T1"]))
    video_files.write_archive(folder / "F001_T2.zip", [("labels.csv", b"frame\n")])
    assert inspect.main([str(tmp_path / given)]) == 2
    told = capsys.readouterr().err
    assert f"{folder} holds the aligned faces of 1 of 3 videos, of which no records were written yet" in told
    assert "aligns the others and writes them" in told
