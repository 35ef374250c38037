"""A process of a run without devices: ``python -m tests.distributed.line_worker``.

Its arguments are ADDRESS PROCESSES PROCESS POINTS BEHAVIOUR. It comes by so many points, stops where all do,
and says where that was. At a point that its behaviour names (``fail:7``, nothing for none) something happens
to it.
"""

import os
import random
import signal
import sys
import threading
import time

from mdhr_jax.distributed import roll_call
from mdhr_jax.distributed.lines import Lines

SILENT_SECONDS, STEP_SECONDS = 3.0, 4.0
WORD = "no disk"
GAINED = "TESTS_LINES_GAINED"
"""In the environment of processes that have saved something."""


def main(address, processes, process, points, behaviour):
    number = int(process)
    what, _, at = behaviour.partition(":")
    own = roll_call.Member(number, int(processes), f"node{number}", {})
    peers = roll_call.meet(own, address, 60.0)
    lines = Lines(str(own), peers, silent_seconds=SILENT_SECONDS, step_seconds=STEP_SECONDS)
    moments = random.Random(number)
    if what == "open":  # Before it has said anything.
        threading.Event().wait()
    if GAINED in os.environ:
        lines.gain()
    for point in range(1, int(points) + 1):
        lines.come_further(f"after point {point}")
        happens = what and point >= int(at)
        if happens and what == "fail":
            lines.end(f"{own}: {WORD}", 3)
        if happens and what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if happens and what == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        if happens and what == "hang":
            threading.Event().wait()
        if happens and what == "leave":
            break
        if lines.stop_here(bool(happens) and what == "stop"):
            print(f"stopped at {point}", flush=True)
            break
        time.sleep(moments.uniform(0, 0.1))
    if what == "slow":
        lines.take_time()
        time.sleep(STEP_SECONDS + 2)
    lines.close()
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
