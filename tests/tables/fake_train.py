"""Stands in for a training run: ``fake_train.py DIRECTORY CONFIG_JSON BEHAVIOUR``."""

import fcntl
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

SAVED = 75  # mdhr_jax.training.interrupt.SAVED


def main(directory, config, behaviour):
    received = []
    signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    content = json.loads(Path(config).read_text())
    with (directory / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.write("process 1 on here\n")
        lock.flush()
        (directory / "config.json").write_text(json.dumps(content["config"]))
        print(f"fake {behaviour}", flush=True)
        if behaviour == "fail":
            print("error: no such luck", file=sys.stderr)
            return 3
        if behaviour == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        saved = directory / "checkpoints" / "1"
        if behaviour == "wait" and not saved.exists():
            (directory / "waiting").touch()
            for _ in range(600):
                if received:
                    saved.mkdir(parents=True)
                    return SAVED  # As a training that was told to stop.
                time.sleep(0.1)
            return 4
        if behaviour == "leave":
            saved.mkdir(parents=True)
            return SAVED
        for name in ("predictions.npz", "result.json"):
            shutil.copy(Path(content["finished"]) / name, directory)
        with (directory.parent / "order.txt").open("a") as order:
            order.write(f"{directory.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
