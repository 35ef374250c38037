"""The command: which files it writes, that they are the same each time, and what it says when it cannot."""

import re
import shutil
import sys

import pytest

from mdhr_jax.figures.__main__ import main
from mdhr_jax.training import predictions, workdir
from tests.figures.conftest import made_up, small_config, write_config, write_log

BESIDE_THE_RESULT = {"curves", "timeline-B_T1", "cooccurrence", "subjects"}


def names(out):
    """Of the files, wherever in the directory they lie."""
    return sorted(path.name for path in out.rglob("*") if path.is_file())


def folder(out):
    (found,) = [path for path in out.iterdir() if path.is_dir()]
    return found


def both(stems, vector="pdf"):
    return sorted(f"{stem}.{kind}" for stem in stems for kind in ("png", vector))


def test_without_data_everything_else_is_drawn(paper_run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([str(paper_run), "--out", str(out), "--video", "B_T1"]) == 0
    assert names(out) == both(BESIDE_THE_RESULT)
    what = re.escape("synthetic_bp4d-tiny+mfd-k2+afe+aux+crm+tcn-fold1-seed0-paper-")
    assert re.fullmatch(what + "[0-9a-f]{6}", folder(out).name)
    for path in folder(out).iterdir():
        assert path.read_bytes().startswith(b"%PDF" if path.suffix == ".pdf" else b"\x89PNG")
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 8
    for name in ("weights", "graph"):
        assert f"left out: {name} of fold1-seed0-honest: the frames are not in" in printed.err
    assert "--data" in printed.err


def test_what_was_asked_for_by_name_must_be_there(paper_run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([str(paper_run), "--out", str(out), "--only", "weights", "--data", str(tmp_path)]) == 1
    assert "error: weights of fold1-seed0-honest: the frames are not in" in capsys.readouterr().err
    assert not out.exists()


def test_the_same_input_gives_the_same_bytes(paper_run, tmp_path, run_python):
    asked = [
        str(paper_run),
        "--vector",
        "svg",
        "--only",
        "curves,subjects",
        "--only",
        "cooccurrence,timeline",
    ]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([*asked, "--out", str(first)]) == 0
    done = run_python("-W", "error", "-m", "mdhr_jax.figures", *asked, "--out", str(second))
    assert done.returncode == 0, done.stderr
    assert names(first) == names(second)
    assert len(names(first)) == 8
    for name in names(first):
        assert (folder(first) / name).read_bytes() == (folder(second) / name).read_bytes(), name


def test_a_whole_run_gives_all_figures_twice_the_same(whole_run, tmp_path):
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        assert main([str(whole_run), "--out", str(out), "--only", "weights,graph"]) == 0
    first, second = ({p.name: p.read_bytes() for p in folder(out).iterdir()} for out in outs)
    assert first == second
    (video,) = {name.removeprefix("graph-").split(".")[0] for name in first if name.startswith("graph-")}
    assert sorted(first) == both([f"graph-{video}", f"weights-{video}"])


def test_a_model_without_a_module_has_no_figure_of_it_and_that_is_no_error(
    paper_run, tmp_path, changed_config, capsys
):
    changed_config(paper_run, mfd=False, crm=False)
    out = tmp_path / "out"
    assert main([str(paper_run), "--out", str(out), "--only", "weights,graph"]) == 0
    shown = capsys.readouterr().err
    assert (
        "weights of fold1-seed0-honest: not applicable: the model has no multi-scale facial dynamics" in shown
    )
    assert "graph of fold1-seed0-honest: not applicable: the model has no cross-regional graph" in shown


def another_run(paper_run, **changes):
    other = paper_run.parent.parent / "others" / paper_run.name
    shutil.copytree(paper_run, other)
    content = workdir.read_config(other / workdir.CONFIG_FILE) | changes
    workdir.write_json(other / workdir.CONFIG_FILE, content)
    write_log(other, seed=1)
    return other


def test_several_runs_share_the_curves_and_nothing_else(paper_run, tmp_path):
    other = another_run(paper_run, seed=1)
    out = tmp_path / "out"
    # Runs may stand before and behind options.
    assert main([str(paper_run), "--only", "curves,subjects", str(other), "--out", str(out)]) == 0
    folders = sorted(path.name for path in out.iterdir() if path.is_dir())
    assert ["-seed0-" in folders[0], "-seed1-" in folders[1]] == [True, True]
    assert [names(out / name) for name in folders] == [both(["subjects"])] * 2
    shared = [path.name for path in out.iterdir() if path.is_file()]
    assert sorted(re.sub("[0-9a-f]{6}", "_", name) for name in shared) == both(["curves-2-runs-_"])


def test_a_second_run_s_figures_leave_the_first_s_alone(paper_run, tmp_path):
    out = tmp_path / "out"
    asked = ["--out", str(out), "--only", "curves,subjects"]
    assert main([*asked, str(paper_run)]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    # It has the same name: directories of runs of other models often do.
    assert main([*asked, str(another_run(paper_run, seed=1))]) == 0
    assert names(out) == sorted(both(["curves", "subjects"]) * 2)
    assert {path: path.read_bytes() for path in before} == before


def test_two_directories_of_the_same_run_have_folders_of_their_own(paper_run, tmp_path):
    out = tmp_path / "out"
    assert main([str(paper_run), str(another_run(paper_run)), "--out", str(out), "--only", "subjects"]) == 0
    assert names(out) == sorted(both(["subjects"]) * 2)
    ends = sorted(path.name.rpartition("-paper-")[2][7:] for path in out.iterdir())
    assert ends == ["models_fold1-seed0-honest", "others_fold1-seed0-honest"]


def test_figures_named_where_runs_are_expected_are_told(paper_run, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "curves", "subjects", str(paper_run), "--out", str(tmp_path)])
    assert "subjects: there is no such run; several figures are --only A,B" in capsys.readouterr().err


def test_a_run_that_is_not_finished_has_curves(tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "out"
    write_config(run, small_config(tmp_path / "nowhere"))
    write_log(run)
    assert main([str(run), "--out", str(out)]) == 0
    assert names(out) == both(["curves"])
    assert "left out: subjects of run: no predictions at" in capsys.readouterr().err


def test_predictions_of_an_evaluation_stand_in(paper_run, tmp_path, capsys):
    (paper_run / "predictions.npz").rename(paper_run / "predictions-eval.npz")
    assert main([str(paper_run), "--out", str(tmp_path / "out"), "--only", "subjects"]) == 0
    assert "those of predictions-eval.npz are drawn" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "video", "absent", "usage"])
def test_what_is_wrong_is_said(paper_run, tmp_path, capsys, damage):
    asked = [str(paper_run), "--out", str(tmp_path / "out"), "--only", "timeline"]
    wanted, code = "", 1
    if damage == "cut":
        path = paper_run / "predictions.npz"
        path.write_bytes(path.read_bytes()[:-40])
        wanted = "is damaged"
    elif damage == "video":
        asked += ["--video", "B_T9"]
        wanted = "video B_T9 is not in the test part"
    elif damage == "absent":
        asked[0] = str(tmp_path / "absent")
        wanted, code = "absent does not exist: there is no", 2
    else:
        with pytest.raises(SystemExit, match="2"):
            main([*asked, "--only", "portrait"])
        return
    assert main(asked) == code
    shown = capsys.readouterr().err
    assert wanted in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "out").exists()


def test_matplotlib_missing(paper_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main([str(paper_run), "--out", str(tmp_path / "out")]) == 2
    assert "pip install mdhr_jax[figures]" in capsys.readouterr().err


def test_names_of_videos_cannot_leave_the_directory(paper_run, tmp_path):
    found = made_up(videos=("../B/T 1", "A_T1", "B_T2"))
    (paper_run / "predictions.npz").write_bytes(predictions.encode(found))
    out = tmp_path / "deep" / "out"
    assert main([str(paper_run), "--out", str(out), "--only", "timeline", "--video", "../B/T 1"]) == 0
    assert names(out) == both(["timeline-B_T_1"])
