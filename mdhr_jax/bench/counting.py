"""What counting costs beside an evaluation: ours, and the reference's loops over frames and AUs."""

import statistics
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdhr_jax import facs
from mdhr_jax.training.metrics import EvalCounts, summarize

FRAMES = 50_000
"""About a test part of BP4D."""


def measure(
    dataset: str, windows: int = 8, frames: int = FRAMES, repeats: int = 5, reference: str | None = None
) -> dict[str, Any]:
    """Times the counting of an evaluation, by scores and labels that are drawn.

    What `mdhr_jax.training.evaluate` does with each batch is done here without the model: counts on the
    device, which are fetched one batch later and added.

    Args:
        dataset: whose AUs.
        windows: of 16 frames in a batch.
        frames: of the evaluation, at least.
        repeats: the median of which is told.
        reference: checkout whose functions count the same.

    Returns:
        ``frames``, ``batches``, and the seconds of a whole evaluation's counting: ``ours``, and the
        reference's ``theirs``, None where there is no checkout. Ready for JSON.

    Raises:
        ValueError, OSError, ImportError: the checkout cannot be used.
    """
    au_set, length = facs.get(dataset), 16
    batches = -(-frames // (windows * length))
    random = np.random.default_rng(0)
    shape = (windows, length, au_set.num_aus)
    scores = jnp.asarray(random.random(shape), jnp.float32)
    labels = jnp.asarray(random.integers(0, 2, shape), jnp.int8)
    valid = jnp.ones(shape[:2], bool)
    count = jax.jit(
        lambda scores, labels, valid: EvalCounts.from_model_output(scores=scores, labels=labels, valid=valid)
    )

    def once() -> float:
        start = time.perf_counter()
        total, pending = EvalCounts.empty(), None
        for _ in range(batches):
            counts = count(scores, labels, valid)
            total = total if pending is None else total.merge(pending.to_host())
            pending = counts
        if pending is not None:
            total = total.merge(pending.to_host())
        summarize(total, au_set.au_names)
        return time.perf_counter() - start

    once()
    ours = statistics.median(once() for _ in range(repeats))
    theirs = None if reference is None else _reference(Path(reference), au_set, windows * length, batches)
    return {
        "frames": batches * windows * length,
        "windows": windows,
        "batches": batches,
        "ours": ours,
        "theirs": theirs,
    }


def _reference(path: Path, au_set: facs.AUSet, frames: int, batches: int) -> float:
    """Seconds of the reference's counting, by a tenth of the batches: it takes long."""
    from mdhr_jax.interop.reference_checkout import import_torch, open_checkout

    utils, torch = open_checkout(path, au_set).utils, import_torch()
    random = np.random.default_rng(0)
    scores = torch.from_numpy(random.random((frames, au_set.num_aus), np.float32))
    labels = torch.from_numpy(random.integers(0, 2, (frames, au_set.num_aus)).astype(np.float32))
    some = max(1, batches // 10)
    start = time.perf_counter()
    total = None
    for _ in range(some):
        counts = utils.statistics(scores, labels, 0.5)
        total = counts if total is None else utils.update_statistics_list(total, counts)
    utils.calc_f1_score(total)
    utils.calc_acc(total)
    return (time.perf_counter() - start) * batches / some
