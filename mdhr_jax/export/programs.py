"""The clip model and the streaming step as StableHLO, by `jax.export`: one program for all platforms.

Weights are arguments and not constants of the programs: three programs share them, compilers need not look
through them, and StableHLO's 2 GiB a module do not matter.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax import export
from jaxtyping import Array, Bool, Float32, Int32, UInt8

from mdhr_jax.models.functional import Arrays, FunctionalModel
from mdhr_jax.models.streaming import StreamingModel, StreamState
from mdhr_jax.predict.checkpoint import Trained
from mdhr_jax.predict.scorers import as_input

PLATFORMS = ("cpu", "cuda", "tpu")
PLACES = (1, 16)
"""Frames of a stream that the programs of the step take: for scores at once, and for many frames."""

_CLIPS, _STREAMS = "clips", "streams"
_LOCATIONS = "jax_traceback_in_locations_limit"


class Programs:
    """What is exported of a checkpoint.

    Shapes: B clips and S streams are symbols, any number; the others are numbers.

    Args:
        trained: the checkpoint.
    """

    def __init__(self, trained: Trained):
        # Edges of graphs are listed for a number of frames that is known; matrices take any.
        config = dataclasses.replace(trained.model.config, dense_graph=True)
        model = FunctionalModel.create(config)
        self._trained = dataclasses.replace(trained, model=model)
        self._streaming = StreamingModel(model)

    @property
    def edge(self) -> int:
        """Edge of an aligned face, pixels: that of the recipe."""
        return self._trained.recipe.size

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Parameters and statistics by name."""
        return {
            name: np.asarray(value)
            for name, value in {**self._trained.params, **self._trained.batch_stats}.items()
        }

    def state(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes of one stream's state, by name."""
        streaming, size = self._streaming, self._trained.image_size
        return named(jax.eval_shape(lambda: streaming.init(1, size)))

    def clips(self) -> export.Exported:
        """The clip model: weights, frames uint8 (B, T, L, L, 3) -> scores float32 (B, T, N)."""

        def clip_scores(weights: Arrays, frames: UInt8[Array, "B T L L 3"]) -> Float32[Array, "B T N"]:
            inputs = as_input(frames, self._trained)
            scores = self._trained.model.predict(*self._parts(weights), inputs).scores
            return scores.astype(np.float32)

        (count,) = export.symbolic_shape(_CLIPS)
        shape = (count, self._trained.clip_length, self.edge, self.edge, 3)
        return _export(clip_scores, self._weight_shapes(), jax.ShapeDtypeStruct(shape, np.uint8))

    def step(self, places: int) -> export.Exported:
        """The streaming step, see `StreamingModel.step`, with the state as a dictionary.

        Args:
            places: F, frames of a stream that it takes at most.
        """

        def stream_step(
            weights: Arrays,
            state: Arrays,
            frames: UInt8[Array, "S F L L 3"],
            real: Int32[Array, "S"],
            behind: Int32[Array, "S"],
            fresh: Bool[Array, "S"],
        ) -> tuple[Arrays, Float32[Array, "S F N"]]:
            inputs = as_input(frames, self._trained)
            after, scores = self._streaming.step(
                *self._parts(weights), unnamed(state), inputs, real, behind, fresh
            )
            return named(after), scores.astype(np.float32)

        (count,) = export.symbolic_shape(_STREAMS)
        state = {
            name: jax.ShapeDtypeStruct((count, *one.shape[1:]), one.dtype)
            for name, one in self.state().items()
        }
        return _export(
            stream_step,
            self._weight_shapes(),
            state,
            jax.ShapeDtypeStruct((count, places, self.edge, self.edge, 3), np.uint8),
            jax.ShapeDtypeStruct((count,), np.int32),
            jax.ShapeDtypeStruct((count,), np.int32),
            jax.ShapeDtypeStruct((count,), np.bool_),
        )

    def _parts(self, weights: Arrays) -> tuple[Arrays, Arrays]:
        model = self._trained.model
        return {name: weights[name] for name in model.param_shapes}, {
            name: weights[name] for name in model.stat_shapes
        }

    def _weight_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        return {**self._trained.model.param_shapes, **self._trained.model.stat_shapes}


def named(state: StreamState) -> dict[str, Any]:
    """The arrays of a state by name: a form that programs know which know nothing of this project."""
    several = {
        f"{kind}_{i}": array
        for kind in ("previous", "resized")
        for i, array in enumerate(getattr(state, kind))
    }
    single = {kind: getattr(state, kind) for kind in ("position", "length", "static", "vectors")}
    return several | {name: array for name, array in single.items() if array is not None}


def unnamed(arrays: dict[str, Any]) -> StreamState:
    """The state of such arrays."""

    def several(kind: str) -> tuple[Any, ...]:
        return tuple(arrays[f"{kind}_{i}"] for i in range(sum(name.startswith(kind) for name in arrays)))

    return StreamState(
        position=arrays["position"],
        length=arrays["length"],
        previous=several("previous"),
        resized=several("resized"),
        static=arrays.get("static"),
        vectors=arrays.get("vectors"),
    )


def _export(function: Any, *shapes: Any) -> export.Exported:
    with _without_paths():
        return export.export(jax.jit(function), platforms=PLATFORMS)(*shapes)


@contextlib.contextmanager
def _without_paths() -> Iterator[None]:
    """Programs do not say in which files of this machine their operations are written."""
    before = getattr(jax.config, _LOCATIONS)
    jax.config.update(_LOCATIONS, 0)
    try:
        yield
    finally:
        jax.config.update(_LOCATIONS, before)
