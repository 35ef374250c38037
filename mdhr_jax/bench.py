"""Measures the project: ``python -m mdhr_jax.bench memory``.

``memory`` trains a narrow model in processes of their own, on sets of more and more videos and over more
and more epochs, and prints the peak of each process's resident memory. It must not grow with either.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_MIB = 2**20
_CONFIG = "configs/quickstart.py"


def measure_peak(command: Sequence[str]) -> int:
    """Runs a command and returns the peak of its resident memory in bytes.

    Its children's is not counted, but what this process held when it started the command is: keep it small.

    Raises:
        RuntimeError: the command failed; its output has been printed.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            print(output.read(), file=sys.stderr)
            raise RuntimeError(f"exit code {process.returncode}: {' '.join(command)}")
    # Linux counts in KiB, macOS in bytes.
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory(videos: Sequence[int], epochs: Sequence[int], scratch: Path) -> list[tuple[int, int, int]]:
    """Peak memory of training runs.

    Args:
        videos: numbers of synthetic videos (one a subject), each with the first of `epochs`.
        epochs: numbers of epochs, each with the first of `videos`.
        scratch: folder for data and runs.

    Returns:
        Videos, epochs and bytes of each run.
    """
    measured = []
    cases = [(count, epochs[0]) for count in videos] + [(videos[0], count) for count in epochs[1:]]
    print(f"{'videos':>8} {'epochs':>8} {'peak MiB':>9}")
    for number, (video_count, epoch_count) in enumerate(cases):
        data = scratch / f"data-{video_count}"
        if not data.exists():
            size = ["--subjects", str(video_count), "--videos", "1", "--frames", "32"]
            command = [sys.executable, "-m", "mdhr_jax.data.synthetic", "--out", str(data), *size]
            subprocess.run(command, check=True, capture_output=True, text=True)
        peak = measure_peak(
            [
                *(sys.executable, "-m", "mdhr_jax.main", "--config", _CONFIG),
                *("--workdir", str(scratch / f"run-{number}")),
                f"--config.data.dir={data}",
                f"--config.data.generate.subjects={video_count}",
                "--config.data.generate.videos=1",
                "--config.data.generate.frames=32",
                f"--config.train.epochs={epoch_count}",
                f"--config.eval.every_epochs={epoch_count}",
            ]
        )
        measured.append((video_count, epoch_count, peak))
        print(f"{video_count:>8} {epoch_count:>8} {peak / _MIB:>9.0f}", flush=True)
    return measured


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, measures, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mdhr_jax.bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    options = commands.add_parser("memory", help="peak memory against videos and epochs")
    options.add_argument("--videos", type=int, nargs="+", default=[12, 48, 192])
    options.add_argument("--epochs", type=int, nargs="+", default=[32, 128, 512])
    chosen = parser.parse_args(arguments)
    if not Path(_CONFIG).exists():
        print(f"error: {_CONFIG} is not here; run this from the clone of the project", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        try:
            memory(chosen.videos, chosen.epochs, Path(scratch))
        except (RuntimeError, subprocess.CalledProcessError) as error:
            if isinstance(error, subprocess.CalledProcessError):
                print(error.stderr, file=sys.stderr)
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
