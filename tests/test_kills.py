"""A training of two processes that is killed again and again ends as if nothing had happened.

Two kills by default; ``KILLS=30`` in the environment makes it more, ``KILLS_SEED=1`` other ones.
"""

import collections
import dataclasses
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.data.clips import ClipStream
from mdhr_jax.data.loader import train_batches
from mdhr_jax.data.records import open_dataset
from mdhr_jax.distributed import LOST
from mdhr_jax.training import checkpoints, logs
from mdhr_jax.training.interrupt import SAVED
from tests.logged_main import describe
from tests.processes import REPOSITORY, as_one_run

KILLS, SEED = int(os.environ.get("KILLS", "2")), int(os.environ.get("KILLS_SEED", "0"))
CLIPS_PER_VIDEO, BATCH = 3, 4
STEPS_PER_EPOCH = CLIPS_PER_VIDEO  # Of four videos, four clips a batch.
EPOCHS = 2 + KILLS
STEPS = EPOCHS * STEPS_PER_EPOCH
PROCESSES = 2
TO_THE_END = 300 + 10 * STEPS
"""Seconds that a run is waited for."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 120 * KILLS)]


class Run:
    """Processes of one training, started anew as often as wanted."""

    def __init__(self, folder, data, environment, *overrides):
        self.folder, self.workdir = folder, folder / "run"
        self.workdir.mkdir(parents=True)
        # Rounding is then too small to be taken for something else; and little is run of what is compiled.
        self.environment = {**environment, "JAX_ENABLE_X64": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
        del self.environment["JAX_COMPILATION_CACHE_DIR"]
        options = [
            "--config=tests/plain_config.py",
            "--config.model.dtype=float64",
            "--config.model.param_dtype=float64",
            f"--workdir={self.workdir}",
            f"--config.data.dir={data}",
            f"--config.train.epochs={EPOCHS}",
            f"--config.data.clips_per_video={CLIPS_PER_VIDEO}",
            f"--config.train.batch_size={BATCH}",
            f"--config.eval.every_epochs={EPOCHS}",
            "--config.checkpoint.every_steps=1",
            "--config.log.every_steps=1",
            "--config.log.tensorboard=False",
            "--config.distributed.timeout=300",
            *overrides,
        ]
        self.command = [sys.executable, "-m", "tests.logged_main", str(folder), *options]
        self.starts = 0
        self.said: list[Path] = []

    def start(self, processes=PROCESSES, devices=1, more=()):
        started, number = [], self.starts
        self.starts += 1
        self.said = []
        for process, environment in enumerate(as_one_run(self.environment, processes)):
            environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
            self.said.append(self.folder / f"said-{number}-{process}.txt")
            with self.said[-1].open("w") as file:
                output = {"stdout": file, "stderr": subprocess.STDOUT}
                started.append(
                    subprocess.Popen([*self.command, *more], cwd=REPOSITORY, env=environment, **output)
                )
        return started

    def last_words(self):
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.said)

    def wait(self, started, seconds=300):
        """Exit codes; a process that does not end is a failure."""
        deadline = time.monotonic() + seconds
        while any(process.poll() is None for process in started):
            if time.monotonic() > deadline:
                for process in started:
                    process.kill()
                pytest.fail(f"does not end in {seconds} s:\n{self.last_words()}")
            time.sleep(0.02)
        return [process.returncode for process in started]

    def steps(self):
        return sorted(
            int(path.name) for path in (self.workdir / "checkpoints").glob("*") if path.name.isdigit()
        )

    def met(self):
        """Whether the processes of the last start know of each other's devices; JAX says so on CPUs."""
        return all("Gloo" in path.read_text() for path in self.said)

    def writing(self):
        return any((self.workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))

    def state(self):
        names = ("params", "batch_stats", "opt_state", "rng", "step")
        return checkpoints.load_weights(self.workdir / "checkpoints" / str(STEPS), names=names)[0]

    def clips(self):
        """By position behind a batch and row of it, which clips were taken there, however often."""
        taken = collections.defaultdict(set)
        for path in self.folder.glob("clips-*.jsonl"):
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                for row, clip in enumerate(entry["clips"], start=entry["first_row"]):
                    taken[entry["position"], row].add(clip)
        return dict(taken)

    def losses(self):
        return {line["step"]: line["loss"] for line in logs.read_log(self.workdir, "train")}


@dataclasses.dataclass(frozen=True)
class Kill:
    """Which processes get which signal, and when: at the start, while a checkpoint is written, in steps."""

    who: tuple[int, ...]
    number: signal.Signals
    moment: str
    wait: float

    @classmethod
    def drawn(cls, draw):
        """Endless kills: two that leave others to end themselves, then of all kinds in any order."""
        yield cls((0,), signal.SIGKILL, "write", draw.random())
        yield cls((1,), signal.SIGKILL, "steps", draw.random())
        victims, signals = [(0,), (1,), (0, 1)], [signal.SIGKILL, signal.SIGTERM]
        while True:
            kinds = [*itertools.product(victims, signals, ["start", "write", "steps", "steps"])]
            draw.shuffle(kinds)
            for kind in kinds:
                yield cls(*kind, draw.random())

    def strike(self, run, started, before):
        """Waits for the moment; gives whether anyone was left to be killed."""
        deadline, begun = time.monotonic() + 300, time.monotonic()
        while all(process.poll() is None for process in started):
            if self.moment == "start" and time.monotonic() - begun > 15 * self.wait:
                break
            if self.moment == "write" and run.writing() and run.steps() > before:
                break
            if self.moment == "steps" and run.steps() > before:
                time.sleep(self.wait)
                break
            assert time.monotonic() < deadline, run.last_words()
            time.sleep(0.002)
        alive = [who for who in self.who if started[who].poll() is None]
        for who in alive:
            started[who].send_signal(self.number)
        met = run.met()
        # Otherwise every end would be accepted below.
        assert met or self.moment == "start" or not alive, run.last_words()
        if not met:
            # The others would wait for it as long as for one that is late; their launcher does not.
            for process in started:
                process.terminate()
        return bool(alive)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, synthetic_data, environment):
    folder = tmp_path_factory.mktemp("uninterrupted")
    options = [f"--config.compile_cache={folder / 'compiled'}", "--config.checkpoint.every_steps=0"]
    run = Run(folder, synthetic_data, environment, *options)
    assert run.wait(run.start(), TO_THE_END) == [0] * PROCESSES, run.last_words()
    return run


