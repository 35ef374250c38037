"""Several processes as one run: how they find each other, what they share, and that they compute the same."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import jax
import numpy as np
import pytest

from mdhr_jax import config as config_lib
from mdhr_jax import distributed, progress
from mdhr_jax.distributed import TogetherError, processes, roll_call
from mdhr_jax.training import predictions
from mdhr_jax.training.checkpoints import Checkpoints
from mdhr_jax.training.experiment import open_experiment
from mdhr_jax.training.interrupt import SAVED
from tests import layouts, quick, tiny
from tests.processes import REPOSITORY, STEP, as_one_run, free_port, run_all, settings


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Nothing in the environment speaks of other processes."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "OMPI_", "KUBERNETES_")) or name in distributed.VARIABLES:
            monkeypatch.delenv(name)


def put(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_a_process_alone_waits_for_nobody(monkeypatch, tmp_path):
    # Sockets must not be asked either.
    monkeypatch.setattr(roll_call, "meet", lambda *_: pytest.fail("it waits"))
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: pytest.fail("it waits"))
    distributed.start(config_lib.base(), tmp_path)
    put(monkeypatch, settings("node1:9231", 1, 0))
    distributed.start(config_lib.base(), tmp_path)
    put(
        monkeypatch,
        STEP | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"} | dict.fromkeys(distributed.VARIABLES, ""),
    )
    distributed.start(config_lib.base(), tmp_path)
    assert (distributed.is_first(), distributed.name_self()) == (True, "")
    assert distributed.together(lambda: 3) == distributed.by_first(lambda: 3) == 3
    distributed.require_same("hats", 3)
    with pytest.raises(FileNotFoundError, match="gone"):
        distributed.together(lambda: (_ for _ in ()).throw(FileNotFoundError("gone")))


def test_a_process_alone_takes_only_the_gpus_that_it_is_told_to(monkeypatch, tmp_path):
    names = ("jax_cuda_visible_devices", "jax_rocm_visible_devices")
    before = {name: jax.config.read(name) for name in names}
    try:
        distributed.start(config_lib.base(), tmp_path)
        assert {name: jax.config.read(name) for name in names} == before
        # As `launch/local.sh -n 1 -g 2` has it.
        put(monkeypatch, settings("127.0.0.1:9231", 1, 0) | {"JAX_LOCAL_DEVICE_IDS": "0,1"})
        distributed.start(config_lib.base(), tmp_path)
        assert {name: jax.config.read(name) for name in names} == dict.fromkeys(names, "0,1")
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def test_what_computes_on_the_devices_is_compared_too(monkeypatch, tmp_path):
    def version(name):
        if name == "libtpu":
            raise importlib.metadata.PackageNotFoundError(name)
        return f"{name} 1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    libraries = distributed.describe(config_lib.base(), tmp_path)["libraries"]
    assert libraries["libtpu"] is None
    assert libraries["jax-cuda12-plugin"] == "jax-cuda12-plugin 1"
    assert {"jax", "jax-cuda13-plugin", "jax-cuda12-pjrt", "jax-cuda13-pjrt"} < libraries.keys()


def test_a_timeout_must_be_positive(tmp_path):
    config = config_lib.base()
    config.distributed.timeout = 0
    with pytest.raises(ValueError, match=r"distributed\.timeout must be positive"):
        distributed.start(config, tmp_path)


def test_hosts_may_have_data_and_readers_of_their_own(tmp_path):
    config = config_lib.base()
    facts = distributed.describe(config, tmp_path)
    assert json.loads(json.dumps(facts)) == facts
    assert "mdhr_jax/training/step.py" in facts["code"]
    config.data.dir, config.data.workers, config.distributed.timeout = "elsewhere", 3, 9
    assert distributed.describe(config, tmp_path) == facts
    config.mesh.fsdp = 2
    assert distributed.describe(config, tmp_path)["config"]["mesh.fsdp"] == 2
    with jax.enable_x64(True):
        assert distributed.describe(config, tmp_path)["settings"] != facts["settings"]


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ([["no disk", "process 0"], ["no disk", "process 1"]], "no disk"),
        ([[None, "process 0"], ["no disk", "process 1"]], "process 1: no disk"),
        (
            [["a", "process 0"], ["b", "process 1"], ["b", "process 2"]],
            "process 0: a\nprocess 1, process 2: b",
        ),
    ],
)
def test_who_failed_is_named_where_not_all_did(outcomes, message):
    with pytest.raises(TogetherError) as raised:
        processes._raise_if_any(outcomes, None)
    assert str(raised.value) == message
    processes._raise_if_any([[None, "process 0"]], None)


def test_others_than_the_first_are_quiet(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_quiet", False)
    progress.announce("first")
    progress.be_quiet()
    progress.announce("second")
    with progress.Progress(2, unit="steps", label="third") as bar:
        bar.update(2)
    assert capsys.readouterr().err == "first\n"


PATIENT = "--config.distributed.timeout=500"
"""Where all come, and tests that run beside this one may hold some of them up."""


def command(*more):
    return ["-m", "mdhr_jax.main", "--config", "configs/quickstart.py", *more]


def said(done):
    """The message with which all processes ended."""
    for process in done:
        assert process.returncode == 1, process.stderr
        assert "Traceback" not in process.stderr
        assert "Check failure" not in process.stderr
    # Behind it the first process may still say how far the training was.
    messages = {
        re.sub(r"(?m)^training: .*\n", "", process.stderr.partition("error: ")[2]) for process in done
    }
    assert len(messages) == 1, messages
    return f"error: {messages.pop()}"


def test_a_line_is_one_write(monkeypatch):
    """A thread that ends the run speaks while another shows progress."""
    written = []
    monkeypatch.setattr(sys, "stderr", mock.Mock(write=written.append))
    progress.tell("error: it is over")
    assert written == ["error: it is over\n"]


def test_nobody_at_the_coordinators_address_ends_the_command(environment, tmp_path):
    address = f"127.0.0.1:{free_port()}"
    own = {**environment, **settings(address, 2, 1)}
    message = said(run_all(command(f"--workdir={tmp_path}", "--config.distributed.timeout=1"), [own]))
    assert f"found nobody at the coordinator's address {address}" in message


def test_too_few_processes_end_the_command(environment, tmp_path):
    own = as_one_run(environment, 2)[:1]
    message = said(run_all(command(f"--workdir={tmp_path}", "--config.distributed.timeout=1"), own))
    assert "1 of 2 processes came within 1 s" in message


@pytest.mark.slow
def test_a_host_with_other_config_ends_all(environment, tmp_path):
    other = {1: ["--config.train.learning_rate=0.1"]}
    done = run_all(command(f"--workdir={tmp_path / 'run'}", PATIENT), as_one_run(environment, 2), more=other)
    assert "config: train.learning_rate is 0.1, 0.002 on process 0" in said(done)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_host_with_other_code_ends_all(environment, tmp_path):
    shutil.copytree(
        REPOSITORY / "mdhr_jax", tmp_path / "mdhr_jax", ignore=shutil.ignore_patterns("__pycache__")
    )
    with (tmp_path / "mdhr_jax" / "training" / "step.py").open("a") as file:
        file.write("# Not the same.\n")
    own = as_one_run(environment, 2)
    own[1]["PYTHONPATH"] = str(tmp_path)
    # From a directory without the package, which would come before all others.
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")

    def run(place):
        return subprocess.run(
            [sys.executable, "-P", *command(f"--workdir={tmp_path / 'run'}", PATIENT)],
            env=place,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(run, own))
    assert "code: other code in mdhr_jax/training/step.py\n" in said(done)


def plain(directory, data, *more):
    """Training on data that are there already."""
    config = ["-m", "mdhr_jax.main", "--config", "tests/plain_config.py"]
    return [*config, f"--workdir={directory}", f"--config.data.dir={data}", PATIENT, *more]


@pytest.mark.slow
def test_too_few_devices_end_all(environment, tmp_path):
    arguments = plain(tmp_path / "run", tmp_path, "--config.mesh.data=4", "--config.mesh.fsdp=2")
    found = said(run_all(arguments, as_one_run(environment, 2), devices=2))
    assert "data=4, fsdp=2 does not fit 4 device(s) (2 processes with 2 each); the product must be 4" in found
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_data_missing_on_one_host_end_all(synthetic_data, environment, tmp_path):
    other = {1: [f"--config.data.dir={tmp_path}"]}
    arguments = plain(tmp_path / "run", synthetic_data)
    found = said(run_all(arguments, as_one_run(environment, 2), more=other))
    assert found.startswith("error: process 1 on ")
    assert f"looked for {tmp_path}" in found
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What two processes compile for data that are there already."""
    return f"--config.compile_cache={tmp_path_factory.mktemp('compiled')}"


