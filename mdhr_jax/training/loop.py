"""The training loop.

Every round: evaluate, save, take a batch, step, log. In this order no checkpoint holds a half-used batch.
"""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PyTree
from ml_collections import ConfigDict

from mdhr_jax import compile_cache, distributed, freed_memory, hardware, parallel
from mdhr_jax.data.loader import Batch, train_batches
from mdhr_jax.progress import Progress, announce
from mdhr_jax.training import debug, evaluate, meter, predictions, results, weights, workdir
from mdhr_jax.training.checkpoints import Checkpoints
from mdhr_jax.training.clock import Clock
from mdhr_jax.training.evaluate import Evaluator
from mdhr_jax.training.experiment import Experiment
from mdhr_jax.training.interrupt import StopRequest
from mdhr_jax.training.logs import RunLog
from mdhr_jax.training.losses import weights_from_rates
from mdhr_jax.training.state import TrainState
from mdhr_jax.training.step import StepOptions, TrainStep, jit_train_step


def train(experiment: Experiment, directory: Path) -> tuple[dict[str, Any], Path] | None:
    """Trains, or continues, the run of a directory.

    Args:
        experiment: what to train.
        directory: where configuration, checkpoints, logs and result lie.

    Returns:
        The result of the best checkpoint and the file it was written to, ``result.json``, with
        ``predictions.npz`` beside it; None where the process was told to stop before the end (everything is
        saved then).

    Raises:
        ValueError: the directory holds a run of something else.
        TrainingDivergedError: a loss was not finite.
        CheckpointError: a checkpoint could not be written or is damaged.
    """
    config = experiment.config
    with contextlib.ExitStack() as stack:
        workdir.take(directory, config, stack)
        compile_cache.use(config.compile_cache, directory)
        stop = stack.enter_context(StopRequest())  # Until the last checkpoint is written.
        saved = Checkpoints(directory / workdir.CHECKPOINTS, keep=config.checkpoint.keep)
        checkpoints = stack.enter_context(saved)
        distributed.come_further("reading what is saved, or making a first state")
        start = _restore(experiment, checkpoints) or _begin(experiment)
        evaluator = Evaluator(experiment, lambda: stop.received)
        with RunLog(
            directory,
            experiment.au_set.au_names,
            tensorboard=config.log.tensorboard,
            resume_step=start.step or None,
            enabled=distributed.is_first(),
        ) as log:
            announce(_summary(experiment, directory))
            announce(_memory(start.state))
            profile = debug.Profile(config, directory)
            run = _Run(experiment, evaluator, checkpoints, log, stop, start, profile)
            run.until_stopped()
        saved_text = f"saved after step {run.step}" if run.step else "before the first step"
        finished = run.step == experiment.total_steps and run.evaluation is not None
        del run, start  # The state of the last step makes room for the best checkpoint.
        if finished and not distributed.stop_here(stop.received):
            # What this needs is saved: told to stop, it is left and done anew.
            with contextlib.suppress(evaluate.StoppedError):
                return _finish(experiment, evaluator, checkpoints, directory)
        announce(f"told to stop: {saved_text} of {experiment.total_steps}; the same command continues")
        return None


def _summary(experiment: Experiment, directory: Path) -> str:
    config, train, test = experiment.config, experiment.train_records, experiment.test_records
    validation = experiment.validation_records
    held_out = (
        ""
        if validation is None
        else f"validated on {len(validation.videos)} videos of "
        f"{len(experiment.validation_subjects)} subjects kept out of training, "
    )
    num_params = sum(array.size for array in experiment.states.abstract.params.values())
    devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    return (
        f"training {config.model.backbone} ({num_params:,} parameters) on {experiment.au_set.title} fold "
        f"{config.fold}: {len(train.videos)} videos, {experiment.total_steps} steps; "
        f"{held_out}tested on {len(test.videos)} videos; {devices}; run in {directory}"
    )


