import os
import signal

import pytest

from mdhr_jax.training.interrupt import StopAtOnce, StopRequest, ToldToStop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_scheduler_can_ask_a_training_to_stop(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.received
        os.kill(os.getpid(), number)
        assert stop.received
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_what_has_nothing_to_save_stops_at_once_unless_more_is_begun_inside(number):
    def work():
        with StopAtOnce():
            with StopRequest() as stop:
                os.kill(os.getpid(), number)
                assert stop.received
            os.kill(os.getpid(), number)
            pytest.fail("it goes on")

    before = signal.getsignal(number)
    with pytest.raises(ToldToStop, match=number.name):
        work()
    assert signal.getsignal(number) == before
