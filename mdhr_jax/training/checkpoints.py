"""Checkpoints of a run: saving in the background, exact restoring, weights for evaluation.

On disk each step is a directory with two items (see `stored_step`): ``state``, the train state, and
``meta``, JSON of what makes the weights meaningful. Orbax writes into a temporary directory and renames
it when all is written, and a checkpoint that is no longer kept is first renamed out of sight; so a process
killed at any moment leaves only whole checkpoints in the list. Every process of a run must call the
methods, and all must see one file system; a write that fails on one of several ends all.
"""

import contextlib
import errno
import json
import math
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from orbax.checkpoint import checkpoint_managers

from mdhr_jax import distributed
from mdhr_jax.commands import FAILED
from mdhr_jax.training import stored_step, workdir
from mdhr_jax.training.orbax_noise import quiet_orbax
from mdhr_jax.training.stored_step import CheckpointError

_METRICS = "metrics"
_DISCARDED = "discarded"
_F1 = "f1_mean"
_PARAMS, _AVERAGED, _BATCH_STATS = "params", "ema", "batch_stats"  # fields of the train state


class Checkpoints:
    """The checkpoints of one run: the latest `keep` and the one with the best mean F1.

    Saving copies the state and returns; writing goes on in the background. A write that fails is raised by
    the next `save`, `wait` or `close`; on one of several processes it ends all of them at once. Opening for
    writing removes what a killed run left half-written.

    Args:
        directory: where the steps lie, such as ``<workdir>/checkpoints``; made unless `read_only`.
        keep: how many of the latest steps to keep; the best one is kept besides.
        read_only: only look and restore; touches nothing, so another process may be writing.

    Raises:
        ValueError: `keep` is below 1.
        FileNotFoundError: `read_only` and the directory does not exist.
        CheckpointError: the directory cannot be used.
    """

    def __init__(self, directory: str | os.PathLike[str], *, keep: int = 2, read_only: bool = False):
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least the latest checkpoint must be kept (1)")
        quiet_orbax()
        self.directory = Path(directory).absolute()
        self._keep = keep
        self._read_only = read_only
        self._bytes = 0  # of the last state that was to be saved
        if read_only and not self.directory.is_dir():
            raise FileNotFoundError(f"no checkpoints: directory {self.directory} does not exist")
        if self.directory.exists() and not self.directory.is_dir():
            raise CheckpointError(f"checkpoint directory {self.directory} cannot be used: it is a file")
        self._manager = self._open()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, CheckpointError) and jax.process_count() > 1:
            return  # The other processes still wait for this one to write; closing would wait for them.
        try:
            self.close()
        except CheckpointError as failure:
            if error is None:
                raise
            error.add_note(f"Besides: {failure}")

    def save(
        self,
        step: int,
        state: PyTree,
        meta: Mapping[str, Any],
        f1_mean: float | None = None,
    ) -> bool:
        """Starts writing a checkpoint; waits for the one before.

        Of a step that is stored already (a resumed run comes by it again) the state is left as it is. Where
        it was stored without an `f1_mean` and is given one now, it gains that and `meta`; at no moment of
        this is there less than what was stored before. The state may be donated as soon as this returns.

        Args:
            step: training steps done.
            state: pytree of arrays (dicts, registered dataclasses, named tuples); PRNG keys are allowed.
            meta: what JSON can hold; read back by `restore_meta`.
            f1_mean: mean F1 by which "best" is judged; None where the step was not evaluated.

        Returns:
            Whether a checkpoint is being written.

        Raises:
            ValueError: `meta` is not JSON, or `f1_mean` is not finite.
            CheckpointError: this or the previous checkpoint could not be written.
        """
        if f1_mean is not None and not math.isfinite(f1_mean):
            raise ValueError(f"f1_mean of step {step} is {f1_mean}; expected a finite number or None")
        try:
            # A copy: the caller may change its own while the file is being written.
            meta = json.loads(json.dumps(meta, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"the meta data of step {step} is not strict JSON: {error}") from error
        plain = stored_step.as_stored(state)
        metrics = None if f1_mean is None else {_F1: float(f1_mean)}
        self.wait()
        self._bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(plain))
        with self._reporting(f"checkpoint of step {step}"):
            if _own_bytes(plain) > shutil.disk_usage(self.directory).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if step in self._manager.all_steps():
                self._add_evaluation(step, meta, metrics)
                return False
            return self._manager.save(
                step,
                args=ocp.args.Composite(
                    **{
                        stored_step.STATE: ocp.args.StandardSave(plain),
                        stored_step.META: ocp.args.JsonSave(meta),
                    }
                ),
                metrics=metrics,
                force=True,
            )

    def steps(self) -> list[int]:
        """Steps stored completely, ascending."""
        self.wait()
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        """The highest step stored, None where there is none."""
        self.wait()
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step with the highest mean F1 (of equals the latest); None where none was evaluated."""
        self.wait()
        return self._manager.best_step()

    def f1_mean(self, step: int) -> float | None:
        """The mean F1 stored with a step, None where it was not evaluated."""
        self.wait()
        metrics = self._manager.metrics(step)
        return None if metrics is None else metrics[_F1]

    def restore(self, step: int, abstract_state: PyTree) -> tuple[PyTree, dict[str, Any]]:
        """Reads a checkpoint into the structure, types and shardings of `abstract_state`.

        Args:
            step: one of `steps`.
            abstract_state: pytree of `jax.ShapeDtypeStruct`; the shardings may be of any mesh, whatever
                mesh the checkpoint was saved from. Leaves without a sharding come back as NumPy arrays.

        Returns:
            The state and its meta data.

        Raises:
            FileNotFoundError: there is no such step.
            ValueError: the stored state has other leaves, shapes or types (another model or optimiser).
            CheckpointError: files of the checkpoint are missing or damaged.
        """
        self.wait()
        path = self._step_path(step)
        return stored_step.read_state(path, abstract_state), stored_step.read_meta(path)

    def restore_meta(self, step: int) -> dict[str, Any]:
        """Reads the meta data only.

        Raises:
            FileNotFoundError: there is no such step.
            CheckpointError: the file is missing or damaged.
        """
        self.wait()
        return stored_step.read_meta(self._step_path(step))

    def wait(self) -> None:
        """Waits until nothing is being written.

        Raises:
            CheckpointError: the last checkpoint could not be written.
        """
        if self._read_only:
            return
        with self._reporting("checkpoint"):
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        self._empty_discarded()

    def close(self) -> None:
        """Waits and releases threads.

        Raises:
            CheckpointError: the last checkpoint could not be written.
        """
        try:
            self.wait()
        finally:
            self._manager.close()

    def _open(self) -> ocp.CheckpointManager:
        def f1(metrics: Mapping[str, float]) -> float:
            return metrics[_F1]

        policies = checkpoint_managers
        options = ocp.CheckpointManagerOptions(
            best_fn=f1,
            best_mode="max",
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(self._keep),
                    policies.BestN(get_metric_fn=f1, n=1, keep_checkpoints_without_metrics=False),
                ]
            ),
            create=not self._read_only,
            cleanup_tmp_directories=not self._read_only,
            todelete_subdir=_DISCARDED,
            read_only=self._read_only,
        )
        try:
            manager = ocp.CheckpointManager(self.directory, options=options)
        except stored_step.WRITE_FAILURES as error:
            raise CheckpointError(
                f"checkpoint directory {self.directory} cannot be used: {stored_step.first_line(error)}"
            ) from error
        if jax.process_count() > 1 and not self._read_only:
            self._end_all_after_a_failure(manager)
        return manager

    def _end_all_after_a_failure(self, manager: Any) -> None:
        """Has a write that fails in the background end all processes.

        The others wait for it: where Orbax's thread has an error, it meets the other processes before it
        lets anybody know, but these wait to hear that all is written, for twenty minutes.
        """
        checkpointer = manager._checkpointer
        wait = checkpointer.wait_until_finished

        def wait_or_end() -> None:
            try:
                wait()
            except stored_step.WRITE_FAILURES as error:
                if threading.current_thread() is threading.main_thread():
                    raise
                message = f"{distributed.name_self()}: {self._failure('checkpoint', error)}"
                distributed.end(message, FAILED, perhaps_lost=True)

        checkpointer.wait_until_finished = wait_or_end

    def _step_path(self, step: int) -> Path:
        path = self.directory / str(step)
        if not path.is_dir():
            known = ", ".join(map(str, sorted(self._manager.all_steps()))) or "none"
            raise FileNotFoundError(
                f"no checkpoint of step {step} in {self.directory}; stored steps: {known}"
            )
        return path

    def _add_evaluation(self, step: int, meta: Mapping[str, Any], metrics: dict[str, float] | None) -> None:
        if metrics is None or distributed.by_first(lambda: self._manager.metrics(step) is not None):
            return
        # The metrics come last: a step that has them has the meta data that belong to them.
        distributed.by_first(lambda: stored_step.replace_meta(self.directory / str(step), meta))
        with contextlib.closing(ocp.Checkpointer(ocp.JsonCheckpointHandler(filename=_METRICS))) as writer:
            writer.save(self.directory / str(step) / _METRICS, args=ocp.args.JsonSave(metrics))
        self._manager.reload()

    def _empty_discarded(self) -> None:
        # Renaming takes a checkpoint out of the list at once; deleting file by file could be cut short by a
        # kill and leave half a checkpoint in it.
        if not self._read_only and jax.process_index() == 0:
            shutil.rmtree(self.directory / _DISCARDED, ignore_errors=True)

    @contextlib.contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        """Turns a failed write into one `CheckpointError`, and makes the object usable again."""
        try:
            yield
        except stored_step.WRITE_FAILURES as error:
            failure = self._failure(what, error)
            if jax.process_count() == 1:
                with contextlib.suppress(*stored_step.WRITE_FAILURES):
                    self._manager.close()
                # A new manager removes the half-written directory and lists what is really there.
                self._manager = self._open()
            raise failure from error

    def _failure(self, what: str, error: BaseException) -> CheckpointError:
        free = shutil.disk_usage(self.directory).free if self.directory.is_dir() else 0
        reason = "no space left" if _is_full(error) else stored_step.first_line(error)
        return CheckpointError(
            f"{what} could not be written to {self.directory}: {reason} ({_mib(free)} free, the "
            f"state takes up to {_mib(self._bytes)}). Checkpoints stored before are intact; make room "
            "or keep fewer, then start the same command again"
        )


def load_weights(
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] = (_PARAMS, _BATCH_STATS),
    like: Mapping[str, PyTree] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads only some entries of a checkpoint's state, as NumPy arrays, touching nothing on disk.

    Args:
        path: a run's directory, its ``checkpoints`` directory or one step's directory. Of several steps
            the best is read, the latest where none was evaluated; none where the one that the run's result
            is of is gone.
        names: entries of the state to read; none to read the meta data alone.
        like: structures to return the entries in, such as ``{"params": abstract_params}``; leaves are
            checked in shape and type. Without it an entry is a nested dict with string keys.

    Returns:
        Name to entry, and the meta data.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: an entry is not in the state, or differs from `like`.
        CheckpointError: files of the checkpoint are missing or damaged.
    """
    quiet_orbax()
    step_path = _find_step(Path(path).absolute())
    if not names:
        return {}, stored_step.read_meta(step_path)
    stored = stored_step.stored_leaves(step_path)
    present = sorted({leaf[0] for leaf in stored})
    if missing := [name for name in names if name not in present]:
        raise ValueError(f"checkpoint {step_path} has no {', '.join(missing)}; it has {', '.join(present)}")
    wanted = {leaf: spec for leaf, spec in stored.items() if leaf[0] in names}
    if like is not None:
        structure = {name: like[name] for name in names}
        stored_step.check_leaves(step_path, wanted, stored_step.flatten(structure))
        plain = stored_step.flatten(stored_step.read_tree(step_path, stored_step.nest(wanted), partial=True))
        treedef = jax.tree.structure(structure)
        weights = treedef.unflatten([plain[leaf] for leaf in stored_step.flatten(structure)])
    else:
        weights = stored_step.read_tree(step_path, stored_step.nest(wanted), partial=True)
    return weights, stored_step.read_meta(step_path)


