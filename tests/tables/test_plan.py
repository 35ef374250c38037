import stat
import subprocess
from pathlib import Path

import pytest

from mdhr_jax import config as config_lib
from mdhr_jax.tables import plan, slurm

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def request(*tables, **changes):
    given = {"runs": Path("RUNS"), "data": Path("DATA"), "folds": (1,)} | changes
    return plan.Request(tables, **given)


def names(planned):
    return [" ".join(f"{table}:{row}" for table, row in run.rows) for run in planned]


def config_with(tmp_path, monkeypatch, edit):
    """The tables' configurations, edited."""
    file = tmp_path / "tables.py"
    file.write_text(
        "from ml_collections import ConfigDict\n"
        "from mdhr_jax.tables import plan\n"
        f"SOURCE = {str(REPOSITORY / plan.CONFIG_FILE)!r}\n"
        "def get_config(argument=None):\n"
        "    config = plan.load_config(SOURCE, argument)\n"
        f"    {edit}\n"
        "    return config\n"
    )
    monkeypatch.setattr(plan, "config_file", lambda: file)


def test_the_ablations_are_twenty_runs_for_twenty_three_rows():
    planned = plan.make(request("3", "4", "5", "3", folds=(1, 1)))  # What is said twice is meant once.
    assert len(planned) == 20
    assert sum(len(run.rows) for run in planned) == 23
    assert names(planned)[:4] == ["3:backbone", "3:mfd", "3:afe 4:baseline", "3:afe+aux"]
    assert "3:hsr 5:aux+cross-activated" in names(planned)
    assert len({run.directory for run in planned}) == 20


def test_runs_of_a_fold_stay_together_and_seeds_come_last():
    planned = plan.make(request("5", rows=("fully-connected", "aux+local"), folds=(2, 1), seeds=(0, 4)))
    order = [(run.seed, run.fold, run.rows[0][1]) for run in planned]
    assert order == [(s, f, row) for s in (0, 4) for f in (2, 1) for row in ("fully-connected", "aux+local")]
    assert planned[-1].directory == Path("RUNS/bp4d/resnet50+afe+aux+crm-local/fold1-seed4-paper")
    assert (planned[-1].config.fold, planned[-1].config.seed) == (1, 4)


def test_a_command_gives_the_configuration_of_its_run():
    planned = plan.make(
        request("1", "2", "4", rows=("swin", "swin-bp4d", "layer3+4"), overrides=("--config.train.epochs=3",))
    )
    for run in planned:
        file, _, argument = run.arguments[run.arguments.index("--config") + 1].partition(":")
        options = [option for option in run.arguments if option.startswith("--config.")]
        again = plan.load_config(file, argument, options)
        assert config_lib.config_hash(again) == config_lib.config_hash(run.config)
        assert run.config.train.epochs == 3
        assert run.config.data.dir == "DATA"
        assert run.command.startswith("python -m mdhr_jax.main --config configs/tables.py:table=")


def test_disfa_from_bp4d_comes_behind_the_model_it_starts_from():
    planned = plan.make(request("2", folds=(2,), weights="W"))
    assert names(planned) == ["2:resnet50", "2:swin", "", "2:resnet50-bp4d", "", "2:swin-bp4d"]
    start, finetuned = planned[2:4]
    assert start.config.dataset == "bp4d"
    assert (start.config.fold, start.config.model.pretrained) == (2, "W/resnet50")
    assert finetuned.needs == start.directory
    assert finetuned.condition == f"test -e {start.directory}/result.json"
    assert start.condition == ""
    assert finetuned.config.model.init_from == str(start.directory)
    assert finetuned.config.model.pretrained == config_lib.SCRATCH
    assert planned[5].needs == planned[4].directory
    assert planned[4].config.model.backbone == "swin_base"
    # Asked for with table 1, the same runs are rows themselves.
    assert names(plan.make(request("2", "1", folds=(2,)))) == [
        *("2:resnet50", "2:swin", "1:resnet50", "2:resnet50-bp4d", "1:swin", "2:swin-bp4d")
    ]


def test_on_a_laptop_there_is_no_swin():
    asked = request("1", "2", laptop=True)
    assert names(plan.make(asked)) == ["1:resnet50", "2:resnet50", "2:resnet50-bp4d"]
    assert plan.left_out(asked) == ["table 1 swin", "table 2 swin", "table 2 swin-bp4d"]
    assert plan.left_out(request("1", rows=("resnet50",), laptop=True)) == []
    with pytest.raises(ValueError, match="no laptop scale: table 1 swin"):
        plan.make(request("1", rows=("swin",), laptop=True))


@pytest.mark.parametrize(
    ("tables", "changes", "message"),
    [
        (("3", "6"), {}, "no table '6'; choose one of 1, 2, 3, 4, 5, k"),
        (
            ("3", "5"),
            {"rows": ("mfd", "al")},
            "has the row al; there are\n  table 3: backbone, .*\n  table 5",
        ),
        (("3",), {"folds": (4,)}, "fold 4 does not exist"),
        (("3",), {"protocols": ("fair",)}, "no protocol 'fair'; choose one of paper, honest"),
        (("3",), {"overrides": ("--config.model.tcn=False",)}, "model.tcn follows from the row"),
        (("3",), {"overrides": ("--config.seed=3",)}, "seed follows from the row or from an option"),
        (("3",), {"overrides": ("--config.train.epochs",)}, "expected --config.KEY=VALUE"),
        (("3",), {"overrides": ("--config.train.epoch=3",)}, "epochs.*config.py lists all keys"),
        (("3",), {"overrides": ("--config.train.epochs=x",)}, "--config.train.epochs=x"),
        (("2",), {"runs": Path("a,b")}, "a,b: a comma in this path"),
    ],
)
def test_mistakes_are_told(tables, changes, message):
    with pytest.raises(ValueError, match=message):
        plan.make(request(*tables, **changes))


