"""``python -m mdhr_jax.report`` as it is typed: its files, its messages, and what it leaves behind."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from mdhr_jax.report import __main__ as command
from tests.conftest import run_in_repository
from tests.report.made_report import of_model, put, report


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


def test_pictures_beside_the_report_are_in_it(mixed, tmp_path):
    figures = tmp_path / "out" / "figures"
    figures.mkdir(parents=True)
    Image.new("RGB", (4, 3), "red").save(figures / "learning curves.png")
    report(mixed, tmp_path / "out", "--table", "3")
    assert "![learning curves](figures/learning%20curves.png)" in (tmp_path / "out" / "report.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<img src="data:image/png;base64,' in page
    assert 'alt="learning curves"' in page


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