def load_model(
    path: str | os.PathLike[str], *, like: tuple[PyTree, PyTree] | None = None
) -> tuple[PyTree, PyTree, dict[str, Any]]:
    """Reads the parameters that a checkpoint was evaluated with, and its batch statistics.

    Args:
        path: see `load_weights`.
        like: structures of both, checked in shape and type.

    Returns:
        Parameters (averaged ones where the run kept an average), batch statistics (none in a model without
        batch normalisation) and the meta data.

    Raises:
        FileNotFoundError, ValueError, CheckpointError: see `load_weights`.
    """
    quiet_orbax()
    step_path = _find_step(Path(path).absolute())
    stored = {leaf[0] for leaf in stored_step.stored_leaves(step_path)}
    params = _AVERAGED if _AVERAGED in stored else _PARAMS
    names = (params, _BATCH_STATS) if _BATCH_STATS in stored else (params,)
    structures = None if like is None else {params: like[0], _BATCH_STATS: like[1]}
    weights, meta = load_weights(step_path, names=names, like=structures)
    return weights[params], weights.get(_BATCH_STATS, {}), meta


def is_step(path: Path) -> bool:
    """Whether a path is the directory of one step, not of a run."""
    return (path / stored_step.STATE).is_dir() and (path / stored_step.META).is_dir()


def _find_step(path: Path) -> Path:
    if is_step(path):
        return path
    for root in (path / "checkpoints", path):
        if root.is_dir():
            with Checkpoints(root, read_only=True) as checkpoints:
                step = checkpoints.best_step()
                step = checkpoints.latest_step() if step is None else step
                stored = checkpoints.steps()
            if step is not None:
                workdir.check_reported(root.parent, stored)
                return root / str(step)
    found = "holds none" if path.is_dir() else "does not exist"
    raise FileNotFoundError(
        f"no checkpoint: {path} {found}; expected a run's directory, its 'checkpoints' directory or "
        "one step's directory in it"
    )


def _is_full(error: BaseException) -> bool:
    """Whether a write failed for want of room; TensorStore tells only in its text."""
    number = getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)


def _own_bytes(state: PyTree) -> int:
    """Bytes that this process writes of a state: each shard is written by one of its holders."""
    shards = 0
    for leaf in jax.tree.leaves(state):
        if isinstance(leaf, jax.Array):
            shards += sum(shard.data.nbytes for shard in leaf.addressable_shards if shard.replica_id == 0)
        else:
            shards += leaf.nbytes
    return shards


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
