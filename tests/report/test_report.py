"""The command on a directory of finished, killed, failed, duplicate and foreign runs: each as it is."""

import fcntl
import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdhr_jax.paper import TABLES
from mdhr_jax.report import __main__ as command
from mdhr_jax.report import html as html_writer
from mdhr_jax.report import latex, markdown, numbers
from mdhr_jax.report.document import Bullets, Cell, Grid, Heading, Paragraph
from mdhr_jax.report.evidence import Number
from mdhr_jax.training import predictions, workdir
from tests.conftest import run_in_repository
from tests.report import made_runs

RESAMPLES = "300"
SKILLS = {"backbone": 0.2, "mfd": 1.6, "afe": 0.25, "afe+aux": 0.21}


def report(root, out, *options):
    assert command.main([str(root), "--out", str(out), "--resamples", RESAMPLES, *options]) == 0
    return json.loads((out / "report.json").read_text(), parse_constant=pytest.fail)


def put(root, row, fold, *, kind=made_runs.finish, table="3", skill=None, **changes):
    """A run where the command of the tables would put it."""
    config = made_runs.config_of(table, row, fold=fold, **changes)
    options = {"skill": SKILLS[row] if skill is None else skill} if kind is made_runs.finish else {}
    return kind(made_runs.directory_of(root, config), config, **options)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Every kind of trouble in one directory."""
    root = tmp_path_factory.mktemp("mixed")
    for fold in (1, 2, 3):
        for row in ("backbone", "mfd", "afe"):
            put(root, row, fold)
        put(root, "backbone", fold, protocol="honest", skill=0.9)
        put(root, "afe", fold, seed=1)
    put(root, "mfd", 1, seed=1)
    put(root, "mfd", 2, seed=1, kind=made_runs.fail)
    killed = put(root, "mfd", 3, seed=1, kind=made_runs.start)
    (killed / "checkpoints" / "24").mkdir(parents=True)
    put(root, "afe+aux", 1)
    put(root, "afe+aux", 2)
    put(root, "afe+aux", 3)
    again = made_runs.config_of("3", "afe+aux", fold=3)
    made_runs.finish(root / "again", again, skill=1.9)
    made_runs.finish(root / "copy", made_runs.config_of("3", "backbone"), skill=SKILLS["backbone"])
    made_runs.finish(root / "full", made_runs.config_of("3", "mfd", scale="full"), skill=1.9)
    other = made_runs.config_of("3", "mfd", train__epochs=7)
    made_runs.finish(root / "short", other, skill=1.9)
    half = put(root, "backbone", 1, seed=2)
    (half / "result.json").write_bytes((half / "result.json").read_bytes()[:99])
    (root / "notes").mkdir()
    return root


@pytest.fixture(scope="module")
def made(mixed, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return report(mixed, out), out


def study_of(content, scale="laptop", departures=0):
    (study,) = [s for s in content["studies"] if s["scale"] == scale and len(s["departures"]) == departures]
    return study


def of_model(content, model, arm="paper"):
    return study_of(content)["models"][arm][model]


def mean_of(root, row, **changes):
    """Mean F1 over the folds, from the result files."""
    values = []
    for fold in (1, 2, 3):
        config = made_runs.config_of("3", row, fold=fold, **changes)
        result = json.loads((made_runs.directory_of(root, config) / "result.json").read_text())
        values.append(result["f1_mean"])
    return np.mean(values)


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
    assert re.search(r"\| MFD \+ AFE \| 65.3 \| no run \|", text)
    assert "AFE + Aux, protocol paper: fold 3, seed 0: contradictory" in text


def test_rows_that_lack_the_same_runs_share_a_note(tmp_path):
    for row in ("backbone", "mfd", "afe"):
        put(tmp_path / "runs", row, 1)
    put(tmp_path / "runs", "mfd", 2)
    report(tmp_path / "runs", tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "\n* Backbone, AFE, protocol paper: fold 2, seed 0: missing; fold 3, seed 0: missing.\n" in text
    assert "\n* MFD, protocol paper: fold 3, seed 0: missing.\n" in text


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
    sections = re.split(r"\n## ", text)[2:5]
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
            assert all(found["less_paper"] is None for found in row["results"].values())
    text = (out / "report.md").read_text()
    assert "The faces of this study are drawn." in text
    assert ("whatever network a row is named after" in text) == (study_of(content)["scale"] == "laptop")
    assert "**Table 3: mean F1 in percent, on drawn faces**" in text


def test_orderings_are_told_from_paired_intervals(mixed, made):
    content, out = made
    (table,) = [t for t in study_of(content)["tables"] if t["table"] == "3"]
    pairs = {(found["higher"], found["lower"]): found for found in table["comparisons"]}
    assert len(pairs) == 36
    mfd = pairs["mfd", "backbone"]
    assert mfd["paper"] == 1.3
    seen = mfd["results"]["paper"]
    assert seen["order"] == "seen"
    assert seen["excludes_zero"]
    assert seen["seeds"] == [0]
    expected = mean_of(mixed, "mfd") - mean_of(mixed, "backbone")
    assert seen["difference"]["value"] == pytest.approx(expected, rel=1e-10)
    assert seen["difference"]["interval"][0] > 0
    assert mfd["results"]["honest"]["order"] == "cannot be told"
    assert mfd["results"]["honest"]["reason"] == "a row without runs"
    # The paper has MFD above AFE too, and AFE hardly differs from the backbone alone.
    assert pairs["mfd", "afe"]["results"]["paper"]["order"] == "seen"
    assert pairs["afe", "backbone"]["results"]["paper"]["order"] == "undecided"
    assert pairs["full", "mfd"]["results"]["paper"]["order"] == "cannot be told"
    text = (out / "report.md").read_text()
    assert "Protocol paper: of 36 orderings of the paper 2 seen, 1 undecided, 33 cannot be told." in text
    assert "Protocol paper, seen: MFD above Backbone; MFD above AFE." in text


def test_an_order_that_is_the_other_way_round_is_reversed(tmp_path):
    for fold in (1, 2, 3):
        put(tmp_path / "runs", "backbone", fold, skill=1.7)
        put(tmp_path / "runs", "mfd", fold, skill=0.1)
    content = report(tmp_path / "runs", tmp_path / "out")
    (table,) = [t for t in content["studies"][0]["tables"] if t["table"] == "3"]
    (found,) = [f for f in table["comparisons"] if (f["higher"], f["lower"]) == ("mfd", "backbone")]
    assert found["results"]["paper"]["order"] == "reversed"
    assert found["results"]["paper"]["difference"]["interval"][1] < 0


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


def test_the_same_runs_give_the_same_bytes_wherever_they_lie(mixed, made, tmp_path):
    _, out = made
    (tmp_path / "moved").symlink_to(mixed)
    report(tmp_path / "moved", tmp_path / "again")
    for name in ("report.md", "report.tex", "report.html", "report.json"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["report.md", "report.tex", "report.html", "report.json"]
    )
    other = report(mixed, tmp_path / "other", "--seed", "1")
    before = of_model(json.loads((out / "report.json").read_text()), "tiny")["means"]["f1"]
    after = of_model(other, "tiny")["means"]["f1"]
    assert after["value"] == before["value"]
    assert after["interval"] != before["interval"]


def test_one_fold_alone_is_reported_where_it_is_asked_for(tmp_path, capsys):
    for row in ("backbone", "mfd"):
        put(tmp_path / "runs", row, 1)
    content = report(tmp_path / "runs", tmp_path / "out")
    assert content["studies"][0]["models"]["paper"]["tiny"]["means"] == {}
    assert "--folds 1 takes means over fold 1 alone" in capsys.readouterr().err
    content = report(tmp_path / "runs", tmp_path / "out", "--folds", "1")
    (run,) = [r for r in content["runs"] if r["directory"].startswith("synthetic_bp4d/tiny/")]
    result = json.loads((tmp_path / "runs" / run["directory"] / "result.json").read_text())
    found = content["studies"][0]["models"]["paper"]["tiny"]["means"]["f1"]
    assert found["value"] == pytest.approx(result["f1_mean"], rel=1e-12)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "Means are over fold 1 alone, as was asked for; the paper's are over three folds." in text


def test_the_paper_s_data_and_protocol_are_compared_with_its_numbers(tmp_path):
    for fold in (1, 2, 3):
        for protocol in ("paper", "honest"):
            put(tmp_path / "runs", "resnet50", fold, table="1", scale="full", protocol=protocol, skill=1.0)
    content = report(tmp_path / "runs", tmp_path / "out")
    (study,) = content["studies"]
    assert {table["table"] for table in study["tables"]} == {"1", "3", "k"}
    (table,) = [t for t in study["tables"] if t["table"] == "1"]
    assert [row["title"] for row in table["printed"]] == [row.title for row in TABLES["1"].rows]
    (row,) = [r for r in table["rows"] if r["name"] == "resnet50"]
    ours = study["models"]["paper"]["resnet50+mfd-k5+afe+aux+crm+tcn"]["means"]["f1"]
    less = row["results"]["paper"]["less_paper"]
    assert less["value"] == pytest.approx(ours["value"] - 66.6)
    np.testing.assert_allclose(less["interval"], np.array(ours["interval"]) - 66.6)
    assert row["results"]["honest"]["less_paper"] is None
    text = (tmp_path / "out" / "report.md").read_text()
    honest = text[text.index("**Table 1: F1 of each AU in percent, protocol honest") :]
    assert "WSRTL, printed | 59.7 | 51.7 |" in text
    assert "WSRTL, printed" not in honest
    # One study only: the average that is not the mean of its row is told.
    assert "The printed mean of EAC-Net, SMA-Net is not the mean of the printed values." in text
    only = report(tmp_path / "runs", tmp_path / "out", "--table", "3", "--folds", "1,2")
    assert [t["table"] for t in only["studies"][0]["tables"]] == ["3"]
    rows = only["studies"][0]["tables"][0]["rows"]
    assert all(row["results"]["paper"]["less_paper"] is None for row in rows)


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
    assert gaps == ["fold 2, seed 0: running (R2)", "fold 3, seed 0: missing"]


def test_pictures_beside_the_report_are_in_it(mixed, tmp_path):
    figures = tmp_path / "out" / "figures"
    figures.mkdir(parents=True)
    Image.new("RGB", (4, 3), "red").save(figures / "learning curves.png")
    report(mixed, tmp_path / "out", "--table", "3")
    assert "![learning curves](figures/learning%20curves.png)" in (tmp_path / "out" / "report.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<img src="data:image/png;base64,' in page
    assert 'alt="learning curves"' in page


class Page(html.parser.HTMLParser):
    """Checks that tags close in order and collects what is in them."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.ids, self.tables, self.captions, self.unscoped = [], [], [], 0, 0, 0

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.tables += tag == "table"
        self.captions += tag == "caption"
        self.unscoped += tag == "th" and "scope" not in attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_its_tables_are_named(made):
    _, out = made
    text = (out / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.tables == page.captions > 10
    assert page.unscoped == 0
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#R") and link[1:] in page.ids for link in page.links)
    assert "http" not in text.replace("</html>", "")
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')


def test_latex_is_balanced_and_its_rows_fit_their_columns(made):
    _, out = made
    text = (out / "report.tex").read_text()
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    tables = re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert len(tables) > 5
    for columns, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) > 1
        assert all(len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1 for row in rows)
    assert r"\usepackage{booktabs}" in text
    assert not re.search(r"(?<!\\)[#$]|(?<!\\)_", text.partition(r"\begin{document}")[2])
    # Nothing is wider than the page, and no caption has a number before that of the paper's table.
    assert text.count(r"\resizebox{\ifdim\width>\linewidth") == len(tables)
    assert r"\renewcommand{\@makecaption}" in text
    assert "−" not in text


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
                if title.endswith((", printed", ", 95 %", ", less the printed")):
                    continue  # Numbers of the line above, or none of ours.
                ours = [c for c, name in zip(cells, header[1:], strict=True) if name != "Printed"]
                if any(re.match(r"[+−]?\d+\.\d", cell) for cell in ours):
                    looked_at += 1
                    seeds = header[0] == "Rows" and any(re.fullmatch(r"\d+(, \d+)*", c) for c in ours)
                    assert seeds or "](#R" in line, line
    assert looked_at > 30


