"""How many workers to use where nobody says."""

import os


def usable_cpus() -> int:
    """CPUs that this process may run on (fewer than the machine's in a container or a batch job)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
