"""Renders the videos of a synthetic set in several processes, in order."""

import dataclasses
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
from jaxtyping import Float32, Int8

from mdhr_jax.data.aligned import encode_jpeg
from mdhr_jax.data.workers import end_with_parent

Render = Callable[[Any, Any], Any]


@dataclasses.dataclass(frozen=True)
class EncodedVideo:
    """A rendered video: a JPEG for each frame, the labels, and what else is known of each frame."""

    jpegs: list[bytes]
    labels: Int8[np.ndarray, "F N"]
    truth: dict[str, Float32[np.ndarray, "F ..."]]


def render_all(
    render: Render, spec: Any, videos: Sequence[Any], workers: int, truth: Sequence[str] = ()
) -> Generator[EncodedVideo, None, None]:
    """Renders videos and encodes their frames.

    Only a few videos are kept ahead of the one that is taken, so that memory does not grow with their
    number.

    Args:
        render: ``render(spec, video)`` gives an object with ``frames`` (F, 256, 256, 3) uint8 and
            ``labels`` (F, N); a module-level function where `workers` is more than 1.
        spec: of the synthetic set.
        videos: in the order wanted.
        workers: processes; 1 renders in this process.
        truth: names of further attributes of what `render` gives, arrays with frames first.

    Raises:
        RuntimeError: a rendering process was killed.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, found {workers}")
    if workers == 1 or len(videos) < 2:
        for video in videos:
            yield _render_one(render, spec, video, truth)
        return
    # Not "fork": this process may run threads (JAX, TensorFlow), whose locks a fork would copy.
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    with ProcessPoolExecutor(min(workers, len(videos)), context, initializer=end_with_parent) as pool:
        ahead: deque[Future[EncodedVideo]] = deque()
        left = iter(videos)
        try:
            while True:
                while len(ahead) < 2 * workers and (video := next(left, None)) is not None:
                    ahead.append(pool.submit(_render_one, render, spec, video, truth))
                if not ahead:
                    return
                yield ahead.popleft().result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                "a process that renders synthetic videos was killed, perhaps for lack of memory; "
                f"try fewer than {workers} workers"
            ) from error
        finally:
            for future in ahead:
                future.cancel()


def _render_one(render: Render, spec: Any, video: Any, truth: Sequence[str]) -> EncodedVideo:
    rendered = render(spec, video)
    return EncodedVideo(
        [encode_jpeg(frame) for frame in rendered.frames],
        np.asarray(rendered.labels, np.int8),
        {name: np.asarray(getattr(rendered, name), np.float32) for name in truth},
    )
