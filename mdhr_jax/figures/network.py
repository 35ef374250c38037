"""A run's network with its weights and the frames that it was tested on, to look inside of it."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int8, Int32, UInt8
from ml_collections import ConfigDict

from mdhr_jax import config as config_lib
from mdhr_jax import facs
from mdhr_jax.data import layout, own_sets
from mdhr_jax.data.augment import resize_clips
from mdhr_jax.data.clips import decode_edge, evaluation_windows
from mdhr_jax.data.records import ClipRecords, open_dataset
from mdhr_jax.figures.runs import Run, label_changes
from mdhr_jax.models.explain import explain
from mdhr_jax.models.functional import Arrays, FunctionalModel
from mdhr_jax.training import checkpoints, stored_step, workdir
from mdhr_jax.training.metrics import THRESHOLD


@dataclasses.dataclass(frozen=True)
class LookedAt:
    """A window of a video and what the network did with it; without padding.

    Attributes:
        video, subject: names.
        frame_number: in the recording.
        frames: as the network sees them, but for normalisation.
        labels: 0, 1 or -1 (unknown).
        scores: in [0, 1].
        predicted: whether a score reaches its AU's threshold.
        scale_weights: of the L scales at every position of the map, see `mdhr_jax.models.explain`; None where
            the model has none.
        active: what the region classifiers take for active; None without them.
        attention: weight with which an AU (row) receives from another (column); None without the graph.
    """

    video: str
    subject: str
    frame_number: Int32[np.ndarray, "T"]
    frames: UInt8[np.ndarray, "T S S 3"]
    labels: Int8[np.ndarray, "T N"]
    scores: Float[np.ndarray, "T N"]
    predicted: Bool[np.ndarray, "T N"]
    scale_weights: Float[np.ndarray, "T h w L"] | None
    active: Bool[np.ndarray, "T N"] | None
    attention: Float[np.ndarray, "T N N"] | None


@dataclasses.dataclass(frozen=True)
class Network:
    """A checkpoint and its test part.

    Attributes:
        model, params, batch_stats: the network.
        meta: of the checkpoint.
        thresholds: of each AU name.
        config: of the run.
        records: its test part.
    """

    model: FunctionalModel
    params: Arrays
    batch_stats: Arrays
    meta: dict[str, Any]
    thresholds: dict[str, float]
    config: ConfigDict
    records: ClipRecords

    @property
    def default_video(self) -> str:
        """The video of the test part in which labels change most; of equals the first."""
        return max(self.records.videos, key=lambda v: label_changes(v.labels, v.frame_numbers).sum()).name

    @functools.cached_property
    def _compiled(self) -> Any:
        size, dtype = self.config.data.image_size, self.model.config.dtype

        def look(params: Arrays, batch_stats: Arrays, frames: jax.Array) -> Any:
            clips = resize_clips(frames, image_size=size, dtype=dtype)
            return explain(self.model, params, batch_stats, clips)

        return jax.jit(look)

    def look(self, video: str) -> LookedAt:
        """Runs the network on the evaluation window of a video in which labels change most.

        Full windows come before shorter ones; of equals the first is taken.

        Args:
            video: its name.

        Raises:
            ValueError: there is no such video in the test part.
        """
        names = [v.name for v in self.records.videos]
        if video not in names:
            raise ValueError(
                f"video {video} is not among the {len(names)} videos of the test part in "
                f"{self.records.directory}"
            )
        number = names.index(video)
        known = self.records.videos[number]
        length = self.config.data.clip_length
        changes = label_changes(known.labels, known.frame_numbers)
        windows = evaluation_windows([known], length)
        _, start, taken = max(
            windows.tolist(),
            key=lambda w: (w[2] == length, changes[w[1] + 1 : w[1] + w[2]].sum(), -w[1]),
        )
        size = self.config.data.image_size
        frames = self.records.read_frames(number, start, start + taken, size=decode_edge(size, crop_margin=0))
        # As in evaluation: a window too short is filled up with its last frame.
        padded = np.concatenate([frames, np.repeat(frames[-1:], length - taken, axis=0)])
        found = self._compiled(self.params, self.batch_stats, padded[None])

        def inside(value: Any, dtype: Any = np.float32) -> Any:
            return None if value is None else np.asarray(value, dtype)[0, :taken]

        scores = inside(found.scores)
        limits = np.asarray([self.thresholds[name] for name in self.records.au_set.au_names], np.float32)
        return LookedAt(
            video=video,
            subject=known.subject,
            frame_number=known.frame_numbers[start : start + taken],
            frames=frames,
            labels=known.labels[start : start + taken],
            scores=scores,
            predicted=scores >= limits,
            scale_weights=inside(found.scale_weights),
            active=inside(found.active, bool),
            attention=inside(found.attention),
        )


def open_network(run: Run, data_dir: Path | None) -> Network:
    """The checkpoint that the run's predictions are of, else its best one, and the test part of its fold.

    Args:
        run: of which.
        data_dir: the data directory; None for the one that the run was trained on.

    Raises:
        FileNotFoundError: the checkpoint or the data are not there.
        ValueError: they do not fit the run.
    """
    config = _config_of(run)
    name = "data.dir of the run's configuration" if data_dir is None else "--data"
    where = Path(config.data.dir if data_dir is None else data_dir)
    own_sets.register(where, config.dataset)
    try:
        au_set = facs.get(config.dataset)
        layout.find_dataset(where, au_set)
    except (FileNotFoundError, ValueError) as error:
        raise FileNotFoundError(
            f"the frames are not in {where} ({name}); name their place with --data: {error}"
        ) from error
    model = FunctionalModel.create(config_lib.model_config(config))
    path, thresholds = _checkpoint(run)
    try:
        like = (model.param_shapes, model.stat_shapes)
        *stored, meta = checkpoints.load_model(path, like=like)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"figures of what the model looked at need a checkpoint: {error}") from error
    expected = {"dataset": au_set.name, "au_names": list(au_set.au_names), "fold": config.fold}
    stored_step.check_meta(meta, expected)
    records = open_dataset(where, au_set, [facs.part_tested(config.fold)])
    _check_data(run, records)
    fixed = dict.fromkeys(au_set.au_names, THRESHOLD)
    params, batch_stats = jax.device_put(tuple(stored))
    return Network(model, params, batch_stats, meta, thresholds or fixed, config, records)


def _config_of(run: Run) -> ConfigDict:
    """The run's configuration with defaults for keys that are younger than it."""

    def over(defaults: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
        merged = dict(defaults)
        for key, value in stored.items():
            below = merged.get(key)
            merged[key] = over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        return merged

    merged = over(config_lib.base().to_dict(), dict(run.config))
    # JSON has no tuples.
    model = merged["model"]
    merged["model"] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in model.items()
    }
    return ConfigDict(merged)


def _checkpoint(run: Run) -> tuple[Path, dict[str, float] | None]:
    """Where weights are read, and the thresholds that belong to them where predictions say so."""
    try:
        meta = run.predictions.meta
    except FileNotFoundError:
        return run.directory, None
    if meta["config_hash"] != config_lib.config_hash(run.config):
        return run.directory, None
    step = run.directory / workdir.CHECKPOINTS / str(meta["step"])
    return (step, dict(meta["thresholds"])) if step.is_dir() else (run.directory, None)


def _check_data(run: Run, records: ClipRecords) -> None:
    """Refuses data that the run's predictions are not of."""
    try:
        meta = run.predictions.meta
    except FileNotFoundError:
        return
    if meta["data_fingerprint"] != records.fingerprint:
        raise ValueError(
            f"{records.directory} (fingerprint {records.fingerprint}) is not the data set that "
            f"{run.directory} was tested on (fingerprint {meta['data_fingerprint']}); name that one with "
            "--data"
        )


def evenly(count: int, most: int) -> Sequence[int]:
    """At most `most` of `count` numbers, the first and the last among them, evenly spaced."""
    if count <= most:
        return range(count)
    return np.round(np.linspace(0, count - 1, most)).astype(int).tolist()
