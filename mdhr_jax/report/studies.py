"""Which of the runs found may stand in one table: a study is runs that differ in nothing but the rows.

Rows of a table differ in the switches of the model; runs of a row in fold, seed and protocol. In everything
else all runs of a study agree: data set and its very bytes, recipe, image size, backbone weights, version of
this project. What differs there is another study, with tables of its own.
"""

import dataclasses
import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from ml_collections import ConfigDict

from mdhr_jax import config as config_lib
from mdhr_jax import facs
from mdhr_jax.paper import SWITCHES
from mdhr_jax.report.collect import Found
from mdhr_jax.tables import plan, rows
from mdhr_jax.training import protocols

_SYNTHETIC = "synthetic_"
_PRETRAINED = "model.pretrained"
_SHARE = "eval.validation_share"

# In these keys runs of one study may differ; where weights come from is looked at apart.
_OF_RUNS = (
    *(f"model.{name}" for name in SWITCHES),
    "model.init_from",
    "fold",
    "seed",
    "eval.protocol",
    _SHARE,
)

_DATA, _VERSION = "data fingerprint", "version of mdhr_jax"
_OPEN = (_DATA, _VERSION, _PRETRAINED)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a run belongs in the tables.

    Attributes:
        model: name of its model, see `rows.model_name`.
        scale: ``full`` or ``laptop``, see ``configs/tables.py``.
        arm: its protocol, and how much an honest one keeps out of training where that is unusual.
        fold, seed: of the run.
        rows: table and name of each row that it is.
        recipe: what it must share with others of its study, by dotted key; None where that is not known.
        departures: in what the recipe is not that of ``configs/tables.py``.
    """

    model: str
    scale: str
    arm: str
    fold: int
    seed: int
    rows: tuple[tuple[str, str], ...]
    recipe: Mapping[str, Any]
    departures: tuple[str, ...]


@dataclasses.dataclass
class Study:
    """Runs that may be compared.

    Attributes:
        number: counted from 1.
        dataset: entry of the AU table.
        scale: see `Place`.
        recipe: what all its runs share; None where none of them knows.
        departures: in what the recipe is not that of ``configs/tables.py``.
        places: of every run, finished or not, by id.
        used: the finished runs whose numbers count: by protocol, model, and seed and fold.
        asked: seeds of any run, by protocol.
    """

    number: int
    dataset: str
    scale: str
    recipe: dict[str, Any]
    departures: tuple[str, ...]
    places: dict[str, Place] = dataclasses.field(default_factory=dict)
    used: dict[str, dict[str, dict[tuple[int, int], Found]]] = dataclasses.field(default_factory=dict)
    asked: dict[str, set[int]] = dataclasses.field(default_factory=lambda: defaultdict(set))

    @property
    def au_set(self) -> facs.AUSet:
        """The data set."""
        return facs.get(self.dataset)

    @property
    def synthetic(self) -> bool:
        """Whether its faces are drawn."""
        return self.dataset.startswith(_SYNTHETIC)

    @property
    def family(self) -> str:
        """The licensed data set that its tables are about, or that its drawn faces stand for."""
        return self.dataset.removeprefix(_SYNTHETIC)

    @property
    def title(self) -> str:
        """Such as ``BP4D, full scale``."""
        return f"{self.au_set.title}, {self.scale} scale"

    @property
    def ingredients(self) -> tuple[tuple[str, str], ...]:
        """What its runs share that no departure tells: data, version and weights, as name and text."""
        shown = {key: "not known" if self.recipe[key] is None else str(self.recipe[key]) for key in _OPEN}
        # The beginning tells; report.json has all of it.
        return tuple((shown | {_DATA: shown[_DATA][:12]}).items())

    def unlike(self, other: "Study") -> tuple[str, ...]:
        """Names of the ingredients in which another study differs, of which both know."""
        return tuple(
            key
            for key in _OPEN
            if self.recipe[key] != other.recipe[key] and None not in (self.recipe[key], other.recipe[key])
        )

    @property
    def arms(self) -> tuple[str, ...]:
        """Protocols that it has runs of, the paper's first."""
        return tuple(sorted(self.asked, key=lambda arm: (not arm.startswith(protocols.PAPER), arm)))


