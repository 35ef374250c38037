"""Batches of clips: drawn, read and decoded in threads a little ahead of the training loop.

Frames leave here as 8-bit images larger than the model's input; crop, flip, jitter and normalisation
run on the device (`mdhr_jax.data.augment`).
"""

import dataclasses
import functools
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Literal

import numpy as np
from jaxtyping import Int64

from mdhr_jax import facs
from mdhr_jax.data.clips import CROP_MARGIN, ClipStream, decode_edge, resized_edge
from mdhr_jax.data.records import ClipRecords
from mdhr_jax.data.workers import usable_cpus

Batch = dict[str, np.ndarray]
LastBatch = Literal["across", "partial"]

_MAX_WORKERS = 16


@dataclasses.dataclass(frozen=True)
class _Job:
    """A batch that is still to be filled, and what fills it."""

    batch: Batch
    tasks: Sequence[Callable[[], None]]


def steps_total(epochs: int, clips_per_epoch: int, batch_size: int, last_batch: LastBatch = "across") -> int:
    """Number of training steps.

    Args:
        epochs: passes over the training videos.
        clips_per_epoch: clips in one pass.
        batch_size: clips of a step, over all hosts.
        last_batch: ``across``: one stream, ceil(epochs x clips / batch) steps, the last of which may take
            clips of the epoch after; ``partial``: epochs x ceil(clips / batch) steps.
    """
    _check_last_batch(last_batch)
    if last_batch == "partial":
        return epochs * -(-clips_per_epoch // batch_size)
    return -(-epochs * clips_per_epoch // batch_size)


def train_batches(
    records: ClipRecords,
    stream: ClipStream,
    *,
    batch_size: int,
    image_size: int,
    crop_margin: int = CROP_MARGIN,
    start_position: int = 0,
    host_index: int = 0,
    host_count: int = 1,
    workers: int | None = None,
    prefetch: int = 2,
    last_batch: LastBatch = "across",
) -> "BatchIterator":
    """Endless batches of training clips.

    A batch goes on in the stream where the one before ended; with ``partial`` it also ends with its
    epoch. Every host takes its contiguous share of a batch. The batches are the same whatever the
    number of workers, and a start at the ``position`` of a batch gives those that follow it.

    Args:
        records: where frames come from.
        stream: which clips, over `records.videos`.
        batch_size: clips of a batch, over all hosts.
        image_size: edge of the model's input in pixels; decides at which size frames are decoded.
        crop_margin: what a crop leaves out, in pixels of a frame of 256.
        start_position: of the first batch in the stream.
        host_index: which host this is.
        host_count: number of hosts.
        workers: decoding threads; by default one for each CPU that this process may use.
        prefetch: batches prepared ahead.
        last_batch: ``across`` or ``partial``.

    Returns:
        An iterator over dicts: ``frames`` uint8 (B, T, L, L, 3), ``labels`` int8 (B, T, N) with -1 where
        unknown or padded, ``offset`` int32 (B, 2) (y, x of the crop in pixels of the resized frame),
        ``flip`` bool (B,), ``factors`` float32 (B, 3) (brightness, contrast, saturation), ``position``
        int64 scalar, the stream position behind the batch. Close it, or use it in a ``with``.

    Raises:
        ValueError: the numbers do not fit together.
    """
    _check_last_batch(last_batch)
    share = _host_share(batch_size, host_index, host_count)
    edge = decode_edge(image_size, crop_margin)
    margin = resized_edge(image_size, crop_margin) - image_size
    if last_batch == "partial" and host_count > 1:
        raise ValueError('last_batch="partial" makes batches of several sizes, which only one host can take')
    if start_position < 0:
        raise ValueError(f"start_position must not be negative, found {start_position}")
    if stream.num_frames != tuple(video.num_frames for video in records.videos):
        raise ValueError(
            f"the stream was made for other videos ({len(stream.num_frames)} with "
            f"{sum(stream.num_frames)} frames) than the records hold ({len(records.videos)} with "
            f"{records.num_frames})"
        )

    def jobs() -> Iterator[_Job]:
        position = start_position
        while True:
            end = position + batch_size
            if last_batch == "partial":
                end = min(end, (position // stream.clips_per_epoch + 1) * stream.clips_per_epoch)
            clips = [stream[p] for p in range(position + share.start, min(position + share.stop, end))]
            draws = [clip.augmentation for clip in clips]
            batch = _empty_batch(len(clips), stream.clip_length, edge, records.au_set.num_aus)
            batch["offset"] = np.array([draw.offset(margin) for draw in draws], np.int32)
            batch["flip"] = np.array([draw.flip for draw in draws], bool)
            batch["factors"] = np.array([draw.factors for draw in draws], np.float32)
            batch["position"] = np.array(end, np.int64)
            yield _Job(
                batch,
                [
                    functools.partial(_fill, records, batch, row, clip.video, clip.start, clip.length)
                    for row, clip in enumerate(clips)
                ],
            )
            position = end

    return BatchIterator(jobs(), workers, prefetch)


def eval_batches(
    records: ClipRecords,
    windows: Int64[np.ndarray, "W 3"],
    *,
    clip_length: int,
    batch_size: int,
    image_size: int,
    host_index: int = 0,
    host_count: int = 1,
    workers: int | None = None,
    prefetch: int = 2,
) -> "BatchIterator":
    """Batches over evaluation windows, in order, each window once.

    Windows shorter than a clip are padded with their last frame and label -1; the last batch is filled
    up with black clips of label -1, so that all batches have one shape.

    Args:
        records: where frames come from.
        windows: from `evaluation_windows` over `records.videos`.
        clip_length: frames of a clip.
        batch_size: windows of a batch, over all hosts.
        image_size: edge of the model's input in pixels; decides at which size frames are decoded.
        host_index: which host this is.
        host_count: number of hosts.
        workers: decoding threads; by default one for each CPU that this process may use.
        prefetch: batches prepared ahead.

    Returns:
        An iterator over dicts: ``frames`` uint8 (B, T, L, L, 3), ``labels`` int8 (B, T, N),
        ``frame_valid`` bool (B, T), False where padded, ``window`` int64 (B,), the row in `windows` or -1.

    Raises:
        ValueError: the numbers do not fit together.
    """
    share = _host_share(batch_size, host_index, host_count)
    edge = decode_edge(image_size, crop_margin=0)
    if len(windows) and windows[:, 2].max() > clip_length:
        raise ValueError(f"a window of {windows[:, 2].max()} frames does not fit in a clip of {clip_length}")

    def jobs() -> Iterator[_Job]:
        for first in range(0, len(windows), batch_size):
            rows = np.arange(first + share.start, first + share.stop)
            batch = _empty_batch(len(rows), clip_length, edge, records.au_set.num_aus)
            batch["window"] = np.where(rows < len(windows), rows, -1)
            chosen = windows[rows[rows < len(windows)]].tolist()
            lengths = np.array([length for *_, length in chosen] + [0] * (len(rows) - len(chosen)))
            batch["frame_valid"] = np.arange(clip_length) < lengths[:, None]
            yield _Job(batch, [functools.partial(_fill, records, batch, i, *w) for i, w in enumerate(chosen)])

    return BatchIterator(jobs(), workers, prefetch)


class BatchIterator:
    """Iterator over batches that fills a few of them ahead in threads.

    An error while reading is raised where its batch is taken. The threads end with `close`, with the
    end of the batches, with an error, or when the iterator is forgotten.

    Args:
        jobs: the batches to fill, in order.
        workers: threads; by default one for each CPU that this process may use.
        prefetch: batches filled ahead of the one taken.

    Raises:
        ValueError: `workers` or `prefetch` is out of range.
    """

    def __init__(self, jobs: Iterator[_Job], workers: int | None, prefetch: int):
        workers = min(usable_cpus(), _MAX_WORKERS) if workers is None else workers
        if workers < 1 or prefetch < 0:
            raise ValueError(f"expected workers >= 1 and prefetch >= 0, found {workers} and {prefetch}")
        self._jobs = jobs
        self._prefetch = prefetch
        self._ahead: deque[tuple[Batch, list[Future[None]]]] = deque()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="clips")
        # Nothing that the pool runs refers to the iterator, so that forgetting it ends the threads.
        self._finalizer = weakref.finalize(self, _shut_down, self._pool, self._ahead)
        self._submit()

    def __iter__(self) -> "BatchIterator":
        return self

    def __next__(self) -> Batch:
        if not self._finalizer.alive:
            raise StopIteration
        try:
            self._submit()
            if not self._ahead:
                raise StopIteration
            batch, futures = self._ahead.popleft()
            for future in futures:
                future.result()
        except BaseException:
            self.close()
            raise
        return batch

    def __enter__(self) -> "BatchIterator":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drops what was prepared and ends the threads. The iterator is then at its end."""
        self._finalizer()

    def _submit(self) -> None:
        while len(self._ahead) <= self._prefetch:
            job = next(self._jobs, None)
            if job is None:
                return
            self._ahead.append((job.batch, [self._pool.submit(task) for task in job.tasks]))


def _shut_down(pool: ThreadPoolExecutor, ahead: deque) -> None:
    pool.shutdown(wait=True, cancel_futures=True)
    ahead.clear()


def _check_last_batch(last_batch: str) -> None:
    if last_batch not in ("across", "partial"):
        raise ValueError(f'last_batch must be "across" or "partial", found {last_batch!r}')


def _host_share(batch_size: int, host_index: int, host_count: int) -> slice:
    """Rows of a batch that one host takes."""
    if batch_size < 1 or host_count < 1 or batch_size % host_count:
        raise ValueError(f"a batch of {batch_size} clips cannot be shared evenly among {host_count} hosts")
    if not 0 <= host_index < host_count:
        raise ValueError(f"host {host_index} of {host_count} does not exist")
    size = batch_size // host_count
    return slice(host_index * size, (host_index + 1) * size)


def _empty_batch(rows: int, clip_length: int, edge: int, num_aus: int) -> Batch:
    # New arrays for every batch: JAX on CPU may keep using the memory of an array handed to it.
    return {
        "frames": np.zeros((rows, clip_length, edge, edge, 3), np.uint8),
        "labels": np.full((rows, clip_length, num_aus), facs.UNKNOWN, np.int8),
    }


def _fill(records: ClipRecords, batch: Batch, row: int, video: int, start: int, length: int) -> None:
    """Reads one clip into a row of a batch, padding it with its last frame."""
    frames = batch["frames"][row]
    records.read_frames(video, start, start + length, size=frames.shape[1], out=frames[:length])
    frames[length:] = frames[length - 1]
    batch["labels"][row, :length] = records.videos[video].labels[start : start + length]