def _memory(state: TrainState) -> str:
    """What a device holds of parameters, their average and the optimiser's state, as the shards lie there."""
    kept = (state.params, state.ema, state.opt_state)
    whole, of_one = sum(leaf.nbytes for leaf in jax.tree.leaves(kept)), parallel.bytes_per_device(kept)
    return (
        f"parameters and optimiser take {of_one / 2**20:.1f} MiB on each device, {of_one / whole:.1%} of "
        f"{whole / 2**20:.1f} MiB (config.mesh.fsdp splits them)"
    )


@dataclasses.dataclass(frozen=True)
class _Start:
    """Where a run begins or continues."""

    state: TrainState
    step: int = 0
    seconds: float = 0.0
    frames: int = 0
    evaluation: dict[str, Any] | None = None
    initial_weights: dict[str, Any] | None = None


def _begin(experiment: Experiment) -> _Start:
    fresh = experiment.states.create(experiment.config.seed)
    state, initial_weights = weights.load_initial(experiment, fresh)
    return _Start(state, initial_weights=initial_weights)


def _restore(experiment: Experiment, checkpoints: Checkpoints) -> _Start | None:
    found = checkpoints.latest_step()
    step = distributed.by_first(lambda: found)  # Others may see an older state of the file system.
    if step is None:
        return None
    meta = checkpoints.restore_meta(step)
    experiment.check_metadata(meta)
    if meta["data_fingerprint"] != experiment.train_records.fingerprint:
        raise ValueError(
            f"the data in {experiment.train_records.directory} are not those that the run in "
            f"{checkpoints.directory.parent} has seen so far; put those back, or choose another --workdir"
        )
    experiment.check_protocol(meta)
    state, meta = checkpoints.restore(step, experiment.states.abstract)
    # Without its F1 it would never be the best; whoever stored the evaluation was killed just then.
    complete = distributed.by_first(lambda: checkpoints.f1_mean(step) is not None)
    evaluation = meta["evaluation"] if complete else None
    announce(f"continuing after step {step} of {experiment.total_steps}")
    return _Start(state, step, meta["seconds"], meta["frames"], evaluation, meta.get("initial_weights"))


def _finish(
    experiment: Experiment, evaluator: Evaluator, checkpoints: Checkpoints, directory: Path
) -> tuple[dict[str, Any], Path]:
    """Looks at the test part with the best checkpoint, and leaves result and predictions.

    What it needs is stored, so a run killed before or in here ends the same when it is started again.
    """
    found = checkpoints.latest_step(), checkpoints.best_step()
    distributed.come_further("reading the best checkpoint")
    latest, best = distributed.by_first(lambda: list(found))
    if latest is None or best is None:
        raise ValueError(f"{checkpoints.directory} holds no evaluated checkpoint")
    path = directory / workdir.RESULT_FILE
    run, chosen_meta = checkpoints.restore_meta(latest), checkpoints.restore_meta(best)
    if (finished := distributed.by_first(lambda: _finished(path, chosen_meta))) is not None:
        return finished, path
    announce(f"taking the checkpoint of step {best}, the best of those evaluated")
    params, batch_stats, meta = evaluate.load(experiment, checkpoints.directory / str(best))
    chosen = evaluate.choose(experiment, evaluator, (params, batch_stats), meta)
    result, predicted = evaluate.evaluate_chosen(
        experiment,
        evaluator,
        chosen,
        seconds=run["seconds"],
        frames_per_second=run["frames_per_second"],
    )
    then = meta["evaluation"]["f1_mean"]
    now = chosen.validation["f1_half_mean"] if chosen.validation else result["f1_mean"]
    if now != then:
        announce(f"mean F1 {now:.2f}, {then:.2f} in training: not the same devices or libraries as then")
    distributed.come_further("writing the result")
    distributed.by_first(lambda: results.write_result(path, result, predicted))
    return result, path


