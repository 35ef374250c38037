"""The command: what it measures, what it refuses, and what it writes."""

import copy
import json

import pytest

from mdhr_jax.bench import __main__ as bench
from mdhr_jax.bench import apart, plan, report

FACTS = {
    "platform": "cpu",
    "device": "cpu",
    "devices": 1,
    "processor": "a processor",
    "cores": 2,
    "peak_flops": {"float32": None, "bfloat16": None},
    "peak_bandwidth": None,
    "jraph": True,
    "versions": {"jax": "1"},
}
OURS = {
    "seconds": [0.5, 0.5],
    "median": 0.5,
    "frames_per_second": 32.0,
    "compile_seconds": 3.0,
    "compile_again_seconds": 1.0,
    "flops": 4e9,
    "bytes_accessed": 1e9,
    "flops_per_second": 8e9,
    "bytes_per_second": 2e9,
    "share_of_peak_flops": None,
    "share_of_peak_bandwidth": 0.25,
    "planned_bytes": 2**20,
    "peak_bytes": 3 * 2**20,
}


@pytest.fixture
def tasks(monkeypatch):
    """What would have been measured; `answers` are given in place of what is made up here."""
    asked, answers = [], {"facts": FACTS}

    def run(task, arguments):
        asked.append((task, json.loads(json.dumps(arguments))))
        if task in answers:
            if isinstance(answers[task], Exception):
                raise answers[task]
            return copy.deepcopy(answers[task])
        if task == "case":
            reference = [
                {
                    "form": form,
                    "seconds": [1.0, 1.0],
                    "median": 1.0,
                    "frames_per_second": 16.0,
                    "ratio": 2.0,
                    "spread": [1.5, 2.5],
                    "peak_bytes": 5 * 2**20,
                }
                for form in arguments["forms"]
            ]
            return {"case": arguments, "frames": 16, "ours": OURS, "reference": reference}
        if task == "counting":
            theirs = 14.0 if arguments["reference"] else None
            return {"frames": 50048, "windows": 8, "batches": 391, "ours": 0.1, "theirs": theirs}
        if task == "input":
            return [{"threads": 1, "frames_per_second": 1000.0, "frames_per_core_second": 1100.0}]
        if task == "predicting":
            row = {"name": "ours, stream", "frames": 16, "median": 0.5, "frames_per_second": 32.0}
            rows = [{**row, "ratio": 2.5, "spread": [2.0, 3.0]}]
            facts = {"backbone": arguments["backbone"], "device": "cpu", "threads": 2, "apart": 1e-6}
            return {**facts, "rows": rows}
        if task == "ceilings":
            product = {"name": "matrix product, float32", "value": 1.6e10, "unit": "FLOP/s", "size": "2048"}
            return [product, {"name": "copy", "value": 1e10, "unit": "bytes/s", "size": "256 MiB"}]
        times = {"with_input": 1.0, "one_batch": 0.9, "frames_per_second": 16.0, "waiting": 0.1}
        return {**{name: arguments[name] for name in ("backbone", "precision", "batch")}, **times}

    monkeypatch.setattr(apart, "run", run)
    return asked, answers


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "MDHR" / "model").mkdir(parents=True)
    return str(tmp_path / "MDHR")


def test_everything_is_asked_for_once(tasks, checkout, capsys):
    assert bench.main(["--reference", checkout, "--measure-ceilings"]) == 0
    kinds = [arguments.get("kind", task) for task, arguments in tasks[0]]
    assert kinds == [
        *("facts", "ceilings", "train", "train", "eval", "eval", "predict", "predict"),
        *("counting", "input", "epoch", "epoch"),
    ]
    of_cases = [arguments for task, arguments in tasks[0] if task == "case"]
    assert {x["precision"] for x in of_cases} == {"float32"}
    assert {x["batch"] for x in of_cases} == {1}
    assert of_cases[0]["forms"] == ["released", "channels_last", "compile"]
    shown = capsys.readouterr().out
    assert "2.00  1.50-2.50  reference, released" in shown
    assert "released 5, channels_last 5, compile 5" in shown
    assert "0.0064% (resnet50, float32)" in shown


