"""What a run predicted: the file is whole or refused, and everything in a result follows from it."""

import dataclasses
import json
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from mdhr_jax.data.clips import evaluation_windows
from mdhr_jax.training import predictions
from mdhr_jax.training.evaluate import Evaluator
from mdhr_jax.training.experiment import open_experiment
from mdhr_jax.training.metrics import EvalCounts, summarize
from mdhr_jax.training.predictions import Predictions
from tests import tiny

NAMES = ("AU1", "AU2", "AU4")
LENGTH = 5
META = {
    "format": predictions.FORMAT,
    "dataset": "bp4d",
    "fold": 2,
    "seed": 7,
    "au_names": list(NAMES),
    "step": 40,
    "config_hash": "0123456789ab",
    "protocol": "honest",
    "thresholds": {"AU1": 0.5, "AU2": 0.25, "AU4": 0.625},
    "data_fingerprint": "ab" * 32,
}


def make(seed=0, windows=9):
    """Predictions of two videos, some windows shorter than a clip, with unknown labels."""
    rng = np.random.default_rng(seed)
    lengths = np.array([LENGTH if i % 3 else 1 + i % LENGTH for i in range(windows)])
    frames = int(lengths.sum())
    labels = (rng.random((frames, 3)) < 0.4).astype(np.int8)
    labels[rng.random((frames, 3)) < 0.15] = -1
    labels[:, 1] = np.where(np.arange(frames) < frames // 2, labels[:, 1], 1)
    return Predictions(
        videos=("F001_T1", "Ø2"),
        subjects=("F001", "Ø"),
        video=(np.arange(frames) > frames // 2).astype(np.int32),
        frame_number=np.arange(1, frames + 1, dtype=np.int32),
        window=np.repeat(np.arange(windows), lengths).astype(np.int32),
        full_window=lengths == LENGTH,
        labels=labels,
        scores=np.round(rng.random((frames, 3)) * 16).astype(np.float32) / 16,
        meta=META,
    )


def write(path, content=None, **changes):
    path.write_bytes(predictions.encode(make()) if content is None else content)
    if changes:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        arrays = {name: array for name, array in (arrays | changes).items() if array is not None}
        np.savez(path, **arrays)
    return path


def test_what_is_written_is_read(tmp_path):
    path = write(tmp_path / "predictions.npz")
    expected = make()
    for found in map(predictions.read, (path, tmp_path, str(path), str(tmp_path))):
        for field in dataclasses.fields(Predictions):
            np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))
        assert found.scores.dtype == np.float32
        assert found.meta == META


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_evaluation_step(seed):
    found = make(seed)
    windows = len(found.full_window)
    scores = np.zeros((windows, LENGTH, 3), np.float32)
    labels, valid = np.full(scores.shape, -1, np.int8), np.zeros(scores.shape[:2], bool)
    place = [int((found.window[:i] == window).sum()) for i, window in enumerate(found.window)]
    scores[found.window, place], labels[found.window, place] = found.scores, found.labels
    valid[found.window, place] = True
    halves = dict.fromkeys(NAMES, 0.5)
    expected = EvalCounts.from_model_output(scores, labels, valid).to_host()
    jax.tree.map(np.testing.assert_array_equal, found.counts(halves), expected)
    own = found.counts()
    for n, name in enumerate(NAMES):
        threshold = META["thresholds"][name]
        expected = EvalCounts.from_model_output(scores, labels, valid, threshold=threshold).to_host()
        for counted, wanted in ((own.overall, expected.overall), (own.changing, expected.changing)):
            assert [counted.tp[n], counted.fp[n], counted.fn[n], counted.tn[n]] == [
                wanted.tp[n],
                wanted.fp[n],
                wanted.fn[n],
                wanted.tn[n],
            ]
    assert summarize(own, NAMES) != summarize(found.counts(halves), NAMES)


