"""Our model beside the reference: its stages, losses, gradients and training steps as NumPy arrays."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int8, Integer

from mdhr_jax.interop import measurements, names
from mdhr_jax.interop.comparison_inputs import Inputs
from mdhr_jax.interop.measurements import Decisions, Measurements
from mdhr_jax.interop.stages import forward_stages
from mdhr_jax.interop.torch_weights import Tensors, arrays_from_torch, tensors_from_arrays
from mdhr_jax.models.functional import Arrays, FunctionalModel, flatten, unflatten
from mdhr_jax.models.mdhr import MDHRConfig
from mdhr_jax.training import losses as losses_lib
from mdhr_jax.training.optimizer import make_optimizer


class JaxSide:
    """Our model of one data set and backbone, with stochastic depth off.

    Args:
        config: the model; of the reference variant.
    """

    def __init__(self, config: MDHRConfig):
        self.config = config
        self.model = FunctionalModel.create(config)
        self.params: Arrays = {}
        self.batch_stats: Arrays = {}
        # Weights are arguments: XLA would spend minutes on computing with constants.
        self._evaluate = jax.jit(self._evaluated_stages)
        self._gradient = jax.jit(jax.value_and_grad(self._loss, has_aux=True))
        optimizer = make_optimizer(measurements.LEARNING_RATE, measurements.SCHEDULE_STEPS)
        self._initial = jax.jit(optimizer.init)

        @functools.partial(jax.jit, donate_argnums=1)
        def update(grads: Arrays, opt_state: Any, params: Arrays) -> tuple[Arrays, Any]:
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), opt_state  # pyright: ignore[reportReturnType]

        self._update = update
        self._predict = jax.jit(lambda params, stats, clips: self.model.predict(params, stats, clips).scores)

    def load(self, values: Mapping[str, np.ndarray]) -> None:
        """Takes weights with PyTorch's names.

        Raises:
            WeightsError: they are not those of this model.
        """
        params, stats = self.model.param_shapes, self.model.stat_shapes
        arrays = arrays_from_torch(values, params | stats, self.config.au_set)
        self.params = {path: jnp.asarray(arrays[path], spec.dtype) for path, spec in params.items()}
        self.batch_stats = {path: jnp.asarray(arrays[path], spec.dtype) for path, spec in stats.items()}

    def clips(self, clips: Float[np.ndarray, "B T H W 3"]) -> Array:
        """Clips on the device, in the model's number format."""
        return jnp.asarray(clips, self.config.dtype)

    def predict(self, clips: Array) -> Array:
        """Scores (B, T, N) in evaluation mode, not waited for."""
        return self._predict(self.params, self.batch_stats, clips)

    def evaluate(self, inputs: Inputs, given: Int8[np.ndarray, "F N"] | None = None) -> Tensors:
        """Stages in evaluation mode, see `TorchSide.evaluate`."""
        if given is None:
            given = Decisions.free(inputs.num_frames, self.config.au_set.num_aus).evaluation
        return self._stages(self.clips(inputs.clips), given)

    def measure(
        self, inputs: Inputs, given: Decisions | None, steps: int, done: Callable[[str], None]
    ) -> Measurements:
        """Everything that is compared, see `TorchSide.measure`; the weights loaded stay as they are."""
        clips = self.clips(inputs.clips)
        labels, au_weights = jnp.asarray(inputs.labels), jnp.asarray(inputs.au_weights, self.config.dtype)
        free = Decisions.free(inputs.num_frames, self.config.au_set.num_aus)
        stages = self._stages(clips, free.evaluation)
        done("evaluation")
        stages_given = {}
        if given is not None:
            stages_given = self._stages(clips, given.evaluation)
            done("evaluation, given decisions")

        params, stats = self.params, self.batch_stats
        opt_state = self._initial(params) if steps else None
        seen, found, gradients, buffers, stepped = [], [], {}, {}, {}
        for step in range(steps):
            decisions = jnp.asarray((given or free).training[step])
            (_, (stats, losses, shown)), grads = self._gradient(
                params, stats, clips, labels, au_weights, decisions
            )
            found.append([float(loss) for loss in losses])
            seen.append({name: np.asarray(x) for name, x in shown.items()})
            if step == 0:
                gradients = _named(grads, self.config)
                buffers = _named(stats, self.config)
            params, opt_state = self._update(grads, opt_state, params)
            if step == 0:
                stepped = tensors_from_arrays(params | stats, self.config)
            done(f"step {step + 1}")
        return Measurements(
            stages,
            stages_given,
            tuple(seen),
            np.reshape(found, (-1, len(measurements.LOSSES))),
            gradients,
            buffers,
            stepped,
        )

    def _stages(self, clips: Array, given: Int8[np.ndarray, "F N"]) -> Tensors:
        stages = self._evaluate(self.params, self.batch_stats, clips, jnp.asarray(given))
        return {name: np.asarray(x) for name, x in stages.items()}

    def _evaluated_stages(
        self, params: Arrays, batch_stats: Arrays, clips: Array, given: Array
    ) -> dict[str, Array]:
        return forward_stages(_merged(self.model.eval_graph, params, batch_stats), clips, given)

    def _loss(
        self,
        params: Arrays,
        batch_stats: Arrays,
        clips: Array,
        labels: Array,
        au_weights: Array,
        given: Array,
    ) -> tuple[Array, tuple[Arrays, losses_lib.Losses, dict[str, Array]]]:
        au_set = self.config.au_set
        model = _merged(self.model.train_graph, params, batch_stats)
        stages = forward_stages(model, clips, given)
        logits = tuple(stages[measurements.region_stage(region)] for region in au_set.regions)
        scores = stages[measurements.SCORES]
        losses = losses_lib.total_loss(
            scores.reshape(labels.shape),
            logits,
            labels,
            losses_lib.encode_region_labels(au_set, labels),
            au_weights,
        )
        shown = {measurements.region_stage(r): x for r, x in zip(au_set.regions, logits, strict=True)}
        shown[measurements.SCORES] = scores
        return losses.total, (flatten(nnx.state(model, nnx.BatchStat)), losses, shown)


