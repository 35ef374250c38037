"""What the paper prints: every row and number of its Tables 1 to 5, and how its own rows were made.

    MDHR: Multi-scale Dynamic and Hierarchical Relationship modelling (Wang et al., CVPR 2024),
    arXiv 2404.06443

Numbers are F1 in percent, means of three folds. The text that numbers were taken from has lost the tick marks
of Tables 3 and 4; what was put in their place, and whatever else the paper leaves open, is said in a row's
`inferred`.

The printed averages of six rows are not the means of their printed values: in Table 1 those of EAC-Net (55.9
for 55.6) and SMA-Net (64.9 for 65.0), in Table 2 those of EAC-Net (48.5 for 57.4), SMA-Net (64.2 for 62.4),
FAUDT (61.5 for 61.6) and HSTR-Net (62.9 for 67.1). They stand here as printed; see `Row.average_departs`.
FAUDT's may come of averaging before rounding; the others cannot.
"""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdhr_jax import facs

SWITCHES = types.MappingProxyType(
    {
        "backbone": "resnet50",
        "neighbors": 5,
        "mfd": True,
        "afe": True,
        "aux": True,
        "crm": True,
        "tcn": True,
        "mfd_scales": (1, 2, 3, 4),
        "fusion": "adaptive",
        "edges": "cross_activated",
    }
)
"""The keys of a model's configuration in which rows differ, with the values of the full model."""

FULL = "full"
"""Name of the row of Table 3 that is the full model."""

# Half of the last printed place, and a hair for binary fractions: 66.05 may be printed as 66.1.
_HALF_PLACE = 0.05 + 1e-6


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table (one column of Table 4).

    Attributes:
        name: short and stable, of letters, digits, ``+`` and ``-``.
        title: as the paper names it, or what it consists of where the paper has tick marks.
        group: heading of the block that it stands in; empty where there is none.
        average: printed mean F1 in percent; None where the paper prints none.
        per_au: printed F1 in percent in the order of the table's AUs; empty where only the mean is printed.
        settings: every one of `SWITCHES`, where the row is the authors' own; None for other methods.
        finetuned: whether it starts from a model trained on BP4D instead of an ImageNet backbone.
        inferred: what of the settings the paper does not say, in a sentence; empty where it says all.
    """

    name: str
    title: str
    average: float | None
    per_au: tuple[float, ...] = ()
    group: str = ""
    settings: Mapping[str, Any] | None = None
    finetuned: bool = False
    inferred: str = ""

    @property
    def average_departs(self) -> bool:
        """Whether the printed average is not the mean of the printed values, rounded to the printed place."""
        if not self.per_au or self.average is None:
            return False
        return abs(float(np.mean(self.per_au)) - self.average) > _HALF_PLACE


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        name: its number.
        title: what it shows.
        dataset: entry of the AU table that it is about.
        rows: in the printed order.
    """

    name: str
    title: str
    dataset: str
    rows: tuple[Row, ...]

    @property
    def au_names(self) -> tuple[str, ...]:
        """Columns of `Row.per_au`."""
        return tuple(facs.get(self.dataset).au_names)

    @property
    def own_rows(self) -> tuple[Row, ...]:
        """The rows that this project can train."""
        return tuple(row for row in self.rows if row.settings is not None)


def settings(**changes: Any) -> Mapping[str, Any]:
    """The full model's `SWITCHES` with changes.

    Raises:
        ValueError: a change is not of a switch.
    """
    if unknown := changes.keys() - SWITCHES.keys():
        raise ValueError(f"{', '.join(sorted(unknown))}: not a switch; there are {', '.join(SWITCHES)}")
    return types.MappingProxyType({**SWITCHES, **changes})


_MODULES = ("mfd", "afe", "aux", "crm", "tcn")


def _only(*modules: str, **changes: Any) -> Mapping[str, Any]:
    """Settings with these modules and no others."""
    return settings(**{name: name in modules for name in _MODULES}, **changes)


