"""What becomes of runs, with a process that only pretends to train."""

import fcntl
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from mdhr_jax import config as config_lib
from mdhr_jax.tables import runner, state
from mdhr_jax.tables.plan import Run
from tests.report import made_runs

FAKE = Path(__file__).with_name("fake_train.py")


def make_run(root, name, behaviour="finish", *, needs=None, **changes):
    config = made_runs.config_of("3", "backbone", **changes)
    directory = root / name
    description = root / f"{name}.json"
    finished = made_runs.finish(root / "finished" / name, config)
    description.write_text(json.dumps({"config": config_lib.as_json(config), "finished": str(finished)}))
    arguments = (str(FAKE), str(directory), str(description), behaviour)
    return Run((("3", name),), 1, 0, "paper", config, directory, arguments, needs)


def run_all(planned, **options):
    outcome = runner.run_all(planned, "table 3", **options)
    return [[run.directory.name for run in runs] for runs in (outcome.finished, outcome.failed, outcome.left)]


def order(root):
    return (root / "order.txt").read_text().split()


def later(condition, action):
    """Does something in another thread as soon as it can."""

    def wait():
        while not condition():
            time.sleep(0.05)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_runs_are_trained_once_and_in_order(tmp_path, capsys):
    planned = [make_run(tmp_path, name) for name in ("b", "a", "c")]
    assert [state.inspect(run).kind for run in planned] == ["not started"] * 3
    assert run_all(planned[1:2]) == [["a"], [], []]
    assert run_all(planned) == [["a", "b", "c"], [], []]
    assert order(tmp_path) == ["a", "b", "c"]
    result = json.loads((tmp_path / "b" / "result.json").read_text())
    assert state.inspect(planned[0]) == state.State("finished", f1_mean=result["f1_mean"], seconds=1.0)
    said = capsys.readouterr().err
    assert "1 of 3 runs are finished already" in said
    assert "starting table 3 b, fold 1, seed 0, paper" in said
    assert "table 3: 3/3 runs (100%)" in said
    log = (tmp_path / "a" / state.LOG_FILE).read_text()
    assert log.count(planned[1].command) == 1
    assert log.endswith("fake finish\n")


@pytest.mark.parametrize(("behaviour", "reason"), [("fail", "exit code 3"), ("kill", "killed by signal 9")])
def test_a_failure_ends_it_and_is_shown(behaviour, reason, tmp_path, capsys):
    planned = [make_run(tmp_path, "a"), make_run(tmp_path, "b", behaviour), make_run(tmp_path, "c")]
    assert run_all(planned) == [["a"], ["b"], ["c"]]
    said = capsys.readouterr().err
    assert f"failed: table 3 b, fold 1, seed 0, paper: {reason}; the end of {tmp_path / 'b'}" in said
    assert f"  | fake {behaviour}" in said
    assert state.inspect(planned[1]) == state.State("failed", reason)
    assert not (tmp_path / "c").exists()
    # Started again, nothing of the failure is left.
    again = make_run(tmp_path, "b")
    assert run_all([planned[0], again]) == [["a", "b"], [], []]
    assert state.inspect(again).kind == "finished"
    assert not (tmp_path / "b" / state.FAILURE_FILE).exists()
    assert f"fake {behaviour}" in (tmp_path / "b" / state.LOG_FILE).read_text()


def test_with_keep_going_only_what_needs_the_failed_run_is_left(tmp_path, capsys):
    planned = [
        make_run(tmp_path, "a", "fail"),
        make_run(tmp_path, "b", needs=tmp_path / "a"),
        make_run(tmp_path, "c"),
        make_run(tmp_path, "d", needs=tmp_path / "c"),
    ]
    assert run_all(planned, keep_going=True) == [["c", "d"], ["a"], ["b"]]
    assert f"the run that it starts from, {tmp_path / 'a'}, is not finished" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_run_that_ends_early_by_itself_is_not_finished(tmp_path, capsys):
    planned = [make_run(tmp_path, "a", "leave"), make_run(tmp_path, "b")]
    assert run_all(planned) == [[], ["a"], ["b"]]
    assert "stopped by somebody else" in capsys.readouterr().err
    assert state.inspect(planned[0]).kind == "interrupted"


