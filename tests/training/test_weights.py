import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdhr_jax import config as config_lib
from mdhr_jax import facs
from mdhr_jax.data import layout
from mdhr_jax.training import transfer
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


def save(directory, experiment, *, average=False, au_set=None, **meta):
    """A checkpoint of other weights of the experiment's model; returns parameters and statistics in it."""
    of_model = experiment.states.model.config
    if au_set is not None:
        of_model = dataclasses.replace(of_model, au_set=au_set)
        meta |= {"dataset": au_set.name, "au_names": list(au_set.au_names)}
    params, stats = tiny.weights(of_model, seed=1)
    stats = {name: array + 1 for name, array in stats.items()}
    state = {"params": params, "batch_stats": stats}
    if average:
        state["ema"] = {name: 2 * array for name, array in params.items()}
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(1, state, experiment.metadata() | meta)
    return state.get("ema", params), stats


def test_checkpoints_say_how_the_faces_of_their_data_were_cut_out(config, tmp_path):
    experiment = open_experiment(config)
    save(tmp_path, experiment)
    stored = Checkpoints(tmp_path, read_only=True).restore_meta(1)["crop_recipe"]
    assert stored == layout.read_metadata(experiment.test_records.directory)["crop_recipe"]
    assert {"eye_height", "eye_distance"} <= stored.keys()


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
    after, origin = load_initial(experiment, before)
    assert (origin["taken"], origin["path"], origin["step"]) == ("model", str(tmp_path), None)
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
    after, origin = load_initial(experiment, before)
    assert (origin["taken"], origin["dataset"]) == ("backbone", "other")
    backbone = {name for name in params if name.startswith("backbone.")}
    assert_equal(after.params, before.params | {name: params[name] for name in backbone})
    assert_equal(after.batch_stats, before.batch_stats)
    assert after.ema is None


def part(arrays, name, au, au_set):
    """The part of an array that belongs to an AU, found by hand from the model's layout."""
    array = np.asarray(arrays[name])
    if not name.startswith("local.extractors"):
        return np.take(array, au_set.aus.index(au), axis=1 if name == "temporal.kernel" else 0)
    region = next(region for region in au_set.regions if au in region.aus)
    width = array.shape[-1] // len(region.aus)
    start = region.aus.index(au) * width
    return array[..., start : start + width]


def extractor_of(au, au_set, rest):
    number = next(i for i, region in enumerate(au_set.regions) if au in region.aus)
    return f"local.extractors.{number}.{rest}"


@pytest.mark.parametrize("variant", ["reference", "paper"])
def test_other_aus_get_what_fits_by_name(variant, config, tmp_path, capsys):
    config.model.variant, config.train.ema = variant, 0.5
    experiment = open_experiment(config)
    own_set = facs.SYNTHETIC_BP4D.for_variant(variant)
    other = facs.SYNTHETIC_DISFA
    loaded = dict(zip(("params", "stats"), save(tmp_path, experiment, au_set=other), strict=True))
    other = other.for_variant(variant)
    config.model.init_from = str(tmp_path)
    before = start(experiment)
    after, origin = load_initial(experiment, before)
    assert jax.tree.map(lambda array: array.sharding, after) == experiment.states.shardings
    assert_equal(after.ema, after.params)

    rest = ["kernel", "bias"]
    if variant == "reference":
        rest = ["linear.kernel", "linear.bias", "norm.scale", "norm.bias", "norm.mean", "norm.var"]
    own, fresh = {**after.params, **after.batch_stats}, {**before.params, **before.batch_stats}
    given = loaded["params"] | loaded["stats"]
    by_label = ["classifier.prototypes", "temporal.kernel", "temporal.bias"]
    by_label += [f"temporal.norm.{name}" for name in ("scale", "bias", "mean", "var")]
    shared = (1, 2, 4, 6, 12)
    for au in own_set.aus:
        extractors = [extractor_of(au, own_set, name) for name in rest]
        for name in (*by_label, *extractors):
            found = part(own, name, au, own_set)
            if au in shared:
                source = name if name in by_label else extractor_of(au, other, name.split(".", 3)[3])
                np.testing.assert_array_equal(found, part(given, source, au, other), err_msg=f"{name} {au}")
            else:
                np.testing.assert_array_equal(found, part(fresh, name, au, own_set), err_msg=f"{name} {au}")
    of_regions = {name for name in own if name.startswith(("local.classifiers", "local.region_blocks"))}
    of_regions |= {name for name in own if name.startswith("local.extractors") and own[name].ndim == 0}
    for name in of_regions:
        np.testing.assert_array_equal(own[name], fresh[name], err_msg=name)
    whole = {name for name in own if not name.startswith("local.")} - set(by_label)
    assert_equal({name: own[name] for name in whole}, {name: given[name] for name in whole})
    assert "backbone.stem_conv.kernel" in whole
    assert "graph.linear.kernel" in whole

    said = capsys.readouterr().err
    title = "synthetic (DISFA-like), this run of synthetic (BP4D-like)"
    assert f"{tmp_path} is of {title}; transferred: {len(whole)} arrays whole and, of " in said
    assert "the parts of AU1, AU2, AU4, AU6, AU12\n" in said
    aus = "AU7, AU10, AU14, AU15, AU17, AU23, AU24"
    heads = "local.classifiers[0, 1, 2, 3], local.extractors[3], local.region_blocks[0, 1, 2, 3]"
    heads = heads if variant == "reference" else "local.classifiers[0, 1, 2]"
    assert f"not transferred: {aus}, {heads} (initial values stay); " in said
    assert "not used: AU9, AU25, AU26, local.classifiers[0, 1, 2]\n" in said
    assert (origin["taken"], origin["dataset"]) == ("transfer", "synthetic_disfa")
    assert origin["transfer"]["whole"] == len(whole)
    assert origin["transfer"]["aus"] == ["AU1", "AU2", "AU4", "AU6", "AU12"]
    assert ("local.region_blocks[0, 1, 2, 3]" in origin["transfer"]["fresh"]) == (variant == "reference")


