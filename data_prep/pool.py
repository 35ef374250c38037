"""Makes the archives of many videos in several processes."""

import concurrent.futures
import functools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from data_prep import archives
from data_prep.archives import Job, Outcome
from data_prep.raw import RawVideo
from mdhr_jax.data.workers import end_with_parent
from mdhr_jax.faces.detector import Detector
from mdhr_jax.progress import Progress

GetDetector = Callable[[RawVideo], Detector]
"""Gives the detector for a video; a module-level function, or a partial of one."""

Judge = Callable[[Job, RawVideo, Outcome], Outcome]
"""Has the last word on what became of a video, see `data_prep.bystanders.judged`; likewise."""


def as_it_is(job: Job, video: RawVideo, outcome: Outcome) -> Outcome:
    """A judge who agrees with all."""
    del job, video
    return outcome


_POLL_SECONDS = 0.5


def make_all(
    job: Job,
    videos: Sequence[RawVideo],
    get_detector: GetDetector,
    workers: int,
    *,
    strict: bool = False,
    judge: Judge = as_it_is,
) -> list[Outcome]:
    """Makes the archives that are not there yet, with progress.

    Args:
        job: what the videos have in common.
        videos: to be made.
        get_detector: called in the process that works on a video.
        workers: processes; 1 works in this one.
        strict: stop at the first video that cannot be used.
        judge: called in this process for every video whose archive is there.

    Returns:
        What became of each video, in their order.

    Raises:
        ValueError: a video cannot be used, and `strict`.
        OSError: an archive cannot be written.
        RuntimeError: a process was killed.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, found {workers}")
    outcomes: dict[str, Outcome] = {}
    named = {video.name: video for video in videos}
    with Progress(
        sum(video.num_frames for video in videos), unit="frames", label=f"aligning {job.au_set.title}"
    ) as bar:
        run = _in_processes if workers > 1 and len(videos) > 1 else _here
        for made in run(job, videos, get_detector, workers, bar):
            outcomes[made.video] = outcome = judge(job, named[made.video], made)
            if strict and outcome.problem is not None:
                raise ValueError(f"stopped (--strict): {outcome.problem}")
    return [outcomes[video.name] for video in videos]


def _here(
    job: Job, videos: Sequence[RawVideo], get_detector: GetDetector, workers: int, bar: Progress
) -> Iterator[Outcome]:
    for video in videos:
        before = bar.done
        outcome = archives.make(job, video, functools.partial(get_detector, video), bar.update)
        bar.update(before + video.num_frames - bar.done)
        yield outcome


def _in_processes(
    job: Job, videos: Sequence[RawVideo], get_detector: GetDetector, workers: int, bar: Progress
) -> Iterator[Outcome]:
    # Not "fork": this process may run threads (TensorFlow), whose locks a fork would copy.
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    frames, stop = context.Value("q", 0), context.Event()
    # Longest first, so that no process is left with a long video at the end.
    order = sorted(videos, key=lambda video: -video.num_frames)
    with ProcessPoolExecutor(min(workers, len(videos)), context, _start, (frames, stop)) as pool:
        waiting: set[Future[Outcome]] = {pool.submit(_make, job, video, get_detector) for video in order}
        finished = 0
        try:
            while waiting:
                done, waiting = concurrent.futures.wait(
                    waiting, _POLL_SECONDS, concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    outcome = future.result()
                    finished += outcome.frames
                    yield outcome
                bar.update(max(frames.value, finished) - bar.done)
        except BrokenProcessPool as error:
            raise RuntimeError(
                "a process that aligns videos was killed, perhaps for lack of memory; "
                f"try fewer than {workers} workers. Finished videos are kept"
            ) from error
        finally:
            # Reached early by an error: what the others are at is not waited for.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


class _StoppedError(BaseException):
    """In a worker: the run ends early. No problem of a video, and so no Exception."""


_frames: Any = None
"""In a worker: frames finished by all workers."""

_stop: Any = None
"""In a worker: set when the run ends early."""


def _start(frames: Any, stop: Any) -> None:
    global _frames, _stop
    _frames, _stop = frames, stop
    end_with_parent()


def _make(job: Job, video: RawVideo, get_detector: GetDetector) -> Outcome:
    done = 0

    def step(count: int) -> None:
        nonlocal done
        if _stop.is_set():
            raise _StoppedError
        done += count
        with _frames.get_lock():
            _frames.value += count

    outcome = archives.make(job, video, functools.partial(get_detector, video), step)
    # Frames of a video that could not be used are finished too.
    step(video.num_frames - done)
    return outcome
