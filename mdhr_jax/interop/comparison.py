"""Differences between our model and the reference, stage by stage, and which of them are too large.

In float64 the limits are fixed. In float32 both sides err, so the yardstick is PyTorch float32's own
distance from PyTorch float64: ours may be `FACTOR` times as far away.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool

from mdhr_jax import facs
from mdhr_jax.interop import measurements
from mdhr_jax.interop.comparison_report import Table
from mdhr_jax.interop.measurements import LOSSES, SCORES, Measurements
from mdhr_jax.interop.torch_weights import Tensors
from mdhr_jax.training.losses import REGION_WEIGHT

FACTOR = 3.0
FLOOR = 1e-6
"""Distance from float64 that is always good enough in float32."""

SMALL_GRADIENT = 1e-6
"""Parameters whose gradient has a smaller norm are left out: it may be nothing but rounding."""

# Limits in float64, of the largest difference or of that relative to the largest value.
_SCORE_LIMIT = 1e-9
_STAGE_LIMIT = 1e-8
_LOSS_LIMIT = 1e-7
_GRADIENT_LIMIT = 1e-6
_BUFFER_LIMIT = 1e-7

_ABSENT = np.full((1, 0), np.nan)
"""Stands for an array that one side does not have; no other has its shape."""

_LOSS_NOTE = (
    "PyTorch float32: the largest of its distances in any loss so far and in the scores or region logits "
    "that the loss is the mean over, since in a mean they may cancel by chance"
)

COLUMNS = ("", "max. difference", "relative", "judged", "limit", "")
"""Column titles of a table of differences; the float32 ones have PyTorch's own before the limit."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: of what is compared.
        difference: largest absolute difference of an element.
        relative: as a share of the largest absolute value.
        judged: what must not exceed the limit: one of the two.
        limit: largest value that passes.
        own: what is judged of PyTorch float32, in float32.
        note: shown behind.
    """

    name: str
    difference: float
    relative: float
    judged: float
    limit: float
    own: float | None = None
    note: str = ""

    @property
    def departs(self) -> bool:
        """Whether the limit is exceeded; what is no number exceeds every limit."""
        return not self.judged <= self.limit


@dataclasses.dataclass(frozen=True)
class Section:
    """Comparisons of one kind, in the order of the data flow.

    Attributes:
        title: of the section.
        rows: the comparisons.
        notes: sentences about all of them.
    """

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def first_departure(sections: Iterable[Section]) -> tuple[Section, Row] | None:
    """The first comparison beyond its limit, and its section."""
    return next(((section, row) for section in sections for row in section.rows if row.departs), None)


def verdict(sections: Iterable[Section]) -> str:
    """The outcome in one sentence."""
    found = first_departure(sections)
    if found is None:
        return "every stage is within its limit"
    section, row = found
    return (
        f"the first that departs is {row.name!r} ({section.title.lower()}): {row.judged:.1e}, "
        f"limit {row.limit:.1e}"
    )


def compare(
    au_set: facs.AUSet,
    clip_length: int,
    exact: Measurements,
    ours: Measurements,
    own: Measurements | None,
) -> list[Section]:
    """Everything that both sides measured, in the order of the data flow.

    Args:
        au_set: the AUs.
        clip_length: frames of a clip.
        exact: of the reference in float64.
        ours: of our model.
        own: of the reference in float32, where ours was measured in float32.
    """
    evaluation = _evaluation(au_set, clip_length, exact, ours, own)
    if not exact.training:
        return [evaluation]
    return [
        evaluation,
        _training_mode(au_set, exact, ours, own),
        _losses("Losses of the first step", range(1), exact, ours, own),
        _gradients(exact.gradients, ours.gradients, None if own is None else own.gradients),
        _buffers(exact.buffers, ours.buffers, None if own is None else own.buffers),
        _losses("Losses of an AdamW trajectory", range(1, measurements.STEPS), exact, ours, own),
    ]


def round_trip(exact: Tensors, ours: Tensors, evaluation: Section) -> Section:
    """Scores of both sides with weights that our side trained for a step and the reference took in.

    Args:
        exact: stages of the reference, in float64, where it made the decisions.
        ours: our stages with the same decisions.
        evaluation: of the weights before, whose limit of the scores holds here too.
    """
    limit = max(row.limit for row in evaluation.rows if row.name.startswith(SCORES))
    row = compare_arrays(SCORES, exact[SCORES], ours[SCORES], None, limit=limit, relative=False)
    note = "the reference loaded every tensor of ours by name, with strict=True"
    return Section("Our weights after one step, in the reference", (row,), (note,))


def tables(sections: Iterable[Section]) -> list[Table]:
    """Sections as tables; the first departure is marked."""
    sections = list(sections)
    found = first_departure(sections)
    first = None if found is None else found[1]
    result = []
    for section in sections:
        relative_to_torch = any(row.own is not None for row in section.rows)
        columns = [*COLUMNS[:4], *(["PyTorch float32"] if relative_to_torch else []), *COLUMNS[4:]]
        rows = []
        for row in section.rows:
            verdict = "ok" if not row.departs else "DEPARTS" if row is not first else "DEPARTS FIRST"
            numbers = [row.difference, row.relative, row.judged]
            numbers += [row.own if row.own is not None else float("nan")] if relative_to_torch else []
            cells = [f"{number:.1e}" for number in [*numbers, row.limit]]
            rows.append((row.name, *cells, f"{verdict}{', ' if row.note else ''}{row.note}"))
        result.append(Table(section.title, tuple(columns), tuple(rows), section.notes))
    return result


def _difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Largest difference of two arrays, and as a share of the largest value of the first."""
    if a.shape != b.shape:
        return float("inf"), float("inf")
    if not a.size:
        return 0.0, 0.0
    wide = a.astype(np.float64)
    largest = float(np.abs(b.astype(np.float64) - wide).max())
    return largest, largest / max(float(np.abs(wide).max()), np.finfo(np.float64).tiny)


