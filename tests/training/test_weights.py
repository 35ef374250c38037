import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdhr_jax import config as config_lib
from mdhr_jax.training.checkpoints import Checkpoints
from mdhr_jax.training.experiment import open_experiment
from mdhr_jax.training.state import TrainState
from mdhr_jax.training.weights import check_config, load_initial
from tests import tiny


def start(experiment):
    states = experiment.states
    params, stats = tiny.weights(states.model.config, seed=0)
    ema = jax.tree.map(jnp.copy, params) if states.ema else None
    state = TrainState(jnp.int32(0), params, stats, states.optimizer.init(params), jax.random.key(0), ema)
    return jax.device_put(state, states.shardings)


def save(directory, experiment, *, average=False, **meta):
    """A checkpoint of other weights of the experiment's model; returns parameters and statistics in it."""
    params, stats = tiny.weights(experiment.states.model.config, seed=1)
    stats = {name: array + 1 for name, array in stats.items()}
    state = {"params": params, "batch_stats": stats}
    if average:
        state["ema"] = {name: 2 * array for name, array in params.items()}
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(1, state, experiment.metadata() | meta)
    return state.get("ema", params), stats


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.parametrize("average", [False, True])
def test_a_whole_model_starts_from_what_was_evaluated(average, config, tmp_path):
    config.train.ema = 0.5
    experiment = open_experiment(config)
    params, stats = save(tmp_path, experiment, average=average)
    config.model.init_from = str(tmp_path)
    before = start(experiment)
    after = load_initial(experiment, before)
    assert_equal(after.params, params)
    assert_equal(after.ema, params)
    assert_equal(after.batch_stats, stats)
    assert after.opt_state is before.opt_state
    assert jax.tree.map(lambda array: array.sharding, after) == experiment.states.shardings


def test_a_backbone_starts_from_a_run_on_anything(config, tmp_path):
    experiment = open_experiment(config)
    params, _ = save(tmp_path, experiment, average=True, au_names=["AU1"], dataset="other")
    config.model.pretrained = str(tmp_path)
    before = start(experiment)
    after = load_initial(experiment, before)
    backbone = {name for name in params if name.startswith("backbone.")}
    assert_equal(after.params, before.params | {name: params[name] for name in backbone})
    assert_equal(after.batch_stats, before.batch_stats)
    assert after.ema is None


def test_without_a_path_the_weights_stay_random(config):
    experiment = open_experiment(config)
    state = start(experiment)
    assert load_initial(experiment, state) is state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"au_names": ["AU1", "AU2"]}, "au_names: found \\['AU1', 'AU2'\\]"),
        ({"model": {"variant": "paper"}}, "model.variant: found 'paper', expected 'reference'"),
        ({"model": {"width": 16}}, "model.width: found 16, expected 8"),
    ],
)
def test_another_model_is_refused(change, message, config, tmp_path):
    experiment = open_experiment(config)
    if "model" in change:
        change = {"model": experiment.identity()["model"] | change["model"]}
    save(tmp_path, experiment, **change)
    config.model.init_from = str(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_initial(experiment, start(experiment))


def test_other_arrays_are_counted_and_the_first_are_named(config, tmp_path):
    experiment = open_experiment(config)
    params, _ = tiny.weights(experiment.states.model.config)
    params = {name: array for name, array in params.items() if ".stages.0." not in name}
    params["backbone.stem_conv.kernel"] = params["backbone.stem_conv.kernel"][:2]
    params["backbone.extra"] = jnp.zeros(1)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"params": params, "batch_stats": {"static.norm.mean": jnp.zeros(8)}}, {})
    config.model.pretrained = str(tmp_path)
    with pytest.raises(ValueError, match="are not those of this backbone") as caught:
        load_initial(experiment, start(experiment))
    lines = str(caught.value).splitlines()
    assert lines[1] == "  backbone.extra: not in this model"
    assert lines[2] == "  backbone.stages.0.0.convs.0.kernel: missing in the file"
    assert lines[6] == "  and 3 more"


def test_weights_that_have_seen_the_test_part_are_told(config, tmp_path, capsys):
    experiment = open_experiment(config)
    save(tmp_path / "same", experiment)
    save(tmp_path / "other", experiment, fold=2, crop_recipe={"name": "loose"})
    said = {}
    for name in ("same", "other"):
        config.model.init_from = str(tmp_path / name)
        load_initial(experiment, start(experiment))
        said[name] = capsys.readouterr().err
    assert said["same"] == ""
    assert f"{tmp_path / 'other'} was trained on fold 2; this run tests on fold 1" in said["other"]
    assert "cut out as {'name': 'loose'}" in said["other"]


@pytest.mark.parametrize(
    ("pretrained", "init_from", "kind", "message"),
    [
        ("", "", ValueError, "bp4d is trained from ImageNet weights.*\n.*\n.*--backbone resnet50\n.*=none"),
        ("here", "here", ValueError, "pretrained=.*here would have no effect; name one of them"),
        ("missing", "", FileNotFoundError, "config.model.pretrained names .*missing, which does not exist"),
        ("", "missing", FileNotFoundError, "config.model.init_from names .*missing, which does not exist"),
        ("none", "missing", FileNotFoundError, "config.model.init_from names"),
    ],
)
def test_a_config_must_say_where_the_weights_are(pretrained, init_from, kind, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    config = config_lib.base()
    config.model.pretrained, config.model.init_from = pretrained, init_from
    with pytest.raises(kind, match=message):
        check_config(config)


@pytest.mark.parametrize(
    ("pretrained", "init_from"), [("none", ""), ("here", ""), ("", "here"), ("none", "here")]
)
def test_one_place_for_the_weights_is_enough(pretrained, init_from, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    config = config_lib.base()
    config.model.pretrained, config.model.init_from = pretrained, init_from
    check_config(config)
