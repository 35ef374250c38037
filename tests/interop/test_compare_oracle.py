"""The command beside a real PyTorch model: that of ``oracle_checkout``, written from the specification."""

import csv
import dataclasses
import functools
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdhr_jax import commands, compare, facs
from mdhr_jax.interop import (
    comparison_inputs,
    comparison_run,
    measurements,
    reference_checkout,
    side_by_side,
    torch_weights,
)
from mdhr_jax.interop.jax_side import JaxSide
from mdhr_jax.interop.torch_side import TorchSide
from mdhr_jax.interop.torch_weights import arrays_from_torch, tensors_from_arrays
from mdhr_jax.models import mdhr
from mdhr_jax.models.functional import FunctionalModel
from mdhr_jax.models.resnet import ResNetConfig

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.slow  # The file as a whole.

SIZE = 64
CHECKOUT = Path(__file__).parent / "oracle_checkout"
AGREES = "every stage is within its limit"
AU_SETS = pytest.mark.parametrize("au_set", [facs.BP4D, facs.DISFA], ids=lambda au_set: au_set.name)


class SharedSide(JaxSide):
    """One model of each configuration, so that it is compiled once."""

    _made: dict = {}  # noqa: RUF012

    def __new__(cls, config):
        return cls._made.setdefault(config, super().__new__(cls))

    def __init__(self, config):
        if not hasattr(self, "config"):
            super().__init__(config)


def reference_config(*arguments):
    return dataclasses.replace(torch_weights.reference_config(*arguments), width=32)


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch, unoptimized):
    """Our model is as narrow as that of the checkout, and nothing is compiled for speed."""
    monkeypatch.setattr(comparison_run, "reference_config", reference_config)
    monkeypatch.setitem(mdhr.BACKBONES, "resnet50", ResNetConfig((1, 2, 1, 1), width=8, bottleneck=True))
    monkeypatch.setattr(comparison_run, "JaxSide", SharedSide)
    for module in (comparison_inputs, side_by_side):
        monkeypatch.setattr(module, "IMAGE_SIZE", SIZE)


@pytest.fixture
def run(capsys):
    """Runs the command for two clips of three small frames; returns its exit code and what it printed."""

    def run(au_set, *arguments, checkout=CHECKOUT, frames=3, neighbors=1):
        given = ["--reference", checkout, "--dataset", au_set.name, "--device", "cpu"]
        given += ["--batch", "2", "--clip-length", frames, "--neighbors", neighbors, *arguments]
        code = compare.main([str(argument) for argument in given])
        said = capsys.readouterr()
        assert "error" not in said.err
        return code, said.out

    return run


def torch_side(au_set, dtype="float64"):
    opened = reference_checkout.open_checkout(CHECKOUT, au_set)
    return TorchSide(opened, "resnet50", 1, dtype, "cpu")


@pytest.fixture
def on_cpu():
    with reference_checkout.cuda_stays_on_cpu():
        yield


@AU_SETS
def test_everything_agrees_in_float64(au_set, run):
    code, said = run(au_set, "--float64")
    assert AGREES in said
    assert code == 0
    sections = [
        "Evaluation mode",
        "Training mode, first step",
        "Losses of the first step",
        "Gradients of the first step",
        "Running statistics after one step",
        "Losses of an AdamW trajectory",
        "Our weights after one step, in the reference",
    ]
    assert [line for line in said.splitlines() if line in sections] == sections
    judged = [float(number) for number in re.findall(r"(\S+)  \S+  ok", said)]
    assert len(judged) > 50
    assert max(judged) < 1e-11


@pytest.mark.parametrize(
    ("au_set", "frames", "neighbors"),
    [(facs.DISFA, 2, 1), (facs.BP4D, 2, 5), (facs.DISFA, 5, 8), (facs.BP4D, 9, 5), (facs.DISFA, 12, 3)],
    ids=lambda value: getattr(value, "name", value),
)
def test_clips_of_any_length_agree(au_set, frames, neighbors, run, monkeypatch):
    monkeypatch.setattr(comparison_run, "check", lambda options: None)  # Some are too short for PyTorch's.
    monkeypatch.setattr(comparison_inputs, "IMAGE_SIZE", 224)
    code, said = run(au_set, "--float64", "--evaluation-only", frames=frames, neighbors=neighbors)
    assert AGREES in said
    assert code == 0


