"""Converts weights: ``python -m mdhr_jax.convert SRC DST``.

SRC is a checkpoint of the PyTorch reference, torchvision's ResNet or the official Swin release (``.pth``
or ``.safetensors``), or a checkpoint of this project (a directory). DST ending in ``.pth`` or
``.safetensors`` gets PyTorch's names; anything else becomes a directory that ``--config.model.pretrained``,
``--config.model.init_from`` and ``--config.eval.checkpoint`` take.

The exit code is 0, 2 after a mistake (nothing is written then), 130 after Ctrl-C.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax import commands
from mdhr_jax.interop import conversion, files
from mdhr_jax.interop.torch_weights import WeightsError

_FORMATS = {"torch": (".pth", ".pt", ".bin"), "safetensors": (files.SAFETENSORS,)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SRC", type=Path, help="file or checkpoint directory to read")
    parser.add_argument("target", metavar="DST", type=Path, help="file or directory to write")
    parser.add_argument("--dataset", help="AUs of SRC: bp4d or disfa; by default what fits")
    parser.add_argument("--backbone", help=f"one of {', '.join(conversion.BACKBONES)}; by default what fits")
    parser.add_argument("--neighbors", type=int, help="k of SRC, which a file of others does not tell (5)")
    parser.add_argument("--fold", type=int, choices=(1, 2, 3), help="fold that SRC was trained on")
    parser.add_argument("--to", choices=("orbax", *_FORMATS), help="format; by default by the name of DST")
    return parser


def run(arguments: argparse.Namespace) -> str:
    """Converts, and says what was done.

    Raises:
        ValueError, OSError, RuntimeError, ImportError: with what is wrong; nothing is written then.
    """
    source, target = arguments.source, arguments.target
    target_format = arguments.to or _format_of(target)
    suffixes = _FORMATS.get(target_format)
    if suffixes is not None and target.suffix not in suffixes:
        raise ValueError(
            f"--to {target_format} needs a DST ending in {' or '.join(suffixes)}, found {target}"
        )
    if target.exists():
        raise FileExistsError(f"{target} exists already; name another DST, or remove it")
    if source.is_dir():
        _refuse_options(arguments, source, target_format)
        weights = conversion.read_checkpoint(source)
        origin = {"checkpoint": str(source)}
    else:
        tensors, info = files.read_tensors(source)
        neighbors = conversion.neighbors_of(source, info, arguments.neighbors)
        try:
            weights = conversion.from_tensors(
                tensors,
                dataset=arguments.dataset or info.get("dataset"),
                backbone=arguments.backbone,
                num_neighbors=neighbors,
            )
        except WeightsError as error:
            raise WeightsError(f"{source}: {error}", error.problems) from error
        origin = {"file": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    lines = [f"{source}: {weights.title}"]
    if weights.dropped:
        lines.append(f"left out, as the model has no use for them: {', '.join(weights.dropped)}")
    if target_format == "orbax":
        conversion.write_checkpoint(target, weights, origin, arguments.fold)
        option = "init_from" if weights.whole else "pretrained"
        lines.append(f"written to {target}; use it with --config.model.{option}={target}")
    else:
        converted, info = conversion.to_tensors(weights)
        files.write_tensors(target, converted, info)
        lines.append(f"written to {target}: {len(converted)} tensors")
    return "\n".join(lines)


def _refuse_options(arguments: argparse.Namespace, source: Path, target_format: str) -> None:
    """A checkpoint of ours says what it is."""
    if target_format == "orbax":
        raise ValueError(
            f"{source} is a checkpoint of this project already; name a DST that ends in .pth or "
            ".safetensors, or copy the directory"
        )
    given = [
        name for name in ("dataset", "backbone", "neighbors", "fold") if getattr(arguments, name) is not None
    ]
    if given:
        raise ValueError(
            f"--{', --'.join(given)}: {source} is a checkpoint of this project, which says what it is; "
            "leave the option out"
        )


def _format_of(target: Path) -> str:
    return next((name for name, suffixes in _FORMATS.items() if target.suffix in suffixes), "orbax")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 0, 2 after a mistake, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    return commands.finish(lambda: print(run(arguments)))


if __name__ == "__main__":
    sys.exit(main())
