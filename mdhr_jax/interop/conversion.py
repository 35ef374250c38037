"""What a set of weights is, and its conversion between PyTorch's names and our checkpoints."""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdhr_jax import config as config_lib
from mdhr_jax import facs
from mdhr_jax.interop import names
from mdhr_jax.interop.torch_weights import (
    Tensors,
    WeightsError,
    arrays_from_torch,
    check_reference,
    reference_config,
    tensors_from_arrays,
)
from mdhr_jax.models.functional import FunctionalModel
from mdhr_jax.models.mdhr import MDHRConfig
from mdhr_jax.training import checkpoints, experiment

BACKBONES = ("resnet50", "swin_base", "resnet18", "swin_tiny")
"""Backbones whose weights PyTorch projects publish."""

_DATASETS = ("bp4d", "disfa")
_HEADS = ("fc.", "head.")
_OUR_BACKBONE = "backbone."


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of a whole model or of a backbone alone, in our names.

    Attributes:
        params, batch_stats: by dotted path.
        config: the model; of a backbone alone only `backbone` matters.
        whole: whether it is a whole model.
        dropped: names of tensors that were left out: the heads of ImageNet classifiers.
    """

    params: Mapping[str, Any]
    batch_stats: Mapping[str, Any]
    config: MDHRConfig
    whole: bool
    dropped: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """In words."""
        kind = f"MDHR for {self.config.au_set.title}, " if self.whole else ""
        return f"{kind}backbone {self.config.backbone}"


def from_tensors(
    tensors: Tensors, *, dataset: str | None = None, backbone: str | None = None, num_neighbors: int = 5
) -> Weights:
    """Recognises tensors with PyTorch's names: the reference's model, or a backbone of ImageNet.

    Args:
        tensors: by name.
        dataset: whose AUs they were trained on; by default what fits. Not for a backbone.
        backbone: by default what fits.
        num_neighbors: k of the model, which no tensor tells.

    Raises:
        WeightsError: they are neither, or not what was asked for; everything that is wrong is listed.
    """
    whole = any(name.startswith(names.BACKBONE) for name in tensors)
    dropped = () if whole else tuple(sorted(name for name in tensors if name.startswith(_HEADS)))
    if not whole:
        tensors = {names.BACKBONE + name: tensor for name, tensor in tensors.items() if name not in dropped}
    datasets = [dataset] if dataset else list(_DATASETS if whole else _DATASETS[:1])
    failures: list[WeightsError] = []
    for chosen_backbone in [backbone] if backbone else BACKBONES:
        for chosen_dataset in datasets:
            config = reference_config(chosen_dataset, chosen_backbone, num_neighbors)
            params, batch_stats = _shapes(config, whole)
            try:
                arrays = arrays_from_torch(tensors, params | batch_stats, config.au_set)
            except WeightsError as error:
                failures.append(error)
                continue
            return Weights(
                {path: arrays[path] for path in params},
                {path: arrays[path] for path in batch_stats},
                config,
                whole,
                dropped,
            )
    asked = f"{dataset or 'any data set'} with {backbone or 'any backbone'}" if whole else backbone or "any"
    nearest = min(failures, key=lambda failure: failure.problems)
    kind = "MDHR model" if whole else "ImageNet backbone"
    raise WeightsError(f"no {kind} that is known ({asked}) fits. The nearest:\n{nearest}", nearest.problems)


def neighbors_of(source: Path, info: Mapping[str, str], asked: int | None) -> int:
    """k of a file's model, which no tensor tells.

    Args:
        source: the file, for messages.
        info: what the file notes; files of others note nothing.
        asked: what the user says; where the file notes nothing, 5 by default.

    Raises:
        ValueError: the two differ, or what is noted is no number of frames.
    """
    noted = info.get("num_neighbors")
    if noted is not None and not (noted.isdecimal() and int(noted) > 0):
        raise ValueError(f"{source} notes num_neighbors {noted!r}; expected a whole number from 1")
    if asked is not None and asked < 1:
        raise ValueError(f"k (neighbors) must be at least 1, found {asked}")
    if noted is not None and asked is not None and int(noted) != asked:
        raise ValueError(f"{source} notes k = {noted}, and {asked} is asked for; the two must agree")
    return asked or int(noted or 5)


def _shapes(config: MDHRConfig, whole: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    model = FunctionalModel.create(config)
    prefix = "" if whole else _OUR_BACKBONE

    def chosen(part: Mapping[str, Any]) -> dict[str, Any]:
        return {path: spec for path, spec in part.items() if path.startswith(prefix)}

    return chosen(model.param_shapes), chosen(model.stat_shapes)


def to_tensors(weights: Weights) -> tuple[Tensors, dict[str, str]]:
    """PyTorch's tensors by name, and what a file should note beside them.

    Raises:
        ValueError: PyTorch projects have no such model.
    """
    config = weights.config
    if config.backbone not in BACKBONES:
        raise ValueError(
            f"the PyTorch reference has no backbone {config.backbone!r}; weights can be written of "
            f"{', '.join(BACKBONES)}"
        )
    info = {"backbone": config.backbone}
    if weights.whole:
        check_reference(config)
        info |= {"dataset": config.au_set.name, "num_neighbors": str(config.neighbors)}
    tensors = tensors_from_arrays({**weights.params, **weights.batch_stats}, config)
    if not weights.whole:
        tensors = {
            name.removeprefix(names.BACKBONE): tensor
            for name, tensor in tensors.items()
            if not names.is_constant(name)
        }
    return tensors, info


def read_checkpoint(path: Path) -> Weights:
    """Weights of a checkpoint of ours.

    Args:
        path: a run's directory, its ``checkpoints`` directory or one step's directory.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it does not say what it is.
    """
    params, batch_stats, meta = checkpoints.load_model(path)
    try:
        if "model" not in meta:
            config = reference_config(_DATASETS[0], meta["backbone"])
            return Weights(params, batch_stats, config, whole=False)
        fields = meta["model"] | {"mfd_scales": tuple(meta["model"]["mfd_scales"])}
        config = MDHRConfig(facs.get(meta["dataset"]), **fields)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} does not say what model it holds as this version of the project writes it "
            f"({type(error).__name__}: {error}); convert it with the version that made it"
        ) from error
    return Weights(params, batch_stats, config, whole=True)


def write_checkpoint(
    path: Path, weights: Weights, source: Mapping[str, str], fold: int | None = None
) -> None:
    """Writes weights as one step's directory of ours, whole or not at all.

    Args:
        path: becomes a directory that `model.pretrained`, `model.init_from` and `eval.checkpoint` take.
        weights: what to write.
        source: where they come from.
        fold: that they were trained on, if known.

    Raises:
        CheckpointError: it cannot be written.
    """
    meta: dict[str, Any] = {"step": 0, "source": dict(source), "versions": experiment.versions()}
    if weights.whole:
        config = config_lib.base()
        config.dataset = weights.config.au_set.name
        config.model.backbone, config.model.neighbors = weights.config.backbone, weights.config.neighbors
        meta |= experiment.describe_model(config)
        meta |= {"fold": fold, "image_size": 224, "clip_length": None, "crop_recipe": None}
        meta |= {"config_hash": None}
    else:
        meta |= {"backbone": weights.config.backbone}
    state = {"params": dict(weights.params), "batch_stats": dict(weights.batch_stats)}
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with checkpoints.Checkpoints(scratch) as stored:
            stored.save(0, state, meta)
        os.replace(scratch / "0", path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
