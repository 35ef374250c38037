"""What lies in a directory of runs: each is told by what it holds, and nothing is believed unchecked."""

import fcntl
import json
import os
import re

import pytest

from mdhr_jax import config as config_lib
from mdhr_jax.report import collect, studies
from mdhr_jax.tables import plan, rows
from mdhr_jax.training import results, workdir
from tests.report import made_runs


def look(root, **options):
    return {run.path: run for run in collect.collect(root, **options)}


def only(root):
    (run,) = collect.collect(root)
    return run


@pytest.fixture
def config():
    return made_runs.config_of("3", "mfd", fold=2, seed=3)


def test_a_finished_run_is_read_with_all_it_says(tmp_path, config):
    made_runs.finish(tmp_path / "r", config)
    made_runs.save(tmp_path / "r", config)
    run = only(tmp_path)
    assert (run.id, run.path, run.kind, run.detail) == ("R1", "r", "finished", "")
    assert run.config_hash == run.outcome.result["config_hash"]
    assert run.outcome.checkpoint == "checkpoints/40"
    assert run.outcome.version == "0.1.0"
    assert run.outcome.fingerprint == made_runs.FINGERPRINT
    assert run.outcome.counts.subjects == ("S200", "S201", "S202", "S203", "S204")
    f1 = run.outcome.result["f1"]["AU1"]
    assert 100 * run.outcome.values["f1"][0] == pytest.approx(f1)


def test_a_checkpoint_that_is_gone_is_not_missed(tmp_path, config):
    made_runs.finish(tmp_path / "r", config)
    run = only(tmp_path)
    assert run.kind == "finished"
    assert run.outcome.checkpoint is None
    assert run.outcome.version is None
    assert run.outcome.commit is None


def nothing(directory, config):
    made_runs.start(directory, config)
    return "not started", "nothing is saved"


def log_alone(directory, config):
    directory.mkdir()
    (directory / "output.log").write_text("$ python\n")
    return "not started", "nothing is saved"


def checkpoints_alone(directory, config):
    (directory / "checkpoints" / "24").mkdir(parents=True)
    return "foreign", "has no config.json"


def killed(directory, config):
    made_runs.start(directory, config)
    for step in ("24", "240", "orbax-checkpoint-tmp"):
        (directory / "checkpoints" / step).mkdir(parents=True)
    (directory / ".lock").write_text("process 1 on here\n")
    return "interrupted", "saved up to step 240, no result"


def failed(directory, config):
    made_runs.fail(directory, config, "killed by signal 9")
    return "failed", "killed by signal 9"


def failed_badly(directory, config):
    made_runs.fail(directory, config)
    (directory / "failure.json").write_text('{"rea')
    return "failed", "failure.json is damaged"


