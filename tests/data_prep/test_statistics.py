import json

import numpy as np
import pytest

from data_prep import statistics
from mdhr_jax import facs
from mdhr_jax.data.records import Video


def video(name, labels, numbers=None, part="part1"):
    labels = np.asarray(labels, np.int8)
    numbers = np.arange(len(labels)) if numbers is None else np.asarray(numbers)
    return Video(name, name.split("_")[0], part, numbers.astype(np.int32), labels)


def with_first_au(values):
    labels = np.ones((len(values), 8), np.int8)
    labels[:, 0] = values
    return labels


def test_rates_are_of_the_known_frames():
    videos = [video("SN001", with_first_au([1, 0, -1, 0])), video("SN002", with_first_au([-1, 1]))]
    assert statistics.of_videos(facs.DISFA, videos) == {
        "videos": 2,
        "frames": 6,
        "rates": {"AU1": 0.5, **dict.fromkeys(facs.DISFA.au_names[1:], 1.0)},
    }


def test_weights_are_inverse_rates_with_mean_one():
    train = [video("SN001", with_first_au([1, 0, 0, 0]))]
    fold = statistics.of_fold(facs.DISFA, train, [])
    # 4 / (4 + 7) * 8 and 1 / (4 + 7) * 8
    assert fold["class_weights"] == {"AU1": 2.909091, **dict.fromkeys(facs.DISFA.au_names[1:], 0.727273)}


@pytest.mark.parametrize(
    ("length", "splits", "expected"),
    [
        # 20 + 20 frames with a jump between, then 17.
        (16, True, (6, 3, 39)),
        (16, False, (5, 2, 23)),
        (20, True, (3, 1, 3)),
        (1, True, (57, 0, 0)),
    ],
)
def test_windows_and_what_pads_them(length, splits, expected):
    videos = [
        video("SN001", np.zeros((40, 8)), [*range(20), *range(30, 50)]),
        video("SN002", np.zeros((17, 8)), range(100, 117)),
    ]
    found = statistics.of_windows(videos, length, split_on_jumps=splits)
    assert tuple(found.values()) == expected
    assert list(found) == ["windows", "padded_windows", "padded_frames"]


def test_videos_go_to_folds_by_their_parts():
    videos = [video(f"SN00{i}", np.ones((2, 8)), part=f"part{i}") for i in (1, 2, 3)]
    names = {
        fold: ([v.name for v in train], [v.name for v in test])
        for fold, (train, test) in statistics.in_folds(videos).items()
    }
    assert names == {
        1: (["SN001", "SN002"], ["SN003"]),
        2: (["SN001", "SN003"], ["SN002"]),
        3: (["SN002", "SN003"], ["SN001"]),
    }


def test_the_report_is_json_with_the_keys_that_are_promised():
    videos = [video(f"SN00{i}", np.ones((2, 8)), part=f"part{i}") for i in (1, 2, 3)]
    report = json.loads(json.dumps(statistics.of_folds(facs.DISFA, statistics.in_folds(videos))))
    assert list(report) == ["dataset", "folds"]
    assert list(report["folds"]) == ["1", "2", "3"]
    fold = report["folds"]["2"]
    assert set(fold) == {"train", "test", "class_weights"}
    assert set(fold["train"]) == {"videos", "frames", "rates"}
    assert set(fold["test"]) == {"videos", "frames", "rates", "windows", "padded_windows", "padded_frames"}
    assert fold["test"]["padded_frames"] == 14
