"""Measures a fixture of `golden_fixtures` by running a checkout of the PyTorch reference in float64.

``golden/bp4d_swin.*`` and ``golden/disfa_resnet.*`` were written, with PyTorch 2.13 on a CPU, by

    python -m tests.interop.measure_golden CHECKOUT bp4d swin_base --clip-length 5 --neighbors 2
    python -m tests.interop.measure_golden CHECKOUT disfa resnet50 --clip-length 3 --neighbors 1
"""

import argparse
import json
from pathlib import Path

import numpy as np

from mdhr_jax import facs
from mdhr_jax.interop import measurements
from mdhr_jax.interop.comparison_inputs import Inputs, rounded
from mdhr_jax.interop.reference_checkout import cuda_stays_on_cpu, open_checkout
from mdhr_jax.interop.torch_side import TorchSide
from tests.interop import golden_fixtures


def measure(checkout, dataset, backbone, clip_length, neighbors):
    """The arrays and the description of a fixture."""
    au_set = facs.get(dataset)
    side = TorchSide(open_checkout(checkout, au_set), backbone, neighbors, "float64", "cpu")
    golden = golden_fixtures.Golden(
        au_set.title, backbone, 1, clip_length, neighbors, side.shapes, {}, gradient_norms={}, statistics={}
    )
    side.load(golden.state_dict())
    statistics = rounded(side.estimate_statistics(golden.clips()))
    side.load(statistics)
    inputs = Inputs(au_set, golden.clips(), golden.labels(), golden.class_weights())
    found = side.measure(inputs, None, measurements.STEPS, print)

    regions = [measurements.region_stage(region) for region in au_set.regions]
    shape = (1, clip_length, au_set.num_aus)
    arrays = {f"buffers/{name}": value for name, value in statistics.items()}
    arrays["eval/f64/scores"] = found.stages["scores"].reshape(shape)
    arrays |= {f"eval/f64/region{i}": found.stages[name] for i, name in enumerate(regions)}
    arrays["train/f64/scores"] = found.training[0]["scores"].reshape(shape)
    arrays["train/f64/losses"] = found.losses
    running = {n: x for n, x in found.buffers.items() if not n.endswith("num_batches_tracked")}
    description = {
        "dataset": au_set.title,
        "backbone": backbone,
        "B": 1,
        "T": clip_length,
        "k": neighbors,
        "manifest": {name: {"shape": shape} for name, shape in side.shapes.items()},
        "gradnorm": {"f64": {name: float(np.linalg.norm(x)) for name, x in found.gradients.items()}},
        "stat_after_step1": {
            "f64": {n: [float(x.mean()), float(np.sqrt(np.square(x).mean()))] for n, x in running.items()}
        },
    }
    return arrays, description


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.interop.measure_golden")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("backbone")
    parser.add_argument("--clip-length", type=int, required=True)
    parser.add_argument("--neighbors", type=int, required=True)
    options = parser.parse_args()
    with cuda_stays_on_cpu():
        arrays, description = measure(**vars(options))
    name = f"{options.dataset}_{options.backbone.partition('_')[0].removesuffix('50')}"
    np.savez_compressed(golden_fixtures.FOLDER / f"{name}.npz", **arrays)
    (golden_fixtures.FOLDER / f"{name}.json").write_text(json.dumps(description))


if __name__ == "__main__":
    main()