def compare_arrays(
    name: str,
    exact: np.ndarray,
    ours: np.ndarray,
    own: np.ndarray | None,
    *,
    limit: float,
    relative: bool,
    note: str = "",
) -> Row:
    """One comparison.

    Args:
        name: of what is compared.
        exact: the reference in float64.
        ours: what we have.
        own: the reference in float32; the limit then follows from it.
        limit: in float64.
        relative: whether that limit is one of relative differences.
        note: shown behind.
    """
    found, share = _difference(exact, ours)
    if own is None:
        return Row(name, found, share, share if relative else found, limit, note=note)
    torch_found, _ = _difference(exact, own)
    return Row(name, found, share, found, max(FACTOR * torch_found, FLOOR), torch_found, note)


def _evaluation(
    au_set: facs.AUSet, clip_length: int, exact: Measurements, ours: Measurements, own: Measurements | None
) -> Section:
    names = measurements.stage_names(au_set)
    tied = measurements.nearly_tied(au_set, exact.stages)
    if own is None:
        tied = np.zeros_like(tied)
    reached = measurements.within_reach(tied, clip_length)

    def rows(
        chosen: Iterable[str],
        exact_stages: Tensors,
        our_stages: Tensors,
        own_stages: Tensors | None,
        frames: Bool[np.ndarray, " F"] | None,
        suffix: str = "",
    ) -> list[Row]:
        found = []
        for name in chosen:
            left_out = np.zeros_like(tied)
            if frames is None and name in measurements.AFTER_DECISION:
                left_out = reached
            kept = ~left_out if frames is None else frames
            limit, relative = _STAGE_LIMIT, True
            if name in (SCORES, measurements.ACTIVATIONS):
                limit, relative = (_SCORE_LIMIT if name == SCORES else 0.0), False
            found.append(
                compare_arrays(
                    name + suffix,
                    exact_stages[name][kept],
                    our_stages[name][kept],
                    None if own_stages is None else own_stages[name][kept],
                    limit=limit,
                    relative=relative,
                )
            )
        return found

    found = rows(names, exact.stages, ours.stages, None if own is None else own.stages, None)
    if own is None:
        return Section("Evaluation mode", tuple(found))
    notes = [
        f"{int(tied.sum())} of {len(tied)} frames have a region whose two largest logits are closer than "
        f"{measurements.SMALL_MARGIN:g} in float64; {int(reached.sum())} frames within {measurements.REACH} "
        "of them are left out after the region logits"
    ]
    if reached.any():
        notes[0] += " and compared with the decisions of float64 given to the graph instead"
        after = measurements.AFTER_DECISION[1:]
        found += rows(after, exact.stages, ours.stages_given, own.stages_given, reached, ", decisions given")
    return Section("Evaluation mode", tuple(found), tuple(notes))


def _training_mode(
    au_set: facs.AUSet, exact: Measurements, ours: Measurements, own: Measurements | None
) -> Section:
    names = [*(measurements.region_stage(region) for region in au_set.regions), SCORES]
    rows = [
        compare_arrays(
            name,
            exact.training[0][name],
            ours.training[0][name],
            None if own is None else own.training[0][name],
            limit=_SCORE_LIMIT if name == SCORES else _STAGE_LIMIT,
            relative=name != SCORES,
        )
        for name in names
    ]
    notes = []
    if own is not None and (tied := measurements.any_tied(au_set, exact.training)):
        notes.append(
            f"in {tied} frames of the {measurements.STEPS} steps a region is nearly tied; the decisions of "
            "float64 were given to the graph in all of them, here and below"
        )
    return Section("Training mode, first step", tuple(rows), tuple(notes))