def test_print_names_the_runs_of_its_numbers_and_what_they_are(made):
    content, out = made
    text = (out / "report.tex").read_text()
    plain = re.sub(r"\\([_#&])", r"\1", re.sub(r"\{\\scriptsize ([^{}]*)\}", r"\1", text))
    backbone = of_model(content, "tiny")["means"]["f1"]["runs"]
    assert f" {', '.join(backbone)} " in plain
    lines = plain.splitlines()
    for run in content["runs"]:
        (line,) = [line for line in lines if line.startswith(f"{run['id']} & {run['directory']} & ")]
        if run["used"]:
            assert f" & {run['config_hash']} & 40 & is gone " in line
        else:
            assert f" & {run['state']} & " in line


def test_a_table_too_wide_for_print_has_its_intervals_below_and_a_high_one_is_several():
    number = Cell("12.3 (4.5 to 67.8) *", ("R1", "R2"))
    wide = Grid("wide", ("Row", *["Measure (95 %)"] * 8), ((Cell("one"), *[number] * 8),) * 2)
    text = latex.write([wide])
    assert " & ".join([r"one", *[r"12.3 \textasteriskcentered{}"] * 8]) + r" \\" in text
    assert text.count(r"{\scriptsize (4.5 to 67.8)}") == text.count(r"{\scriptsize R1, R2}") == 16
    assert text.count(r"\begin{table}") == 1
    narrow = latex.write([Grid("narrow", ("Row", "F1"), ((Cell("one"), number),))])
    assert r"one & 12.3 (4.5 to 67.8) \textasteriskcentered{} {\scriptsize R1, R2} \\" in narrow
    high = latex.write([Grid("high", ("Row",), tuple((Cell(f"x{n}y"),) for n in range(60)), notes=("seen",))])
    assert [f"({n} of 2)" in high for n in (1, 2)] == [True, True]
    assert [high.count(f"x{n}y") for n in range(60)] == [1] * 60
    assert high.count("seen") == 1
    rows = tuple((Cell(f"x{n}y"), *[number] * 9) for n in range(17))
    tall = latex.write([Grid("tall", ("Row", *["Measure"] * 9), rows)])
    assert tall.count(r"\begin{table}") == 2
    middle = tall.index(r"\end{table}")
    assert tall.index("x8y") < middle < tall.index("x9y")
    lone = Grid("lone", ("Row", *["AU"] * 13), ((Cell("one"), *[Cell("4.5 to 67.8")] * 13),))
    text = latex.write([lone])
    assert text.count(r"{\scriptsize 4.5 to}") == text.count(r"{\scriptsize 67.8}") == 13
    assert high.index("x29y") < high.index(r"\end{table}") < high.index("x30y")


