import jax
import jax.numpy as jnp
import pytest

from mdhr_jax.training.meter import StepMeter, TrainingDivergedError


def step(loss, grad_norm=1.0):
    return {"loss": jnp.float32(loss), "grad_norm": jnp.float32(grad_norm)}


def test_windows_average_their_own_steps():
    meter = StepMeter(0)
    for loss in (1, 2, 6):
        meter.add(step(loss, 2 * loss))
    assert meter.close_window(None) == {"loss": 3, "grad_norm": 6}
    assert meter.close_window(None) == {}
    meter.add(step(8))
    assert meter.close_window(None) == {"loss": 8, "grad_norm": 1}


def test_a_process_does_not_run_far_ahead_of_its_devices(monkeypatch):
    waited = []
    monkeypatch.setattr(jax, "block_until_ready", lambda metrics: waited.append(float(metrics["loss"])))
    meter = StepMeter(10)
    for number in range(11, 16):
        meter.add(step(number))
    assert (waited, meter.finished) == ([11, 12, 13], 13)
    # To fetch waits for the rest.
    meter.close_window(None)
    assert meter.finished == 15
    meter.add(step(16))
    assert (waited, meter.finished) == ([11, 12, 13], 15)


@pytest.mark.parametrize("values", [(float("nan"), 1), (float("inf"), 1), (float("inf"), float("-inf"))])
def test_what_is_not_finite_names_the_steps_of_its_window(values):
    meter = StepMeter(10)
    meter.add(step(1))
    meter.close_window(None)
    for value in values:
        meter.add(step(value))
    with pytest.raises(TrainingDivergedError, match=r"steps 12 to 13: loss is (nan|inf)\. .*step 11 is kept"):
        meter.close_window(11)


def test_a_broken_gradient_is_enough_and_no_checkpoint_is_claimed():
    meter = StepMeter(0)
    meter.add(step(1, float("nan")))
    with pytest.raises(TrainingDivergedError, match=r"steps 1 to 1: grad_norm is nan\. .*there is none yet"):
        meter.close_window(None)
