"""Frames that the input makes ready in a second.

Batches of training clips are taken from the loader. Time in which cores do something else is not counted in
the rate of a core, so that a busy machine gives the same.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mdhr_jax import facs
from mdhr_jax.data.clips import ClipStream
from mdhr_jax.data.loader import train_batches
from mdhr_jax.data.records import open_dataset

DRAWN = "synthetic_bp4d"
"""Name of the data set that `draw` writes."""


def draw(folder: Path, *, subjects: int = 6, videos: int = 2, frames: int = 64) -> None:
    """Writes a data set of drawn faces.

    Args:
        folder: a data directory.
        subjects: how many.
        videos: of each subject.
        frames: of each video.

    Raises:
        RuntimeError: the command failed; the message is what it wrote.
    """
    size = ["--subjects", str(subjects), "--videos", str(videos), "--frames", str(frames)]
    command = [sys.executable, "-m", "mdhr_jax.data.synthetic", "--out", str(folder), *size]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"drawing faces failed: {done.stderr.strip()}")


def measure(
    workers: Sequence[int],
    data: str | None = None,
    dataset: str = DRAWN,
    fold: int = 1,
    frames: int = 4096,
    image_size: int = 224,
) -> list[dict[str, Any]]:
    """Frames that are read, checked, decoded and put into batches of 8 clips of 16.

    Args:
        workers: numbers of threads to try.
        data: directory of the data set; faces are drawn where None.
        dataset: its entry of the AU table.
        fold: whose training part is read.
        frames: to be read with each number of threads.
        image_size: edge of the model's input in pixels.

    Returns:
        For each number of threads ``threads``, ``frames_per_second``, and ``frames_per_core_second``: by the
        CPU time of this process. Ready for JSON.

    Raises:
        FileNotFoundError: there is no such data set.
    """
    with contextlib.ExitStack() as stack:
        if data is None:
            data, dataset = stack.enter_context(tempfile.TemporaryDirectory()), DRAWN
            draw(Path(data))
        return _rates(Path(data), dataset, fold, workers, frames, image_size)


def _rates(
    data: Path, dataset: str, fold: int, workers: Sequence[int], frames: int, image_size: int
) -> list[dict[str, Any]]:
    clips, length = 8, 16
    records = open_dataset(data, facs.get(dataset), facs.train_parts(fold))
    stream = ClipStream([video.num_frames for video in records.videos], length, 0)
    number = max(frames // (clips * length), 1)
    measured = []
    for threads in workers:
        with train_batches(
            records, stream, batch_size=clips, image_size=image_size, workers=threads, prefetch=1
        ) as batches:
            next(batches)
            begun, used = time.perf_counter(), time.process_time()
            for _ in range(number):
                next(batches)
            seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - used
        done = number * clips * length
        measured.append(
            {
                "threads": threads,
                "frames_per_second": done / seconds,
                "frames_per_core_second": done / cpu_seconds,
            }
        )
    return measured