class JaxTraining:
    """Trains our model in one jitted step, on normalised clips.

    Args:
        side: the model, whose weights are taken; the trained ones are put back after every step.
        au_weights: of the loss.
        learning_rate: the first one.
        total_steps: of the schedule.
    """

    def __init__(
        self, side: JaxSide, au_weights: Float[np.ndarray, " N"], learning_rate: float, total_steps: int
    ):
        self._side = side
        optimizer = make_optimizer(learning_rate, total_steps)
        weights = jnp.asarray(au_weights, side.config.dtype)
        au_set = side.config.au_set

        def loss(
            params: Arrays, stats: Arrays, clips: Array, labels: Array
        ) -> tuple[Array, tuple[Arrays, losses_lib.Losses]]:
            output, stats = side.model.train(params, stats, clips, None)
            codes = losses_lib.encode_region_labels(au_set, labels)
            losses = losses_lib.total_loss(output.scores, output.region_logits, labels, codes, weights)
            return losses.total, (stats, losses)

        def step(
            params: Arrays, stats: Arrays, opt_state: Any, clips: Array, labels: Array
        ) -> tuple[Any, Arrays, Any, losses_lib.Losses]:
            grads, (stats, losses) = jax.grad(loss, has_aux=True)(params, stats, clips, labels)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), stats, opt_state, losses

        self._opt_state = jax.jit(optimizer.init)(side.params)
        self._step = jax.jit(step, donate_argnums=(0, 1, 2))

    def step(self, clips: Array, labels: Integer[np.ndarray, "B T N"]) -> losses_lib.Losses:
        """One step; returns the losses before it, not waited for."""
        side = self._side
        side.params, side.batch_stats, self._opt_state, losses = self._step(
            side.params, side.batch_stats, self._opt_state, clips, jnp.asarray(labels)
        )
        return losses


def _merged(graph: Any, params: Arrays, batch_stats: Arrays) -> Any:
    return nnx.merge(graph, unflatten(params), unflatten(batch_stats))


def _named(arrays: Arrays, config: MDHRConfig) -> Tensors:
    """Arrays of ours by PyTorch's names, without what the architecture determines."""
    named = tensors_from_arrays(arrays, config)
    return {name: tensor for name, tensor in named.items() if not names.is_constant(name)}
