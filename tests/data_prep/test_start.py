"""Ctrl-C while a command is still importing."""

import signal
import threading

import pytest

from data_prep import start

# The signal comes when the command asks for NumPy, which all of them do first.
INTERRUPTED = """
import os, runpy, signal, sys, time

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)

sys.meta_path.insert(0, Interrupting())
# Whoever started the tests may ignore the signal, as shells do for what runs in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = [sys.argv[1], "--help"]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("command", ["bp4d", "disfa", "videos", "inspect"])
def test_an_interrupted_import_is_quiet(run_python, command):
    done = run_python("-c", INTERRUPTED, f"data_prep.{command}")
    assert done.returncode == 130
    assert done.stderr == f"python -m data_prep.{command}: interrupted; nothing was begun\n"
    assert not done.stdout


def test_the_signal_is_left_as_it_was():
    before = signal.getsignal(signal.SIGINT)
    try:
        for own in (signal.default_int_handler, signal.SIG_IGN):
            signal.signal(signal.SIGINT, own)
            with start.quiet("x"):
                assert (signal.getsignal(signal.SIGINT) is own) == (own is signal.SIG_IGN)
            assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_may_run_a_command():
    raised = []

    def run():
        try:
            with start.quiet("x"):
                pass
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not raised