@pytest.fixture
def hasty(environment):
    """An environment for little that is run of what is compiled."""
    return {**environment, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def unlucky(what, *arguments):
    """The command, to one process of which something happens."""
    return ["-m", "tests.unlucky_main", what, *arguments[2:]]


@pytest.mark.slow
@pytest.mark.parametrize("who", [1, 0])  # In this order, as the first process keeps what is compiled.
def test_a_checkpoint_that_one_process_cannot_write_ends_all(who, synthetic_data, hasty, compiled, tmp_path):
    run = tmp_path / "run"
    arguments = plain(run, synthetic_data, compiled, "--config.checkpoint.every_steps=1")
    done = run_all(unlucky(f"full:{who}", *arguments), as_one_run(hasty, 2))
    found = said(done)
    assert re.fullmatch(rf"error: process {who} on .*: checkpoint could not be written to {run}/.*\n", found)
    assert not list((run / "checkpoints").glob("[0-9]"))


@pytest.mark.slow
def test_a_process_that_hangs_ends_all_and_is_named(synthetic_data, hasty, compiled, tmp_path):
    # Steps are begun before those before them are done, and no log waits for them.
    more = ["--config.distributed.step_timeout=30", "--config.log.every_steps=1000"]
    arguments = plain(tmp_path / "run", synthetic_data, compiled, "--config.eval.every_epochs=1000", *more)
    found = said(run_all(unlucky("hang:1", *arguments), as_one_run(hasty, 2)))
    assert "has come no further for 30 s (config.distributed.step_timeout), with " in found
    assert re.search("Furthest behind is process 1 on .*, with 2 steps begun and [012] known to be", found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "doing"), [("open", "opening the data"), ("last", "with the last checkpoint to be written")]
)
def test_what_hangs_before_the_first_step_or_after_the_last_ends_all(
    what, doing, synthetic_data, hasty, compiled, tmp_path
):
    more = ["--config.distributed.step_timeout=20", "--config.train.epochs=1"]
    arguments = plain(tmp_path / "run", synthetic_data, compiled, *more)
    found = said(run_all(unlucky(f"{what}:1", *arguments), as_one_run(hasty, 2), timeout=300))
    assert re.match(rf"error: process [01] on .* has come no further for 20 s .*, {doing}: it waits", found)


