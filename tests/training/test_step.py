import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export

from mdhr_jax import facs, parallel
from mdhr_jax.training.metrics import EvalCounts
from mdhr_jax.training.optimizer import make_optimizer
from mdhr_jax.training.state import StateFactory, TrainState
from mdhr_jax.training.step import StepOptions, eval_step, jit_train_step, train_step
from tests import tiny


def mesh(data, fsdp):
    devices = jax.devices()[: data * fsdp]
    auto = (jax.sharding.AxisType.Auto,) * 2
    return jax.make_mesh((data, fsdp), (parallel.DATA, parallel.FSDP), axis_types=auto, devices=devices)


def options(au_set=facs.BP4D, **changes):
    weights = tuple(np.linspace(0.5, 1.5, au_set.num_aus).tolist())
    return StepOptions(**({"image_size": tiny.SIZE, "crop_margin": 32, "class_weights": weights} | changes))


def start(factory, seed=0):
    """A state with plausible weights, where the factory's shardings put it."""
    params, stats = tiny.weights(factory.model.config, seed)
    ema = jax.tree.map(jnp.copy, params) if factory.ema else None
    state = TrainState(
        jnp.zeros((), jnp.int32), params, stats, factory.optimizer.init(params), jax.random.key(1), ema
    )
    return jax.device_put(state, factory.shardings)


@functools.cache
def trajectory(config, devices, steps=3, **changes):
    """Losses and gradient norms of some steps on a mesh, and the last state."""
    on = mesh(*devices)
    optimizer = make_optimizer(1e-3, 10)
    factory = StateFactory(tiny.model(config), optimizer, on, ema=changes.get("ema", 0) > 0)
    step = jit_train_step(factory.model, optimizer, options(**changes), on, factory.shardings)
    state, losses = start(factory), []
    for seed in range(steps):
        state, metrics = step(state, parallel.put_batch(tiny.batch(seed=seed), on))
        losses.append([float(metrics[name]) for name in ("loss", "au_loss", "region_loss", "grad_norm")])
    return np.array(losses), state


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "groups"), [((8, 1), 1), ((2, 4), 1), ((8, 1), 8), ((2, 4), 2)])
def test_eight_devices_train_like_one_in_float64(float64, devices, groups):
    config = tiny.config(dtype="float64", param_dtype="float64", batch_norm_groups=groups)
    one, state_of_one = trajectory(config, (1, 1))
    many, state = trajectory(config, devices)
    assert len(state.step.sharding.device_set) == 8
    np.testing.assert_allclose(many[:, :3], one[:, :3], rtol=0, atol=1e-10)
    np.testing.assert_allclose(many[:, 3], one[:, 3], rtol=1e-9)
    for part, other in ((state.params, state_of_one.params), (state.batch_stats, state_of_one.batch_stats)):
        for name, array in part.items():
            np.testing.assert_allclose(array, other[name], atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_eight_devices_train_like_one_in_float32():
    one, state_of_one = trajectory(tiny.config(), (1, 1))
    many, state = trajectory(tiny.config(), (8, 1))
    with jax.enable_x64(True):
        exact, exact_state = trajectory(tiny.config(dtype="float64", param_dtype="float64"), (1, 1))

    def losses_apart(found, expected):
        return np.max(np.abs(found - expected)[:, :3] / exact[:, :3], axis=1)

    def weights_apart(found, expected):
        differences = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), found.params, expected.params)
        return np.linalg.norm([np.linalg.norm(array) for array in differences.values()])

    np.testing.assert_allclose(many[0, :3], one[0, :3], rtol=1e-5)
    # Two float32 runs, each so far from float64, can lie twice as far apart.
    few_ulps = 4 * np.finfo(np.float32).eps
    assert (losses_apart(many, one) <= 2 * losses_apart(one, exact) + few_ulps).all()
    assert weights_apart(state, state_of_one) <= 2 * weights_apart(state_of_one, exact_state)


def single(config, **changes):
    """The pure step, its model and a state, without jit."""
    optimizer = optax.sgd(0.1)
    factory = StateFactory(tiny.model(config), optimizer, mesh(1, 1), ema=changes.get("ema", 0) > 0)

    def step(state, batch):
        return train_step(factory.model, optimizer, options(config.au_set, **changes), state, batch)

    return jax.jit(step), start(factory)