@pytest.fixture
def listens():
    """Has a signal end this process, as where the tests were not started under nohup; gives its handler."""
    before = {}

    def listen(number):
        before[number] = signal.signal(number, signal.default_int_handler)
        return signal.getsignal(number)

    yield listen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_run_save_and_ends_it(number, tmp_path, capsys, listens):
    planned = [make_run(tmp_path, "a"), make_run(tmp_path, "b", "wait"), make_run(tmp_path, "c")]
    before = listens(number)
    waiting = tmp_path / "b" / "waiting"
    thread = later(waiting.exists, lambda: os.kill(os.getpid(), number))
    outcome = runner.run_all(planned, "table 3", keep_going=True)
    thread.join()
    assert outcome.stopped
    assert [run.directory.name for run in outcome.left] == ["b", "c"]
    assert outcome.failed == []
    assert signal.getsignal(number) == before
    assert state.inspect(planned[1]).kind == "interrupted"
    assert "stopped: table 3 b" in capsys.readouterr().err
    assert run_all(planned) == [["a", "b", "c"], [], []]
    assert "continuing table 3 b" in capsys.readouterr().err


def test_a_run_under_nohup_outlives_the_terminal():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with runner._Child():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_IGN, signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_a_directory_in_use_is_left_to_its_process(tmp_path, capsys):
    planned = [make_run(tmp_path, "a"), make_run(tmp_path, "b")]
    (tmp_path / "a").mkdir()
    with (tmp_path / "a" / ".lock").open("w+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("process 7 on there\n")
        lock.flush()
        assert state.inspect(planned[0]) == state.State("running", "process 7 on there")
        assert run_all(planned) == [["b"], [], ["a"]]
    assert "in use by process 7 on there" in capsys.readouterr().err
    assert not (tmp_path / "a" / state.LOG_FILE).exists()


def put_config(directory, run, **changes):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config_lib.as_json(run.config) | changes))


def put_result(directory, **result):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "result.json").write_text(json.dumps(result))


def foreign_directories():
    def another_configuration(run):
        put_config(run.directory, run, seed=5)
        (run.directory / "checkpoints" / "3").mkdir(parents=True)

    def another_result(run):
        put_config(run.directory, run)
        put_result(run.directory, config_hash="0" * 12)

    def result_alone(run):
        put_result(run.directory, config_hash=config_lib.config_hash(run.config.to_dict()))

    def other_files(run):
        run.directory.mkdir()
        (run.directory / "holiday.jpg").touch()

    def a_file(run):
        run.directory.touch()

    def damaged(run):
        put_config(run.directory, run)
        (run.directory / "result.json").write_text('{"config_hash": ')

    def lost_all(run):
        made_runs.finish(run.directory, run.config)
        (run.directory / "predictions.npz").unlink()

    def a_list(run):
        run.directory.mkdir()
        (run.directory / "config.json").write_text("[]")

    def no_configuration(run):
        (run.directory / "checkpoints" / "3").mkdir(parents=True)
        (run.directory / "config.json").write_text("{}")

    return [
        (another_configuration, "with another configuration:\n    seed: 5 there, 0 now"),
        (another_result, "is of configuration 000000000000, this run's is"),
        (result_alone, "there is no config.json"),
        (other_files, "is not a run's directory; it holds holiday.jpg"),
        (a_file, "is not a directory"),
        (damaged, "result.json is not JSON"),
        (a_list, "config.json holds a list"),
        (lost_all, "no checkpoint is left to write it anew from: move it away"),
        (no_configuration, "config.json is not a configuration of this project"),
    ]