def test_tables_for_print_are_in_print_only():
    grid = Grid("for paper", ("A",), ((Cell("x"),),), where="print")
    assert "for paper" in latex.write([grid])
    assert "for paper" not in markdown.write([grid]) + html_writer.write([grid])


AWKWARD = r"""a|b *c* _d_ <e> [f](g) `h` 50 % & $x$ #1 {i} \j ~ ^ "k" −1 –"""


def test_text_is_never_markup():
    grid = Grid(AWKWARD, ("A", AWKWARD), ((Cell(AWKWARD), Cell(AWKWARD)),), notes=(AWKWARD,))
    blocks = [Heading(1, AWKWARD), Paragraph(AWKWARD), Bullets((AWKWARD,)), grid]
    page = Page()
    page.feed(html_writer.write(blocks))
    assert page.open == []
    assert html_writer.html.escape(AWKWARD) in html_writer.write(blocks)
    lines = markdown.write(blocks).splitlines()
    assert r"a\|b \*c\* \_d\_ \<e\> \[f\](g) \`h\` 50 % & $x$ \#1" in lines[0]
    (row,) = [line for line in lines if line.startswith(r"| a\|b")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    text = latex.write(blocks)
    assert r"50 \% \& \$x\$ \#1 \{i\} \textbackslash{}j \textasciitilde{} \textasciicircum{}" in text
    assert r"\ensuremath{-}1 --" in text


def test_a_row_that_does_not_fit_its_table_is_refused():
    with pytest.raises(ValueError, match="has 2 columns, a row has 1"):
        Grid("t", ("A", "B"), ((Cell("x"),),))


def test_headings_without_anything_to_print_are_left_out():
    runs = Grid("r", ("A",), ((Cell("x"),),), where="screen")
    text = latex.write(
        [
            Heading(1, "one"),
            Heading(2, "two"),
            runs,
            Heading(2, "three"),
            Paragraph("p"),
            Heading(2, "four"),
            runs,
        ]
    )
    assert "two" not in text
    assert "four" not in text
    assert text.index("one") < text.index("three") < text.index("\np\n")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "–"),
        (Number(None), "–"),
        (Number(0.012), "+1.2"),
        (Number(-0.012, (-0.02, -0.001)), "−1.2 (−2.0 to −0.1) *"),
        (Number(0.01, (-0.001, 0.02)), "+1.0 (−0.1 to +2.0)"),
        (Number(-0.0001, (-0.0002, 0.0)), "0.0 (0.0 to 0.0)"),
    ],
)
def test_differences_are_marked_only_where_the_interval_excludes_zero(number, text):
    assert numbers.difference(number) == text


