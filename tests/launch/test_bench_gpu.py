"""What the script for GPUs asks the benchmark for, with a Python that only pretends to measure."""

import pytest

from tests.launch.started import run

PYTHON = """#!/bin/sh
case "$1" in -c) exit "${NO_GPU:-0}" ;; esac
printf '%s\\n' "$*" >> "$CALLS"
case "$*" in *"$FAILING"*) exit 1 ;; esac
while [ $# -gt 1 ]; do [ "$1" = --json ] && echo '{}' > "$2"; shift; done
"""


@pytest.fixture
def asked(tmp_path):
    """Runs the script; returns its exit code, the benchmark's command lines, and what it wrote of errors."""
    (tmp_path / "MDHR").mkdir()
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    given = {"PYTHON": str(python), "CALLS": str(tmp_path / "calls")}

    def start(failing="nothing at all", **more):
        folders = tmp_path / "MDHR", tmp_path / "found"
        done = run("launch/bench_gpu.sh", *folders, FAILING=failing, **given, **more)
        calls = tmp_path / "calls"
        return done.returncode, calls.read_text().splitlines() if calls.exists() else [], done.stderr

    return start


def of_measuring(calls):
    return [call for call in calls if " report " not in call]


def reported(call):
    return [path.rsplit("/", 1)[1] for path in call.split("--also ")[1].split()]


def test_every_record_is_reported_as_soon_as_it_is_there(asked, tmp_path):
    (tmp_path / "found").mkdir()
    (tmp_path / "found/train-older.json").write_text("{}")
    code, calls, _ = asked()
    assert code == 0
    measuring = of_measuring(calls)
    assert [call.split()[2] for call in measuring] == ["train"] * 4 + ["eval", "predict"]
    trained = [call for call in measuring if " train " in call]
    for backbone in ("resnet50", "swin_base"):
        for precision in ("bfloat16", "float32"):
            assert sum(f"{backbone} --batch 8 --precision {precision}" in call for call in trained) == 1
    assert all(f"--reference {tmp_path / 'MDHR'}" in call for call in measuring[:5])
    names = [
        *("train-resnet50-bf16.json", "train-resnet50-f32.json"),
        *("train-swin-bf16.json", "train-swin-f32.json", "eval.json", "predict.json"),
    ]
    assert [reported(call) for call in calls[1::2]] == [names[: i + 1] for i in range(6)]
    assert all("--report docs/performance.md" in call for call in calls[1::2])


def test_what_fails_leaves_the_others_alone_and_is_told(asked, tmp_path):
    (tmp_path / "found").mkdir()
    (tmp_path / "found/train-swin-bf16.json").write_text("{}")  # Of an earlier try.
    code, calls, _ = asked("swin_base --batch 8 --precision bfloat16")
    assert code == 1
    assert len(of_measuring(calls)) == 6
    assert "train-swin-bf16.json" not in reported(calls[-1])
    assert "train-swin-f32.json" in reported(calls[-1])


def test_without_a_gpu_nothing_is_measured(asked):
    code, calls, told = asked(NO_GPU="1")
    assert (code, calls) == (2, [])
    assert "JAX finds no GPU here" in told


def test_with_no_record_there_is_none_to_report(asked):
    code, calls, _ = asked("mdhr_jax.bench")
    assert code == 1
    assert of_measuring(calls) == calls