def test_a_region_with_the_same_aus_is_taken_whole(config, tmp_path):
    experiment = open_experiment(config)
    like = facs.SYNTHETIC_BP4D
    last = [region for region in like.regions if region.name != "mid"]
    moved = dataclasses.replace(
        like,
        name="moved_regions",
        aus=like.aus[::-1],
        regions=(facs.RegionGroup("mid", "upper", (6,)), last[2], last[1], last[0]),
    )
    given, given_stats = tiny.weights(tiny.config(moved), seed=1)
    own, own_stats = tiny.weights(experiment.states.model.config, seed=0)
    before = {**own, **own_stats}
    after, found = transfer.transfer(before, {**given, **given_stats}, like, moved)
    # Regions up, mid, down1, down2 there are 3, 0, 2, 1; the middle one reads another band.
    for number, source in ((0, 3), (2, 2), (3, 1)):
        for kind in ("classifiers", "region_blocks"):
            rest = "kernel" if kind == "classifiers" else "linear.kernel"
            name = f"local.{kind}.{number}.{rest}"
            np.testing.assert_array_equal(after[name], given[f"local.{kind}.{source}.{rest}"])
    np.testing.assert_array_equal(after["local.classifiers.1.kernel"], before["local.classifiers.1.kernel"])
    np.testing.assert_array_equal(after["classifier.prototypes"], given["classifier.prototypes"][::-1])
    assert found.fresh_aus == ()
    assert all(".1." in name for name in found.fresh)


def test_another_architecture_is_not_transferred(config, tmp_path):
    experiment = open_experiment(config)
    fields = experiment.identity()["model"] | {"mfd": False}
    save(tmp_path / "a", experiment, au_set=facs.SYNTHETIC_DISFA, model=fields)
    config.model.init_from = str(tmp_path / "a")
    with pytest.raises(ValueError, match=r"model\.mfd: found False, expected True"):
        load_initial(experiment, start(experiment))
    loaded = tiny.weights(tiny.config(facs.SYNTHETIC_DISFA), seed=1)[0]
    own = tiny.weights(experiment.states.model.config)[0]
    del loaded["static.linear.kernel"]
    loaded["graph.bias"] = loaded["graph.bias"][:3]
    with pytest.raises(ValueError, match="not those of a model like this one") as caught:
        transfer.transfer(own, loaded, facs.SYNTHETIC_BP4D, facs.SYNTHETIC_DISFA)
    lines = str(caught.value).splitlines()
    assert lines[1] == "  graph.bias: shape (3,) in the file, (8,) here"
    assert lines[2] == "  static.linear.kernel: missing in the file"


@pytest.mark.parametrize(
    ("variant", "added"), [("reference", ("mfd", "tcn")), ("reference", ("tcn",)), ("paper", ("mfd",))]
)
def test_temporal_modules_start_as_next_to_nothing(config, tmp_path, capsys, variant, added):
    config.model.variant = variant
    config.model.update(dict.fromkeys(added, False))
    still = open_experiment(config.copy_and_resolve_references())
    config.model.update(dict.fromkeys(added, True))
    config.model.neighbors += "mfd" in added  # Means nothing where there are no dynamics.
    config.model.init_from = str(tmp_path)
    experiment = open_experiment(config)
    given, _ = save(tmp_path, still)
    before = start(experiment)
    capsys.readouterr()
    after, origin = load_initial(experiment, before)

    assert (origin["taken"], origin["added"]) == ("model", list(added))
    assert f"{tmp_path} is of a model without {' and '.join(added)}, " in capsys.readouterr().err
    own = tuple({"mfd": "dynamics.", "tcn": "temporal."}[name] for name in added)
    for name, array in after.params.items():
        if not name.startswith(own):
            np.testing.assert_array_equal(array, given[name], err_msg=name)
    assert jax.tree.map(lambda array: array.sharding, after) == experiment.states.shardings
    assert_equal(after.ema or after.params, after.params)

    # Train mode, where statistics are those of the batch: the running ones know nothing of these vectors yet.
    clips = tiny.clips(frames=6)

    def scores(of, params):
        stats = {name: after.batch_stats[name] for name in of.model.stat_shapes}
        return np.asarray(jax.jit(of.model.train)(params, stats, clips, None)[0].scores)

    target = scores(still, given)
    distance = np.abs(scores(experiment, after.params) - target).mean()
    assert distance < np.abs(scores(experiment, before.params | given) - target).mean() / 2


def test_without_a_path_the_weights_stay_random(config):
    experiment = open_experiment(config)
    state = start(experiment)
    same, origin = load_initial(experiment, state)
    assert same is state
    assert origin is None


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