def test_less_than_printed_moves_the_interval():
    moved = numbers.less(Number(0.5, (0.4, 0.6), ("R1",)), 45.0)
    assert moved.value == pytest.approx(0.05)
    assert moved.interval == pytest.approx((-0.05, 0.15))
    assert numbers.less(Number(0.5), None) is None
    assert numbers.less(None, 45.0) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "there is no directory nowhere"),
        (["."], r"no run lies in \."),
        (["runs", "--table", "7"], "there is no table '7'; choose one of 1, 2, 3, 4, 5, k"),
        (["runs", "--folds", "4"], "fold 4 does not exist"),
        (["runs", "--resamples", "0"], "0 resamples"),
    ],
)
def test_mistakes_end_with_one_line(options, message, tmp_path, monkeypatch, capsys):
    if options[0] == "runs":
        put(tmp_path / "runs", "backbone", 1)
    monkeypatch.chdir(tmp_path)
    assert command.main([*options, "--out", "out"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(f"error: .*{message}", last)
    assert not (tmp_path / "out").exists()


def test_the_command_does_without_tensorflow(tmp_path):
    put(tmp_path / "runs", "backbone", 1)
    code = (
        "import sys; from mdhr_jax.report.__main__ import main; "
        "status = main(sys.argv[1:]); sys.exit(status or 'tensorflow' in sys.modules)"
    )
    arguments = (str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--resamples", "9")
    done = run_in_repository("-c", code, *arguments)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 directories used" in done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    put(tmp_path / "runs", "backbone", 1)
    out = tmp_path / "out"
    report(tmp_path / "runs", out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    written = []
    write_text = Path.write_text

    def fail_late(path, *arguments, **options):
        if path.parent == out and len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        return write_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", fail_late)
    put(tmp_path / "runs", "backbone", 2)
    assert command.main([str(tmp_path / "runs"), "--out", str(out)]) == 2
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