def _finished(path: Path, meta: dict[str, Any]) -> dict[str, Any] | None:
    """The result that lies there already, with its predictions, of this very checkpoint; or None."""
    try:
        result = results.read_result(path)
        found = predictions.read(predictions.beside(path)).meta
    except (FileNotFoundError, ValueError):
        return None
    same = all(result[key] == meta[key] == found[key] for key in ("step", "config_hash"))
    return result if same and found["data_fingerprint"] == meta["data_fingerprint"] else None


class _Run:
    """This process's share of a run."""

    def __init__(
        self,
        experiment: Experiment,
        evaluator: Evaluator,
        checkpoints: Checkpoints,
        log: RunLog,
        stop: StopRequest,
        start: _Start,
        profile: debug.Profile,
    ):
        self.experiment, self.checkpoints, self.log, self.stop = experiment, checkpoints, log, stop
        self.profile = profile
        self.state, self.step, self.evaluation = start.state, start.step, start.evaluation
        self.saved_step = start.step or None
        self.saved_evaluated = start.evaluation is not None
        self.saving = False
        self.initial_weights = start.initial_weights
        self.evaluator = evaluator
        self.train_step = _make_train_step(experiment)
        self.step_flops: float | None = None
        self.meter = meter.StepMeter(start.step)
        self.clock = Clock(start.seconds, start.frames)
        self.progress = Progress(experiment.total_steps, unit="steps", label="training", initial=start.step)

    def until_stopped(self) -> None:
        """Trains to the last step, or until the process is told to stop; ends with everything saved."""
        config = self.experiment.config
        batches = train_batches(
            self.experiment.train_records,
            self.experiment.stream,
            batch_size=config.train.batch_size,
            image_size=config.data.image_size,
            crop_margin=config.data.crop_margin,
            start_position=self.experiment.position(self.step),
            host_index=jax.process_index(),
            host_count=jax.process_count(),
            workers=config.data.workers or None,
            prefetch=config.data.prefetch,
            last_batch=config.data.last_batch,
        )
        with batches, self.progress:
            while True:
                stopped = distributed.stop_here(self.stop.received)
                due = self.experiment.evaluation_due(self.step) and self.evaluation is None
                if due and not stopped:  # Told to stop, saving comes first.
                    self._evaluate()
                    stopped = distributed.stop_here(self.stop.received)
                done = self.meter.finished
                distributed.come_further(f"with {self.step} steps begun and {done} known to be done")
                last = self.step >= self.experiment.total_steps or stopped
                if last or self._save_due():
                    self._save()
                if last:
                    break
                batch = next(batches)
                self.profile.before(self.step + 1)
                doing = f"step {self.step + 1}"
                with debug.guarding_transfers(config), debug.checking_nans(config, doing):
                    self._take_step(batch)
                self.profile.after(self.step, self.state)
                if self.step % config.log.every_steps == 0:
                    self._write_log()
                self.progress.update()
        self.profile.close()
        distributed.come_further("with the last checkpoint to be written")

    def _evaluate(self) -> None:
        """Leaves no evaluation where the process is told to stop meanwhile: it is done anew then."""
        self._write_log()
        try:
            self.evaluation = self.evaluator(self.state.evaluated_params, self.state.batch_stats)
        except evaluate.StoppedError:
            return
        validating = self.experiment.validation_records is not None
        self.log.write("validation" if validating else "eval", self.step, self.evaluation)
        where = " on the validation subjects" if validating else ""
        announce(f"after step {self.step}: mean F1 {self.evaluation['f1_mean']:.2f}{where}")
        self.clock.open_window()

    def _save_due(self) -> bool:
        every = self.experiment.config.checkpoint.every_steps
        return self.step > 0 and (self.evaluation is not None or (every > 0 and self.step % every == 0))

    def _save(self) -> None:
        stored = self.step == self.saved_step
        if self.step == 0 or (stored and (self.saved_evaluated or self.evaluation is None)):
            return
        # Looks at the losses that are still on the device and at the state: none is kept that is broken.
        self._write_log()
        state = self.state
        if not _all_finite((state.params, state.batch_stats, state.ema)):
            steps = f"in steps {(self.saved_step or 0) + 1} to {self.step}"
            raise meter.diverged(steps, "weights are not finite", self.saved_step)
        meta = self.experiment.metadata() | {
            "step": self.step,
            "position": self.experiment.position(self.step),
            "seconds": self.clock.seconds,
            "frames": self.clock.frames,
            "frames_per_second": self.clock.frames_per_second,
            "evaluation": self.evaluation,
            "initial_weights": self.initial_weights,
        }
        f1_mean = None if self.evaluation is None else self.evaluation["f1_mean"]
        self.checkpoints.save(self.step, self.state, meta, f1_mean)
        if self.saving:  # The checkpoint before this one is now written.
            distributed.gain()
        self.saving = True
        self.saved_step, self.saved_evaluated = self.step, self.evaluation is not None

    def _take_step(self, batch: Batch) -> None:
        del batch["position"]
        clips, length, _ = batch["labels"].shape
        placed = parallel.put_batch(batch, self.experiment.mesh)
        first = self.step_flops is None
        if first:
            announce("compiling the training step, which takes a minute or so")
            self.step_flops = _flops_of(self.experiment.config, self.train_step, self.state, placed)
            self.train_step = distributed.compiled(self.train_step, self.state, placed)
        self.state, metrics = self.train_step(self.state, placed)
        self.meter.add(metrics)
        self.step += 1
        self.evaluation = None
        self.clock.count(clips * length * jax.process_count())
        if first:
            # The first step compiles, which says nothing about the speed.
            jax.block_until_ready(self.state.step)
            self.clock.open_window()
            self.progress.restart(1)
        freed_memory.settle()

    def _write_log(self) -> None:
        means = self.meter.close_window(self.saved_step)
        if not means:
            return
        frames_per_second = self.clock.close_window()
        values = means | {
            "learning_rate": float(np.asarray(self.experiment.schedule(self.step - 1))),
            "epoch": self.experiment.position(self.step) / self.experiment.stream.clips_per_epoch,
            "frames_per_second": frames_per_second,
        }
        config = self.experiment.config
        note = f"loss {means['loss']:.4f}, {frames_per_second:.0f} frames/s"
        peak = _peak_flops(config)
        if peak is not None and self.step_flops:
            frames = config.train.batch_size * config.data.clip_length
            flops_per_second = self.step_flops / frames * frames_per_second
            values["share_of_peak_flops"] = flops_per_second / (peak * jax.device_count())
            note += f", {values['share_of_peak_flops']:.1%} of peak FLOP/s"
        self.log.write("train", self.step, values)
        self.progress.update(0, note=note)