@pytest.mark.parametrize("count", [1, 2])
def test_told_to_stop_before_training_all_end_as_what_is_to_be_started_again(
    count, synthetic_data, environment, tmp_path
):
    arguments = plain(tmp_path / "run", synthetic_data)
    for process in run_all(unlucky("early:0", *arguments), as_one_run(environment, count)):
        assert process.returncode == SAVED, process.stderr
        assert process.stderr.endswith(
            "error: told to stop (SIGTERM) with nothing to save; the same command begins anew\n"
        )
    assert not (tmp_path / "run").exists()


SWITCHES = ["--config.debug.nans=True", "--config.debug.transfer_guard=disallow"]


@pytest.mark.slow
def test_an_evaluation_stops_when_one_process_is_told_to_and_is_repeated(
    synthetic_data, hasty, compiled, tmp_path
):
    """With all switches of ``config.debug``, which several processes have too."""
    run = tmp_path / "run"
    more = ["--config.train.epochs=2", "--config.eval.every_epochs=1", "--config.eval.batch_size=2"]
    more += ["--config.train.batch_size=4"]  # One step an epoch.
    more += [*SWITCHES, "--config.debug.profile=(1, 1)", "--config.debug.deterministic=True"]
    arguments = plain(run, synthetic_data, compiled, "--config.log.every_steps=1", *more)

    def logged():
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [(line["kind"], line["step"]) for line in lines]

    def steps():
        return sorted(path.name for path in (run / "checkpoints").glob("[0-9]*"))

    def start(what=None):
        command = arguments if what is None else unlucky(what, *arguments)
        done = run_all(command, as_one_run(hasty, 2))
        return [process.returncode for process in done], done[0].stderr

    codes, stderr = start("told:1:1")
    assert codes == [SAVED] * 2, stderr
    assert "told to stop: saved after step 1 of 2" in stderr
    assert (logged(), steps()) == ([("train", 1)], ["1"])
    assert len(list((run / "profile").glob("plugins/profile/*"))) == 1
    # Now at what chooses no checkpoint any more.
    codes, stderr = start("told:1:3")
    assert codes == [SAVED] * 2, stderr
    assert "continuing after step 1 of 2" in stderr
    assert "told to stop: saved after step 2 of 2" in stderr
    assert not (run / "result.json").exists()
    codes, stderr = start()
    assert codes == [0, 0], stderr
    assert logged() == [("train", 1), ("eval", 1), ("train", 2), ("eval", 2)]
    assert (run / "result.json").is_file()


