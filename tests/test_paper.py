import itertools
import json
import re

import pytest

from mdhr_jax import facs, paper
from mdhr_jax.models.mdhr import MDHRConfig

ROWS = [(table, row) for table in paper.TABLES.values() for row in table.rows]
OWN = [(table, row) for table, row in ROWS if row.settings is not None]


def f1(table, name):
    return next(row.average for row in paper.TABLES[table].rows if row.name == name)


def test_tables_have_all_their_rows():
    counts = {name: (len(table.rows), len(table.own_rows)) for name, table in paper.TABLES.items()}
    assert counts == {"1": (14, 2), "2": (14, 2), "3": (9, 9), "4": (9, 9), "5": (5, 5)}
    for table in paper.TABLES.values():
        names = [row.name for row in table.rows]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-z0-9+-]+", name) for name in names)
        lengths = {len(row.per_au) for row in table.rows}
        assert lengths == ({len(table.au_names)} if table.name in ("1", "2") else {0})


def test_averages_are_those_of_the_values_but_for_six():
    departing = {(table.name, row.name) for table, row in ROWS if row.average_departs}
    assert departing == {
        *(("1", "eac-net"), ("1", "sma-net")),
        *(("2", "eac-net"), ("2", "sma-net"), ("2", "faudt"), ("2", "hstr-net")),
    }
    # A value mistyped by a point shifts the mean by more than rounding does.
    row = next(row for row in paper.TABLES["1"].rows if row.name == "resnet50")
    wrong = (row.per_au[0] + 1, *row.per_au[1:])
    assert paper.Row("x", "x", row.average, wrong).average_departs


def test_numbers_fit_the_sentences_about_them():
    # Paper, section 4.2: advantages over ME-GraphAU and WSRTL; section 4.3: MFD, HSR and its parts.
    stated = [
        (("1", "resnet50"), ("1", "me-graphau"), 1.1),
        (("1", "swin"), ("1", "me-graphau"), 0.6),
        (("2", "resnet50"), ("2", "me-graphau"), 1.8),
        (("2", "swin"), ("2", "me-graphau"), 3.1),
        (("1", "resnet50"), ("1", "wsrtl"), 0.7),
        (("2", "swin"), ("2", "wsrtl"), 1.6),
        (("3", "mfd"), ("3", "backbone"), 1.3),
        (("3", "hsr"), ("3", "backbone"), 1.8),
        (("3", "afe"), ("3", "backbone"), 0.8),
        (("3", "afe+aux"), ("3", "afe"), 0.4),
    ]
    for better, worse, difference in stated:
        assert f1(*better) - f1(*worse) == pytest.approx(difference), (better, worse)
    for table, best in (("3", "full"), ("4", "aw"), ("5", "aux+cross-activated")):
        assert f1(table, best) == max(row.average for row in paper.TABLES[table].rows)


def test_rows_of_the_same_settings_have_the_same_number():
    # What the inferred settings of Tables 4 and 5 rest on.
    of_settings = {}
    for table, row in OWN:
        key = table.dataset + json.dumps(dict(row.settings), sort_keys=True)
        of_settings.setdefault(key, []).append((table.name, row.name, row.average))
    shared = {tuple(name for _, name, _ in rows) for rows in of_settings.values() if len(rows) > 1}
    assert shared == {
        ("resnet50", "full"),
        ("afe", "baseline"),
        ("mfd+afe", "aw"),
        ("hsr", "aux+cross-activated"),
    }
    assert all(len({average for *_, average in rows}) == 1 for rows in of_settings.values())


@pytest.mark.parametrize(("table", "row"), OWN, ids=lambda value: value.name)
def test_own_rows_are_models(table, row):
    assert row.settings.keys() == paper.SWITCHES.keys()
    MDHRConfig(facs.get(table.dataset), **row.settings)


def test_what_is_inferred_is_said():
    assert all(row.inferred for row in paper.TABLES["3"].rows)
    single = [row for row in paper.TABLES["4"].rows if len(row.settings["mfd_scales"]) < 4]
    assert len(single) == 5
    assert all(row.inferred for row in single)
    assert all(row.inferred for row in paper.TABLES["5"].rows)
    for _, row in itertools.filterfalse(lambda pair: pair[1].settings is not None, ROWS):
        assert row.inferred == ""


def test_settings_are_of_switches_only():
    assert paper.settings(tcn=False) == {**paper.SWITCHES, "tcn": False}
    with pytest.raises(ValueError, match="width: not a switch; there are backbone"):
        paper.settings(width=8)
