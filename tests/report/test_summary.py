"""What stands at the report's top, which tables it shows, and what it says of those without runs."""

import json
import re

import pytest

from tests.report import made_runs
from tests.report.made_report import put, report


def test_one_fold_alone_is_reported_where_it_is_asked_for(tmp_path, capsys):
    for row in ("backbone", "mfd"):
        put(tmp_path / "runs", row, 1)
    content = report(tmp_path / "runs", tmp_path / "out")
    assert content["studies"][0]["models"]["paper"]["tiny"]["means"] == {}
    assert "--folds 1 takes means over fold 1 alone" in capsys.readouterr().err
    text = (tmp_path / "out" / "report.md").read_text()
    assert "> **Note.** Study 1 has no row with every fold; --folds 1 takes means over fold 1 alone." in text
    assert "Every row of this table is a gap, because no seed has every fold; --folds 1 takes means" in text
    content = report(tmp_path / "runs", tmp_path / "out", "--folds", "1")
    (run,) = [r for r in content["runs"] if r["directory"].startswith("synthetic_bp4d/tiny/")]
    result = json.loads((tmp_path / "runs" / run["directory"] / "result.json").read_text())
    found = content["studies"][0]["models"]["paper"]["tiny"]["means"]["f1"]
    assert found["value"] == pytest.approx(result["f1_mean"], rel=1e-12)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "--folds" not in text
    assert "Means are over fold 1 alone, as was asked for; the paper's are over three folds." in text


def top_of(out):
    """The lines of the summary."""
    text = (out / "report.md").read_text()
    return text[text.index("## Summary") : text.index("## How to read the numbers")]


def test_the_top_says_what_was_run_and_what_is_missing(made):
    top = top_of(made[1])
    assert "| 2: synthetic (BP4D-like), laptop scale | paper, honest | 1, 2, 3 | 0, 1 |" in top
    started = "MFD + AFE, MFD + AFE + Aux, MFD + AFE + Aux + CRM, MFD + AFE + Aux + CRM + TCN: not started"
    (line,) = [line for line in top.splitlines() if line.startswith("| 2 | 3 | paper |")]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[3] == "3 of 9"
    assert cells[4] == f"AFE + Aux: gap; AFE + Aux + CRM, {started}" or cells[4].startswith("AFE + Aux: gap;")
    assert cells[5:] == ["1", "0", "1", "9"]
    assert "No run is of table 1 (F1 of 12 AUs on BP4D); 2 (F1 of 8 AUs on DISFA); 5 (Edges" in top


def test_tables_of_which_there_is_no_run_are_gaps(tmp_path):
    put(tmp_path / "runs", "backbone", 1)
    content = report(tmp_path / "runs", tmp_path / "out", "--folds", "1")
    assert [table["table"] for table in content["studies"][0]["tables"]] == ["3"]
    assert content["without_runs"] == ["1", "2", "4", "5"]
    text = (tmp_path / "out" / "report.md").read_text()
    section = text[text.index("\n## Tables without runs") : text.index("\n## Runs")]
    assert re.findall(r"### Table (\w)", section) == ["1", "2", "4", "5"]
    assert "| Ours (Swin-B) | 66.2 | not started |" in section
    assert "k = 1" not in text
    # Asked for, a table stands with the study that it would be of.
    content = report(tmp_path / "runs", tmp_path / "out", "--folds", "1", "--table", "4", "--table", "k")
    assert [table["table"] for table in content["studies"][0]["tables"]] == ["4", "k"]
    assert content["without_runs"] == ["4", "k"]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| k = 1 | – | not started |" in text
    assert "| Layer 1 alone | 64.3 | not started |" in text
    assert "No run of this study is of a row of this table." in text
    assert "## Tables without runs" not in text


def test_the_sweep_is_shown_where_a_run_is_of_it_alone(tmp_path):
    # The full model, which is one of the sweep's rows too.
    put(tmp_path / "runs", "full", 1, skill=1.0)
    content = report(tmp_path / "runs", tmp_path / "out", "--folds", "1")
    assert [table["table"] for table in content["studies"][0]["tables"]] == ["1", "3"]
    put(tmp_path / "runs", "k4", 1, table="k", skill=1.0)
    content = report(tmp_path / "runs", tmp_path / "out", "--folds", "1")
    (study,) = content["studies"]
    assert [table["table"] for table in study["tables"]] == ["1", "3", "k"]
    found = {row["name"]: row["results"]["paper"]["model"] for row in study["tables"][-1]["rows"]}
    assert (found["k2"] is not None, found["k4"] is not None, found["k5"]) == (True, True, None)


def test_the_trace_names_version_and_commit_where_they_are_known(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    for row, more in (("backbone", {"commit": commit}), ("mfd", {"commit": f"{commit}-dirty"}), ("afe", {})):
        run = put(tmp_path / "runs", row, 1)
        config = made_runs.config_of("3", row)
        made_runs.save(run, config, versions={"mdhr_jax": "0.1.0", **more})
    content = report(tmp_path / "runs", tmp_path / "out", "--folds", "1")
    assert len(content["studies"]) == 1
    found = [run["result"]["commit"] for run in content["runs"]]
    assert found == [commit, None, f"{commit}-dirty"]  # By path: tiny, tiny+afe, tiny+mfd-k2.
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| 0.1.0, 0123456789ab |" in text
    assert "| 0.1.0, 0123456789ab-dirty |" in text
    assert "| 0.1.0 |" in text
    assert "They are of 2 commits of the project" in text
    assert "0123456789ab-dirty" in (tmp_path / "out" / "report.tex").read_text()