def test_given_decisions_take_the_place_of_both_models_own(float64, on_cpu):
    au_set = facs.DISFA
    inputs = comparison_inputs.make_inputs(au_set, batch=2, clip_length=3, seed=0)
    theirs = torch_side(au_set)
    values = comparison_inputs.parameter_values(theirs.shapes)
    theirs.load(values)
    theirs.estimate_statistics(inputs.clips)
    ours = SharedSide(reference_config(au_set.name, "resnet50", 1, "float64"))
    ours.load(theirs.values())
    free = theirs.evaluate(inputs)
    given = 1 - measurements.decided(au_set, free)
    given[:, 3:5] = -1
    changed, ours_changed = theirs.evaluate(inputs, given), ours.evaluate(inputs, given)
    assert np.abs(changed[measurements.GRAPH] - free[measurements.GRAPH]).max() > 1e-3
    assert set(changed) == set(measurements.stage_names(au_set))
    for name, stage in changed.items():
        np.testing.assert_allclose(ours_changed[name], stage, rtol=1e-9, atol=1e-11, err_msg=name)


def test_in_float32_a_nearly_tied_decision_is_given(run, tmp_path, on_cpu):
    """The yardstick is PyTorch float32; frames near a tie are compared with the decisions of float64."""
    au_set = facs.DISFA
    inputs = comparison_inputs.make_inputs(au_set, batch=2, clip_length=3, seed=0)
    side = torch_side(au_set)
    values = comparison_inputs.parameter_values(side.shapes)
    side.load(values)
    weights = comparison_inputs.rounded(values | side.estimate_statistics(inputs.clips))
    for i, training in enumerate(
        (False, True)
    ):  # The upper region in evaluation, the middle one in training.
        side.load(weights)
        side.net.train(training)
        with torch.no_grad():
            logits = side.forward(side.clips(inputs.clips))[0][i][0].numpy()
        second, first = np.argsort(logits)[-2:]
        weights[f"LRM.{au_set.regions[i].name}_fc.bias"][second] += logits[first] - logits[second]
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    torch.save(tensors, tmp_path / "tied.pth")

    code, said = run(au_set, "--weights", tmp_path / "tied.pth")
    assert AGREES in said
    assert code == 0
    tied, frames = map(int, re.search(r"\((\d) of 6 frames have .* in float64; (\d) frames", said).groups())
    assert 1 <= tied <= frames < 6
    assert "scores, decisions given" in said
    assert re.search(r"in [1-9]\d* frames of the 3 steps a region is nearly tied", said)
    assert "PyTorch float32" in said


EVALUATION = ("--float64", "--evaluation-only")


