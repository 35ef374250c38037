"""Expected efficiency on many GPUs, on paper: ``python -m mdhr_jax.scaling --step-seconds SECONDS``.

Each GPU has as many clips as the one that was measured, and all average their gradients after each step.
From the seconds of a step on one GPU and the bytes of the gradients follows how much longer a step takes on
many, and how many frames a second must be decoded for them. Nothing is computed on a device; `Assumptions`
says what is taken for granted.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence

from mdhr_jax import commands, hardware


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """What is known of machines and their network from data sheets, and guessed of the rest.

    Attributes:
        gpus_per_node: that NVLink connects.
        nvlink: bytes a second that a GPU sends within its node (600 GB/s count both directions).
        network: bytes a second that a GPU sends to other nodes: 200 Gb/s, a card for each GPU.
        reached: share of both rates that a collective reaches.
        hop_node, hop_network: seconds until a message arrives, within a node and between nodes.
        hidden: share of a step, its backward pass, behind which gradients can travel where that is hidden.
    """

    gpus_per_node: int = 8
    nvlink: float = 300e9
    network: float = 25e9
    reached: float = 0.7
    hop_node: float = 5e-6
    hop_network: float = 15e-6
    hidden: float = 2 / 3


@dataclasses.dataclass(frozen=True)
class Expected:
    """A step on so many GPUs, each with as many clips as the one that was measured.

    Attributes:
        gpus: how many.
        gradients: seconds in which gradients are averaged.
        statistics: seconds in which batch statistics are.
        exposed: efficiency where nothing of that happens while GPUs compute.
        overlapped: efficiency where gradients travel during the backward pass; statistics cannot.
    """

    gpus: int
    gradients: float
    statistics: float
    exposed: float
    overlapped: float


def all_reduce_seconds(size: int | float, gpus: int, assumed: Assumptions) -> float:
    """Seconds in which all GPUs get the sum of an array that each has.

    In rings: within each node parts are summed (each GPU then has its share), between nodes the shares, and
    within each node all get all shares. In a ring of n each passes ``2 (n - 1) / n`` of the array on, in
    ``2 (n - 1)`` messages.

    Args:
        size: bytes of the array.
        gpus: how many; up to a node's, or whole nodes.
        assumed: rates.

    Raises:
        ValueError: the number of GPUs is none that nodes have.
    """
    of_node = min(gpus, assumed.gpus_per_node)
    if gpus < 1 or gpus % of_node:
        raise ValueError(f"{gpus} GPUs are no whole number of nodes of {assumed.gpus_per_node}")
    nodes = gpus // of_node
    within = 2 * (of_node - 1) * (size / of_node / (assumed.nvlink * assumed.reached) + assumed.hop_node)
    share = size / of_node
    between = 2 * (nodes - 1) * (share / nodes / (assumed.network * assumed.reached) + assumed.hop_network)
    return within + between


def small_message_seconds(gpus: int, assumed: Assumptions) -> float:
    """Seconds in which all GPUs get the sum of a few numbers: to a root and back, by doubling."""
    of_node = min(gpus, assumed.gpus_per_node)
    nodes = max(gpus // of_node, 1)
    return 2 * (
        math.ceil(math.log2(of_node)) * assumed.hop_node + math.ceil(math.log2(nodes)) * assumed.hop_network
    )


def expect(
    step_seconds: float, gradient_bytes: int | float, messages: int, gpus: int, assumed: Assumptions
) -> Expected:
    """A step on several GPUs.

    Args:
        step_seconds: of a step on one.
        gradient_bytes: of all parameters' gradients.
        messages: small sums that a step waits for, one after the other: those of batch normalisation.
        gpus: how many.
        assumed: rates.
    """
    gradients = all_reduce_seconds(gradient_bytes, gpus, assumed)
    statistics = messages * small_message_seconds(gpus, assumed)
    left = max(gradients - assumed.hidden * step_seconds, 0.0)
    return Expected(
        gpus,
        gradients,
        statistics,
        exposed=step_seconds / (step_seconds + gradients + statistics),
        overlapped=step_seconds / (step_seconds + left + statistics),
    )


def table(
    expected: Sequence[Expected],
    step_seconds: float,
    frames: int,
    decoded: float | None,
    assumed: Assumptions,
) -> list[str]:
    """Lines of Markdown: one for each number of GPUs.

    Args:
        expected: of each number of GPUs.
        step_seconds: of a step on one.
        frames: of one GPU's share of a batch.
        decoded: frames that a CPU core decodes in a second, as `python -m mdhr_jax.bench input` measures it.
        assumed: how many GPUs a node has.
    """
    head = ["GPUs", "gradients, ms", "statistics, ms", "efficiency, exposed", "efficiency, overlapped"]
    head += ["frames/s to decode", "a node"] + (["cores a node"] if decoded else [])
    lines = ["| " + " | ".join(head) + " |", "|" + " --: |" * len(head)]
    for row in expected:
        rate = row.gpus * frames / step_seconds * row.overlapped
        of_node = rate / max(row.gpus // assumed.gpus_per_node, 1)
        cells = [str(row.gpus), f"{1e3 * row.gradients:.1f}", f"{1e3 * row.statistics:.1f}"]
        cells += [f"{row.exposed:.1%}", f"{row.overlapped:.1%}", f"{rate:,.0f}", f"{of_node:,.0f}"]
        cells += [f"{of_node / decoded:.1f}"] if decoded else []
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mdhr_jax.scaling", description=__doc__)
    add = parser.add_argument
    add("--backbone", default="resnet50")
    add("--dataset", default="bp4d")
    add("--clips", type=int, default=8, help="of each GPU in a step (8)")
    add("--frames", type=int, default=16, help="of a clip (16)")
    add("--gpus", type=int, nargs="+", default=[8, 64, 256])
    add("--gpus-per-node", type=int, default=Assumptions.gpus_per_node, help="that NVLink connects (8)")
    add("--step-seconds", type=float, help="of a step on one GPU, measured")
    add(
        "--mflop",
        type=float,
        help="training, MFLOP a frame, of docs/complexity.md; instead of a measured step",
    )
    add("--utilisation", type=float, default=0.35, help="share of the peak, with --mflop (0.35)")
    add("--device", default="A100", help="whose peak, with --mflop (A100)")
    add("--dtype", default="bfloat16", help="of its products, with --mflop (bfloat16)")
    add("--decoded", type=float, help="frames/s a CPU core, measured by python -m mdhr_jax.bench input")
    add(
        "--synchronised",
        action="store_true",
        help="batch statistics are of all GPUs' clips (the default of a run)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 2 after a mistake, 130 after Ctrl-C."""
    chosen = _parser().parse_args(arguments)
    return commands.finish(lambda: _print(chosen), interrupted="nothing was computed")


