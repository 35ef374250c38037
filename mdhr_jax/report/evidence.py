"""What a row of a table has to show: its numbers over folds and seeds, with intervals, and what is missing.

A number of the tables is made in this order: a measure of each AU from all frames of a fold's test part; the
mean over AUs; the mean over folds; the mean over seeds. Only seeds that have every fold take part.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int64

from mdhr_jax.progress import Progress
from mdhr_jax.report import bootstrap, measures
from mdhr_jax.report.collect import Found, Outcome
from mdhr_jax.report.measures import BASELINE, F1, MEASURES, Measure
from mdhr_jax.report.studies import Study
from mdhr_jax.tables.state import Kind

Interval = tuple[float, float]

NOT_STARTED: Kind = "not started"
"""Of a run that there is no directory of, as of one that has saved nothing."""

_COUNTED = tuple(measure for measure in MEASURES if measure.of_counts is not None)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How numbers are made.

    Attributes:
        folds: over which the means of the tables are taken.
        resamples: of a bootstrap.
        seed: of what it draws.
    """

    folds: tuple[int, ...] = (1, 2, 3)
    resamples: int = 10_000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Number:
    """A number with what it rests on.

    Attributes:
        value: a share; None where it is not defined.
        interval: 95 % over subjects; None where there is none.
        runs: ids of the runs that it was made from.
    """

    value: float | None
    interval: Interval | None = None
    runs: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model under one protocol: what a row shows.

    Attributes:
        arm: the protocol.
        model: see `rows.model_name`.
        seeds: those with every fold; the means are over these.
        gaps: what is missing, in words; empty where nothing is.
        means: by measure, over AUs, folds and seeds; empty without a complete seed.
        of_aus: by measure, the numbers of each AU over folds and seeds.
        undefined: by measure, in which folds and seeds an AU is undefined though it is not in all: AU's
            position to text.
        by_run: mean over AUs of single runs, by measure, then by seed and fold; of F1 with an interval.
        resampled: mean F1 over AUs of each run on every resample, by seed and fold.
    """

    arm: str
    model: str
    seeds: tuple[int, ...]
    gaps: tuple[str, ...]
    runs: Mapping[tuple[int, int], Found]
    means: Mapping[str, Number]
    of_aus: Mapping[str, tuple[Number, ...]]
    undefined: Mapping[str, Mapping[int, str]]
    by_run: Mapping[str, Mapping[tuple[int, int], Number]]
    resampled: Mapping[tuple[int, int], Float[np.ndarray, " B"]]


class Draws:
    """Which subjects are drawn, the same for all runs of a fold with as many subjects.

    Args:
        settings: how often to draw, and from which seed.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._drawn: dict[tuple[int, int], Int64[np.ndarray, "B S"]] = {}

    def __call__(self, fold: int, subjects: int) -> Int64[np.ndarray, "B S"] | None:
        """See `bootstrap.draw`; None where there are too few subjects for an interval."""
        if subjects < bootstrap.FEWEST_SUBJECTS:
            return None
        key = (fold, subjects)
        if key not in self._drawn:
            self._drawn[key] = bootstrap.draw(
                subjects, self._settings.resamples, seed=self._settings.seed, fold=fold
            )
        return self._drawn[key]


def gather(
    studies: Sequence[Study], found: Sequence[Found], settings: Settings
) -> list[dict[tuple[str, str], Entry]]:
    """The entries of each study, by protocol and model; one for each model that any run is of.

    Args:
        studies: of these runs.
        found: all runs.
        settings: how numbers are made.
    """
    draws = Draws(settings)
    total = sum(len({(p.arm, p.model) for p in study.places.values()}) for study in studies)
    entries = []
    with Progress(total, unit="rows", label="drawing subjects") as progress:
        for study in studies:
            of_study = {}
            for arm, model in sorted({(place.arm, place.model) for place in study.places.values()}):
                of_study[arm, model] = _entry(study, arm, model, found, settings, draws)
                progress.update()
            entries.append(of_study)
    return entries


