"""Outputs of the PyTorch reference for weights and clips that anybody can regenerate.

`measure_golden` writes further ones.
``golden/*.npz`` and ``golden/*.json`` were measured by running the reference (torch 2.13, CPU). For a tensor
of a given name and shape ``pseudo_random`` gives numbers in [-1, 1); ``weights`` scales them into plausible
weights. The manifest in the ``.json`` names every tensor of the reference's state_dict.
"""

import dataclasses
import json
import zlib
from pathlib import Path

import numpy as np

from mdhr_jax import facs

FOLDER = Path(__file__).parent / "golden"
_CONSTANT = ("num_batches_tracked", "relative_position_index", "attn_mask")


def pseudo_random(tag, shape):
    raw = np.random.PCG64(zlib.crc32(tag.encode())).random_raw(int(np.prod(shape)))
    return ((np.asarray(raw, np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53 * 2 - 1).reshape(
        shape
    )


def weight(name, shape):
    numbers = pseudo_random(name, shape)
    if len(shape) >= 2:
        return numbers * np.sqrt(6 / np.prod(shape[1:]))
    return 1 + 0.2 * numbers if name.endswith("weight") else 0.1 * numbers


@dataclasses.dataclass(frozen=True)
class Golden:
    """One fixture: what was put into the reference, and what came out."""

    dataset: str
    backbone: str
    num_clips: int
    num_frames: int
    neighbors: int
    shapes: dict
    arrays: dict
    gradient_norms: dict
    statistics: dict

    @property
    def au_set(self):
        return facs.get(self.dataset)

    def state_dict(self, dtype=np.float64):
        """Weights in PyTorch's names; running statistics as stored, counters and constants left out."""
        found = {}
        for name, shape in self.shapes.items():
            if f"buffers/{name}" in self.arrays:
                found[name] = self.arrays[f"buffers/{name}"].astype(dtype)
            elif not name.endswith(_CONSTANT):
                found[name] = weight(name, shape).astype(dtype)
        return found

    def clips(self):
        """Normalised clips (B, T, 224, 224, 3)."""
        tag, shape = f"clip/{self.dataset}", (self.num_clips, self.num_frames, 3, 28, 28)
        still = pseudo_random(f"{tag}/still", (self.num_clips, 1, 3, 28, 28))
        clips = 1.5 * still + 0.5 * pseudo_random(f"{tag}/move", shape)
        return clips.repeat(8, -1).repeat(8, -2).transpose(0, 1, 3, 4, 2)

    def labels(self):
        shape = (self.num_clips, self.num_frames, self.au_set.num_aus)
        return (pseudo_random(f"clip/{self.dataset}/labels", shape) > 0.3).astype(np.int8)

    def class_weights(self):
        return 1 + 0.5 * pseudo_random(f"auweight/{self.dataset}", (self.au_set.num_aus,))


def load(name):
    description = json.loads((FOLDER / f"{name}.json").read_text())
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    return Golden(
        dataset=description["dataset"],
        backbone=description["backbone"],
        num_clips=description["B"],
        num_frames=description["T"],
        neighbors=description["k"],
        shapes={name: tuple(entry["shape"]) for name, entry in description["manifest"].items()},
        arrays=arrays,
        gradient_norms=description["gradnorm"],
        statistics=description["stat_after_step1"],
    )
