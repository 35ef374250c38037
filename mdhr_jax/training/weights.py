"""Initial weights from elsewhere: an ImageNet backbone, or a whole trained model."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

from mdhr_jax import config as config_lib
from mdhr_jax import distributed, facs, parallel
from mdhr_jax.models.functional import Arrays
from mdhr_jax.progress import announce
from mdhr_jax.training import checkpoints, stored_step, temporal_start, transfer
from mdhr_jax.training.experiment import Experiment
from mdhr_jax.training.state import TrainState

_BACKBONE = "backbone."
_MAX_LISTED = 5


def check_config(config: ConfigDict) -> None:
    """Refuses a config that leaves open which weights to start from.

    Raises:
        ValueError: neither or both of `model.pretrained` and `model.init_from` name weights.
        FileNotFoundError: a path does not exist.
    """
    pretrained, init_from = config.model.pretrained, config.model.init_from
    if not pretrained and not init_from:
        raise ValueError(
            f"{config.dataset} is trained from ImageNet weights of the backbone, and config.model.pretrained "
            "does not say where they are.\n"
            "  Convert a torchvision or official Swin file once:\n"
            f"    python -m mdhr_jax.convert WEIGHTS.pth DIR --backbone {config.model.backbone}\n"
            "  then add --config.model.pretrained=DIR; or train from random weights with "
            f"--config.model.pretrained={config_lib.SCRATCH}"
        )
    if init_from and pretrained not in ("", config_lib.SCRATCH):
        raise ValueError(
            f"config.model.init_from={init_from} replaces the whole model, so that config.model.pretrained="
            f"{pretrained} would have no effect; name one of them"
        )
    for key, path in (("pretrained", pretrained), ("init_from", init_from)):
        if path and path != config_lib.SCRATCH and not Path(path).exists():
            raise FileNotFoundError(f"config.model.{key} names {path}, which does not exist")


def load_initial(experiment: Experiment, state: TrainState) -> tuple[TrainState, dict[str, Any] | None]:
    """Puts the weights that the config names into a fresh state.

    `model.init_from` replaces all parameters and statistics; where the named model is of a data set with
    other AUs, those that fit (see `mdhr_jax.training.transfer`), and where it lacks temporal modules, all but
    theirs (see `mdhr_jax.training.temporal_start`), which is told. `model.pretrained` replaces those of the
    backbone. Where the weights' run kept an average of its parameters, that is what is taken.

    Returns:
        The state, and for its checkpoints' meta data where the weights came from: None for random ones.

    Raises:
        ValueError: the weights are of another model, or of AUs that their data set does not have; the first
            differences are named.
        FileNotFoundError: there is no checkpoint at the path.
        TogetherError: processes find other weights at the path.
    """
    model = experiment.config.model
    path = model.init_from or model.pretrained
    if path == config_lib.SCRATCH:
        return state, None
    loaded = load_alike(path)
    meta = loaded.meta
    if not model.init_from:
        return _replace(state, loaded, only=_BACKBONE), _origin("backbone", loaded)
    identity = experiment.identity()
    added = temporal_start.added_modules(meta.get("model") or {}, identity["model"])
    if added and meta.get("au_names") == identity["au_names"]:
        return _add_modules(experiment, state, added, loaded)
    loaded_set = _check_model(meta, identity, path)
    if transfer.same_outputs(loaded_set, experiment.au_set):
        return _replace(state, loaded), _origin("model", loaded)
    return _transfer(experiment, state, loaded, loaded_set)


@dataclasses.dataclass(frozen=True)
class Loaded:
    """Weights that have been read.

    Attributes:
        path: as it was named.
        params, batch_stats: NumPy arrays by dotted path.
        meta: what the checkpoint says of them.
    """

    path: str
    params: Mapping[str, Any]
    batch_stats: Mapping[str, Any]
    meta: dict[str, Any]

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of all of it but the path."""
        digest = hashlib.sha256(json.dumps(self.meta, sort_keys=True).encode())
        for part in (self.params, self.batch_stats):
            for name in sorted(part):
                array = np.asarray(part[name])
                digest.update(f"{name} {array.dtype} {array.shape}".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()[:16]


def load_alike(path: str, *, like: tuple[PyTree, PyTree] | None = None) -> Loaded:
    """Reads weights, see `checkpoints.load_model`, and makes sure that all processes have read the same.

    Each host may have its own copy at the path, and nothing later would tell that they differ: every device
    would go on with its own weights.

    Args:
        path: see `checkpoints.load_weights`.
        like: structures of parameters and batch statistics, checked in shape and type.

    Raises:
        FileNotFoundError, ValueError, CheckpointError: see `checkpoints.load_weights`.
        TogetherError: they have not.
    """
    loaded = Loaded(path, *checkpoints.load_model(path, like=like))
    if jax.process_count() > 1:
        distributed.require_same(f"weights at {path}", loaded.fingerprint())
    return loaded


def _origin(taken: str, loaded: Loaded, **details: Any) -> dict[str, Any]:
    known = {name: loaded.meta.get(name) for name in ("dataset", "fold", "step", "config_hash", "source")}
    return {"taken": taken, "path": loaded.path, **known, **details}


def _check_model(meta: Mapping[str, Any], identity: Mapping[str, Any], path: str) -> facs.AUSet:
    """Refuses the weights of another architecture, and says where weights may spoil a result.

    Returns:
        The AU table's entry that the weights belong to.

    Raises:
        ValueError: naming every differing field.
    """
    own_set = facs.get(identity["dataset"])
    # A data set that the table does not know must have this run's AUs.
    loaded_set = facs.AU_SETS.get(str(meta.get("dataset")).lower(), own_set)
    stored_step.check_meta(meta, {"au_names": list(loaded_set.au_names), "model": identity["model"]})
    if meta["dataset"] == identity["dataset"] and meta["fold"] not in (None, identity["fold"]):
        announce(
            f"warning: {path} was trained on fold {meta['fold']}; this run tests on fold {identity['fold']}, "
            "whose subjects those weights have seen"
        )
    if meta["crop_recipe"] not in (None, identity["crop_recipe"]):
        announce(
            f"warning: {path} was trained on faces cut out as {meta['crop_recipe']}, this run's are cut out "
            f"as {identity['crop_recipe']}"
        )
    return loaded_set


def _transfer(
    experiment: Experiment, state: TrainState, loaded: Loaded, loaded_set: facs.AUSet
) -> tuple[TrainState, dict[str, Any]]:
    variant = cast(facs.Variant, experiment.model.config.variant)
    arrays, found = transfer.transfer(
        {**state.params, **state.batch_stats},
        {**loaded.params, **loaded.batch_stats},
        experiment.au_set.for_variant(variant),
        loaded_set.for_variant(variant),
    )
    announce(
        f"{loaded.path} is of {loaded_set.title}, this run of {experiment.au_set.title}; {found.message()}"
    )
    params = {name: arrays[name] for name in state.params}
    batch_stats = {name: arrays[name] for name in state.batch_stats}
    return _with(state, params, batch_stats), _origin("transfer", loaded, transfer=found.as_json())


def _add_modules(
    experiment: Experiment, state: TrainState, added: tuple[str, ...], loaded: Loaded
) -> tuple[TrainState, dict[str, Any]]:
    path, meta, identity = loaded.path, loaded.meta, experiment.identity()
    _check_model(
        meta, identity | {"model": temporal_start.without(meta["model"], identity["model"], added)}, path
    )
    announce(f"{path} is of a model without {' and '.join(added)}, which start as next to nothing")
    state = _with(state, temporal_start.start(state.params, added), state.batch_stats)
    state = _replace(state, loaded, leave=temporal_start.prefixes(added))
    return state, _origin("model", loaded, added=list(added))


def _replace(state: TrainState, loaded: Loaded, *, only: str = "", leave: tuple[str, ...] = ()) -> TrainState:
    params = _merge(state.params, loaded.params, loaded.path, only, leave)
    batch_stats = _merge(state.batch_stats, loaded.batch_stats, loaded.path, only, leave)
    return _with(state, params, batch_stats)


def _with(state: TrainState, params: Arrays, batch_stats: Arrays) -> TrainState:
    ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
    return TrainState(state.step, params, batch_stats, state.opt_state, state.rng, ema)


def _merge(own: Arrays, loaded: Mapping[str, Any], path: str, only: str, leave: tuple[str, ...]) -> Arrays:
    """Own arrays with all loaded ones put in whose names begin with `only` and with nothing in `leave`."""
    wanted = {
        name: array for name, array in own.items() if name.startswith(only) and not name.startswith(leave)
    }
    given = {name: array for name, array in loaded.items() if name.startswith(only)}
    problems = [f"{name}: missing in the file" for name in wanted.keys() - given.keys()]
    problems += [f"{name}: not in this model" for name in given.keys() - wanted.keys()]
    problems += [
        f"{name}: shape {given[name].shape} in the file, {wanted[name].shape} in this model"
        for name in wanted.keys() & given.keys()
        if given[name].shape != wanted[name].shape
    ]
    if problems:
        listed = "\n".join(f"  {line}" for line in sorted(problems)[:_MAX_LISTED])
        more = len(problems) - _MAX_LISTED
        raise ValueError(
            f"the weights at {path} are not those of this {'backbone' if only else 'model'}:\n{listed}"
            + (f"\n  and {more} more" if more > 0 else "")
            + "\nName other weights, or set config.model as it was when they were made."
        )
    placed = {name: parallel.place(given[name], array) for name, array in wanted.items()}
    return own | placed
