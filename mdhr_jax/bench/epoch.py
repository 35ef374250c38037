"""Training with its input: the project's own step, fed by the loader, against the same step on one batch.

The step is the whole one, with augmentation on the device, from frames of 8 bits. The part of its time that
goes away where one batch is used over and over is what a device waits for input; where the loader shares its
cores with the model, as on a CPU, it is also what decoding takes away from it.
"""

import contextlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mdhr_jax import facs, freed_memory, parallel
from mdhr_jax.bench import input as input_rate
from mdhr_jax.bench.ours import make_config
from mdhr_jax.data.clips import CROP_MARGIN, ClipStream
from mdhr_jax.data.loader import train_batches
from mdhr_jax.data.records import open_dataset
from mdhr_jax.models.functional import FunctionalModel
from mdhr_jax.training.optimizer import make_optimizer
from mdhr_jax.training.state import StateFactory
from mdhr_jax.training.step import StepOptions, jit_train_step

_LEAST_SECONDS = 2.0


def measure(
    backbone: str,
    precision: str,
    batch: int,
    clip_length: int = 16,
    workers: int | None = None,
    repeats: int = 3,
    data: str | None = None,
    dataset: str = input_rate.DRAWN,
    fold: int = 1,
    image_size: int = 224,
    dense: bool = False,
) -> dict[str, Any]:
    """Times steps with input and without, in turn.

    Args:
        backbone, precision, dense: the model.
        batch: clips.
        clip_length: frames of a clip.
        workers: threads that decode; by default as many as a training run has.
        repeats: measurements of each.
        data: directory of the data set; faces are drawn where None.
        dataset: its entry of the AU table.
        fold: whose training part is read.
        image_size: edge of the model's input in pixels.

    Returns:
        Seconds of a step with input (``with_input``) and on one batch (``one_batch``), by the medians,
        ``frames`` of a step, ``waiting``: the share of a step with input that goes away on one batch, and
        ``spread``: the smallest and largest share of measurements that lie next to each other. Ready for
        JSON.
    """
    with contextlib.ExitStack() as stack:
        if data is None:
            data, dataset = stack.enter_context(tempfile.TemporaryDirectory()), input_rate.DRAWN
            input_rate.draw(Path(data))
        au_set = facs.get(dataset)
        records = open_dataset(Path(data), au_set, facs.train_parts(fold))
        stream = ClipStream([video.num_frames for video in records.videos], clip_length, 0)
        mesh = Mesh(np.asarray(jax.devices()[:1]).reshape(1, 1), (parallel.DATA, parallel.FSDP))
        model = FunctionalModel.create(make_config(au_set, backbone, precision, dense=dense))
        optimizer = make_optimizer(1e-4, 100_000)
        states = StateFactory(model, optimizer, mesh, ema=False)
        options = StepOptions(image_size, CROP_MARGIN, (1.0,) * au_set.num_aus)
        step: Any = jit_train_step(model, optimizer, options, mesh, states.shardings)
        state = states.create(0)
        batches = stack.enter_context(
            train_batches(records, stream, batch_size=batch, image_size=image_size, workers=workers)
        )

        def placed() -> Any:
            found = next(batches)
            del found["position"]
            return parallel.put_batch(found, mesh)

        one = placed()

        def seconds(count: int, *, with_input: bool) -> float:
            nonlocal state
            start = time.perf_counter()
            for _ in range(count):
                state, _ = step(state, placed() if with_input else one)
                freed_memory.settle()
            jax.block_until_ready(state)
            return (time.perf_counter() - start) / count

        seconds(1, with_input=False)
        count = max(1, round(_LEAST_SECONDS / seconds(1, with_input=False)))
        found: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(repeats):
            for with_input in (True, False):
                found[with_input].append(seconds(count, with_input=with_input))
    fed, alone = statistics.median(found[True]), statistics.median(found[False])
    shares = [1 - b / a for a, b in zip(found[True], found[False], strict=True)]
    return {
        "backbone": backbone,
        "precision": precision,
        "batch": batch,
        "frames": batch * clip_length,
        "with_input": fed,
        "one_batch": alone,
        "frames_per_second": batch * clip_length / fed,
        "waiting": 1 - alone / fed,
        "spread": (min(shares), max(shares)),
    }