def _entry(
    study: Study, arm: str, model: str, found: Sequence[Found], settings: Settings, draws: Draws
) -> Entry:
    runs = study.used.get(arm, {}).get(model, {})
    seeds = complete_seeds(runs, settings.folds)
    tested = {key: _Tested.of(run, key[1], draws) for key, run in sorted(runs.items()) if run.outcome}
    complete = [[tested[seed, fold] for fold in settings.folds] for seed in seeds]
    return Entry(
        arm=arm,
        model=model,
        seeds=seeds,
        gaps=_gaps(study, arm, model, found, settings.folds),
        runs=runs,
        means={measure.key: _mean(measure, complete) for measure in MEASURES} if seeds else {},
        of_aus={measure.key: _of_aus(measure, complete) for measure in MEASURES} if seeds else {},
        undefined={measure.key: _undefined(measure, seeds, settings.folds, tested) for measure in MEASURES},
        by_run={
            measure.key: {key: _mean(measure, [[one]], measure is F1) for key, one in tested.items()}
            for measure in MEASURES
        },
        resampled={key: one.resampled_mean(F1) for key, one in tested.items() if one.resampled is not None},
    )


def complete_seeds(runs: Collection[tuple[int, int]], folds: Sequence[int]) -> tuple[int, ...]:
    """Seeds of which every fold is there.

    Args:
        runs: seed and fold of each.
        folds: those wanted.
    """
    seeds = {seed for seed, _ in runs}
    return tuple(sorted(seed for seed in seeds if all((seed, fold) in runs for fold in folds)))


@dataclasses.dataclass(frozen=True)
class _Tested:
    """A run with its resamples; None where its fold has too few subjects."""

    id: str
    outcome: Outcome
    resampled: Mapping[str, Float[np.ndarray, "B N"]] | None

    @classmethod
    def of(cls, run: Found, fold: int, draws: Draws) -> "_Tested":
        if run.outcome is None:
            raise ValueError(f"{run.id} is not finished")
        times = draws(fold, len(run.outcome.counts.subjects))
        resampled = None if times is None else bootstrap.resample(run.outcome.counts, _COUNTED, times)
        return cls(run.id, run.outcome, resampled)

    def resampled_mean(self, measure: Measure) -> Float[np.ndarray, " B"]:
        if self.resampled is None:
            raise ValueError(f"{self.id} has too few subjects")
        return measures.mean_over_aus(measure, self.resampled[measure.key])


def _mean(measure: Measure, runs: Sequence[Sequence[_Tested]], with_interval: bool = True) -> Number:
    """Over AUs, then folds, then seeds; undefined ones as the measure has them."""
    value = _over_runs(
        [[measures.mean_over_aus(measure, t.outcome.values[measure.key]) for t in of] for of in runs]
    )
    drawn = None
    if with_interval and _have_resamples(measure, runs):
        drawn = bootstrap.interval(_over_runs([[t.resampled_mean(measure) for t in of] for of in runs]))
    return Number(_plain(value), drawn, _ids(runs))


def _of_aus(measure: Measure, runs: Sequence[Sequence[_Tested]]) -> tuple[Number, ...]:
    """Of each AU, over folds and seeds.

    An AU that is defined nowhere has no number; one that is undefined in some folds counts as the measure
    has it.
    """
    values = [[t.outcome.values[measure.key] for t in of] for of in runs]
    nowhere = np.asarray(np.isnan(values).all((0, 1)))
    means = np.where(nowhere, np.nan, _over_runs([[_filled(measure, v) for v in of] for of in values]))
    drawn = None
    if _have_resamples(measure, runs):
        drawn = _over_runs([[_filled(measure, (t.resampled or {})[measure.key]) for t in of] for of in runs])
    return tuple(
        Number(
            _plain(means[n]),
            None if drawn is None or nowhere[n] else bootstrap.interval(drawn[:, n]),
            _ids(runs),
        )
        for n in range(len(nowhere))
    )


