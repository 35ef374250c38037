"""The training command with a log of clips: ``python -m tests.logged_main FOLDER ARGUMENT ...``.

To ``FOLDER/clips-PROCESS.jsonl`` goes a line for each batch: the position behind it in the stream of clips,
and a hash of each clip that this process took.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import jax
from absl import app

from mdhr_jax import main
from mdhr_jax.training import loop


def describe(batch):
    """Position behind a batch, and a hash of each of its clips with how it is cut and lit."""
    parts = (batch["frames"], batch["labels"], batch["offset"], batch["flip"], batch["factors"])
    rows = [hashlib.sha256(b"".join(part[i].tobytes() for part in parts)) for i in range(len(parts[0]))]
    return {"position": int(batch["position"]), "clips": [row.hexdigest()[:16] for row in rows]}


class Logged:
    def __init__(self, batches, path):
        self.batches, self.path = batches, path

    def __enter__(self):
        self.batches.__enter__()
        return self

    def __exit__(self, *error):
        self.batches.__exit__(*error)

    def __next__(self):
        batch = next(self.batches)
        entry = describe(batch)
        entry["first_row"] = jax.process_index() * len(entry["clips"])
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        return batch


if __name__ == "__main__":
    of = Path(sys.argv.pop(1)) / f"clips-{os.environ.get('JAX_PROCESS_ID', '0')}.jsonl"
    plain = loop.train_batches
    loop.train_batches = lambda *args, **options: Logged(plain(*args, **options), of)
    app.run(main.main, flags_parser=main.parse_flags)
