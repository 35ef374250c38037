"""Fits the constants of `label_model`: ``python -m mdhr_jax.data.synthetic.fit_labels --help``.

Each AU's loadings minimise the squared error of the logarithms of its run-length quantiles (10, 50, 90 %)
and of the rates of the least, median and most active subject, measured on simulated videos of the published
length. What the aggregates leave open is drawn towards loadings common to all AUs. The correlation of the
AUs' activity is the tetrachoric one that gives the published P(i|j), divided by the overlap of two AUs'
loadings, and then the nearest correlation matrix (alternating projections, Higham 2002).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy import optimize
from scipy.special import ndtr, ndtri

from mdhr_jax.data.synthetic import latent
from mdhr_jax.data.synthetic.published import PUBLISHED, QUANTILES, PublishedLabels
from mdhr_jax.progress import Progress

SCALES = {"bp4d": (2.0, 5.0, 12.0, 30.0, 80.0, 200.0), "disfa": (2.0, 5.0, 12.0, 30.0, 80.0, 240.0, 720.0)}
"""Time scales, frames, by data set: from the fastest movement of a face to half a video."""

BURST = {"bp4d": (2.2, 6.0), "disfa": (2.2, 6.0)}
"""Spread and time scale of the clock, by data set: the best of a few tried for the share of windows with a
change and for how often AUs start and stop together; both fell short with a steadier clock."""

_CASTS = {"bp4d": 4, "disfa": 8}  # simulated videos as multiples of the published number
_EVALUATIONS = 300


def _levels(like: str) -> Float[np.ndarray, "C V F"]:
    published = PUBLISHED[like]
    rng = np.random.Generator(np.random.PCG64(0))
    subjects, frames = published.subjects * _CASTS[like], published.frames_per_video
    videos = subjects * published.videos_per_subject
    levels = np.empty((len(SCALES[like]) + 2, videos, frames), np.float32)
    for level, count in enumerate((subjects, videos)):
        # Standardised, so that the loadings do not fit the luck of these draws.
        draws = rng.standard_normal(count)
        draws = (draws - draws.mean()) / draws.std()
        levels[level] = np.repeat(draws, videos // count)[:, None]
    clock = latent.bursty_clock(frames, videos, *BURST[like], rng)
    for level, scale in enumerate(SCALES[like], start=2):
        shifted = clock + scale * rng.uniform(size=videos)
        knots = rng.standard_normal((latent.knot_count(shifted, scale), videos, 1))
        levels[level] = latent.smooth_noise(knots, shifted, scale)[..., 0].T
    return levels


def _weights(logits: Float[np.ndarray, " P"], published: PublishedLabels) -> Float[np.ndarray, " C"]:
    """Squared loadings: a softmax; one video a subject cannot tell video from subject."""
    values = np.append(logits, 0.0)
    if published.videos_per_subject == 1:
        values[1] = -np.inf
    values = np.exp(values - values.max())
    return values / values.sum()


def _shortest(published: PublishedLabels, column: int) -> int:
    # Published presences have a sharp lower end: the 5 % quantile is four fifths of the 10 % one.
    return int(np.clip(np.floor(0.75 * published.run_quantiles[column][0] + 0.5), 3, 8))


def _misfit(
    logits: Float[np.ndarray, " P"],
    levels: Float[np.ndarray, "C V F"],
    published: PublishedLabels,
    column: int,
    prior: Float[np.ndarray, " P"],
    strength: float,
) -> float:
    loadings = np.sqrt(_weights(logits, published)).astype(np.float32)
    activity = np.tensordot(loadings, levels, 1)
    rank = int(activity.size * (1.0 - published.rates[column]))
    present = activity > np.partition(activity.ravel(), rank)[rank]
    _, start, stop = latent.tidy(present, _shortest(published, column))
    runs = np.quantile(stop - start, QUANTILES)
    ends = 0.5 / published.subjects
    by_subject = present.reshape(-1, published.videos_per_subject * present.shape[1]).mean(1)
    spread = np.quantile(by_subject, (ends, 0.5, 1.0 - ends))
    of_runs = np.sum(np.log(runs / np.asarray(published.run_quantiles[column])) ** 2)
    of_subjects = np.sum((spread - np.asarray(published.subject_rates[column])) ** 2)
    away = np.sum((logits - prior) ** 2)
    return float(40.0 * of_runs + 40.0 * of_subjects + strength * away)


def fit_loadings(like: str, progress: Progress | None = None) -> Float[np.ndarray, "C N"]:
    """Loadings of every level and AU; see `latent.LabelModel`.

    Args:
        like: ``bp4d`` or ``disfa``.
        progress: told of every AU done, twice.
    """
    published, levels = PUBLISHED[like], _levels(like)
    count = len(levels) - 1
    start = np.zeros(count)
    start[2:5] = -3.0, -2.0, -1.0
    prior, strength = start, 1e-3
    fitted = np.empty((0, 0))
    for _ in range(2):
        found = []
        for column in range(len(published.aus)):
            result = optimize.minimize(
                _misfit,
                prior,
                args=(levels, published, column, prior, strength),
                method="Nelder-Mead",
                options={
                    "maxfev": _EVALUATIONS,
                    "adaptive": True,
                    "initial_simplex": prior + np.vstack([np.zeros(count), np.eye(count)]),
                },
            )
            found.append(result.x)
            if progress is not None:
                progress.update()
        fitted = np.asarray(found)
        # A second time, towards what is common to the AUs: loadings that overlap let them correlate.
        prior, strength = fitted.mean(0), 0.02
    return np.sqrt([_weights(logits, published) for logits in fitted]).T


def joint_probability(first: float, second: float, correlation: float) -> float:
    """Chance that two standard normals of the given correlation exceed `first` and `second`."""
    nodes, weights = np.polynomial.legendre.leggauss(80)
    half = 0.5 * (9.0 - first)
    x = first + half * (nodes + 1.0)
    density = np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
    above = ndtr((correlation * x - second) / np.sqrt(1.0 - correlation * correlation))
    return float(half * np.sum(weights * density * above))


def tetrachoric(published: PublishedLabels) -> Float[np.ndarray, "N N"]:
    """Correlations of activities whose thresholding gives the published rates and P(i|j)."""
    rates, conditional = np.asarray(published.rates), published.conditional_matrix()
    thresholds = -ndtri(rates)
    joint = 0.5 * (conditional * rates + (conditional * rates).T)
    result = np.eye(len(rates))
    for i in range(len(rates)):
        for j in range(i):
            found = optimize.root_scalar(
                lambda r, i=i, j=j: joint_probability(thresholds[i], thresholds[j], r) - joint[i, j],
                bracket=(-0.995, 0.995),
            )
            result[i, j] = result[j, i] = found.root
    return result


def nearest_correlation(matrix: Float[np.ndarray, "N N"], least: float = 0.01) -> Float[np.ndarray, "N N"]:
    """Nearest matrix of unit diagonal and eigenvalues of at least about `least` (Higham 2002)."""
    correction, result = np.zeros_like(matrix), matrix
    for _ in range(300):
        values, vectors = np.linalg.eigh(result - correction)
        projected = (vectors * np.maximum(values, least)) @ vectors.T
        correction = projected - (result - correction)
        result = projected.copy()
        np.fill_diagonal(result, 1.0)
    values, vectors = np.linalg.eigh(result)
    result = (vectors * np.maximum(values, least)) @ vectors.T
    scale = np.sqrt(np.diag(result))
    return result / np.outer(scale, scale)


def fit(like: str, progress: Progress | None = None) -> latent.LabelModel:
    """All constants of one data set."""
    published = PUBLISHED[like]
    loadings = fit_loadings(like, progress)
    correlation = nearest_correlation(tetrachoric(published) / (loadings.T @ loadings))
    return latent.LabelModel(
        scales=SCALES[like],
        burst=BURST[like],
        loadings=_rounded(loadings),
        mix=_rounded(np.linalg.cholesky(correlation)),
        shortest=tuple(_shortest(published, column) for column in range(len(published.aus))),
    )


def _rounded(matrix: Float[np.ndarray, "R C"]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(value), 3) + 0.0 for value in row) for row in matrix)


def source_of(like: str, model: latent.LabelModel) -> str:
    """The entry of `label_model.MODELS`, as Python."""

    def rows(name: str, matrix: tuple[tuple[float, ...], ...]) -> str:
        lines = "".join(f"            ({', '.join(map(str, row))}),\n" for row in matrix)
        return f"        {name}=(\n{lines}        ),\n"

    return (
        f'    "{like}": LabelModel(\n        scales=({", ".join(map(str, model.scales))}),\n'
        f"        burst={model.burst},\n"
        f"{rows('loadings', model.loadings)}{rows('mix', model.mix)}"
        f"        shortest={model.shortest},\n    ),\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 0, 2 after a user's mistake, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.data.synthetic.fit_labels",
        description="Fits the model of the labels and writes its entry of label_model.py (minutes).",
    )
    parser.add_argument("--like", choices=tuple(PUBLISHED), required=True, help="which data set")
    parser.add_argument("--out", type=Path, help="file that receives the entry; standard output by default")
    arguments = parser.parse_args(argv)
    try:
        total = 2 * len(PUBLISHED[arguments.like].aus)
        with Progress(total, unit="AUs", label=f"fitting {arguments.like}") as progress:
            text = source_of(arguments.like, fit(arguments.like, progress))
        if arguments.out is None:
            print(text, end="")
        else:
            arguments.out.write_text(text)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
