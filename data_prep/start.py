"""Ctrl-C while a command is still importing what it needs, which takes seconds: quiet, as later."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from mdhr_jax import commands


@contextlib.contextmanager
def quiet(command: str) -> Iterator[None]:
    """Within it Ctrl-C ends the process at once, with a line and without a traceback.

    A KeyboardInterrupt would not do: it arises anywhere in the modules that are being imported, some of which
    turn it into an error of their own. Nothing has been begun then that would have to be cleaned up. Whoever
    ignores the signal, or handles it otherwise, keeps to that.

    Args:
        command: name of the module that is run, for the line.
    """
    own = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not own or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: Any) -> None:
        os.write(2, f"python -m {command}: interrupted; nothing was begun\n".encode())
        os._exit(commands.INTERRUPTED)

    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