def half_a_result(directory, config):
    made_runs.finish(directory, config)
    text = (directory / "result.json").read_text()
    (directory / "result.json").write_text(text[: len(text) // 2])
    return "damaged", "result.json is not JSON"


def older_result(directory, config):
    made_runs.finish(directory, config)
    content = json.loads((directory / "result.json").read_text())
    del content["thresholds"]
    (directory / "result.json").write_text(json.dumps(content))
    return "damaged", "result.json lacks thresholds"


def no_predictions(directory, config):
    made_runs.finish(directory, config)
    (directory / "predictions.npz").unlink()
    mended = "no checkpoint is left to write it anew from: move it away to train it again"
    return (
        "damaged",
        f"no predictions at predictions.npz: a finished run has them beside its result; {mended}",
    )


def half_the_predictions(directory, config):
    made_runs.finish(directory, config)
    content = (directory / "predictions.npz").read_bytes()
    (directory / "predictions.npz").write_bytes(content[: len(content) // 2])
    return "damaged", "predictions.npz is damaged"


def predictions_before_result(directory, config):
    """A write that was cut off between the two files."""
    made_runs.finish(directory, config)
    (directory / "result.json").unlink()
    return "not started", "nothing is saved"


def predictions_of_another_step(directory, config):
    made_runs.finish(directory, config)
    result = results.read_result(directory / "result.json")
    results.write_result(directory / "result.json", result | {"step": 41})
    return "damaged", "differ in step"


def another_number(directory, config):
    made_runs.finish(directory, config)
    result = results.read_result(directory / "result.json")
    result["f1"]["AU4"] += 0.01
    results.write_result(directory / "result.json", result)
    return "damaged", "f1 in result.json does not follow from predictions.npz"


def another_mean(directory, config):
    made_runs.finish(directory, config)
    result = results.read_result(directory / "result.json")
    results.write_result(directory / "result.json", result | {"f1_mean": result["f1_mean"] + 0.01})
    return "damaged", "f1_mean in result.json does not follow from predictions.npz"


def a_number_that_is_none(directory, config):
    made_runs.finish(directory, config)
    text = (directory / "result.json").read_text()
    (directory / "result.json").write_text(re.sub('"accuracy_mean": [0-9.]+', '"accuracy_mean": NaN', text))
    return "damaged", "accuracy_mean in result.json does not follow from predictions.npz"


def words_for_numbers(directory, config):
    made_runs.finish(directory, config)
    content = json.loads((directory / "result.json").read_text()) | {"f1": "good"}
    (directory / "result.json").write_text(json.dumps(content))
    return "damaged", "f1 in result.json does not follow from predictions.npz"


def no_object_for_a_result(directory, config):
    made_runs.finish(directory, config)
    (directory / "result.json").write_text("null")
    return "damaged", "result.json holds a NoneType, expected an object"


def result_of_another_configuration(directory, config):
    made_runs.finish(directory, config)
    made_runs.start(directory, made_runs.config_of("3", "mfd", fold=2, seed=4))
    return "foreign", "result.json is of configuration"


def result_alone(directory, config):
    made_runs.finish(directory, config)
    (directory / "config.json").unlink()
    return "foreign", "has a result and no config.json"


def evaluation_of_a_chosen_step(directory, config):
    made_runs.finish(directory, config)
    result = results.read_result(directory / "result.json")
    result["selection"]["checkpoint"] = "named"
    results.write_result(directory / "result.json", result)
    return "foreign", "which is not the protocol 'paper'"


def another_project(directory, config):
    directory.mkdir()
    (directory / "config.json").write_text('{"model": "yolo"}')
    return "foreign", "config.json is not a configuration of this project"


def half_a_configuration(directory, config):
    made_runs.start(directory, config)
    (directory / "config.json").write_text("{")
    return "damaged", "config.json is not JSON"


def another_checkpoint(directory, config):
    made_runs.finish(directory, config)
    made_runs.save(directory, config, config_hash="0" * 12)
    return "foreign", "checkpoint 40 is of configuration 000000000000"


def damaged_checkpoint(directory, config):
    made_runs.finish(directory, config)
    (directory / "checkpoints" / "40").mkdir(parents=True)
    return "damaged", "checkpoint checkpoints/40 is damaged"


def other_data(directory, config):
    config.dataset = "mine"
    made_runs.start(directory, config)
    (directory / "result.json").write_text("{}")
    return "foreign", "no table is about the data set 'mine'"


def an_album(directory, config):
    directory.mkdir()
    (directory / "holiday.jpg").touch()
    return "not a run", "holds none of a run's files"


@pytest.mark.parametrize(
    "make",
    [
        nothing,
        log_alone,
        checkpoints_alone,
        killed,
        failed,
        failed_badly,
        half_a_result,
        older_result,
        no_predictions,
        half_the_predictions,
        predictions_before_result,
        predictions_of_another_step,
        another_number,
        another_mean,
        a_number_that_is_none,
        words_for_numbers,
        no_object_for_a_result,
        result_of_another_configuration,
        result_alone,
        evaluation_of_a_chosen_step,
        another_project,
        half_a_configuration,
        another_checkpoint,
        damaged_checkpoint,
        other_data,
        an_album,
    ],
)
def test_what_is_no_finished_run_is_called_what_it_is(make, tmp_path, config):
    kind, detail = make(tmp_path / "r", config)
    run = only(tmp_path)
    assert run.kind == kind
    assert detail in run.detail
    assert str(tmp_path) not in run.detail
    assert run.outcome is None


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("eval.protocol", ["paper"]),
        ("eval.protocol", None),
        ("eval.protocol", "best"),
        ("eval.validation_share", "a fifth"),
        ("eval", None),
        ("model.pretrained", None),
        ("model.mfd", "yes"),
        ("model.mfd_scales", 4),
        ("model.mfd_scales", ["1"]),
        ("train.epochs", True),
        ("train.clip_norm", "1"),
        ("data", []),
        ("dataset", ["bp4d"]),
        ("fold", 9),
        ("fold", 1.5),
        ("seed", -1),
        ("seed", None),
    ],
)
def test_values_that_no_configuration_has_make_a_directory_foreign(key, value, finished, tmp_path, config):
    (made_runs.finish if finished else made_runs.start)(tmp_path / "r", config)
    path = tmp_path / "r" / "config.json"
    content = json.loads(path.read_text())
    *sections, last = key.split(".")
    node = content
    for section in sections:
        node = node[section]
    node[last] = value
    path.write_text(json.dumps(content))
    (found,) = collect.collect(tmp_path)
    assert (found.kind, found.outcome) == ("foreign", None)
    assert "config.json is not a configuration of this project" in found.detail
    assert studies.sort([found]).reasons == {found.id: found.detail}


def test_configurations_of_every_row_hold_values_of_the_right_kind():
    for table, of_table in rows.ROWS.items():
        for row in of_table:
            argument = f"table={table},row={row.name}" + ",init_from=RUN" * row.finetuned
            config = plan.load_config(plan.config_file(), argument)
            assert config_lib.wrong_kinds(config_lib.as_json(config)) == []
    config = made_runs.config_of("3", "mfd", train__clip_norm=1.0, model__mfd_scales="(1,2)")
    assert config_lib.wrong_kinds(config_lib.as_json(config)) == []


def test_a_running_run_is_one_whose_lock_is_held(tmp_path, config):
    made_runs.start(tmp_path / "r", config)
    with (tmp_path / "r" / workdir.LOCK_FILE).open("w+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("process 7 on there\n")
        lock.flush()
        run = only(tmp_path)
    assert (run.kind, run.detail) == ("running", "in use by process 7 on there")
    assert only(tmp_path).kind == "not started"


def test_every_directory_is_found_once_and_none_inside_a_run(tmp_path, config):
    made_runs.finish(tmp_path / "b" / "deep" / "r", config)
    made_runs.save(tmp_path / "b" / "deep" / "r", config)
    made_runs.start(tmp_path / "a", config)
    made_runs.start(tmp_path / ".hidden" / "r", config)
    (tmp_path / "empty").mkdir()
    elsewhere = made_runs.start(tmp_path.parent / f"{tmp_path.name}-elsewhere" / "r", config)
    os.symlink(elsewhere, tmp_path / "linked")
    os.symlink(tmp_path, tmp_path / "b" / "circle")
    os.symlink(tmp_path / "b", tmp_path / "another-b")
    os.symlink(tmp_path / "nowhere", tmp_path / "broken")
    (tmp_path / "out").mkdir()
    found = look(tmp_path, skip=tmp_path / "out")
    assert list(found) == ["a", "b/deep/r", "empty", "linked"]
    assert [run.id for run in found.values()] == ["R1", "R2", "R3", "R4"]
    assert found["empty"].kind == "not a run"
    (run,) = collect.collect(tmp_path / "a")
    assert run.path == "."


def test_a_missing_directory_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        collect.collect(tmp_path / "nowhere")
