"""What is drawn of predictions and logs: numbers equal those of the run, by independent loops."""

import numpy as np
import pytest

from mdhr_jax.figures import cooccurrence, curves, subjects, timelines
from mdhr_jax.figures.runs import choose_videos, label_changes, open_runs
from mdhr_jax.training import logs, results, workdir
from mdhr_jax.training.metrics import AUCounts
from tests.figures.conftest import AU_NAMES, STEP, made_up, small_config, write_config, write_log

LIMITS = np.array([0.5, 0.25, 0.75], np.float32)


def test_a_timeline_is_the_part_of_the_predictions_that_is_of_the_video():
    found = made_up()
    shown = timelines.timeline(found, "A_T1")
    assert (shown.video, shown.subject, shown.au_names) == ("A_T1", "A", AU_NAMES)
    np.testing.assert_array_equal(shown.frame_number, [*range(1, 7), *range(20, 26)])
    np.testing.assert_array_equal(shown.scores, found.scores[12:24])
    np.testing.assert_array_equal(shown.labels, found.labels[12:24])
    np.testing.assert_array_equal(shown.thresholds, LIMITS)
    np.testing.assert_array_equal(shown.predicted, found.scores[12:24] >= LIMITS)
    assert shown.f1(2) is None
    for column in (0, 1):
        pairs = [
            (p, y) for p, y in zip(shown.predicted[:, column], shown.labels[:, column], strict=True) if y >= 0
        ]
        right = sum(p and y == 1 for p, y in pairs)
        assert shown.f1(column) == 2 * right / (sum(p for p, _ in pairs) + sum(y for _, y in pairs))
    with pytest.raises(ValueError, match="no video 'C' among B_T1, A_T1, B_T2"):
        timelines.timeline(found, "C")


def test_spans_end_where_the_choice_ends_and_where_the_recording_jumps():
    numbers = np.array([1, 2, 3, 10, 11, 12, 13], np.int32)
    chosen = np.array([0, 1, 1, 1, 0, 1, 1], bool)
    assert timelines.spans(numbers, chosen) == [(1.5, 2), (9.5, 1), (11.5, 2)]
    assert timelines.spans(numbers, ~np.ones(7, bool)) == []


def test_unknown_labels_are_neither_present_nor_absent_in_the_drawing():
    labels = np.full((36, 3), -1, np.int8)
    drawn = timelines.draw(timelines.timeline(made_up(labels=labels), "B_T1"), 25.0, "")
    # Of each AU: present, unknown, predicted.
    for axes in drawn.axes[:3]:
        present, unknown, _ = axes.collections
        assert len(present.get_paths()) == 0
        assert len(unknown.get_paths()) == 1
        assert unknown.get_paths()[0].get_extents().width == 12


def test_the_video_with_most_changes_is_shown_unless_others_are_named():
    labels = np.zeros((36, 3), np.int8)
    labels[[15, 17], 0] = 1
    labels[18:24, 1] = 1  # Behind the jump: no change.
    labels[[3], 0] = 1
    labels[25:27, 0] = -1
    found = made_up(labels=labels)
    assert choose_videos(found, []) == ("A_T1",)
    assert choose_videos(found, ["B_T2", "B_T1", "B_T2"]) == ("B_T2", "B_T1")
    with pytest.raises(
        ValueError, match="video X is not in the test part of this run, which has 3 videos: B_T1"
    ):
        choose_videos(found, ["X", "B_T1"])
    taken = found.video == 1
    assert label_changes(labels[taken], found.frame_number[taken]).sum() == 3


@pytest.mark.parametrize("seed", range(5))
def test_cooccurrence_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 2, (36, 3)).astype(np.int8)
    labels[:, 1] = np.minimum(labels[:, 1], 0 if seed == 4 else 1)
    found = made_up(labels=labels)
    shown = cooccurrence.cooccurrence(found)
    predicted = found.scores >= LIMITS
    for i in range(3):
        for j in range(3):
            frames = [f for f in range(36) if labels[f, i] >= 0 and labels[f, j] >= 0]
            for values, present in ((shown.truth, labels == 1), (shown.predicted, predicted)):
                given = [f for f in frames if present[f, j]]
                wanted = sum(present[f, i] for f in given) / len(given) if given else np.nan
                np.testing.assert_equal(values[i, j], wanted)
    assert np.isnan(shown.truth[:, 1]).all() == (seed == 4)
    np.testing.assert_array_equal(shown.difference, shown.predicted - shown.truth)


def test_f1_of_subjects_is_that_of_their_frames_and_of_all_that_of_the_result():
    found = made_up()
    shown = subjects.subject_f1(found)
    assert (shown.subjects, shown.frames) == (("A", "B"), (12, 24))
    of_b = (found.video != 1)[:, None]
    for row, taken in ((0, ~of_b), (1, of_b), (None, None)):
        predicted = found.scores >= LIMITS
        counts = AUCounts(
            *(
                np.asarray((p & y & (True if taken is None else taken)).sum(0))
                for p, y in (
                    (predicted, found.labels == 1),
                    (predicted, found.labels == 0),
                    (~predicted, found.labels == 1),
                    (~predicted, found.labels == 0),
                )
            )
        )
        np.testing.assert_allclose(shown.pooled if row is None else shown.f1[row], counts.f1(), rtol=1e-15)
    np.testing.assert_allclose(shown.pooled, found.counts().overall.f1(), rtol=1e-15)
    assert np.isnan(shown.f1[0, 2])
    np.testing.assert_allclose(shown.means[0], shown.f1[0, :2].mean())
    np.testing.assert_allclose(shown.pooled_mean, shown.pooled.mean())