@dataclasses.dataclass(frozen=True)
class Sorted:
    """All runs, sorted.

    Attributes:
        studies: in the order of their data sets and scales.
        reasons: of every directory that no table uses, why not, by id.
    """

    studies: tuple[Study, ...]
    reasons: Mapping[str, str]


def sort(found: Sequence[Found]) -> Sorted:
    """Sorts runs into studies, and says of the others why they are in none.

    Two finished runs of the same model, protocol, fold and seed: where one is a copy of the other, to the
    byte, the first is used; otherwise none of them, because nothing says which one is meant.

    Raises:
        FileNotFoundError: ``configs/tables.py`` is not here.
    """
    templates = _templates(plan.config_file())
    reasons: dict[str, str] = {}
    placed = []
    for run in found:
        if run.config is None or run.kind in ("foreign", "not a run"):
            reasons[run.id] = run.detail
            continue
        place = _place(run, templates)
        if place is None:
            dataset = str(run.config["dataset"]).lower()
            texts = (run.detail, f"{rows.model_name(run.config)} on {dataset} is in no table's row")
            reasons[run.id] = "; ".join(filter(None, texts))
        else:
            placed.append((run, place))
            if run.outcome is None:
                reasons[run.id] = run.detail
    studies: list[Study] = []
    # What knows most about itself comes first; what knows less can then be added to it.
    for run, place in sorted(placed, key=lambda pair: _unknown(pair[1].recipe)):
        fitting = [
            study for study in studies if study.scale == place.scale and _fits(study.recipe, place.recipe)
        ]
        fitting = [study for study in fitting if study.recipe == place.recipe] or fitting
        if len(fitting) > 1 and run.outcome is None:
            reasons[run.id] += "; it may belong to several studies"
            continue
        if len(fitting) != 1:
            dataset = str(place.recipe["dataset"])
            fitting = [Study(0, dataset, place.scale, dict(place.recipe), place.departures)]
            studies += fitting
        study = fitting[0]
        study.recipe |= {key: place.recipe[key] for key in _OPEN if study.recipe[key] is None}
        study.places[run.id] = place
        study.asked[place.arm].add(place.seed)
    studies.sort(
        key=lambda study: (study.synthetic, study.dataset, study.scale, len(study.departures), _text(study))
    )
    for number, study in enumerate(studies, 1):
        study.number = number
        reasons |= _choose(study, found)
    return Sorted(tuple(studies), reasons)


@dataclasses.dataclass(frozen=True)
class _Template:
    """What ``configs/tables.py`` says of a model."""

    scale: str
    rows: tuple[tuple[str, str], ...]
    recipe: Mapping[str, Any]


@functools.cache
def _templates(file: Path) -> dict[tuple[str, str], _Template]:
    """By family of data sets and name of the model."""
    templates: dict[tuple[str, str], _Template] = {}
    for table, members in rows.ROWS.items():
        for row in members:
            for scale in ("full", "laptop"):
                argument = f"table={table},row={row.name},scale={scale}"
                argument += ",init_from=RUN" if row.finetuned else ""
                try:
                    config = plan.load_config(file, argument)
                except ValueError:  # Not every row has a laptop scale.
                    continue
                key = (rows.dataset_of(table), rows.model_name(config))
                known = templates.get(key)
                templates[key] = _Template(
                    scale, (*(known.rows if known else ()), (table, row.name)), _recipe(config)
                )
    return templates


