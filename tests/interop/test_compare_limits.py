import dataclasses

import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.interop import comparison, comparison_report, measurements
from mdhr_jax.interop.measurements import Measurements

LENGTH = 6
FRAMES = 2 * LENGTH


def measured(au_set=facs.DISFA, *, tied=()):
    """Made-up measurements whose largest values are about 1; some frames have tied region decisions."""
    rng = np.random.default_rng(0)

    def stage(name):
        if name == measurements.ACTIVATIONS:
            return rng.integers(0, 2, (FRAMES, au_set.num_aus)).astype(np.float64)
        if not name.startswith("region"):
            return rng.uniform(-1, 1, (FRAMES, 5))
        logits = rng.permuted(np.tile(np.linspace(-1, 1, 4), (FRAMES, 1)), axis=1)
        for frame in tied:
            logits[frame] = [0.5, 0.5 + 1e-4, 0, 0]
        return logits

    stages = {name: stage(name) for name in measurements.stage_names(au_set)}
    training = {name: x for name, x in stages.items() if name.startswith("region") or name == "scores"}
    gradients = {
        "Backbone.layer1.0.conv1.weight": rng.normal(size=(4, 4)),
        "Backbone.layer2.0.conv1.weight": rng.normal(size=(4, 4)),
        "MFD.conv1.weight": rng.normal(size=(4, 4)),
        "MFD.conv2.weight": rng.normal(size=(4, 4)),
        "MFD.conv1.bias": 1e-9 * rng.normal(size=4),
    }
    buffers = {"MFD.bn1.running_mean": rng.normal(size=4), "MFD.bn1.running_var": np.ones(4)}
    losses = rng.uniform(size=(3, 3))
    return Measurements(stages, stages, (training,) * 3, losses, gradients, buffers)


def changed(of, field, name, change, index=...):
    """Measurements with one array changed."""
    old = getattr(of, field)
    values = dict(old)
    values[name] = values[name].copy()
    values[name][index] += change
    return dataclasses.replace(of, **{field: values})


def departures(exact, ours, own=None, au_set=facs.DISFA):
    sections = comparison.compare(au_set, LENGTH, exact, ours, own)
    return [row.name for section in sections for row in section.rows if row.departs]


@pytest.mark.parametrize("au_set", [facs.BP4D, facs.DISFA], ids=lambda au_set: au_set.name)
def test_what_agrees_does_not_depart(au_set):
    same = measured(au_set)
    assert departures(same, same, au_set=au_set) == []
    assert departures(same, same, same, au_set=au_set) == []


@pytest.mark.parametrize(
    ("field", "name", "passes", "fails"),
    [
        ("stages", "scores", 0.9e-9, 1.1e-9),
        ("stages", "region logits mid", 0.9e-8, 1.1e-8),
        ("stages", "G", 0.8e-8, 1.2e-8),
        ("stages", "predicted activations", 0, 1),
        ("gradients", "MFD.conv1.weight", 1e-7, 1e-5),
        ("buffers", "MFD.bn1.running_var", 0.9e-7, 1.1e-7),
    ],
)
def test_limits_in_float64(field, name, passes, fails):
    exact = measured()
    shown = "MFD" if field != "stages" else name
    assert departures(exact, changed(exact, field, name, passes)) == []
    assert departures(exact, changed(exact, field, name, fails)) == [shown]


@pytest.mark.parametrize("step", range(3))
def test_losses_of_every_step_are_held_to_a_limit(step):
    exact = measured()
    losses = exact.losses.copy()
    losses[step, 1] += 2e-7
    ours = dataclasses.replace(exact, losses=losses)
    assert departures(exact, ours) == [f"step {step + 1}, AU loss"]


def test_training_mode_is_compared():
    exact = measured()
    training = dict(exact.training[0])
    training["scores"] = training["scores"] + 1e-8
    assert departures(exact, dataclasses.replace(exact, training=(training,) * 3)) == ["scores"]


def test_without_training_only_the_evaluation_is_compared():
    exact = measured()
    bare = dataclasses.replace(exact, training=(), losses=np.zeros((0, 3)), gradients={}, buffers={})
    (section,) = comparison.compare(facs.DISFA, LENGTH, bare, bare, None)
    assert section.title == "Evaluation mode"


