import os
import signal

import pytest

from mdhr_jax.training.interrupt import StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_scheduler_can_ask_a_training_to_stop(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.received
        os.kill(os.getpid(), number)
        assert stop.received
    assert signal.getsignal(number) == before