@pytest.mark.slow
def test_other_weights_on_one_host_end_all(synthetic_data, hasty, tmp_path):
    config = config_lib.base()
    config.dataset, config.data.dir = "synthetic_bp4d", str(synthetic_data)
    config.model.backbone, config.model.width = "tiny", 8
    config.data.image_size, config.data.clip_length = 64, 4
    experiment = open_experiment(config)
    homes = [tmp_path / f"host {number}" for number in range(2)]
    for number, home in enumerate(homes):
        params, stats = tiny.weights(experiment.model.config)
        # No more than one number differs.
        params["classifier.prototypes"] = params["classifier.prototypes"].at[0, 0].add(number)
        with Checkpoints(home / "weights") as checkpoints:
            checkpoints.save(1, {"params": params, "batch_stats": stats}, experiment.metadata())
    arguments = [*plain(tmp_path / "run", synthetic_data), "--config.model.init_from=weights"]
    arguments[arguments.index("tests/plain_config.py")] = str(REPOSITORY / "tests/plain_config.py")
    found = said(run_all(arguments, as_one_run(hasty, 2), folders=homes))
    assert re.match(
        r'error: the weights at weights of the processes of this run differ: "\w{16}" on process 0, '
        r'"\w{16}" on process 1 on .*; give all the same',
        found,
    )


@pytest.mark.slow
def test_a_nan_on_several_processes_names_its_step(synthetic_data, hasty, compiled, tmp_path):
    more = [*SWITCHES, "--config.train.epochs=6", "--config.eval.every_epochs=6"]
    more += ["--config.train.learning_rate=1e30"]
    arguments = plain(tmp_path / "run", synthetic_data, compiled, *more)
    found = said(run_all(arguments, as_one_run(hasty, 2)))
    assert re.match(
        r"error: step \d gave a NaN\. Which operation did is not found on several processes", found
    )


@pytest.mark.slow
def test_two_processes_make_data_train_and_write_once(environment, tmp_path):
    run, size = tmp_path / "run", ["--config.train.epochs=2", "--config.eval.batch_size=4"]
    arguments = [*quick.command(run, tmp_path / "data", "--config.mesh.fsdp=2", PATIENT, *size)[1:]]
    done = run_all(arguments, as_one_run(environment, 2))
    assert [process.returncode for process in done] == [0, 0], [process.stderr for process in done]
    first, second = done
    assert "written to" in first.stdout
    assert "written to" not in second.stdout
    assert "training tiny" in first.stderr
    assert "training" not in second.stderr
    assert (run / "result.json").is_file()
    assert (run / "predictions.npz").is_file()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    # A line a checkpoint, of which there is one a step.
    assert [(line["kind"], line["step"]) for line in lines] == [("train", 1), ("train", 2), ("eval", 2)]
    assert sorted(path.name for path in (run / "checkpoints").glob("[0-9]*")) == ["1", "2"]
    # What they saved between them one process goes on from, as if it had been its own, to what they found.
    result, scores = json.loads((run / "result.json").read_text()), predictions.read(run).scores
    (run / "result.json").unlink()
    again = run_all(arguments, [environment], devices=2)[0]
    assert again.returncode == 0, again.stderr
    assert "continuing after step 2 of 2" in again.stderr
    np.testing.assert_allclose(predictions.read(run).scores, scores, rtol=0, atol=1e-5)
    found = json.loads((run / "result.json").read_text())
    for name in ("f1", "accuracy", "baseline_f1"):
        assert found[name] == pytest.approx(result[name], abs=0.1), name


