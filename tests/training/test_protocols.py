"""Who validates, and which thresholds are chosen, under the honest protocol."""

import collections

import numpy as np
import pytest

from mdhr_jax.data.records import Video
from mdhr_jax.training.experiment import open_experiment
from mdhr_jax.training.protocols import best_thresholds, describe, validation_subjects


def videos(sizes, each=3):
    """Videos of so many subjects in each part, in list order."""
    numbers, labels = np.arange(2, dtype=np.int32), np.zeros((2, 12), np.int8)
    return [
        Video(f"S{part}{subject:02d}_V{video}", f"S{part}{subject:02d}", f"part{part + 1}", numbers, labels)
        for part, size in enumerate(sizes)
        for subject in range(size)
        for video in range(each)
    ]


@pytest.mark.parametrize(
    ("sizes", "share", "wanted"),
    [
        ((14, 14), 0.2, (3, 3)),
        ((9, 9), 0.2, (2, 2)),
        ((14, 13), 0.2, (3, 2)),
        ((20, 5), 0.2, (4, 1)),
        ((2, 2), 0.2, (1, 0)),
        ((3, 3), 0.9, (3, 2)),
    ],
)
def test_whole_subjects_of_every_part_validate(sizes, share, wanted):
    chosen = validation_subjects(videos(sizes), share, seed=4)
    found = collections.Counter(int(subject[1]) for subject in chosen)
    assert tuple(found[part] for part in range(len(sizes))) == wanted
    assert len(set(chosen)) == sum(wanted)
    assert set(chosen) <= {video.subject for video in videos(sizes)}


def test_who_validates_depends_on_seed_and_names_alone():
    listed = videos((14, 14))
    chosen = {seed: validation_subjects(listed, 0.2, seed) for seed in range(12)}
    assert chosen[3] == validation_subjects(listed[::-1], 0.2, 3)
    assert chosen[3] == validation_subjects(videos((14, 14), each=1), 0.2, 3)
    assert len(set(chosen.values())) > 8
    assert len(set().union(*chosen.values())) > 20


@pytest.mark.parametrize(
    ("sizes", "share", "message"),
    [
        ((1, 1), 0.2, r"0.2 of the subjects .* 2 training subjects is 0"),
        ((1, 1), 0.8, r"0.8 of the subjects .* 2 training subjects is 2"),
        ((1,), 0.5, "is 1; at least one must validate and one be trained on"),
    ],
)
def test_too_few_subjects_are_refused(sizes, share, message):
    with pytest.raises(ValueError, match=message):
        validation_subjects(videos(sizes), share, seed=0)


def f1(scores, present, threshold):
    predicted = scores >= np.float32(threshold)
    wrong = (predicted != present).sum()
    hits = (predicted & present).sum()
    return 2 * hits / (2 * hits + wrong) if hits or wrong else np.nan


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_is_better(seed):
    rng = np.random.default_rng(seed)
    frames, steps = 40, (8, 1000)[seed % 2]  # With 8 steps many scores are equal.
    labels = rng.integers(-1, 2, (frames, 2)).astype(np.int8)
    scores = np.round(rng.random((frames, 2)) * steps).astype(np.float32) / np.float32(steps)
    scores[:, 1] = scores[:, 1] * 0.3 + 0.02 * labels[:, 1].clip(0)
    scores = scores.clip(0, 1)
    chosen = best_thresholds(("AU1", "AU2"), scores, labels)
    for n, threshold in enumerate(chosen.values()):
        known = labels[:, n] >= 0
        of_au, present = scores[known, n], labels[known, n] == 1
        candidates = [0.0, *np.unique(of_au), 1.01]
        best = max(np.nan_to_num(f1(of_au, present, candidate)) for candidate in candidates)
        assert f1(of_au, present, threshold) == best
        assert 0 <= threshold <= 1
        assert float(np.float32(threshold)) == threshold
        if threshold != 0.5:
            assert f1(of_au, present, 0.5) < best


def of_one(scores, labels):
    columns = np.asarray(scores, np.float32)[:, None], np.asarray(labels, np.int8)[:, None]
    return best_thresholds(("AU1",), *columns)["AU1"]