def test_curves_are_the_lines_of_the_log(paper_run):
    (run,) = open_runs([paper_run])
    shown = curves.curves(run)
    for name in curves.TRAINED:
        lines = logs.read_log(paper_run, "train")
        np.testing.assert_array_equal(shown.train[name][0], [line["step"] for line in lines])
        np.testing.assert_array_equal(shown.train[name][1], [line[name] for line in lines])
    np.testing.assert_array_equal(shown.f1, [[4, 10], [40, 100]])
    assert (shown.chosen_on, shown.chosen_step, shown.name) == ("test", None, "fold1-seed0-honest")


def test_curves_of_the_honest_protocol_of_no_regions_and_of_damage(tmp_path, paper_run):
    write_log(paper_run, region=0.0, kind="validation")
    workdir.write_json(paper_run / workdir.RESULT_FILE, dict.fromkeys(results.RESULT_KEYS, STEP))
    with (paper_run / logs.FILE_NAME).open("a") as file:
        file.write('{"kind": "train", "step": 12, "loss": null}\n{"kind": "tra')
    shown = curves.curves(open_runs([paper_run])[0])
    assert (shown.chosen_on, shown.chosen_step) == ("validation", STEP)
    assert len(shown.train["region_loss"][0]) == 0
    assert np.isnan(shown.train["loss"][1][-1])
    write_config(tmp_path / "new", small_config(tmp_path))
    begun, new = (curves.curves(run) for run in open_runs([paper_run, tmp_path / "new"]))
    assert (begun.begun, new.begun) == (True, False)
    texts = [text.get_text() for text in curves.draw([begun, new], "").axes[5].get_legend().get_texts()]
    assert texts == [
        f"fold1-seed0-honest\nreports step 10, config {begun.config_hash}",
        f"new\nnothing logged yet, config {new.config_hash}",
        "checkpoint that is reported",
    ]
    with pytest.raises(FileNotFoundError, match=r"new: no line in metrics\.jsonl yet"):
        curves.draw([new], "")


@pytest.mark.parametrize("content", ["[]", "7", "null", "{}", '{"step": "10"}', '{"step": '])
def test_a_result_that_names_no_step_is_told(content, paper_run):
    (paper_run / workdir.RESULT_FILE).write_text(content)
    with pytest.raises(ValueError, match=r"result\.json (names no step|is not JSON|holds a \w+, expected)"):
        curves.curves(open_runs([paper_run])[0])


def test_curves_of_many_runs_differ_and_their_names_stand_below(paper_run):
    write_log(paper_run)
    (one,) = [curves.curves(run) for run in open_runs([paper_run])]
    drawn = curves.draw([one] * 28, "where the numbers come from, in print that is small, " * 12)
    lines = drawn.axes[4].get_lines()[:28]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 28
    (legend,) = drawn.legends
    assert len(legend.get_texts()) == 29
    assert drawn.axes[5].get_legend() is None
    drawn.canvas.draw()
    assert legend.get_window_extent().y1 <= min(axes.get_window_extent().y0 for axes in drawn.axes[3:5])
    assert drawn.get_figheight() < drawn.get_figwidth()
    (footer,) = [text for text in drawn.texts if text.get_gid() == "footer"]
    assert (
        0.0 < footer.get_window_extent().y0 < footer.get_window_extent().y1 <= legend.get_window_extent().y0
    )
    assert footer.get_window_extent().x1 <= drawn.bbox.x1


def test_runs_of_one_name_are_told_apart_by_their_parents(tmp_path):
    for model in ("a", "b"):
        write_config(tmp_path / model / "run", small_config(tmp_path))
    found = open_runs([tmp_path / "a" / "run", tmp_path / "b" / "run"])
    assert [run.name for run in found] == ["a/run", "b/run"]
    with pytest.raises(ValueError, match="named twice"):
        open_runs([tmp_path / "a" / "run", tmp_path / "b" / ".." / "a" / "run"])
    with pytest.raises(FileNotFoundError, match=r"a holds no run: there is no .*config\.json"):
        open_runs([tmp_path / "a"])
    workdir.write_json(tmp_path / "a" / workdir.CONFIG_FILE, {"model": {}})
    with pytest.raises(ValueError, match="is not a configuration of this project"):
        open_runs([tmp_path / "a"])


def test_many_subjects_fit_a_page_that_can_be_looked_at():
    def drawn(count):
        rng = np.random.default_rng(count)
        f1 = np.where(rng.uniform(size=(count, 3)) < 0.2, np.nan, rng.uniform(size=(count, 3)))
        names = tuple(f"S{i:03d}" for i in range(count))
        shown = subjects.SubjectF1(
            names, ("AU1", "AU2", "AU4"), f1, np.asarray([0.5, 0.6, 0.7]), (9,) * count
        )
        return shown, subjects.draw(shown, "small print")

    shown, few = drawn(20)
    heat = few.axes[0]
    assert len(heat.texts) == np.isfinite(shown.f1).sum() + 3
    assert len(heat.get_yticklabels()) == 21
    _, many = drawn(480)
    heat = many.axes[0]
    assert many.get_figheight() < 22
    assert len(heat.texts) == 3
    named = [label.get_text() for label in heat.get_yticklabels()]
    assert named[0].startswith("S000")
    assert named[-1] == "all frames"
    assert 60 < len(named) < 160
    np.testing.assert_array_equal(heat.images[0].get_array().shape, (480, 3))
