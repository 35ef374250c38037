"""What training changes from step to step, as one pytree of plain arrays."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray, PyTree

from mdhr_jax import distributed, parallel
from mdhr_jax.models.functional import Arrays, FunctionalModel


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """State of a training run.

    Attributes:
        step: optimiser steps done, int32 scalar.
        params: by dotted path.
        batch_stats: running statistics of the batch normalisations, by dotted path.
        opt_state: of the optax optimiser.
        rng: base key; the key of a step is folded from it and the step.
        ema: averaged parameters, or None where no average is kept.
    """

    # Any: JAX rebuilds pytrees with leaves that are not arrays.
    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any
    rng: Any
    ema: Any

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """The parameters that evaluation and prediction use: the average where one is kept."""
        return self.params if self.ema is None else self.ema


@dataclasses.dataclass(frozen=True)
class StateFactory:
    """Makes train states of one model and optimiser on one mesh.

    Attributes:
        model: the network.
        optimizer: what `opt_state` belongs to.
        mesh: the devices.
        ema: whether averaged parameters are kept.
    """

    model: FunctionalModel
    optimizer: optax.GradientTransformation
    mesh: Mesh
    ema: bool

    @functools.cached_property
    def abstract(self) -> TrainState:
        """Shapes, types and shardings of a state, for restoring into."""
        shapes = jax.eval_shape(
            self._begin, self.model.param_shapes, self.model.stat_shapes, jax.random.key(0)
        )
        shardings = parallel.state_shardings(shapes, self.mesh)
        return jax.tree.map(
            lambda array, sharding: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding),
            shapes,
            shardings,
        )

    @property
    def shardings(self) -> PyTree:
        """Where each array of a state lies."""
        return jax.tree.map(lambda array: array.sharding, self.abstract)

    def create(self, seed: int) -> TrainState:
        """The state before the first step; the same for the same seed on every mesh."""
        key = jax.random.key(seed)
        return distributed.compiled(jax.jit(self._create, out_shardings=self.shardings), key)(key)

    def _create(self, key: PRNGKeyArray) -> TrainState:
        init_key, step_key = jax.random.split(key)
        return self._begin(*self.model.init(init_key), step_key)

    def _begin(self, params: Arrays, batch_stats: Arrays, rng: PRNGKeyArray) -> TrainState:
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=batch_stats,
            opt_state=self.optimizer.init(params),
            rng=rng,
            ema=jax.tree.map(jnp.copy, params) if self.ema else None,
        )