_STATIC = "Static image-based"
_RELATIONS = "Static AU relationship modeling"
_TEMPORAL = "Spatio-temporal"
_OURS = "Ours"


def _methods(values: Mapping[str, tuple[str, tuple[float, ...]]], own: Sequence[Row]) -> tuple[Row, ...]:
    """Rows of other methods, whose last value is the average, then the authors' own."""
    others = (
        Row(
            name=title.lower(),
            title=title,
            average=numbers[-1],
            per_au=numbers[:-1],
            group=group,
        )
        for title, (group, numbers) in values.items()
    )
    return (*others, *own)


def _own(name: str, title: str, backbone: str, numbers: tuple[float, ...], inferred: str = "") -> Row:
    return Row(
        name=name,
        title=title,
        average=numbers[-1],
        per_au=numbers[:-1],
        group=_OURS,
        settings=settings(backbone=backbone),
        inferred=inferred,
    )


# fmt: off
_BP4D = {
    #                           1     2     4     6     7    10    12    14    15    17    23    24   Avg.
    "EAC-Net": (_STATIC,      (39.0, 35.2, 48.6, 76.1, 72.9, 81.9, 86.2, 58.8, 37.5, 59.1, 35.9, 35.8, 55.9)),
    "JAA-Net": (_STATIC,      (47.2, 44.0, 54.9, 77.5, 74.6, 84.0, 86.9, 61.9, 43.6, 60.3, 42.7, 41.9, 60.0)),
    "ARL": (_STATIC,          (45.8, 39.8, 55.1, 75.7, 77.2, 82.3, 86.6, 58.8, 47.6, 62.1, 47.4, 55.4, 61.1)),
    "SMA-Net": (_STATIC,      (56.5, 45.1, 57.0, 79.5, 79.5, 84.5, 86.4, 66.1, 55.8, 64.2, 48.7, 56.8, 64.9)),
    "SRERL": (_RELATIONS,     (46.9, 45.3, 55.6, 77.1, 78.4, 83.5, 87.6, 63.9, 52.2, 63.9, 47.1, 53.3, 62.9)),
    "FAUDT": (_RELATIONS,     (51.7, 49.3, 61.0, 77.8, 79.5, 82.9, 86.3, 67.6, 51.9, 63.0, 43.7, 56.3, 64.2)),
    "FAN-Trans": (_RELATIONS, (55.4, 46.0, 59.8, 78.7, 77.7, 82.7, 88.6, 64.7, 51.4, 65.7, 50.9, 56.0, 64.8)),
    "ME-GraphAU": (_RELATIONS,(52.7, 44.3, 60.9, 79.9, 80.1, 85.3, 89.2, 69.4, 55.4, 64.4, 49.8, 55.1, 65.5)),
    "STRAL": (_TEMPORAL,      (48.2, 47.7, 58.1, 75.8, 78.1, 81.6, 87.6, 60.5, 50.2, 64.0, 51.2, 55.2, 63.2)),
    "HSTR-Net": (_TEMPORAL,   (55.5, 49.5, 61.9, 76.6, 80.2, 84.2, 87.4, 62.6, 54.8, 64.1, 47.1, 52.1, 64.7)),
    "KS": (_TEMPORAL,         (55.3, 48.6, 57.1, 77.5, 81.8, 83.3, 86.4, 62.8, 52.3, 61.3, 51.6, 58.3, 64.7)),
    "WSRTL": (_TEMPORAL,      (59.7, 51.7, 61.6, 80.3, 80.9, 85.2, 89.7, 67.8, 52.2, 63.4, 51.4, 46.9, 65.9)),
}
_BP4D_RESNET50 = (58.3, 50.9, 58.9, 78.4, 80.3, 84.9, 88.2, 69.5, 56.0, 65.5, 49.5, 59.3, 66.6)
_BP4D_SWIN =     (54.6, 49.7, 61.0, 79.9, 79.4, 85.4, 88.5, 67.8, 56.8, 63.2, 50.9, 55.4, 66.1)

