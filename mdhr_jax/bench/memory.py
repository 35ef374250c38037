"""Peak memory of training runs, which must not grow with the number of videos or of epochs.

A narrow model is trained in processes of their own, on sets of more and more videos and over more and more
epochs; what is told is the peak of each process's resident memory.
"""

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

CONFIG = "configs/quickstart.py"
"""What is trained; in the clone of the project."""

_MIB = 2**20


def resident_peak() -> int:
    """Peak of this process's resident memory in bytes.

    Where the system does not tell, it is at least what the parent held when it started this process.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


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


def grow(videos: Sequence[int], epochs: Sequence[int], scratch: Path) -> list[tuple[int, int, int]]:
    """Peak memory of training runs.

    Args:
        videos: numbers of synthetic videos (one a subject), each with the first of `epochs`.
        epochs: numbers of epochs, each with the first of `videos`.
        scratch: folder for data and runs.

    Returns:
        Videos, epochs and bytes of each run.

    Raises:
        RuntimeError: a command failed.
    """
    measured = []
    cases = [(count, epochs[0]) for count in videos] + [(videos[0], count) for count in epochs[1:]]
    print(f"{'videos':>8} {'epochs':>8} {'peak MiB':>9}")
    for number, (video_count, epoch_count) in enumerate(cases):
        data = scratch / f"data-{video_count}"
        if not data.exists():
            size = ["--subjects", str(video_count), "--videos", "1", "--frames", "32"]
            command = [sys.executable, "-m", "mdhr_jax.data.synthetic", "--out", str(data), *size]
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except subprocess.CalledProcessError as error:
                raise RuntimeError(f"drawing faces failed: {error.stderr.strip()}") from error
        peak = measure_peak(
            [
                *(sys.executable, "-m", "mdhr_jax.main", "--config", CONFIG),
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