@pytest.mark.parametrize(
    ("file", "right", "wrong", "found", "options"),
    [
        (
            "model/resnet.py",
            "stride=2, padding=3",
            "stride=2, padding=(2, 3)",
            "backbone scale 1",
            EVALUATION,
        ),
        (
            "model/mdhr.py",
            "0, self.k, self.k)",
            "0, self.k - 1, self.k + 1)",
            "MFD scale 1, pooled",
            EVALUATION,
        ),
        ("model/model_DISFA.py", "(0, 2)", "(0, 6)", "region logits up", EVALUATION),
        (
            "model/model_DISFA.py",
            "AUS = (1, 2, 4, 6, 9, 12",
            "AUS = (1, 2, 4, 6, 12, 9",
            "AU vectors",
            EVALUATION,
        ),
        ("model/mdhr.py", "reversed(region.aus)", "region.aus", "predicted activations", EVALUATION),
        (
            "model/mdhr.py",
            "receiver[:, :, None] + sender[:, None]",
            "sender[:, :, None] + receiver[:, None]",
            "graph output",
            EVALUATION,
        ),
        ("model/mdhr.py", "normalize(vectors, dim=-1)", "normalize(vectors, dim=1)", "scores", EVALUATION),
        ("model/mdhr.py", "leaky_relu(", "leaky_relu(1.001 * ", "graph output", ["--evaluation-only"]),
        ("utils/utils.py", "self.weight * (", "1.001 * self.weight * (", "step 1, total loss", ["--float64"]),
        ("utils/utils.py", "scores.detach()", "scores", "Backbone.conv1", ["--float64"]),
        ("utils/utils.py", "math.pi * share", "math.pi * share / 2", "step 3, total loss", ["--float64"]),
    ],
    ids=str,
)
def test_the_stage_with_a_mistake_is_named_first(file, right, wrong, found, options, run, tmp_path):
    shutil.copytree(CHECKOUT, tmp_path / "checkout", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "checkout" / file
    text = path.read_text()
    assert text.count(right) == 1
    path.write_text(text.replace(right, wrong))
    code, said = run(facs.DISFA, *options, checkout=tmp_path / "checkout")
    assert f"the first that departs is {found!r} (" in said
    assert code == commands.FAILED


def test_a_biased_running_variance_is_found(run, monkeypatch):
    forward = torch.nn.BatchNorm1d.forward

    def biased(self, x):
        before = self.running_var.clone()
        y = forward(self, x)
        if self.training and self.momentum is not None:
            count, kept = x.numel() / x.shape[1], (1 - self.momentum) * before
            self.running_var.data.copy_(kept + (self.running_var - kept) * (count - 1) / count)
        return y

    monkeypatch.setattr(torch.nn.BatchNorm1d, "forward", biased)
    code, said = run(facs.DISFA, "--float64")
    assert "the first that departs is 'global_linear' (running statistics after one step)" in said
    assert code == commands.FAILED


def test_both_are_timed_in_turn(run, tmp_path):
    report = tmp_path / "report.md"
    code, said = run(facs.DISFA, "--skip-parity", "--speed", "--repeats", "1", "--report", report)
    assert code == 0
    table = report.read_text()
    for name in ("forward, evaluation", "training step"):
        assert name in said
        cells = re.search(rf"\| {name} \| (\S+) \| (\S+) \| (\S+) \| \S+ \| (\S+) frames/s \|", table)
        assert all(float(number) > 0 for number in cells.groups())
    assert "medians of 1 repetitions" in table


def test_both_are_trained_side_by_side(run, tmp_path, synthetic_data):
    curves = tmp_path / "curves.csv"
    arguments = ["--float64", "--skip-parity", "--train", "2", "--eval-every", "2", "--data", synthetic_data]
    code, said = run(facs.BP4D, *arguments, "--curves", curves, frames=8)
    assert code == 0
    assert "Training: curves" in said
    assert "Training side by side" in curves.with_suffix(".md").read_text()
    with curves.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    for row in rows[1:]:
        assert float(row["loss_reference"]) > 0
        assert float(row["loss_difference"]) < 1e-9
        assert float(row["loss_seed_spread"]) > 1e-4
    for row in (rows[0], rows[2]):
        assert float(row["f1_difference"]) == 0
        assert row["f1_other_seed"]


def test_groups_are_the_gpus_of_data_parallel(float64, on_cpu):
    """Each GPU normalises its half of the batch on its own; the first one's buffers are kept."""
    au_set = facs.DISFA
    inputs = comparison_inputs.make_inputs(au_set, batch=4, clip_length=3, seed=0)
    config = reference_config(au_set.name, "resnet50", 1, "float64")
    config = dataclasses.replace(config, batch_norm_groups=2)
    side = torch_side(au_set)
    side.load(comparison_inputs.parameter_values(side.shapes))
    side.net.train()
    tensors = side.values()
    replicas = [{name: buffer.clone() for name, buffer in side.net.named_buffers()} for _ in range(2)]
    halves = np.split(inputs.clips, 2)
    outputs = [
        torch.func.functional_call(side.net, replica, (side.clips(half),))
        for replica, half in zip(replicas, halves, strict=True)
    ]
    *logits, scores = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    scores.square().sum().backward()

    model = FunctionalModel.create(config)
    arrays = arrays_from_torch(tensors, model.param_shapes | model.stat_shapes, au_set)
    params, stats = (
        {path: jnp.asarray(arrays[path]) for path in shapes}
        for shapes in (model.param_shapes, model.stat_shapes)
    )

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradients(params, stats, clips):
        output, stats = model.train(params, stats, clips, None)
        return jnp.square(output.scores).sum(), (output, stats)

    found, (output, stats) = gradients(params, stats, jnp.asarray(inputs.clips))
    np.testing.assert_allclose(output.scores.reshape(12, -1), scores.detach(), atol=1e-12)
    for ours, theirs in zip(output.region_logits, logits, strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), atol=1e-11)
    kept = tensors_from_arrays(stats, config)
    assert kept.keys() == replicas[0].keys()
    for name, value in kept.items():
        np.testing.assert_allclose(value, replicas[0][name], rtol=1e-10, atol=1e-12, err_msg=name)
    assert np.abs(kept["TCN.bn.running_var"] - replicas[1]["TCN.bn.running_var"].numpy()).max() > 1e-4
    found = tensors_from_arrays(found, config)
    for name, parameter in side.net.named_parameters():
        theirs = np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()
        assert np.linalg.norm(found[name] - theirs) <= 1e-9 * max(np.linalg.norm(theirs), 1e-3), name