def leaves(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def check_codes(kill, codes, run):
    """All have ended, none as if it were finished, and nobody but the victims by a signal."""
    words = f"{kill} {codes}\n{run.last_words()}"
    if kill.number == signal.SIGTERM and set(codes) == {SAVED}:
        return "saved by all"
    for process, code in enumerate(codes):
        if process in kill.who or not run.met():
            # A victim of TERM that had not begun to listen, or whose end others have brought about before;
            # one that had nothing to save yet.
            assert code in (-kill.number, -signal.SIGTERM, LOST, SAVED), words
        else:
            assert code == LOST, words
    return "ended"


def test_processes_killed_at_any_moment_end_as_if_nothing_had_happened(
    uninterrupted, synthetic_data, environment, tmp_path
):
    # With many kills some come while programs are being kept.
    compiled = (tmp_path if KILLS > 9 else uninterrupted.folder) / "compiled"
    run = Run(tmp_path, synthetic_data, environment, f"--config.compile_cache={compiled}")
    kills, told = Kill.drawn(random.Random(SEED)), collections.Counter()
    for number in range(KILLS):
        kill, before = next(kills), run.steps()
        started = run.start()
        struck = kill.strike(run, started, before)
        codes = run.wait(started)
        assert struck, f"over before kill {number} of {KILLS}: {codes}\n{run.last_words()}"
        told[f"{kill.moment}, {kill.number.name}: {check_codes(kill, codes, run)}"] += 1
        said = run.said[0].read_text()
        if f"of {STEPS}" in said and before:
            assert f"continuing after step {before[-1]} of {STEPS}" in said
        # Whatever is offered can be read.
        for step in run.steps():
            state, meta = checkpoints.load_weights(run.workdir / "checkpoints" / str(step))
            assert meta["step"] == step
            assert meta["position"] == step * BATCH
            assert all(np.isfinite(array).all() for array in state["params"].values())
        print(f"kill {number + 1}: {kill}; exit codes {codes}; checkpoints {run.steps()}")
    assert run.wait(run.start(), TO_THE_END) == [0] * PROCESSES, run.last_words()
    print(dict(told))

    found, expected = dict(leaves(run.state())), dict(leaves(uninterrupted.state()))
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert run.clips() == uninterrupted.clips() == clips_of_one_process(synthetic_data)


def clips_of_one_process(data):
    """What a process alone takes; in each epoch every clip once."""
    records = open_dataset(data, facs.get("synthetic_bp4d"), facs.train_parts(1))
    frames = [video.num_frames for video in records.videos]
    stream = ClipStream(frames, 4, 0, CLIPS_PER_VIDEO)
    for epoch in range(EPOCHS):
        clips = [stream[epoch * stream.clips_per_epoch + i] for i in range(stream.clips_per_epoch)]
        assert collections.Counter(clip.video for clip in clips) == dict.fromkeys(range(4), CLIPS_PER_VIDEO)
    taken = collections.defaultdict(set)
    with train_batches(records, stream, batch_size=BATCH, image_size=64, workers=1) as batches:
        for _ in range(STEPS):
            entry = describe(next(batches))
            for row, clip in enumerate(entry["clips"]):
                taken[entry["position"], row].add(clip)
    assert all(len(clips) == 1 for clips in taken.values())
    return dict(taken)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({}, {"processes": 1, "devices": 4}),
        # What one process has whole, two have in parts.
        ({"processes": 1, "devices": 4}, {"devices": 2, "more": ["--config.mesh.fsdp=2"]}),
    ],
    ids=["fewer", "more"],
)
def test_told_to_stop_all_save_the_same_step_and_other_layouts_go_on(
    first, then, uninterrupted, synthetic_data, environment, tmp_path
):
    """A signal at the last of the processes, after which other processes with other devices go on."""
    compiled = uninterrupted.folder / "compiled"
    run = Run(tmp_path, synthetic_data, environment, f"--config.compile_cache={compiled}")
    started = run.start(**first)
    while not run.steps():
        assert all(process.poll() is None for process in started), run.last_words()
        time.sleep(0.01)
    started[-1].send_signal(signal.SIGUSR1)
    assert run.wait(started) == [SAVED] * len(started), run.last_words()
    assert f"told to stop: saved after step {run.steps()[-1]} of {STEPS}" in run.said[0].read_text()
    before = run.steps()[-1]
    started = run.start(**then)
    assert run.wait(started) == [0] * len(started), run.last_words()
    assert f"continuing after step {before} of {STEPS}" in run.said[0].read_text()
    expected, found = uninterrupted.losses(), run.losses()
    assert list(found) == list(expected) == list(range(1, STEPS + 1))
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=0, atol=1e-9)
    assert run.clips() == uninterrupted.clips()