def _filled(measure: Measure, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.nan_to_num(values) if measure.undefined == "zero" else values


def _over_runs(numbers: Sequence[Sequence[Float[np.ndarray, "..."]]]) -> Float[np.ndarray, "..."]:
    """The mean over seeds of the mean over folds, of what is defined."""
    of_seeds = [measures.mean_of_defined(np.stack(of_folds), 0) for of_folds in numbers]
    return measures.mean_of_defined(np.stack(of_seeds), 0)


def _have_resamples(measure: Measure, runs: Sequence[Sequence[_Tested]]) -> bool:
    return measure.of_counts is not None and all(t.resampled is not None for of in runs for t in of)


def _ids(runs: Sequence[Sequence[_Tested]]) -> tuple[str, ...]:
    return tuple(t.id for of in runs for t in of)


def _plain(value: Float[np.ndarray, ""] | np.floating) -> float | None:
    return None if np.isnan(value) else float(value)


def _undefined(
    measure: Measure,
    seeds: Sequence[int],
    folds: Sequence[int],
    tested: Mapping[tuple[int, int], _Tested],
) -> dict[int, str]:
    found: dict[int, list[str]] = {}
    keys = [(seed, fold) for seed in seeds for fold in folds]
    for seed, fold in keys:
        for n in np.flatnonzero(np.isnan(tested[seed, fold].outcome.values[measure.key])).tolist():
            found.setdefault(n, []).append(f"fold {fold}" + (f" of seed {seed}" if len(seeds) > 1 else ""))
    return {n: ", ".join(where) for n, where in found.items() if len(where) < len(keys)}


def _gaps(
    study: Study, arm: str, model: str, found: Sequence[Found], folds: Sequence[int]
) -> tuple[str, ...]:
    """What is missing of a row, one text a run."""
    used = study.used.get(arm, {}).get(model, {})
    gaps = []
    for seed in sorted(study.asked.get(arm, ())):
        for fold in folds:
            if (seed, fold) in used:
                continue
            there = [
                run
                for run in found
                if (p := study.places.get(run.id))
                and (p.arm, p.model, p.seed, p.fold) == (arm, model, seed, fold)
            ]
            # A finished run that is not used is one of several that contradict each other.
            states = [f"{'contradictory' if run.outcome else run.kind} ({run.id})" for run in there]
            gaps.append(f"fold {fold}, seed {seed}: {', '.join(states) or NOT_STARTED}")
    return tuple(gaps)


@dataclasses.dataclass(frozen=True)
class Difference:
    """One row minus another.

    Attributes:
        number: mean F1 of the one minus that of the other, as a share; None where they cannot be compared.
        seeds: complete in both.
        reason: why they cannot be compared; empty where they can.
    """

    number: Number | None
    seeds: tuple[int, ...] = ()
    reason: str = ""

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval has zero outside."""
        within = None if self.number is None else self.number.interval
        return within is not None and (within[0] > 0 or within[1] < 0)


def compare(one: Entry | None, other: Entry | None, folds: Sequence[int]) -> Difference:
    """Mean F1 of one row minus that of another of the same study and protocol, on the same subjects.

    Over the seeds that are complete in both.

    Args:
        one, other: None where no run is of the row.
        folds: over which means are taken.

    Raises:
        ValueError: they are of different protocols.
    """
    if one is None or other is None:
        return Difference(None, reason="a row without runs")
    if one.arm != other.arm:
        raise ValueError(f"{one.arm} and {other.arm} are different protocols, which are never compared")
    in_other = complete_seeds(other.runs, folds)
    seeds = tuple(seed for seed in complete_seeds(one.runs, folds) if seed in in_other)
    if not seeds:
        return Difference(None, reason="no seed is complete in both rows")
    keys = [(seed, fold) for seed in seeds for fold in folds]
    if differing := [key for key in keys if _tested_on(one.runs[key]) != _tested_on(other.runs[key])]:
        names = ", ".join(f"{one.runs[key].id} and {other.runs[key].id}" for key in differing)
        return Difference(None, seeds, f"not tested on the same subjects and labels: {names}")

    def over_runs(entry: Entry) -> Number:
        return Number(float(np.mean([entry.by_run[F1.key][key].value or 0.0 for key in keys])))

    within = None
    if all(key in one.resampled and key in other.resampled for key in keys):
        per_seed = [
            [one.resampled[seed, fold] - other.resampled[seed, fold] for fold in folds] for seed in seeds
        ]
        within = bootstrap.interval(np.mean(per_seed, axis=(0, 1)))
    value = (over_runs(one).value or 0.0) - (over_runs(other).value or 0.0)
    ids = dict.fromkeys([one.runs[key].id for key in keys] + [other.runs[key].id for key in keys])
    return Difference(Number(value, within, tuple(ids)), seeds)


def _tested_on(run: Found) -> tuple:
    """What both runs of a pair must share: subjects, and how often each AU is present and absent in each."""
    if run.outcome is None:
        raise ValueError(f"{run.id} is not finished")
    counts = run.outcome.counts
    return counts.subjects, measures.always_present(counts.overall).tobytes()


def baseline(entries: Mapping[tuple[str, str], Entry]) -> tuple[Number, tuple[Number, ...]] | None:
    """F1 of calling every AU present, of a study: the mean, and of each AU.

    It follows from the labels alone, so it is the same for all rows and seeds of a study. None where no row
    is complete.
    """
    for entry in entries.values():
        if entry.seeds:
            return entry.means[BASELINE.key], entry.of_aus[BASELINE.key]
    return None
