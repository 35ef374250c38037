"""Writes synthetic data sets and contact sheets: ``python -m mdhr_jax.data.synthetic --help``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mdhr_jax import commands
from mdhr_jax.data.synthetic import generator, sheet


def _parser() -> argparse.ArgumentParser:
    default = generator.SyntheticSpec()
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.data.synthetic",
        description="Generates videos of synthetic faces with action units, as a TFRecord data set.",
    )
    parser.add_argument("--out", type=Path, help="directory that receives the data set")
    parser.add_argument("--preset", default=default.preset, help=f"one of {', '.join(generator.PRESETS)}")
    parser.add_argument("--seed", type=int, default=default.seed, help="start of all randomness, from 0")
    parser.add_argument("--like", default=default.like, help="whose AUs: bp4d (12), disfa (8) or both")
    parser.add_argument("--subjects", type=int, default=default.subjects, help="number of subjects")
    parser.add_argument("--videos", type=int, default=default.videos_per_subject, help="videos a subject")
    parser.add_argument("--frames", type=int, default=default.frames_per_video, help="frames a video")
    parser.add_argument("--workers", type=int, help="processes that draw; all cores by default")
    parser.add_argument("--sheet", type=Path, help="also draw a contact sheet (PNG); alone, only that")
    parser.add_argument("--sheet-subjects", type=int, default=8, help="columns of the contact sheet")
    parser.add_argument(
        "--strips", type=Path, help="also draw each AU from rest to apex and back; alone, only that"
    )
    return parser


def _sheet_path(path: Path, like: str, several: bool) -> Path:
    return path.with_name(f"{path.stem}_{like}{path.suffix}") if several else path


def run(arguments: argparse.Namespace) -> None:
    """Does what the command line asks.

    Raises:
        ValueError: an argument is out of range.
        OSError: a file cannot be written.
    """
    if arguments.out is None and arguments.sheet is None and arguments.strips is None:
        raise ValueError(
            "nothing to do: give --out DIR to write a data set, --sheet or --strips PNG to draw pictures"
        )
    if arguments.workers is not None and arguments.workers < 1:
        raise ValueError(f"--workers must be at least 1, found {arguments.workers}")
    if arguments.sheet_subjects < 1:
        raise ValueError(f"--sheet-subjects must be at least 1, found {arguments.sheet_subjects}")
    likes = generator.LIKES if arguments.like == "both" else (arguments.like,)
    specs = [
        generator.SyntheticSpec(
            like=like,
            preset=arguments.preset,
            seed=arguments.seed,
            subjects=arguments.subjects,
            videos_per_subject=arguments.videos,
            frames_per_video=arguments.frames,
        )
        for like in likes
    ]
    for spec in specs:
        if arguments.sheet is not None:
            picture = sheet.contact_sheet(spec, arguments.sheet_subjects, progress=True)
            path = _sheet_path(arguments.sheet, spec.like, len(specs) > 1)
            sheet.save(picture, path)
            print(f"contact sheet: {path}")
        if arguments.strips is not None:
            path = _sheet_path(arguments.strips, spec.like, len(specs) > 1)
            sheet.save(sheet.au_strips(spec), path)
            print(f"strips: {path}")
    if arguments.out is not None:
        # Writing TFRecord needs TensorFlow; a sheet does not.
        from mdhr_jax.data import builders

        for spec in specs:
            builders.write_synthetic(arguments.out, spec, workers=arguments.workers)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 0, 2 after a user's mistake, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    return commands.finish(lambda: run(arguments))


if __name__ == "__main__":
    sys.exit(main())
