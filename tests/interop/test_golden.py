"""The whole model, loss and optimiser against the PyTorch reference in float64."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from mdhr_jax import parallel
from mdhr_jax.interop import from_torch, measurements, names, to_torch
from mdhr_jax.interop.comparison_inputs import Inputs
from mdhr_jax.interop.jax_side import JaxSide
from mdhr_jax.interop.torch_weights import reference_config
from mdhr_jax.models.functional import FunctionalModel, flatten, unflatten
from mdhr_jax.models.swin import Swin
from mdhr_jax.training import losses
from mdhr_jax.training.optimizer import make_optimizer
from tests.interop import golden_fixtures

pytestmark = pytest.mark.slow

LONG = ("bp4d_resnet", "disfa_swin")  # 16 frames, k = 5, in float32 too.
SHORT = ("bp4d_swin", "disfa_resnet")  # Few frames, smaller k.
LARGE = "MDHR_LARGE_TESTS" in os.environ


@functools.cache
def load(name):
    return golden_fixtures.load(name)


@pytest.fixture(params=LONG + SHORT)
def golden(request):
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield load(request.param)


def build(golden):
    model = from_torch(
        golden.state_dict(),
        dataset=golden.dataset,
        backbone=golden.backbone,
        num_neighbors=golden.neighbors,
        dtype="float64",
    )
    _, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    return FunctionalModel.create(model.config), flatten(params), flatten(batch_stats), model


def test_scores_and_region_logits_are_the_references(golden):
    model, params, batch_stats, module = build(golden)
    output = jax.jit(model.predict)(params, batch_stats, golden.clips())
    expected = golden.arrays["eval/f64/scores"]
    np.testing.assert_allclose(output.scores, expected, rtol=0, atol=1e-9)
    assert len(output.region_logits) == len(golden.au_set.regions)
    for i, logits in enumerate(output.region_logits):
        expected = golden.arrays[f"eval/f64/region{i}"]
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-8 * np.abs(expected).max())

    tensors, given = to_torch(module), golden.state_dict()
    assert {name: tensor.shape for name, tensor in tensors.items()} == golden.shapes
    for name, tensor in given.items():
        np.testing.assert_array_equal(tensors[name], tensor, err_msg=name)


@pytest.fixture(params=LONG)
def golden_in_float32(request):
    with jax.default_matmul_precision("highest"):
        yield load(request.param)


def test_float32_is_as_near_to_float64_as_pytorchs(golden_in_float32, capsys):
    """Frames near a tie of region logits are left out, and checked with the decisions of float64."""
    golden = golden_in_float32
    au_set, count = golden.au_set, golden.num_clips * golden.num_frames
    exact = {
        measurements.region_stage(region): golden.arrays[f"eval/f64/region{i}"]
        for i, region in enumerate(au_set.regions)
    }
    near = measurements.within_reach(measurements.nearly_tied(au_set, exact), golden.num_frames)
    with capsys.disabled():
        print(f"{golden.dataset} {golden.backbone}: {near.sum()} of {count} frames lie near a tie")
    assert near.sum() < count / 2

    side = JaxSide(reference_config(golden.dataset, golden.backbone))
    side.load(golden.state_dict(np.float32))
    inputs = Inputs(au_set, golden.clips().astype(np.float32), golden.labels(), golden.class_weights())
    expected, theirs = (golden.arrays[f"eval/{f}/scores"].reshape(count, -1) for f in ("f64", "f32"))
    allowed = max(3 * np.abs(theirs - expected)[~near].max(), 1e-6)
    free = side.evaluate(inputs)
    given = side.evaluate(inputs, measurements.decided(au_set, exact))
    for scores, frames in ((free["scores"], ~near), (given["scores"], np.ones(count, bool))):
        assert np.abs(scores - expected)[frames].max() <= allowed


class FrameByFrame(nnx.Module):
    """A backbone without batch statistics, one frame of each clip at a time: a tenth of the memory."""

    def __init__(self, backbone, clips):
        self.backbone, self.clips = backbone, clips

    def __call__(self, images):
        frames = images.reshape(self.clips, -1, *images.shape[1:]).swapaxes(0, 1)
        features = jax.lax.map(jax.checkpoint(self.backbone), frames)
        return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), features)


@pytest.mark.skipif(not LARGE, reason="needs 12 GiB of memory; set MDHR_LARGE_TESTS=1 to run it")
def test_eight_devices_give_the_references_scores(golden):
    model, params, batch_stats, _ = build(golden)
    mesh = parallel.make_mesh(data=4, fsdp=2)
    assert mesh.size == 8
    params = jax.device_put(params, parallel.state_shardings(model.param_shapes, mesh))
    batch_stats = jax.device_put(batch_stats, parallel.replicated(mesh))
    repeats = 8 // golden.num_clips
    clips = jax.device_put(np.tile(golden.clips(), (repeats, 1, 1, 1, 1)), parallel.batch_sharding(mesh))

    @jax.jit
    def predict(params, batch_stats, clips):
        module = nnx.merge(model.eval_graph, unflatten(params), unflatten(batch_stats))
        module.backbone = FrameByFrame(module.backbone, clips=8)
        return module(clips).scores

    scores = predict(params, batch_stats, clips)
    assert len(scores.sharding.device_set) == 8
    expected = np.tile(golden.arrays["eval/f64/scores"], (repeats, 1, 1))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-9)


def test_training_is_the_references(golden):
    if golden.num_frames == 16 and not LARGE:
        pytest.skip("needs minutes and up to 15 GiB of memory; set MDHR_LARGE_TESTS=1 to run it")
    model, params, batch_stats = build(golden)[:3]
    clips, labels = jnp.asarray(golden.clips()), jnp.asarray(golden.labels())
    region_labels = losses.encode_region_labels(golden.au_set, labels)
    class_weights = golden.class_weights()
    optimizer = make_optimizer(1e-4, 10)

    def loss(params, batch_stats):
        module = nnx.merge(model.train_graph, unflatten(params), unflatten(batch_stats))
        if isinstance(module.backbone, Swin):
            module.backbone = FrameByFrame(module.backbone, golden.num_clips)
        output, batch_stats = module(clips), flatten(nnx.state(module, nnx.BatchStat))
        value = losses.total_loss(output.scores, output.region_logits, labels, region_labels, class_weights)
        return value.total, (value, output.scores, batch_stats)

    def apply(params, opt_state, grads):
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    update = jax.jit(apply, donate_argnums=(0, 1))
    opt_state = optimizer.init(params)
    *before, last = golden.arrays["train/f64/losses"]
    for number, expected in enumerate(before):
        grads, (value, scores, batch_stats) = gradient(params, batch_stats)
        assert_losses(value, expected)
        if number == 0:
            np.testing.assert_allclose(scores, golden.arrays["train/f64/scores"], rtol=0, atol=1e-9)
            check_gradients(in_torch(grads, golden), golden)
            check_statistics(in_torch(batch_stats, golden), golden)
        params, opt_state = update(params, opt_state, grads)
        del grads
    # Nothing is updated after the last losses: they need no gradients, which take most of a step.
    assert_losses(jax.jit(loss)(params, batch_stats)[1][0], last)


def assert_losses(found, expected):
    np.testing.assert_allclose([found.total, found.au, found.region], expected, rtol=0, atol=1e-7)


def in_torch(arrays, golden):
    """Arrays under PyTorch's names."""
    found = {}
    for path, source in names.sources(list(arrays), golden.au_set).items():
        parts = source.layout.split(np.asarray(arrays[path]), len(source.names))
        found |= dict(zip(source.names, parts, strict=True))
    return found