def _place(run: Found, templates: Mapping[tuple[str, str], _Template]) -> Place | None:
    config = run.config or {}
    model = rows.model_name(config)
    family = str(config["dataset"]).lower().removeprefix(_SYNTHETIC)
    template = templates.get((family, model))
    if template is None:
        return None
    recipe = _recipe(config)
    departures = tuple(
        f"{key}: {_show(recipe.get(key))} here, {_show(template.recipe.get(key))} there"
        for key in sorted(recipe.keys() | template.recipe.keys())
        if recipe.get(key) != template.recipe.get(key)
        and not (key == _PRETRAINED and _expected(recipe, template))
    )
    outcome = run.outcome
    known = {
        _DATA: None if outcome is None else outcome.fingerprint,
        _VERSION: None if outcome is None else outcome.version,
    }
    return Place(
        model=model,
        scale=template.scale,
        arm=_arm(config),
        fold=config["fold"],
        seed=config["seed"],
        rows=template.rows,
        recipe=recipe | known,
        departures=departures,
    )


def _recipe(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """What runs of a study share of their configurations.

    Backbone weights are named by their path, with the backbone's name in it left open. A model that starts
    from another whole one has none of its own: None, which fits any.
    """
    leaves = config_lib.identity(config)
    recipe = {key: value for key, value in leaves.items() if key not in _OF_RUNS}
    if leaves["model.init_from"]:
        recipe[_PRETRAINED] = None
    elif leaves[_PRETRAINED] != config_lib.SCRATCH:
        path, backbone = PurePath(leaves[_PRETRAINED]), str(leaves["model.backbone"])
        recipe[_PRETRAINED] = (
            str(path.with_name(path.name.replace(backbone, "{backbone}"))) if path.name else ""
        )
    return recipe


def _expected(recipe: Mapping[str, Any], template: _Template) -> bool:
    """Whether weights are what the configuration asks for: it names none, or leaves the path open."""
    found, wanted = recipe[_PRETRAINED], template.recipe[_PRETRAINED]
    return found is None or (wanted == "" and found not in ("", config_lib.SCRATCH))


def _arm(config: Mapping[str, Any]) -> str:
    leaves = config_lib.identity(config)
    protocol = leaves.get("eval.protocol", protocols.PAPER)
    usual = config_lib.flatten(config_lib.base())[_SHARE]
    share = leaves.get(_SHARE, usual)
    return protocol if protocol == protocols.PAPER or share == usual else f"{protocol}, share {share:g}"


def _unknown(recipe: Mapping[str, Any]) -> int:
    return sum(recipe[key] is None for key in _OPEN)


def _fits(recipe: dict[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two recipes can be one; what is not known does not tell."""
    return recipe.keys() == other.keys() and all(
        recipe[key] == other[key] or (key in _OPEN and (recipe[key] is None or other[key] is None))
        for key in recipe
    )


def _choose(study: Study, found: Iterable[Found]) -> dict[str, str]:
    """Fills `Study.used`; returns why others of the study are not used."""
    reasons = {}
    same: dict[tuple[str, str, int, int], list[Found]] = defaultdict(list)
    for run in found:
        if (place := study.places.get(run.id)) is not None:
            same[place.arm, place.model, place.seed, place.fold].append(run)
    for (arm, model, seed, fold), runs in same.items():
        outcomes = [(run, run.outcome) for run in runs if run.outcome is not None]
        contents = {(o.result["config_hash"], o.result["step"], o.predictions_sha256) for _, o in outcomes}
        if len(contents) > 1:
            names = ", ".join(run.id for run, _ in outcomes)
            for run, _ in outcomes:
                reasons[run.id] = (
                    f"{names} are different results of the same row, fold and seed: none is used"
                )
        elif outcomes:
            first = outcomes[0][0]
            study.used.setdefault(arm, {}).setdefault(model, {})[seed, fold] = first
            for run in runs:
                if run.outcome is not None and run is not first:
                    reasons[run.id] = f"a copy of {first.id}, which is used"
                elif run is not first:
                    reasons[run.id] = f"{run.detail}; {first.id} is the same run, finished, and is used"
    return reasons


def _show(value: Any) -> str:
    return "(nothing)" if value is None else json.dumps(value)


def _text(study: Study) -> str:
    return json.dumps(study.recipe, sort_keys=True)