def _print(chosen: argparse.Namespace) -> None:
    for name in ("clips", "frames", "utilisation", "step_seconds", "mflop", "decoded", "gpus_per_node"):
        if (value := getattr(chosen, name)) is not None and not value > 0:
            raise ValueError(f"--{name.replace('_', '-')} must be positive, found {value:g}")
    if (chosen.step_seconds is None) == (chosen.mflop is None):
        raise ValueError(
            "give one of --step-seconds (measured on one GPU) and --mflop (docs/complexity.md, training)"
        )
    frames = chosen.clips * chosen.frames
    step_seconds, how = chosen.step_seconds, "measured"
    if step_seconds is None:
        peak = hardware.peak_flops(chosen.device, chosen.dtype)
        if peak is None:
            raise ValueError(f"the peak of {chosen.device} in {chosen.dtype} is not known")
        step_seconds = chosen.mflop * 1e6 * frames / (chosen.utilisation * peak)
        how = (
            f"assumed: {chosen.mflop:,g} MFLOP a frame at {chosen.utilisation:.0%} of the {peak / 1e12:g} "
            f"TFLOP/s of a {chosen.device} in {chosen.dtype}"
        )
    parameters, norms = _sizes(chosen.dataset, chosen.backbone)
    # Mean and variance forward, and what their gradients need backward.
    messages = 4 * norms if chosen.synchronised else 0
    assumed = Assumptions(gpus_per_node=chosen.gpus_per_node)
    rows = [expect(step_seconds, 4 * parameters, messages, gpus, assumed) for gpus in chosen.gpus]
    print(
        f"{chosen.backbone}, {parameters:,} parameters ({4 * parameters / 1e6:,.0f} MB of gradients), "
        f"{norms} batch normalisations{'' if chosen.synchronised else ' of each GPU alone'}; "
        f"{chosen.clips} clips of {chosen.frames} frames a GPU; "
        f"{1e3 * step_seconds:.0f} ms a step on one ({how})"
    )
    print()
    print("\n".join(table(rows, step_seconds, frames, chosen.decoded, assumed)))


def _sizes(dataset: str, backbone: str) -> tuple[int, int]:
    """Numbers of parameters and of batch normalisations of a model."""
    from mdhr_jax import facs
    from mdhr_jax.models.functional import FunctionalModel
    from mdhr_jax.models.mdhr import MDHRConfig

    model = FunctionalModel.create(MDHRConfig(facs.get(dataset), backbone=backbone))
    parameters = sum(math.prod(spec.shape) for spec in model.param_shapes.values())
    return parameters, sum(name.endswith(".mean") for name in model.stat_shapes)


if __name__ == "__main__":
    sys.exit(main())
