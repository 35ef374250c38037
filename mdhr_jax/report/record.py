"""The report for programs: ``report.json``, strict JSON with every number and where it comes from.

Numbers are in percent and not rounded; null is undefined. `FORMAT` changes with the meaning of a key.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mdhr_jax.paper import Row
from mdhr_jax.report.bootstrap import LEVEL
from mdhr_jax.report.collect import Found
from mdhr_jax.report.evidence import Entry, Number
from mdhr_jax.report.measures import MEASURES
from mdhr_jax.report.orderings import Comparison
from mdhr_jax.report.results import Results, StudyResult, TableResult

FORMAT = 2


def content(results: Results) -> dict[str, Any]:
    """The content of the file."""
    settings = results.settings
    used = {
        run.id
        for result in results.studies
        for models in result.study.used.values()
        for runs in models.values()
        for run in runs.values()
    }
    return {
        "format": FORMAT,
        "unit": "percent",
        "folds": list(settings.folds),
        "bootstrap": {
            "level": LEVEL,
            "resamples": settings.resamples,
            "seed": settings.seed,
            "over": "subjects of each fold",
        },
        "measures": {m.key: {"title": m.title, "undefined_in_means": m.undefined} for m in MEASURES},
        "without_runs": list(results.without_runs),
        "studies": [_study(result) for result in results.studies],
        "runs": [_run(run, run.id in used, results.reasons.get(run.id, "")) for run in results.found],
    }


def _study(result: StudyResult) -> dict[str, Any]:
    study = result.study
    return {
        "number": study.number,
        "title": study.title,
        "dataset": study.dataset,
        "synthetic": study.synthetic,
        "scale": study.scale,
        "recipe": study.recipe,
        "departures": list(study.departures),
        "protocols": list(study.arms),
        "always_present": (
            None
            if result.baseline is None
            else {
                "f1_mean": _number(result.baseline[0]),
                "f1": _named(study.au_set.au_names, result.baseline[1]),
            }
        ),
        "models": {
            arm: {
                model: _entry(entry, study.au_set.au_names)
                for (of_arm, model), entry in result.entries.items()
                if of_arm == arm
            }
            for arm in study.arms
        },
        "tables": [_table(table) for table in result.tables],
    }


def _entry(entry: Entry, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "seeds": list(entry.seeds),
        "gaps": list(entry.gaps),
        "means": {key: _number(number) for key, number in entry.means.items()},
        "per_au": {key: _named(names, of_aus) for key, of_aus in entry.of_aus.items()},
        "undefined": {
            key: {names[n]: where for n, where in of_aus.items()}
            for key, of_aus in entry.undefined.items()
            if of_aus
        },
        "runs": [
            {
                "run": run.id,
                "seed": seed,
                "fold": fold,
                "means": {key: _number(of_runs[seed, fold]) for key, of_runs in entry.by_run.items()},
                "per_au": _values(run, names),
            }
            for (seed, fold), run in sorted(entry.runs.items())
        ],
    }


def _values(run: Found, names: tuple[str, ...]) -> dict[str, dict[str, float | None]]:
    values = {} if run.outcome is None else run.outcome.values
    return {
        key: {
            name: _percent(None if np.isnan(v) else float(v)) for name, v in zip(names, of_aus, strict=True)
        }
        for key, of_aus in values.items()
    }


def _table(table: TableResult) -> dict[str, Any]:
    return {
        "table": table.name,
        "title": table.title,
        "printed": [_printed(row) for row in table.printed],
        "rows": [
            {
                **_printed(row),
                "inferred": row.inferred,
                "results": {
                    arm: {
                        "model": of_rows[row.name].model if row.name in of_rows else None,
                        "minus_paper": _number(table.minus_paper(arm, row)),
                    }
                    for arm, of_rows in table.entries.items()
                },
            }
            for row in table.rows
        ],
        "comparisons": [_comparison(found) for found in table.comparisons],
    }


def _printed(row: Row) -> dict[str, Any]:
    return {"name": row.name, "title": row.title, "paper": row.average, "paper_per_au": list(row.per_au)}


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "row": found.row.name,
        "reference": found.reference.name,
        "step": found.is_step,
        "paper": found.paper,
        "results": {
            arm: {
                "difference": _number(difference.number),
                "seeds": list(difference.seeds),
                "excludes_zero": difference.excludes_zero,
                "order": found.verdict(arm) or None,
                "reason": difference.reason,
            }
            for arm, difference in found.differences.items()
        },
    }


def _run(run: Found, used: bool, reason: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": run.id,
        "directory": run.path,
        "state": run.kind,
        "used": used,
        "reason": reason,
        "config_hash": run.config_hash,
        "config": run.config,
        "result": None,
    }
    if run.outcome is not None:
        result = run.outcome.result
        described["result"] = {
            "dataset": result["dataset"],
            "fold": result["fold"],
            "seed": result["seed"],
            "protocol": result["protocol"],
            "selection": result["selection"],
            "thresholds": result["thresholds"],
            "validation_subjects": result["validation_subjects"],
            "step": result["step"],
            "checkpoint": run.outcome.checkpoint,
            "version": run.outcome.version,
            "commit": run.outcome.commit,
            "data_fingerprint": run.outcome.fingerprint,
            "predictions_sha256": run.outcome.predictions_sha256,
            "subjects": list(run.outcome.counts.subjects),
        }
    return described


def _named(names: tuple[str, ...], of_aus: tuple[Number, ...]) -> dict[str, Mapping[str, Any] | None]:
    return {name: _number(number) for name, number in zip(names, of_aus, strict=True)}


def _number(number: Number | None) -> dict[str, Any] | None:
    if number is None:
        return None
    return {
        "value": _percent(number.value),
        "interval": None if number.interval is None else [_percent(end) for end in number.interval],
        "runs": list(number.runs),
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