@pytest.mark.parametrize(
    ("put", "message"), foreign_directories(), ids=lambda value: getattr(value, "__name__", "")
)
def test_nothing_starts_where_something_else_lies(put, message, tmp_path):
    planned = [make_run(tmp_path, "a"), make_run(tmp_path, "b")]
    put(planned[1])
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    found = state.inspect(planned[1])
    assert found.kind == ("damaged" if put.__name__ in ("damaged", "a_list", "lost_all") else "foreign")
    assert found.blocked
    assert message in found.detail
    assert str(tmp_path) not in found.detail
    with pytest.raises(ValueError, match="nothing was started") as caught:
        runner.run_all(planned, "table 3", keep_going=True)
    assert message in str(caught.value)
    assert str(caught.value).count(str(planned[1].directory)) == 1
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_states_of_a_run_s_own_directory(tmp_path):
    run = make_run(tmp_path, "a")
    run.directory.mkdir()
    for name in (state.LOG_FILE, ".config.json.123", ".lock"):
        (run.directory / name).touch()
    assert state.inspect(run).kind == "not started"
    # A configuration that has saved nothing may be corrected.
    put_config(run.directory, run, seed=5)
    assert state.inspect(run).kind == "not started"
    put_config(run.directory, run)
    (run.directory / "checkpoints" / "3").mkdir(parents=True)
    assert state.inspect(run).kind == "interrupted"
    # Keys without effect on the result may differ.
    put_config(run.directory, run, mesh={"data": 1, "fsdp": 1})
    assert state.inspect(run).kind == "interrupted"
    with (run.directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert state.inspect(run) == state.State("running", "another process")
        put_config(run.directory, run, seed=5)
        assert state.inspect(run).kind == "foreign"


def test_a_result_that_lost_its_predictions_is_not_the_end(tmp_path):
    config = made_runs.config_of("3", "backbone")
    directory = tmp_path / "r"
    run = Run((("3", "backbone"),), 1, 0, "paper", config, directory, ("-c", "pass"))
    made_runs.finish(directory, config)
    made_runs.save(directory, config)
    assert state.inspect(run).kind == "finished"
    predicted = directory / "predictions.npz"
    whole, result = predicted.read_bytes(), (directory / "result.json").read_text()
    for content, message in ((whole[:-40], "is damaged"), (None, "no predictions at")):
        predicted.unlink() if content is None else predicted.write_bytes(content)
        found = state.inspect(run)
        assert (found.kind, found.blocked) == ("damaged", False)
        assert message in found.detail
    predicted.write_bytes(whole)
    older = json.loads(result)
    del older["selection"]
    (directory / "result.json").write_text(json.dumps(older))
    assert "lacks selection" in state.inspect(run).detail
    (directory / "result.json").write_text(result.replace('"f1_mean": ', '"f1_mean": "good", "was": '))
    assert "has 'good' for f1_mean" in state.inspect(run).detail
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert state.inspect(run).kind == "running"  # Whoever holds it writes the result anew.
    # Nothing is left that they could be made from.
    (directory / "result.json").write_text(result)
    predicted.unlink()
    shutil.rmtree(directory / "checkpoints")
    found = state.inspect(run)
    assert (found.kind, found.blocked) == ("damaged", True)
    predicted.write_bytes(whole)
    assert state.inspect(run).kind == "finished"


def test_how_far_a_run_is_follows_from_its_log(tmp_path):
    run = make_run(tmp_path, "a")
    put_config(run.directory, run)
    (run.directory / "checkpoints" / "240").mkdir(parents=True)
    assert state.inspect(run) == state.State("interrupted", "saved up to step 240, no result", step=240)
    assert state.inspect(run).done == "step 240"
    lines = [{"kind": "train", "step": step, "epoch": step / 12} for step in (20, 260)]
    text = "".join(f"{json.dumps(line)}\n" for line in [*lines, {"kind": "eval", "step": 260}])
    (run.directory / "metrics.jsonl").write_text(text + '{"kind": "tr')
    found = state.inspect(run)
    assert (found.step, found.steps, found.done) == (240, 480, "step 240 of 480, 50%")
    with (run.directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert state.inspect(run).done == "step 260 of 480, 54%"


def test_runs_share_what_they_compile(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    found = runner._environment(tmp_path / "compiled")
    assert Path(found["JAX_COMPILATION_CACHE_DIR"]).parent == tmp_path / "compiled"
    assert runner._environment(None).get("JAX_COMPILATION_CACHE_DIR") is None
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    assert runner._environment(tmp_path)["JAX_COMPILATION_CACHE_DIR"] == "elsewhere"
