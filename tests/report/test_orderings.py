"""Which of the paper's orderings are seen, and the differences that tell."""

import pytest

from mdhr_jax.report import numbers, orderings
from mdhr_jax.report.evidence import Number
from mdhr_jax.tables import rows
from tests.report.made_report import mean_of, put, report, study_of

STEPS_OF_TABLE_3 = {
    ("mfd", "backbone"),
    ("afe", "backbone"),
    ("afe+aux", "afe"),
    ("hsr", "afe+aux"),
    ("mfd+afe", "mfd"),
    ("mfd+afe", "afe"),
    ("mfd+afe+aux", "mfd+afe"),
    ("mfd+afe+aux", "afe+aux"),
    ("mfd+hsr", "mfd+afe+aux"),
    ("mfd+hsr", "hsr"),
    ("full", "mfd+hsr"),
}


def test_orderings_are_told_from_paired_intervals(mixed, made):
    content, out = made
    (table,) = [t for t in study_of(content)["tables"] if t["table"] == "3"]
    pairs = {(found["row"], found["reference"]): found for found in table["comparisons"]}
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
    # The paper has MFD above AFE too, which is printed below it, and AFE hardly differs from the backbone.
    assert pairs["afe", "mfd"]["paper"] == -0.5
    assert pairs["afe", "mfd"]["results"]["paper"]["order"] == "seen"
    assert pairs["afe", "mfd"]["results"]["paper"]["difference"]["interval"][1] < 0
    assert pairs["afe", "backbone"]["results"]["paper"]["order"] == "undecided"
    assert pairs["full", "mfd"]["results"]["paper"]["order"] == "cannot be told"
    text = (out / "report.md").read_text()
    steps = {names for names, found in pairs.items() if found["step"]}
    assert steps == STEPS_OF_TABLE_3
    said = "Steps, protocol paper: of 11 orderings of the paper 1 seen, 1 undecided, 9 cannot be told."
    assert text.count(said) == 2  # At the top, and where the table is.
    assert "Other pairs, protocol paper: of 25 orderings of the paper 1 seen, 24 cannot be told." in text
    assert "* Seen under paper: MFD is above Backbone, as the paper has it: MFD minus Backbone is +" in text
    assert "* Seen under paper: MFD is above AFE, as the paper has it: AFE minus MFD is −" in text
    assert "**Table 3, steps: mean F1 of a row minus that of its reference row, in percentage points" in text
    assert "**Table 3, all other pairs: mean F1 of a row minus that of its reference row" in text


def test_an_order_that_is_the_other_way_round_is_reversed(tmp_path):
    for fold in (1, 2, 3):
        put(tmp_path / "runs", "backbone", fold, skill=1.7)
        put(tmp_path / "runs", "mfd", fold, skill=0.1)
    content = report(tmp_path / "runs", tmp_path / "out")
    (table,) = [t for t in content["studies"][0]["tables"] if t["table"] == "3"]
    (found,) = [f for f in table["comparisons"] if (f["row"], f["reference"]) == ("mfd", "backbone")]
    assert found["results"]["paper"]["order"] == "reversed"
    assert found["results"]["paper"]["difference"]["interval"][1] < 0
    text = (tmp_path / "out" / "report.md").read_text()
    told = "the paper has MFD above Backbone; here Backbone is above MFD: MFD minus Backbone is −"
    assert f"* Reversed under paper: {told}" in text


def steps_of(table):
    pairs = orderings.compare_all(rows.ROWS[table], {}, (1, 2, 3))
    assert len(pairs) == len(rows.ROWS[table]) * (len(rows.ROWS[table]) - 1) // 2
    order = [row.name for row in rows.ROWS[table]]
    assert all(order.index(found.row.name) > order.index(found.reference.name) for found in pairs)
    return {(found.row.name, found.reference.name) for found in pairs if found.is_step}


def test_a_step_is_one_module_or_one_setting():
    assert steps_of("1") == {("swin", "resnet50")}
    assert steps_of("3") == STEPS_OF_TABLE_3
    # Layers against the baseline, and ways to fuse; not which layer.
    alone = {(name, "baseline") for name in ("layer1", "layer2", "layer3", "layer4", "layer3+4")}
    assert steps_of("4") >= alone | {("cat", "sum"), ("aw", "sum"), ("aw", "cat"), ("aw", "baseline")}
    assert not {("layer2", "layer1"), ("aw", "layer1"), ("sum", "layer1")} & steps_of("4")
    assert ("aux+fully-connected", "fully-connected") in steps_of("5")
    assert ("aux+cross-activated", "aux+local") in steps_of("5")
    assert ("aux+local", "fully-connected") not in steps_of("5")
    assert len(steps_of("k")) == 28


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


def test_minus_the_printed_moves_the_interval():
    moved = numbers.minus(Number(0.5, (0.4, 0.6), ("R1",)), 45.0)
    assert moved.value == pytest.approx(0.05)
    assert moved.interval == pytest.approx((-0.05, 0.15))
    assert numbers.minus(Number(0.5), None) is None
    assert numbers.minus(None, 45.0) is None
