"""A model of DISFA's AUs that starts from one of BP4D's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.training import transfer
from mdhr_jax.training.checkpoints import Checkpoints
from mdhr_jax.training.experiment import open_experiment
from mdhr_jax.training.weights import load_initial
from tests import tiny
from tests.training.test_weights import save, start

SHARED = ("AU1", "AU2", "AU4", "AU6", "AU12")


@pytest.fixture(scope="module")
def moved():
    """DISFA's arrays before, BP4D's, DISFA's after, and the report."""
    own = tiny.weights(tiny.config(facs.DISFA), seed=1)
    loaded = tiny.weights(tiny.config(facs.BP4D), seed=2)
    # Statistics that differ from one another.
    loaded = (loaded[0], {name: array + i for i, (name, array) in enumerate(loaded[1].items())})
    after, report = transfer.transfer(own, facs.DISFA, loaded, facs.BP4D)
    return own[0] | own[1], loaded[0] | loaded[1], after[0] | after[1], report


def extractor(arrays, part, region, position, width=8):
    return arrays[f"local.extractors.{region}.{part}"][..., position * width : (position + 1) * width]


@pytest.mark.parametrize(
    ("au", "bp4d", "disfa"),  # Region group and position in it.
    [(1, (0, 0), (0, 0)), (4, (0, 2), (0, 2)), (6, (1, 0), (1, 0)), (12, (2, 0), (2, 0))],
)
def test_an_au_gets_the_weights_of_the_same_au(au, bp4d, disfa, moved):
    _, loaded, after, _ = moved
    for part in ("linear.kernel", "linear.bias", "norm.scale", "norm.bias", "norm.mean", "norm.var"):
        np.testing.assert_array_equal(extractor(after, part, *disfa), extractor(loaded, part, *bp4d))
    here, there = facs.DISFA.aus.index(au), facs.BP4D.aus.index(au)
    np.testing.assert_array_equal(
        after["temporal.kernel"][:, here], np.asarray(loaded["temporal.kernel"])[:, there]
    )
    for name in ("temporal.bias", "temporal.norm.scale", "temporal.norm.mean", "classifier.prototypes"):
        np.testing.assert_array_equal(after[name][here], loaded[name][there], err_msg=name)


def test_other_aus_and_region_classifiers_stay(moved):
    own, _, after, _ = moved
    for region, position in ((1, 1), (2, 1), (2, 2)):  # AU9, AU25, AU26.
        for part in ("linear.kernel", "norm.mean"):
            np.testing.assert_array_equal(
                extractor(after, part, region, position), extractor(own, part, region, position)
            )
    columns = [facs.DISFA.aus.index(au) for au in (9, 25, 26)]
    np.testing.assert_array_equal(after["temporal.kernel"][:, columns], own["temporal.kernel"][:, columns])
    for region in range(3):
        name = f"local.classifiers.{region}.kernel"
        np.testing.assert_array_equal(after[name], own[name])


def test_what_knows_nothing_of_aus_is_taken_over_whole(moved):
    _, loaded, after, report = moved
    whole = [name for name in after if not name.startswith(("local.", "temporal.", "classifier."))]
    whole = [name for name in whole if not name.endswith("num_batches")]
    assert {"graph.bias", "static.norm.var", "dynamics.weight_conv.kernel"} < set(whole)
    assert sum(name.startswith("backbone.") for name in whole) > 10
    for name in whole:
        np.testing.assert_array_equal(after[name], loaded[name], err_msg=name)
    assert report.whole == len(whole)


def test_it_is_told(moved):
    *_, report = moved
    assert tuple(report.aus) == SHARED
    text = report.describe()
    assert "those of AU1, AU2, AU4, AU6, AU12\n" in text
    assert "anew: AU9, AU25, AU26, which the other model does not have" in text
    assert "anew: local.classifiers.0, local.classifiers.1, local.classifiers.2\n" in text
    assert "not used: AU7, AU10, AU14, AU15, AU17, AU23, AU24, local.classifiers.0" in text
    assert text.endswith("local.region_blocks.3")


def test_a_model_of_the_same_aus_is_moved_whole():
    config = tiny.config(facs.BP4D)
    own, loaded = tiny.weights(config, seed=1), tiny.weights(config, seed=2)
    after, report = transfer.transfer(own, facs.BP4D, loaded, facs.BP4D)
    assert (report.new, report.left, report.new_aus, report.left_aus) == ([], [], [], [])
    for name, array in (after[0] | after[1]).items():
        if not name.endswith("num_batches"):
            np.testing.assert_array_equal(array, (loaded[0] | loaded[1])[name], err_msg=name)


def test_modules_that_are_missing_or_of_another_width_are_told():
    own = tiny.weights(tiny.config(facs.DISFA))
    still = tiny.weights(tiny.config(facs.BP4D, mfd=False))
    with pytest.raises(ValueError, match=r"dynamics.* is missing in the weights; set config\.model"):
        transfer.transfer(own, facs.DISFA, still, facs.BP4D)
    wide = tiny.weights(tiny.config(facs.BP4D, width=16))
    with pytest.raises(ValueError, match=r"the shape .*, this model's"):
        transfer.transfer(own, facs.DISFA, wide, facs.BP4D)


def test_a_model_without_a_common_au_is_of_no_use():
    strangers = facs.AUSet("x", "X", (43,), (facs.RegionGroup("up", "upper", (43,)),), False, 25.0)
    own = tiny.weights(tiny.config(facs.DISFA))
    with pytest.raises(ValueError, match="the weights are of AU43, of which DISFA has none"):
        transfer.transfer(own, facs.DISFA, own, strangers)


def test_a_run_starts_from_a_run_on_other_aus(config, tmp_path, capsys):
    experiment = open_experiment(config)
    identity = experiment.identity()
    disfa = tiny.config(facs.DISFA, neighbors=config.model.neighbors)
    params, stats = tiny.weights(disfa, seed=3)
    meta = experiment.metadata() | {"dataset": "synthetic_disfa", "au_names": list(facs.DISFA.au_names)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"params": params, "batch_stats": stats}, meta)
    config.model.init_from = str(tmp_path)
    before = start(experiment)
    after = load_initial(experiment, before)
    assert jax.tree.map(lambda array: array.sharding, after) == experiment.states.shardings
    assert not jnp.array_equal(after.params["graph.bias"], before.params["graph.bias"])
    np.testing.assert_array_equal(after.params["graph.bias"], params["graph.bias"])
    said = capsys.readouterr().err
    assert f"starting from {tmp_path}, a model for the AUs of synthetic (DISFA-like)\n" in said
    assert "those of AU1, AU2, AU4, AU6, AU12\n" in said
    assert experiment.identity() == identity


def test_another_model_on_other_aus_is_still_refused(config, tmp_path):
    experiment = open_experiment(config)
    model = experiment.identity()["model"] | {"width": 16}
    save(tmp_path, experiment, dataset="disfa", au_names=list(facs.DISFA.au_names), model=model)
    config.model.init_from = str(tmp_path)
    with pytest.raises(ValueError, match=r"model\.width: found 16, expected 8"):
        load_initial(experiment, start(experiment))
