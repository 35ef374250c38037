"""What a user sees who types something wrong."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mdhr_jax.training import workdir

REPOSITORY = Path(__file__).parents[1]


def main(*arguments, cwd=REPOSITORY):
    return subprocess.run(
        [sys.executable, "-m", "mdhr_jax.main", *arguments], cwd=cwd, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (
            ["--config", "configs/bp4d.py"],
            ["no BP4D data set", "licen", "data_prep.bp4d", "configs/quickstart.py"],
        ),
        (["--config", "configs/disfa.py"], ["no DISFA data set", "Denver", "data_prep.disfa", "quickstart"]),
        (["--config", "configs/bp4d.py:fold=4"], ["fold 4 does not exist; choose one of 1, 2, 3"]),
        (["--config", "configs/bp4d.py:fold=two"], ["config argument fold='two': expected int"]),
        (["--config", "configs/bp4d.py:colour=red"], ["'colour=red' is not understood", "backbone"]),
        (["--config", "configs/bp4d.py", "--config.train.batch_sise=4"], ["batch_sise", 'mean "batch_size"']),
        (["--config", "configs/bp4d.py", "--config.train.colour=4"], ["colour", "lists all keys"]),
        (["--config", "configs/bp4d.py", "--config.train.batch_size=x"], ["batch_size=x"]),
        (["--config", "configs/none.py"], ["configs/none.py"]),
        ([], ["--config is missing"]),
        (["--config", "configs/bp4d.py", "stray"], ["unexpected: stray"]),
    ],
)
def test_mistakes_end_with_a_short_message(arguments, messages, tmp_path):
    overrides = [f"--config.data.dir={tmp_path}"] if "configs/bp4d.py" in arguments else []
    done = main(*arguments, *overrides, f"--workdir={tmp_path / 'run'}")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    said = done.stderr[done.stderr.index("error: ") :]
    assert len(said.splitlines()) <= 8
    for message in messages:
        assert message in said
    assert not (tmp_path / "run").exists()


def test_missing_pretrained_weights_name_the_conversion(data_dir, tmp_path):
    done = main(
        "--config", "configs/bp4d.py", f"--config.data.dir={data_dir}", f"--workdir={tmp_path / 'run'}"
    )
    assert done.returncode != 0
    assert "python -m mdhr_jax.convert" in done.stderr
    assert "pretrained=none" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped"])
def test_damaged_records_are_named(damage, data_dir, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(data_dir, data)
    for index in data.rglob("mdhr_index*"):
        index.unlink()
    shard = next(data.rglob("*part1.tfrecord*"))
    content = bytearray(shard.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    shard.write_bytes(
        {"empty": b"", "truncated": bytes(content[: len(content) // 2])}.get(damage, bytes(content))
    )
    overrides = [
        f"--config.data.dir={data}",
        "--config.model.pretrained=none",
        f"--workdir={tmp_path / 'run'}",
    ]
    done = main("--config", "configs/bp4d.py", *overrides)
    assert done.returncode != 0
    assert shard.name in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_process_stops_and_leaves_the_first_alone(data_dir, tmp_path):
    run = tmp_path / "run"
    arguments = ["--config", "configs/bp4d.py", f"--config.data.dir={data_dir}", f"--workdir={run}"]
    with workdir.occupied(run):
        (run / "config.json").write_text("the first's")
        before = {path.name: path.read_bytes() for path in run.iterdir()}
        done = main(*arguments, "--config.model.pretrained=none")
        assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert done.returncode == 1
    assert f"error: {run} is in use by process {os.getpid()} on " in done.stderr
    assert "which is left alone" in done.stderr
    assert "Traceback" not in done.stderr
