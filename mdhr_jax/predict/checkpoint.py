"""A trained model with what its scores mean: AUs, thresholds, protocol, and how faces are cut out."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mdhr_jax import facs
from mdhr_jax.data import own_sets
from mdhr_jax.faces.recipe import AlignmentRecipe
from mdhr_jax.models.functional import FunctionalModel
from mdhr_jax.models.mdhr import MDHRConfig
from mdhr_jax.training import checkpoints, protocols, results

# Recipe of the synthetic sets: geometry alone, since nothing had to be found.
_DRAWN = {"name", "size", "eye_height", "eye_distance", "eyes_level", "centred"}

# Fields of the model that weights do not depend on, kept with the run's configuration alone.
_OF_THE_RUN = ("dtype", "dense_graph")


@dataclasses.dataclass(frozen=True)
class Trained:
    """A checkpoint, loaded.

    Attributes:
        path: as it was named.
        model: the network.
        params, batch_stats: its arrays, on the host.
        meta: of the checkpoint.
        au_set: the AUs, in the order of the scores.
        thresholds: what a score must reach for present, by AU name.
        threshold_source: ``validation`` where the run chose them on subjects kept out of training, or
            ``fixed``.
        recipe: how faces are found and cut out.
        image_size: edge of the model's input, pixels.
        clip_length: frames of a clip in training and evaluation.
        digest: SHA-256 of the arrays, hexadecimal.
    """

    path: Path
    model: FunctionalModel
    params: Mapping[str, Any]
    batch_stats: Mapping[str, Any]
    meta: Mapping[str, Any]
    au_set: facs.AUSet
    thresholds: Mapping[str, float]
    threshold_source: str
    recipe: AlignmentRecipe
    image_size: int
    clip_length: int
    digest: str

    def describe(self) -> dict[str, Any]:
        """What must be said of the checkpoint wherever its scores are, as JSON."""
        return {
            "path": str(self.path),
            "sha256": self.digest,
            "dataset": self.au_set.name,
            "fold": self.meta.get("fold"),
            "step": self.meta.get("step"),
            "config_hash": self.meta.get("config_hash"),
            "trained_with": self.meta.get("versions"),
        }


def load(path: str | Path) -> Trained:
    """Loads a checkpoint.

    Args:
        path: a run's directory, its ``checkpoints`` directory or one step's directory. Of several steps the
            best is taken.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it does not say what its scores mean or how its faces were cut out, or is no checkpoint of
            this project.
    """
    path = Path(path).expanduser()
    if path.is_file():
        raise ValueError(
            f"{path} is a file; expected the directory of a run or of a checkpoint. Files of weights do not "
            "say how the faces that they were trained on were cut out"
        )
    meta = checkpoints.load_weights(path, names=())[1]
    recipe = recipe_of(meta, path)
    au_set = _au_set(meta, path)
    model = FunctionalModel.create(_model_config(meta, au_set, path))
    params, batch_stats, _ = checkpoints.load_model(path, like=(model.param_shapes, model.stat_shapes))
    thresholds, source = _thresholds(path, meta, au_set)
    return Trained(
        path=path,
        model=model,
        params=params,
        batch_stats=batch_stats,
        meta=meta,
        au_set=au_set,
        thresholds=thresholds,
        threshold_source=source,
        recipe=recipe,
        image_size=int(meta["image_size"]),
        clip_length=int(meta["clip_length"]),
        digest=_digest({**params, **batch_stats}),
    )


def recipe_of(meta: Mapping[str, Any], path: Path) -> AlignmentRecipe:
    """How the faces were cut out that a checkpoint was trained on.

    Args:
        meta: of the checkpoint.
        path: for messages.

    Raises:
        ValueError: that is not known, or cannot be done to other recordings.
    """
    found = meta.get("crop_recipe")
    if not isinstance(found, Mapping) or not found:
        raise ValueError(
            f"{path} does not say how the faces that it was trained on were cut out (crop_recipe), and "
            "scores of faces that were cut out otherwise would look right and be wrong. Weights of the "
            "PyTorch reference do not tell; train on data that this project prepared, "
            "--config.model.init_from takes such weights"
        )
    if set(found) == _DRAWN and found["name"] == "canonical" and found["eyes_level"] and found["centred"]:
        return AlignmentRecipe(
            size=int(found["size"]),
            eye_height=float(found["eye_height"]),
            eye_distance=float(found["eye_distance"]),
        )
    try:
        return AlignmentRecipe.from_json(found)
    except ValueError as error:
        raise ValueError(f"{path} was trained on faces that cannot be cut out here: {error}") from error


def _au_set(meta: Mapping[str, Any], path: Path) -> facs.AUSet:
    name = str(meta.get("dataset"))
    entry, config = meta.get(own_sets.ENTRY_KEY), meta.get("config") or {}
    if name.lower() not in facs.AU_SETS and entry is not None:
        facs.register(own_sets.from_json(entry))
    elif name.lower() not in facs.AU_SETS and "data" in config:
        # Checkpoints of earlier versions leave it to the records.
        own_sets.register(config["data"]["dir"], name)
    au_set = facs.get(name)
    if list(au_set.au_names) != meta.get("au_names"):
        raise ValueError(
            f"{path} scores {', '.join(meta.get('au_names') or ('no AUs',))}, but {au_set.title} has "
            f"{', '.join(au_set.au_names)} here; use the version of mdhr_jax that it was trained with"
        )
    return au_set


def _model_config(meta: Mapping[str, Any], au_set: facs.AUSet, path: Path) -> MDHRConfig:
    lacking = [key for key in ("model", "image_size", "clip_length") if meta.get(key) is None]
    if lacking:
        raise ValueError(
            f"{path} does not say its {', '.join(lacking)}; name the checkpoint of a training run"
        )
    of_run = (meta.get("config") or {}).get("model", {})
    fields = dict(meta["model"]) | {name: of_run[name] for name in _OF_THE_RUN if name in of_run}
    fields["mfd_scales"] = tuple(fields["mfd_scales"])
    try:
        return MDHRConfig(au_set, **fields)
    except TypeError as error:
        raise ValueError(
            f"{path} holds a model with other fields than this version of mdhr_jax knows ({error}); use the "
            "version that it was trained with"
        ) from error


def _thresholds(path: Path, meta: Mapping[str, Any], au_set: facs.AUSet) -> tuple[dict[str, float], str]:
    """Those that the checkpoint's run chose for it; 0.5 where it chose none."""
    of_run = results.of_checkpoint(path, meta)
    if of_run is None:
        return protocols.fixed_thresholds(au_set.au_names), "fixed"
    return {name: float(of_run["thresholds"][name]) for name in au_set.au_names}, (
        of_run["selection"]["thresholds"]
    )


def _digest(arrays: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
