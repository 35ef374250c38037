import jax
import numpy as np
import pytest

from mdhr_jax import commands, facs, precision
from mdhr_jax.interop import measurements
from mdhr_jax.interop import precision as report
from mdhr_jax.interop.comparison_inputs import Inputs

FRAMES, AUS = 4, facs.DISFA.num_aus


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    labels = np.zeros((1, 3, AUS), np.int8)
    return Inputs(facs.DISFA, rng.normal(size=(1, 3, 64, 64, 3)), labels, np.ones(AUS))


@pytest.mark.slow
def test_cheaper_formats_are_further_from_float64(inputs):
    done = []
    found = report.measure("disfa", "resnet18", 2, inputs, None, done.append)
    by_title = {arithmetic.title: errors for arithmetic, errors in found.items()}
    assert list(by_title) == ["float32, highest", "float32, default", "bfloat16"]
    assert len(done) == report.parts()
    exact, cheap = by_title["float32, highest"], by_title["bfloat16"]
    assert exact.given.shape == (3, AUS)
    assert 0 < exact.given.max() < 1e-4 < cheap.given.max() < 0.3
    table = report.table("errors", found)
    assert [row[0] for row in table.rows] == list(by_title)
    assert all(len(row) == len(table.columns) for row in table.rows)


def stages(scores, logits):
    given = {
        measurements.region_stage(region): logits[:, : region.num_combinations]
        for region in facs.DISFA.regions
    }
    return given | {measurements.SCORES: scores}


def test_decisions_and_presence_that_differ_are_counted():
    rng = np.random.default_rng(1)
    logits, scores = rng.normal(size=(FRAMES, 8)), np.full((FRAMES, AUS), 0.6)
    exact = stages(scores, logits)
    decided = measurements.decided(facs.DISFA, exact)
    moved, turned = scores.copy(), logits.copy()
    moved[0, 1], moved[2, 3] = 0.45, 0.55
    turned[1] = logits[1] + 10 * (
        np.arange(8) == 7 - decided[1, -3:] @ [4, 2, 1]
    )  # Every bit of `down` turns.
    errors = report.errors(facs.DISFA, exact, stages(moved, turned), exact, decided)
    assert errors.given.max() == 0
    np.testing.assert_allclose(sorted(errors.own[errors.own > 0]), [0.05, 0.15])
    assert np.argwhere(errors.presence).tolist() == [[0, 1]]
    assert set(np.argwhere(errors.decisions)[:, 0]) == {1}
    down = [facs.DISFA.aus.index(au) for au in (12, 25, 26)]
    assert errors.decisions[1, down].all()


def test_tf32_is_measured_on_gpus_only():
    def titles(backend):
        return [arithmetic.title for arithmetic in report.arithmetics(backend)]

    assert "float32, TF32" in titles("gpu")
    assert "float32, TF32" not in titles("cpu")
    assert jax.default_backend() == "cpu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clip-length", "1"], "at least 1 clip of at least 2 frames"),
        (["--weights", "x.pth", "--backbone", "resnet50", "swin_base"], "one backbone"),
        (["--weights", "absent.pth"], "absent.pth"),
        (["--report", "report.txt"], ".md or .html"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, capsys):
    assert precision.main(arguments) == commands.MISTAKE
    assert message in capsys.readouterr().err
