"""The reference in a process of its own, beside the model that the specification's tests are made of."""

import dataclasses
from pathlib import Path

import pytest

from mdhr_jax.bench import cases, timing
from mdhr_jax.bench.elsewhere import Elsewhere

pytest.importorskip("torch")

CHECKOUT = Path(__file__).parents[1] / "interop/oracle_checkout"
CASE = cases.Case(
    kind="eval",
    dataset="disfa",
    backbone="resnet50",
    precision="float32",
    batch=1,
    clip_length=11,
    repeats=1,
    reference=str(CHECKOUT),
    forms=("released", "channels_last"),
)


class Counting:
    """Ours, of which only the turns count."""

    def __init__(self):
        self.runs = 0

    def seconds(self, times):
        self.runs += times
        return 1e9


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["eval", "train"])
def test_each_form_is_timed_in_turn_with_ours(kind):
    ours = Counting()
    case = dataclasses.replace(CASE, kind=kind, forms=("released",) if kind == "train" else CASE.forms)
    seconds, found = cases._beside(case, ours)
    assert seconds == (1e9,) * len(case.forms)
    assert ours.runs == 4 * len(case.forms)
    assert [form["form"] for form in found] == list(case.forms)
    for form in found:
        assert 0 < form["median"] < 100
        assert form["ratio"] == pytest.approx(form["median"] / 1e9)
        assert form["frames_per_second"] == pytest.approx(11 / form["median"])
        assert form["peak_bytes"] > 100 * 2**20


def test_what_does_not_run_is_left_out_with_its_reason(tmp_path):
    ours = timing.Runner(lambda: pytest.fail("ours was timed alone"), lambda: None)
    seconds, found = cases._beside(dataclasses.replace(CASE, reference=str(tmp_path)), ours)
    assert seconds == ()
    assert all("does not run here: exit code 2" in form["skipped"] for form in found)
    with pytest.raises(RuntimeError, match="PyTorch finds none"):
        Elsewhere(dataclasses.asdict(CASE), "released", "cuda", 1)
