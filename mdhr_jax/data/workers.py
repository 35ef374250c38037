"""Worker processes: how many to use where nobody says, and when they end."""

import multiprocessing
import os
import signal
import threading


def usable_cpus() -> int:
    """CPUs that this process may run on (fewer than the machine's in a container or a batch job)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def end_with_parent() -> None:
    """Called in a worker: it ends when its parent is killed, and leaves Ctrl-C, which reaches both, to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
