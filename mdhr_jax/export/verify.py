"""Whether an exported model gives what its checkpoint gives, on this machine."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mdhr_jax.export import loader
from mdhr_jax.predict.checkpoint import Trained
from mdhr_jax.predict.predictor import make_scorer
from mdhr_jax.progress import announce

TOLERANCE = {"float32": 1e-4, "float64": 1e-4, "bfloat16": 5e-2}
"""Largest difference of scores, by the number format of the arithmetic."""


def difference(folder: Path, trained: Trained) -> float:
    """Largest difference between scores of the exported programs and the model's, of frames of noise.

    Args:
        folder: of the exported model.
        trained: its checkpoint.

    Raises:
        ValueError: it is larger than rounding explains.
    """
    announce("verifying: programs and model are compiled, which takes a minute or so")
    exported = loader.load(folder)
    frames = noise(trained.clip_length + 3, trained.recipe.size)
    window = frames[: trained.clip_length]
    worst = 0.0
    for what, found, mode, given in (
        ("clips", exported.clips(window[None])[0], "clips", window),
        ("stream", exported.scores(frames), "stream", frames),
    ):
        apart = float(np.abs(found - scores(trained, mode, given)).max())
        limit = TOLERANCE[trained.model.config.dtype]
        if not apart <= limit:
            raise ValueError(
                f"scores of the exported {what} program differ from the model's by {apart:.1e}, expected at "
                f"most {limit:.0e}; nothing was written. Please report this with the versions of JAX"
            )
        worst = max(worst, apart)
    return worst


def scores(trained: Trained, mode: str, frames: UInt8[np.ndarray, "F L L 3"]) -> np.ndarray:
    """The model's scores of the frames of one face, (F, N)."""
    scorer = make_scorer(trained, mode, 1)
    found = []
    for frame in frames:
        scorer.push(0, frame)
        found += scorer.take()
    scorer.end(0)
    return np.stack([one.scores for one in found + scorer.drain()])


def noise(frames: int, edge: int) -> UInt8[np.ndarray, "F L L 3"]:
    """Frames of coarse noise, each a little changed from the one before."""
    rng = np.random.default_rng(0)
    steps = rng.integers(-40, 41, (frames, 8, 8, 3)).cumsum(0) + 128
    pixels = np.arange(edge) * 8 // edge
    return steps.clip(0, 255).astype(np.uint8)[:, pixels][:, :, pixels]
