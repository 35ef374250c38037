"""The report of a directory of finished, killed, failed, duplicate and foreign runs: each as it is."""

import fcntl
import json
import re

import numpy as np
import pytest

from mdhr_jax.paper import TABLES
from mdhr_jax.training import predictions, workdir
from tests.report import made_runs
from tests.report.made_report import mean_of, of_model, put, report, study_of


def test_a_number_is_the_mean_over_folds_and_seeds_of_the_result_files(mixed, made):
    content, _ = made
    found = of_model(content, "tiny")
    assert found["seeds"] == [0]
    assert found["means"]["f1"]["value"] == pytest.approx(mean_of(mixed, "backbone"), rel=1e-12)
    lower, upper = found["means"]["f1"]["interval"]
    assert lower < found["means"]["f1"]["value"] < upper
    afe = of_model(content, "tiny+afe")
    assert afe["seeds"] == [0, 1]
    expected = (mean_of(mixed, "afe") + mean_of(mixed, "afe", seed=1)) / 2
    assert afe["means"]["f1"]["value"] == pytest.approx(expected, rel=1e-12)
    assert len(afe["runs"]) == len(afe["means"]["f1"]["runs"]) == 6


def test_incomplete_rows_are_gaps_and_say_why(made):
    content, out = made
    mfd = of_model(content, "tiny+mfd-k2")
    assert mfd["seeds"] == [0]
    assert len(mfd["runs"]) == 4
    ids = {run["directory"]: run["id"] for run in content["runs"]}
    where = "synthetic_bp4d/tiny+mfd-k2/fold{}-seed1-paper"
    assert mfd["gaps"][:2] == [
        f"fold 2, seed 1: failed ({ids[where.format(2)]})",
        f"fold 3, seed 1: interrupted ({ids[where.format(3)]})",
    ]
    aux = of_model(content, "tiny+afe+aux")
    assert aux["seeds"] == []
    assert aux["means"] == {}
    assert aux["gaps"][0].startswith("fold 3, seed 0: contradictory (")
    assert of_model(content, "tiny")["gaps"][3].startswith("fold 1, seed 2: damaged (")
    text = (out / "report.md").read_text()
    assert re.search(r"\| AFE \+ Aux \| 64.5 \| gap \|", text)
    assert re.search(r"\| MFD \+ AFE \| 65.3 \| not started \|", text)
    assert "AFE + Aux, protocol paper: fold 3, seed 0: contradictory" in text