def test_predicting_beside_the_reference(tasks, checkout, monkeypatch, tmp_path, capsys):
    options = ["predict", "--reference", checkout, "--backbone", "resnet50", "--repeats", "2"]
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda name: None if name == "clu" else name)
    assert bench.main(options) == 0
    assert "predicting beside the reference is left out: clu is not installed" in capsys.readouterr().out
    assert not [task for task, _ in tasks[0] if task == "predicting"]
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda name: name)
    (tmp_path / "a.mp4").touch()
    path = tmp_path / "performance.md"
    more = ["--video", str(tmp_path / "a.mp4"), "--video-frames", "32", "--report", str(path)]
    assert bench.main([*options, *more]) == 0
    assert tasks[0][-1] == (
        "predicting",
        {
            "reference": checkout,
            "dataset": "bp4d",
            "backbone": "resnet50",
            "repeats": 2,
            "video": str(tmp_path / "a.mp4"),
            "video_frames": 32,
        },
    )
    assert "ours, stream 16 32.00 2.50" in " ".join(capsys.readouterr().out.split())
    assert "| ours, stream | 16 | 32.00 | 2.50 | 2.00-3.00 |" in path.read_text()
    tasks[1]["predicting"] = RuntimeError("scores of both differ")
    assert bench.main(options) == 1
    assert "failed: scores of both differ" in capsys.readouterr().out


def test_on_accelerators_both_formats_and_larger_batches_are_measured(tasks):
    tasks[1]["facts"] = FACTS | {"platform": "gpu"}
    assert bench.main(["train", "--backbone", "resnet50"]) == 0
    of_cases = [arguments for task, arguments in tasks[0] if task == "case"]
    assert [(x["precision"], x["batch"]) for x in of_cases] == [("float32", 8), ("bfloat16", 8)]


def test_streams_are_measured_by_themselves_and_training_with_input_at_every_batch(tasks, checkout):
    options = ["--reference", checkout, "--backbone", "resnet50", "--repeats", "2"]
    assert bench.main(["predict", *options, "--forms", "released"]) == 0
    (stream,) = (arguments for task, arguments in tasks[0] if task == "case")
    assert (stream["reference"], stream["forms"]) == (None, [])
    assert bench.main(["epoch", *options, "--batch", "1,2"]) == 0
    fed = [arguments for task, arguments in tasks[0] if task == "epoch"]
    assert [(x["batch"], x["repeats"]) for x in fed] == [(1, 2), (2, 2)]


def test_shares_are_of_what_was_reached_where_no_data_sheet_tells(tasks, capsys):
    assert bench.main(["train", "--backbone", "tiny", "--measure-ceilings"]) == 0
    shown = capsys.readouterr().out
    assert "50% of reached" in shown
    assert "25.0%" in shown  # Of the data sheet's bandwidth, which the device's table has.


def test_records_are_put_into_a_document_without_measuring(tasks, tmp_path, capsys):
    records = [str(tmp_path / f"{mode}.json") for mode in ("train", "input")]
    for mode, record in zip(("train", "input"), records, strict=True):
        assert bench.main([mode, "--backbone", "tiny", "--json", record]) == 0
    measured = len(tasks[0])
    path = tmp_path / "performance.md"
    assert bench.main(["report", "--report", str(path), "--also", *records]) == 0
    assert len(tasks[0]) == measured
    assert "### Training step" in path.read_text()
    assert "### Input alone" in path.read_text()
    assert bench.main(["report", "--report", str(path)]) == 2
    assert "report takes records (--also FILE ...) and a document (--report FILE)" in capsys.readouterr().err


def test_lists_may_have_commas_or_spaces(tasks):
    options = ["--backbone", "resnet50,tiny", "--batch", "1", "2,4", "--forms", "released"]
    assert bench.main(["eval", *options]) == 0
    of_cases = [arguments for task, arguments in tasks[0] if task == "case"]
    assert [(x["backbone"], x["batch"]) for x in of_cases] == [
        (backbone, batch) for backbone in ("resnet50", "tiny") for batch in (1, 2, 4)
    ]
    assert all(x["forms"] == ["released"] for x in of_cases)


def test_without_jraph_the_graph_is_dense_and_it_says_so(tasks, capsys):
    tasks[1]["facts"] = FACTS | {"jraph": False}
    assert bench.main(["train", "--backbone", "tiny"]) == 0
    assert "jraph is not installed" in capsys.readouterr().out
    assert tasks[0][-1][1]["dense"]


