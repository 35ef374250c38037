"""The jitted training step and evaluation step."""

import dataclasses
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Shaped

from mdhr_jax import parallel
from mdhr_jax.data.augment import augment_clips, resize_clips
from mdhr_jax.facs import Variant
from mdhr_jax.models.functional import Arrays, FunctionalModel
from mdhr_jax.training import losses
from mdhr_jax.training.metrics import EvalCounts
from mdhr_jax.training.state import TrainState

Batch = dict[str, Shaped[Array, "B ..."]]
StepMetrics = dict[str, Float[Array, ""]]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]
EvalStep = Callable[[Arrays, Arrays, Batch], tuple[EvalCounts, Float[Array, "B T N"]]]


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """What a training step does besides model and optimiser.

    Attributes:
        image_size: edge of the model's input, in pixels.
        crop_margin: what a training crop leaves out, in pixels of a frame of 256.
        class_weights: weight of each AU in the loss.
        region_weight: weight of the region loss.
        accumulate: micro-batches that a batch is cut into. Gradients are those of the whole batch, but
            batch normalisation sees one micro-batch at a time.
        ema: decay of the averaged parameters; 0 for none.
    """

    image_size: int
    crop_margin: int
    class_weights: tuple[float, ...]
    region_weight: float = losses.REGION_WEIGHT
    accumulate: int = 1
    ema: float = 0.0


def train_step(
    model: FunctionalModel,
    optimizer: optax.GradientTransformation,
    options: StepOptions,
    state: TrainState,
    batch: Batch,
) -> tuple[TrainState, StepMetrics]:
    """One optimiser step on one batch; a pure function, to be jitted.

    Args:
        batch: ``frames`` uint8 (B, T, L, L, 3), ``labels`` int8 (B, T, N), and the augmentation draws
            ``offset``, ``flip``, ``factors`` of each clip.

    Returns:
        The next state, and ``loss``, ``au_loss``, ``region_loss`` and the gradient norm ``grad_norm``.
    """
    variant, regions = cast(Variant, model.config.variant), model.config.regions
    # Divisors of the whole batch, so that micro-batches add up to it whatever labels are unknown.
    counts = losses.loss_counts(
        batch["labels"], losses.encode_region_labels(regions, batch["labels"]), variant=variant
    )

    def loss(
        params: Arrays, batch_stats: Arrays, part: Batch, key: PRNGKeyArray
    ) -> tuple[Float[Array, ""], tuple[Arrays, losses.Losses]]:
        clips = augment_clips(
            part["frames"],
            part["offset"],
            part["flip"],
            part["factors"],
            image_size=options.image_size,
            crop_margin=options.crop_margin,
            dtype=jnp.dtype(model.config.dtype),
        )
        output, batch_stats = model.train(params, batch_stats, clips, key)
        value = losses.total_loss(
            output.scores,
            output.region_logits,
            part["labels"],
            losses.encode_region_labels(regions, part["labels"]),
            jnp.asarray(options.class_weights),
            variant=variant,
            region_weight=options.region_weight,
            counts=counts,
        )
        return value.total, (batch_stats, value)

    gradient = jax.grad(loss, has_aux=True)
    key = jax.random.fold_in(state.rng, state.step)
    if options.accumulate == 1:
        grads, (batch_stats, value) = gradient(state.params, state.batch_stats, batch, key)
    else:
        grads, batch_stats, value = _accumulate(gradient, state, batch, key, options.accumulate)

    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
        ema = jax.tree.map(lambda old, new: options.ema * old + (1 - options.ema) * new, ema, params)
    metrics = {
        "loss": value.total,
        "au_loss": value.au,
        "region_loss": value.region,
        "grad_norm": optax.tree.norm(grads),
    }
    next_state = TrainState(state.step + 1, params, batch_stats, opt_state, state.rng, ema)
    return next_state, metrics


def _accumulate(
    gradient: Callable[..., tuple[Arrays, tuple[Arrays, losses.Losses]]],
    state: TrainState,
    batch: Batch,
    key: PRNGKeyArray,
    parts: int,
) -> tuple[Arrays, Arrays, losses.Losses]:
    """Sums gradients and losses over micro-batches, one after the other."""

    def cut(array: Shaped[Array, "B ..."]) -> Shaped[Array, "P b ..."]:
        # Every parts-th clip belongs to a micro-batch: each device then cuts its own share of the batch.
        return jnp.moveaxis(array.reshape(-1, parts, *array.shape[1:]), 1, 0)

    def add(carry: PyTree, inputs: tuple[Batch, Array]) -> tuple[PyTree, None]:
        total, batch_stats = carry
        part, index = inputs
        grads, (batch_stats, value) = gradient(
            state.params, batch_stats, part, jax.random.fold_in(key, index)
        )
        return (jax.tree.map(jnp.add, total, (grads, value)), batch_stats), None

    micro_batches = jax.tree.map(cut, batch)
    first = jax.tree.map(lambda array: array[0], micro_batches)
    shapes = jax.eval_shape(gradient, state.params, state.batch_stats, first, key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (shapes[0], shapes[1][1]))
    ((grads, value), batch_stats), _ = jax.lax.scan(
        add, (zeros, state.batch_stats), (micro_batches, jnp.arange(parts))
    )
    return grads, batch_stats, value


def eval_step(
    model: FunctionalModel, image_size: int, params: Arrays, batch_stats: Arrays, batch: Batch
) -> tuple[EvalCounts, Float[Array, "B T N"]]:
    """Counts and scores of one batch of evaluation windows; a pure function, to be jitted.

    Args:
        batch: ``frames`` uint8 (B, T, L, L, 3), ``labels`` int8 (B, T, N), ``frame_valid`` bool (B, T),
            False in padded frames.

    Returns:
        Counts at threshold 0.5, and the scores that they were counted from, those of padded frames too.
    """
    clips = resize_clips(batch["frames"], image_size=image_size, dtype=jnp.dtype(model.config.dtype))
    output = model.predict(params, batch_stats, clips)
    counts = EvalCounts.from_model_output(
        scores=output.scores, labels=batch["labels"], valid=batch["frame_valid"]
    )
    return counts, output.scores


def jit_train_step(
    model: FunctionalModel,
    optimizer: optax.GradientTransformation,
    options: StepOptions,
    mesh: Mesh,
    shardings: PyTree,
    *,
    donate: bool = True,
) -> TrainStep:
    """`train_step` over a mesh: state as given and, unless told otherwise, donated; batch split over all."""

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        return train_step(model, optimizer, options, state, batch)

    return jax.jit(
        step,
        in_shardings=(shardings, parallel.batch_sharding(mesh)),
        out_shardings=(shardings, parallel.replicated(mesh)),
        donate_argnums=0 if donate else (),
    )


def jit_eval_step(model: FunctionalModel, image_size: int, mesh: Mesh, shardings: PyTree) -> EvalStep:
    """`eval_step` over a mesh; `shardings` are those of the train state.

    Counts come back on every device. Scores stay on the devices that computed them: who only counts never
    moves them, and who wants them gets those that were counted, from one and the same compiled program.
    """

    def step(params: Arrays, batch_stats: Arrays, batch: Batch) -> tuple[EvalCounts, Float[Array, "B T N"]]:
        return eval_step(model, image_size, params, batch_stats, batch)

    return jax.jit(
        step,
        in_shardings=(shardings.params, shardings.batch_stats, parallel.batch_sharding(mesh)),
        out_shardings=(parallel.replicated(mesh), parallel.batch_sharding(mesh)),
    )
