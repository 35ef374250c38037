"""Initial weights from elsewhere: an ImageNet backbone, or a whole trained model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mdhr_jax import config as config_lib
from mdhr_jax import facs
from mdhr_jax.models.functional import Arrays
from mdhr_jax.progress import announce
from mdhr_jax.training import checkpoints, transfer
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


def load_initial(experiment: Experiment, state: TrainState) -> TrainState:
    """Puts the weights that the config names into a fresh state.

    `model.init_from` replaces all parameters and statistics, `model.pretrained` those of the backbone. From a
    whole model of another data set's AUs what fits is taken over, and what that is, is told.
    Where the weights' run kept an average of its parameters, that is what is taken.

    Raises:
        ValueError: the weights are of another model, or of AUs that no data set of the AU table has; the
            first differences are named.
        FileNotFoundError: there is no checkpoint at the path.
    """
    model = experiment.config.model
    if model.init_from:
        meta = checkpoints.load_weights(model.init_from, names=())[1]
        other = _check_model(meta, experiment, model.init_from)
        return _transfer(experiment, state, other) if other else _replace(state, model.init_from, prefix="")
    if model.pretrained != config_lib.SCRATCH:
        return _replace(state, model.pretrained, prefix=_BACKBONE)
    return state


def _check_model(meta: Mapping[str, Any], experiment: Experiment, path: str) -> facs.AUSet | None:
    """Refuses the weights of a model that means something else, and says where they may spoil a result.

    Returns:
        Whose AUs the weights are for, where they are other ones than this experiment's.

    Raises:
        ValueError: naming every differing field.
    """
    identity = experiment.identity()
    other = facs.AU_SETS.get(meta.get("dataset") or "")
    known = other is not None and meta.get("au_names") == list(other.au_names)
    if not known or meta["au_names"] == identity["au_names"]:
        other = None
    same = ("model",) if other else ("au_names", "model")
    checkpoints.check_meta(meta, {name: identity[name] for name in same})
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
    return other


def _transfer(experiment: Experiment, state: TrainState, other: facs.AUSet) -> TrainState:
    """Takes over what fits of a whole model of other AUs."""
    model = experiment.config.model
    loaded_params, loaded_stats, _ = checkpoints.load_model(model.init_from)
    (params, batch_stats), report = transfer.transfer(
        (state.params, state.batch_stats),
        experiment.au_set.for_variant(model.variant),
        (loaded_params, loaded_stats),
        other.for_variant(model.variant),
    )
    announce(f"starting from {model.init_from}, a model for the AUs of {other.title}\n{report.describe()}")
    ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
    return TrainState(state.step, params, batch_stats, state.opt_state, state.rng, ema)


def _replace(state: TrainState, path: str, *, prefix: str) -> TrainState:
    loaded_params, loaded_stats, _ = checkpoints.load_model(path)
    params = _merge(state.params, loaded_params, path, prefix)
    batch_stats = _merge(state.batch_stats, loaded_stats, path, prefix)
    ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
    return TrainState(state.step, params, batch_stats, state.opt_state, state.rng, ema)


def _merge(own: Arrays, loaded: Mapping[str, Any], path: str, prefix: str) -> Arrays:
    wanted = {name: array for name, array in own.items() if name.startswith(prefix)}
    given = {name: array for name, array in loaded.items() if name.startswith(prefix)}
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
            f"the weights at {path} are not those of this {'model' if not prefix else 'backbone'}:\n{listed}"
            + (f"\n  and {more} more" if more > 0 else "")
            + "\nName other weights, or set config.model as it was when they were made."
        )
    placed = {
        name: jax.device_put(jnp.asarray(given[name], array.dtype), array.sharding)
        for name, array in wanted.items()
    }
    return own | placed