def test_what_fails_is_told_and_the_rest_goes_on(tasks, tmp_path, capsys):
    tasks[1]["case"] = RuntimeError("exit code 137: no memory")
    path = tmp_path / "found.json"
    assert bench.main(["eval", "--backbone", "tiny", "--json", str(path)]) == 1
    record = json.loads(path.read_text())
    assert record["format"] == report.FORMAT
    assert record["cases"][0]["failed"] == "exit code 137: no memory"
    assert record["cases"][0]["case"]["backbone"] == "tiny"
    assert record["counting"]["frames"] == 50048
    assert "failed: exit code 137: no memory" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["found.json"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--backbone", "vgg"], "--backbone knows resnet50"),
        (["--precision", "float16"], "--precision knows float32, bfloat16, found float16"),
        (["--forms", "fast"], "--forms knows released"),
        (["--batch", "0"], "--batch must be at least 1"),
        (["--repeats", "0"], "--repeats must be at least 1"),
        (["--reference", "nowhere"], "there is no folder nowhere for --reference"),
        (["--reference", "configs"], "configs is no checkout"),
        (["--report", "nowhere/performance.md"], "no folder nowhere"),
        (["--report", "performance.html"], "names a Markdown file"),
        (["--json", "nowhere/found.json"], "no folder nowhere"),
        (["--video", "nowhere.mp4"], "--video nowhere.mp4 is not there"),
        (["--video-frames", "0"], "--video-frames must be at least 1"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(tasks, capsys, options, told):
    assert bench.main(["train", *options]) == 2
    assert told in capsys.readouterr().err
    assert not tasks[0]


def test_the_reference_has_its_shortest_clip(tasks, checkout, capsys):
    assert bench.main(["train", "--reference", checkout, "--clip-length", "8"]) == 2
    assert "clips of 11 frames" in capsys.readouterr().err


def test_forms_that_are_not_timed_beside_a_number_format_are_refused(tasks, checkout, capsys):
    options = ["train", "--reference", checkout, "--precision", "bfloat16", "--forms", "channels_last"]
    assert bench.main(options) == 2
    assert "beside bfloat16 the reference is timed as released, amp" in capsys.readouterr().err
    assert not tasks[0]


def test_a_document_keeps_its_text_and_what_other_machines_measured(tasks, tmp_path):
    path = tmp_path / "performance.md"
    path.write_text(f"# Speed\n\nBefore.\n\n{report.BEGIN}\n{report.END}\n\nBehind.\n")
    options = ["--backbone", "tiny", "--report", str(path)]
    assert bench.main(["train", *options]) == 0
    tasks[1]["facts"] = FACTS | {"device": "NVIDIA H200", "platform": "gpu"}
    assert bench.main(["train", *options]) == 0
    assert bench.main(["eval", *options]) == 0
    text = path.read_text()
    assert text.startswith("# Speed\n\nBefore.\n")
    assert text.endswith("Behind.\n")
    assert text.count("## Measured on 2 cores of a processor") == 1
    assert text.count("## Measured on NVIDIA H200") == 1
    # The later measurement of the same device has replaced the earlier one.
    assert text.count("### Training step\n") == 1
    assert text.count("### Forward pass, evaluation\n") == 1
    assert "of peak" in text


def test_records_of_several_calls_go_into_one_section(tasks, tmp_path, capsys):
    path, first = tmp_path / "performance.md", tmp_path / "first.json"
    assert bench.main(["train", "--backbone", "tiny", "--json", str(first)]) == 0
    assert bench.main(["input", "--also", str(first), "--report", str(path)]) == 0
    text = path.read_text()
    assert text.count("## Measured on 2 cores of a processor") == 1
    assert text.index("### Training step\n") < text.index("### Input alone")
    first.write_text("{}")
    asked = len(tasks[0])
    assert bench.main(["input", "--also", str(first), "--report", str(path)]) == 2
    assert "is no record" in capsys.readouterr().err
    assert len(tasks[0]) == asked
    assert path.read_text() == text


def test_a_document_without_a_place_for_results_is_refused(tasks, tmp_path, capsys):
    path = tmp_path / "other.md"
    path.write_text("# Something else\n")
    assert bench.main(["train", "--report", str(path)]) == 2
    assert "has no lines" in capsys.readouterr().err
    assert path.read_text() == "# Something else\n"


def test_a_task_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"exit code 1: TypeError.*float99"):
        apart.run("ceilings", {"precisions": ["float99"]})


ABSENT = ("tensorflow", "tensorflow_datasets", "jraph", "clu", "ml_collections", "PIL", "orbax", "torch")


@pytest.mark.slow
def test_steps_need_neither_tensorflow_nor_what_else_may_be_absent(run_python):
    """As on machines with JAX, Flax and Optax alone."""
    done = run_python(
        "-c",
        f"""
import sys
for name in {ABSENT}:
    sys.modules[name] = None
import jax
from mdhr_jax.bench import cases, counting, facts
assert not facts.gather()["jraph"]
case = dict(dataset="bp4d", backbone="tiny", precision="float32", batch=1, clip_length=2, repeats=1)
jax.config.update("jax_disable_most_optimizations", True)
assert cases.measure(kind="train", dense=True, again=False, **case)["ours"]["median"] > 0
assert counting.measure("bp4d", frames=256, repeats=1)["ours"] > 0
try:
    cases.measure(kind="eval", dense=False, again=False, **case)
except ImportError as error:
    print(error)
""",
    )
    assert done.returncode == 0, done.stderr
    assert "needs jraph, which is not installed" in done.stdout
