"""The rows that can be trained: the authors' own, and those this project adds.

Added are the sweep over the number of neighbouring frames (table ``k``), which the paper keeps in its
supplement, and DISFA from a model trained on BP4D (in table 2), of which the paper does not speak.
"""

import types
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mdhr_jax import paper
from mdhr_jax.paper import SWITCHES, Row, Table

NEIGHBORS = range(1, 9)
"""Numbers of neighbouring frames of table ``k``."""

SWEEP = "k"
"""Name of the table that varies the neighbouring frames."""

FROM_BP4D = "-bp4d"
"""End of the names of rows that start from table 1's row of the same name."""

_OWN = "Not in the paper: added by this project."
_IN_SUPPLEMENT = (
    "The paper keeps this sweep in its supplement; the model and the numbers k are this project's."
)

_FINETUNED = tuple(
    Row(
        name=name + FROM_BP4D,
        title=f"{title}, from BP4D",
        average=None,
        group="Ours",
        settings=paper.settings(backbone=backbone),
        finetuned=True,
        inferred=_OWN,
    )
    for name, title, backbone in (("resnet50", "ResNet-50", "resnet50"), ("swin", "Swin-B", "swin_base"))
)
_SWEEP = Table(
    name=SWEEP,
    title="Neighbouring frames that the dynamics look at (full model, BP4D)",
    dataset="bp4d",
    rows=tuple(
        Row(f"k{k}", f"k = {k}", None, settings=paper.settings(neighbors=k), inferred=_IN_SUPPLEMENT)
        for k in NEIGHBORS
    ),
)

ROWS: Mapping[str, tuple[Row, ...]] = types.MappingProxyType(
    {name: table.own_rows + (_FINETUNED if name == "2" else ()) for name, table in paper.TABLES.items()}
    | {SWEEP: _SWEEP.rows}
)
"""Rows that can be trained, by table."""

TITLES: Mapping[str, str] = types.MappingProxyType(
    {name: table.title for name, table in paper.TABLES.items()} | {SWEEP: _SWEEP.title}
)
"""What each table shows."""


def check_table(table: str) -> None:
    """Refuses a table that does not exist.

    Raises:
        ValueError: with those that do.
    """
    if table not in ROWS:
        raise ValueError(f"there is no table {table!r}; choose one of {', '.join(ROWS)}")


def find(table: str, name: str) -> Row:
    """A row that can be trained.

    Raises:
        ValueError: there is no such table or row; those that there are, are listed.
    """
    check_table(table)
    for row in ROWS[table]:
        if row.name == name:
            return row
    if table in paper.TABLES and any(row.name == name for row in paper.TABLES[table].rows):
        reason = f"row {name!r} of table {table} is another method's, which this project cannot train"
    else:
        reason = f"table {table} has no row {name!r}"
    raise ValueError(f"{reason}; its rows are {', '.join(row.name for row in ROWS[table])}")


def dataset_of(table: str) -> str:
    """The licensed data set that a table is about.

    Raises:
        ValueError: there is no such table.
    """
    check_table(table)
    return _SWEEP.dataset if table == SWEEP else paper.TABLES[table].dataset


def model_name(config: Mapping[str, Any] | ConfigDict) -> str:
    """Names a configuration's model by its switches, such as ``resnet50+mfd-k5+afe+aux+crm+tcn``.

    Rows of several tables that are the same model get the same name. Behind a module stands what is not the
    full model's: scales (``mfd12-k5``), fusion (``mfd-sum-k5``), edges (``crm-local``); ``+finetuned`` marks
    one that starts from another whole model.

    Args:
        config: a whole configuration, resolved.
    """
    model = config["model"]
    parts = [str(model["backbone"]).lower()]
    if model["mfd"]:
        scales = tuple(model["mfd_scales"])
        text = "mfd" if scales == SWITCHES["mfd_scales"] else "mfd" + "".join(map(str, scales))
        text += "" if model["fusion"] == SWITCHES["fusion"] else f"-{model['fusion']}"
        parts.append(f"{text}-k{model['neighbors']}")
    parts += [name for name in ("afe", "aux") if model[name]]
    if model["crm"]:
        edges = model["edges"]
        parts.append("crm" if edges == SWITCHES["edges"] else f"crm-{edges.replace('_', '-')}")
    parts += ["tcn"] if model["tcn"] else []
    parts += ["finetuned"] if model["init_from"] else []
    return "+".join(parts)
