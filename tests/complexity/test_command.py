"""The command: what it prints and writes, and what it says when it cannot."""

import csv
import json

import pytest

from mdhr_jax import facs
from mdhr_jax.complexity import tables
from mdhr_jax.complexity.__main__ import main
from mdhr_jax.complexity.measure import WHOLE, Cost
from mdhr_jax.models.functional import FunctionalModel
from mdhr_jax.models.mdhr import BACKBONES, MDHRConfig
from tests.conftest import REPOSITORY

ABOUT = {
    "command": "python -m mdhr_jax.complexity",
    "dataset": "BP4D",
    "num_aus": 12,
    "clip_length": 16,
    "image_size": 224,
    "batch_size": 8,
    "dtype": "float32",
    "variant": "reference",
    "modules": "afe",
    "jax": "0",
    "device": "cpu",
}
COSTS = [
    Cost("tiny", "backbone", 1000, 2.5e6, 7.5e6, 2**20, 2**24),
    Cost("tiny", WHOLE, 1_234_567, 1234.5e6, None, 3 * 2**19, None),
]


@pytest.mark.slow
def test_a_small_model_measured_and_written(tmp_path, capsys):
    files = [tmp_path / f"new/costs{suffix}" for suffix in tables.SUFFIXES]
    settings = ("data.image_size=64", "data.clip_length=2", "model.mfd=False", "model.tcn=False")
    asked = ["--config", "configs/quickstart.py", "--forward-only", *(f"--config.{s}" for s in settings)]
    assert main([*asked, "--out", *map(str, files)]) == 0
    printed = capsys.readouterr().out
    assert printed == files[0].read_text()
    assert f"python -m mdhr_jax.complexity {' '.join(asked)}" in printed
    with files[1].open() as file:
        lines = list(csv.DictReader(file))
    stored = json.loads(files[2].read_text())
    assert [line["module"] for line in lines] == [cost["module"] for cost in stored["costs"]]
    assert [int(line["parameters"]) for line in lines] == [cost["parameters"] for cost in stored["costs"]]
    modules = [cost for cost in stored["costs"] if cost["module"] != WHOLE]
    assert stored["about"]["modules"] == "afe+aux+crm"
    assert sum(cost["parameters"] for cost in modules) == stored["costs"][-1]["parameters"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "costs.csv",
        "costs.json",
        "costs.md",
    ]


def test_units_and_what_was_not_measured():
    lines = tables.markdown(COSTS, ABOUT).splitlines()
    assert "| backbone | 1,000 | 2.5 | 7.5 | 1 | 16 |" in lines
    assert f"| **{WHOLE}** | 1,234,567 | 1,234 | - | 1.5 | - |" in lines
    assert "| `tiny` | 1,234,567 | 1,234 | - | 1.5 | - |" in lines
    assert any("2 FLOP" in line for line in lines)


def test_the_table_of_the_documentation_is_of_these_models():
    """Weights are counted anew; the rest of the table takes minutes to measure."""
    text = (REPOSITORY / "docs/complexity.md").read_text()
    for backbone in BACKBONES:
        shapes = FunctionalModel.create(MDHRConfig(facs.BP4D, backbone=backbone)).param_shapes
        assert f"\n| `{backbone}` | {sum(x.size for x in shapes.values()):,} | " in text
        assert f"## `{backbone}`, module by module" in text


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--out", "costs.txt"], r"costs.txt must end in .md, .csv, .json"),
        (["--backbones", "vgg"], "model.backbone is 'vgg', expected one of resnet50"),
        (["--config", "configs/absent.py"], "configs/absent.py is not here"),
        (["--config.data.image_size=100"], "images of 100 pixels do not suit backbone"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_compiled(options, wanted, capsys):
    assert main(options) == 2
    shown = capsys.readouterr()
    assert wanted in shown.err
    assert shown.out == ""


def test_options_that_do_not_exist(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--speed"])
    assert "unexpected: --speed" in capsys.readouterr().err
