"""Runs of one kind against runs of another: ``python -m mdhr_jax.report.pairs A... --against B...``.

The first of A is compared with the first of B, and so on: finished runs that were tested on the same subjects
and labels. Pairs may differ in seed, fold and data. Printed are the difference of each pair and the mean over
pairs, with a 95 % interval by bootstrap over subjects and, from two pairs on, one by Student's t over the
pairs: the first says what other subjects would change, the second also what other seeds and data would.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from mdhr_jax import commands
from mdhr_jax.report import bootstrap, measures
from mdhr_jax.report.evidence import Interval, Number
from mdhr_jax.report.measures import F1, MEASURES, SubjectCounts
from mdhr_jax.report.numbers import difference, percent
from mdhr_jax.training import predictions, workdir

COMPARED = (F1, next(measure for measure in MEASURES if measure.key == "f1_changing"))
"""Overall, and over the windows in which an AU changes."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a finished run predicted.

    Attributes:
        directory: as it was named.
        meta: of its predictions.
        counts: of every subject.
    """

    directory: Path
    meta: Mapping[str, Any]
    counts: SubjectCounts

    @property
    def tested_on(self) -> tuple[Any, ...]:
        """What both runs of a pair must share: AUs, subjects, and how often each AU is present in each."""
        labels = measures.always_present(self.counts.overall).tobytes()
        return tuple(self.meta["au_names"]), self.counts.subjects, labels


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A measure of one kind of run minus that of the other; shares.

    Attributes:
        one, other: mean over the AUs, of each pair.
        pairs: the differences, each with its interval over subjects.
        mean: over pairs, with its interval over subjects.
        over_pairs: interval of the mean by Student's t over the pairs; None with a single one.
        of_aus: mean difference of each AU over the pairs; NaN where it is not defined in all of them.
    """

    one: tuple[float, ...]
    other: tuple[float, ...]
    pairs: tuple[Number, ...]
    mean: Number
    over_pairs: Interval | None
    of_aus: Float[np.ndarray, " N"]


def read(directory: Path) -> Run:
    """Reads the predictions of a finished run.

    Raises:
        FileNotFoundError: there are none.
        ValueError: they are damaged.
    """
    found = predictions.read(directory)
    return Run(directory, found.meta, measures.count(found))


def compare(
    ones: Sequence[Run], others: Sequence[Run], *, resamples: int = 10_000, seed: int = 0
) -> dict[str, Comparison]:
    """Compares runs pair by pair.

    Pairs that are tested on the same subjects see the same draws of them; others are drawn on their own.

    Args:
        ones, others: as many of both; the i-th of each are a pair.
        resamples: of the bootstrap.
        seed: of what it draws.

    Returns:
        By the measure's key, each of `COMPARED`.

    Raises:
        ValueError: the runs are not pairs; the message says why.
    """
    if len(ones) != len(others):
        raise ValueError(f"{len(ones)} runs against {len(others)}: as many are needed of both, pair by pair")
    if resamples < 1:
        raise ValueError(f"{resamples} resamples: at least 1 is needed")
    _check_pairs(ones, others)
    tests = list(dict.fromkeys(run.tested_on for run in ones))
    values: dict[str, list[np.ndarray]] = {measure.key: [] for measure in COMPARED}
    resampled: dict[str, list[np.ndarray]] = {measure.key: [] for measure in COMPARED}
    for pair in zip(ones, others, strict=True):
        times = bootstrap.draw(
            len(pair[0].counts.subjects),
            resamples,
            seed=seed,
            fold=1 + tests.index(pair[0].tested_on),
        )
        again = [bootstrap.resample(run.counts, COMPARED, times) for run in pair]
        for measure in COMPARED:
            if measure.of_counts is None:
                raise ValueError(f"{measure.key} is not made from counts")
            of_runs = [measure.of_counts(measures.chosen_counts(run.counts, measure).sum(0)) for run in pair]
            values[measure.key].append(np.stack(of_runs))
            means = [measures.mean_over_aus(measure, of_run[measure.key]) for of_run in again]
            resampled[measure.key].append(means[0] - means[1])
    return {
        measure.key: _comparison(
            measures.mean_over_aus(measure, np.stack(values[measure.key])),
            np.stack(values[measure.key]),
            np.stack(resampled[measure.key]),
            [(str(one.directory), str(other.directory)) for one, other in zip(ones, others, strict=True)],
            zero=measure.undefined == "zero",
        )
        for measure in COMPARED
    }


