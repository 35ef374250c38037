import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from mdhr_jax import facs
from mdhr_jax.interop import WeightsError, from_torch, names, to_torch
from mdhr_jax.interop.torch_weights import reference_config, tensors_from_arrays
from mdhr_jax.models.functional import FunctionalModel, flatten, unflatten
from mdhr_jax.models.mdhr import MDHR, MDHRConfig
from mdhr_jax.training import losses
from mdhr_jax.training.optimizer import make_optimizer
from tests import tiny
from tests.interop import golden_fixtures


def shapes_of(dataset, backbone):
    """The reference's names and shapes, from our model."""
    config = reference_config(dataset, backbone)
    params, batch_stats = tiny.shapes(config)
    found = {}
    for path, source in names.sources([*params, *batch_stats], config.au_set).items():
        found |= dict.fromkeys(source.names, source.torch_shape((params | batch_stats)[path].shape))
    return found


@pytest.mark.parametrize("name", ["bp4d_resnet", "disfa_swin"])
def test_names_and_shapes_are_the_references(name):
    golden = golden_fixtures.load(name)
    expected = {n: shape for n, shape in golden.shapes.items() if not names.is_constant(n)}
    assert shapes_of(golden.dataset, golden.backbone) == expected


@pytest.mark.parametrize(("dataset", "backbone"), [("bp4d", "swin_base"), ("disfa", "resnet50")])
def test_no_tensor_is_used_twice(dataset, backbone):
    config = reference_config(dataset, backbone)
    params, batch_stats = tiny.shapes(config)
    used = [n for s in names.sources([*params, *batch_stats], config.au_set).values() for n in s.names]
    assert len(used) == len(set(used))


@pytest.fixture(scope="module")
def state_dict():
    """Weights of the reference's BP4D model, with a backbone small enough for tests."""
    return {
        name: np.array(7) if name.endswith("num_batches_tracked") else golden_fixtures.weight(name, shape)
        for name, shape in shapes_of("bp4d", "resnet18").items()
    }


def test_there_and_back_is_exact(state_dict, float64):
    model = from_torch(state_dict, dataset="BP4D", backbone="ResNet18", dtype="float64", num_neighbors=3)
    assert model.config.neighbors == 3
    back = to_torch(model)
    assert back.keys() == state_dict.keys()
    for name, tensor in state_dict.items():
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)
        assert back[name].dtype == tensor.dtype


def test_weights_trained_for_a_step_go_back(state_dict, float64):
    """There, one training step, and back: the reference would load all of it, and find our scores."""
    model = from_torch(state_dict, dataset="bp4d", backbone="resnet18", dtype="float64", num_neighbors=2)
    _, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    functional = FunctionalModel.create(model.config)
    rng = np.random.default_rng(0)
    clips = jnp.asarray(rng.normal(size=(1, 3, 64, 64, 3)))
    labels = jnp.asarray(rng.integers(0, 2, (1, 3, 12)))
    optimizer = make_optimizer(1e-3, 10)

    def loss(params, batch_stats):
        output, batch_stats = functional.train(params, batch_stats, clips, None)
        codes = losses.encode_region_labels(facs.BP4D, labels)
        value = losses.total_loss(output.scores, output.region_logits, labels, codes, jnp.ones(12))
        return value.total, batch_stats

    @jax.jit
    def step(params, batch_stats):
        grads, batch_stats = jax.grad(loss, has_aux=True)(params, batch_stats)
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        return optax.apply_updates(params, updates), batch_stats

    params, batch_stats = step(flatten(params), flatten(batch_stats))
    back = to_torch(nnx.merge(functional.eval_graph, unflatten(params), unflatten(batch_stats)))
    assert back.keys() == state_dict.keys()
    for name, tensor in back.items():
        assert (tensor.shape, tensor.dtype) == (state_dict[name].shape, state_dict[name].dtype), name
        if name.endswith("num_batches_tracked"):
            assert tensor == 8
    moved = [name for name, tensor in back.items() if np.abs(tensor - state_dict[name]).max() > 1e-5]
    assert len(moved) > 0.9 * len(back)
    again = from_torch(back, dataset="bp4d", backbone="resnet18", dtype="float64", num_neighbors=2)
    expected = jax.jit(functional.predict)(params, batch_stats, clips).scores
    found = jax.jit(lambda clips: again(clips).scores)(clips)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_the_model_is_in_evaluation_mode(state_dict):
    model = from_torch(state_dict, dataset="bp4d", backbone="resnet18")
    before = np.asarray(model.static.norm.mean[...])
    assert model.static.norm.use_running_average
    output = jax.eval_shape(lambda clips: model(clips), jnp.zeros((1, 2, 64, 64, 3)))
    assert output.scores.shape == (1, 2, 12)
    assert [logits.shape for logits in output.region_logits] == [(2, 16), (2, 2), (2, 8), (2, 16)]
    np.testing.assert_array_equal(model.static.norm.mean[...], before)


def test_wrapped_checkpoints_are_taken(state_dict):
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state_dict.items()}}
    without_counters = {n: t for n, t in state_dict.items() if not n.endswith("num_batches_tracked")}
    for given, count in ((wrapped, 7), (without_counters, 0)):
        back = to_torch(from_torch(given, dataset="bp4d", backbone="resnet18"))
        np.testing.assert_array_equal(back["TCN.bn.weight"], state_dict["TCN.bn.weight"].astype(np.float32))
        assert back["LRM.class_linears.11.bn.num_batches_tracked"] == count


def test_everything_that_is_wrong_is_told_at_once(state_dict):
    broken = dict(state_dict)
    del broken["MFD.conv2.weight"]
    broken["MFD.conv5.weight"] = np.zeros(3)
    broken["TCN.bn.weight"] = np.zeros(8)
    with pytest.raises(WeightsError) as caught:
        from_torch(broken, dataset="bp4d", backbone="resnet18")
    text = str(caught.value)
    assert "missing (1):\n    MFD.conv2.weight" in text
    assert "unexpected (1):\n    MFD.conv5.weight" in text
    assert "TCN.bn.weight: found (8,), expected (12,)" in text
    assert caught.value.problems == 3


def test_weights_of_another_data_set_are_refused(state_dict):
    with pytest.raises(WeightsError, match=r"LRM\.down_fc\.weight"):
        from_torch(state_dict, dataset="disfa", backbone="resnet18")
    with pytest.raises(WeightsError, match="no tensors by name: the file holds epoch"):
        from_torch({"epoch": 3}, dataset="bp4d", backbone="resnet18")


@pytest.mark.parametrize("changes", [{"variant": "paper"}, {"mfd_scales": (1, 2)}, {"tcn": False}])
def test_models_that_the_reference_cannot_build_are_refused(changes):
    config = MDHRConfig(facs.BP4D, backbone="resnet18", **changes)
    model = nnx.eval_shape(lambda: MDHR(config, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=next(iter(changes))):
        to_torch(model)


def test_swin_has_the_buffers_that_the_architecture_determines():
    config = reference_config("disfa", "swin_base")
    masks = tensors_from_arrays({}, config)
    golden = golden_fixtures.load("disfa_swin")
    assert {name: array.shape for name, array in masks.items()} == {
        name: shape for name, shape in golden.shapes.items() if names.is_constant(name)
    }
    assert set(np.unique(masks["Backbone.layers.0.blocks.1.attn_mask"])) == {-100.0, 0.0}
    assert masks["Backbone.layers.3.blocks.1.attn.relative_position_index"].max() == 168