def _losses(
    title: str, steps: range, exact: Measurements, ours: Measurements, own: Measurements | None
) -> Section:
    rows = []
    for step in steps:
        for i, name in enumerate(LOSSES):
            row = compare_arrays(
                f"step {step + 1}, {name} loss",
                np.asarray(exact.losses[step, i]),
                np.asarray(ours.losses[step, i]),
                None if own is None else np.asarray(own.losses[step, i]),
                limit=_LOSS_LIMIT,
                relative=False,
                note=f"{exact.losses[step, i]:.7f}",
            )
            if own is not None:
                reached = _uncancelled(name, step, exact, own)
                row = dataclasses.replace(row, own=reached, limit=max(FACTOR * reached, FLOOR))
            rows.append(row)
    notes = () if own is None else (_LOSS_NOTE,)
    return Section(title, tuple(rows), notes)


def _uncancelled(name: str, step: int, exact: Measurements, own: Measurements) -> float:
    """How far PyTorch float32 is from float64 in a loss, were its errors not to cancel by chance.

    A loss is a mean: one that agrees to the last digit may do so by luck, and would be no yardstick.
    """
    drift = float(np.abs(own.losses[: step + 1] - exact.losses[: step + 1]).max())
    away = {
        stage: _difference(exact.training[step][stage], array)[0]
        for stage, array in own.training[step].items()
    }
    scores = away.pop(SCORES)
    logits = max(away.values())
    inputs = {"total": scores + REGION_WEIGHT * logits, "AU": scores, "region": logits}
    return max(drift, inputs[name])


def _group(name: str) -> str:
    """The module that a tensor is reported under: backbones by stage, the rest by the reference's parts."""
    parts = name.split(".")
    if parts[0] != "Backbone":
        return parts[0]
    depth = 3 if parts[1] == "layers" else 2
    return ".".join(parts[:depth])


def _grouped(names: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_group(name), []).append(name)
    return groups


def _gradients(exact: Tensors, ours: Tensors, own: Tensors | None) -> Section:
    """Length of the difference of two gradients over the length of the gradient.

    It is at least the relative difference of their lengths, and sees what that does not: elements that
    changed places.
    """
    lengths = {name: _length(gradient) for name, gradient in exact.items()}
    judged = [name for name, length in lengths.items() if not length <= SMALL_GRADIENT]

    def distances(other: Tensors, names: list[str]) -> dict[str, float]:
        return {
            name: _length(other[name].astype(np.float64) - exact[name]) / lengths[name]
            if name in other and other[name].shape == exact[name].shape
            else float("inf")
            for name in names
        }

    def of_lengths(names: list[str]) -> float:
        return float(np.max([abs(_length(ours.get(name, _ABSENT)) / lengths[name] - 1) for name in names]))

    rows = []
    for group, members in _grouped(judged).items():
        found = distances(ours, members)
        worst = max(members, key=lambda name: _badness(found[name]))
        own_found = None if own is None else max(distances(own, members).values())
        limit = _GRADIENT_LIMIT if own_found is None else max(FACTOR * own_found, FLOOR)
        note = f"norms within {of_lengths(members):.1e}; worst: {worst.removeprefix(group + '.')}"
        largest = float(np.max([_difference(exact[name], ours.get(name, _ABSENT))[0] for name in members]))
        rows.append(Row(group, largest, found[worst], found[worst], limit, own_found, note))
    notes = (
        f"relative: |difference| / |gradient| of the worst of {len(judged)} parameters, which bounds the "
        f"relative difference of their norms (largest: {of_lengths(judged):.1e})",
        f"{len(lengths) - len(judged)} parameters whose gradient is shorter than {SMALL_GRADIENT:g} are "
        "left out",
    )
    return Section("Gradients of the first step", tuple(rows), notes)


def _badness(number: float) -> float:
    """A key by which what is no number comes last."""
    return float("inf") if np.isnan(number) else number


def _length(array: np.ndarray) -> float:
    return float(np.linalg.norm(array.astype(np.float64)))


def _buffers(exact: Tensors, ours: Tensors, own: Tensors | None) -> Section:
    rows = []
    for group, members in _grouped(exact).items():
        found = {name: _difference(exact[name], ours.get(name, _ABSENT)) for name in members}
        worst = max(members, key=lambda name: _badness(found[name][1]))
        largest = float(np.max([difference for difference, _ in found.values()]))
        own_of = None if own is None else max(_difference(exact[name], own[name])[1] for name in members)
        limit = _BUFFER_LIMIT if own_of is None else max(FACTOR * own_of, FLOOR)
        share = found[worst][1]
        note = f"worst: {worst.removeprefix(group + '.')}"
        rows.append(Row(group, largest, share, share, limit, own_of, note))
    return Section(
        "Running statistics after one step",
        tuple(rows),
        ("relative: to the largest element of the buffer that agrees least",),
    )