def test_a_file_that_is_not_whole_is_refused(tmp_path):
    path = tmp_path / "predictions.npz"
    with pytest.raises(FileNotFoundError, match=r"no predictions at .*--config.mode=eval"):
        predictions.read(tmp_path)
    whole = predictions.encode(make())
    for content in (b"", whole[: len(whole) // 2], b"not a file of arrays"):
        with pytest.raises(ValueError, match="is damaged or holds no predictions"):
            predictions.read(write(path, content))
    with pytest.raises(ValueError, match="lacks scores, meta; expected videos"):
        predictions.read(write(path, scores=None, meta=None))
    with pytest.raises(ValueError, match=r"scores in .* is float64 of 2 dimensions, expected float32 of 2"):
        predictions.read(write(path, scores=make().scores.astype(np.float64)))
    labels = make().labels.copy()
    labels[0, 0] = 9
    with pytest.raises(ValueError, match=r"labels in .* are \[-1, 0, 1, 9\]"):
        predictions.read(write(path, labels=labels))
    with pytest.raises(ValueError, match=r"window runs over 0\.\.8, but there are 2"):
        predictions.read(write(path, full_window=np.ones(2, bool)))
    with pytest.raises(ValueError, match=r"is inconsistent: shapes .*'video': \(34,\)"):
        predictions.read(write(path, video=np.zeros(34, np.int32)))
    for change, message in (
        ({"format": 99}, "format 99, this version reads 1"),
        ({"thresholds": {"AU1": 0.5}}, "scores of 3 AUs"),
        ({"step": ...}, "lack step"),
    ):
        meta = {key: value for key, value in (META | change).items() if value is not ...}
        with pytest.raises(ValueError, match=message):
            predictions.read(write(path, meta=np.asarray(json.dumps(meta))))
        with pytest.raises(ValueError, match=message):
            predictions.encode(dataclasses.replace(make(), meta=meta))


def test_they_lie_beside_their_result():
    assert predictions.beside(Path("run/result.json")) == Path("run/predictions.npz")
    assert predictions.beside(Path("result/result-eval.json")) == Path("result/predictions-eval.npz")


def weights_of(experiment):
    params, stats = tiny.weights(experiment.states.model.config, seed=3)
    shardings = experiment.states.shardings
    return jax.device_put((params, stats), (shardings.params, shardings.batch_stats))


def test_every_frame_of_the_test_part_has_the_scores_that_were_counted(config):
    config.data.clip_length = 5  # 24 frames: the last window of each video has 4.
    experiment = open_experiment(config)
    evaluator, weights = Evaluator(experiment), weights_of(experiment)
    found = evaluator.predict(experiment.test_records, *weights)
    videos = experiment.test_records.videos
    assert found.videos == tuple(video.name for video in videos)
    assert found.video.tolist() == [v for v in range(len(videos)) for _ in range(24)]
    assert found.frame_number.tolist() == [n for _ in videos for n in range(1, 25)]
    windows = evaluation_windows(videos, 5)
    assert np.bincount(found.window).tolist() == windows[:, 2].tolist()
    assert found.full_window.tolist() == [True, True, True, True, False] * len(videos)
    np.testing.assert_array_equal(found.labels, np.concatenate([video.labels for video in videos]))
    assert found.scores.min() >= 0
    assert found.scores.std() > 0
    counted = evaluator(*weights)
    halves = dict.fromkeys(experiment.au_set.au_names, 0.5)
    assert summarize(found.counts(halves), experiment.au_set.au_names) == counted
    assert counted["f1_changing_mean"] is not None


_OF_ONE_PROCESS = """
import sys
import jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
rank, port, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
import numpy as np
from mdhr_jax import config as config_lib
from mdhr_jax.training.evaluate import Evaluator
from mdhr_jax.training.experiment import open_experiment
from tests import tiny
assert (jax.process_count(), jax.device_count()) == (2, 4)
config = config_lib.base()
config.dataset, config.data.dir = "synthetic_bp4d", sys.argv[4]
config.model.backbone, config.model.width = "tiny", 8
config.data.image_size, config.data.clip_length = 64, 5
experiment = open_experiment(config)
params, stats = tiny.weights(experiment.states.model.config, seed=3)
host = jax.tree.map(np.asarray, (params, stats))
shardings = experiment.states.shardings.params, experiment.states.shardings.batch_stats
found = Evaluator(experiment).predict(experiment.test_records, *jax.device_put(host, shardings))
np.save(f"{out}/{rank}.npy", found.scores)
"""


@pytest.mark.slow
def test_several_processes_gather_the_same_scores(config, synthetic_data, environment, tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _OF_ONE_PROCESS, str(rank), str(port), str(tmp_path), str(synthetic_data)],
            env={**environment, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    config.data.clip_length = 5
    experiment = open_experiment(config)
    alone = Evaluator(experiment).predict(experiment.test_records, *weights_of(experiment))
    gathered = [np.load(tmp_path / f"{rank}.npy") for rank in range(2)]
    np.testing.assert_array_equal(gathered[0], gathered[1])
    np.testing.assert_allclose(gathered[0], alone.scores, atol=1e-5)
