"""Labels of the presets `realistic` and `changing` have the statistics of the published ones."""

import dataclasses
import functools

import numpy as np
import pytest

from mdhr_jax.data.synthetic import generator, label_statistics, statistics
from mdhr_jax.data.synthetic.label_statistics import measure
from mdhr_jax.data.synthetic.published import PUBLISHED

FRAMES = 100_000


@functools.cache
def _measured(like: str, preset: str = "realistic", seed: int = 0, frames_per_video: int | None = None):
    spec = statistics.spec_for(like, preset, seed, FRAMES, frames_per_video)
    return measure(*statistics.generated_labels(spec, FRAMES))


@pytest.mark.parametrize("like", generator.LIKES)
def test_realistic_labels_keep_all_bounds(like):
    spec = statistics.spec_for(like, "realistic", 0, FRAMES)
    bounds = statistics.bounds_for(spec)
    assert bounds.runs
    assert label_statistics.misses(_measured(like), PUBLISHED[like], bounds) == []


@pytest.mark.parametrize("like", generator.LIKES)
@pytest.mark.parametrize("frames", [64, 128])
def test_short_videos_keep_rates_and_co_occurrence(like, frames):
    spec = statistics.spec_for(like, "realistic", 0, FRAMES, frames)
    bounds = statistics.bounds_for(spec)
    assert not bounds.runs
    assert label_statistics.misses(_measured(like, "realistic", 0, frames), PUBLISHED[like], bounds) == []


@pytest.mark.parametrize("like", generator.LIKES)
def test_named_pairs_start_and_stop_together(like):
    published, found = PUBLISHED[like], _measured(like)
    for first, second, share in published.joint_changes:
        i, j = published.aus.index(first), published.aus.index(second)
        assert found.joint[i, j] > 2.0 * found.joint_by_chance[i, j]
        if share is not None:
            assert found.joint[i, j] > 0.4 * share


@pytest.mark.parametrize("like", generator.LIKES)
def test_run_lengths_have_a_heavy_tail(like):
    # A geometric distribution has a 90 % quantile of log(0.1) / log(0.5) = 3.3 medians.
    published, found = np.asarray(PUBLISHED[like].run_quantiles), _measured(like).run_quantiles
    heavy = published[:, 2] / published[:, 1] > 4.0
    assert heavy.sum() >= 4
    assert np.all(found[heavy, 2] / found[heavy, 1] > 3.3)


@pytest.mark.parametrize("like", generator.LIKES)
def test_subjects_differ_as_widely_as_published(like):
    found, published = _measured(like).subject_rates, np.asarray(PUBLISHED[like].subject_rates)
    assert np.abs(found[:, 1] - published[:, 1]).max() < 0.12
    np.testing.assert_allclose(found.mean(0), published.mean(0), atol=0.1)
    # Extremes of twenty-odd subjects are matters of chance; they are never all alike.
    assert np.all(found[:, 2] - found[:, 0] > 0.4 * (published[:, 2] - published[:, 0]))


def test_changing_labels_change_in_most_windows():
    for like in generator.LIKES:
        spec = statistics.spec_for(like, "changing", 0, FRAMES)
        found = _measured(like, "changing")
        assert label_statistics.misses(found, PUBLISHED[like], statistics.bounds_for(spec)) == []
        assert found.windows_by_au.min() > 3.0 * _measured(like).windows_by_au.min()
    assert _measured("bp4d", "changing").windows_by_au.min() > 0.15


def test_a_video_does_not_depend_on_what_else_is_asked_for():
    # Casts of `changing` are quicker to draw.
    spec = generator.SyntheticSpec(preset="changing", subjects=3, videos_per_subject=1)
    larger = dataclasses.replace(spec, subjects=60, videos_per_subject=9, size=96)
    wanted = spec.videos()[2]
    tracks, labels = generator.time_courses(spec, wanted)
    # Another cast in between, and the same video by another name of the data set.
    generator.time_courses(larger, larger.videos()[-1])
    generator._cast.cache_clear()
    same = next(video for video in larger.videos() if video.name == wanted.name)
    again, labels_again = generator.time_courses(larger, same)
    assert tracks.tobytes() == again.tobytes()
    assert labels.tobytes() == labels_again.tobytes()
    other_seed, _ = generator.time_courses(dataclasses.replace(spec, seed=1), wanted)
    assert tracks.tobytes() != other_seed.tobytes()


def test_statistics_of_known_labels():
    labels = np.zeros((32, 2), np.int8)
    labels[4:12, 0] = 1
    labels[5:14, 1] = 1
    labels[20:22, 0] = 1
    found = measure([labels, np.ones((16, 2), np.int8)], [0, 1])
    assert found.frames == 48
    np.testing.assert_allclose(found.rates, [26 / 48, 25 / 48])
    np.testing.assert_allclose(found.conditional[0, 1], 23 / 25)
    assert found.run_counts.tolist() == [3, 2]
    np.testing.assert_allclose(found.run_quantiles[0, 1], 8)
    assert found.windows == pytest.approx(2 / 3)
    np.testing.assert_allclose(found.windows_by_au, [2 / 3, 1 / 3])
    np.testing.assert_allclose(found.subject_rates[0], [10 / 32, 0.5 * (10 / 32 + 1), 1])
    np.testing.assert_allclose(found.joint[1, 0], 1.0)
    np.testing.assert_allclose(found.joint[0, 1], 0.5)


def test_every_missed_bound_is_named():
    published = PUBLISHED["disfa"]
    found = dataclasses.replace(
        _measured("disfa"), rates=np.asarray(published.rates) + 0.04, windows=0.3, conditional=np.ones((8, 8))
    )
    sentences = label_statistics.misses(found, published, label_statistics.Bounds((0.15, 0.24), True))
    assert any("AU26: rate 0.128, published 0.088" in sentence for sentence in sentences)
    assert any("P(i|j)" in sentence for sentence in sentences)
    assert sentences[-1] == "windows with a change 30.0%, bounds 15% to 24%"


def test_command_line(capsys, tmp_path):
    report = tmp_path / "labels.md"
    assert statistics.main(["--like", "disfa", "--report", str(report)]) == 0
    assert "0 bounds missed" in capsys.readouterr().out
    text = report.read_text()
    assert "| AU26 |" in text
    assert "preset realistic, seed 0" in text
    # Too few frames to be typical.
    assert statistics.main(["--like", "disfa", "--frames", "4845"]) == 1
    assert "bounds missed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--like", "ck"], "bp4d or disfa"),
        (["--preset", "hard"], "known: easy, realistic, changing"),
        (["--seed", "-1"], "seed must be at least 0"),
        (["--frames", "100"], "less than one video"),
        (["--frames-per-video", "8"], "a window of 16 frames"),
        (["--videos", "0"], "a subject needs a video"),
        (["--report", "nowhere/labels.md"], "no folder nowhere"),
        (["--report", "labels.txt"], ".md or .html"),
    ],
)
def test_mistakes_are_explained(arguments, message, capsys):
    assert statistics.main(arguments) == 2
    assert message in capsys.readouterr().err