@pytest.mark.parametrize("float32", [False, True])
def test_weights_that_were_there_and_back_are_held_to_the_limit_of_the_scores(float32):
    exact = measured()
    own = changed(exact, "stages", "scores", 1e-5) if float32 else None
    evaluation = comparison.compare(facs.DISFA, LENGTH, exact, exact, own)[0]
    limit = 3e-5 if float32 else 1e-9
    for share, departs in ((0.9, False), (1.1, True)):
        ours = changed(exact, "stages", "scores", share * limit).stages
        (row,) = comparison.round_trip(exact.stages, ours, evaluation).rows
        assert row.departs == departs


def test_the_first_departure_in_the_order_of_the_data_flow_is_marked():
    exact = measured()
    ours = changed(changed(exact, "stages", "scores", 1.0), "stages", "MFD scale 3, pooled", 1.0)
    sections = comparison.compare(facs.DISFA, LENGTH, exact, ours, None)
    said = "the first that departs is 'MFD scale 3, pooled' (evaluation mode): 1.0e+00, limit 1.0e-08"
    assert comparison.verdict(sections) == said
    marked = {
        row[0]: row[-1] for table in comparison.tables(sections) for row in table.rows if "DEP" in row[-1]
    }
    assert marked == {"MFD scale 3, pooled": "DEPARTS FIRST", "scores": "DEPARTS"}


@pytest.mark.parametrize(
    ("field", "group", "name"),
    [
        ("gradients", "MFD", "MFD.conv1.weight"),
        ("gradients", "MFD", "MFD.conv2.weight"),
        ("buffers", "MFD", "MFD.bn1.running_mean"),
        ("buffers", "MFD", "MFD.bn1.running_var"),
    ],
)
def test_one_tensor_that_is_no_number_departs_wherever_it_lies(field, group, name):
    exact = measured()
    broken = changed(exact, field, name, np.nan, 0)
    assert departures(exact, broken) == [group]
    assert departures(broken, exact) == [group]
    assert departures(exact, broken, exact) == [group]


def test_what_is_no_number_departs():
    exact = measured()
    assert departures(exact, changed(exact, "stages", "G", np.nan, 3)) == ["G"]
    assert departures(exact, changed(exact, "gradients", "MFD.conv1.weight", np.nan)) == ["MFD"]
    assert departures(exact, changed(exact, "stages", "G", np.nan, 3), exact) == ["G"]


def test_what_has_another_shape_departs():
    exact = measured()
    stages = exact.stages | {"G": exact.stages["G"][:, :4]}
    assert departures(exact, dataclasses.replace(exact, stages=stages)) == ["G"]


@pytest.mark.parametrize("field", ["gradients", "buffers"])
def test_what_is_missing_departs(field):
    exact = measured()
    rest = {
        k: v for k, v in getattr(exact, field).items() if k not in ("MFD.conv2.weight", "MFD.bn1.running_var")
    }
    assert departures(exact, dataclasses.replace(exact, **{field: rest})) == ["MFD"]


def test_a_gradient_whose_elements_changed_places_departs():
    exact = measured()
    turned = exact.gradients | {"MFD.conv1.weight": exact.gradients["MFD.conv1.weight"].T}
    assert departures(exact, dataclasses.replace(exact, gradients=turned)) == ["MFD"]


def test_gradients_that_are_nothing_but_rounding_are_left_out():
    exact = measured()
    assert departures(exact, changed(exact, "gradients", "MFD.conv1.bias", 1e-9)) == []
    section = comparison.compare(facs.DISFA, LENGTH, exact, exact, None)[3]
    assert [row.name for row in section.rows] == ["Backbone.layer1", "Backbone.layer2", "MFD"]
    assert any(note.startswith("1 parameters") for note in section.notes)


def test_in_float32_three_times_the_distance_of_torch_passes():
    exact = measured()
    own = changed(exact, "stages", "G", 1e-4)
    assert departures(exact, changed(exact, "stages", "G", 2.9e-4), own) == []
    assert departures(exact, changed(exact, "stages", "G", 3.1e-4), own) == ["G"]
    assert departures(exact, changed(exact, "stages", "G", 0.9e-6), exact) == []
    assert departures(exact, changed(exact, "stages", "G", 1.1e-6), exact) == ["G"]


def with_training(of, name, change):
    training = dict(of.training[0])
    training[name] = training[name] + change
    return dataclasses.replace(of, training=(training,) * 3)


def with_loss(of, step, i, change):
    losses = of.losses.copy()
    losses[step, i] += change
    return dataclasses.replace(of, losses=losses)


