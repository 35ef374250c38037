"""F1 and accuracy of each AU from summed counts, as `clu.metrics`.

A jitted evaluation step returns only counts (a few integers an AU). They are plain sums, so they are
right under any sharding, and batches, hosts and folds merge by addition.

Counts are integers throughout. On the device they are int32: one batch cannot overflow it, and a
float32 would stop counting at 2**24 frames. On the host, `merge` with `empty()` or with an earlier
sum adds them in int64, so a whole data set is exact. F1 of merged counts is the F1 of everything
pooled, which the mean of per-batch F1 is not.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, Integer, Shaped

try:
    from clu.metrics import Metric
except ImportError:  # Machines that only measure: the counts need nothing of it but its name.
    Metric: Any = object

THRESHOLD = 0.5
"""An AU is present where its score reaches this."""

# Not a jaxtyping shape: JAX rebuilds pytrees with leaves that are no arrays.
Counts = Any
_S = TypeVar("_S", bound="_Summed")


class _Summed(Metric):
    """A metric whose leaves add."""

    def merge(self: _S, other: _S) -> _S:
        """Sum of both; in int64 on the host as soon as either side lies there."""
        return jax.tree.map(_add, self, other)

    def to_host(self: _S) -> _S:
        """The same counts as int64 NumPy arrays; waits for the device."""
        return jax.tree.map(lambda count: np.asarray(count).astype(np.int64), self)


@flax.struct.dataclass
class AUCounts(_Summed):
    """True and false positives and negatives of each AU, in frames. Unknown labels are in none."""

    tp: Counts
    fp: Counts
    fn: Counts
    tn: Counts

    @classmethod
    def empty(cls) -> "AUCounts":
        """Zero, on the host; merges with counts of any number of AUs."""
        return cls(*(np.zeros((), np.int64) for _ in range(4)))

    @classmethod
    def from_model_output(
        cls,
        scores: Float[Array | np.ndarray, "B T N"],
        labels: Integer[Array | np.ndarray, "B T N"],
        mask: Bool[Array | np.ndarray, "#B #T #N"] | None = None,
        *,
        threshold: float = THRESHOLD,
        **_: Any,
    ) -> "AUCounts":
        """Counts of one batch.

        Args:
            scores: in [0, 1]; a score that reaches the threshold means present. NaN means absent.
            labels: 0 or 1; anything else is unknown and not counted.
            mask: entries to count; all by default.
            threshold: compared in at least float32, whatever the scores' type.

        Returns:
            int32 counts, one an AU.
        """
        scores = jnp.asarray(scores)
        predicted = scores.astype(jnp.promote_types(scores.dtype, jnp.float32)) >= threshold
        counted = True if mask is None else mask
        present, absent = (labels == 1) & counted, (labels == 0) & counted
        return cls(
            tp=_count(present & predicted),
            fp=_count(absent & predicted),
            fn=_count(present & ~predicted),
            tn=_count(absent & ~predicted),
        )

    def f1(self) -> Float[np.ndarray, "*N"]:
        """F1 in [0, 1]; NaN where undefined: the AU is neither present nor predicted in any known frame."""
        c = self.to_host()
        return _divide(2 * c.tp, 2 * c.tp + c.fp + c.fn)

    def accuracy(self) -> Float[np.ndarray, "*N"]:
        """Share of known frames predicted right, in [0, 1]; NaN where no frame is known."""
        c = self.to_host()
        return _divide(c.tp + c.tn, c.tp + c.fp + c.fn + c.tn)

    def always_present(self) -> "AUCounts":
        """The counts that predicting every AU in every known frame would have: the baseline."""
        c = self.to_host()
        positives, negatives = c.tp + c.fn, c.fp + c.tn
        return type(self)(positives, negatives, np.zeros_like(positives), np.zeros_like(positives))

    def compute(self) -> dict[str, Any]:
        """F1 and accuracy of each AU (NaN where undefined), and mean F1 with undefined as 0, in [0, 1]."""
        f1 = self.f1()
        return {"f1": f1, "f1_mean": float(np.nan_to_num(f1).mean()), "accuracy": self.accuracy()}


@flax.struct.dataclass
class EvalCounts(_Summed):
    """What an evaluation needs.

    Attributes:
        overall: counts over all known frames.
        changing: a second set that holds, AU by AU, only the frames of windows in which that AU
            changes: 0 and 1 both occur among its known labels. Only full windows count: those
            without padding frames. Unknown labels of other AUs, or of the AU in some frames, do
            not exclude a window.
    """

    overall: AUCounts
    changing: AUCounts

    @classmethod
    def empty(cls) -> "EvalCounts":
        """Zero, on the host."""
        return cls(AUCounts.empty(), AUCounts.empty())

    @classmethod
    def from_model_output(
        cls,
        scores: Float[Array | np.ndarray, "B T N"],
        labels: Integer[Array | np.ndarray, "B T N"],
        valid: Bool[Array | np.ndarray, "B T"] | None = None,
        *,
        threshold: float = THRESHOLD,
        **_: Any,
    ) -> "EvalCounts":
        """Counts of a batch of B windows of T frames.

        Args:
            scores, labels, threshold: see `AUCounts.from_model_output`.
            valid: False marks padding frames, which are not counted even where labelled. By default a
                frame without any known label is padding.
        """
        known = (labels == 0) | (labels == 1)
        if valid is None:
            valid = jnp.any(known, axis=-1)
        full = jnp.all(valid, axis=1)
        changes = jnp.any(labels == 1, axis=1) & jnp.any(labels == 0, axis=1) & full[:, None]
        return cls(
            AUCounts.from_model_output(scores, labels, valid[..., None], threshold=threshold),
            AUCounts.from_model_output(scores, labels, changes[:, None, :], threshold=threshold),
        )

    def compute(self) -> dict[str, Any]:
        """`AUCounts.compute` of both sets."""
        return {"overall": self.overall.compute(), "changing": self.changing.compute()}


def summarize(counts: EvalCounts, au_names: Sequence[str]) -> dict[str, Any]:
    """The part of a result that comes from counts, in percent, ready for strict JSON.

    An undefined value is None. In `f1_mean` and `baseline_f1_mean` an undefined F1 counts 0, as in the
    reference; `accuracy_mean` and `f1_changing_mean` skip undefined values and are None where none is
    defined.

    Args:
        counts: of the whole evaluation.
        au_names: such as ``AU1``, in label order.

    Returns:
        ``f1, f1_mean, accuracy, accuracy_mean, baseline_f1, baseline_f1_mean, f1_changing,
        f1_changing_mean``; those without ``_mean`` map AU name to value.

    Raises:
        ValueError: the number of names is not the number of AUs counted.
    """
    shape = np.shape(counts.overall.tp)
    if shape not in ((len(au_names),), ()):
        raise ValueError(f"{len(au_names)} AU names for counts of shape {shape}; expected one name an AU")
    full = (len(au_names),)  # counts of an evaluation without a single batch are scalars
    f1, accuracy, baseline, changing = (
        100 * np.broadcast_to(values, full)
        for values in (
            counts.overall.f1(),
            counts.overall.accuracy(),
            counts.overall.always_present().f1(),
            counts.changing.f1(),
        )
    )
    return {
        "f1": _named(au_names, f1),
        "f1_mean": float(np.nan_to_num(f1).mean()),
        "accuracy": _named(au_names, accuracy),
        "accuracy_mean": _mean_of_defined(accuracy),
        "baseline_f1": _named(au_names, baseline),
        "baseline_f1_mean": float(np.nan_to_num(baseline).mean()),
        "f1_changing": _named(au_names, changing),
        "f1_changing_mean": _mean_of_defined(changing),
    }


def _count(entries: Bool[Array, "B T N"]) -> Int[Array, " N"]:
    return jnp.sum(entries, axis=(0, 1), dtype=jnp.int32)


def _add(a: Counts, b: Counts) -> Counts:
    traced = isinstance(a, Tracer) or isinstance(b, Tracer)
    if not traced and (isinstance(a, np.ndarray | np.generic) or isinstance(b, np.ndarray | np.generic)):
        # Left to JAX, int64 + int32 would come back as int32.
        return np.asarray(np.add(a, b, dtype=np.int64))
    return a + b


def _divide(above: Counts, below: Counts) -> Float[np.ndarray, "..."]:
    return np.where(below > 0, above / np.maximum(below, 1), np.nan)


def _named(names: Sequence[str], values: Shaped[np.ndarray, " N"]) -> dict[str, float | None]:
    return {n: None if np.isnan(v) else float(v) for n, v in zip(names, values, strict=True)}


def _mean_of_defined(values: Float[np.ndarray, " N"]) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None