def test_a_protocol_goes_into_the_configuration_and_the_directory(tmp_path, monkeypatch):
    config_with(tmp_path, monkeypatch, "with config.eval.unlocked(): config.eval.protocol = 'paper'")
    planned = plan.make(request("3", rows=("mfd",), protocols=("paper", "honest")))
    assert [run.config.eval.protocol for run in planned] == ["paper", "honest"]
    assert [run.directory.name for run in planned] == ["fold1-seed0-paper", "fold1-seed0-honest"]
    assert "--config.eval.protocol=honest" in planned[1].arguments


def test_without_protocols_there_is_the_paper_s(tmp_path, monkeypatch):
    config_with(tmp_path, monkeypatch, "config = ConfigDict(dict(config, eval={'every_epochs': 1}))")
    (run,) = plan.make(request("3", rows=("mfd",)))
    assert not any("eval.protocol" in argument for argument in run.arguments)
    with pytest.raises(ValueError, match=r"'honest' needs config\.eval\.protocol"):
        plan.make(request("3", rows=("mfd",), protocols=("honest",)))


def test_missing_weights_are_told_once_with_their_conversion(data_dir, tmp_path):
    planned = plan.make(request("1", "3", data=data_dir, weights=str(tmp_path)))
    with pytest.raises(FileNotFoundError) as caught:
        plan.check_ingredients(planned, str(tmp_path))
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert lines[1] == f"  python -m mdhr_jax.convert WEIGHTS.pth {tmp_path}/resnet50 --backbone resnet50"
    assert lines[2].endswith("/swin_base --backbone swin_base")
    for backbone in ("resnet50", "swin_base"):
        (tmp_path / backbone).mkdir()
    plan.check_ingredients(planned, str(tmp_path))
    plan.check_ingredients(plan.make(request("1", data=data_dir, weights="none")), "none")


def test_missing_data_are_told(tmp_path):
    planned = plan.make(request("1", data=tmp_path, weights="none"))
    with pytest.raises(FileNotFoundError, match="no BP4D data set in"):
        plan.check_ingredients(planned, "none")
    plan.check_ingredients(plan.make(request("3", data=tmp_path, laptop=True)), "none")


def test_wrong_values_are_told_before_anything_starts(tmp_path):
    planned = plan.make(request("3", data=tmp_path, laptop=True, overrides=("--config.data.image_size=100",)))
    with pytest.raises(ValueError, match="multiples of 32"):
        plan.check_ingredients(planned, "none")


def test_it_runs_from_the_clone_or_beside_it(tmp_path, monkeypatch):
    assert plan.config_file() == Path("configs/tables.py")
    monkeypatch.chdir(tmp_path)
    assert plan.config_file() == REPOSITORY / "configs" / "tables.py"
    monkeypatch.setattr(plan.mdhr_jax, "__file__", str(tmp_path / "mdhr_jax" / "__init__.py"))
    with pytest.raises(FileNotFoundError, match="run this from the clone"):
        plan.config_file()


def test_runs_that_need_each_other_are_one_task_of_slurm():
    planned = plan.make(request("2", folds=(1, 2)))
    groups = [names(group) for group in slurm.chains(planned)]
    assert groups[:4] == [["2:resnet50"], ["2:swin"], ["", "2:resnet50-bp4d"], ["", "2:swin-bp4d"]]
    assert len(groups) == 8
    # Only what is left is written: a start that is finished is not among it.
    assert slurm.chains(planned[3:4]) == [[planned[3]]]


def test_the_slurm_script_runs_the_commands(tmp_path):
    planned = plan.make(request("2", folds=(1,), runs=Path("RUNS DIR")))
    script = tmp_path / "a script.sh"
    assert slurm.write(script, planned, ["python", "-m", "mdhr_jax.tables", "plan"]) == 4
    assert script.stat().st_mode & stat.S_IXUSR
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a script.sh"]
    # The script is started from the clone, by its relative path; here is another launcher in its place.
    launcher = tmp_path / slurm.LAUNCHER
    launcher.parent.mkdir()
    launcher.write_text('#!/bin/bash\n(IFS=@; echo "$*")\n')

    def task(number):
        environment = {"PATH": "/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": str(number)}
        return subprocess.run([str(script)], capture_output=True, text=True, env=environment, cwd=tmp_path)

    start = tmp_path / planned[2].directory
    stopped = task(2)  # What it starts from has ended well, but not finished.
    assert (stopped.returncode, stopped.stdout.count("mdhr_jax.main")) == (1, 1)
    start.mkdir(parents=True)
    (start / "result.json").touch()
    first, chain, beyond = task(0), task(2), task(4)
    assert first.stdout.strip().split("@") == list(planned[0].arguments)
    assert [line.split("@") for line in chain.stdout.splitlines()] == [
        list(run.arguments) for run in planned[2:4]
    ]
    assert beyond.returncode == 2
    assert "no task 4" in beyond.stderr
    launcher.write_text("echo started\nexit 3\n")
    failed = task(2)
    assert (failed.returncode, failed.stdout) == (3, "started\n")


def test_the_slurm_script_needs_the_clone(tmp_path, monkeypatch):
    planned = plan.make(request("3"))
    monkeypatch.setattr(slurm, "config_file", lambda: tmp_path / plan.CONFIG_FILE)
    with pytest.raises(FileNotFoundError, match="run this from the clone"):
        slurm.write(tmp_path / "array.sh", planned, ["python"])
    assert not list(tmp_path.iterdir())