def test_in_float32_a_loss_that_torch_met_by_chance_is_no_yardstick():
    exact = measured()
    ours = with_loss(exact, 0, 2, 1e-5)
    assert departures(exact, ours, exact) == ["step 1, region loss"]
    assert departures(exact, ours, with_training(exact, "region logits mid", 1e-5)) == []
    assert departures(exact, ours, with_training(exact, "scores", 1e-5)) == ["step 1, region loss"]
    # Where one loss has drifted the later ones may too, but not those before.
    drifted = with_loss(exact, 1, 0, 1e-5)
    assert departures(exact, ours, drifted) == ["step 1, region loss"]
    assert departures(exact, with_loss(exact, 2, 1, 1e-5), drifted) == []


def test_in_float32_frames_near_a_tied_decision_are_judged_with_given_decisions():
    exact = measured(tied=[1])  # Reaches frames 0 to 3 of the first clip.
    tie = "scores, decisions given"
    for frame in range(4):
        assert departures(exact, changed(exact, "stages", "scores", 0.1, frame), exact) == []
        given = changed(exact, "stages_given", "scores", 0.1, frame)
        assert departures(exact, given, exact) == [tie]
    for frame in (4, 5, 6):
        assert departures(exact, changed(exact, "stages", "scores", 0.1, frame), exact) == ["scores"]
        assert departures(exact, changed(exact, "stages_given", "scores", 0.1, frame), exact) == []
    # The stages before the decision are judged in all frames.
    assert departures(exact, changed(exact, "stages", "G", 0.1, 1), exact) == ["G"]
    section = comparison.compare(facs.DISFA, LENGTH, exact, exact, exact)[0]
    assert section.notes[0].startswith("1 of 12 frames")
    assert "4 frames within 2 of them are left out" in section.notes[0]


def test_in_float64_no_frame_is_left_out():
    exact = measured(tied=[1])
    assert departures(exact, changed(exact, "stages", "scores", 0.1, 1)) == ["scores"]


def test_frames_within_reach_stay_in_their_clip():
    tied = np.zeros(FRAMES, bool)
    tied[[5, 9]] = True
    near = measurements.within_reach(tied, LENGTH)
    assert np.flatnonzero(near).tolist() == [3, 4, 5, 7, 8, 9, 10, 11]


def test_a_small_margin_in_any_region_is_a_tie():
    stages = measured(tied=[2, 7]).stages
    assert np.flatnonzero(measurements.nearly_tied(facs.DISFA, stages)).tolist() == [2, 7]
    clear = {name: x.copy() for name, x in stages.items()}
    for name in ("region logits up", "region logits mid"):
        clear[name][2] = [0, 1, 2, 3]
    assert np.flatnonzero(measurements.nearly_tied(facs.DISFA, clear)).tolist() == [2, 7]
    clear["region logits down"][2] = [0, 1, 2, 3]
    assert np.flatnonzero(measurements.nearly_tied(facs.DISFA, clear)).tolist() == [7]


TABLE = comparison_report.Table(
    "Stages <1>", ("", "a|b", ""), (("x", "1.0", "ok"), ("yy", "22.0", "DEPARTS, a < b")), ("a note",)
)


def test_text_is_aligned():
    assert comparison_report.as_text(TABLE).splitlines() == [
        "Stages <1>",
        "----------",
        "     a|b",
        "x    1.0  ok",
        "yy  22.0  DEPARTS, a < b",
        "(a note)",
    ]


def test_markdown_holds_facts_and_tables(tmp_path):
    path = tmp_path / "report.md"
    comparison_report.check_path(path)
    comparison_report.write(path, "Title", [("device", "CPU|x")], [TABLE])
    assert path.read_text().splitlines() == [
        "# Title",
        "",
        r"* device: CPU\|x",
        "",
        "## Stages <1>",
        "",
        r"|  | a\|b |  |",
        "| --- | ---: | --- |",
        "| x | 1.0 | ok |",
        "| yy | 22.0 | DEPARTS, a < b |",
        "",
        "a note",
    ]


def test_html_is_escaped_and_marks_what_departs(tmp_path):
    path = tmp_path / "report.html"
    comparison_report.write(path, "T & t", [("device", "<CPU>")], [TABLE])
    page = path.read_text()
    assert page.startswith("<!doctype html>")
    assert "<h1>T &amp; t</h1>" in page
    assert "<li>device: &lt;CPU&gt;</li>" in page
    assert "<tr><td>x</td><td>1.0</td><td>ok</td></tr>" in page
    assert '<tr class="departs"><td>yy</td>' in page
    assert "<p>a note</p>" in page
    assert "<1>" not in page