def _check_pairs(ones: Sequence[Run], others: Sequence[Run]) -> None:
    for one, other in zip(ones, others, strict=True):
        if one.meta["protocol"] != other.meta["protocol"]:
            raise ValueError(
                f"{one.directory} is of the protocol {one.meta['protocol']!r}, {other.directory} of "
                f"{other.meta['protocol']!r}; protocols are never compared"
            )
        if one.tested_on != other.tested_on:
            raise ValueError(
                f"{one.directory} and {other.directory} were not tested on the same subjects and labels "
                f"({len(one.counts.subjects)} and {len(other.counts.subjects)} subjects); the i-th run of "
                "both lists must be a pair: same data, same fold"
            )
    if len({tuple(run.meta["au_names"]) for run in ones}) > 1:
        raise ValueError("the pairs are of different AUs, whose mean says nothing; compare them on their own")


def _comparison(
    of_runs: Float[np.ndarray, "P 2"],
    of_aus: Float[np.ndarray, "P 2 N"],
    resampled: Float[np.ndarray, "P B"],
    names: Sequence[tuple[str, str]],
    *,
    zero: bool,
) -> Comparison:
    differences = of_runs[:, 0] - of_runs[:, 1]
    by_au = np.nan_to_num(of_aus) if zero else of_aus
    over_pairs = None
    if len(differences) > 1 and np.isfinite(differences).all():
        half = stats.t.ppf((1 + bootstrap.LEVEL) / 2, len(differences) - 1) * stats.sem(differences)
        over_pairs = float(differences.mean() - half), float(differences.mean() + half)
    return Comparison(
        tuple(of_runs[:, 0].tolist()),
        tuple(of_runs[:, 1].tolist()),
        tuple(
            Number(_plain(value), bootstrap.interval(row), pair)
            for value, row, pair in zip(differences, resampled, names, strict=True)
        ),
        Number(_plain(differences.mean()), bootstrap.interval(resampled.mean(0)), tuple(sum(names, ()))),
        over_pairs,
        (by_au[:, 0] - by_au[:, 1]).mean(0),
    )


_TITLES = {"f1": "mean F1", "f1_changing": "mean F1 of windows in which the AU changes"}


def as_text(found: Mapping[str, Comparison], au_names: Sequence[str]) -> str:
    """A Markdown table for each measure, in percent, with what the pairs say together below it."""
    lines = []
    for key, comparison in found.items():
        lines += [f"{_TITLES[key]}, percent", "", "| run | against | F1 | its F1 | difference (95 %) |"]
        lines.append("|---|---|---:|---:|---:|")
        for pair, one, other in zip(comparison.pairs, comparison.one, comparison.other, strict=True):
            names = " | ".join(f"`{name}`" for name in pair.runs)
            lines.append(
                f"| {names} | {percent(_plain(one))} | {percent(_plain(other))} | {difference(pair)} |"
            )
        by_au = "  ".join(
            f"{name} {difference(Number(_plain(value), None, ()))}"
            for name, value in zip(au_names, comparison.of_aus, strict=True)
        )
        mean = comparison.mean
        lines += ["", f"mean difference, over subjects: {difference(mean)}"]
        if comparison.over_pairs is not None:
            number = Number(mean.value, comparison.over_pairs, ())
            lines.append(f"mean difference, over pairs by t: {difference(number)}")
        lines += [f"by AU: {by_au}", ""]
    return "\n".join(lines)


def as_json(found: Mapping[str, Comparison], au_names: Sequence[str]) -> dict[str, Any]:
    """The same as shares, not rounded; what is not defined is null."""
    return {
        key: {
            "pairs": [
                {
                    "runs": list(pair.runs),
                    "values": [_plain(one), _plain(other)],
                    "difference": _plain(pair.value),
                    "interval": pair.interval,
                }
                for pair, one, other in zip(comparison.pairs, comparison.one, comparison.other, strict=True)
            ],
            "mean_difference": _plain(comparison.mean.value),
            "interval_over_subjects": comparison.mean.interval,
            "interval_over_pairs": comparison.over_pairs,
            "by_au": {
                name: _plain(value) for name, value in zip(au_names, comparison.of_aus.tolist(), strict=True)
            },
        }
        for key, comparison in found.items()
    }


def _plain(value: float | np.floating | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.report.pairs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("runs", type=Path, nargs="+", metavar="A", help="directories of finished runs")
    add("--against", type=Path, nargs="+", required=True, metavar="B", help="as many, in the same order")
    add("--json", type=Path, metavar="FILE", help="also write the numbers there, not rounded")
    add("--resamples", type=int, default=10_000, metavar="N", help="of the bootstrap (10000)")
    add("--seed", type=int, default=0, metavar="N", help="of what the bootstrap draws (0)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 2 after a mistake, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)

    def run() -> None:
        ones, others = ([read(path) for path in paths] for paths in (arguments.runs, arguments.against))
        found = compare(ones, others, resamples=arguments.resamples, seed=arguments.seed)
        au_names = ones[0].meta["au_names"]
        if arguments.json is not None:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            workdir.write_json(arguments.json, as_json(found, au_names))
        print(as_text(found, au_names), end="")

    return commands.finish(run)


if __name__ == "__main__":
    sys.exit(main())
