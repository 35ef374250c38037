"""The configurations of rows: golden texts, and that rows differ in nothing but their switches."""

import itertools
import json
import os
from pathlib import Path

import pytest

from mdhr_jax import config as config_lib
from mdhr_jax import paper
from mdhr_jax.tables import plan, rows

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "configs" / "tables.py"
GOLDEN = REPOSITORY / "tests" / "golden_configs" / "tables"
SCALES = ("full", "laptop")
SWITCHES = {f"model.{name}" for name in paper.SWITCHES}


def load(table, row, scale="full", **more):
    argument = {"table": table, "row": row, "scale": scale} | more
    if rows.find(table, row).finetuned:
        argument.setdefault("init_from", "BP4D")
    return plan.load_config(FILE, ",".join(f"{key}={value}" for key, value in argument.items()))


def differences(one, other):
    return config_lib.differences(config_lib.as_json(one), config_lib.as_json(other))


def all_rows(scale, tables=tuple(rows.ROWS)):
    return [
        (table, row)
        for table in tables
        for row in rows.ROWS[table]
        if scale == "full" or row.settings["backbone"] == "resnet50"
    ]


@pytest.mark.parametrize("scale", SCALES)
def test_resolved_configs_are_the_golden_ones(scale):
    """One file a scale: first what all rows have in common, then the rest of each row."""
    flat = {f"{t} {row.name}": config_lib.flatten(load(t, row.name, scale)) for t, row in all_rows(scale)}
    first = next(iter(flat.values()))
    common = {k for k in first if all(k in f and f[k] == first[k] for f in flat.values())}
    sections = [("all rows", {key: first[key] for key in common})]
    sections += [(f"table {name}", {k: f[k] for k in f if k not in common}) for name, f in flat.items()]
    text = "\n".join(
        f"# {title}\n" + "".join(f"{key} = {json.dumps(values[key])}\n" for key in sorted(values))
        for title, values in sections
    )
    golden = GOLDEN / f"{scale}.txt"
    if os.environ.get("REWRITE_GOLDEN_CONFIGS"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text(), (
        "if the change is meant: REWRITE_GOLDEN_CONFIGS=1 python -m pytest tests/tables/test_rows.py"
    )


@pytest.mark.parametrize("scale", SCALES)
def test_every_row_is_valid(scale):
    for table, row in all_rows(scale):
        config = load(table, row.name, scale, fold=2, seed=7)
        config_lib.validate(config)
        assert (config.fold, config.seed) == (2, 7)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("table", rows.ROWS)
def test_rows_of_a_table_differ_in_switches_only(scale, table):
    resolved = [(row, load(table, row.name, scale, fold=2, seed=3)) for _, row in all_rows(scale, [table])]
    assert resolved
    # A row that starts from a whole model says so in two further keys.
    allowed = SWITCHES | {"model.init_from", "model.pretrained"} if table == "2" else SWITCHES
    for (_, one), (_, other) in itertools.combinations(resolved, 2):
        changed = {line.partition(":")[0] for line in differences(one, other)}
        assert changed <= allowed
        assert changed  # No two rows of a table are the same run.


@pytest.mark.parametrize("scale", SCALES)
def test_ablations_on_bp4d_share_everything_but_switches(scale):
    resolved = [load(table, row.name, scale) for table, row in all_rows(scale, ["1", "3", "4", "5", "k"])]
    for other in resolved[1:]:
        changed = {line.partition(":")[0] for line in differences(resolved[0], other)}
        assert changed <= SWITCHES


def test_a_row_has_the_switches_that_the_paper_gives_it():
    for table, row in all_rows("full"):
        model = load(table, row.name).model.to_dict()
        assert {key: model[key] for key in paper.SWITCHES} == dict(row.settings), (table, row.name)
    for table, row in all_rows("laptop", ["3", "4", "5"]):
        model = load(table, row.name, "laptop").model.to_dict()
        changed = {key for key in paper.SWITCHES if model[key] != row.settings[key]}
        assert changed == {"backbone", "neighbors"}, (table, row.name)


def test_the_full_model_is_the_recipe_of_bp4d():
    bp4d = plan.load_config(REPOSITORY / "configs" / "bp4d.py", "fold=2,pretrained=a")
    assert differences(load("3", "full", fold=2, pretrained="a"), bp4d) == []
    disfa = plan.load_config(REPOSITORY / "configs" / "disfa.py", "backbone=swin_base,pretrained=a")
    assert differences(load("2", "swin", pretrained="a"), disfa) == []


@pytest.mark.parametrize("scale", SCALES)
def test_names_of_models_tell_apart_what_differs_and_nothing_else(scale):
    resolved = [load(table, row.name, scale) for table, row in all_rows(scale)]
    for one, other in itertools.combinations(resolved, 2):
        same_name = (one.dataset, rows.model_name(one)) == (other.dataset, rows.model_name(other))
        assert same_name == (not differences(one, other)), (rows.model_name(one), one, other)


def test_names_of_models():
    assert rows.model_name(load("3", "full")) == "resnet50+mfd-k5+afe+aux+crm+tcn"
    assert rows.model_name(load("3", "backbone")) == "resnet50"
    assert rows.model_name(load("4", "layer3+4", "laptop")) == "tiny+mfd34-k2+afe"
    assert rows.model_name(load("4", "cat")) == "resnet50+mfd-concat-k5+afe"
    assert rows.model_name(load("5", "aux+local")) == "resnet50+afe+aux+crm-local"
    assert rows.model_name(load("k", "k8")) == "resnet50+mfd-k8+afe+aux+crm+tcn"
    assert rows.model_name(load("2", "swin-bp4d")) == "swin_base+mfd-k5+afe+aux+crm+tcn+finetuned"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("table=3,row=all", "table 3 has no row 'all'; its rows are backbone, mfd, afe, .*mfd.hsr, full$"),
        ("table=6,row=full", "there is no table '6'; choose one of 1, 2, 3, 4, 5, k"),
        (
            "table=1,row=wsrtl",
            "another method's, which this project cannot train; its rows are resnet50, swin",
        ),
        ("table=1,row=swin,scale=laptop", "row 'swin' of table 1 has no scale=laptop.* 224 pixels only"),
        ("scale=tiny", "scale=tiny does not exist; choose one of full, laptop"),
        ("table=2,row=resnet50-bp4d", "starts from a model trained on BP4D; name its run with init_from=RUN"),
        ("table=3,row=mfd,colour=red", "'colour=red' is not understood"),
        ("table", "'table' is not understood"),
    ],
)
def test_mistakes_are_told(argument, message):
    with pytest.raises(ValueError, match=message):
        plan.load_config(FILE, argument)
