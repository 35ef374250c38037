"""A run whose disk fills up, for want of bytes or of room for more files."""

import subprocess
from pathlib import Path

import pytest

from mdhr_jax.training.checkpoints import Checkpoints, load_weights
from tests.quick import STEPS, command

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]


def mount(directory, options):
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], capture_output=True
    ).returncode


# One checkpoint takes 6.8 MB in 31 files and directories, and twice as many while it is written.
@pytest.fixture(params=["size=7m", "size=64m,nr_inodes=64"], ids=["bytes", "files"])
def small_disk(request, tmp_path):
    if mount(tmp_path, request.param):
        pytest.skip("only root can mount a small disk")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_ends_a_run_with_one_message_and_room_lets_it_go_on(
    small_disk, synthetic_data, environment
):
    def train():
        return subprocess.run(
            command(small_disk / "run", synthetic_data),
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )

    failed = train()
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert "Warning" not in failed.stderr
    assert failed.stderr.lower().count("no space left") == 1
    assert failed.stderr.count("error: checkpoint") == 1
    directory = small_disk / "run" / "checkpoints"
    with Checkpoints(directory, read_only=True) as checkpoints:
        steps = checkpoints.steps()
    assert steps
    names = ("step", "params", "batch_stats", "opt_state")
    for step in steps:
        state, meta = load_weights(directory / str(step), names=names)
        assert state["step"] == meta["step"] == step

    assert mount(small_disk, "remount,size=64m,nr_inodes=1000") == 0
    continued = train()
    assert continued.returncode == 0, continued.stderr
    assert f"continuing after step {steps[-1]} of {STEPS}" in continued.stderr
