"""Steps of a tiny network in float64, by the processes and devices there are, with and without fsdp.

As a command this is a process of a run: ``python -m tests.layouts OUT NAME OTHER...`` trains, saves to
``OUT/NAME-<fsdp>``, waits for what the layouts OTHER save, goes on from all of it, trains in float32 too and
writes ``OUT/NAME.json``.
"""

import json
import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mdhr_jax import config as config_lib
from mdhr_jax import distributed, parallel
from mdhr_jax.training.checkpoints import Checkpoints
from mdhr_jax.training.optimizer import make_optimizer
from mdhr_jax.training.state import StateFactory, TrainState
from mdhr_jax.training.step import StepOptions, jit_train_step
from tests import tiny

FSDP = (1, 4)
STEPS = int(os.environ.get("LAYOUT_STEPS", "3"))
"""Steps before a checkpoint, and two after it."""

SINGLE_FSDP = FSDP if STEPS > 9 else FSDP[-1:]
"""With which fsdp float32 is tried."""

_TWO_MORE = 2
_WAIT_SECONDS = 500 if STEPS < 10 else 2000


class Layout:
    """The devices of all processes, cut in one way."""

    def __init__(self, fsdp: int, dtype: str = "float64"):
        config = tiny.config(tiny.TWO_AUS, dtype=dtype, param_dtype=dtype, mfd=False)
        # With steps a hundred times as large, rounding of float32 grows to a tenth of the loss in five steps.
        optimizer = make_optimizer(1e-5, 40)
        mesh = parallel.make_mesh(-1, fsdp)
        options = StepOptions(tiny.SIZE, 32, (1.0,) * config.au_set.num_aus, ema=0.5)
        self.states = StateFactory(tiny.model(config), optimizer, mesh, ema=True)
        self._compiled = False
        self._step = jit_train_step(self.states.model, optimizer, options, mesh, self.states.shardings)

    def begin(self) -> TrainState:
        params, stats = jax.tree.map(np.asarray, tiny.weights(self.states.model.config))

        def state(params, stats):
            begun = self.states.optimizer.init(params)
            average = jax.tree.map(jnp.copy, params)
            return TrainState(jnp.zeros((), jnp.int32), params, stats, begun, jax.random.key(1), average)

        return jax.jit(state, out_shardings=self.states.shardings)(params, stats)

    def steps(self, state: TrainState, first: int, number: int) -> tuple[TrainState, list[list[float]]]:
        """The state after so many steps, and loss and norm of the gradients of each.

        AdamW hides the gradients' scale: losses alone would be the same with gradients twice as large.
        """
        losses = []
        for seed in range(first, first + number):
            batch = tiny.batch(tiny.TWO_AUS, seed=seed, frames=2)
            rows = len(batch["labels"]) // jax.process_count()
            own = slice(jax.process_index() * rows, (jax.process_index() + 1) * rows)
            share = {name: array[own] for name, array in batch.items()}
            placed = parallel.put_batch(share, self.states.mesh)
            if not self._compiled:
                self._step = distributed.compiled(self._step, state, placed)
                self._compiled = True
            state, metrics = self._step(state, placed)
            losses.append([float(metrics["loss"]), float(metrics["grad_norm"])])
        return state, losses


def train(out: Path, name: str) -> tuple[dict[int, Layout], dict[str, list[list[float]]]]:
    """Losses and norms by fsdp, of all steps; what the first `STEPS` led to is saved."""
    layouts, losses = {fsdp: Layout(fsdp) for fsdp in FSDP}, {}
    for fsdp, layout in layouts.items():
        state, before = layout.steps(layout.begin(), 0, STEPS)
        with Checkpoints(out / f"{name}-{fsdp}") as checkpoints:
            checkpoints.save(STEPS, state, {})
        losses[str(fsdp)] = before + layout.steps(state, STEPS, _TWO_MORE)[1]
    if distributed.is_first():
        (out / f"{name}.saved").touch()
    return layouts, losses


def train_single() -> dict[str, list[list[float]]]:
    """Losses and norms in float32 by fsdp, of as many steps as in `train`."""
    with jax.enable_x64(False):
        layouts = {fsdp: Layout(fsdp, "float32") for fsdp in SINGLE_FSDP}
        return {
            str(fsdp): layout.steps(layout.begin(), 0, STEPS + _TWO_MORE)[1]
            for fsdp, layout in layouts.items()
        }


def resume(out: Path, name: str, layouts: dict[int, Layout]) -> dict[str, list[list[float]]]:
    """Losses and norms after the checkpoints of a layout, by the fsdp there and here."""
    losses = {}
    for saved in FSDP:
        for fsdp, layout in layouts.items():
            with Checkpoints(out / f"{name}-{saved}", read_only=True) as checkpoints:
                state, _ = checkpoints.restore(STEPS, layout.states.abstract)
            losses[f"{name}-{saved} to {fsdp}"] = layout.steps(state, STEPS, _TWO_MORE)[1]
    return losses


def main(out: Path, name: str, *others: str) -> None:
    config = config_lib.base()
    config.distributed.timeout = _WAIT_SECONDS
    distributed.start(config, out)
    layouts, losses = train(out, name)
    for other in others:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not (out / f"{other}.saved").exists():
            if time.monotonic() > deadline:
                sys.exit(f"{other} has not saved anything in {_WAIT_SECONDS} s")
            time.sleep(0.2)
        losses |= resume(out, other, layouts)
    single = train_single()
    if distributed.is_first():
        found = {"processes": jax.process_count(), "devices": jax.device_count()}
        (out / f"{name}.json").write_text(json.dumps({**found, "losses": losses, "single": single}))
    distributed.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
