"""Measures the project: ``python -m mdhr_jax.bench memory`` or ``input``.

``memory`` trains a narrow model in processes of their own, on sets of more and more videos and over more
and more epochs, and prints the peak of each process's resident memory. It must not grow with either.

``input`` takes batches of training clips from the loader and counts the frames that a CPU core makes ready
in a second. Time in which cores do something else is not counted, so that a busy machine gives the same.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
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


def input_rates(
    data: Path, dataset: str, fold: int, workers: Sequence[int], *, frames: int, image_size: int = 224
) -> list[tuple[int, float, float]]:
    """Frames that are read, checked, decoded and put into batches of 8 clips of 16.

    Args:
        data: directory of the data set.
        dataset: its entry of the AU table.
        fold: whose training part is read.
        workers: numbers of threads to try.
        frames: to be read with each.
        image_size: edge of the model's input in pixels.

    Returns:
        For each number of threads: it, frames a second, and frames a second of CPU time.

    Raises:
        FileNotFoundError: there is no such data set.
    """
    # Imported late: the other measurement needs a small process.
    from mdhr_jax import facs
    from mdhr_jax.data.clips import ClipStream
    from mdhr_jax.data.loader import train_batches
    from mdhr_jax.data.records import open_dataset

    clips, length = 8, 16
    records = open_dataset(data, facs.get(dataset), facs.train_parts(fold))
    stream = ClipStream([video.num_frames for video in records.videos], length, 0)
    number = max(frames // (clips * length), 1)
    measured = []
    print(f"{'threads':>8} {'frames/s':>9} {'frames/s a core':>16}")
    for threads in workers:
        with train_batches(
            records, stream, batch_size=clips, image_size=image_size, workers=threads, prefetch=1
        ) as batches:
            next(batches)
            begun, used = time.perf_counter(), time.process_time()
            for _ in range(number):
                next(batches)
            seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - used
        done = number * clips * length
        measured.append((threads, done / seconds, done / cpu_seconds))
        print(f"{threads:>8} {done / seconds:>9.0f} {done / cpu_seconds:>16.0f}", flush=True)
    return measured


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, measures, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mdhr_jax.bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    options = commands.add_parser("memory", help="peak memory against videos and epochs")
    options.add_argument("--videos", type=int, nargs="+", default=[12, 48, 192])
    options.add_argument("--epochs", type=int, nargs="+", default=[32, 128, 512])
    options = commands.add_parser("input", help="frames that a CPU core makes ready in a second")
    options.add_argument(
        "--data", type=Path, help="directory of data sets; by default drawn faces are written"
    )
    options.add_argument("--dataset", default="bp4d", help="which of them (bp4d)")
    options.add_argument("--fold", type=int, default=1)
    options.add_argument("--workers", type=int, nargs="+", default=[1, os.cpu_count() or 1], help="threads")
    options.add_argument("--frames", type=int, default=4096, help="to be read with each number of threads")
    chosen = parser.parse_args(arguments)
    if not Path(_CONFIG).exists():
        print(f"error: {_CONFIG} is not here; run this from the clone of the project", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        try:
            if chosen.command == "memory":
                memory(chosen.videos, chosen.epochs, Path(scratch))
            else:
                data, dataset = chosen.data, chosen.dataset
                if data is None:
                    data, dataset = Path(scratch), "synthetic_bp4d"
                    size = ["--subjects", "6", "--videos", "2", "--frames", "64"]
                    command = [sys.executable, "-m", "mdhr_jax.data.synthetic", "--out", str(data), *size]
                    subprocess.run(command, check=True, capture_output=True, text=True)
                input_rates(data, dataset, chosen.fold, chosen.workers, frames=chosen.frames)
        except (FileNotFoundError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except (RuntimeError, subprocess.CalledProcessError) as error:
            if isinstance(error, subprocess.CalledProcessError):
                print(error.stderr, file=sys.stderr)
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