@pytest.mark.slow
@pytest.mark.timeout(3600 if "LAYOUT_STEPS" in os.environ else 900)
def test_processes_and_devices_in_any_layout_compute_the_same(float64, environment, tmp_path):
    """1 x 8 and 2 x 4 processes x devices, each with and without fsdp, from each other's checkpoints.

    ``LAYOUT_STEPS=20`` in the environment makes it longer, and adds 4 x 2, and float32 without fsdp.
    """
    names = {"2x4": 2, "4x2": 4} if "LAYOUT_STEPS" in os.environ else {"2x4": 2}
    own, losses = layouts.train(tmp_path, "1x8")
    single = {f"1x8-{fsdp}": values for fsdp, values in layouts.train_single().items()}
    started = environment | {"JAX_ENABLE_X64": "1", "LAYOUT_STEPS": str(layouts.STEPS)}
    del started["JAX_COMPILATION_CACHE_DIR"]  # Both layouts would write to it.

    def run(name):
        others = [other for other in ("1x8", *names) if other != name]
        processes = names[name]
        return run_all(
            ["-m", "tests.layouts", str(tmp_path), name, *others],
            as_one_run(started, processes),
            devices=8 // processes,
            timeout=3000 if "LAYOUT_STEPS" in os.environ else 800,
        )

    with ThreadPoolExecutor(len(names)) as pool:
        for done in pool.map(run, names):
            assert not any(process.returncode for process in done), [process.stderr for process in done]
    found = {f"1x8-{fsdp}": values for fsdp, values in losses.items()}
    expected = np.array(losses["1"])
    for name in names:
        told = json.loads((tmp_path / f"{name}.json").read_text())
        assert (told["processes"], told["devices"]) == (names[name], 8)
        found |= {f"{name}: {how}": values for how, values in told["losses"].items()}
        single |= {f"{name}-{fsdp}": values for fsdp, values in told["single"].items()}
        found |= {f"1x8: {how}": values for how, values in layouts.resume(tmp_path, name, own).items()}
    assert len(found) == 2 + len(names) * (2 + 4 * len(names)) + len(names) * 4
    apart = np.zeros(2)
    for how, values in found.items():
        same = expected[-len(values) :]
        # Losses are about 1, norms of gradients up to 1000.
        scales = 1.0, same[:, 1].max()
        apart = np.maximum(apart, (np.abs(np.array(values) - same) / scales).max(axis=0))
        assert (apart <= 1e-10).all(), how
    print(
        f"{len(found)} times up to {len(expected)} steps in float64: losses at most {apart[0]:.1e} apart, "
        f"norms of gradients {apart[1]:.1e} of the largest"
    )

    # In float32 they part from each other no faster than from float64.
    assert len(single) == (1 + len(names)) * len(layouts.SINGLE_FSDP)
    values, exact = np.array(list(single.values()))[..., 0], expected[:, 0]
    spread, rounding = np.ptp(values, axis=0), np.maximum.accumulate(np.abs(values - exact).max(axis=0))
    for step, (between, from_exact) in enumerate(zip(spread, rounding, strict=True), start=1):
        print(f"float32, step {step}: {between:.1e} between layouts, up to {from_exact:.1e} from float64")
    assert spread[0] <= 1e-5
    few_ulps = 4 * np.finfo(np.float32).eps
    assert (spread <= rounding + few_ulps).all()