@jax.jit
def _all_finite(tree: PyTree) -> Bool[Array, ""]:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def _make_train_step(experiment: Experiment) -> TrainStep:
    config = experiment.config
    class_weights = weights_from_rates(experiment.train_records.rates())
    options = StepOptions(
        image_size=config.data.image_size,
        crop_margin=config.data.crop_margin,
        class_weights=tuple(class_weights.tolist()),
        region_weight=config.train.region_weight,
        accumulate=config.train.accumulate,
        ema=config.train.ema,
    )
    states = experiment.states
    return jit_train_step(
        experiment.model,
        states.optimizer,
        options,
        experiment.mesh,
        states.shardings,
        donate=not config.debug.nans,  # To look for a NaN, a step is computed again from what it was given.
    )


def _peak_flops(config: ConfigDict) -> float | None:
    return hardware.peak_flops(jax.devices()[0].device_kind, config.model.dtype)


def _flops_of(config: ConfigDict, step: TrainStep, *arguments: Any) -> float:
    """FLOPs of one step over all devices, as XLA counts them; 0 where the device's peak is not known."""
    if _peak_flops(config) is None:
        return 0.0
    cost = jax.jit(step).lower(*arguments).cost_analysis() or {}
    # XLA counts the loop over micro-batches as one round; next to its rounds the rest is nothing.
    return float(cost.get("flops", 0.0)) * config.train.accumulate
