"""Our steps, measured small; times are not looked at."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.bench import cases, ceilings, counting, timing
from mdhr_jax.bench.ours import Ours, compile_program, made_up, make_config
from mdhr_jax.interop.comparison_inputs import make_inputs
from mdhr_jax.interop.jax_side import JaxSide, JaxTraining
from mdhr_jax.interop.torch_weights import reference_config
from mdhr_jax.models.functional import FunctionalModel

TINY = cases.Case("train", "bp4d", "tiny", "float32", batch=1, clip_length=2, repeats=2, again=False)


def measured(**changes):
    """A case as the command has it: after JSON."""
    found = cases.measure(**json.loads(json.dumps(dataclasses.asdict(dataclasses.replace(TINY, **changes)))))
    return json.loads(json.dumps(found))


@pytest.fixture(scope="module")
def step():
    return measured()


def test_a_case_tells_times_and_costs(step):
    ours = step["ours"]
    assert step["frames"] == 2
    assert len(ours["seconds"]) == 2
    assert ours["frames_per_second"] == pytest.approx(2 / ours["median"])
    assert ours["flops_per_second"] == pytest.approx(ours["flops"] / ours["median"])
    assert ours["bytes_per_second"] == pytest.approx(ours["bytes_accessed"] / ours["median"])
    # A CPU's peak is in no table.
    assert ours["share_of_peak_flops"] is ours["share_of_peak_bandwidth"] is None
    assert ours["compile_again_seconds"] is None
    assert ours["planned_bytes"] > 0
    assert ours["peak_bytes"] > ours["planned_bytes"]
    assert step["reference"] == []


def test_a_training_step_has_three_times_the_arithmetic_of_a_forward_pass(step):
    forward = measured(kind="eval")["ours"]["flops"]
    assert 2.3 * forward < step["ours"]["flops"] < 3.5 * forward


def test_streams_are_measured():
    found = measured(kind="predict", batch=2, clip_length=1)
    assert found["frames"] == 2
    assert found["ours"]["flops"] > 0


def test_where_the_reference_has_nothing_it_is_skipped_with_a_word():
    case = dataclasses.replace(TINY, reference="anywhere", forms=("released", "compile"))
    of_ours, others = cases._beside(case, timing.Runner(lambda: None, lambda: None))
    assert of_ours == ()
    assert [other["form"] for other in others] == ["released", "compile"]
    assert all("the reference has no tiny" in other["skipped"] for other in others)


def test_the_cache_is_used_for_the_second_compilation_and_left_as_it_was(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    compiled = compile_program(jax.jit(lambda x: (x @ x).sum()), np.ones((8, 8), np.float32))
    assert compiled.again_seconds is not None
    assert jax.config.jax_compilation_cache_dir == before
    assert float(compiled.call(np.ones((8, 8), np.float32))) == 512
    assert compiled.flops >= 2 * 8**3


def test_made_up_weights_are_all_that_the_model_needs():
    config = make_config(facs.BP4D, "resnet50", "float32", dense=False)
    model = FunctionalModel.create(config)
    values = made_up(model)
    side = JaxSide(config)
    side.load(values)
    assert set(side.params) == set(model.param_shapes)
    np.testing.assert_array_equal(values["Backbone.bn1.running_var"], 1)
    assert values["Backbone.bn1.weight"].std() > 0


def test_the_step_is_the_one_that_is_compared_with_the_reference():
    config = dataclasses.replace(reference_config("bp4d", "resnet50"), backbone="tiny", width=8)
    inputs = make_inputs(facs.BP4D, 1, 2, 0)
    ours, side = Ours(config, None), JaxSide(config)
    side.params = jax.tree.map(np.asarray, ours.params)
    side.batch_stats = jax.tree.map(np.asarray, ours.stats)
    training = JaxTraining(side, inputs.au_weights, 1e-4, 10_000)
    training.step(side.clips(inputs.clips), inputs.labels)
    _, runner = ours.training(inputs, again=False)
    runner.run()
    runner.wait()
    for path, value in side.params.items():
        np.testing.assert_allclose(ours.params[path], value, rtol=1e-5, atol=1e-5, err_msg=path)


def test_ceilings_have_units():
    found = {x["name"]: x for x in ceilings.measure(("float32",))}
    assert found["matrix product, float32"]["unit"] == "FLOP/s"
    assert found["copy"]["unit"] == "bytes/s"
    assert all(x["value"] > 0 for x in found.values())


def test_counting_goes_through_all_frames(monkeypatch):
    seen = []
    monkeypatch.setattr(counting, "summarize", lambda total, names: seen.append(total))
    found = counting.measure("bp4d", windows=2, frames=100, repeats=1)
    assert found["frames"] == 128  # Four batches of two windows of 16.
    assert found["batches"] == 4
    assert found["theirs"] is None
    counts = seen[-1].overall
    assert (counts.tp + counts.fp + counts.fn + counts.tn).tolist() == [128] * 12


def test_runners_are_timed_in_turn():
    order = []
    runners = {name: timing.Runner(lambda name=name: order.append(name), lambda: None) for name in ("a", "b")}
    found = timing.alternate(runners, 3, least_seconds=0.0)
    assert order == ["a", "b"] * 5
    assert [len(seconds) for seconds in found.values()] == [3, 3]


def test_a_run_that_is_not_counted_comes_before_each_measurement_where_that_is_wanted(monkeypatch):
    monkeypatch.setattr(timing.time, "perf_counter", iter(range(1000)).__next__)
    order = []
    runners = {name: timing.Runner(lambda name=name: order.append(name), lambda: None) for name in ("a", "b")}
    found = timing.alternate(runners, 2, least_seconds=3.0, settle=True)
    assert order == ["a", "a", "b", "b"] + (["a"] + ["a"] * 3 + ["b"] + ["b"] * 3) * 2
    assert found == {"a": (1 / 3, 1 / 3), "b": (1 / 3, 1 / 3)}


def test_short_runs_are_repeated_within_a_measurement(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    runs = []
    runner = timing.Runner(lambda: runs.append(1), lambda: None)
    found = timing.alternate({"a": runner}, 2, least_seconds=5.0)
    # Each measurement takes a second by this clock: 5 runs in each of the counted ones.
    assert len(runs) == 1 + 1 + 2 * 5
    assert found["a"] == (0.2, 0.2)


def test_ratios_are_of_medians_and_their_spread_of_neighbours():
    theirs, ours = (4.0, 6.0, 100.0), (2.0, 1.0, 4.0)
    assert timing.ratio(theirs, ours) == 3.0
    assert timing.spread(theirs, ours) == (2.0, 25.0)
