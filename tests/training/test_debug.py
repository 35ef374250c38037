"""Switches for looking into a run."""

import gzip
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from mdhr_jax import config as config_lib
from mdhr_jax import distributed
from mdhr_jax.training import debug
from tests.processes import REPOSITORY
from tests.quick import STEPS, command


def switched(**changes):
    config = config_lib.base()
    with config.unlocked():
        for name, value in changes.items():
            config.debug[name] = value
    return config


def test_unasked_transfers_are_refused_where_that_is_wanted():
    double = jax.jit(lambda x: 2 * x)
    with debug.guarding_transfers(switched()):
        double(np.ones(3))
    with debug.guarding_transfers(switched(transfer_guard="disallow")):
        double(jax.device_put(np.ones(3)))
        with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
            double(np.ones(3))


def test_the_operation_that_gives_a_nan_is_named():
    def step(x):
        return np.float32(2) * jax.numpy.log(x)

    with debug.checking_nans(switched(), "step 3"):
        assert np.isnan(jax.jit(step)(-1.0))
    on = switched(nans=True)
    with debug.checking_nans(on, "step 3"), pytest.raises(FloatingPointError, match=r"\blog\b"):
        jax.jit(step)(-1.0)
    # As several processes have it.
    compiled = jax.jit(step).lower(-1.0).compile()
    for _ in range(2):
        with pytest.raises(debug.NanError) as raised, debug.checking_nans(on, "step 3"):
            compiled(-1.0)
        assert str(raised.value).startswith("step 3 gave a NaN. ")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((3, 2), r"is \(3, 2\), expected the first and the last"),
        ((0, 2), "first and the last"),
        ((1, 2, 3), "first"),
    ],
)
def test_steps_to_profile_must_be_a_range(steps, message):
    config = switched(profile=steps)
    config.dataset = "synthetic_bp4d"
    with pytest.raises(ValueError, match=message):
        config_lib.validate(config)


def test_steps_to_profile_must_be_of_the_run():
    debug.check(switched(profile=(3, 10)), 10)
    debug.check(switched(), 1)
    with pytest.raises(ValueError, match="the run has 9 steps"):
        debug.check(switched(profile=(3, 10)), 9)


def traces(directory):
    """Names of what computed, by trace that lies there; each must be read by both of its formats."""
    found = []
    for path in sorted((directory / debug.FOLDER).glob("plugins/profile/*/*.trace.json.gz")):
        with gzip.open(path) as file:
            found.append({event.get("name") for event in json.load(file)["traceEvents"]})
        (binary,) = path.parent.glob("*.xplane.pb")
        planes = {plane.name: plane for plane in jax.profiler.ProfileData.from_file(str(binary)).planes}
        assert any(True for plane in planes.values() for line in plane.lines for _ in line.events)
    return found


@pytest.mark.parametrize(
    ("begun", "last", "recorded"), [(1, 6, 1), (4, 6, 1), (5, 6, 0), (1, 3, 1), (1, 1, 0)]
)
def test_a_profile_is_of_the_steps_asked_for(begun, last, recorded, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda directory: calls.append(directory))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append(steps[-1]))
    profile, steps = debug.Profile(switched(profile=(2, 4)), tmp_path), []
    for step in range(begun, last + 1):
        profile.before(step)
        steps.append(step)
        profile.after(step, ())
    profile.close()
    profile.close()
    assert calls == [tmp_path / "profile", min(last, 4)] * recorded


def test_only_the_first_process_records(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "is_first", lambda: False)
    monkeypatch.setattr(jax.profiler, "start_trace", lambda _: pytest.fail("it records"))
    debug.Profile(switched(profile=(1, 1)), tmp_path).before(1)


SHOWS_FLAGS = """
import os
from absl import app
from mdhr_jax import main
from mdhr_jax.training import run

def show(config, directory):
    raise ValueError(f"flags: {os.environ['XLA_FLAGS']}")

run.run = show
app.run(main.main, flags_parser=main.parse_flags)
"""


@pytest.mark.parametrize("deterministic", [True, False])
def test_what_is_to_be_deterministic_tells_xla_so_before_it_looks_for_devices(deterministic):
    options = ["--config=configs/quickstart.py", f"--config.debug.deterministic={deterministic}"]
    done = subprocess.run(
        [sys.executable, "-c", SHOWS_FLAGS, *options],
        cwd=REPOSITORY,
        env={**os.environ, "XLA_FLAGS": "--xla_of_the_user=1"},
        capture_output=True,
        text=True,
    )
    more = " --xla_gpu_deterministic_ops=true" if deterministic else ""
    assert f"error: flags: --xla_of_the_user=1{more}\n" in done.stderr


@pytest.mark.slow
def test_a_run_with_all_switches_goes_through_and_leaves_a_profile(synthetic_data, environment, tmp_path):
    switches = ["--config.debug.nans=True", "--config.debug.transfer_guard=disallow"]
    switches += ["--config.debug.profile=(2, 3)", "--config.debug.deterministic=True"]
    switches += ["--config.train.epochs=4", "--config.eval.every_epochs=4", "--config.log.tensorboard=False"]
    done = subprocess.run(
        command(tmp_path, synthetic_data, *switches),
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert f"profile written to {tmp_path / 'profile'}" in done.stderr
    assert STEPS > 4
    (names,) = traces(tmp_path)
    assert any("jit_step" in name or "PjitFunction(step)" in name for name in names if name)