_DISFA = {
    #                           1     2     4     6     9    12    25    26   Avg.
    "EAC-Net": (_STATIC,      (41.5, 26.4, 66.4, 50.7, 80.5, 89.3, 88.9, 15.6, 48.5)),
    "JAA-Net": (_STATIC,      (43.7, 46.2, 56.0, 41.4, 44.7, 69.6, 88.3, 58.4, 56.0)),
    "ARL": (_STATIC,          (43.9, 42.1, 63.6, 41.8, 40.0, 76.2, 95.2, 66.8, 58.7)),
    "SMA-Net": (_STATIC,      (53.4, 54.2, 64.0, 57.0, 47.0, 76.6, 92.0, 55.2, 64.2)),
    "SRERL": (_RELATIONS,     (45.7, 47.8, 59.6, 47.1, 45.6, 73.5, 84.3, 43.6, 55.9)),
    "FAUDT": (_RELATIONS,     (46.1, 48.6, 72.8, 56.7, 50.0, 72.1, 90.8, 55.4, 61.5)),
    "FAN-Trans": (_RELATIONS, (56.4, 50.2, 68.6, 49.2, 57.6, 75.6, 93.6, 58.8, 63.8)),
    "ME-GraphAU": (_RELATIONS,(54.6, 47.1, 72.9, 54.0, 55.7, 76.7, 91.1, 53.0, 63.1)),
    "STRAL": (_TEMPORAL,      (52.2, 47.4, 68.9, 47.8, 56.7, 72.5, 91.3, 67.6, 63.0)),
    "HSTR-Net": (_TEMPORAL,   (54.3, 50.8, 70.1, 66.6, 59.6, 68.0, 97.9, 69.8, 62.9)),
    "KS": (_TEMPORAL,         (53.8, 59.9, 69.2, 54.2, 50.8, 75.8, 92.2, 46.8, 62.8)),
    "WSRTL": (_TEMPORAL,      (57.3, 51.8, 74.3, 49.8, 44.8, 79.3, 94.6, 64.6, 64.6)),
}
_DISFA_RESNET50 = (61.4, 57.7, 70.9, 57.1, 48.3, 75.7, 91.5, 56.7, 64.9)
_DISFA_SWIN =     (65.4, 60.2, 75.2, 50.2, 52.4, 74.3, 93.7, 58.2, 66.2)
# fmt: on

_DISFA_START = (
    "The paper says of both backbones that they were pretrained on ImageNet, and not whether DISFA's models "
    "saw BP4D first."
)
_TICKS = "The tick marks are lost; the text names what this number belongs to."
_TICKS_GUESSED = "The tick marks are lost; the modules follow from the order of the rows and the text."

_TABLE3 = (
    # name, title, F1, modules, inferred
    ("backbone", "Backbone", 63.3, (), _TICKS),
    ("mfd", "MFD", 64.6, ("mfd",), _TICKS),
    ("afe", "AFE", 64.1, ("afe",), _TICKS),
    ("afe+aux", "AFE + Aux", 64.5, ("afe", "aux"), _TICKS),
    ("hsr", "AFE + Aux + CRM", 65.1, ("afe", "aux", "crm"), _TICKS),
    ("mfd+afe", "MFD + AFE", 65.3, ("mfd", "afe"), _TICKS_GUESSED),
    ("mfd+afe+aux", "MFD + AFE + Aux", 65.7, ("mfd", "afe", "aux"), _TICKS_GUESSED),
    ("mfd+hsr", "MFD + AFE + Aux + CRM", 66.3, ("mfd", "afe", "aux", "crm"), _TICKS_GUESSED),
    (FULL, "MFD + AFE + Aux + CRM + TCN", 66.6, _MODULES, _TICKS),
)