def test_rows_that_lack_the_same_runs_share_a_note(tmp_path):
    for row in ("backbone", "mfd", "afe"):
        put(tmp_path / "runs", row, 1)
    put(tmp_path / "runs", "mfd", 2)
    report(tmp_path / "runs", tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert (
        "\n* Backbone, AFE, protocol paper: fold 2, seed 0: not started; fold 3, seed 0: not started.\n"
        in text
    )
    assert "\n* MFD, protocol paper: fold 3, seed 0: not started.\n" in text


def test_every_directory_is_listed_with_its_state_and_why(made):
    content, _ = made
    runs = {run["directory"]: run for run in content["runs"]}
    assert runs["again"]["state"] == "finished"
    assert not runs["again"]["used"]
    assert "none is used" in runs["again"]["reason"]
    assert runs["copy"]["reason"] == "" or "a copy of" in runs["copy"]["reason"]
    backbone = [runs["copy"], runs["synthetic_bp4d/tiny/fold1-seed0-paper"]]
    assert [run["used"] for run in backbone] == [True, False]
    assert runs["notes"]["state"] == "not a run"
    assert runs["synthetic_bp4d/tiny/fold1-seed2-paper"]["state"] == "damaged"
    assert runs["full"]["used"]
    assert {run["state"] for run in runs.values()} == {
        "finished",
        "failed",
        "interrupted",
        "damaged",
        "not a run",
    }
    assert all(run["used"] == (run["reason"] == "") for run in runs.values())


def test_studies_say_what_their_runs_share_and_what_tells_like_ones_apart(tmp_path):
    config = made_runs.config_of("3", "afe")
    made_runs.finish(tmp_path / "runs" / "one", config)
    other = made_runs.finish(tmp_path / "runs" / "other", config)
    found = predictions.read(other / "predictions.npz")
    meta = {**found.meta, "data_fingerprint": "9" * 64}
    found = made_runs.dataclasses.replace(found, meta=meta)
    (other / "predictions.npz").write_bytes(predictions.encode(found))
    made_runs.finish(tmp_path / "runs" / "short", made_runs.config_of("3", "afe", train__epochs=7))
    content = report(tmp_path / "runs", tmp_path / "out")
    assert len(content["studies"]) == 3
    text = (tmp_path / "out" / "report.md").read_text()
    sections = re.split(r"\n## ", text)[3:6]
    number = {s["recipe"]["data fingerprint"][0]: s["number"] for s in content["studies"][:2]}
    nines, usual = sections[number["9"] - 1], sections[number["a"] - 1]
    assert f"data fingerprint: {'9' * 12};" in nines
    assert f"Study {number['a']}, which is alike, differs in data fingerprint." in nines
    assert f"Study {number['9']}, which is alike, differs in data fingerprint." in usual
    assert "Study 3, which is alike, differs in recipe." in usual
    assert "version of mdhr\\_jax: not known" in usual


def test_other_scales_and_recipes_stand_apart(made):
    content, _ = made
    assert len(content["studies"]) == 3
    full = study_of(content, "full")
    assert (full["dataset"], full["synthetic"]) == ("bp4d", False)
    assert list(full["models"]["paper"]) == ["resnet50+mfd-k5"]
    short = study_of(content, departures=1)
    assert short["departures"] == ["train.epochs: 7 here, 40 there"]
    used = {run["run"] for model in study_of(content)["models"]["paper"].values() for run in model["runs"]}
    elsewhere = {run["id"] for run in content["runs"] if run["directory"] in ("full", "short")}
    assert not used & elsewhere


def test_protocols_are_never_in_one_number_or_column(made):
    content, out = made
    protocols = {run["id"]: (run["result"] or {}).get("protocol") for run in content["runs"]}

    def check(node, arm=None):
        if isinstance(node, dict):
            if "value" in node and arm is not None:
                assert {protocols[name] for name in node["runs"]} <= {arm}
            for key, child in node.items():
                check(child, key if key in ("paper", "honest") else arm)
        elif isinstance(node, list):
            for child in node:
                check(child, arm)

    check(study_of(content)["models"])
    honest = of_model(content, "tiny", "honest")["means"]["f1"]
    assert honest["value"] != of_model(content, "tiny")["means"]["f1"]["value"]
    headers = [
        line
        for line in (out / "report.md").read_text().splitlines()
        if line.startswith("| Row | Printed |") and "honest" in line
    ]
    assert len(headers) == 2  # Of tables 3 and 4, which share a row.
    for header in headers:
        assert header.index("Protocol paper: F1 (95 %)") < header.index("Protocol honest: F1 (95 %)")


def test_drawn_faces_are_called_so_and_not_compared_with_the_paper(made):
    content, out = made
    assert study_of(content)["synthetic"]
    for table in study_of(content)["tables"]:
        for row in table["rows"]:
            assert row["paper"] is not None
            assert all(found["minus_paper"] is None for found in row["results"].values())
    text = (out / "report.md").read_text()
    assert "The faces of this study are drawn." in text
    assert ("whatever network a row is named after" in text) == (study_of(content)["scale"] == "laptop")
    assert "**Table 3: mean F1 in percent, on drawn faces**" in text


def test_the_baseline_is_that_of_the_result_files(mixed, made):
    content, _ = made
    config = [made_runs.config_of("3", "afe", fold=fold) for fold in (1, 2, 3)]
    results = [json.loads((made_runs.directory_of(mixed, c) / "result.json").read_text()) for c in config]
    found = study_of(content)["always_present"]
    assert found["f1_mean"]["value"] == pytest.approx(np.mean([r["baseline_f1_mean"] for r in results]))
    for name in ("AU1", "AU24"):
        assert found["f1"][name]["value"] == pytest.approx(np.mean([r["baseline_f1"][name] for r in results]))


def test_every_number_leads_to_its_runs(mixed, made):
    content, out = made
    runs = {run["id"]: run for run in content["runs"]}
    for model in study_of(content)["models"]["paper"].values():
        for entry in model["runs"]:
            run = runs[entry["run"]]
            result = json.loads((mixed / run["directory"] / "result.json").read_text())
            assert run["config_hash"] == result["config_hash"]
            assert run["result"]["step"] == result["step"] == 40
            assert entry["means"]["f1"]["value"] == pytest.approx(result["f1_mean"], rel=1e-12)
            assert entry["means"]["f1_changing"]["value"] == pytest.approx(
                result["f1_changing_mean"], rel=1e-12
            )
            for name, value in result["accuracy"].items():
                assert entry["per_au"]["accuracy"][name] == pytest.approx(value, rel=1e-12)
            assert (entry["seed"], entry["fold"]) == (result["seed"], result["fold"])
    for text, target in (
        ((out / "report.md").read_text(), '<a id="{}"></a>'),
        ((out / "report.html").read_text(), 'id="{}"'),
    ):
        named = set(re.findall(r"#(R\d+)\b", text))
        assert len(named) > 10
        assert all(target.format(name) in text for name in named)


def test_the_paper_s_data_and_protocol_are_compared_with_its_numbers(tmp_path):
    for fold in (1, 2, 3):
        for protocol in ("paper", "honest"):
            put(tmp_path / "runs", "resnet50", fold, table="1", scale="full", protocol=protocol, skill=1.0)
    content = report(tmp_path / "runs", tmp_path / "out")
    (study,) = content["studies"]
    assert {table["table"] for table in study["tables"]} == {"1", "3"}
    (table,) = [t for t in study["tables"] if t["table"] == "1"]
    assert [row["title"] for row in table["printed"]] == [row.title for row in TABLES["1"].rows]
    (row,) = [r for r in table["rows"] if r["name"] == "resnet50"]
    ours = study["models"]["paper"]["resnet50+mfd-k5+afe+aux+crm+tcn"]["means"]["f1"]
    minus = row["results"]["paper"]["minus_paper"]
    assert minus["value"] == pytest.approx(ours["value"] - 66.6)
    np.testing.assert_allclose(minus["interval"], np.array(ours["interval"]) - 66.6)
    assert row["results"]["honest"]["minus_paper"] is None
    text = (tmp_path / "out" / "report.md").read_text()
    honest = text[text.index("**Table 1: F1 of each AU in percent, protocol honest") :]
    assert "WSRTL, printed | 59.7 | 51.7 |" in text
    assert "WSRTL, printed" not in honest
    # One study only: the average that is not the mean of its row is told.
    assert "The printed mean of EAC-Net, SMA-Net is not the mean of the printed values." in text
    only = report(tmp_path / "runs", tmp_path / "out", "--table", "3", "--folds", "1,2")
    assert [t["table"] for t in only["studies"][0]["tables"]] == ["3"]
    rows = only["studies"][0]["tables"][0]["rows"]
    assert all(row["results"]["paper"]["minus_paper"] is None for row in rows)


def test_an_undefined_au_is_a_dash_with_a_note(tmp_path):
    for fold in (1, 2, 3):
        config = made_runs.config_of("2", "resnet50", fold=fold)
        never = (4, 6) if fold == 2 else (4,)
        made_runs.finish(tmp_path / "runs" / str(fold), config, never=never)
    content = report(tmp_path / "runs", tmp_path / "out")
    model = content["studies"][0]["models"]["paper"]["tiny+mfd-k2+afe+aux+crm+tcn"]
    assert model["per_au"]["f1"]["AU9"]["value"] is None
    assert model["undefined"]["f1"] == {"AU25": "fold 2"}
    text = (tmp_path / "out" / "report.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| Ours (ResNet-50), this project "))
    cells = [cell.strip() for cell in line.split("|")[2:-1]]
    assert cells[4] == "–"
    assert cells[6].endswith("†")
    assert cells[5][-1].isdigit()
    assert "AU25 is neither present nor predicted in fold 2, which counts 0 there." in text
    assert "AU9 is neither present nor predicted in any fold; F1 is undefined" in text


