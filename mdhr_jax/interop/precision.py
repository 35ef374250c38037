"""How far the scores of each number format are from float64: what ``python -m mdhr_jax.precision`` measures.

A region's decision lies between its logits and the graph (see `measurements`). So errors are shown twice:
with the decisions of float64 given to the graph, which is arithmetic alone, and with each format's own.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int8

from mdhr_jax import facs
from mdhr_jax.interop import measurements, names
from mdhr_jax.interop.comparison_inputs import Inputs, parameter_values, rounded
from mdhr_jax.interop.comparison_report import Table
from mdhr_jax.interop.jax_side import JaxSide
from mdhr_jax.interop.torch_weights import Tensors, reference_config, tensors_from_arrays
from mdhr_jax.models.functional import FunctionalModel
from mdhr_jax.models.layers import BatchNorm
from mdhr_jax.models.mdhr import MDHRConfig

THRESHOLD = 0.5
COLUMNS = (
    "arithmetic",
    "max.",
    "99 %",
    "median",
    "decisions that differ",
    "max., own decisions",
    "presence that differs",
    "",
)


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """A number format to measure.

    Attributes:
        title: in the table.
        dtype: of the arithmetic.
        matmul: precision of matrix products and convolutions of float32, as JAX calls it.
        note: shown behind.
    """

    title: str
    dtype: str
    matmul: str
    note: str = ""


def arithmetics(backend: str) -> tuple[Arithmetic, ...]:
    """What is measured on a kind of device: ``cpu``, ``gpu`` or ``tpu``."""
    defaults = {"cpu": "the same on CPU", "gpu": "may use TF32", "tpu": "bfloat16 products"}
    chosen = [
        Arithmetic("float32, highest", "float32", "highest"),
        Arithmetic("float32, default", "float32", "default", defaults.get(backend, "")),
    ]
    if backend == "gpu":
        chosen.append(Arithmetic("float32, TF32", "float32", "tensorfloat32"))
    chosen.append(
        Arithmetic("bfloat16", "bfloat16", "default", "parameters, normalisation and softmax in float32")
    )
    return tuple(chosen)


@dataclasses.dataclass(frozen=True)
class Errors:
    """Distances of scores from those of float64.

    Attributes:
        given: with the decisions of float64.
        own: with the format's own.
        decisions: of a frame and AU, which of them differ.
        presence: which scores lie on the other side of the threshold, with the format's own decisions.
        highest: the highest score in float64.
    """

    given: Float[np.ndarray, "F N"]
    own: Float[np.ndarray, "F N"]
    decisions: Bool[np.ndarray, "F N"]
    presence: Bool[np.ndarray, "F N"]
    highest: float


def measure(
    dataset: str,
    backbone: str,
    neighbors: int,
    inputs: Inputs,
    weights: Tensors | None,
    done: Callable[[str], None],
) -> dict[Arithmetic, Errors]:
    """Errors of every number format of this machine.

    Args:
        dataset, backbone, neighbors: the model, in the reference's size.
        inputs: with the clips.
        weights: by PyTorch's names; made up where None, with the statistics of the clips.
        done: called with a word after every part, of which there are `parts()`.
    """
    au_set = inputs.au_set
    inputs = dataclasses.replace(inputs, clips=inputs.clips.astype(np.float32))
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        side = JaxSide(reference_config(dataset, backbone, neighbors, "float64"))
        values = made_up(side.config, inputs) if weights is None else weights
        done("weights")
        side.load(values)
        exact = side.evaluate(inputs)
        del side
    done("float64")
    decided = measurements.decided(au_set, exact)
    found = {}
    for arithmetic in arithmetics(jax.default_backend()):
        with contextlib.ExitStack() as stack:
            if arithmetic.matmul != "default":
                stack.enter_context(jax.default_matmul_precision(arithmetic.matmul))
            side = JaxSide(reference_config(dataset, backbone, neighbors, arithmetic.dtype))
            side.load(values)
            found[arithmetic] = errors(
                au_set, exact, side.evaluate(inputs), side.evaluate(inputs, decided), decided
            )
        done(arithmetic.title)
    return found


def parts() -> int:
    """Parts that a measurement has."""
    return 2 + len(arithmetics(jax.default_backend()))


def errors(
    au_set: facs.AUSet,
    exact: Mapping[str, np.ndarray],
    own: Mapping[str, np.ndarray],
    given: Mapping[str, np.ndarray],
    decided: Int8[np.ndarray, "F N"],
) -> Errors:
    """Distances of one number format.

    Args:
        au_set: the AUs.
        exact: stages in float64.
        own: stages of the format.
        given: the same with the decisions of float64.
        decided: those decisions.
    """
    scores = exact[measurements.SCORES]
    found = own[measurements.SCORES].astype(np.float64)
    return Errors(
        given=np.abs(given[measurements.SCORES].astype(np.float64) - scores),
        own=np.abs(found - scores),
        decisions=measurements.decided(au_set, own) != decided,
        presence=(found >= THRESHOLD) != (scores >= THRESHOLD),
        highest=float(scores.max()),
    )


def made_up(config: MDHRConfig, inputs: Inputs) -> Tensors:
    """Weights that follow from the tensors' names, and running statistics that are those of the clips."""
    model = FunctionalModel.create(config)
    shapes = model.param_shapes | model.stat_shapes
    named = {
        name: source.torch_shape(shapes[path].shape)
        for path, source in names.sources(list(shapes), config.au_set).items()
        for name in source.names
    }
    side = JaxSide(config)
    zeros = {
        name: np.zeros(shape, np.int64 if name.endswith("num_batches_tracked") else np.float64)
        for name, shape in named.items()
    }
    side.load(zeros | parameter_values(named))

    @jax.jit
    def statistics(params: dict, stats: dict, clips: jax.Array) -> dict:
        """The running ones start from 0, so one step keeps `momentum` of the batch's."""
        kept = model.train(params, stats, clips, None)[1]
        whole = jax.tree.map(lambda x: x / BatchNorm.momentum, kept)
        return {name: stats[name] if name.endswith("num_batches") else x for name, x in whole.items()}

    found = statistics(side.params, side.batch_stats, jnp.asarray(inputs.clips, config.dtype))
    return rounded(tensors_from_arrays(side.params | found, config))


def table(title: str, found: Mapping[Arithmetic, Errors]) -> Table:
    """The errors as a table."""
    rows = []
    for arithmetic, of in found.items():
        numbers = [of.given.max(), np.quantile(of.given, 0.99), np.median(of.given)]
        rows.append(
            (
                arithmetic.title,
                *(f"{number:.1e}" for number in numbers),
                f"{of.decisions.sum()} of {of.decisions.size}",
                f"{of.own.max():.1e}",
                f"{of.presence.sum()} of {of.presence.size}",
                arithmetic.note,
            )
        )
    notes = [
        "Distance of a score (in [0, 1]) from float64's; the first three columns with the region decisions "
        "of float64 given to the graph. A decision is one AU of one frame that a region classifier calls "
        f"active; presence is a score of {THRESHOLD} and more.",
    ]
    if (highest := max(of.highest for of in found.values())) < THRESHOLD:
        notes.append(f"With these weights no score exceeds {highest:.2f}: presence is not put to the test.")
    return Table(title, COLUMNS, tuple(rows), tuple(notes))