def check_gradients(gradients, golden):
    expected = golden.gradient_norms["f64"]
    assert gradients.keys() == expected.keys()
    real = [name for name, norm in expected.items() if norm > 1e-6]
    assert len(real) > 200
    found = [np.linalg.norm(gradients[name]) for name in real]
    np.testing.assert_allclose(found, [expected[name] for name in real], rtol=1e-6)


def check_statistics(statistics, golden):
    expected = golden.statistics["f64"]
    assert {name for name in statistics if not name.endswith("num_batches_tracked")} == expected.keys()
    for name, moments in expected.items():
        found = [statistics[name].mean(), np.sqrt(np.square(statistics[name]).mean())]
        np.testing.assert_allclose(found, moments, rtol=1e-7, err_msg=name)
    counters = {int(array) for name, array in statistics.items() if name.endswith("num_batches_tracked")}
    assert counters == {1}


@pytest.mark.skipif(not LARGE, reason="needs 20 GiB of memory; set MDHR_LARGE_TESTS=1 to run it")
def test_training_over_eight_devices_is_the_references():
    """Eight times one clip: losses, gradients and means are those of one."""
    golden = load("disfa_resnet")
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        model, params, batch_stats, _ = build(golden)
        mesh = parallel.make_mesh(data=1, fsdp=8)
        shardings = parallel.state_shardings(model.param_shapes, mesh)
        params = jax.device_put(params, shardings)
        batch_stats = jax.device_put(batch_stats, parallel.replicated(mesh))
        clips, labels = (
            jax.device_put(np.repeat(x, 8, axis=0), parallel.batch_sharding(mesh))
            for x in (golden.clips(), golden.labels())
        )

        def loss(params, batch_stats, clips, labels):
            output, batch_stats = model.train(params, batch_stats, clips, None)
            codes = losses.encode_region_labels(golden.au_set, labels)
            weights = jnp.asarray(golden.class_weights())
            value = losses.total_loss(output.scores, output.region_logits, labels, codes, weights)
            return value.total, (value, output.scores, batch_stats)

        gradient = jax.jit(jax.grad(loss, has_aux=True), out_shardings=(shardings, None))
        grads, (value, scores, batch_stats) = gradient(params, batch_stats, clips, labels)
        assert len(scores.sharding.device_set) == 8
        expected = np.repeat(golden.arrays["train/f64/scores"], 8, axis=0)
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-9)
        assert_losses(value, golden.arrays["train/f64/losses"][0])
        check_gradients(in_torch(grads, golden), golden)
        found = in_torch(batch_stats, golden)
        for name, (mean, _) in golden.statistics["f64"].items():
            if name.endswith("running_mean"):
                np.testing.assert_allclose(found[name].mean(), mean, rtol=1e-7, atol=1e-12, err_msg=name)
