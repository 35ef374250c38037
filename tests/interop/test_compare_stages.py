import functools

import jax
import numpy as np
import pytest
from flax import nnx

from mdhr_jax import facs
from mdhr_jax.interop import comparison_inputs, measurements
from mdhr_jax.interop.jax_side import JaxSide, JaxTraining
from mdhr_jax.interop.stages import forward_stages
from mdhr_jax.models.functional import flatten, unflatten
from tests import tiny
from tests.interop import golden_fixtures

AU_SETS = pytest.mark.parametrize("au_set", [facs.BP4D, facs.DISFA], ids=lambda au_set: au_set.name)


@functools.cache
def jitted(config, training):
    def run(params, stats, clips, given):
        graph = tiny.model(config).train_graph if training else tiny.model(config).eval_graph
        model = nnx.merge(graph, unflatten(params), unflatten(stats))
        found = forward_stages(model, clips, given)
        return found, flatten(nnx.state(model, nnx.BatchStat))

    return jax.jit(run)


def stages(config, *, training=False, given=None):
    """The stages of two clips, and the batch statistics afterwards."""
    free = np.full((6, config.au_set.num_aus), -1, np.int8)
    return jitted(config, training)(*tiny.weights(config), tiny.clips(), free if given is None else given)


@AU_SETS
def test_the_last_stage_is_what_the_model_predicts(au_set):
    config = tiny.config(au_set)
    found, _ = stages(config)
    expected = jax.jit(tiny.model(config).predict)(*tiny.weights(config), tiny.clips())
    np.testing.assert_allclose(found["scores"].reshape(2, 3, -1), expected.scores, rtol=1e-6, atol=1e-7)
    for region, logits in zip(au_set.regions, expected.region_logits, strict=True):
        name = measurements.region_stage(region)
        np.testing.assert_allclose(found[name], logits, rtol=1e-5, atol=1e-6)


def test_in_training_mode_too_with_the_same_running_statistics():
    config = tiny.config()
    found, stats = stages(config, training=True)
    train = jax.jit(lambda *arrays: tiny.model(config).train(*arrays, None))
    expected, expected_stats = train(*tiny.weights(config), tiny.clips())
    np.testing.assert_allclose(found["scores"].reshape(2, 3, -1), expected.scores, rtol=1e-5, atol=1e-6)
    assert stats.keys() == expected_stats.keys()
    for name, value in expected_stats.items():
        np.testing.assert_allclose(stats[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@AU_SETS
def test_all_stages_are_there_with_the_frames_first(au_set):
    found, _ = stages(tiny.config(au_set))
    assert set(found) == set(measurements.stage_names(au_set))
    assert {array.shape[0] for array in found.values()} == {6}
    assert found["MFD weight logits"].shape == (6, 4, 4)


def test_given_decisions_replace_those_of_the_region_classifiers():
    config = tiny.config()
    free, _ = stages(config)
    own = measurements.decided(facs.BP4D, {name: np.asarray(x) for name, x in free.items()})
    np.testing.assert_array_equal(own, free["predicted activations"])
    same, _ = stages(config, given=own)
    np.testing.assert_array_equal(same["graph output"], free["graph output"])
    other, _ = stages(config, given=np.where(own == 1, 0, -1).astype(np.int8))
    alone, _ = stages(config, given=np.zeros_like(own))
    np.testing.assert_array_equal(other["graph output"], alone["graph output"])
    assert np.abs(alone["graph output"] - free["graph output"]).max() > 1e-3
    np.testing.assert_array_equal(alone["predicted activations"], free["predicted activations"])


def test_a_model_that_the_reference_does_not_have_is_refused():
    config = tiny.config(tcn=False)
    with pytest.raises(ValueError, match="temporal head"):
        stages(config)


def test_weights_and_clips_are_those_of_the_specification():
    shapes = {"a.weight": (3, 4, 5, 5), "a.bias": (3,), "bn.weight": (7,), "bn.running_mean": (7,)}
    found = comparison_inputs.parameter_values(shapes)
    assert list(found) == ["a.weight", "a.bias", "bn.weight"]
    for name, value in found.items():
        np.testing.assert_array_equal(value, golden_fixtures.weight(name, shapes[name]))
    inputs = comparison_inputs.make_inputs(facs.DISFA, batch=2, clip_length=3, seed=0)
    assert inputs.clips.shape == (2, 3, 224, 224, 3)
    assert inputs.labels.shape == (2, 3, 8)
    assert inputs.num_frames == 6
    assert 0.2 < inputs.labels.mean() < 0.5
    other = comparison_inputs.make_inputs(facs.DISFA, batch=2, clip_length=3, seed=1)
    assert np.abs(inputs.clips - other.clips).max() > 0.1


@pytest.mark.slow
def test_our_trajectory_is_that_of_a_plain_training_step():
    """Stage by stage with separate updates, as compared, and in one step, as timed and trained."""
    config = tiny.config(facs.DISFA)
    rng = np.random.default_rng(0)
    clips = np.asarray(tiny.clips())
    labels = rng.integers(0, 2, (2, 3, 8), np.int8)
    inputs = comparison_inputs.Inputs(facs.DISFA, clips, labels, np.linspace(0.5, 1.5, 8))
    side = JaxSide(config)
    side.params, side.batch_stats = tiny.weights(config)
    done = []
    evaluated = side.measure(inputs, None, 0, done.append)
    assert done == ["evaluation"]
    assert (evaluated.training, evaluated.gradients, evaluated.stepped) == ((), {}, {})
    measured = side.measure(inputs, None, 3, done.append)
    assert done[1:] == ["evaluation", "step 1", "step 2", "step 3"]
    assert measured.losses[2, 0] < measured.losses[0, 0]
    assert measured.stages_given == {}
    assert set(measured.stages) == set(evaluated.stages)
    assert measured.stepped["TCN.bn.num_batches_tracked"] == 1
    assert measured.buffers["TCN.bn.running_var"].tolist() == measured.stepped["TCN.bn.running_var"].tolist()

    training = JaxTraining(side, inputs.au_weights, measurements.LEARNING_RATE, measurements.SCHEDULE_STEPS)
    for expected in measured.losses:
        np.testing.assert_allclose(training.step(side.clips(clips), labels), expected, rtol=2e-4)