@pytest.mark.slow
def test_micro_batches_add_up_to_the_batch():
    config = tiny.config()
    half = tiny.batch(clips=4)
    # Every second clip is a micro-batch: both hold the same clips, so that their statistics are the batch's.
    batch = {name: np.repeat(array, 2, axis=0) for name, array in half.items()}
    batch["labels"][::2, 0] = facs.UNKNOWN
    (whole, state), (cut, _) = single(config), single(config, accumulate=2)
    after_whole, metrics_whole = whole(state, batch)
    after_cut, metrics_cut = cut(state, batch)
    for name, value in metrics_whole.items():
        np.testing.assert_allclose(metrics_cut[name], value, rtol=2e-4, err_msg=name)
    for name, array in after_whole.params.items():
        np.testing.assert_allclose(after_cut.params[name], array, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_micro_batches_are_groups_that_are_normalised_apart(float64):
    """Two micro-batches are one batch of twice the clips whose halves are normalised apart."""
    config = tiny.config(dtype="float64", param_dtype="float64", tcn=False)
    batch = tiny.batch(clips=4, frames=2)
    batch["labels"][1, 1, :3] = facs.UNKNOWN
    apart = dataclasses.replace(config, batch_norm_groups=2)
    (whole, state), (cut, _), (together, _) = single(apart), single(config, accumulate=2), single(config)
    after_cut, metrics_cut = cut(state, batch)
    # Every second clip is a micro-batch, and groups are clips that follow each other.
    sorted_batch = {name: np.concatenate([array[::2], array[1::2]]) for name, array in batch.items()}
    after_whole, metrics_whole = whole(state, sorted_batch)
    for name, value in metrics_whole.items():
        np.testing.assert_allclose(metrics_cut[name], value, rtol=1e-10, err_msg=name)
    for name, array in after_whole.params.items():
        np.testing.assert_allclose(after_cut.params[name], array, rtol=0, atol=1e-10, err_msg=name)
    # Normalised together, the batch has another loss: that is what is lost.
    assert abs(together(state, batch)[1]["loss"] / metrics_cut["loss"] - 1) > 1e-6


def test_the_average_follows_the_parameters():
    step, state = single(tiny.config(), ema=0.75)
    after, _ = step(state, tiny.batch())
    name = "classifier.prototypes"
    expected = 0.75 * state.params[name] + 0.25 * after.params[name]
    np.testing.assert_allclose(after.ema[name], expected, atol=1e-6)
    assert np.abs(after.params[name] - state.params[name]).max() > 1e-5
    assert after.evaluated_params is after.ema
    assert single(tiny.config())[1].ema is None


def test_training_lowers_the_loss_of_a_batch():
    optimizer = make_optimizer(3e-3, 40)
    config = tiny.config()
    factory = StateFactory(tiny.model(config), optimizer, mesh(1, 1), ema=False)
    step = jit_train_step(factory.model, optimizer, options(), mesh(1, 1), factory.shardings)
    state, losses = start(factory), []
    batch = parallel.put_batch(tiny.batch(clips=2, frames=2), mesh(1, 1))
    for _ in range(40):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.5 * losses[0]
    assert int(state.step) == 40


def test_a_data_set_with_other_aus_is_one_entry():
    au_set = facs.AUSet(
        name="five",
        title="Five",
        aus=(2, 9, 12, 25, 45),
        regions=(
            facs.RegionGroup("up", "upper", (45, 2)),
            facs.RegionGroup("mid", "middle", (9,)),
            facs.RegionGroup("down", "lower", (12, 25)),
        ),
        region_blocks=True,
        fps=30.0,
    )
    step, state = single(tiny.config(au_set))
    state, metrics = step(state, tiny.batch(au_set))
    assert np.isfinite(float(metrics["loss"]))
    assert state.params["classifier.prototypes"].shape == (5, 8)
    heads = [a.shape[-1] for n, a in state.params.items() if "classifiers" in n and n.endswith("kernel")]
    assert heads == [4, 2, 4]


@pytest.mark.slow
def test_bfloat16_steps_are_near_float32():
    (full, state), (half, _) = single(tiny.config()), single(tiny.config(dtype="bfloat16"))
    away = {"au_loss": [], "region_loss": []}
    for seed in range(5):
        batch = tiny.batch(seed=seed)
        (_, expected), (after, found) = full(state, batch), half(state, batch)
        for name, distances in away.items():
            distances.append(abs(found[name] / expected[name] - 1))
    assert max(away["region_loss"]) < 0.005
    # The loss of an AU is steep where a score is almost 0, as some are with these weights.
    assert np.median(away["au_loss"]) < 0.05
    assert max(away["au_loss"]) < 0.2
    assert {array.dtype for array in after.params.values()} == {jnp.dtype("float32")}


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_steps_export_for_every_platform(platform):
    config = tiny.config()
    step, state = single(config)
    exported = export.export(step, platforms=[platform])(state, tiny.batch())
    assert exported.platforms == (platform,)

    def evaluate(params, stats, batch):
        return eval_step(tiny.model(config), tiny.SIZE, params, stats, batch)

    batch = {name: tiny.batch()[name] for name in ("frames", "labels")}
    batch["frame_valid"] = np.ones(batch["labels"].shape[:2], bool)
    exported = export.export(jax.jit(evaluate), platforms=[platform])(state.params, state.batch_stats, batch)
    assert exported.platforms == (platform,)


def test_evaluation_counts_known_frames_of_every_au():
    config = tiny.config()
    params, stats = tiny.weights(config)
    batch = tiny.batch()
    labels = batch["labels"]
    labels[:, 0], labels[:, 1] = 0, 1  # every AU changes in every window
    batch["frame_valid"] = np.ones(labels.shape[:2], bool)
    labels[0, 3:], batch["frame_valid"][0, 3:] = facs.UNKNOWN, False  # a window that ends early
    labels[1, 2] = facs.UNKNOWN  # a frame without any label in a full window
    counts, scores = jax.jit(lambda b: eval_step(tiny.model(config), tiny.SIZE, params, stats, b))(batch)

    def frames(counted):
        return (counted.tp + counted.fp + counted.fn + counted.tn).tolist()

    assert frames(counts.overall) == [8 * 4 - 2] * 12
    assert frames(counts.changing) == [7 * 4 - 1] * 12
    assert (counts.overall.tp + counts.overall.fn).tolist() == (labels == 1).sum((0, 1)).tolist()
    expected = EvalCounts.from_model_output(scores, labels, batch["frame_valid"])
    jax.tree.map(np.testing.assert_array_equal, counts, expected)
