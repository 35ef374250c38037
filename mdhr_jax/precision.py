"""What number formats cost in accuracy: ``python -m mdhr_jax.precision --report precision.md``.

Runs the model on the same clips in float64 and in each cheaper format that this machine has (float32 with
exact and with default matrix products, TF32 on GPUs, bfloat16), and tables how far the scores move.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax import commands


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.precision",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--dataset", choices=("bp4d", "disfa"), default="bp4d", help="whose AUs (bp4d)")
    add(
        "--backbone",
        nargs="+",
        choices=("resnet50", "swin_base"),
        default=["resnet50"],
        help="one or both (resnet50)",
    )
    add("--neighbors", type=int, default=5, metavar="K", help="frames looked at on either side (5)")
    add("--weights", type=Path, metavar="FILE", help="weights by PyTorch's names, .pth or .safetensors")
    add("--clips", type=int, default=2, metavar="B", help="clips (2)")
    add("--clip-length", type=int, default=16, metavar="T", help="frames of a clip (16)")
    add("--seed", type=int, default=0, help="of the clips (0)")
    add("--report", type=Path, metavar="FILE", help="also write a report, .md or .html")
    return parser


def run(arguments: argparse.Namespace, command: str) -> None:
    """Measures, prints and writes.

    Raises:
        ValueError, OSError, ImportError: with what is wrong.
    """
    import jax

    from mdhr_jax import __version__, facs, hardware
    from mdhr_jax.interop import comparison_report, conversion, files, precision
    from mdhr_jax.interop.comparison_inputs import make_inputs
    from mdhr_jax.progress import Progress, announce

    if arguments.clips < 1 or arguments.clip_length < 2 or arguments.seed < 0:
        raise ValueError(
            "expected at least 1 clip of at least 2 frames and a seed from 0, found "
            f"--clips {arguments.clips} --clip-length {arguments.clip_length} --seed {arguments.seed}"
        )
    if arguments.report is not None:
        comparison_report.check_path(arguments.report)
    if arguments.weights is not None and len(arguments.backbone) > 1:
        raise ValueError("--weights belong to one backbone; name one")
    weights = None
    if arguments.weights is not None:
        weights, info = files.read_tensors(arguments.weights)
        conversion.neighbors_of(arguments.weights, info, arguments.neighbors)
    au_set = facs.get(arguments.dataset)
    inputs = make_inputs(au_set, arguments.clips, arguments.clip_length, arguments.seed)
    tables = []
    with Progress(len(arguments.backbone) * precision.parts(), unit="parts", label="measuring") as progress:
        for backbone in arguments.backbone:
            found = precision.measure(
                arguments.dataset,
                backbone,
                arguments.neighbors,
                inputs,
                weights,
                lambda part, backbone=backbone: progress.update(note=f"{backbone}, {part}"),
            )
            tables.append(precision.table(f"{au_set.title}, {backbone}: error of the scores", found))
    device = jax.devices()[0]
    origin = arguments.weights or "made up, running statistics those of the clips"
    facts = [
        ("command", command),
        ("device", f"CPU: {hardware.processor_name()}" if device.platform == "cpu" else device.device_kind),
        ("clips", f"{arguments.clips} of {arguments.clip_length} frames, coloured squares"),
        ("weights", str(origin)),
        ("versions", f"mdhr_jax {__version__}, jax {jax.__version__}"),
    ]
    print("\n".join(f"{name}: {value}" for name, value in facts))
    for table in tables:
        print(f"\n{comparison_report.as_text(table)}", flush=True)
    if arguments.report is not None:
        comparison_report.write(arguments.report, "Number formats and the error of scores", facts, tables)
        announce(f"written: {arguments.report}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 2 after a user's mistake, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    given = list(sys.argv[1:] if argv is None else argv)
    command = shlex.join(["python", "-m", "mdhr_jax.precision", *given])
    return commands.finish(lambda: run(arguments, command))


if __name__ == "__main__":
    sys.exit(main())