_ALONE = (
    "The tick marks are lost; four layers are named and nine numbers printed, so that with the baseline and "
    "the last three there is room for each layer alone and for one combination, in this order."
)
_COMBINATION = (
    "The tick marks are lost: that two layers are combined is said in the text, not which two. Layers 3 and "
    "4 are this project's choice."
)
_TABLE4 = (
    # name, title, F1, switches, inferred
    ("baseline", "Baseline (backbone + AFE)", 64.1, {"mfd": False}, ""),
    ("layer1", "Layer 1 alone", 64.3, {"mfd_scales": (1,)}, _ALONE),
    ("layer2", "Layer 2 alone", 64.7, {"mfd_scales": (2,)}, _ALONE),
    ("layer3", "Layer 3 alone", 64.6, {"mfd_scales": (3,)}, _ALONE),
    ("layer4", "Layer 4 alone", 64.8, {"mfd_scales": (4,)}, _ALONE),
    ("layer3+4", "Two layers, weighted", 64.7, {"mfd_scales": (3, 4)}, _COMBINATION),
    ("sum", "All layers, sum", 64.9, {"fusion": "sum"}, ""),
    ("cat", "All layers, concatenated", 64.9, {"fusion": "concat"}, ""),
    ("aw", "All layers, adaptive weighting", 65.3, {}, ""),
)

_WITHOUT_MFD = (
    "That there is neither MFD nor TCN is not said; the last row has the number of Table 3's AFE + Aux + CRM."
)
_TABLE5 = (
    # name, title, F1, switches
    ("fully-connected", "Fully-connected", 64.6, {"aux": False, "edges": "full"}),
    ("aux+local", "Aux + Locally connected", 64.2, {"edges": "local"}),
    ("aux+cross", "Aux + Cross-regional fully-connected", 64.9, {"edges": "cross"}),
    ("aux+fully-connected", "Aux + Fully connected", 64.8, {"edges": "full"}),
    ("aux+cross-activated", "Aux + Connecting cross-regional activated AUs", 65.1, {}),
)

_ALL = (
    Table(
        name="1",
        title="F1 of 12 AUs on BP4D",
        dataset="bp4d",
        rows=_methods(
            _BP4D,
            [
                _own("resnet50", "Ours (ResNet-50)", "resnet50", _BP4D_RESNET50),
                _own("swin", "Ours (Swin-B)", "swin_base", _BP4D_SWIN),
            ],
        ),
    ),
    Table(
        name="2",
        title="F1 of 8 AUs on DISFA",
        dataset="disfa",
        rows=_methods(
            _DISFA,
            [
                _own("resnet50", "Ours (ResNet-50)", "resnet50", _DISFA_RESNET50, _DISFA_START),
                _own("swin", "Ours (Swin-B)", "swin_base", _DISFA_SWIN, _DISFA_START),
            ],
        ),
    ),
    Table(
        name="3",
        title="What each module contributes (ResNet-50, BP4D)",
        dataset="bp4d",
        rows=tuple(
            Row(name, title, average, settings=_only(*modules), inferred=inferred)
            for name, title, average, modules, inferred in _TABLE3
        ),
    ),
    Table(
        name="4",
        title="Dynamics of single scales and ways to fuse them (ResNet-50 and AFE, BP4D)",
        dataset="bp4d",
        rows=tuple(
            Row(
                name,
                title,
                average,
                settings=settings(
                    **({"mfd": True, "afe": True, "aux": False, "crm": False, "tcn": False} | changes)
                ),
                inferred=inferred,
            )
            for name, title, average, changes, inferred in _TABLE4
        ),
    ),
    Table(
        name="5",
        title="Edges of the graph of AUs (ResNet-50, BP4D)",
        dataset="bp4d",
        rows=tuple(
            Row(
                name,
                title,
                average,
                settings=settings(
                    **({"mfd": False, "afe": True, "aux": True, "crm": True, "tcn": False} | changes)
                ),
                inferred=_WITHOUT_MFD,
            )
            for name, title, average, changes in _TABLE5
        ),
    ),
)

TABLES: Mapping[str, Table] = types.MappingProxyType({table.name: table for table in _ALL})
"""The paper's tables by number."""