def test_half_stays_where_nothing_is_better_or_nothing_can_be_told():
    assert of_one([0.1, 0.2, 0.9], [0, 0, 0]) == 0.5  # never present
    assert of_one([0.1, 0.2, 0.9], [-1, -1, -1]) == 0.5  # not known
    assert of_one([], []) == 0.5
    assert of_one([0.1, 0.2, 0.9], [0, 0, 1]) == 0.5
    assert of_one([0.6, 0.7, 0.9], [1, 1, 1]) == 0.5
    # 0.05 finds both present frames among four, 0.5 one alone: F1 is 2/3 either way.
    assert of_one([0.9, 0.3, 0.2, 0.1], [1, 0, 0, 1]) == 0.5


def test_a_threshold_lies_between_scores_nearest_to_half():
    assert of_one([0.125, 0.25, 0.375], [0, 1, 1]) == 0.1875
    assert of_one([0.75, 0.875], [0, 1]) == 0.8125
    assert of_one([0.25, 0.25, 0.25], [1, 0, 1]) == 0.125  # everything present: half of the lowest
    # F1 is 2/3 with one of two present frames, and with both among four frames.
    assert of_one([0.4, 0.1, 0.1, 0.1], [1, 0, 0, 1]) == 0.25
    below = np.float32(0.75)
    above = np.nextafter(below, np.float32(1))
    assert of_one([below, above], [0, 1]) == float(above)  # nothing lies between them


def test_training_goes_on_without_the_subjects_that_validate(config):
    config.eval.protocol, config.eval.validation_share = "honest", 0.4
    experiment = open_experiment(config)
    paper = config.copy_and_resolve_references()
    paper.eval.protocol = "paper"
    whole = open_experiment(paper)
    subjects = [
        {video.subject for video in records.videos}
        for records in (experiment.train_records, experiment.validation_records, experiment.test_records)
    ]
    assert [len(members) for members in subjects] == [2, 2, 2]
    assert not set.intersection(*subjects)
    assert len(set.union(*subjects)) == 6
    assert {video.part for video in experiment.validation_records.videos} == {"part1", "part2"}
    assert subjects[0] | subjects[1] == {video.subject for video in whole.train_records.videos}
    assert set(experiment.validation_subjects) == subjects[1]
    assert experiment.selection_records is experiment.validation_records
    assert whole.selection_records is whole.test_records
    # Class weights, clips and steps are those of the subjects that are left.
    labels = np.concatenate([video.labels for video in experiment.train_records.videos])
    np.testing.assert_allclose(experiment.train_records.rates(), (labels == 1).mean(0))
    assert experiment.stream.clips_per_epoch == len(experiment.train_records.videos) == 2
    video = experiment.validation_records.videos[1]
    index = [other.name for other in whole.train_records.videos].index(video.name)
    np.testing.assert_array_equal(
        experiment.validation_records.read_frames(1, 3, 5), whole.train_records.read_frames(index, 3, 5)
    )
    meta = experiment.metadata()
    assert (meta["protocol"], set(meta["validation_subjects"])) == ("honest", subjects[1])
    assert (whole.metadata()["protocol"], whole.metadata()["validation_subjects"]) == ("paper", [])
    experiment.check_protocol(meta)
    with pytest.raises(ValueError, match="protocol: found 'paper', expected 'honest'"):
        experiment.check_protocol(whole.metadata())
    with pytest.raises(ValueError, match=r"validation_subjects: found \['S1'\], expected \['S"):
        experiment.check_protocol(meta | {"validation_subjects": ["S1"]})
    whole.check_protocol({"protocol": "paper"})  # of a checkpoint from before there was a choice
    config.eval.validation_share = 0.1
    with pytest.raises(ValueError, match="of 4 training subjects is 0"):
        open_experiment(config)


def test_a_result_says_its_protocol_in_words():
    result = {
        "protocol": "honest",
        "step": 12,
        "validation_subjects": ["F001", "M002"],
        "selection": {"checkpoint": "validation", "thresholds": "validation"},
    }
    assert describe(result) == (
        "protocol honest: checkpoint of step 12, the best on 2 subjects kept out of training; a threshold "
        "for each AU, chosen on 2 subjects kept out of training"
    )
    paper = {"protocol": "paper", "selection": {"checkpoint": "test", "thresholds": "fixed"}}
    assert describe(result | paper) == (
        "protocol paper: checkpoint of step 12, the best on the test part itself; threshold 0.5"
    )