def test_a_run_in_progress_is_a_gap(tmp_path):
    put(tmp_path / "runs", "backbone", 1)
    directory = put(tmp_path / "runs", "backbone", 2, kind=made_runs.start)
    with (directory / workdir.LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = report(tmp_path / "runs", tmp_path / "out")
    gaps = content["studies"][0]["models"]["paper"]["tiny"]["gaps"]
    assert gaps == ["fold 2, seed 0: running (R2)", "fold 3, seed 0: not started"]


def test_every_line_of_numbers_names_its_runs_or_its_seeds(made, tmp_path):
    _, out = made
    for fold in (1, 2, 3):
        config = made_runs.config_of("1", "resnet50", fold=fold, scale="full")
        made_runs.finish(tmp_path / "runs" / str(fold), config)
    report(tmp_path / "runs", tmp_path / "out")
    looked_at = 0
    for text in ((out / "report.md").read_text(), (tmp_path / "out" / "report.md").read_text()):
        for block in text.partition("\n## Runs")[0].split("\n\n"):
            lines = block.splitlines()
            if not lines[0].startswith("| ") or lines[0].startswith("| AU |"):
                continue  # Of a single model's AUs the last line names the runs of all.
            header = [cell.strip() for cell in lines[0].split("|")[1:-1]]
            for line in lines[2:]:
                title, *cells = [cell.strip() for cell in line.split("|")[1:-1]]
                if title.endswith((", printed", ", 95 %", ", minus the printed")):
                    continue  # Numbers of the line above, or none of ours.
                ours = [c for c, name in zip(cells, header[1:], strict=True) if name != "Printed"]
                if any(re.match(r"[+−]?\d+\.\d", cell) for cell in ours):
                    looked_at += 1
                    pair = header[0] == "Row minus reference row"
                    seeds = pair and any(re.fullmatch(r"\d+(, \d+)*", c) for c in ours)
                    assert seeds or "](#R" in line, line
    assert looked_at > 30
